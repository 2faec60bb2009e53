"""Starts runs when the scheduler says so, and sees to it when they end.

`dispatch` is called whenever its answer may have changed: an input came in, a run ended. There
is no loop that polls and no task that only waits.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any
from weakref import WeakValueDictionary

from durable_agents.agent import AgentPlan
from durable_agents.errors import RunError, RunFailedError, StoreError
from durable_agents.journal import RunAccepted, RunFailed, RunState, RunStatus, RunTakenOver
from durable_agents.recovery import (
    MAX_STARTS_WITHOUT_PROGRESS,
    PROBATION_SECONDS,
    Verdict,
    verdict_on,
)
from durable_agents.scheduler import MAX_KEPT_PER_KEY, Scheduler
from durable_agents.store import AcceptedRun, NewRun, Write
from durable_agents.worker._handle import Run, RunEnd
from durable_agents.worker._places import Places
from durable_agents.worker._run import ActiveRun, Ending, StoredRun
from durable_agents.worker._services import Services

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
        self._probation = Places(1)
        self._readers: set[asyncio.Task[Any]] = set()
        self.scheduler = Scheduler(services.settings.max_concurrent_runs)
        self.ended_counts = dict.fromkeys(RunStatus, 0)
        self._plan = plan
        self._services = services
        self._owner = owner
        self._on_crash = on_crash
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._waiting: dict[int, StoredRun] = {}
        self._waiting_bytes = 0
        self._ends: WeakValueDictionary[int, RunEnd] = WeakValueDictionary()
        self._drained: list[asyncio.Future[None]] = []
        self._found_up_to = 0
        self._marks_take_over = False
        self._stopped_for: str | None = None

    async def find_open_runs(self, *, was_closed: bool) -> None:
        """Line up what earlier workers left unfinished, in the order of acceptance.

        Args:
            was_closed: Whether the last owner stopped in good order. If it died, each run
                that is taken over is marked, since it may be what killed it.
        """
        self._marks_take_over = not was_closed
        while True:
            rows = await self._services.store.open_runs(
                self._plan.name, after=self._found_up_to, limit=_ROWS_PER_READ
            )
            for row in rows:
                if row.status is RunStatus.PARKED:
                    self.scheduler.hold_from_start(row.key)
                else:
                    self.scheduler.offer(row.key, row.number)
                self._found_up_to = row.number
            if len(rows) < _ROWS_PER_READ:
                return

    def offer(self, accepted: AcceptedRun, new: NewRun) -> Run:
        """A run was accepted; it starts when its turn comes."""
        run = self.handle(accepted)
        if accepted.is_new and accepted.is_claimed:
            if self.scheduler.offer(accepted.key, accepted.number):
                self._keep_input(accepted, new)
            self.dispatch()
        return run

    def handle(self, accepted: AcceptedRun) -> Run:
        """A handle of a run; all handles of one run learn of the same end."""
        end = self._ends.get(accepted.number)
        if end is None:
            end = self._ends[accepted.number] = RunEnd()
            if self._stopped_for is not None:
                end.set(Ending(RunStatus.RUNNING, self._stopped_for))
        return Run(accepted, end, self)

    def dispatch(self) -> None:
        """Start what may start."""
        if self._stopped_for is not None:
            return
        while (following := self.scheduler.next_run()) is not None:
            key, number = following
            stored = self._waiting.pop(number, None)
            if stored is None:
                self._read(self._load(key, number), f"load run {number}")
            else:
                self._waiting_bytes -= len(stored.input.data)
                self._start(stored)
        for key, last in self.scheduler.hungry():
            self._read(self._feed(key, last), f"read on for key {key}")
        if self.scheduler.is_drained:
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

    def stop(self, reason: str) -> None:
        """End every run here; nothing starts any more."""
        self._stopped_for = reason
        for reader in self._readers:
            reader.cancel()
        for run in list(self.active.values()):
            run.stop(reason)
        for end in list(self._ends.values()):
            if end.ending is None:
                end.set(Ending(RunStatus.RUNNING, reason))
        for waiter in self._drained:
            if not waiter.done():
                waiter.set_exception(RunError("(all)", reason))

    def spawn(self, coroutine: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        """Start a task of the worker; kept until it has ended."""
        # Each task has a context of its own, as it was when the worker was entered.
        options["context"] = self._context.copy()
        lineage = self._services.lineage
        task = lineage.outside(lambda: self._loop.create_task(coroutine, **options))
        self.tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _read(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task that only reads and waits: it is cancelled when the worker stops."""
        task = self.spawn(coroutine, name=name)
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def read_ending(self, number: int) -> Ending | None:
        """How a run ended, as the store knows it; None while it is open."""
        return self._ending_of(RunState.of(await self._services.store.journal(number)))

    def _ending_of(self, state: RunState) -> Ending | None:
        if state.status.is_open and state.status is not RunStatus.PARKED:
            return None
        error = (
            None if state.error is None else self._services.codec.decode_failure(state.error)
        )
        reason = state.reason if error is None else f"{type(error).__name__}: {error}"
        return Ending(state.status, reason, error)

    async def read_outputs(self, ending: Ending, number: int) -> list[Any]:
        """Decoded outputs of a completed run."""
        events = ending.outputs
        if events is None:
            events = [row.event for row in await self._services.store.outputs_of(number)]
        return [self._services.codec.decode(event.payload) for event in events]

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
            )

    def _start(self, stored: StoredRun) -> ActiveRun | None:
        if self._has_lost(stored.number):
            self._leave(stored.number, stored.key)
            return None
        run = ActiveRun(stored, self._plan, self._services, self.spawn, self._on_end)
        self.active[stored.number] = run
        run.start()
        return run

    async def _load(self, key: str, number: int) -> None:
        """Read a run from the store and start it, or leave it where it is."""
        pause = self._services.settings.store_retry_seconds
        while not self._has_lost(number):
            try:
                await self._resume(key, number)
            except StoreError as error:
                if self._has_lost(number):
                    break
                if not error.retryable:
                    self._quarantine(key, number, error)
                    return
                logger.warning("run number %d: %s; trying again", number, error)
            else:
                return
            await self._services.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._leave(number, key)

    async def _resume(self, key: str, number: int) -> None:
        self._services.store.readmit(number)
        state = RunState.of(await self._services.store.journal(number))
        accepted = state.accepted
        assert accepted is not None, "the first row of a journal is the acceptance"
        match verdict_on(state):
            case Verdict.LEAVE:
                # It has ended all the same, where its completion was written and not confirmed.
                if (ending := self._ending_of(state)) is not None:
                    self._tell(number, ending)
                self._pass_on(key)
            case Verdict.GIVE_UP:
                await self._give_up(number, accepted.run_id)
                self._pass_on(key)
            case Verdict.GO_ON:
                await self._take_over(number, accepted, state)
            case Verdict.GO_ON_APART:
                await self._take_over_apart(number, accepted, state)

    async def _take_over_apart(
        self, number: int, accepted: RunAccepted, state: RunState
    ) -> None:
        """Start a run under suspicion when no other one is on probation."""
        await self._probation.take()
        try:
            run = await self._take_over(number, accepted, state)
            if run is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROBATION_SECONDS):
                        await run.wait_for_progress()
        finally:
            self._probation.give_back()

    async def _take_over(
        self, number: int, accepted: RunAccepted, state: RunState
    ) -> ActiveRun | None:
        """Start a run where its record ends; on record itself, if its last owner died."""
        if self._was_left(number):
            mark = RunTakenOver(self._owner, self._services.clock.now())
            await self._services.store.append(Write(number=number, entries=[mark]))
        if self._stopped_for is not None:
            return None
        return self._start(
            StoredRun(
                number=number,
                run_id=accepted.run_id,
                key=accepted.key,
                input=accepted.input,
                is_event=accepted.is_event,
                accepted_at=accepted.at,
                state=state,
            )
        )

    def _pass_on(self, key: str) -> None:
        """The next run of the key may come."""
        self.scheduler.finish(key)
        self.dispatch()

    async def _give_up(self, number: int, run_id: str) -> None:
        """A run whose starts killed their workers becomes a dead letter."""
        reason = (
            f"it was started {MAX_STARTS_WITHOUT_PROGRESS} times in a row, and each time its "
            "process died before anything new was recorded"
        )
        error = RunFailedError(run_id, reason)
        payload = self._services.codec.encode_failure(error, f"the failure of run {run_id}")
        entry = RunFailed(-1, payload, self._services.clock.now())
        await self._services.store.append(
            Write(number=number, entries=[entry], status=RunStatus.FAILED)
        )
        self.ended_counts[RunStatus.FAILED] += 1
        self._tell(number, Ending(RunStatus.FAILED, reason, error))

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
            numbers = [row.number for row in rows]
            self.scheduler.feed(key, numbers, has_more=len(rows) == limit)
        self.dispatch()

    def _on_end(self, run: ActiveRun, ending: Ending) -> None:
        del self.active[run.number]
        if ending.status is RunStatus.RUNNING:
            error = ending.error
            if self._stopped_for is not None:
                return
            if self._has_lost(run.number):
                logger.warning("run %s: %s", run.run_id, ending.reason)
                self._leave(run.number, run.key)
                return
            if isinstance(error, StoreError) and not error.retryable:
                self._quarantine(run.key, run.number, error)
                return
            # The store failed under it: what is in memory is thrown away and read again.
            logger.warning("run %s: %s; it is taken up again", run.run_id, ending.reason)
            self._read(self._take_up_again(run), f"take up {run.run_id}")
            return
        self.ended_counts[ending.status] += 1
        self._tell(run.number, ending)
        if ending.status is RunStatus.PARKED:
            self._hold(run.key)
            self.dispatch()
        else:
            self._pass_on(run.key)

    # What differs where several workers share the store: `_shared_dispatcher.py`.

    def _was_left(self, number: int) -> bool:
        """Whether the worker that had the run before died."""
        return self._marks_take_over and number <= self._found_up_to

    def _has_lost(self, number: int) -> bool:  # noqa: ARG002 - others may
        """Whether another worker took the run over."""
        return False

    def _leave(self, number: int, key: str) -> None:
        """A run that was lost has ended here."""
        raise NotImplementedError  # nobody loses what is not shared

    def _hold(self, key: str) -> None:
        """The key's run is parked."""
        self.scheduler.hold(key)

    def _quarantine(self, key: str, number: int, error: StoreError) -> None:
        """What the store refuses or cannot read is not guessed at: the run keeps its key."""
        logger.error("run number %d waits for a person: %s", number, error)
        self._tell(number, Ending(RunStatus.PARKED, str(error), error))
        self.scheduler.hold(key)
        self.dispatch()

    async def _take_up_again(self, run: ActiveRun) -> None:
        await self._services.clock.sleep(self._services.settings.store_retry_seconds)
        await self._load(run.key, run.number)

    def _tell(self, number: int, ending: Ending) -> None:
        end = self._ends.get(number)
        if end is not None:
            end.set(ending)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_crash(error)
