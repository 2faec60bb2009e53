"""Events: what an agent is told, what it says, and which of its actions that fires."""

from durable_agents._exports import publish
from durable_agents.events._event import (
    DynamicEvent,
    Event,
    EventRecord,
    EventType,
    InputEvent,
    OutputEvent,
    attributes_of,
    type_name_of,
)
from durable_agents.events._trigger import (
    Condition,
    Trigger,
    compile_condition,
    compile_trigger,
)

__all__ = [
    "Condition",
    "DynamicEvent",
    "Event",
    "EventRecord",
    "EventType",
    "InputEvent",
    "OutputEvent",
    "Trigger",
    "attributes_of",
    "compile_condition",
    "compile_trigger",
    "type_name_of",
]

publish(globals(), __all__)
