"""Actions: functions that events fire."""

from durable_agents._exports import publish
from durable_agents.actions._action import (
    Action,
    ActionDeclaration,
    action,
    combined,
    declarations_on,
    own_name,
    reference,
    undecorated,
)

__all__ = [
    "Action",
    "ActionDeclaration",
    "action",
    "combined",
    "declarations_on",
    "own_name",
    "reference",
    "undecorated",
]

publish(globals(), __all__)
