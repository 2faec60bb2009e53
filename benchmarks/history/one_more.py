"""Runs added to a store one by one, each when it is told to.

    python -m benchmarks.history.one_more PATH

prints `start_milliseconds`, which a worker took to open the store; then, for each line that it
reads, makes one run and prints its `milliseconds`, from the submit to its end.
`synchronous="full"`. So two stores can take turns, run by run, and whatever slows the machine
slows both.
"""

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.contestant import report
from benchmarks.history.agent import agent
from durable_agents import SqliteStore, Worker

MILLI = 1e3


async def serve(path: Path) -> None:
    """Make runs until there are no more lines."""
    start = time.perf_counter()
    async with Worker(agent, store=SqliteStore(path, synchronous="full")) as worker:
        report(start_milliseconds=(time.perf_counter() - start) * MILLI)
        while await asyncio.to_thread(sys.stdin.readline):
            start = time.perf_counter()
            await (await worker.submit(0)).result()
            report(milliseconds=(time.perf_counter() - start) * MILLI)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
