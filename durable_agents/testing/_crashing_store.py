"""A store under which the process dies at a chosen write."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from durable_agents.errors import StoreUnavailableError
from durable_agents.journal import Entry, MemoryUpdate
from durable_agents.serialization import Payload
from durable_agents.store import (
    AcceptedRun,
    Claims,
    NewRun,
    OutputRow,
    Pause,
    Retention,
    RunRow,
    Store,
    StoreFacts,
    WaitingRuns,
    Write,
)

__all__ = ["CrashingStore"]

T = TypeVar("T")


class CrashingStore:
    """Another store, and a crash when its n-th write has become durable.

    The crash comes after the commit and before anybody is told of it: the record is there, and
    what waited for it never went on. A test that runs an agent once for each n, and each time
    once more without a crash, has tried every moment that a crash can tell apart;
    `every_crash_point` is that test:

        store = CrashingStore(SqliteStore(path), after=n, one_by_one=True)

    Left alone, the inner store commits what has queued in one transaction; then a crash at the
    n-th write may find later ones of that transaction durable as well, as a real one may. With
    `one_by_one` it is given a write only when the one before is durable, in the order in which
    they were submitted; then exactly n are durable.

    Args:
        inner: Keeps the facts.
        after: Writes that become durable before the crash, >= 1; None: no crash. An input
            accepted is one, a row appended to the journal is one, an input that was known
            already is none.
        crash: What a crash is. Default: SIGKILL to this process. If it returns, the store plays
            dead: it takes nothing more in, and what waits for a write waits for ever.
        one_by_one: Whether each write gets a transaction of its own.
        commits: Whether the write at which the crash comes is durable. False: the crash comes
            before it, so that it is the first one that is lost; needs `one_by_one`. An input
            that was known already may be that write.

    Raises:
        ValueError: `after` is below 1, or `commits` is False without `one_by_one`.
    """

    def __init__(
        self,
        inner: Store,
        *,
        after: int | None,
        crash: Callable[[], object] | None = None,
        one_by_one: bool = False,
        commits: bool = True,
    ) -> None:
        if after is not None and after < 1:
            msg = f"after is {after}, expected at least 1, or None for no crash"
            raise ValueError(msg)
        if not (commits or one_by_one):
            msg = "commits=False needs one_by_one=True: in a shared commit no write is the last"
            raise ValueError(msg)
        self.writes: int = 0
        """Writes that have become durable."""
        self.has_crashed: bool = False
        self._inner = inner
        self._after = after
        self._crash = _kill_this_process if crash is None else crash
        self._one_by_one = one_by_one
        self._commits = commits
        self._waiting: set[asyncio.Future[Any]] = set()
        self._is_gone = False
        self._held: deque[Callable[[], None]] = deque()
        self._in_flight: asyncio.Future[Any] | None = None

    def __repr__(self) -> str:
        return f"CrashingStore({self._inner!r}, after={self._after})"

    @property
    def control_path(self) -> Path | None:
        """That of the inner store."""
        return self._inner.control_path

    async def open(self, owner: str) -> StoreFacts:
        """Take the inner store for one worker."""
        return await self._inner.open(owner)

    async def close(self) -> None:
        """Commit what is held back, unless the crash came first, and close the inner store."""
        while self._in_flight is not None and not self.has_crashed:
            await asyncio.wait([self._in_flight])
        await self._inner.close()

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        """Take an input in; see `Store.accept`."""
        return self._submit(partial(self._inner.accept, run))

    def append(self, write: Write) -> asyncio.Future[int]:
        """Add to a run's journal; see `Store.append`."""
        return self._submit(partial(self._inner.append, write))

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run; see `Store.journal`."""
        return await self._inner.journal(number)

    async def blobs(self, number: int) -> dict[bytes, Payload]:
        """Large parts of a run's values; see `Store.blobs`."""
        return await self._inner.blobs(number)

    def readmit(self, number: int) -> None:
        """Let writes of a run through again after one had failed; see `Store.readmit`."""
        if self._in_flight is None:
            self._inner.readmit(number)
        else:
            # In its place: what is held back of the run belongs to what was thrown away.
            self._held.append(partial(self._inner.readmit, number))

    async def find(self, run_id: str) -> RunRow | None:
        """The run with this id."""
        return await self._inner.find(run_id)

    async def open_runs(self, agent: str, *, after: int, limit: int) -> list[RunRow]:
        """Runs of an agent that have not ended."""
        return await self._inner.open_runs(agent, after=after, limit=limit)

    async def open_runs_of_key(
        self, agent: str, key: str, *, after: int, limit: int
    ) -> list[RunRow]:
        """The same for one key."""
        return await self._inner.open_runs_of_key(agent, key, after=after, limit=limit)

    async def waiting_runs(self, agent: str) -> WaitingRuns:
        """How many runs of an agent wait."""
        return await self._inner.waiting_runs(agent)

    async def due_runs(self, agent: str, *, now: float, limit: int) -> list[RunRow]:
        """Those of them that are due."""
        return await self._inner.due_runs(agent, now=now, limit=limit)

    @property
    def holds_memory(self) -> bool:
        """Whether any short-term memory may be kept."""
        return self._inner.holds_memory

    @property
    def claims(self) -> Claims | None:
        """Those of the inner store; they are no writes that count."""
        return self._inner.claims

    async def memory(self, agent: str, key: str) -> Mapping[str, MemoryUpdate]:
        """Short-term memory of a key."""
        return await self._inner.memory(agent, key)

    async def outputs_of(self, number: int) -> list[OutputRow]:
        """Outputs of one run, in order."""
        return await self._inner.outputs_of(number)

    async def outputs(self, *, after: int, limit: int) -> list[OutputRow]:
        """Outputs of all runs, beginning behind a position."""
        return await self._inner.outputs(after=after, limit=limit)

    async def last_position(self) -> int:
        """Position of the newest output."""
        return await self._inner.last_position()

    async def acknowledged(self, consumer: str) -> int:
        """How far a consumer has come."""
        return await self._inner.acknowledged(consumer)

    async def acknowledge(self, consumer: str, position: int) -> None:
        """Keep how far a consumer has come; not counted as a write of a run."""
        await self._inner.acknowledge(consumer, position)

    async def moment(self, agent: str, schedule: str, first: int) -> int:
        """The moment that a schedule has come to."""
        return await self._inner.moment(agent, schedule, first)

    async def keep_moment(self, agent: str, schedule: str, moment: int) -> None:
        """Keep the moment that a schedule has come to; not counted as a write of a run."""
        await self._inner.keep_moment(agent, schedule, moment)

    async def pauses(self) -> list[Pause]:
        """What is paused."""
        return await self._inner.pauses()

    async def pause(self, pause: Pause) -> None:
        """Keep a pause; not counted as a write of a run."""
        await self._inner.pause(pause)

    async def resume(self, agent: str, key: str | None) -> bool:
        """Forget a pause; not counted as a write of a run."""
        return await self._inner.resume(agent, key)

    async def prune(self, retention: Retention) -> int:
        """Forget some runs that have ended; not counted as a write of a run."""
        return await self._inner.prune(retention)

    async def runs(self, *, after: int, limit: int) -> list[RunRow]:
        """All runs by number, beginning behind `after`."""
        return await self._inner.runs(after=after, limit=limit)

    def fail_waiters(self) -> None:
        """After a pretended crash, tell what still waits that the store is gone.

        For a worker that has been told to stop: its last tasks end at once rather than wait for
        a commit that never comes.
        """
        self._is_gone = True
        for told in list(self._waiting):
            if not told.done():
                told.set_exception(StoreUnavailableError(repr(self), "it has crashed"))
                told.exception()  # not every write is awaited

    def _submit(self, write: Callable[[], asyncio.Future[T]]) -> asyncio.Future[T]:
        # A future of its own, for the inner store's wakes its waiters whatever becomes of us.
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.add(told)
        told.add_done_callback(self._waiting.discard)
        if self.has_crashed:
            if self._is_gone:
                self.fail_waiters()
            return told
        if self._in_flight is None:
            self._pass_on(write, told)
        else:
            self._held.append(partial(self._pass_on_later, write, told))
        return told

    def _pass_on(self, write: Callable[[], asyncio.Future[T]], told: asyncio.Future[T]) -> None:
        if self.has_crashed:
            return
        if not self._commits and self.writes + 1 == self._after:
            self._die()
            return
        durable = write()
        if self._one_by_one:
            self._in_flight = durable
        durable.add_done_callback(partial(self._committed, told))

    def _pass_on_later(
        self, write: Callable[[], asyncio.Future[T]], told: asyncio.Future[T]
    ) -> None:
        try:
            self._pass_on(write, told)
        except Exception as error:  # noqa: BLE001 - its submitter is told, whatever it is
            if not told.done():
                told.set_exception(error)

    def _committed(self, told: asyncio.Future[T], durable: asyncio.Future[T]) -> None:
        if self.has_crashed:
            return
        if durable.exception() is None and not _was_known(durable.result()):
            self.writes += 1
            if self.writes == self._after:
                self._die()
                return
        _tell(told, durable)
        self._in_flight = None
        while self._held and self._in_flight is None:
            self._held.popleft()()

    def _die(self) -> None:
        self.has_crashed = True
        self._crash()


def _tell(told: asyncio.Future[T], durable: asyncio.Future[T]) -> None:
    if told.done():
        return  # cancelled in the meantime, which takes nothing back
    error = durable.exception()
    if error is None:
        told.set_result(durable.result())
    else:
        told.set_exception(error)
        # As with the inner store's futures: not every write is awaited.
        told.exception()


def _was_known(result: object) -> bool:
    return isinstance(result, AcceptedRun) and not result.is_new


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
