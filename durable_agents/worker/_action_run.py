"""One action over one event: its tasks, its buffered effects, and how it ends."""

import asyncio
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any, NoReturn, Protocol

from durable_agents.actions import Action
from durable_agents.context import RunnerContext
from durable_agents.errors import (
    ForbiddenInDurableCallError,
    NondeterminismError,
    RunAborted,
    SerializationError,
    StoreError,
)
from durable_agents.events import EventRecord
from durable_agents.journal import (
    ActionStarted,
    ActionState,
    CallKey,
    CancelRequested,
    DeliveredOutOfOrder,
    DeliveryOrder,
    Entry,
    call_id,
    must_park,
    place,
)
from durable_agents.memory import MemoryState
from durable_agents.serialization import Codec
from durable_agents.worker._current import CURRENT_CALL, Call
from durable_agents.worker._delivery import Delivery
from durable_agents.worker._effects import (
    NO_EFFECTS,
    Effects,
    each_returned,
    is_output,
    sendable,
    stray,
)
from durable_agents.worker._explained import PYTHON, explained
from durable_agents.worker._lineage import ActionTasks, Branch
from durable_agents.worker._mailbox import Mailbox
from durable_agents.worker._memories import Memories, snapshot_as_recorded
from durable_agents.worker._present_waits import PresentWait, PresentWaits
from durable_agents.worker._services import UNWINDING_SECONDS, Services
from durable_agents.worker._sync_action import (
    action_thread_branch,
    run_in_thread,
)
from durable_agents.worker._versions import Versions

__all__ = ["ActionRun", "RunJournal"]


class RunJournal(Protocol):
    """What an action run needs of the run that it belongs to."""

    run_id: str
    key: str
    codec: Codec
    """Bound to the run: what it encodes goes on record as `shared` makes of it."""

    @property
    def mailbox(self) -> Mailbox:
        """The signals of the run."""
        ...

    @property
    def versions(self) -> Versions:
        """Which versions of changes the run follows."""
        ...

    def write(self, entries: list[Entry]) -> asyncio.Future[int]:
        """Enqueue entries of the run."""
        ...

    def waits(self) -> None:
        """A task has begun to wait for time or a signal."""
        ...

    def goes_on(self) -> None:
        """A wait is over."""
        ...


