"""Calls that wait for something outside: how much of the time a limit of them is full.

Each run makes one call that takes 50 ms. With so many at a time, the ideal is the number of
waves, 50 ms each. Twice as many runs as calls are on their way, so that one is ready when a
place becomes free. `synchronous="full"`.

    python -m benchmarks.latency.waits ours|bare RUNS LIMIT

prints `efficiency`, the ideal through what it took, in percent. `bare` are tasks of asyncio at
a semaphore, with nothing on record.
"""

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.contestant import report, scratch_folder
from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, WorkerSettings

WAIT_SECONDS = 0.05
RUNS_PER_CALL = 2

agent = Agent("waits", input=int)


async def wait(number: int) -> int:
    """A call to somewhere that answers in 50 ms."""
    await asyncio.sleep(WAIT_SECONDS)
    return number


@agent.action(InputEvent)
async def wait_once(event: InputEvent[int], ctx: RunnerContext) -> None:
    """One call."""
    await ctx.durable(wait, event.input)


async def ours(runs: int, limit: int, folder: Path) -> float:
    """Seconds for all runs, from the first submit to the last completion."""
    settings = WorkerSettings(
        max_concurrent_runs=RUNS_PER_CALL * limit, num_async_threads=limit
    )
    store = SqliteStore(folder / "waits.db", synchronous="full")
    async with Worker(agent, store=store, settings=settings) as worker:
        start = time.perf_counter()
        await asyncio.gather(*(worker.submit(number) for number in range(runs)))
        await worker.drain()
        return time.perf_counter() - start


async def bare(runs: int, limit: int) -> float:
    """Seconds for as many tasks."""
    places = asyncio.Semaphore(limit)

    async def one(number: int) -> None:
        async with places:
            await wait(number)

    start = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(runs)))
    return time.perf_counter() - start


def main() -> None:
    """Measure, and say so."""
    runs, limit = int(sys.argv[2]), int(sys.argv[3])
    with scratch_folder() as folder:
        timed = ours(runs, limit, folder) if sys.argv[1] == "ours" else bare(runs, limit)
        seconds = asyncio.run(timed)
    report(efficiency=100 * runs / limit * WAIT_SECONDS / seconds)


if __name__ == "__main__":
    main()
