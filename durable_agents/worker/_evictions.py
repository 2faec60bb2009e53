"""Runs that have left memory: they wait in the store until their time or a signal comes.

A run leaves as it does when its worker stops: its tasks are cancelled, nothing of that goes on
record, and when it comes back its action runs again from its first line. The store keeps it as
`WAITING` with the time at which it is due. Rule 1: a run is active, on its way out, away or on
its way back; `_leaving` and `_returning` know of the ways, the store of those that are away.
Rule 2: who comes back is `ACCEPTED` in the store first, so that a crash finds no run under way
among those that wait. Rule 3: what signals call back goes on at once; what is due takes the
next free place.
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from durable_agents.errors import StoreError
from durable_agents.journal import RunStatus
from durable_agents.scheduler import Scheduler
from durable_agents.store import RunRow, Write
from durable_agents.worker._resting import Resting
from durable_agents.worker._run import ActiveRun
from durable_agents.worker._services import Services
from durable_agents.worker._waits import until

__all__ = ["Evictions"]

logger = logging.getLogger("durable_agents")

_EVICTED = "it only waits, and leaves memory until there is something for it to do"
_ROWS_PER_READ = 1000


class Host(Protocol):
    """What is needed of a dispatcher."""

    active: dict[int, ActiveRun]
    scheduler: Scheduler
    resting: Resting

    @property
    def is_stopped(self) -> bool:
        """Whether nothing starts any more."""
        ...

    def read(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that only reads and waits."""
        ...

    def dispatch(self) -> None:
        """Start what may start."""
        ...

    async def come_back(self, row: RunRow, *, at_once: bool) -> None:
        """A run that was away goes on: it is active on return, or takes the next free place."""
        ...

    def stay(self, run: ActiveRun, error: BaseException | None) -> None:
        """A run that was about to leave goes on from its record."""
        ...


class _Leaving(msgspec.Struct, eq=False):
    """A run on its way out."""

    run: ActiveRun
    due: float | None
    done: asyncio.Future[None]
    """Whether it is away or stays: settled."""
    is_wanted: bool = False
    """Whether something came for it meanwhile."""


