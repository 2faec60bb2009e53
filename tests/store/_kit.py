"""What the tests of the SQLite store share: short writes, and a disk that fails on demand."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable_agents import SqliteStore
from durable_agents.journal import RunParked, SentEvent
from durable_agents.serialization import Payload
from durable_agents.store import NewRun, Write

__all__ = ["PAYLOAD", "FaultyDisk", "disk_error", "new", "notes", "output", "write"]

PAYLOAD = Payload("plain", b"\x01")


def new(run_id: str | None = None, *, key: str = "k", data: bytes = b"\x01") -> NewRun:
    return NewRun("shop", key, run_id, Payload("plain", data), 1.0)


def write(number: int, text: str = "x", *outputs: str) -> Write:
    entries = [RunParked(text, 2.0)]
    return Write(number=number, entries=[*entries], outputs=[output(name) for name in outputs])


def output(name: str) -> SentEvent:
    return SentEvent(name, PAYLOAD)


async def notes(store: SqliteStore, number: int) -> list[str]:
    """Texts of a run's journal, in order."""
    rows = await store.journal(number)
    return [e.reason for _, entries in rows for e in entries if isinstance(e, RunParked)]


def disk_error(code: int = sqlite3.SQLITE_IOERR_FSYNC) -> sqlite3.OperationalError:
    """What the driver raises where the disk fails."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


@dataclass
class FaultyDisk:
    """Makes connections of which the next statements fail.

    Put it in the place of `connect`.
    """

    connect: Callable[..., sqlite3.Connection]
    """The real one."""
    opened: int = 0
    """Connections made so far."""
    refused: list[Exception] = field(default_factory=list)
    """What the next attempts to open the file raise."""
    faults: list[tuple[str, Exception, bool]] = field(default_factory=list)
    """Beginning of a statement, what it raises, and whether it has been executed by then."""

    def fail(self, statement: str, error: Exception, *, executed: bool = False) -> None:
        self.faults.append((statement, error, executed))

    def __call__(self, path: Path, *how: str) -> Any:  # noqa: ANN401 - as good as a connection
        if self.refused:
            raise self.refused.pop(0)
        self.opened += 1
        return _Connection(self.connect(path, *how), self)


class _Connection:
    """Hands everything on to a real connection, but for what is to fail."""

    def __init__(self, inner: sqlite3.Connection, disk: FaultyDisk) -> None:
        self._inner = inner
        self._disk = disk

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the real one has
        return getattr(self._inner, name)

    def execute(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Cursor:
        # A statement outside a transaction is one, with its own commit.
        commits = not self._inner.in_transaction and sql.startswith("INSERT")
        for fault in self._disk.faults:
            statement, error, executed = fault
            if sql.startswith(statement) or (commits and statement == "COMMIT"):
                self._disk.faults.remove(fault)
                if executed:
                    self._inner.execute(sql, tuple(parameters))
                raise error
        return self._inner.execute(sql, tuple(parameters))
