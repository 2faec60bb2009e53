"""Our calls: an agent whose action makes trivial durable calls in sequence.

`synchronous="full"`, asyncio's own loop. What is timed begins with the first submit and ends
when the last run has completed: acceptance, scheduling and completion are in it.

    python -m benchmarks.throughput.ours RUNS CALLS IN_FLIGHT [--profile]

prints calls a second.
"""

import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, WorkerSettings


async def step(value: int) -> int:
    """A durable function that costs nothing."""
    return value + 1


def make_agent(calls: int) -> Agent:
    """An agent of one action."""
    agent = Agent("sequence", input=int)

    @agent.action(InputEvent)
    async def in_sequence(event: InputEvent[int], ctx: RunnerContext) -> None:
        value = event.input
        for _ in range(calls):
            value = await ctx.durable(step, value)

    return agent


async def measure(runs: int, calls: int, in_flight: int, folder: str) -> float:
    """Calls a second."""
    settings = WorkerSettings(max_concurrent_runs=in_flight, num_async_threads=in_flight)
    store = SqliteStore(Path(folder) / "ours.db", synchronous="full")
    async with Worker(make_agent(calls), store=store, settings=settings) as worker:
        start = time.perf_counter()
        await asyncio.gather(*(worker.submit(number) for number in range(runs)))
        await worker.drain()
        seconds = time.perf_counter() - start
        completed = worker.statistics().completed
    assert completed == runs, f"{completed} of {runs} runs completed"
    return runs * calls / seconds


if __name__ == "__main__":
    runs, calls, in_flight = map(int, sys.argv[1:4])
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        profile = cProfile.Profile()
        if "--profile" in sys.argv:
            profile.enable()
        rate = asyncio.run(measure(runs, calls, in_flight, scratch))
        profile.disable()
        print(rate)
        if "--profile" in sys.argv:
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)
