"""A process that opens a store on a disk that may fail, and says what came of it."""

import asyncio
import faulthandler
import logging
import os
import sys
from pathlib import Path

from durable_agents import RunError, SqliteStore, StoreError, Worker, WorkerSettings
from tests.crash import witness
from tests.crash.workload import STORE, WITNESS, agent, expected_output, id_of, key_of

__all__ = ["main"]

_RUNS = 4
_LONGEST_LIFE = 60.0
_SETTINGS = WorkerSettings(shutdown_grace_seconds=0, store_retry_seconds=0.01)


async def begin(path: Path) -> None:
    """Take inputs in, and leave before most are done."""
    async with Worker(agent, store=SqliteStore(path), settings=_SETTINGS) as worker:
        for number in range(_RUNS):
            await worker.submit(number, key=key_of(number), id=id_of(number))


async def finish(path: Path) -> None:
    """See the same inputs done; what is submitted meanwhile is asked for until it is taken."""
    async with Worker(agent, store=SqliteStore(path), settings=_SETTINGS) as worker:
        for number in range(_RUNS):
            run = await worker.submit(number, key=key_of(number), id=id_of(number))
            if (outputs := await run.result()) != [expected_output(number)]:
                msg = f"run {number} put out {outputs}"
                raise AssertionError(msg)


def main(folder: str, what: str) -> None:
    """Open the store, and write to standard output why it could not be used; else nothing.

    Args:
        folder: Where everything is kept.
        what: "begin" or "finish".
    """
    os.environ[witness.FILE] = str(Path(folder, WITNESS))
    os.environ[witness.LIFE] = "0"
    faulthandler.dump_traceback_later(_LONGEST_LIFE, exit=True)
    logging.getLogger("durable_agents").setLevel(logging.CRITICAL)
    work = begin if what == "begin" else finish
    try:
        asyncio.run(work(Path(folder, STORE)))
    except (StoreError, RunError) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}")
