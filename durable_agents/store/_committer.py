"""The writing connection of an SQLite store."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

from durable_agents.errors import StoreError, StoreUnavailableError
from durable_agents.journal import BATCH_BITS
from durable_agents.store._group_commit import BadWriteError
from durable_agents.store._membership import Membership, SharedQueue
from durable_agents.store._shared_transaction import SharedTransaction
from durable_agents.store._sqlite_file import CHECKPOINT_BYTES, as_store_error, is_locked_out
from durable_agents.store._thread import Connection, connected
from durable_agents.store._transaction import Known, Transaction
from durable_agents.store._turns import Turns
from durable_agents.store._write_queue import Acceptance, QueuedWrite

__all__ = ["Committer"]

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


class Committer:
    """The writing connection and the numbers that it gives out.

    Args:
        path: The file, for errors.
        connect: Opens it, checked and migrated.
        sql: The statements, by name.
        turns: The store's.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        sql: dict[str, str],
        turns: Turns,
    ) -> None:
        self._path = path
        self._connect = connect
        self._sql = sql
        self._shared: tuple[Membership, SharedQueue] | None = None
        self._connection: Connection | None = None
        self._turns = turns
        self._batch = 0
        self._position = 0
        self._bytes_since_checkpoint = 0
        self.holds_memory = True

    async def connect(self) -> None:
        """Open the file, checked and migrated."""
        self._connection = await connected(self._connect)

    def share(self, membership: Membership, queue: SharedQueue) -> None:
        """Write as one worker among several from now on."""
        self._shared = (membership, queue)

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
        with self._turns:
            return await run(function, connection._conn)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def ask(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function that may find the connection closed or the file locked.

        Raises:
            StoreError: It did.
        """
        if self._connection is None:
            raise StoreUnavailableError(str(self._path), "it is being opened anew")
        try:
            return await self.execute(function)
        except sqlite3.Error as error:
            raise as_store_error(error, self._path) from error
        except ValueError as error:  # what aiosqlite says where it was closed meanwhile
            raise StoreUnavailableError(str(self._path), "it is being opened anew") from error

    async def commit(
        self, batch: Sequence[QueuedWrite]
    ) -> Mapping[QueuedWrite, StoreError] | None:
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
        if self._bytes_since_checkpoint > CHECKPOINT_BYTES:
            await self.checkpoint()
        if self._shared is None or not isinstance(transaction, SharedTransaction):
            return None
        self._shared[0].learn(transaction.found)
        return transaction.refused

    def _prepare(self, batch: Sequence[QueuedWrite]) -> Transaction | SharedTransaction:
        if self._shared is not None:
            return SharedTransaction(self._sql, batch, *self._shared)
        self._batch += 1
        transaction = Transaction(self._sql)
        append, seq = transaction.rows.append, self._batch << BATCH_BITS
        for queued in batch:
            write = queued.write
            if isinstance(write, Acceptance):
                transaction.accept(queued, write, self._next_position)
                continue
            seq += 1
            queued.result = seq
            append((seq, queued.number, queued.body))
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

    async def _run(self, transaction: Transaction | SharedTransaction) -> Known:
        if self._connection is None:
            await self.connect()  # it could not be opened anew after an error
        try:
            return await self.execute(transaction.run)
        except _DATA_ERRORS:
            raise
        except sqlite3.Error as error:
            # Opening the file anew might wait once more for who has it locked.
            known = None if is_locked_out(error) else await self._recall(transaction)
            if known is None:
                raise as_store_error(error, self._path) from error
            return known

    async def _recall(self, transaction: Transaction | SharedTransaction) -> Known | None:
        """Open the file anew and look: after an error of the disk nobody knows otherwise."""
        if self._shared is not None:
            self._shared[0].is_unsure = True
        with suppress(sqlite3.Error):
            await self._close_connection()
        try:
            await self.connect()
            return await self.execute(transaction.recall)
        except (sqlite3.Error, StoreError):
            return None

    async def checkpoint(self) -> None:
        """Fold the WAL into the file, as far as nobody reads there."""
        self._bytes_since_checkpoint = 0
        # Not an error if it fails: what is committed is safe in the WAL, the next one gets it.
        with suppress(StoreError):
            await self.ask(lambda c: c.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone())

    async def close(self, *, mark: bool) -> None:
        """Close the connection; `mark` says in the file that this was no crash."""
        if mark and self._connection is not None:
            with suppress(sqlite3.Error):
                await self.execute(self._sign_off)
        await self._close_connection()

    def _sign_off(self, connection: sqlite3.Connection) -> None:
        if self._shared is None:
            connection.execute(self._sql["set_meta"], ("was_closed", "1"))
        else:
            self._shared[0].leave(connection)

    async def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
