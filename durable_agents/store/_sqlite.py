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
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from durable_agents.errors import StoreUnavailableError
from durable_agents.journal import (
    Entry,
    MemoryUpdate,
    decode_blob,
    decode_memory,
    decode_row,
)
from durable_agents.serialization import Payload
from durable_agents.store._claims import Claims
from durable_agents.store._closing import close_each
from durable_agents.store._committer import Committer
from durable_agents.store._file_lock import FileLock, SharedLock, owner_text
from durable_agents.store._membership import Membership, SharedQueue
from durable_agents.store._pauses import as_fact, as_pauses, fact_name
from durable_agents.store._port import (
    AcceptedRun,
    NewRun,
    OutputRow,
    Pause,
    Retention,
    RunRow,
    StoreFacts,
    WaitingRuns,
    Write,
)
from durable_agents.store._retention import prune_some
from durable_agents.store._rows import Row, as_moment, as_outputs, as_runs, moment_name
from durable_agents.store._sqlite_file import (
    as_store_error,
    connect,
    connect_reader,
    connect_shared,
    is_free_of_wal_reset_bug,
    is_private,
    make_file,
    read_meta,
)
from durable_agents.store._thread import Connection, connected, in_thread
from durable_agents.store._turns import Turns
from durable_agents.store._write_queue import NOT_OPEN, WriteQueue
from durable_agents.store.sql import load_queries

__all__ = ["SqliteStore"]

logger = logging.getLogger("durable_agents")

T = TypeVar("T")


