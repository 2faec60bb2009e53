"""Why code may no longer repeat what is on record: the sentence behind each difference."""

import platform

from durable_agents.actions import Action, CodeChange, change_between
from durable_agents.journal import ActionStarted

__all__ = ["PYTHON", "code_change", "explained"]

PYTHON = ".".join(platform.python_version_tuple()[:2])
"""The minor version that runs."""

_SENTENCES: dict[CodeChange, str] = {
    "none": "the code of action {!r} is unchanged since this run began it: look for "
    "non-determinism",
    "function": "the code of action {!r} changed since this run began it",
    "used": "the code of action {!r} is unchanged since this run began it, that of functions "
    "it uses is not",
    "unknown": "",
}


def code_change(started: ActionStarted, action: Action) -> CodeChange:
    """What became of the code of an action since a run began it.

    Args:
        started: How it began.
        action: What it is today.
    """
    is_comparable = started.python == PYTHON
    return change_between(started.code, action.code) if is_comparable else "unknown"


def explained(difference: str, started: ActionStarted | None, action: Action) -> str:
    """A difference as it is told: with what may be its reason.

    Args:
        difference: What was recorded and what the code does now.
        started: How the action began, if that is on record.
        action: What it is today.
    """
    if started is None:
        return difference
    if started.python != PYTHON:
        return f"{difference} (recorded under Python {started.python}, now {PYTHON})"
    sentence = _SENTENCES[code_change(started, action)].format(action.name)
    return f"{difference}; {sentence}" if sentence else difference
