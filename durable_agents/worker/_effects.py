"""What an action did, buffered until it completes; and why it may not do it here."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from durable_agents.errors import OutsideActionError
from durable_agents.events import Event, EventRecord, EventType, OutputEvent, type_name_of
from durable_agents.journal import SentEvent
from durable_agents.serialization import Codec

__all__ = ["NO_EFFECTS", "Effects", "each_returned", "is_output", "sendable", "stray"]


@dataclass(slots=True)
class Effects:
    """Events and outputs of an action, to become visible together when it completes."""

    events: list[SentEvent] = field(default_factory=list)
    outputs: list[SentEvent] = field(default_factory=list)

    def add_event(self, event: Event, event_id: str, action: str, codec: Codec) -> None:
        """Buffer an event for other actions of the run."""
        self.events.append(SentEvent(event_id, codec.encode(event, _part(event, action))))

    def add_output(
        self, event: Event, event_id: str, action: str, codec: Codec, at: float
    ) -> None:
        """Buffer an output; it may outlive its run, so the codec must share nothing with it."""
        output = OutputEvent[Any].from_event(event).output
        self.outputs.append(SentEvent(event_id, codec.encode(output, _part(event, action)), at))


NO_EFFECTS = Effects()
"""Of an action that sent nothing."""


def sendable(event: object, trigger: EventRecord, action: str) -> Event:
    """What was handed to `send`, if it may be sent.

    Raises:
        TypeError: It is no event.
        ValueError: It is the very event that fired the action.
    """
    if not isinstance(event, Event):
        msg = f"send takes an Event, got {type(event).__name__}; use output for a value"
        raise TypeError(msg)
    if event is trigger.event:
        which = f"the very event that fired it ({trigger.id})"
        msg = f"action {action!r} sent {which}; make a new one"
        raise ValueError(msg)
    return event


def is_output(event: Event) -> bool:
    """Whether an event leaves the agent."""
    return type_name_of(event) == EventType.OutputEvent


def each_returned(returned: object) -> Iterable[Any]:
    """What an action returned to be sent: nothing, an event, or several."""
    if returned is None:
        return ()
    if isinstance(returned, (list, tuple)):
        return cast("Iterable[Any]", returned)  # send checks each of them
    return (returned,)


def stray(verb: str, action: str, *, has_ended: bool, is_known: bool) -> OutsideActionError:
    """Why the context cannot be used where it is used.

    Args:
        verb: What was asked of it.
        action: Name of the action that it belongs to.
        has_ended: Whether that action has ended.
        is_known: Whether the caller is a task of some action.
    """
    if has_ended:
        hint = f"action {action!r} has ended; await its tasks before it returns"
    elif is_known:
        hint = f"the context belongs to action {action!r}, the caller to another action"
    else:
        hint = (
            f"the caller is no task of action {action!r}: it is a thread, a callback or an "
            "async generator that the garbage collector closes; start tasks from the "
            "action, and close generators with contextlib.aclosing"
        )
    return OutsideActionError(verb, hint)


def _part(event: Event, action: str) -> str:
    return f"event {type(event).__name__} of action {action!r}"