class ActionRun:
    """One start of one action.

    Args:
        run: The run that it belongs to.
        state: What earlier starts of the action left.
        trigger: The occurrence that fired it.
        action: What to run.
        memories: What it sees, unless an earlier start has recorded what it saw.
        services: The worker's.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - an action run is made of these, and made in one place
        self,
        run: RunJournal,
        state: ActionState,
        trigger: EventRecord,
        action: Action,
        memories: Memories,
        services: Services,
    ) -> None:
        self.run = run
        self.run_id = run.run_id
        self.number = state.number
        self.event_number = state.event
        self.failed_attempts = state.failed_attempts
        self.trigger = trigger
        self.action = action
        self.services = services
        self.codec = run.codec
        self.tasks = ActionTasks()
        self._effects: Effects | None = None
        self.parked: str | None = None
        self._state = state
        self._has_started = state.started is not None
        self._has_ended = False
        self._has_failed = False
        self._aborted: str | None = None
        self._tainted: BaseException | None = None
        self._with_next: list[Entry] | None = None
        self._is_running = False
        self._is_cancelled = state.cancelled_at is not None
        self._present: PresentWaits | None = None
        short_term = memories.short_term if state.started is None else state.started.short_term
        self._short_term_snapshot = short_term
        self._sensory_snapshot = memories.sensory
        self._short_term: MemoryState | None = None
        self._sensory: MemoryState | None = None
        self._delivery: Delivery | None = None
        self.log = state.call_log()
        self._is_first_start = self.log.is_empty
        seed = f"{state.seed or run.run_id}/{state.event}:{action.name}"
        self.root = Branch(self.tasks, "", seed, trigger.created_at)

    @property
    def short_term(self) -> MemoryState:
        """Short-term memory as the action sees it; made when it is first asked for."""
        if self._short_term is None:
            # Cells outlive the run, so that they may not refer to what goes with it.
            codec = self.codec.self_contained()
            self._short_term = MemoryState(
                self._short_term_snapshot, codec, name="short_term", guard=self.check
            )
        return self._short_term

    @property
    def sensory(self) -> MemoryState:
        """Sensory memory as the action sees it; made when it is first asked for."""
        if self._sensory is None:
            self._sensory = MemoryState(
                self._sensory_snapshot, self.codec, name="sensory", guard=self.check
            )
        return self._sensory

    @property
    def mailbox(self) -> Mailbox:
        """The signals of the run."""
        return self.run.mailbox

    @property
    def has_written_memory(self) -> bool:
        """Whether there is anything of memory to commit."""
        short_term, sensory = self._short_term, self._sensory
        return (short_term is not None and bool(short_term.changes)) or (
            sensory is not None and bool(sensory.changes)
        )

    @property
    def delivery(self) -> Delivery:
        """The order in which outcomes arrive; made when there is anything to order."""
        if self._delivery is None:
            self._delivery = Delivery(
                DeliveryOrder(self.log.batches()),
                self.tasks,
                self.services.ticker,
                self.services.settings.replay_order_wait,
                self._note_overtaking,
            )
        return self._delivery

    @contextmanager
    def waiting(
        self, due: float | None, coming: asyncio.Future[int] | None = None
    ) -> Generator[None]:
        """While inside, a task of the action waits for time or a signal.

        Args:
            due: When the wait is over whatever comes; None: never.
            coming: Done when what it waits for has come.
        """
        steps = self.services.lineage.here()
        assert steps is not None, "a branch is a task's"
        present, wait = self._waits, PresentWait(steps.branch.path, due, coming)
        present.add(wait)
        steps.sets_timers_of_ours = True
        self.run.waits()
        try:
            yield
        finally:
            steps.sets_timers_of_ours = False
            present.remove(wait)
            self.run.goes_on()
            if present:
                self.run.waits()

    @property
    def _waits(self) -> PresentWaits:
        """What its tasks wait for; made when the first one does."""
        if self._present is None:
            self._present = PresentWaits()
        return self._present

    @property
    def only_waits(self) -> bool:
        """Whether some tasks wait, and none of them makes a durable call."""
        return bool(self._present) and not self.tasks.make_call

    @property
    def may_leave(self) -> bool:
        """Whether waits are all that there is, so that a replay comes to the same point.

        Each task has to be in one, or to have a task below it that is. A timer of the event
        loop that the action has set would be lost (`asyncio.timeout` around a wait).
        """
        if self._is_cancelled or (self._delivery is not None and not self._delivery.is_idle):
            return False
        waits = self._waits
        return not (waits.has_come or self.tasks.timers) and waits.cover(self.tasks.paths)

    @property
    def wakes_at(self) -> float | None:
        """When the first wait or timeout is over, whatever signals come; None: never."""
        return self._waits.due

    def set_deadline(self, timeout: object, due: float | None) -> None:
        """A timeout fires then; None: it does not any more."""
        self._waits.set_deadline(timeout, due)

    @property
    def is_alone(self) -> bool:
        """Whether one task is all that there is, with no timeout: nothing can race."""
        return self.tasks.live == 1

    @property
    def is_direct(self) -> bool:
        """Whether a committed outcome needs no ordering: one task, and nothing before it."""
        if self.tasks.live != 1:
            return False
        return self._is_first_start if self._delivery is None else self._delivery.is_idle

    @property
    def is_aborted(self) -> bool:
        """Whether the run ends here by no decision of its own code: nothing is given up."""
        return self._aborted is not None or self._has_failed

    @property
    def is_running(self) -> bool:
        """Whether the author's code has not returned yet."""
        return self._is_running and self._aborted is None

    async def execute(self, context: RunnerContext) -> Effects:
        """Run the action to its end; returns what it did, not yet visible.

        Raises:
            RunAborted: The worker ended the run; nothing about it may be recorded.
            Exception: What the action raised.
        """
        self._is_running = True
        if self._is_cancelled:
            self.delivery.cancel_when_due(self._cancel_task)
        try:
            if self.action.is_async:
                returned = await self.action.fn(self.trigger.event, context)
            else:
                returned = await self._call_in_thread(context)
            self._is_running = False
            for event in each_returned(returned):
                self.send(event)
        except BaseException:
            # What its tasks still do is stopped by the failure, not given up by their code: the
            # next attempt makes those calls again.
            self._has_failed, self._is_running = True, False
            raise
        finally:
            try:
                if self.tasks.children:
                    await self._end_children(self.tasks.children)
            finally:
                self._has_ended = True
                # The task holds all this: a circle, which only the collector could undo.
                self.tasks.root = None
                if self._delivery is not None:
                    self._delivery.close()
        if self._aborted is not None:
            raise RunAborted(self._aborted)
        if self._tainted is not None:
            raise self._tainted
        self._report_never_asked()
        return NO_EFFECTS if self._effects is None else self._effects

    async def _call_in_thread(self, context: RunnerContext) -> Any:
        call = partial(self.action.fn, self.trigger.event, context)
        return await run_in_thread(call, self.root, f"durable-agents-action-{self.action.name}")

    def abort(self, reason: str) -> None:
        """End the action here: its tasks are cancelled, and nothing is recorded any more."""
        if self._has_ended:
            return  # what it did is being committed
        if self._aborted is None:
            self._aborted = reason
        self.tasks.cancel()

    async def cancel(self, reason: str) -> None:
        """Tell the action to stop, once that is on record and due among its outcomes.

        It meets the task of the action as a `CancelledError`, and through it those that it
        awaits. What they do to clean up runs and is recorded as ever.

        Raises:
            StoreError: It cannot be recorded; the action goes on.
        """
        if self._is_cancelled:
            return
        self._is_cancelled = True
        future = self.record(CancelRequested(self.number, reason, self.services.clock.now()))
        self.delivery.cancel_when_due(self._cancel_task, future)
        try:
            await asyncio.shield(future)
        except StoreError:
            self._is_cancelled = False
            raise

    def _cancel_task(self) -> None:
        if self._is_running and self.tasks.root is not None:
            self.tasks.root.cancel()

    def park(self, reason: str) -> NoReturn:
        """Stop the run until a person decides."""
        self.parked = self._aborted = reason
        if get_ident() == self.services.lineage.thread:
            self.tasks.cancel(besides=asyncio.current_task())
        raise RunAborted(reason)

    def taint(self, error: BaseException) -> None:
        """Something took place and is not on record: the action must not complete."""
        if self._tainted is None:
            self._tainted = error

    def explain(self, difference: str) -> str:
        """A divergence as it is told: with what may be its reason."""
        told = explained(difference, self._state.started, self.action)
        return "; ".join([told, *self.run.versions.reasons(self.number)])

    def warn(self, message: str) -> None:
        """Tell people."""
        logger = self.services.logger
        logger.warning("run %s, action %s: %s", self.run_id, self.action.name, message)

    def call_id(self, key: CallKey) -> str:
        """What a call of the action is known by within the run, in every life."""
        return call_id(self.event_number, self.action.name, key)

    def record(self, entry: Entry) -> asyncio.Future[int]:
        """Enqueue an entry; the first one takes the start of the action with it."""
        entries = [entry] if self._with_next is None else [*self.take_kept_back(), entry]
        if self._has_started:
            return self.run.write(entries)
        try:
            snapshot = snapshot_as_recorded(self.codec, self._short_term_snapshot)
        except SerializationError as error:
            self.taint(error)
            raise
        self._has_started = True
        started = ActionStarted(
            self.number,
            self._state.event,
            self.action.name,
            snapshot,
            PYTHON,
            self.services.clock.now(),
            self.action.code,
        )
        return self.run.write([started, *entries])

    def add_to_next_record(self, entries: Iterable[Entry]) -> None:
        """Record entries together with the next one, before it."""
        self._with_next = [*(self._with_next or ()), *entries]

    def take_kept_back(self) -> list[Entry]:
        """What was to be recorded with the next entry, for whoever records that."""
        entries, self._with_next = self._with_next, None
        return entries or []

    def send(self, event: object) -> None:
        """Buffer an event."""
        branch = self.branch("send")
        name = self.action.name
        sent = sendable(event, self.trigger, name)
        branch.send_count += 1
        event_id = f"{self.run_id}/{self.number}{branch.path}#{branch.send_count}"
        if self._effects is None:
            self._effects = Effects()
        if is_output(sent):
            services = self.services
            self._effects.add_output(sent, event_id, name, services.codec, services.clock.now())
        else:
            self._effects.add_event(sent, event_id, name, self.codec)

    @property
    def is_replaying(self) -> bool:
        """Whether the next durable call of the task that runs now has a recorded outcome."""
        steps = self.services.lineage.here()
        branch = action_thread_branch() if steps is None else steps.branch
        if branch is None or branch.tasks is not self.tasks:
            return False
        return self.log.has_outcome((branch.path, branch.next_position))

    def check(self, verb: str) -> None:
        """Refuse a verb that is not allowed here and now; see `RunnerContext`."""
        self.branch(verb)

    def branch(self, verb: str) -> Branch:
        """The branch of the task that runs now, if it may use the context."""
        # `lineage.here()`, written out: each durable call passes.
        lineage = self.services.lineage
        steps = lineage.current
        if steps is None or get_ident() != lineage.thread:
            branch, call = action_thread_branch(), CURRENT_CALL.get()
        else:
            branch, call = steps.branch, steps.call
        if (
            branch is None
            or branch.tasks is not self.tasks
            or call is not None
            or self._has_ended
            or self._aborted is not None
        ):
            self._refuse(verb, branch, call)
        return branch

    def _refuse(self, verb: str, branch: Branch | None, call: Call | None) -> NoReturn:
        if call is not None:
            raise ForbiddenInDurableCallError(verb, call.function_id)
        if self._aborted is not None:
            raise RunAborted(self._aborted)
        is_known = branch is not None
        raise stray(verb, self.action.name, has_ended=self._has_ended, is_known=is_known)

    async def _end_children(self, children: Collection[asyncio.Task[Any]]) -> None:
        """Cancel what the action left behind; their calls are abandoned."""
        left = {task for task in children if not task.done()}
        if not left:
            return
        if self._aborted is None:
            names = ", ".join(sorted(t.get_name() for t in left))
            self.warn(f"it ended before its tasks did; they are cancelled: {names}")
        for task in left:
            task.cancel()
        grace = max(self.services.settings.shutdown_grace_seconds, UNWINDING_SECONDS)
        _, stubborn = await asyncio.wait(left, timeout=grace)
        if stubborn:
            self.warn(f"{len(stubborn)} of its tasks ignore their cancellation; they are left")

    def _report_never_asked(self) -> None:
        """A record that nobody asked for is a divergence, too."""
        records = self.log.never_asked()
        if not records:
            return
        shown = ", ".join(f"{r} at {place(r.key)}" for r in records[:5])
        difference = self.explain(f"{len(records)} recorded calls were not made: {shown}")
        if must_park(self.services.settings.on_divergence, records):
            self.parked = str(NondeterminismError(self.run_id, difference))
            raise RunAborted(self.parked)
        self.warn(f"the code no longer repeats its calls: {difference}")

    def _note_overtaking(self, key: CallKey, overtaken: CallKey) -> None:
        self.warn(
            f"{place(overtaken)} came next and was not asked for within "
            f"{self.services.settings.replay_order_wait:g} s; {place(key)} is handed over first"
        )
        now = self.services.clock.now()
        self.record(DeliveredOutOfOrder(self.number, *key, *overtaken, now))
