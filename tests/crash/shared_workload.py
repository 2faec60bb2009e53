"""The workload of random kills, shared out between processes that work on one file.

Each submits its part of the inputs, of all keys, and sees them through wherever they run.
"""

import asyncio
import faulthandler
import os
from collections.abc import Iterable
from pathlib import Path

from durable_agents import RunError, SqliteStore, Worker, WorkerSettings
from tests.crash import witness, workload
from tests.crash.child import LONGEST_LIFE

LEASE_SECONDS = 1.0
OUTSTANDING = 20
"""Inputs of one process submitted and not done, at most."""

SETTINGS = WorkerSettings(
    lease_seconds=LEASE_SECONDS, max_concurrent_runs=8, shutdown_grace_seconds=1.0
)


def part_of(number: int, runs: int, workers: int) -> list[int]:
    """Inputs that one of the workers submits: each of them has some of every key."""
    return [n for n in range(runs) if (n + n // workload.KEYS) % workers == number]


async def work(store: Path, log: int, numbers: Iterable[int]) -> None:
    """Submit inputs, keep a log of what was acknowledged, and see everything done.

    Args:
        store: The store's file.
        log: Descriptor of the log.
        numbers: The inputs.
    """
    places = asyncio.Semaphore(OUTSTANDING)

    async def see_through(number: int) -> None:
        is_done = False
        while not is_done:
            run = await worker.submit(
                number, key=workload.key_of(number), id=workload.id_of(number)
            )
            os.write(log, f"\n{run.id}{workload.WHOLE}\n".encode())
            try:
                await run.wait()
                is_done = True
            except RunError as error:
                if "took the run over" not in error.reason:
                    raise
        places.release()

    shared = SqliteStore(store, shared=True)
    async with Worker(workload.agent, store=shared, settings=SETTINGS) as worker:
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                await places.acquire()
                group.create_task(see_through(number))
        await worker.drain()


def main(folder: str, part: str, runs: str, workers: str, life: str) -> None:
    """Be one of the processes.

    Args:
        folder: Where everything is kept.
        part: Which part of the inputs it submits.
        runs: How many inputs there are.
        workers: How many parts there are.
        life: How many processes came before.
    """
    os.environ[witness.FILE] = str(Path(folder, workload.WITNESS))
    os.environ[witness.LIFE] = life
    faulthandler.dump_traceback_later(4 * LONGEST_LIFE, exit=True)
    path = Path(folder, workload.ACKNOWLEDGED)
    log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    known = set(workload.acknowledged_in(Path(folder)))
    own = part_of(int(part), int(runs), int(workers))
    numbers = [number for number in own if workload.id_of(number) not in known]
    asyncio.run(work(Path(folder, workload.STORE), log, numbers))
