"""Events: immutable typed facts, and the envelope that each occurrence of one travels in.

Rule 1: an event says what happened and nothing about when, where or why; that is the
envelope's, `EventRecord`. So two equal events may occur twice and stay two occurrences, and a
replay sends equal events under the ids they had. Rule 2: what an event is called is decided
here only: `type_name_of` is asked, a class or a field is never looked at.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, Self, TypeAlias, TypeVar, dataclass_transform

import msgspec

from durable_agents.errors import DefinitionError

__all__ = [
    "DynamicEvent",
    "Event",
    "EventRecord",
    "EventType",
    "InputEvent",
    "OutputEvent",
    "attributes_of",
    "type_name_of",
    "type_name_of_class",
]

T = TypeVar("T")


class EventType(StrEnum):
    """The built-in type names: each member is its text, `EventType.__members__` has all."""

    InputEvent = "_input_event"
    OutputEvent = "_output_event"


# Tells type checkers what happens at run time: a subclass of a frozen struct is frozen.
# No Python field can be called "$event", so an event is free to have a field called `type`.
@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="$event", tag=True):
    """An immutable, typed fact that fires actions: each subclass is an event type.

    Its fields are the attributes. Its type name is the class name, or the one that it gives
    itself: `class ReviewScored(Event, tag="review.scored")`. Events match by their type name:
    a subclass of an event class is another type, and fires the actions of its own type only.
    """

    @classmethod
    def type_name(cls) -> str:
        """Name of the event type. A `DynamicEvent` has it per instance, see `type_name_of`.

        Raises:
            DefinitionError: The class declares a tag that is not text.
        """
        return type_name_of_class(cls)

    @classmethod
    def from_event(cls, source: "Event | EventRecord") -> Self:
        """The same event as an instance of this class, whatever shape it came in.

        Args:
            source: An event of this type: typed, or dynamic with attributes named as our
                fields. Of a record the event is taken; id and lineage stay with the record.

        Raises:
            ValueError: The event is of another type, or its attributes do not fit the fields.
        """
        event = source.event if isinstance(source, EventRecord) else source
        if isinstance(event, cls):
            return event
        found, wanted = type_name_of(event), type_name_of_class(cls)
        if found != wanted:
            msg = f"an event of type {found!r} is not a {cls.__name__} ({wanted!r})"
            raise ValueError(msg)
        encoded = dict(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))
        attributes = attributes_of(event)
        try:
            return msgspec.convert({encoded.get(k, k): v for k, v in attributes.items()}, cls)
        except msgspec.ValidationError as error:
            msg = f"the attributes of event {found!r} do not fit {cls.__name__}: {error}"
            raise ValueError(msg) from error

    def get_attr(self, name: str) -> Any:  # noqa: ANN401 - attributes are of any type
        """The attribute of that name, or None where the event has none."""
        return attributes_of(self).get(name)


# `EventRecord` has a field called `type`, which hides the built-in from its annotations.
_EventClass: TypeAlias = type[Event]


class InputEvent(Event, Generic[T], frozen=True, tag=EventType.InputEvent.value):
    """An input entered the agent; made by the worker for each accepted input."""

    input: T


class OutputEvent(Event, Generic[T], frozen=True, tag=EventType.OutputEvent.value):
    """A value leaves the agent; it is never matched against actions."""

    output: T


class DynamicEvent(Event, frozen=True, tag="_dynamic_event"):
    """An event of a type that has no class.

    It fires what a typed event of the same type name fires; `from_event` of that class makes a
    typed one of it.

    Raises:
        ValueError: The type name is blank.
    """

    type: str
    """The type name of this event."""
    attributes: dict[str, Any] = {}
    """What happened, by name. Changing it after the event was sent changes nothing."""

    def __post_init__(self) -> None:
        """Refuse an event that nothing could be fired by."""
        if not self.type.strip():
            msg = "the type of a DynamicEvent is blank, expected a name such as 'review.scored'"
            raise ValueError(msg)


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One occurrence of an event: the event, and the envelope it travels in."""

    id: str
    """Derived from the run and the place of the `send`: the same on every replay."""
    type: str
    """Type name of the event."""
    key: str
    """Key of the run that it belongs to."""
    event: Event
    upstream_event_id: str | None = None
    """Id of the event that fired the sending action; None for an input."""
    upstream_action: str | None = None
    """Name of the action that sent it; None for an input."""
    created_at: float
    """Seconds since 1970-01-01 UTC."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the event by name, as a read-only view."""
        return attributes_of(self.event)

    def get_attr(self, name: str) -> Any:  # noqa: ANN401 - attributes are of any type
        """The attribute of that name, or None where the event has none."""
        return self.attributes.get(name)

    def to_json(self, default: Callable[[Any], object] | None = None) -> str:
        """The record as a JSON object: `id`, `type`, `key`, `attributes`, `createdAt`.

        `upstreamEventId` and `upstreamActionName` are there unless the event is an input.

        Args:
            default: Makes something JSON can say of a value that it cannot; None for none.

        Raises:
            TypeError: An attribute cannot be said in JSON.
        """
        wire = _RecordJson(
            id=self.id,
            type=self.type,
            key=self.key,
            attributes=dict(self.attributes),
            upstream_event_id=self.upstream_event_id,
            upstream_action_name=self.upstream_action,
            created_at=self.created_at,
        )
        return msgspec.json.encode(wire, enc_hook=default).decode()

    @classmethod
    def from_json(cls, text: str | bytes, event_class: _EventClass = DynamicEvent) -> Self:
        """The record that `to_json` made the text of.

        Args:
            text: A JSON object; members that we do not know are skipped.
            event_class: What the event becomes; the default takes events of every type.

        Raises:
            ValueError: The text is not such an object, or the event is not of that class.
        """
        try:
            wire = msgspec.json.decode(text, type=_RecordJson)
        except (msgspec.MsgspecError, RecursionError) as error:
            msg = f"this is not an event record: {error}"
            raise ValueError(msg) from error
        event = DynamicEvent(type=wire.type, attributes=wire.attributes)
        return cls(
            id=wire.id,
            type=wire.type,
            key=wire.key,
            event=event if event_class is DynamicEvent else event_class.from_event(event),
            upstream_event_id=wire.upstream_event_id,
            upstream_action=wire.upstream_action_name,
            created_at=wire.created_at,
        )


