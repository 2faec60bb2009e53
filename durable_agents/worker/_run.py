"""One run: the actions that an input event causes, one after the other, to the end of the run.

Each action is a task of its own in the worker's task group, with a context of its own. When it
has completed, its task commits what it did and starts the next action; when none is left, the
run's completion travels in the same row.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from durable_agents.agent import AgentPlan
from durable_agents.errors import (
    CallFailedError,
    SerializationError,
    StoreConflictError,
    StoreError,
)
from durable_agents.journal import (
    ActionCompleted,
    ActionFailed,
    CallRecord,
    Entry,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunParked,
    RunState,
    RunStatus,
    SentEvent,
)
from durable_agents.memory import apply_updates
from durable_agents.serialization import Codec, Payload
from durable_agents.store import Write, state_of
from durable_agents.worker._action_run import ActionRun
from durable_agents.worker._agenda import Agenda, StoredRun
from durable_agents.worker._context import ActionContext
from durable_agents.worker._effects import NO_EFFECTS, Effects
from durable_agents.worker._memories import Memories, as_recorded, changed
from durable_agents.worker._run_record import RunRecord
from durable_agents.worker._services import Services

__all__ = ["ActiveRun", "Ending", "StoredRun"]

_SHORT = 1000
"""Characters that are kept of the text of an error that is too large to be kept."""


class Ending(msgspec.Struct, frozen=True):
    """How a run ended here."""

    status: RunStatus
    """`RUNNING` where it did not end: the worker stopped, or the store failed."""
    reason: str = ""
    error: BaseException | None = None
    outputs: list[SentEvent] | None = None
    """Its outputs, where all of them were made here."""
    output_count: int | None = None  # where its journal was read


class RestingRuns(Protocol):
    """Who has to know that a run waits, and goes on."""

    def waits(self, run: "ActiveRun", /) -> None:
        """It waits for time or a signal."""
        ...

    def goes_on(self, run: "ActiveRun", /) -> None:
        """A wait of it is over."""
        ...


class ActiveRun(RunRecord):
    """A run that is being worked on.

    Args:
        stored: The run as it was found.
        plan: The agent's plan.
        services: The worker's.
        spawn: `create_task` of the worker's task group.
        on_end: Told once how the run ended here.
        resting: Told when the run waits and goes on; None: nobody cares.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - a run is made of these, and made in one place
        self,
        stored: StoredRun,
        plan: AgentPlan,
        services: Services,
        spawn: Callable[..., asyncio.Task[None]],
        on_end: Callable[["ActiveRun", Ending], None],
        resting: RestingRuns | None = None,
    ) -> None:
        super().__init__(stored, services)
        self._logger = services.logger
        self._plan = plan
        self._spawn = spawn
        self._on_end = on_end
        self._resting = resting
        self._agenda = Agenda(stored, plan)
        self._memories = Memories()
        self._gone: str | None = None
        self._outputs: list[SentEvent] | None = None
        self._action_run: ActionRun | None = None
        self._pausing: asyncio.Task[Any] | None = None
        self._stop_reason: str | None = None
        self._cancel_reason: str | None = None
        self._ended: asyncio.Future[Ending] | None = None
        self._has_ended = self._is_at_rest = False
        self._waits_noted: asyncio.Future[None] | None = None

    @property
    def not_asked(self) -> list[CallRecord]:
        """What is on record of the action that runs and it has not asked for."""
        return [] if self._action_run is None else self._action_run.log.never_asked()

    @property
    def is_code_gone(self) -> bool:
        """Whether the code has no action any more that has begun, or cannot read an event."""
        return self._gone is not None

    def start(self) -> None:
        """Begin, or go on where the record ends."""
        if self._stored.state is None and not self._services.store.holds_memory:
            # Nothing has to be read: the first action starts without a task in between.
            self._begin(self._stored.state)
        else:
            self._run_task(self._prepare(), "prepare")

    def stop(self, reason: str) -> None:
        """End the run here; what has settled stays, and the run goes on elsewhere."""
        self._stop_reason = reason
        if self._action_run is not None:
            self._action_run.abort(reason)
        if self._pausing is not None:
            self._pausing.cancel()

    async def cancel(self, reason: str) -> Ending | None:
        """Tell the run to stop, once that is on record.

        Returns:
            How the run ended, where no action was running that had to be told; else None.

        Raises:
            StoreError: It cannot be recorded; the run goes on.
        """
        if self._cancel_reason is None:
            self._cancel_reason = reason
        action_run = self._action_run
        if action_run is not None and action_run.is_running:
            try:
                await action_run.cancel(reason)
            except StoreError:
                self._cancel_reason = None
                raise
            return None
        if self._pausing is not None:
            self._pausing.cancel()
        self._ended = asyncio.get_running_loop().create_future()
        return await self._ended

    @property
    def steps(self) -> int:
        """How many steps the tasks of the action have made that runs now."""
        return 0 if self._action_run is None else self._action_run.tasks.steps

    @property
    def only_waits(self) -> bool:
        """Whether the run waits for time or signals, and for nothing else."""
        return self._action_run is not None and self._action_run.only_waits

    @property
    def may_leave(self) -> bool:
        """Whether nothing would be lost if the run, which rests, left memory for now."""
        action_run = self._action_run
        return (
            action_run is not None
            and action_run.may_leave
            and self._signals_on_the_way == 0
            and self._cancel_reason is None
            and self._stop_reason is None
        )

    @property
    def wakes_at(self) -> float | None:
        """When the first of its waits is over, whatever signals come; None: never."""
        return None if self._action_run is None else self._action_run.wakes_at

    def waits(self) -> None:
        """A task of the action has begun to wait for time or a signal."""
        if self._resting is not None and self._stop_reason is None:
            self._resting.waits(self)
        self._note_waiting()

    def rests(self) -> None:
        """Nothing has moved in the run for a while but time."""
        self._is_at_rest = True
        self._note_waiting()

    async def wait_until_it_waits(self, name: str | None) -> None:
        """Wait until it waits for signals of a name, or for whatever else there is.

        Args:
            name: Of the signals; None: of any, or for time.
        """
        while not (self._has_ended or self._is_at_rest):
            if self.only_waits if name is None else self.mailbox.expects(name):
                return
            if self._waits_noted is None or self._waits_noted.done():
                self._waits_noted = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waits_noted)

    def _note_waiting(self) -> None:
        if self._waits_noted is not None and not self._waits_noted.done():
            self._waits_noted.set_result(None)

    def goes_on(self) -> None:
        """A wait of the action is over."""
        self._is_at_rest = False
        if self._resting is not None:
            self._resting.goes_on(self)

    async def _prepare(self) -> None:
        try:
            store = self._services.store
            if store.holds_memory:
                self._memories.short_term = await store.memory(self._plan.name, self.key)
            if (state := self._stored.state) is not None and state.actions:
                await self._read_blobs()
        except StoreError as error:
            self._end(Ending(RunStatus.RUNNING, str(error), error))
            return
        self._begin(state)

    def _begin(self, state: RunState | None) -> None:
        try:
            self._agenda.build(state, self.codec)
        except Exception as error:  # noqa: BLE001 - a condition raised
            self._run_task(self._fail(-1, error), "fail")
        else:
            if state is not None:
                self._memories.sensory = apply_updates({}, state.sensory)
                self._cancel_reason = self._cancel_reason or state.cancel_reason
            self._gone = self._agenda.gone
            self._start_next()

    def _start_next(self) -> None:
        if self._stop_reason is not None:
            self._end(Ending(RunStatus.RUNNING, self._stop_reason))
        elif self._cancel_reason is not None and not self._agenda.begins_with_clean_up:
            self._run_task(self._end_cancelled(None), "cancel")
        elif self._gone is not None:
            self._run_task(self._park(self._gone, lacks_code=True), "park")
        elif self._agenda:
            action_run = self._next_action_run()
            self._action_run = action_run
            name = f"{self.run_id} {action_run.action.name}"
            steps, lineage = self._execute(action_run), self._services.lineage
            task = lineage.start(steps, action_run.root, self._spawn, name)
            action_run.tasks.root = task
        else:
            self._run_task(self._complete(None, NO_EFFECTS), "complete")

    def _next_action_run(self) -> ActionRun:
        trigger, state, action = self._agenda.following()
        return ActionRun(self, state, trigger, action, self._memories, self._services)

    async def _execute(self, action_run: ActionRun) -> None:
        try:
            effects = await action_run.execute(ActionContext(action_run))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - it fails this run and no other
            task = asyncio.current_task()
            while task is not None and task.cancelling():
                task.uncancel()
            await self._end_badly(action_run, error)
        else:
            await self._complete(action_run, effects)

    async def _end_badly(self, action_run: ActionRun, error: BaseException) -> None:
        if action_run.parked is not None:
            await self._park(action_run.parked)
        elif self._stop_reason is not None:
            self._end(Ending(RunStatus.RUNNING, str(self._stop_reason)))
        elif self._cancel_reason is not None:
            await self._end_cancelled(error)
        elif isinstance(error, asyncio.CancelledError):
            text = "the action was cancelled from within"
            failure = CallFailedError("asyncio.exceptions.CancelledError", text)
            failure.__cause__ = error
            await self._retry_or_fail(action_run, failure)
        else:
            await self._retry_or_fail(action_run, error)

    async def _complete(self, action_run: ActionRun | None, effects: Effects) -> None:
        """Commit what the action did, in one row, and go on."""
        now = self._services.clock.now()
        write = Write(number=self.number, entries=[], outputs=effects.outputs)
        if action_run is not None:
            try:
                self._take_effect(action_run, effects, write, now)
            except Exception as error:  # noqa: BLE001 - a condition raised
                await self._fail(action_run.number, error)
                return
        if self._cancel_reason is not None:
            write.entries.append(RunCancelled(self._cancel_reason, now))
            write.status = RunStatus.CANCELLED
        elif not self._agenda:
            write.entries.append(RunCompleted(now))
            write.status = RunStatus.COMPLETED
        try:
            await self._append(write)
        except StoreError as error:
            if error.retryable or isinstance(error, StoreConflictError):
                self._end(Ending(RunStatus.RUNNING, str(error), error))
            else:
                await self._fail(-1 if action_run is None else action_run.number, error)
            return
        self._action_run = None
        if effects.outputs:
            self._outputs = (self._outputs or []) + effects.outputs
            self._services.outputs.announce()
        if write.status is None:
            self._start_next()
        elif write.status is RunStatus.CANCELLED:
            self._end(Ending(RunStatus.CANCELLED, self._cancel_reason or ""))
        else:
            outputs = (self._outputs or []) if self._stored.state is None else None
            self._end(Ending(RunStatus.COMPLETED, outputs=outputs))

    def _take_effect(
        self, action_run: ActionRun, effects: Effects, write: Write, now: float
    ) -> None:
        event, name = action_run.event_number, action_run.action.name
        sent = effects.events
        wrote = action_run.has_written_memory
        write.entries += action_run.take_kept_back()
        write.entries.append(
            ActionCompleted(
                action_run.number,
                event,
                name,
                [SentEvent(e.event_id, self.codec.shared(e.payload), e.at) for e in sent],
                len(effects.outputs),
                as_recorded(self.codec, action_run.sensory.updates) if wrote else [],
                as_recorded(self.codec, action_run.short_term.updates) if wrote else [],
                now,
            )
        )
        self._agenda.complete(sent, self.codec, now)
        if not wrote:
            return
        self._memories.sensory = changed(self._memories.sensory, action_run.sensory.changes)
        if changes := action_run.short_term.changes:
            write.memory = (self._plan.name, self.key, changes)
            self._memories.short_term = changed(self._memories.short_term, changes)

    async def _park(self, reason: str, *, lacks_code: bool = False) -> None:
        entry = RunParked(reason, self._services.clock.now(), lacks_code)
        if await self._end_by(entry, Ending(RunStatus.PARKED, reason)):
            self._logger.warning("run %s is parked: %s", self.run_id, reason)

    async def _end_cancelled(self, error: BaseException | None) -> None:
        reason = self._cancel_reason or ""
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._logger.warning(
                "run %s: its clean-up raised %r", self.run_id, error, exc_info=error
            )
            reason += f" (its clean-up raised {type(error).__name__}: {error})"
        entry = RunCancelled(reason, self._services.clock.now())
        await self._end_by(entry, Ending(RunStatus.CANCELLED, reason))

    async def _retry_or_fail(self, action_run: ActionRun, error: BaseException) -> None:
        policy = action_run.action.retry
        attempt = action_run.failed_attempts + 1
        chance = action_run.root.random.random()
        wait = None if policy is None else policy.wait_after(attempt, error, chance)
        if wait is None:
            await self._fail(action_run.number, error)
            return
        self._logger.warning("run %s: attempt %d failed: %r", self.run_id, attempt, error)
        try:
            now = self._services.clock.now()
            failed = ActionFailed(action_run.number, attempt, self._failure(error), now)
            await action_run.record(failed)
            await self._pause(wait)
            _, state = await state_of(self._services.store, self.number)
            await self._read_blobs()
        except StoreError as store_error:
            self._end(Ending(RunStatus.RUNNING, str(store_error), store_error))
            return
        except asyncio.CancelledError:
            if self._stop_reason is None:
                await self._end_cancelled(None)
            else:
                self._end(Ending(RunStatus.RUNNING, str(self._stop_reason)))
            return
        self._stored = msgspec.structs.replace(self._stored, state=state)
        self._begin(state)

    async def _pause(self, seconds: float) -> None:
        """Wait before an action is tried again; stopping the run ends the wait."""
        self._pausing = asyncio.current_task()
        try:
            await self._services.clock.sleep(seconds)
        finally:
            self._pausing = None

    async def _fail(self, action: int, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"
        status = self._services.status_of_failed
        blocks = status is RunStatus.BLOCKING
        entry = RunFailed(action, self._failure(error), self._services.clock.now(), blocks)
        # Where the store fails, nothing is on record: the run goes on later.
        if await self._end_by(entry, Ending(status, reason, error)):
            self._logger.warning("run %s failed: %r", self.run_id, error, exc_info=error)

    def _failure(self, error: BaseException) -> Payload:
        codec, what = self._services.codec, f"the failure of run {self.run_id}"
        try:
            return codec.encode_failure(error, what)
        except SerializationError:
            # Whatever the limit, there is room for why a run failed.
            name = f"{type(error).__module__}:{type(error).__qualname__}"
            return Codec().encode_failure(CallFailedError(name, str(error)[:_SHORT]), what)

    async def _end_by(self, entry: Entry, ending: Ending) -> bool:
        store = self._services.store
        write = Write(number=self.number, entries=[entry], status=ending.status)
        try:
            try:
                await store.append(write)
            except StoreError as error:
                if error.retryable:
                    raise
                # A write was refused for its data, and with it all later ones: the run may go
                # on from what is on record, and what is on record is that it failed.
                store.readmit(self.number)
                await store.append(write)
        except StoreError as error:
            ending = Ending(RunStatus.RUNNING, str(error), error)
        self._end(ending)
        return ending.status is not RunStatus.RUNNING

    def _end(self, ending: Ending) -> None:
        self._action_run = None
        self._has_ended = True
        self._note_waiting()
        if self._progress is not None:
            self._progress.set()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(ending)
        self._on_end(self, ending)

    def _run_task(self, coroutine: Coroutine[Any, Any, None], what: str) -> None:
        self._spawn(coroutine, name=f"{self.run_id} {what}")
