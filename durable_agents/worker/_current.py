"""Which durable function runs here, if any: on the loop, in its child tasks and in threads."""

from contextvars import ContextVar
from typing import Protocol

import msgspec

__all__ = ["CURRENT_CALL", "Call", "CallInfo"]


class CallInfo(msgspec.Struct, frozen=True):
    """What a durable function can know of the call that it serves."""

    run_id: str
    call_id: str
    """Action run, branch and position: distinct within the run."""
    attempt: int
    """Counted from 1, over all lives of the process."""
    idempotency_key: str
    """The same for every attempt and after every restart, another for every other call: hand it
    to payment and mail services."""


class Call(Protocol):
    """A durable call whose function is running."""

    @property
    def function_id(self) -> str: ...

    def info(self) -> CallInfo: ...


# A task of an action knows by itself what it runs (`InBranch.call`), since its context may be
# shared with another task. The context variable serves what such a task starts: child tasks,
# callbacks and threads.
CURRENT_CALL: ContextVar[Call | None] = ContextVar("durable_agents_call", default=None)
