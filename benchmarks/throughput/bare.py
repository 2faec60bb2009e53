"""The limit: bare group commit through aiosqlite, with nothing of ours.

One hop to the connection's thread per drain, WAL, `synchronous=FULL`, an append-only table,
120 bytes a row, all that has queued in one transaction. As many waiters as the workload has
runs, each appending as many rows as a run makes calls.

    python -m benchmarks.throughput.bare RUNS CALLS        prints rows a second
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import aiosqlite

BODY = bytes(120)
INSERT = "INSERT INTO log (seq, run, body) VALUES (?, ?, ?)"
Row = tuple[int, int, bytes]


class BareLog:
    """Group commit, and not one thing more."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._queue: list[tuple[int, asyncio.Future[None]]] = []
        self._idle: asyncio.Future[None] | None = None
        self._seq = 0

    async def append(self, run: int) -> None:
        """Append one row; durable on return."""
        future = asyncio.get_running_loop().create_future()
        self._queue.append((run, future))
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        await future

    async def write(self) -> None:
        """Commit all that has queued, again and again."""
        while True:
            if not self._queue:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
                self._idle = None
            batch, self._queue = self._queue, []
            rows: list[Row] = []
            for run, _ in batch:
                self._seq += 1
                rows.append((self._seq, run, BODY))
            raw = self._connection._conn  # noqa: SLF001 - one hop for the whole transaction
            await self._connection._execute(commit, raw, rows)  # noqa: SLF001
            for _, future in batch:
                future.set_result(None)


def commit(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """One transaction, in the connection's thread."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, rows)
    connection.execute("COMMIT")


async def measure(runs: int, calls: int, folder: str) -> float:
    """Rows a second."""
    async with aiosqlite.connect(Path(folder) / "bare.db", isolation_level=None) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute("PRAGMA wal_autocheckpoint = 0")
        await connection.execute(
            "CREATE TABLE log (seq INTEGER PRIMARY KEY, run INTEGER, body BLOB)"
        )
        log = BareLog(connection)
        writer = asyncio.get_running_loop().create_task(log.write())

        async def run(number: int) -> None:
            for _ in range(calls):
                await log.append(number)

        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(runs):
                group.create_task(run(number))
        seconds = time.perf_counter() - start
        writer.cancel()
    return runs * calls / seconds


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        print(asyncio.run(measure(int(sys.argv[1]), int(sys.argv[2]), scratch)))