def type_name_of(event: Event) -> str:
    """Type name of an event: of its class, or the one that a `DynamicEvent` carries.

    Raises:
        DefinitionError: Its class declares a tag that is not text.
    """
    return event.type if isinstance(event, DynamicEvent) else type_name_of_class(type(event))


def attributes_of(event: Event) -> Mapping[str, Any]:
    """Attributes of an event by name, as a read-only view; fields go by their Python names."""
    if isinstance(event, DynamicEvent):
        return MappingProxyType(event.attributes)
    return MappingProxyType({name: getattr(event, name) for name in event.__struct_fields__})


def type_name_of_class(cls: type[Event]) -> str:
    """Type name of an event class, even where a field called `type_name` hides the method.

    Raises:
        DefinitionError: The class declares a tag that is not text.
    """
    tag = cls.__struct_config__.tag
    if isinstance(tag, str) and tag.strip():
        return tag
    msg = (
        f"event class {cls.__module__}:{cls.__qualname__} has the tag {tag!r}, "
        "expected a type name such as tag='review.scored'"
    )
    raise DefinitionError(msg)


class _RecordJson(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An `EventRecord` as other programs read it; the names are those of Flink Agents."""

    id: str
    type: str
    key: str
    attributes: dict[str, Any]
    upstream_event_id: str | None = None
    upstream_action_name: str | None = None
    created_at: float
