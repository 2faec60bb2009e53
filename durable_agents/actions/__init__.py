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
from durable_agents.actions._fingerprint import CodeChange, change_between, digest_of

__all__ = [
    "Action",
    "ActionDeclaration",
    "CodeChange",
    "action",
    "change_between",
    "combined",
    "declarations_on",
    "digest_of",
    "own_name",
    "reference",
    "undecorated",
]

publish(globals(), __all__)
