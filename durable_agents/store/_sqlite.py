"""The default store: one SQLite file, one owner, one writer.

Theory of operation
===================

Two connections, each with the thread that aiosqlite gives it. The writing one executes whole
transactions, one hop to its thread for each: the group commit hands it all that has queued. The
reading one serves look-ups, so that a look-up never waits for a sync.

Only the writing connection checkpoints, and only between commits: a checkpoint inside a commit
would make everybody who waits for that commit wait for it too.

After an error of the disk nobody knows whether the transaction was committed. So the connection
is opened anew, and the highest number in the file says what happened; until then nobody is told
anything. See https://www.sqlite.org/wal.html and https://www.sqlite.org/atomiccommit.html.
"""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from durable_agents.errors import StoreDamagedError, StoreError, StoreUnavailableError
from durable_agents.journal import (
    BATCH_BITS,
    Entry,
    MemoryUpdate,
    decode_blob,
    decode_memory,
    decode_row,
)
from durable_agents.serialization import Payload
from durable_agents.store._closing import close_each
from durable_agents.store._connecting import Connection, connected, in_thread
from durable_agents.store._group_commit import BadWriteError
from durable_agents.store._port import (
    AcceptedRun,
    NewRun,
    OutputRow,
    Retention,
    RunRow,
    StoreFacts,
    Write,
)
from durable_agents.store._retention import prune_some
from durable_agents.store._rows import Row, as_outputs, as_runs
from durable_agents.store._sqlite_file import (
    FileLock,
    as_store_error,
    connect,
    connect_reader,
    make_file,
    owner_text,
)
from durable_agents.store._transaction import Known, Transaction
from durable_agents.store._write_queue import NOT_OPEN, Acceptance, QueuedWrite, WriteQueue
from durable_agents.store.sql import load_queries

__all__ = ["SqliteStore"]

T = TypeVar("T")
_DATA_ERRORS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
"""What the driver raises where a value cannot be written, rather than the disk."""

_CHECKPOINT_BYTES = 4 * 2**20
"""Written to the WAL between two checkpoints, about; it stays at a small multiple of it."""


