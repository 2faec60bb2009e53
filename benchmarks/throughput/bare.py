"""The limit: bare group commit through aiosqlite, with nothing of ours.

One hop to the connection's thread per drain, WAL, `synchronous=FULL`, an append-only table,
120 bytes a row unless said otherwise, all that has queued in one transaction. As many waiters
as the workload has runs in flight, which append as many rows as there are calls.

    python -m benchmarks.throughput.bare WAITERS ROWS [--bytes N] [--gc default|frozen]

takes the rows of each waiter, and prints `rows_per_second` and `bytes_written`.
"""

import argparse
import asyncio
import sqlite3
import time
from pathlib import Path

import aiosqlite

from benchmarks.contestant import (
    COLLECTORS,
    bytes_written,
    report,
    scratch_folder,
    set_collector,
)

BODY_BYTES = 120
INSERT = "INSERT INTO log (seq, run, body) VALUES (?, ?, ?)"
Row = tuple[int, int, bytes]


class BareLog:
    """Group commit, and not one thing more."""

    def __init__(self, connection: aiosqlite.Connection, body: bytes) -> None:
        self._connection = connection
        self._body = body
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
                rows.append((self._seq, run, self._body))
            raw = self._connection._conn  # noqa: SLF001 - one hop for the whole transaction
            await self._connection._execute(commit, raw, rows)  # noqa: SLF001
            for _, future in batch:
                future.set_result(None)


def commit(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """One transaction, in the connection's thread."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, rows)
    connection.execute("COMMIT")


async def measure(arguments: argparse.Namespace, folder: Path) -> float:
    """Seconds for all rows."""
    waiters, rows = arguments.waiters, arguments.rows
    async with aiosqlite.connect(folder / "bare.db", isolation_level=None) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute("PRAGMA wal_autocheckpoint = 0")
        await connection.execute(
            "CREATE TABLE log (seq INTEGER PRIMARY KEY, run INTEGER, body BLOB)"
        )
        log = BareLog(connection, bytes(arguments.bytes))
        writer = asyncio.get_running_loop().create_task(log.write())

        async def wait(number: int) -> None:
            for _ in range(rows):
                await log.append(number)

        set_collector(arguments.gc)
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(waiters):
                group.create_task(wait(number))
        seconds = time.perf_counter() - start
        writer.cancel()
    return seconds


def parse() -> argparse.Namespace:
    """Sizes and settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("waiters", type=int)
    parser.add_argument("rows", type=int)
    parser.add_argument("--bytes", type=int, default=BODY_BYTES)
    parser.add_argument("--gc", choices=COLLECTORS, default="default")
    return parser.parse_args()


def main() -> None:
    """Measure, and say so."""
    arguments = parse()
    with scratch_folder() as folder:
        before = bytes_written()
        seconds = asyncio.run(measure(arguments, folder))
        written = bytes_written() - before
    rate = arguments.waiters * arguments.rows / seconds
    report(rows_per_second=rate, bytes_written=written)


if __name__ == "__main__":
    main()
