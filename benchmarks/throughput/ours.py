"""Our calls: an agent whose action makes durable calls in sequence.

`synchronous="full"`, asyncio's own loop. What is timed begins with the first submit and ends
when the last run has completed: acceptance, scheduling and completion are in it. Bytes are
counted until the store is closed, so that the way from the WAL into the file is in them.

    python -m benchmarks.throughput.ours RUNS CALLS IN_FLIGHT
        [--step trivial|burn | --bytes N] [--threads N] [--gc default|frozen] [--profile]

prints `calls_per_second`, `entries_per_second` (rows of the journal, the acceptance counted)
and `bytes_written`.
"""

import argparse
import asyncio
import cProfile
import pstats
import sys
import time
from pathlib import Path

from benchmarks.contestant import (
    COLLECTORS,
    bytes_written,
    report,
    scratch_folder,
    set_collector,
)
from benchmarks.throughput.functions import STEPS, Step
from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, WorkerSettings

ENTRIES_PER_RUN = 2
"""Its acceptance and its end; each call adds one."""


def make_agent(calls: int, step: Step, size: int) -> Agent:
    """An agent of one action."""
    agent = Agent("sequence", input=int)

    @agent.action(InputEvent)
    async def in_sequence(event: InputEvent[int], ctx: RunnerContext) -> None:
        first = event.input * calls
        for number in range(first, first + calls):
            await ctx.durable(step, number, size)

    return agent


async def measure(arguments: argparse.Namespace, folder: Path) -> float:
    """Seconds for all runs."""
    runs, in_flight = arguments.runs, arguments.in_flight
    settings = WorkerSettings(
        max_concurrent_runs=in_flight,
        num_async_threads=in_flight,
        num_sync_threads=arguments.threads,
    )
    store = SqliteStore(folder / "ours.db", synchronous="full")
    agent = make_agent(arguments.calls, STEPS[arguments.step], arguments.bytes)
    async with Worker(agent, store=store, settings=settings) as worker:
        set_collector(arguments.gc)
        start = time.perf_counter()
        await asyncio.gather(*(worker.submit(number) for number in range(runs)))
        await worker.drain()
        seconds = time.perf_counter() - start
        completed = worker.statistics().completed
    assert completed == runs, f"{completed} of {runs} runs completed"
    return seconds


def parse() -> argparse.Namespace:
    """Sizes and settings."""
    parser = argparse.ArgumentParser()
    for name in ("runs", "calls", "in_flight"):
        parser.add_argument(name, type=int)
    parser.add_argument("--step", choices=STEPS, default="trivial")
    parser.add_argument("--bytes", type=int, default=0, help="what each call returns")
    parser.add_argument(
        "--threads", type=int, default=1, help="for functions that are not async"
    )
    parser.add_argument("--gc", choices=COLLECTORS, default="default")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    return parser.parse_args()


def main() -> None:
    """Measure, and say so."""
    arguments = parse()
    profile = cProfile.Profile()
    with scratch_folder() as folder:
        before = bytes_written()
        if arguments.profile:
            profile.enable()
        seconds = asyncio.run(measure(arguments, folder))
        profile.disable()
        written = bytes_written() - before
    report(
        calls_per_second=arguments.runs * arguments.calls / seconds,
        entries_per_second=arguments.runs * (arguments.calls + ENTRIES_PER_RUN) / seconds,
        bytes_written=written,
    )
    if arguments.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
