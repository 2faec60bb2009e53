"""A process whose writes are recorded: the workload of the kills, a few runs at a time.

What it was told by the engine it writes down at once, in one line of a file of its own: that an
input was accepted, and what a run put out. What a durable function was given as arguments the
witness has: it had been handed over. So the trace says at each point what must not be lost.

A store that fails is asked again until it takes the input, as a user would.
"""

import asyncio
import faulthandler
import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from durable_agents import Run, SqliteStore, StoreError, Worker, WorkerSettings
from tests.crash import witness
from tests.crash.workload import STORE, WITNESS, agent, id_of, key_of

__all__ = ["MARKS", "Mark", "Mode"]

Mode: TypeAlias = Literal["full", "normal", "shared", "off", "deaf"]
"""How the store syncs; "shared": as one that several workers may open.

Two are wrong, which the harness must find out: "off" never syncs; "deaf" does not hear that a
commit has failed.
"""

MARKS = "marks.jsonl"
_OUTSTANDING = 8
_RETRY_SECONDS = 0.05
_LONGEST_LIFE = 300.0


class Mark(msgspec.Struct, frozen=True):
    """The engine has told its user something."""

    number: int
    """The input."""
    outputs: list[Any] | None = None
    """What its run put out; None: it was accepted."""


class _Unsynced(sqlite3.Connection):
    """Takes care that nothing is synced, whatever the engine asks for."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - the driver's own
        if sql.startswith("PRAGMA synchronous"):
            sql = "PRAGMA synchronous = OFF"
        return super().execute(sql, *parameters)


class _Deaf(sqlite3.Connection):
    """Says of every commit that it was one."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - the driver's own
        try:
            return super().execute(sql, *parameters)
        except sqlite3.OperationalError:
            if sql != "COMMIT":
                raise
            return self.cursor()


_WRONG = {"off": _Unsynced, "deaf": _Deaf}


def _store(path: Path, mode: Mode) -> SqliteStore:
    if (wrong := _WRONG.get(mode)) is not None:
        sqlite3.connect = partial(sqlite3.connect, factory=wrong)  # type: ignore[assignment]
    synchronous: Literal["full", "normal"] = "normal" if mode == "normal" else "full"
    return SqliteStore(path, synchronous=synchronous, shared=mode == "shared")


async def work(folder: Path, runs: int, mode: Mode) -> None:
    """Submit inputs and see them done; write down what was told."""
    marks = os.open(folder / MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    places = asyncio.Semaphore(_OUTSTANDING)

    def told(mark: Mark) -> None:
        os.write(marks, msgspec.json.encode(mark) + b"\n")

    async def see_through(worker: Worker, number: int) -> None:
        async with places:
            run = await _submitted(worker, number)
            told(Mark(number))
            told(Mark(number, await run.result()))

    settings = WorkerSettings(store_retry_seconds=_RETRY_SECONDS)
    async with Worker(agent, store=_store(folder / STORE, mode), settings=settings) as worker:
        await asyncio.gather(*(see_through(worker, number) for number in range(runs)))


async def _submitted(worker: Worker, number: int) -> Run:
    while True:
        try:
            return await worker.submit(number, key=key_of(number), id=id_of(number))
        except StoreError:
            await asyncio.sleep(_RETRY_SECONDS)


def main(folder: str, runs: str, mode: Mode) -> None:
    """Be that process.

    Args:
        folder: Where everything is kept.
        runs: How many inputs there are.
        mode: How the store syncs.
    """
    os.environ[witness.FILE] = str(Path(folder, WITNESS))
    os.environ[witness.LIFE] = "0"
    faulthandler.dump_traceback_later(_LONGEST_LIFE, exit=True)
    asyncio.run(work(Path(folder), int(runs), mode))
