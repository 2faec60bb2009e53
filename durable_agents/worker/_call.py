"""One durable call while it is being made, and what it needs of its action run."""

import asyncio
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NoReturn, Protocol, TypeAlias

import msgspec

from durable_agents.journal import CallIdentity, CallKey, DurableOptions, Entry, place
from durable_agents.serialization import Codec
from durable_agents.worker._current import CURRENT_CALL, CallInfo
from durable_agents.worker._delivery import Delivery
from durable_agents.worker._lineage import Branch, InBranch

__all__ = ["CallInProgress", "Failed", "Outcome", "Scope", "current_call"]


def current_call() -> CallInfo:
    """What the durable function that runs here serves; in its child tasks and threads, too.

    Raises:
        RuntimeError: No durable function runs here.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None  # a thread
    steps = None if task is None else task.get_coro()
    call = steps.call if isinstance(steps, InBranch) else CURRENT_CALL.get()
    if call is None:
        msg = "current_call() was used outside a durable function"
        raise RuntimeError(msg)
    return call.info()


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of a call that raised."""

    error: BaseException


Outcome: TypeAlias = Any
"""What a call came to: `Failed`, or else the value itself. A value in a box of its own would
cost every call; no call can return a `Failed`, which is ours alone."""


class Scope(Protocol):
    """What a durable call needs of its action run."""

    run_id: str
    number: int
    """Number of the action run, for the journal."""
    codec: Codec
    """Bound to the run; see `Codec.shared`."""

    def call_id(self, key: CallKey) -> str:
        """What a call of the action is known by within the run, in every life."""
        ...

    def record(self, entry: Entry) -> asyncio.Future[int]:
        """Enqueue an entry of the action."""
        ...

    def park(self, reason: str) -> NoReturn:
        """Stop the run until a person decides."""
        ...

    def taint(self, error: BaseException) -> None:
        """An effect took place and is not on record: the action must not complete."""
        ...

    def explain(self, difference: str) -> str:
        """A divergence as it is told to people."""
        ...

    def warn(self, message: str) -> None:
        """Tell people."""
        ...

    @property
    def delivery(self) -> Delivery:
        """In which order outcomes reach the action's tasks."""
        ...

    @property
    def is_direct(self) -> bool:
        """Whether a committed outcome needs no ordering."""
        ...

    @property
    def is_aborted(self) -> bool:
        """Whether the run ends here by no decision of its own code: nothing is given up."""
        ...


class CallInProgress(msgspec.Struct, eq=False):
    """One durable call, from its identity to its outcome."""

    scope: Scope
    branch: Branch
    key: CallKey
    identity: CallIdentity
    attempt: int = 1

    @property
    def function_id(self) -> str:
        """What the journal calls the function."""
        return self.identity.spec.function_id

    @property
    def options(self) -> DurableOptions:
        """How the call wants to be made."""
        return self.identity.spec.options

    @property
    def place(self) -> str:
        """Where the call stands in its action, for people."""
        return place(self.key)

    def info(self) -> CallInfo:
        """What the function is told."""
        call_id = self.scope.call_id(self.key)
        state = blake2b(self.identity.digest, digest_size=16)
        for part in (self.scope.run_id, call_id, self.function_id):
            state.update(part.encode() + b"\0")
        return CallInfo(self.scope.run_id, call_id, self.attempt, state.hexdigest())

    def __call__(self) -> str:
        """What the result is called in an error; the codec asks only when it has one."""
        return f"the result of {self.function_id} at {self.place}"
