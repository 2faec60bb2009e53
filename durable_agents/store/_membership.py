"""This worker among those that share a file: its registration and its runs.

The state changes on the loop only, when a transaction has been committed; what a transaction
finds out is its own until then.
"""

import asyncio
import logging
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from durable_agents.journal import RunStatus, encode_row
from durable_agents.store._atomic import atomic
from durable_agents.store._claims import Beat, Claimant, ClaimedRun, Pulse
from durable_agents.store._file_lock import SharedLock
from durable_agents.store._port import AcceptedRun, NewRun, Write
from durable_agents.store._sqlite_file import read_meta
from durable_agents.store._write_queue import Acceptance, Commit, WriteQueue

__all__ = ["BeatWrite", "Found", "Membership", "Peer", "SharedQueue", "register"]

logger = logging.getLogger("durable_agents")

_OUTDATED = 0
"""A fencing token that no worker has."""

Execute: TypeAlias = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]


class BeatWrite(Write, kw_only=True):
    """A beat on its way to the file: it shares a transaction with what else is written."""

    beat: Beat


@dataclass(frozen=True, slots=True)
class Peer:
    """Another worker that shares the file."""

    epoch: int
    name: str
    lock: str
    boot: str | None
    expires: float | None

    def is_late(self, boot: str, now: float) -> bool:
        """Whether its lease has ended."""
        return self.expires is not None and (self.boot != boot or self.expires <= now)


@dataclass(slots=True)
class Found:
    """What a transaction found out about this worker, true once it is committed."""

    epoch: int
    agent: str
    capacity: int
    cursor: str
    expires: float | None
    boot: str | None
    is_struck_out: bool = False
    is_hungry: bool = False
    """Whether more may be there to claim than was looked at."""
    ended: set[int] = field(default_factory=set[int])
    given_back: set[int] = field(default_factory=set[int])
    """Runs that ended in an earlier transaction, of which nobody knew that it was committed."""
    accepted: set[int] = field(default_factory=set[int])
    """Runs claimed as they were accepted."""
    claimed: list[ClaimedRun] = field(default_factory=list[ClaimedRun])
    struck_out: list[Peer] = field(default_factory=list[Peer])


class Membership:
    """The registration of this worker and the runs that it holds; see `Claims`.

    Args:
        path: The store's file.
        lock: The worker's locks.
        sql: The statements, by name.
        execute: Runs a function over the writing connection, in its thread.
    """

    def __init__(
        self, path: Path, lock: SharedLock, sql: Mapping[str, str], execute: Execute
    ) -> None:
        self.path = path
        self.lock = lock
        self.owner = ""
        self.epoch = 0
        self.mine: set[int] = set()
        self.lost: set[int] = set()
        self.agent = ""
        self.capacity = sys.maxsize
        self.cursor = ""
        self.expires: float | None = None
        self.boot: str | None = None
        self.is_unsure = False
        """Whether a transaction may have claimed what nobody was told of."""
        self._sql = sql
        self._execute = execute
        self._claimant: Claimant | None = None
        self._queue: SharedQueue | None = None
        self._peers: list[Peer] = []
        self._data_version = 0
        self._is_hungry = False
        self._late_since: dict[int, float] = {}

    def serve(self, queue: "SharedQueue") -> None:
        """Take beats from now on."""
        self._queue = queue

    def attach(self, claimant: Claimant) -> None:
        """Tell this one; see `Claims.attach`."""
        self._claimant = claimant

    def beat(self, beat: Beat) -> asyncio.Future[Pulse]:
        """Renew the lease and claim; see `Claims.beat`."""
        assert self._queue is not None, "the store is open"
        return self._queue.beat(beat)

    async def has_news(self, boot: str, now: float) -> bool:
        """Whether a beat may change anything; see `Claims.has_news`."""
        has_news: bool = await self._execute(lambda c: self._look(c, boot, now))
        return has_news

    def holds(self, number: int) -> bool:
        """Whether the run is this worker's."""
        return number in self.mine

    def has_lost(self, number: int) -> bool:
        """Whether the run was this worker's, and is closed to it."""
        return number in self.lost

    def epoch_of(self, number: int) -> int | None:
        """Under which fencing token a write of the run is enqueued; None: as nobody's."""
        if number in self.lost:
            return _OUTDATED
        return self.epoch if number in self.mine else None

    def forget(self, number: int) -> None:
        """A run that was lost has ended here."""
        self.lost.discard(number)
        self._is_hungry = True

    async def statuses(self, numbers: Collection[int]) -> Mapping[int, RunStatus]:
        """Status of those runs that have ended or wait for a person; see `Claims.statuses`."""
        asked = list(numbers)
        rows: list[tuple[int, int]] = await self._execute(lambda c: self._settled(c, asked))
        return {number: RunStatus(status) for number, status in rows}

    def find(self) -> Found:
        """Where the next transaction starts from."""
        return Found(
            self.epoch, self.agent, self.capacity, self.cursor, self.expires, self.boot
        )

    def learn(self, found: Found) -> None:
        """A transaction was committed: what it found is so."""
        lost: set[int] = set()
        if found.is_struck_out:
            lost, self.mine = self.mine, set()
            self.lost |= lost
            logger.warning(
                "store %s: others took over the runs of this worker, which was not heard of in "
                "time; it goes on as worker %d without them",
                self.path,
                found.epoch,
            )
        self.epoch, self.agent, self.capacity = found.epoch, found.agent, found.capacity
        self.cursor, self.expires, self.boot = found.cursor, found.expires, found.boot
        self.is_unsure = False
        self._is_hungry = found.is_hungry
        self.mine -= found.ended | found.given_back
        self.mine |= found.accepted
        self.mine.update(run.number for run in found.claimed)
        for peer in found.struck_out:
            logger.warning("store %s: took over from %s", self.path, peer.name)
        if self._claimant is not None:
            # Not at once: whoever is told may start things, and the writer is at work.
            loop = asyncio.get_running_loop()
            if lost:
                loop.call_soon(self._claimant.lost, lost)
            if found.claimed:
                loop.call_soon(self._claimant.claimed, found.claimed)

    def peers(self, connection: sqlite3.Connection) -> list[Peer]:
        """The other workers."""
        rows = connection.execute(self._sql["workers"])
        return [peer for row in rows if (peer := Peer(*row)).lock != self.lock.name]

    def must_go(self, peer: Peer, beat: Beat) -> bool:
        """Whether a worker is to be struck out: it is dead, or late and stays so.

        One that merely could not write, since this very worker was stopped while it had the
        file locked, gets the time for a beat.
        """
        if self.lock.is_free(peer.lock):
            return True
        if not peer.is_late(beat.boot, beat.now):
            self._late_since.pop(peer.epoch, None)
            return False
        since = self._late_since.setdefault(peer.epoch, beat.now)
        return beat.now - since >= beat.lease_seconds / 10

    def is_gone(self, peer: Peer, boot: str, now: float) -> bool:
        """Whether a worker is dead, or late."""
        return peer.is_late(boot, now) or self.lock.is_free(peer.lock)

    def join(self, connection: sqlite3.Connection) -> tuple[str, tuple[int, ...]]:
        """Register, and take note of who died before.

        Returns:
            The store's token, and its last numbers.
        """
        sql = self._sql
        with atomic(connection):
            meta = read_meta(connection, sql, self.path)
            if self.lock.is_first:
                for peer in self.peers(connection):
                    connection.execute(sql["hand_on"], (0, peer.epoch))
                connection.execute(sql["dismiss"])
            if meta["was_closed"] == "0":
                # The one who owned it alone died: whatever is open may be what killed it.
                connection.execute(sql["orphan"])
                connection.execute(sql["set_meta"], ("was_closed", "1"))
            connection.execute(sql["wake_all"])
            self.epoch = register(connection, sql, self, self.find())
            numbers = connection.execute(sql["last_numbers"]).fetchone()
        return meta["token"], numbers

    def leave(self, connection: sqlite3.Connection) -> None:
        """Give back all runs, at once."""
        with atomic(connection):
            connection.execute(self._sql["hand_on"], (None, self.epoch))
            connection.execute(self._sql["strike_out"], (self.epoch,))

    def _look(self, connection: sqlite3.Connection, boot: str, now: float) -> bool:
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self._peers = self.peers(connection)
            self._data_version = version
            return True
        return self._is_hungry or any(self.is_gone(peer, boot, now) for peer in self._peers)

    def _settled(
        self, connection: sqlite3.Connection, numbers: Iterable[int]
    ) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for number in numbers:
            found += connection.execute(self._sql["settled"], (number,))
        return found


