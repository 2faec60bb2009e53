"""The default store: one SQLite file, one owner, one writer.

Theory of operation
===================

Two connections, each with the thread that aiosqlite gives it. The writing one executes whole
transactions, one hop to its thread for each: the group commit hands it all that has queued. The
reading one serves look-ups, so that a look-up never waits for a sync.

Only the writing connection checkpoints, and only between commits: a checkpoint inside a commit
would make everybody who waits for that commit wait for it too.

After an error of the disk nobody knows whether the transaction was committed. So the connection is
opened anew, and the highest number in the file says what happened; until then nobody is told
anything. See https://www.sqlite.org/wal.html and https://www.sqlite.org/atomiccommit.html.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import aiosqlite

from durable_agents.errors import StoreError
from durable_agents.journal import (
    BATCH_BITS,
    Entry,
    MemoryUpdate,
    RunStatus,
    decode_memory,
    decode_output,
    decode_row,
    encode_cell,
)
from durable_agents.store._group_commit import BadWriteError
from durable_agents.store._port import (
    AcceptedRun,
    NewRun,
    OutputRow,
    RunRow,
    StoreFacts,
    Write,
)
from durable_agents.store._sqlite_file import FileLock, as_store_error, connect, owner_text
from durable_agents.store._write_queue import Acceptance, QueuedWrite, WriteQueue
from durable_agents.store.sql import load_queries

__all__ = ["SqliteStore"]

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]

_CHECKPOINT_BYTES = 4 * 2**20
"""Entries written between two checkpoints; the WAL stays at a small multiple of it."""


class SqliteStore:
    """Keeps everything in one SQLite file, owned by one worker at a time.

    A lock beside the file (`<path>.lock`) says who owns it; it goes with the process, so that the
    next worker takes over at once after a crash.

    Args:
        path: The file; made where it is missing, with mode 0600. Its folder must exist.
        synchronous: `"full"` (default) survives power loss: every commit is synced. `"normal"`
            survives the death of the process, but a power cut may lose the last moments.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, synchronous: Literal["full", "normal"] = "full"
    ) -> None:
        if synchronous not in {"full", "normal"}:
            msg = f"synchronous is {synchronous!r}, expected 'full' or 'normal'"
            raise ValueError(msg)
        self.path = Path(path)
        self.synchronous = synchronous
        self._lock = FileLock(self.path)
        self._queue: WriteQueue | None = None
        self._committer: _Committer | None = None
        self._reader: aiosqlite.Connection | None = None
        self._sql = load_queries()

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r}, synchronous={self.synchronous!r})"

    async def open(self, owner: str) -> StoreFacts:
        """Take the file for one worker; see `Store.open`."""
        await asyncio.to_thread(self._lock.take, owner_text(owner))
        try:
            return await self._open()
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> StoreFacts:
        self._committer = committer = _Committer(self.path, self.synchronous, self._sql)
        await committer.connect()
        meta, numbers = await committer.execute(self._read_facts)
        committer.start_at(*numbers[1:])
        self._reader = await self._connect_reader()
        self._queue = WriteQueue(str(self.path), meta["token"], numbers[0], committer.commit)
        return StoreFacts(meta["token"], meta["was_closed"] == "1")

    def _read_facts(self, connection: sqlite3.Connection) -> tuple[dict[str, str], Row]:
        meta = dict(connection.execute(self._sql["meta"]).fetchall())
        connection.execute(self._sql["set_meta"], ("was_closed", "0"))
        return meta, connection.execute(self._sql["last_numbers"]).fetchone()

    async def _connect_reader(self) -> aiosqlite.Connection:
        reader = await aiosqlite.connect(self.path, isolation_level=None)
        await reader.execute("PRAGMA query_only = 1")
        return reader

    async def close(self) -> None:
        """Commit what has been enqueued, checkpoint, and let the file go."""
        queue, self._queue = self._queue, None
        reader, self._reader = self._reader, None
        committer, self._committer = self._committer, None
        try:
            if queue is not None:
                await queue.close()
            if reader is not None:
                await reader.close()
            if committer is not None:
                await committer.close(mark=queue is not None)
        finally:
            self._lock.release()

    def accept(self, run: NewRun) -> "asyncio.Future[AcceptedRun]":
        """Take an input in; see `Store.accept`."""
        return self._opened.accept(run)

    def append(self, write: Write) -> "asyncio.Future[int]":
        """Add to a run's journal; see `Store.append`."""
        return self._opened.append(write)

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run; see `Store.journal`."""
        self._opened.readmit(number)
        accepted = await self._select("accepted", (number,))
        rows = await self._select("journal", (number,))
        name = str(self.path)
        return [(seq, decode_row(number, body, name)) for seq, body in [(0, *accepted[0]), *rows]]

    async def find(self, run_id: str) -> RunRow | None:
        """The run with this id."""
        number = self._opened.number_of(run_id)
        if number is not None:
            rows = await self._runs("run_by_number", (number,))
        else:
            rows = await self._runs("run_by_id", (run_id,))
        return rows[0] if rows else None

    async def open_runs(self, agent: str, *, after: int, limit: int) -> list[RunRow]:
        """Runs of an agent that have not ended."""
        return await self._runs("open_runs", (agent, after, limit))

    async def open_runs_of_key(
        self, agent: str, key: str, *, after: int, limit: int
    ) -> list[RunRow]:
        """The same for one key."""
        return await self._runs("open_runs_of_key", (agent, key, after, limit))

    async def runs(self, *, after: int, limit: int) -> list[RunRow]:
        """All runs by number, beginning behind `after`."""
        return await self._runs("runs", (after, limit))

    @property
    def holds_memory(self) -> bool:
        """Whether any short-term memory is kept."""
        return self._committer is None or self._committer.holds_memory

    async def memory(self, agent: str, key: str) -> Mapping[str, MemoryUpdate]:
        """Short-term memory of a key."""
        rows = await self._select("memory", (agent, key))
        return {path: decode_memory(body, str(self.path)) for path, body in rows}

    async def outputs_of(self, number: int) -> list[OutputRow]:
        """Outputs of one run, in order."""
        return self._as_outputs(await self._select("outputs_of", (number,)))

    async def outputs(self, *, after: int, limit: int) -> list[OutputRow]:
        """Outputs of all runs, beginning behind a position."""
        return self._as_outputs(await self._select("outputs", (after, limit)))

    @property
    def _opened(self) -> WriteQueue:
        assert self._queue is not None, "the store is not open: use it through a Worker"
        return self._queue

    async def _select(self, name: str, parameters: Row) -> list[Row]:
        assert self._reader is not None, "the store is not open: use it through a Worker"
        try:
            return list(await self._reader.execute_fetchall(self._sql[name], parameters))
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error

    async def _runs(self, name: str, parameters: Row) -> list[RunRow]:
        return [
            RunRow(number, run_id, agent, run_id if key is None else key, RunStatus(status))
            for number, caller_id, agent, key, status in await self._select(name, parameters)
            for run_id in [self._opened.run_id(number) if caller_id is None else caller_id]
        ]

    def _as_outputs(self, rows: list[Row]) -> list[OutputRow]:
        name = str(self.path)
        return [OutputRow(p, run, decode_output(run, body, name)) for p, run, body in rows]


class _Committer:
    """The writing connection and the numbers that it gives out."""

    def __init__(self, path: Path, synchronous: str, sql: dict[str, str]) -> None:
        self._path = path
        self._synchronous = synchronous
        self._sql = sql
        self._connection: aiosqlite.Connection | None = None
        self._batch = 0
        self._position = 0
        self._bytes_since_checkpoint = 0
        self.holds_memory = True

    async def connect(self) -> None:
        """Open the file, checked and migrated."""
        self._connection = await aiosqlite.Connection(
            lambda: connect(self._path, self._synchronous), iter_chunk_size=64
        )

    def start_at(self, last_seq: int, last_position: int, holds_memory: int) -> None:
        """Go on with numbering where the file ends."""
        self._batch = last_seq >> BATCH_BITS
        self._position = last_position
        self.holds_memory = bool(holds_memory)

    async def execute(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function over the raw connection, in its thread: one hop, however much it does.

        aiosqlite offers a hop per statement; a transaction made of them costs three times as
        much. Its own methods are built on this one.
        """
        connection = self._connection
        assert connection is not None
        result: T = await connection._execute(function, connection._conn, *arguments)  # noqa: SLF001
        return result

    async def commit(self, batch: Sequence[QueuedWrite]) -> None:
        """Make a batch durable, all or nothing; see `GroupCommit`."""
        transaction = self._prepare(batch)
        try:
            known = await self.execute(transaction.run, self._sql)
        except (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError) as error:
            raise BadWriteError(str(error)) from error
        except (OverflowError, UnicodeError, sqlite3.ProgrammingError) as error:
            raise BadWriteError(str(error)) from error
        except sqlite3.Error as error:
            if not await self._was_committed(transaction):
                raise as_store_error(error, self._path) from error
            known = {}
        for queued, existing in known.items():
            queued.result = existing
        self.holds_memory = self.holds_memory or bool(transaction.memory)
        self._bytes_since_checkpoint += transaction.size
        if self._bytes_since_checkpoint > _CHECKPOINT_BYTES:
            await self._checkpoint()

    def _prepare(self, batch: Sequence[QueuedWrite]) -> "_Transaction":
        self._batch += 1
        transaction = _Transaction()
        seq = self._batch << BATCH_BITS
        for queued in batch:
            write = queued.write
            if type(write) is Acceptance:
                transaction.add_acceptance(queued, write)
            else:
                seq += 1
                queued.result = seq
                transaction.rows.append((seq, queued.number, queued.body))
                transaction.size += len(queued.body)
                if write.status is not None or write.outputs or write.memory is not None:
                    transaction.add_effects(write, self._next_position)
        return transaction

    def _next_position(self) -> int:
        self._position += 1
        return self._position

    async def _was_committed(self, transaction: "_Transaction") -> bool:
        """Open the file anew and look: after an error of the disk nobody knows otherwise."""
        with suppress(sqlite3.Error, ValueError):
            await self._close_connection()
        try:
            await self.connect()
            return await self.execute(transaction.is_in, self._sql)
        except (sqlite3.Error, StoreError):
            return False

    async def _checkpoint(self) -> None:
        self._bytes_since_checkpoint = 0
        # Not an error if it fails: what is committed is safe in the WAL, the next one gets it.
        with suppress(sqlite3.Error):
            await self.execute(lambda c: c.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone())

    async def close(self, *, mark: bool) -> None:
        """Close the connection; `mark` says in the file that this was no crash."""
        if mark and self._connection is not None:
            parameters = ("was_closed", "1")
            with suppress(sqlite3.Error):
                await self.execute(lambda c: c.execute(self._sql["set_meta"], parameters))
        await self._close_connection()

    async def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class _Transaction:
    """The rows of one commit, made ready on the loop, written in the connection's thread."""

    __slots__ = (
        "accepted",
        "accepted_once",
        "memory",
        "outputs",
        "rows",
        "size",
        "statuses",
    )

    def __init__(self) -> None:
        self.accepted: list[Row] = []
        self.accepted_once: list[tuple[QueuedWrite, Row]] = []
        self.rows: list[Row] = []
        self.statuses: list[Row] = []
        self.outputs: list[Row] = []
        self.memory: list[tuple[str, Row]] = []
        self.size = 0

    def add_acceptance(self, queued: QueuedWrite, acceptance: Acceptance) -> None:
        """Take an input in; `result` is what its caller is told if it is new."""
        run = acceptance.run
        queued.result = acceptance.as_accepted()
        self.size += len(queued.body)
        if run.run_id is None:
            self.accepted.append((acceptance.number, run.agent, run.key, queued.body))
        else:
            row = (acceptance.number, run.run_id, run.agent, run.key, queued.body)
            self.accepted_once.append((queued, row))

    def add_effects(self, write: Write, next_position: Callable[[], int]) -> None:
        """Take in what the entries change beside the journal."""
        if write.status is not None:
            self.statuses.append((int(write.status), write.number))
        for event in write.outputs:
            cell = encode_cell(write.number, event)
            self.outputs.append((next_position(), write.number, cell))
        if write.memory is not None:
            agent, key, changes = write.memory
            for path, update in changes.items():
                if update is None:
                    self.memory.append(("delete_memory", (agent, key, path)))
                else:
                    row = (agent, key, path, encode_cell(0, update))
                    self.memory.append(("set_memory", row))

    def run(
        self, connection: sqlite3.Connection, sql: dict[str, str]
    ) -> dict[QueuedWrite, AcceptedRun]:
        """Write everything; returns the runs whose ids were known already."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            known = self._write(connection, sql)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return known

    def _write(
        self, connection: sqlite3.Connection, sql: dict[str, str]
    ) -> dict[QueuedWrite, AcceptedRun]:
        connection.executemany(sql["accept"], self.accepted)
        known = {}
        for queued, row in self.accepted_once:
            if connection.execute(sql["accept_once"], row).rowcount == 0:
                run_id = row[1]
                number, _, _, key, _ = connection.execute(sql["run_by_id"], (run_id,)).fetchone()
                known[queued] = AcceptedRun(number, run_id, key or run_id, is_new=False)
        connection.executemany(sql["append"], self.rows)
        connection.executemany(sql["set_status"], self.statuses)
        connection.executemany(sql["add_output"], self.outputs)
        for name, row in self.memory:
            connection.execute(sql[name], row)
        return known

    def is_in(self, connection: sqlite3.Connection, sql: dict[str, str]) -> bool:
        """Whether the file holds this transaction."""
        if self.rows:
            last = connection.execute(sql["last_seq"]).fetchone()[0]
            return bool(last >= self.rows[-1][0])
        if self.accepted:
            found = connection.execute(sql["run_exists"], (self.accepted[-1][0],)).fetchone()
            return bool(found[0])
        # Accepting by id twice is the same as once: it may be reported as failed and tried again.
        return False
