"""What a run has to do: each action of each event that has not completed, in order."""

from collections.abc import Sequence

import msgspec

from durable_agents.actions import Action
from durable_agents.agent import AgentPlan
from durable_agents.errors import DecodeError
from durable_agents.events import Event, EventRecord, InputEvent, type_name_of
from durable_agents.journal import ActionState, RunAccepted, RunState, SentEvent
from durable_agents.serialization import Codec, Payload

__all__ = ["Agenda", "StoredRun"]

_READER = "the run goes on when a worker starts that can read it; or cancel it"


class StoredRun(msgspec.Struct, frozen=True, gc=False):
    """A run as the worker finds it: what it needs to start or to go on."""

    number: int
    run_id: str
    key: str
    input: Payload
    is_event: bool
    accepted_at: float
    state: RunState | None
    """What is on record beyond the acceptance; None where nothing can be."""
    is_ordered: bool = True
    """Whether inputs may come that are ordered with it; False: it has no key and no id."""

    @classmethod
    def of(cls, number: int, accepted: RunAccepted, state: RunState) -> "StoredRun":
        """A run as its journal has it."""
        return cls(
            number=number,
            run_id=accepted.run_id,
            key=accepted.key,
            input=accepted.input,
            is_event=accepted.is_event,
            accepted_at=accepted.at,
            state=state,
        )


class Agenda:
    """Events of a run and the actions that they fire: one at a time, in the order sent.

    Args:
        stored: The run as it was found.
        plan: The agent's plan.
    """

    __slots__ = ("_due", "_events", "_next", "_plan", "_states", "_stored", "_unreadable")

    def __init__(self, stored: StoredRun, plan: AgentPlan) -> None:
        self._stored = stored
        self._plan = plan
        self._events: list[EventRecord] = []
        self._due: list[tuple[int, Action]] = []
        self._next = 0
        self._states: dict[tuple[int, str], ActionState] = {}
        self._unreadable: str | None = None

    def __bool__(self) -> bool:
        return self._next < len(self._due)

    @property
    def begins_with_clean_up(self) -> bool:
        """Whether the next action was told to stop in an earlier life, and did not get far."""
        if not self:
            return False
        number, action = self._due[self._next]
        state = self._states.get((number, action.name))
        return state is not None and state.cancelled_at is not None

    @property
    def is_unreadable(self) -> bool:
        """Whether the input or an event cannot be read, so that nothing is lined up."""
        return self._unreadable is not None

    @property
    def gone(self) -> str | None:
        """What today's code cannot read, or has no action for any more; None: nothing.

        For people. Without an action that has begun, the run would complete as if that had
        never begun.
        """
        if self._unreadable is not None:
            return self._unreadable
        if not self._states:
            return None
        due = {(number, action.name) for number, action in self._due}
        for begun, state in self._states.items():
            if state.started is not None and not state.is_completed and begun not in due:
                return self._loss_of(*begun)
        return None

    def _loss_of(self, number: int, name: str) -> str:
        is_known = name in self._plan.actions
        lost = "does not fire it on that event" if is_known else "has no such action"
        kind, agent = self._events[number].type, self._plan.name
        return (
            f"action {name!r} has begun over event {number}, {kind!r}, and agent {agent!r} "
            f"{lost} any more: the run goes on when a worker starts with code that does; or "
            "cancel it"
        )

    def build(self, state: RunState | None, codec: Codec) -> None:
        """Line everything up, from the input on.

        Args:
            state: What is on record beyond the acceptance; None: nothing.
            codec: The run's.

        Nothing is lined up where the input or an event cannot be read; see `gone`.

        Raises:
            Exception: What a condition raised.
        """
        stored = self._stored
        self._unreadable = None
        if state is not None:
            self._events.clear()
            self._due.clear()
            self._next = 0
            self._states = state.actions
        what = "its input"
        try:
            value = codec.decode(stored.input)
            events: list[Event] = []
            for number, sent in enumerate(() if state is None else state.events, start=1):
                what = f"event {number}, sent by action {sent.upstream_action!r},"
                events.append(codec.decode(sent.event.payload))
        except DecodeError as error:
            self._unreadable = f"{what} cannot be read: {error.problem}: {_READER}"
            return
        first: Event = value if stored.is_event else InputEvent(input=value)
        self._line_up(f"{stored.run_id}/input", first, stored.accepted_at, None)
        if state is None:
            return
        for sent, event in zip(state.events, events, strict=True):
            upstream = (sent.upstream_event, sent.upstream_action)
            self._line_up(sent.event.event_id, event, sent.at, upstream)

    def following(self) -> tuple[EventRecord, ActionState, Action]:
        """The next action, what fires it, and what its earlier starts left."""
        number, action = self._due[self._next]
        state = self._states.get((number, action.name))
        if state is None:
            state = ActionState(self._next_number(), number, action.name)
            self._states[number, action.name] = state
        return self._events[number], state, action

    def complete(self, sent: Sequence[SentEvent], codec: Codec, now: float) -> None:
        """The next action has completed: what it sent is lined up.

        Raises:
            Exception: What a condition raised.
        """
        number, action = self._due[self._next]
        self._next += 1
        self._states[number, action.name].is_completed = True
        for one in sent:
            # The next action sees what it would see after a crash: a decoded copy.
            event = codec.decode(one.payload)
            self._line_up(one.event_id, event, now, (number, action.name))

    def _line_up(
        self, event_id: str, event: Event, at: float, upstream: tuple[int, str] | None
    ) -> None:
        number = len(self._events)
        type_name = type_name_of(event)
        self._events.append(
            EventRecord(
                id=event_id,
                type=type_name,
                key=self._stored.key,
                event=event,
                upstream_event_id=None if upstream is None else self._events[upstream[0]].id,
                upstream_action=None if upstream is None else upstream[1],
                created_at=at,
            )
        )
        for action in self._plan.actions_for(event, type_name):
            state = self._states.get((number, action.name))
            if state is None or not state.is_completed:
                self._due.append((number, action))

    def _next_number(self) -> int:
        states = self._states
        return 1 + max(s.number for s in states.values()) if states else 0
