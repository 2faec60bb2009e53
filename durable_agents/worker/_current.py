"""Which durable function runs here, if any: on the loop, in its child tasks and in threads."""

from contextvars import ContextVar
from typing import Protocol

import msgspec

__all__ = ["CURRENT_CALL", "CallInfo", "current_call"]


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


class _Call(Protocol):
    """A durable call whose function is running."""

    @property
    def function_id(self) -> str: ...

    def info(self) -> CallInfo: ...


CURRENT_CALL: ContextVar[_Call | None] = ContextVar("durable_agents_call", default=None)


def current_call() -> CallInfo:
    """What the durable function that runs here serves.

    Raises:
        RuntimeError: No durable function runs here.
    """
    call = CURRENT_CALL.get()
    if call is None:
        msg = "current_call() was used outside a durable function"
        raise RuntimeError(msg)
    return call.info()