class SqliteStore:
    """Keeps everything in one SQLite file, owned by one worker at a time.

    A lock beside the file (`<path>.lock`) says who owns it; it goes with the process, so that
    the next worker takes over at once after a crash.

    Args:
        path: The file; made where it is missing, with mode 0600. Its folder must exist.
        synchronous: `"full"` (default) survives power loss: every commit is synced. `"normal"`
            survives the death of the process, but a power cut may lose the last moments.
        is_visit: Leave on record how the last owner ended: for who runs nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["full", "normal"] = "full",
        is_visit: bool = False,
    ) -> None:
        if synchronous not in {"full", "normal"}:
            msg = f"synchronous is {synchronous!r}, expected 'full' or 'normal'"
            raise ValueError(msg)
        self.path: Path = Path(path)
        self.synchronous: Literal["full", "normal"] = synchronous
        self._is_visit = is_visit
        self._lock = FileLock(self.path)
        self._queue: WriteQueue | None = None
        self._committer: _Committer | None = None
        self._reader: Connection | None = None
        self._sql: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r}, synchronous={self.synchronous!r})"

    @property
    def control_path(self) -> Path:
        """The socket beside the file itself, so that a link to it leads to the same one."""
        return self._lock.beside(".sock")

    async def open(self, owner: str) -> StoreFacts:
        """Take the file for one worker; see `Store.open`."""
        text = owner_text(owner)
        await in_thread(lambda: self._lock.take(text), undo=lambda _: self._lock.release())
        try:
            return await self._open()
        except sqlite3.Error as error:
            await self.close()
            raise as_store_error(error, self.path) from error
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> StoreFacts:
        self._sql = await asyncio.to_thread(load_queries)
        await asyncio.to_thread(make_file, self.path)
        self._committer = committer = _Committer(self.path, self.synchronous, self._sql)
        await committer.connect()
        meta, numbers = await committer.execute(self._read_facts)
        committer.start_at(*numbers[1:])
        self._reader = await connected(lambda: connect_reader(self.path))
        self._queue = WriteQueue(str(self.path), meta["token"], numbers[0], committer.commit)
        return StoreFacts(meta["token"], meta["was_closed"] == "1")

    def _read_facts(self, connection: sqlite3.Connection) -> tuple[dict[str, str], Row]:
        meta: dict[str, str] = dict(connection.execute(self._sql["meta"]).fetchall())
        if not meta.keys() >= {"token", "was_closed"}:
            problem = "its name is missing: restore the file from a backup"
            raise StoreDamagedError(str(self.path), problem)
        if not self._is_visit:
            connection.execute(self._sql["set_meta"], ("was_closed", "0"))
        return meta, connection.execute(self._sql["last_numbers"]).fetchone()

    async def close(self) -> None:
        """Commit what has been enqueued, checkpoint, and let the file go.

        Cancellation: the file is let go all the same, before the cancellation goes on.

        Raises:
            sqlite3.Error: A connection could not be closed; the file is let go all the same.
                What was committed is safe.
        """
        closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait([closing])
            raise

    async def _close(self) -> None:
        queue, self._queue = self._queue, None
        reader, self._reader = self._reader, None
        committer, self._committer = self._committer, None
        closers: list[Callable[[], Awaitable[None]]] = []
        if queue is not None:
            closers.append(queue.close)
        if reader is not None:
            closers.append(reader.close)
        if committer is not None:
            is_good = queue is not None and not self._is_visit
            closers.append(partial(committer.close, mark=is_good))
        try:
            await close_each(closers)
        finally:
            self._lock.release()

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        """Take an input in; see `Store.accept`."""
        return self._opened.accept(run)

    def append(self, write: Write) -> asyncio.Future[int]:
        """Add to a run's journal; see `Store.append`."""
        return self._opened.append(write)

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run; see `Store.journal`."""
        accepted = await self._select("accepted", (number,))
        rows = await self._select("journal", (number,))
        name = str(self.path)
        bodies = [(0, body) for (body,) in accepted] + rows
        return [(seq, decode_row(number, body, name)) for seq, body in bodies]

    async def blobs(self, number: int) -> dict[bytes, Payload]:
        """Large parts of a run's values; see `Store.blobs`."""
        rows = await self._select("blobs", (number,))
        store = str(self.path)
        return {name: decode_blob(number, name, body, store) for name, body in rows}

    def readmit(self, number: int) -> None:
        """Let writes of a run through again; see `Store.readmit`."""
        self._opened.readmit(number)

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

    async def last_position(self) -> int:
        """Position of the newest output."""
        rows = await self._select("last_position", ())
        position: int = rows[0][0]
        return position

    async def acknowledged(self, consumer: str) -> int:
        """How far a consumer has come; see `Store.acknowledged`."""
        rows = await self._select("acknowledged", (consumer,))
        return rows[0][0] if rows else 0

    async def acknowledge(self, consumer: str, position: int) -> None:
        """Keep how far a consumer has come; see `Store.acknowledge`."""
        parameters = (consumer, position)
        await self._change(lambda c: c.execute(self._sql["acknowledge"], parameters))

    async def prune(self, retention: Retention) -> int:
        """Forget some runs that have ended; see `Store.prune`."""
        return await self._change(lambda c: prune_some(c, self._sql, retention))

    async def _change(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Change the file between two commits."""
        if self._committer is None:
            raise StoreUnavailableError(str(self.path), NOT_OPEN)
        try:
            return await self._committer.execute(function)
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error

    @property
    def _opened(self) -> WriteQueue:
        if self._queue is None:
            raise StoreUnavailableError(str(self.path), NOT_OPEN)
        return self._queue

    async def _select(self, name: str, parameters: Row) -> list[Row]:
        if self._reader is None:
            raise StoreUnavailableError(str(self.path), NOT_OPEN)
        try:
            rows: Iterable[Any] = await self._reader.execute_fetchall(
                self._sql[name], parameters
            )
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error
        except UnicodeEncodeError:
            return []  # nothing in the file goes by a name that could not be written
        return list(rows)

    async def _runs(self, name: str, parameters: Row) -> list[RunRow]:
        return as_runs(await self._select(name, parameters), self._opened.ids)

    def _as_outputs(self, rows: list[Row]) -> list[OutputRow]:
        return as_outputs(rows, self._opened.ids, str(self.path))


class _Committer:
    """The writing connection and the numbers that it gives out."""

    def __init__(self, path: Path, synchronous: str, sql: dict[str, str]) -> None:
        self._path = path
        self._synchronous = synchronous
        self._sql = sql
        self._connection: Connection | None = None
        self._batch = 0
        self._position = 0
        self._bytes_since_checkpoint = 0
        self.holds_memory = True

    async def connect(self) -> None:
        """Open the file, checked and migrated."""
        self._connection = await connected(lambda: connect(self._path, self._synchronous))

    def start_at(self, last_seq: int, last_position: int, holds_memory: int) -> None:
        """Go on with numbering where the file ends."""
        self._batch = last_seq >> BATCH_BITS
        self._position = last_position
        self.holds_memory = bool(holds_memory)

    async def execute(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function over the raw connection, in its thread: one hop, however much it does.

        aiosqlite offers a hop per statement; a transaction made of them costs three times as
        much. Its own methods are built on this one.
        """
        connection = self._connection
        assert connection is not None, "who executes has connected"
        run = cast("Callable[..., Awaitable[T]]", connection._execute)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return await run(function, connection._conn)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def commit(self, batch: Sequence[QueuedWrite]) -> None:
        """Make a batch durable, all or nothing; see `GroupCommit`."""
        position = self._position
        try:
            transaction = self._prepare(batch)
            known = await self._run(transaction)
        except _DATA_ERRORS as error:
            self._position = position  # nothing of it is in the file
            raise BadWriteError(str(error)) from error
        for queued, found in known.items():
            queued.result = found
        self.holds_memory = self.holds_memory or transaction.changes_memory
        self._bytes_since_checkpoint += transaction.size
        if self._bytes_since_checkpoint > _CHECKPOINT_BYTES:
            await self._checkpoint()

    def _prepare(self, batch: Sequence[QueuedWrite]) -> Transaction:
        self._batch += 1
        transaction = Transaction(self._sql)
        seq = self._batch << BATCH_BITS
        for queued in batch:
            write = queued.write
            if isinstance(write, Acceptance):
                transaction.accept(queued, write)
            else:
                seq += 1
                queued.result = seq
                transaction.append(seq, queued.number, queued.body)
                if write.blobs is not None:
                    transaction.add_blobs(queued.number, write.blobs)
                if (
                    write.status is not None
                    or write.outputs
                    or write.memory is not None
                    or write.requeues
                ):
                    transaction.add_effects(write, self._next_position)
        return transaction

    def _next_position(self) -> int:
        self._position += 1
        return self._position

    async def _run(self, transaction: Transaction) -> Known:
        if self._connection is None:
            await self.connect()  # it could not be opened anew after an error
        try:
            return await self.execute(transaction.run)
        except _DATA_ERRORS:
            raise
        except sqlite3.Error as error:
            known = await self._recall(transaction)
            if known is None:
                raise as_store_error(error, self._path) from error
            return known

    async def _recall(self, transaction: Transaction) -> Known | None:
        """Open the file anew and look: after an error of the disk nobody knows otherwise."""
        with suppress(sqlite3.Error):
            await self._close_connection()
        try:
            await self.connect()
            return await self.execute(transaction.recall)
        except (sqlite3.Error, StoreError):
            return None

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
