"""A process whose disk fills up while it works, and is emptied again.

The witness and what is said of it all lie elsewhere. On a tmpfs, a file of ballast takes all
the space that is left; else the size of files is limited. In the end the store is copied to
where the witness is.
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import resource
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from durable_agents import SqliteStore, StoreError, Worker, WorkerSettings
from tests.crash import witness
from tests.crash.workload import STORE, WITNESS, agent, id_of, key_of

__all__ = ["Said"]

_OUTSTANDING = 8
_RETRY_SECONDS = 0.02
_LONGEST_LIFE = 100.0
_FULL_SECONDS = 0.3


class Said(msgspec.Struct):
    """What the process has to say in the end."""

    refusals: dict[str, int]
    """Errors that submitters got, by class."""
    waits: int
    """Warnings that say why a run stands still."""
    failures: int
    """Everything that failed for want of space."""


class _Warnings(logging.Handler):
    """Counts what the worker says of runs that wait for the store."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """One more, if it tells why."""
        text = record.getMessage()
        self.count += "again" in text and "store" in text


class _Disk:
    """A disk that can be full."""

    def __init__(self, folder: Path, kind: Literal["tmpfs", "file size"]) -> None:
        self.folder = folder / "disk" if kind == "tmpfs" else folder
        self._kind = kind

    def fill(self) -> None:
        """From now on nothing has room."""
        if self._kind == "tmpfs":
            ballast = self.folder / "ballast"
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            return
        log = self.folder / f"{STORE}-wal"
        size = max(log.stat().st_size if log.exists() else 0, 8192)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def empty(self) -> None:
        """There is room again."""
        if self._kind == "tmpfs":
            (self.folder / "ballast").unlink()
        unlimited = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))


async def work(folder: Path, runs: int, disk: _Disk, places: list[int]) -> Said:
    """Submit inputs and see them done; fill the disk when so many calls have ended."""
    refusals: Counter[str] = Counter()
    free = asyncio.Semaphore(_OUTSTANDING)
    warnings = _Warnings()
    logging.getLogger("durable_agents").addHandler(warnings)

    async def see_through(number: int) -> None:
        async with free:
            while True:
                try:
                    run = await worker.submit(number, key=key_of(number), id=id_of(number))
                    await run.result()
                except StoreError as error:
                    refusals[type(error).__name__] += 1
                    await asyncio.sleep(_RETRY_SECONDS)
                else:
                    return

    async def fill() -> None:
        for place in places:
            while _ends(folder) < place:  # noqa: ASYNC110 - nobody tells what a file holds
                await asyncio.sleep(0.001)
            disk.fill()
            await asyncio.sleep(_FULL_SECONDS)
            disk.empty()

    settings = WorkerSettings(store_retry_seconds=_RETRY_SECONDS)
    store = SqliteStore(disk.folder / STORE)
    async with Worker(agent, store=store, settings=settings) as worker:
        filling = asyncio.create_task(fill())
        await asyncio.gather(*(see_through(number) for number in range(runs)))
        await filling
    return Said(dict(refusals), warnings.count, refusals.total() + warnings.count)


def _ends(folder: Path) -> int:
    path = folder / WITNESS
    return path.read_bytes().count(b'"end"') if path.exists() else 0


def main(folder: str, runs: str, kind: Literal["tmpfs", "file size"], places: str) -> None:
    """Be that process.

    Args:
        folder: Where the witness and the store go in the end.
        runs: How many inputs there are.
        kind: What is full.
        places: When, as numbers of calls that have ended.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.environ[witness.FILE] = str(Path(folder, WITNESS))
    os.environ[witness.LIFE] = "0"
    faulthandler.dump_traceback_later(_LONGEST_LIFE, exit=True)
    logging.getLogger("durable_agents").propagate = False
    disk = _Disk(Path(folder), kind)
    whens = sorted(int(place) for place in places.split(","))
    said = asyncio.run(work(Path(folder), int(runs), disk, whens))
    if disk.folder != Path(folder):
        for file in disk.folder.glob(f"{STORE}*"):
            shutil.copy(file, folder)
    Path(folder, "said.json").write_bytes(msgspec.json.encode(said))
