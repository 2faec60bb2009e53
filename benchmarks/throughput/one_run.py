"""A call of a run that has made many.

    python -m benchmarks.throughput.one_run CALLS

makes so many calls, many at a time; then 500 in sequence, in which the disk comes to rest from
them; then a thousand in sequence that are timed. Prints
`microseconds` (the median; nearly all of it is the wait for the disk) and `cpu_microseconds`
of a call (processor time of all threads, the mean).
"""

import asyncio
import statistics
import sys
import time
from pathlib import Path

from benchmarks.contestant import report, scratch_folder
from benchmarks.throughput.functions import STEPS
from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker

TIMED_CALLS, SETTLING_CALLS, AT_ONCE = 1_000, 500, 250
MICRO = 1e6


def make_agent() -> Agent:
    """An agent that puts out how long each of its last calls took."""
    agent, step = Agent("one run", input=int), STEPS["trivial"]

    @agent.action(InputEvent)
    async def in_sequence(event: InputEvent[int], ctx: RunnerContext) -> None:
        for start in range(0, event.input, AT_ONCE):
            some = range(start, min(start + AT_ONCE, event.input))
            await asyncio.gather(*(ctx.durable(step, number, 0) for number in some))
        for number in range(SETTLING_CALLS):
            await ctx.durable(step, number, 0)
        seconds: list[float] = []
        cpu = time.process_time()
        for number in range(TIMED_CALLS):
            start = time.perf_counter()
            await ctx.durable(step, number, 0)
            seconds.append(time.perf_counter() - start)
        ctx.output(statistics.median(seconds))
        ctx.output((time.process_time() - cpu) / TIMED_CALLS)

    return agent


async def measure(calls: int, folder: Path) -> list[float]:
    """Seconds of a call, and those of them that a processor was busy."""
    store = SqliteStore(folder / "one_run.db", synchronous="full")
    async with Worker(make_agent(), store=store) as worker:
        return await (await worker.submit(calls)).result()


def main() -> None:
    """Measure, and say so."""
    with scratch_folder() as folder:
        seconds, cpu = asyncio.run(measure(int(sys.argv[1]), folder))
    report(microseconds=seconds * MICRO, cpu_microseconds=cpu * MICRO)


if __name__ == "__main__":
    main()