class Evictions:
    """The runs of a worker that are away, on their way out or on their way back.

    Args:
        host: The dispatcher.
        services: The worker's.
        agent: Name of the worker's agent.
    """

    def __init__(self, host: Host, services: Services, agent: str) -> None:
        self.count = 0
        """How many are away."""
        self._host = host
        self._services = services
        self._agent = agent
        self._loop = asyncio.get_running_loop()
        is_shared = services.store.claims is not None  # another worker would not learn of it
        self._most = sys.maxsize if is_shared else services.settings.max_resident_runs
        self._leaving: dict[int, _Leaving] = {}
        self._returning: dict[int, asyncio.Future[None]] = {}
        self._returned: set[int] | None = None
        """Those that came back since the store was asked who is due; None: nobody asks."""
        self._kept: Counter[int] = Counter()
        """Those for which somebody has something."""
        self._next_due: float | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._is_waking = False

    async def find(self) -> None:
        """Learn who is away since an earlier life; the keys that they keep are found elsewhere.

        Raises:
            StoreError: The store cannot be read.
        """
        waiting = await self._services.store.waiting_runs(self._agent)
        self.count = waiting.count
        self._host.scheduler.away_from_start(waiting.count)
        self._expect(waiting.first_due)

    def make_room(self) -> None:
        """Have those leave that have rested longest, while there are too many in memory."""
        host = self._host
        while len(host.active) - len(self._leaving) > self._most:
            run = host.resting.take_oldest(self._may_leave)
            if run is None:
                return
            done = self._loop.create_future()
            self._leaving[run.number] = _Leaving(run, run.wakes_at, done)
            run.stop(_EVICTED)

    @contextmanager
    def keeping(self, number: int) -> Generator[None]:
        """While inside, a run does not set out to leave."""
        self._kept[number] += 1
        try:
            yield
        finally:
            self._kept[number] -= 1
            if not self._kept[number]:
                del self._kept[number]
                if (run := self._host.active.get(number)) is not None:
                    self._host.resting.reconsider(run)
                    self.make_room()

    def _may_leave(self, run: ActiveRun) -> bool:
        return run.may_leave and run.number not in self._kept

    def ended(self, run: ActiveRun) -> bool:
        """A run stands still; returns whether that was the first half of its leaving."""
        leaving = self._leaving.get(run.number)
        if leaving is None:
            return False
        if leaving.is_wanted:
            self._stay(leaving, None)
            return True
        write = Write(number=run.number, entries=[], status=RunStatus.WAITING, wake=leaving.due)
        future = self._services.store.append(write)
        future.add_done_callback(lambda future: self._left(leaving, future))
        return True

    async def call_back(self, row: RunRow) -> bool:
        """Have a run in memory that may be away or on its way out; returns whether it was.

        Cancellation: it comes back all the same.

        Args:
            row: The run as it was found.

        Raises:
            StoreError: It could not be woken; it is still away.
        """
        number = row.number
        was_leaving = False
        while (leaving := self._leaving.get(number)) is not None:
            leaving.is_wanted = was_leaving = True
            await asyncio.shield(leaving.done)
        if (returning := self._returning.get(number)) is not None:
            await asyncio.shield(returning)
            return True
        if number in self._host.active or row.agent != self._agent or self._host.is_stopped:
            return was_leaving
        returning = self._begin_return(number)
        self._host.read(self._call_back(row.run_id, returning), f"call {row.run_id} back")
        await asyncio.shield(returning)
        return True

    async def _call_back(self, run_id: str, returning: asyncio.Future[None]) -> None:
        try:
            # Read again: only from here on nobody else can wake it.
            row = await self._services.store.find(run_id)
            if row is not None and row.status is RunStatus.WAITING:
                await self._wake(row, at_once=True)
        except StoreError as error:
            self._end_return(returning, error)
        finally:
            self._end_return(returning, None)

    def _begin_return(self, number: int) -> asyncio.Future[None]:
        returning: asyncio.Future[None] = self._loop.create_future()
        self._returning[number] = returning
        returning.add_done_callback(lambda _: self._returning.pop(number))
        return returning

    def _end_return(self, returning: asyncio.Future[None], error: StoreError | None) -> None:
        if returning.done():
            return
        if error is None:
            returning.set_result(None)
        else:
            returning.set_exception(error)
            returning.exception()  # nobody may have waited

    async def _wake(self, row: RunRow, *, at_once: bool) -> None:
        """Take a run from those that wait."""
        store, number = self._services.store, row.number
        store.readmit(number)
        await store.append(Write(number=number, entries=[], status=RunStatus.ACCEPTED))
        self.count -= 1
        if self._returned is not None:
            self._returned.add(number)
        await self._host.come_back(row, at_once=at_once)

    def _left(self, leaving: _Leaving, future: asyncio.Future[int]) -> None:
        run = leaving.run
        if future.cancelled() or self._host.is_stopped:
            self._settle(leaving)
            return
        error = future.exception()
        if error is not None:
            self._stay(leaving, error)
            return
        self.count += 1
        self._host.scheduler.leave(run.key, is_ordered=run.is_ordered)
        self._settle(leaving)
        self._expect(leaving.due)
        self._host.dispatch()

    def _stay(self, leaving: _Leaving, error: BaseException | None) -> None:
        self._settle(leaving)
        self._host.stay(leaving.run, error)

    def _settle(self, leaving: _Leaving) -> None:
        del self._leaving[leaving.run.number]
        leaving.done.set_result(None)

    def _expect(self, due: float | None) -> None:
        """Look at the store when somebody is due, or sooner."""
        if due is None or self._host.is_stopped:
            return
        if self._next_due is not None and self._next_due <= due:
            return
        self._next_due = due
        if self._is_waking:
            return  # who is at it looks again
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._host.read(self._wake_at(due), "wake the runs that are due")

    async def _wake_at(self, due: float) -> None:
        services = self._services
        await until(services.clock, due)
        self._is_waking, self._next_due = True, None
        following = None
        try:
            await self._wake_due()
            following = (await services.store.waiting_runs(self._agent)).first_due
        except StoreError as error:
            logger.warning("runs that are due cannot be woken: %s; trying again", error)
            following = services.clock.now() + services.settings.store_retry_seconds
        finally:
            self._is_waking, self._alarm = False, None
            dues = [due for due in (following, self._next_due) if due is not None]
            self._next_due = None
            if dues:
                self._expect(min(dues))

    async def _wake_due(self) -> None:
        store, clock = self._services.store, self._services.clock
        while True:
            self._returned = set()
            try:
                rows = await store.due_runs(self._agent, now=clock.now(), limit=_ROWS_PER_READ)
                away = [row for row in rows if self._is_away(row.number, self._returned)]
            finally:
                self._returned = None
            if not rows:
                return
            returning = [self._begin_return(row.number) for row in away]
            try:
                # All of them, also where one fails: none may be on its way unknown to us.
                wakes = (self._wake(row, at_once=False) for row in away)
                results = await asyncio.gather(*wakes, return_exceptions=True)
            finally:
                for future in returning:
                    self._end_return(future, None)
            if (error := next(filter(None, results), None)) is not None:
                raise error

    def _is_away(self, number: int, returned: set[int]) -> bool:
        """Whether a run that was found to wait still does: the store was read a moment ago."""
        on_the_way = number in self._leaving or number in self._returning
        return not (on_the_way or number in self._host.active or number in returned)
