"""Starts runs when the scheduler says so, and sees to it when they end.

`dispatch` is called whenever its answer may have changed: an input came in, a run ended. There
is no loop that polls and no task that only waits.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from durable_agents.agent import AgentPlan
from durable_agents.errors import RunError, StoreError
from durable_agents.journal import RunStatus
from durable_agents.scheduler import MAX_KEPT_PER_KEY, Scheduler
from durable_agents.store import AcceptedRun, NewRun, RunRow, Write
from durable_agents.worker._agenda import StoredRun
from durable_agents.worker._endings import Endings
from durable_agents.worker._evictions import Evictions
from durable_agents.worker._handle import Run
from durable_agents.worker._resting import Resting
from durable_agents.worker._returning import returns_to_work
from durable_agents.worker._run import ActiveRun, Ending
from durable_agents.worker._services import Services
from durable_agents.worker._take_over import TakeOver

__all__ = ["Dispatcher"]

logger = logging.getLogger("durable_agents")

_ROWS_PER_READ = 1000
_LONGEST_PAUSE = 60.0
_KEPT_INPUT_BYTES = 64 * 2**20
"""Inputs kept in memory while they wait; beyond it they are read from the store when due."""


class Dispatcher:
    """The runs of one worker: those that wait, those that run, those that hold their key.

    Args:
        plan: The agent's plan.
        services: The worker's.
        owner: Name of the worker, for the record.
        on_crash: Told when a task of ours fails, other than by a run's own failure.
    """

    def __init__(
        self,
        plan: AgentPlan,
        services: Services,
        owner: str,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self.active: dict[int, ActiveRun] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self._readers: set[asyncio.Task[Any]] = set()
        self.scheduler = Scheduler(services.settings.max_concurrent_runs)
        self.resting = Resting(self.scheduler, self._places_are_free)
        self.endings = Endings(services)
        self.evictions = Evictions(self, services, plan.name)
        self._plan = plan
        self._services = services
        self._on_crash = on_crash
        self._take_over = TakeOver(self, services, owner)
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._waiting: dict[int, StoredRun] = {}
        self._numbers: dict[int, int] = {}
        self._held: dict[int, str] = {}
        self._waiting_bytes = 0
        self._drained: list[asyncio.Future[None]] = []
        self._found_up_to = 0
        self._stopped_for: str | None = None

    async def find_open_runs(self, *, was_closed: bool) -> None:
        """Line up what earlier workers left unfinished, in the order of acceptance.

        Args:
            was_closed: Whether the last owner stopped in good order. If it died, each run
                that is taken over is marked, since it may be what killed it.
        """
        while True:
            rows = await self._services.store.open_runs(
                self._plan.name, after=self._found_up_to, limit=_ROWS_PER_READ
            )
            for row in rows:
                if row.status is RunStatus.WAITING:
                    self.scheduler.keep_from_start(row.key)
                elif row.status.waits_for_person and not await self._returns(row):
                    self._held[row.number] = row.key
                    self.scheduler.hold_from_start(row.key)
                else:
                    self.scheduler.offer(row.key, self._turn_of(row.number, row.turn))
                self._found_up_to = row.turn
            if len(rows) < _ROWS_PER_READ:
                break
        await self.evictions.find()
        if not was_closed:
            self._take_over.marks_up_to = self._found_up_to

    async def _returns(self, row: RunRow) -> bool:
        return await returns_to_work(row, self._plan, self._services)

    def offer(self, accepted: AcceptedRun, new: NewRun) -> Run:
        """A run was accepted; it starts when its turn comes."""
        run = self.endings.handle(accepted)
        if accepted.is_new and accepted.is_claimed:
            is_kept = self.scheduler.offer(accepted.key, accepted.number)
            if is_kept and not new.entries:
                self._keep_input(accepted, new)
            self.dispatch()
        return run

    def put_back(self, row: RunRow, write: Write) -> None:
        """A person put a run back to work: it goes on, or takes its turn once more."""
        self.endings.reopen(row.number)
        if (key := self._held.pop(row.number, None)) is not None:
            self.scheduler.resume(key)
            self.read(self._take_over.load(key, row.number), f"load run {row.number}")
        elif row.agent == self._plan.name:
            self.scheduler.offer(row.key, self._turn_of(row.number, write.turn))
            self.dispatch()

    def cancelled(self, number: int, reason: str) -> None:
        """A person gave a run up that was not active; if it kept its key, the next may come."""
        self.endings.end(number, Ending(RunStatus.CANCELLED, reason))
        if (key := self._held.pop(number, None)) is not None:
            self.scheduler.release(key)
            self.dispatch()

    @contextmanager
    def holding_back(self, number: int) -> Generator[None]:
        """While inside, the run does not start; then it does what is on record by then."""
        stored = self._waiting.pop(number, None)
        if stored is not None:
            self._waiting_bytes -= len(stored.input.data)
        with self._take_over.holding_back(number):
            yield

    def dispatch(self) -> None:
        """Start what may start."""
        if self._stopped_for is not None:
            return
        scheduler = self.scheduler
        while (following := scheduler.next_run()) is not None:
            key, turn = following
            number = self._numbers.pop(turn, turn)
            stored = self._waiting.pop(number, None)
            if stored is None:
                self.read(self._take_over.load(key, number), f"load run {number}")
            else:
                self._waiting_bytes -= len(stored.input.data)
                self.start(stored)
        for key, last in scheduler.hungry():
            self.read(self._feed(key, last), f"read on for key {key}")
        if self._drained and scheduler.is_drained:
            waiters, self._drained = self._drained, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def drain(self) -> None:
        """Wait until every run has ended or is parked."""
        if not self.scheduler.is_drained:
            waiter = self._loop.create_future()
            self._drained.append(waiter)
            await waiter

    @property
    def is_stopped(self) -> bool:
        """Whether nothing starts here any more."""
        return self._stopped_for is not None

    def stop(self, reason: str) -> None:
        """End every run here; nothing starts any more."""
        self._stopped_for = reason
        for reader in self._readers:
            reader.cancel()
        for run in list(self.active.values()):
            run.stop(reason)
        self.endings.stop(reason)
        for waiter in self._drained:
            if not waiter.done():
                waiter.set_exception(RunError("(all)", reason))

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task of the worker; kept until it has ended."""
        # Each task has a context of its own, as it was when the worker was entered.
        context = self._context.copy()
        task = self._services.lineage.task(coroutine, name=name, context=context)
        self.tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def read(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that only reads and waits: it is cancelled when the worker stops."""
        task = self.spawn(coroutine, name=name)
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)
        return task

    def _keep_input(self, accepted: AcceptedRun, new: NewRun) -> None:
        size = len(new.input.data)
        if self._waiting_bytes + size <= _KEPT_INPUT_BYTES:
            self._waiting_bytes += size
            self._waiting[accepted.number] = StoredRun(
                accepted.number,
                accepted.run_id,
                accepted.key,
                new.input,
                new.is_event,
                new.at,
                None,
                # A key that somebody gives may be the id of a run that has none.
                is_ordered=new.key is not None or new.run_id is not None,
            )

    def has_lost(self, number: int) -> bool:  # noqa: ARG002 - see `_shared_dispatcher`
        """Whether another worker took the run over: it must not start here, and is dropped."""
        return False

    def drop(self, key: str, number: int) -> None:
        """A run that was lost has ended here."""
        raise NotImplementedError  # nobody loses what is not shared

    def start(self, stored: StoredRun) -> ActiveRun | None:
        """Start a run here, unless it was lost."""
        if self.has_lost(stored.number):
            self.drop(stored.key, stored.number)
            return None
        run = ActiveRun(
            stored, self._plan, self._services, self.spawn, self._on_end, self.resting
        )
        self.active[stored.number] = run
        self.evictions.make_room()
        run.start()
        return run

    async def come_back(self, row: RunRow, *, at_once: bool) -> None:
        """A run that was away goes on: it is active on return, or takes the next free place."""
        self._take_over.returned.add(row.number)
        turn = self._turn_of(row.number, row.turn)
        if self.scheduler.come_back(row.key, turn, at_once=at_once):
            self._numbers.pop(turn, None)
            await self._take_over.load(row.key, row.number)
        else:
            self.dispatch()

    def stay(self, run: ActiveRun, error: BaseException | None) -> None:
        """A run that was about to leave memory goes on from its record."""
        self.scheduler.wake(run.key)
        if error is None:
            self._take_over.returned.add(run.number)
            self.read(self._take_over.load(run.key, run.number), f"load run {run.number}")
        else:
            logger.warning("run %s: %s; it is taken up again", run.run_id, error)
            self.read(self._take_up_again(run), f"take up {run.run_id}")

    def leave(self, key: str, number: int, status: RunStatus) -> None:
        """A run has come to something: the next one of its key may come, or has to wait."""
        if status.waits_for_person:
            self._hold(key, number)
        else:
            self.scheduler.finish(key)
            self.dispatch()

    async def _feed(self, key: str, last: int) -> None:
        """Read the next runs of a key that has more of them than are kept in memory."""
        store, limit = self._services.store, MAX_KEPT_PER_KEY
        try:
            rows = await store.open_runs_of_key(self._plan.name, key, after=last, limit=limit)
        except StoreError as error:
            logger.warning("inputs of key %r cannot be read: %s; trying again", key, error)
            await self._services.clock.sleep(self._services.settings.store_retry_seconds)
            self.scheduler.feed(key, (), has_more=True)
        else:
            turns = [self._turn_of(row.number, row.turn) for row in rows]
            self.scheduler.feed(key, turns, has_more=len(rows) == limit)
        self.dispatch()

    def _turn_of(self, number: int, turn: int) -> int:
        """Note which run a turn belongs to, where that is not the one of the same number."""
        if turn != number:
            self._numbers[turn] = number
        return turn

    def _on_end(self, run: ActiveRun, ending: Ending) -> None:
        del self.active[run.number]
        self.resting.goes_on(run)
        if ending.status is RunStatus.RUNNING:
            error = ending.error
            if self._stopped_for is not None or self.evictions.ended(run):
                return
            if self.has_lost(run.number):
                logger.warning("run %s: %s", run.run_id, ending.reason)
                self.drop(run.key, run.number)
                return
            if isinstance(error, StoreError) and not error.retryable:
                self.quarantine(run.key, run.number, error)
                return
            # The store failed under it: what is in memory is thrown away and read again.
            logger.warning("run %s: %s; it is taken up again", run.run_id, ending.reason)
            self.read(self._take_up_again(run), f"take up {run.run_id}")
            return
        self.endings.end(run.number, ending)
        self.leave(run.key, run.number, ending.status)

    def quarantine(self, key: str, number: int, error: StoreError) -> None:
        """What the store refuses or cannot read is not guessed at: the run keeps its key."""
        logger.error("run number %d waits for a person: %s", number, error)
        self.endings.stick(number, Ending(RunStatus.PARKED, str(error), error))
        self._hold(key, number)

    def _hold(self, key: str, number: int) -> None:
        """A run gives its place up, and keeps its key until a person has decided."""
        self._held[number] = key
        self.scheduler.hold(key)
        self.dispatch()

    def _places_are_free(self) -> None:
        self.evictions.make_room()
        self.dispatch()

    async def _take_up_again(self, run: ActiveRun) -> None:
        self._take_over.cut_off.add(run.number)
        await self._services.clock.sleep(self._services.settings.store_retry_seconds)
        await self._take_over.load(run.key, run.number)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_crash(error)
