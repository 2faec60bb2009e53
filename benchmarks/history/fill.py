"""Fills a store with runs that have finished.

What is written is what a worker wrote for one run, so many times, through the store's own
verbs: only the numbers differ, and the end of each run, whose time is its number. So the file
is the one that a worker would have left, and a test compares them.

    python -m benchmarks.history.fill PATH RUNS

prints `seconds`.
"""

import asyncio
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from benchmarks.contestant import report
from benchmarks.history.agent import agent
from durable_agents import InMemoryStore, SqliteStore, Worker
from durable_agents.journal import Entry, RunAccepted, RunCompleted, RunStatus
from durable_agents.store import NewRun, Store, Write

RUNS_PER_COMMIT = 5_000


async def record() -> tuple[NewRun, list[list[Entry]]]:
    """The input of a run, and the rows that a worker wrote for it."""
    store = InMemoryStore()
    async with Worker(agent, store=store) as worker:
        await (await worker.submit(0)).result()
        (_, [accepted]), *rows = await store.journal(1)
    assert isinstance(accepted, RunAccepted)
    new = NewRun(accepted.agent, None, None, accepted.input, accepted.at)
    return new, [entries for _, entries in rows]


async def add(store: Store, new: NewRun, rows: list[list[Entry]], count: int) -> None:
    """Add so many runs, in few transactions."""
    runs = await asyncio.gather(*(store.accept(new) for _ in range(count)))
    *calls, end = rows
    assert isinstance(end[-1], RunCompleted)
    writes: list[Write] = []
    for run in runs:
        writes += (Write(number=run.number, entries=entries) for entries in calls)
        ended = [*end[:-1], replace(end[-1], at=float(run.number))]
        status = RunStatus.COMPLETED
        writes.append(Write(number=run.number, entries=ended, status=status))
    await asyncio.gather(*map(store.append, writes))


async def fill(path: Path, runs: int) -> None:
    """Make a store of that many finished runs; run n ended at second n of 1970."""
    new, rows = await record()
    store = SqliteStore(path, synchronous="normal")
    await store.open("benchmark")
    try:
        for start in range(0, runs, RUNS_PER_COMMIT):
            await add(store, new, rows, min(RUNS_PER_COMMIT, runs - start))
    finally:
        await store.close()


def main() -> None:
    """Fill, and say how long it took."""
    path, runs = Path(sys.argv[1]), int(sys.argv[2])
    start = time.perf_counter()
    asyncio.run(fill(path, runs))
    report(seconds=time.perf_counter() - start)


if __name__ == "__main__":
    main()