def register(
    connection: sqlite3.Connection, sql: Mapping[str, str], member: Membership, found: Found
) -> int:
    """Enter a worker under a new fencing token, within a transaction; an older entry goes."""
    owner, lock = member.owner, member.lock.name
    for epoch, _, known, *_ in connection.execute(sql["workers"]).fetchall():
        if known == lock:
            connection.execute(sql["hand_on"], (None, epoch))
            connection.execute(sql["strike_out"], (epoch,))
    row = (owner, lock, found.boot, found.expires)
    epoch = connection.execute(sql["register"], row).lastrowid
    assert epoch is not None, "a row was inserted"
    return epoch


class SharedQueue(WriteQueue):
    """A queue of writes whose numbers are given in the transaction, not before.

    Numbers below 0 tell writes apart that are no run's yet.

    Args:
        name: Name of the store, for errors.
        token: Random name of the store, part of the ids of its runs.
        commit: Makes a batch durable; see `GroupCommit`.
        membership: This worker.
    """

    def __init__(self, name: str, token: str, commit: Commit, membership: Membership) -> None:
        super().__init__(name, token, 0, commit)
        self._membership = membership

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        """Queue an input; see `WriteQueue.accept`."""
        self._check(run)
        key, run_id = run.key or "", run.run_id or ""
        self._last_number -= 1
        waiting = Acceptance(run, self._last_number, run_id, key)
        # What cannot be encoded fails its caller, here as in a store of one owner.
        waiting.encoded()
        return self._commits.enqueue(self._last_number, waiting, b"")

    def append(self, write: Write) -> asyncio.Future[int]:
        """Queue entries of a run; a new turn is given in the transaction, too."""
        self._check_open()
        write.epoch = self._membership.epoch_of(write.number)
        body = encode_row(write.number, write.entries)
        return self._commits.enqueue(write.number, write, body)

    def beat(self, beat: Beat) -> asyncio.Future[Pulse]:
        """Queue a beat."""
        self._check_open()
        self._last_number -= 1
        number = self._last_number
        return self._commits.enqueue(
            number, BeatWrite(number=number, entries=[], beat=beat), b""
        )

    def number(self, acceptance: Acceptance, number: int) -> bytes:
        """Give an input its number; returns the first row of its journal."""
        run = acceptance.run
        acceptance.number = number
        acceptance.run_id = run_id = self.run_id(number) if run.run_id is None else run.run_id
        acceptance.key = run_id if run.key is None else run.key
        return acceptance.encoded()
