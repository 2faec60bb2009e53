"""Forgets the oldest runs of a store that `fill` made.

    python -m benchmarks.history.prune PATH NUMBER

forgets the runs below that number, in as many transactions as the store wants for it, and
prints `runs_per_second` and `seconds`. `synchronous="full"`.
"""

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.contestant import report
from durable_agents import SqliteStore
from durable_agents.store import Retention


async def prune(path: Path, number: int) -> tuple[int, float]:
    """How many runs were forgotten, and the seconds that it took."""
    store = SqliteStore(path, synchronous="full")
    await store.open("benchmark")
    forgotten = 0
    try:
        start = time.perf_counter()
        while count := await store.prune(Retention(ended_before=float(number))):
            forgotten += count
        return forgotten, time.perf_counter() - start
    finally:
        await store.close()


def main() -> None:
    """Prune, and say how long it took."""
    forgotten, seconds = asyncio.run(prune(Path(sys.argv[1]), int(sys.argv[2])))
    report(runs_per_second=forgotten / seconds, seconds=seconds)


if __name__ == "__main__":
    main()
