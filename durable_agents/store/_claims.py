"""How several workers share the runs of one store: what a worker asks, and what it is told.

Rule 1: a run belongs to the worker that claimed it, and a worker to its registration, which has
a number of its own: the fencing token. Every transaction looks for the own registration first.
Rule 2: whoever takes a worker's runs over strikes its registration out, in the transaction that
takes them. So a late worker finds itself struck out before anything of it is written, whatever
it believes about the time.

The lease decides when a worker that lives may be struck out, and nothing else: were a clock
wrong, a run would change hands too early or too late, and still have one owner.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from durable_agents.journal import RunStatus

__all__ = ["Beat", "Claimant", "ClaimedRun", "Claims", "Pulse"]


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of a worker, and what it has room for."""

    agent: str
    """The agent whose runs it takes."""
    capacity: int
    """Most runs that it holds at the same time; 0: it takes nothing more."""
    boot: str
    """Which start of the machine `now` counts from."""
    now: float
    """Monotonic seconds, the same for all processes of the machine."""
    lease_seconds: float
    """How long its runs stay its own without another beat."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How things stand after a beat."""

    expires: float
    """When the lease ends, on the clock of the beat."""
    is_idle: bool
    """Whether the agent has nothing left to do, anywhere: whatever is open waits for a person,
    or behind a run that does."""


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that has become this worker's."""

    number: int
    key: str
    turn: int
    was_left: bool
    """Whether a worker that died or was struck out had it; it may be what killed it."""


class Claimant(Protocol):
    """Who claims: told on the loop, before whoever waits for the same transaction."""

    def claimed(self, runs: Sequence[ClaimedRun]) -> None:
        """These runs are this worker's now."""
        ...

    def lost(self, numbers: Collection[int]) -> None:
        """This worker was struck out and has registered anew; these runs are others' now."""
        ...


class Claims(Protocol):
    """The runs of a shared store that are this worker's.

    A run is claimed when it is open, nobody's, waits for no person, and no earlier run of its
    key is open. That happens as it is accepted, as a run of this worker ends, and with each
    `beat`, while the worker has room. It is given back as it ends, or as it comes to wait for a
    person.
    """

    def attach(self, claimant: Claimant) -> None:
        """Tell this one. Called once, before the first beat."""
        ...

    def beat(self, beat: Beat) -> asyncio.Future[Pulse]:
        """Renew the lease, strike out who is dead or late, claim what there is room for.

        The future fails as that of `Store.append` does.
        """
        ...

    async def has_news(self, boot: str, now: float) -> bool:
        """Whether a beat may change anything: others wrote, or one of them is dead or late.

        Raises:
            StoreError: The store cannot be read.
        """
        ...

    def holds(self, number: int) -> bool:
        """Whether the run is this worker's."""
        ...

    def has_lost(self, number: int) -> bool:
        """Whether the run was this worker's, and its record is closed to it since."""
        ...

    def forget(self, number: int) -> None:
        """A run that was lost has ended here: it may be claimed again."""
        ...

    async def statuses(self, numbers: Collection[int]) -> Mapping[int, RunStatus]:
        """Status of those runs that have ended or wait for a person.

        Raises:
            StoreError: The store cannot be read.
        """
        ...