class SqliteStore:
    """Keeps everything in one SQLite file, owned by one worker at a time, or shared by several.

    A lock beside the file (`<path>.lock`) says who owns it; it goes with the process, so that
    the next worker takes over at once after a crash.

    Args:
        path: The file; made where it is missing, with mode 0600. Its folder must exist.
        synchronous: `"full"` (default) survives power loss: every commit is synced. `"normal"`
            survives the death of the process, but a power cut may lose the last moments.
        shared: Whether other workers on this machine, each with a store of its own that is
            shared, may open the file as well. Slower; see `journal_mode`.
        is_visit: Leave on record how the last owner ended: for who runs nothing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["full", "normal"] = "full",
        shared: bool = False,
        is_visit: bool = False,
    ) -> None:
        if synchronous not in {"full", "normal"}:
            msg = f"synchronous is {synchronous!r}, expected 'full' or 'normal'"
            raise ValueError(msg)
        self.path: Path = Path(path)
        self.synchronous: Literal["full", "normal"] = synchronous
        self.shared: bool = shared
        self._is_visit = is_visit
        self._resolved: Path | None = None
        self._lock = SharedLock(self.path) if shared else FileLock(self.path)
        self._queue: WriteQueue | None = None
        self._committer: Committer | None = None
        self._reader: Connection | None = None
        self._turns: Turns | None = None
        self._membership: Membership | None = None
        self._owner = ""
        self._sql: dict[str, str] = {}

    def __repr__(self) -> str:
        shared = ", shared=True" if self.shared else ""
        return f"SqliteStore({str(self.path)!r}, synchronous={self.synchronous!r}{shared})"

    @property
    def journal_mode(self) -> Literal["wal", "truncate"]:
        """How SQLite keeps commits atomic.

        `"wal"`; in a shared file `"truncate"`, slower and as safe, where the SQLite library has
        a bug that damages files which several connections write in WAL mode.
        """
        is_safe = not self.shared or is_free_of_wal_reset_bug(sqlite3.sqlite_version_info)
        return "wal" if is_safe else "truncate"

    @property
    def control_path(self) -> Path | None:
        """The socket beside the file itself, so that a link to it leads to the same one.

        None for a shared file: it has no single owner to listen.
        """
        if self.shared:
            return None
        return Path(f"{self._resolved or self.path.resolve()}.sock")

    @property
    def claims(self) -> Claims | None:
        """Which of its runs this worker runs; None where the file is not shared."""
        return self._membership

    async def open(self, owner: str) -> StoreFacts:
        """Take the file for one worker; see `Store.open`."""
        text = owner_text(owner)
        await in_thread(lambda: self._lock.take(text), undo=lambda _: self._lock.release())
        self._owner = text
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
        private = await asyncio.to_thread(self._make_file)
        self._turns = turns = Turns(asyncio.get_running_loop())
        self._committer = committer = Committer(self.path, self._connect, self._sql, turns)
        await committer.connect()
        self._reader = await connected(lambda: connect_reader(self.path))
        if isinstance(self._lock, SharedLock):
            return await self._join(committer, self._lock, private=private)
        meta, numbers = await committer.execute(self._read_facts)
        committer.start_at(*numbers[1:])
        self._queue = WriteQueue(str(self.path), meta["token"], numbers[0], committer.commit)
        return StoreFacts(meta["token"], meta["was_closed"] == "1", private)

    async def _join(
        self, committer: Committer, lock: SharedLock, *, private: bool
    ) -> StoreFacts:
        membership = Membership(self.path, lock, self._sql, committer.ask)
        membership.owner = self._owner
        token, numbers = await committer.execute(membership.join)
        committer.start_at(*numbers[1:])
        queue = SharedQueue(str(self.path), token, committer.commit, membership)
        committer.share(membership, queue)
        membership.serve(queue)
        self._queue, self._membership = queue, membership
        await asyncio.to_thread(lock.settle)
        _say_how_it_is_shared(self)
        return StoreFacts(token, was_closed=True, is_private=private)

    def _make_file(self) -> bool:
        self._resolved = self.path.resolve()
        # Whoever joins finds the file made, and may not touch it: see `make_file`.
        if not isinstance(self._lock, SharedLock) or self._lock.is_first:
            make_file(self.path)
        return is_private(self.path)

    def _connect(self) -> sqlite3.Connection:
        if self.shared:
            return connect_shared(self.path, self.synchronous, self.journal_mode)
        return connect(self.path, self.synchronous)

    def _read_facts(self, connection: sqlite3.Connection) -> tuple[dict[str, str], Row]:
        meta = read_meta(connection, self._sql, self.path)
        if connection.execute(self._sql["has_claims"]).fetchone()[0]:
            # Those who shared the file are dead, or they would have left.
            meta["was_closed"] = "0"
            connection.execute(self._sql["disown"])
            connection.execute(self._sql["dismiss"])
        was_closed = meta["was_closed"] if self._is_visit else "0"
        connection.execute(self._sql["set_meta"], ("was_closed", was_closed))
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
        self._membership = None
        closers: list[Callable[[], Awaitable[None]]] = []
        if queue is not None:
            closers.append(queue.close)
        if reader is not None:
            closers.append(reader.close)
        if committer is not None:
            is_good = queue is not None and not self._is_visit
            closers.append(partial(committer.close, mark=is_good))
        closers.append(partial(asyncio.to_thread, self._lock.release))
        await close_each(closers)

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        """Take an input in; see `Store.accept`."""
        return self._opened.accept(run)

    def append(self, write: Write) -> asyncio.Future[int]:
        """Add to a run's journal; see `Store.append`."""
        queue = self._queue
        if queue is None:
            queue = self._opened
        return queue.append(write)

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run; see `Store.journal`."""
        # One look for both, and in order: each takes a hop to the thread, for each run that is
        # taken over.
        rows = await self._select("whole_journal", (number, number))
        name = str(self.path)
        return [(seq, decode_row(number, body, name)) for seq, body in rows]

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

    async def waiting_runs(self, agent: str) -> WaitingRuns:
        """How many runs of an agent wait; see `Store.waiting_runs`."""
        rows = await self._select("waiting_runs", (agent,))
        return WaitingRuns(*rows[0])

    async def due_runs(self, agent: str, *, now: float, limit: int) -> list[RunRow]:
        """Those of them that are due."""
        return await self._runs("due_runs", (agent, now, limit))

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

    async def moment(self, agent: str, schedule: str, first: int) -> int:
        """The moment that a schedule has come to; see `Store.moment`."""
        name = moment_name(agent, schedule)
        if not (rows := await self._select("moment", (name,))):
            await self._change(lambda c: c.execute(self._sql["begin_moment"], (name, first)))
            rows = await self._select("moment", (name,))
        return as_moment(rows[0], schedule, str(self.path))

    async def keep_moment(self, agent: str, schedule: str, moment: int) -> None:
        """Keep the moment that a schedule has come to; see `Store.keep_moment`."""
        parameters = (moment_name(agent, schedule), moment)
        await self._change(lambda c: c.execute(self._sql["keep_moment"], parameters))

    async def pauses(self) -> list[Pause]:
        """What is paused; see `Store.pauses`."""
        return as_pauses(await self._select("pauses", ()), str(self.path))

    async def pause(self, pause: Pause) -> None:
        """Keep a pause; see `Store.pause`."""
        fact = as_fact(pause)
        await self._change(lambda c: c.execute(self._sql["set_meta"], fact))

    async def resume(self, agent: str, key: str | None) -> bool:
        """Forget a pause; see `Store.resume`."""
        name = fact_name(agent, key)
        forget = self._sql["forget_meta"]
        return await self._change(lambda c: c.execute(forget, (name,)).rowcount) > 0

    async def prune(self, retention: Retention) -> int:
        """Forget some runs that have ended; see `Store.prune`."""
        count = await self._change(lambda c: prune_some(c, self._sql, retention))
        if count and self._committer is not None:
            # It writes as much as thousands of commits, and none of those may follow.
            await self._committer.checkpoint()
        return count

    async def _change(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Change the file between two commits."""
        if self._committer is None:
            raise StoreUnavailableError(str(self.path), NOT_OPEN)
        return await self._committer.ask(function)

    @property
    def _opened(self) -> WriteQueue:
        if self._queue is None:
            raise StoreUnavailableError(str(self.path), NOT_OPEN)
        return self._queue

    async def _select(self, name: str, parameters: Row) -> list[Row]:
        if self._reader is None or self._turns is None:
            raise StoreUnavailableError(str(self.path), NOT_OPEN)
        try:
            with self._turns:
                rows: Iterable[Any] = await self._reader.execute_fetchall(
                    self._sql[name], parameters
                )
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error
        except UnicodeEncodeError:
            return []  # nothing in the file goes by a name that could not be written
        return list(rows)

    async def _runs(self, name: str, parameters: Row) -> list[RunRow]:
        rows = await self._select(name, parameters)
        return as_runs(rows, self._opened.ids, str(self.path))

    def _as_outputs(self, rows: list[Row]) -> list[OutputRow]:
        return as_outputs(rows, self._opened.ids, str(self.path))


def _say_how_it_is_shared(store: SqliteStore) -> None:
    version = sqlite3.sqlite_version
    if store.journal_mode == "wal":
        logger.info("%r is shared in WAL mode (SQLite %s)", store, version)
    else:
        logger.warning(
            "%r is shared in rollback-journal mode, slower and as safe: in WAL mode SQLite %s "
            "may damage a file that several connections write; 3.51.3 does not",
            store,
            version,
        )
