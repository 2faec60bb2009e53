"""One small commit after the other, while the loop is idle or never is.

    python -m benchmarks.latency.commit idle|busy COMMITS

prints `p50_milliseconds` and `p99_milliseconds` from `append` to its future, as the coroutine
sees it that waits for it. The busy loop has another task that computes for a millisecond in
each of its passes, so the writer's thread has to fight for the interpreter's lock, and the
commit has to wait for its turn in the loop. `synchronous="full"`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from benchmarks.contestant import quantile, report, scratch_folder
from durable_agents import Codec, SqliteStore
from durable_agents.journal import RunTakenOver
from durable_agents.store import NewRun, Write

SLICE_SECONDS = 0.001
MILLI = 1e3


async def burn() -> None:
    """Compute in each pass of the loop, until cancelled."""
    while True:
        end = time.perf_counter() + SLICE_SECONDS
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0)


@asynccontextmanager
async def busy_loop() -> AsyncGenerator[None]:
    """While inside, the loop never idles."""
    task = asyncio.get_running_loop().create_task(burn())
    try:
        yield
    finally:
        task.cancel()


async def measure(commits: int, folder: Path, *, is_busy: bool) -> list[float]:
    """Seconds of each commit."""
    store = SqliteStore(folder / "commit.db", synchronous="full")
    await store.open("benchmark")
    seconds: list[float] = []
    try:
        value = Codec().encode(1, "the input")
        run = await store.accept(NewRun("commit", None, None, value, 0.0))
        async with busy_loop() if is_busy else nullcontext():
            for _ in range(commits):
                start = time.perf_counter()
                await store.append(Write(number=run.number, entries=[RunTakenOver("w", 1.0)]))
                seconds.append(time.perf_counter() - start)
    finally:
        await store.close()
    return seconds


def main() -> None:
    """Measure, and say so."""
    is_busy, commits = sys.argv[1] == "busy", int(sys.argv[2])
    with scratch_folder() as folder:
        seconds = asyncio.run(measure(commits, folder, is_busy=is_busy))
    report(
        p50_milliseconds=quantile(seconds, 0.5) * MILLI,
        p99_milliseconds=quantile(seconds, 0.99) * MILLI,
    )


if __name__ == "__main__":
    main()
