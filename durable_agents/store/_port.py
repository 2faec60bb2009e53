"""What the rest of the package asks of a store, in its own words.

A fake needs no SQL and a second database no cleverness: the verbs say what happened to a run.
All stores pass one suite, `tests/contract`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from durable_agents.journal import Entry, MemoryUpdate, RunStatus, SentEvent
from durable_agents.serialization import Payload
from durable_agents.store._claims import Claims

__all__ = [
    "AcceptedRun",
    "NewRun",
    "OutputRow",
    "Pause",
    "Retention",
    "RunRow",
    "Store",
    "StoreFacts",
    "WaitingRuns",
    "Write",
]


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a worker learns when it opens a store."""

    token: str
    """Random name of the store, part of the ids of its runs."""
    was_closed: bool
    """Whether the last owner closed it, rather than died."""
    is_private: bool = True
    """Whether nobody but its owner can read or write it: pickles in it are as safe as that."""


class NewRun(msgspec.Struct, frozen=True, gc=False):
    """An input to take in."""

    agent: str
    key: str | None
    """What inputs are ordered by; None: ordered with nobody, the key is the run's id."""
    run_id: str | None
    """The caller's id, which makes the acceptance idempotent; None: the store makes one up."""
    input: Payload
    """The input value, or an event."""
    at: float
    is_event: bool = False
    """Whether the input is an event of its own rather than the value of an `InputEvent`."""
    entries: Sequence[Entry] = ()
    """Of a run that is made of another one: what its journal has beyond the acceptance. It
    becomes durable with it, as the two that follow do; where the id is known, nothing does."""
    outputs: Sequence[SentEvent] = ()
    """Outputs that it has sent, in order."""
    blobs: Mapping[bytes, Payload] | None = None
    """What its entries refer to; see `Write.blobs`."""


class AcceptedRun(msgspec.Struct, frozen=True, gc=False):
    """An input that was taken in, now or earlier."""

    number: int
    """Number of the run in its store, growing in the order of acceptance."""
    run_id: str
    key: str
    is_new: bool
    """False where a run with this id was there already."""
    is_claimed: bool = True
    """Whether this worker runs it now; in a shared store another one may, now or later."""


class RunRow(msgspec.Struct, frozen=True, gc=False):
    """One run as the store lists it."""

    number: int
    run_id: str
    agent: str
    key: str
    status: RunStatus
    turn: int
    """Its place in the line: grows in the order in which runs of a key take their turn."""


@dataclass(frozen=True, slots=True)
class OutputRow:
    """One output as it was committed."""

    position: int
    """Grows in the order of commits, over all runs."""
    number: int
    """Number of the run that sent it."""
    run_id: str
    key: str
    event: SentEvent


class Pause(msgspec.Struct, frozen=True):
    """That no further run of an agent starts, or none of one key."""

    agent: str
    key: str | None
    """None: whatever the key."""
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Retention:
    """Which ended runs are kept; the others are forgotten with all that belongs to them."""

    ended_before: float
    """Runs that ended at this time or later are kept."""
    keep: int = 0
    """So many of the newest ended runs are kept, however old."""
    failed: bool = False
    """Whether failed runs are forgotten, too; by default they wait for a person."""


class WaitingRuns(msgspec.Struct, frozen=True, gc=False):
    """The runs of an agent that wait in the store, in nobody's memory."""

    count: int
    first_due: float | None
    """When the first of them is due; None: only signals wake them."""


class Write(msgspec.Struct, kw_only=True, gc=False):
    """What becomes durable together for one run.

    Args:
        number: Number of the run.
        entries: What happened, in order; none: only to see whether the store takes writes.
        status: The run's new status; None leaves it.
        wake: With the status `WAITING`, when the run is due; None: a signal wakes it, no time.
        outputs: Outputs sent, in order.
        memory: Agent, key and what became of paths of short-term memory; None: it is gone.
        blobs: Large parts of values by the hash of their content, those that the run does not
            have yet: what the entries refer to must be there when they are.
        requeues: Whether the run goes to the end of the line of its key.
        turn: Its new place there; the store sets it.
        decided_on: What the run had come to when a person decided about it; where several
            workers share the store, it refuses what was decided on something else.
        epoch: Fencing token of the worker that had the run when the write was enqueued; a
            store that is shared sets it. None: the worker did not have it.
    """

    number: int
    entries: list[Entry]
    status: RunStatus | None = None
    wake: float | None = None
    outputs: Sequence[SentEvent] = ()
    memory: tuple[str, str, Mapping[str, MemoryUpdate | None]] | None = None
    blobs: Mapping[bytes, Payload] | None = None
    requeues: bool = False
    turn: int = 0
    decided_on: RunStatus | None = None
    epoch: int | None = None

    @property
    def ended_at(self) -> float | None:
        """When the run ended with this write; None where it did not."""
        if self.status is None or self.status.is_open:
            return None
        return self.entries[-1].at


class Store(Protocol):
    """Keeps the journals of runs. One worker opens it, writes to it and closes it.

    What several workers share is one store for each of them: see `claims`.
    """

    @property
    def control_path(self) -> Path | None:
        """Socket on which the owner listens for commands; None: nobody else can reach it."""
        ...

    async def open(self, owner: str) -> StoreFacts:
        """Take the store for one worker.

        Cancellation: the store is closed again.

        Args:
            owner: Who takes it, for the error of the next one who tries.

        Raises:
            StoreOwnedError: A living worker has it.
            StoreUnavailableError: It cannot be reached or written.
            StoreVersionError: It is of a newer version than this code knows.
            StoreDamagedError: It is not a store of ours, or not whole.
        """
        ...

    async def close(self) -> None:
        """Commit what has been enqueued, then let go of the store. Closing twice is allowed."""
        ...

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        """Take an input in. Durable, and in the order of these calls, when the future is done.

        The future fails as that of `append` does.

        Raises:
            StoreUnavailableError: The store is not open.
            ValueError: The id has the form of those that the store makes up.
        """
        ...

    def append(self, write: Write) -> asyncio.Future[int]:
        """Add to a run's journal, all or nothing.

        Enqueued on return, in the order of these calls: there is no await between an effect and
        its record. The future gives the number of the row once it is durable; its transaction
        is `batch_of` that number. Cancelling the future takes nothing back.

        The future fails with StoreError; from then on every write for this run fails, until
        `readmit` is called. It is a StoreConflictError where another worker has the run.
        """
        ...

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run, each its number and its entries, the acceptance first.

        Raises:
            StoreDamagedError: A row fails its checksum.
        """
        ...

    async def blobs(self, number: int) -> dict[bytes, Payload]:
        """Large parts of a run's values, by the hash of their content; they go with the run.

        Raises:
            StoreDamagedError: One of them fails its checksum.
        """
        ...

    def readmit(self, number: int) -> None:
        """Let writes of a run through again after one had failed.

        For the one who has thrown away what it knew of the run and reads the journal next.
        """
        ...

    async def find(self, run_id: str) -> RunRow | None:
        """The run with this id; None where there is none."""
        ...

    async def open_runs(self, agent: str, *, after: int, limit: int) -> list[RunRow]:
        """Runs of an agent that have not ended, by turn, beginning behind the turn `after`.

        Without those that wait (status `WAITING`) and were accepted without a key: they keep
        nobody from anything.
        """
        ...

    async def open_runs_of_key(
        self, agent: str, key: str, *, after: int, limit: int
    ) -> list[RunRow]:
        """The same for one key, of those that callers gave."""
        ...

    async def waiting_runs(self, agent: str) -> WaitingRuns:
        """How many runs of an agent have the status `WAITING`, and when they are due."""
        ...

    async def due_runs(self, agent: str, *, now: float, limit: int) -> list[RunRow]:
        """Those of them that are due by now, the earliest first."""
        ...

    @property
    def holds_memory(self) -> bool:
        """Whether any short-term memory may be kept; False saves its look-up."""
        ...

    @property
    def claims(self) -> Claims | None:
        """Which of its runs this worker runs; None: all of them, it shares with nobody."""
        ...

    async def memory(self, agent: str, key: str) -> Mapping[str, MemoryUpdate]:
        """Short-term memory of a key, by path: the update that made each path what it is."""
        ...

    async def outputs_of(self, number: int) -> list[OutputRow]:
        """Outputs of one run, in order."""
        ...

    async def outputs(self, *, after: int, limit: int) -> list[OutputRow]:
        """Outputs of all runs in the order of commits, beginning behind a position."""
        ...

    async def last_position(self) -> int:
        """Position of the newest output; 0 where there was none."""
        ...

    async def acknowledged(self, consumer: str) -> int:
        """Position of the last output that a consumer acknowledged; 0 where there is none."""
        ...

    async def acknowledge(self, consumer: str, position: int) -> None:
        """Keep how far a consumer has come; durable on return. It never goes back.

        Raises:
            StoreError: It cannot be kept.
        """
        ...

    async def moment(self, agent: str, schedule: str, first: int) -> int:
        """The moment that a schedule of an agent has come to; kept until it comes to a later.

        Args:
            agent: Name of the agent.
            schedule: Name of the schedule.
            first: Where it begins: kept, durable on return, if the store does not know it yet.

        Raises:
            StoreDamagedError: What is kept is no moment.
        """
        ...

    async def keep_moment(self, agent: str, schedule: str, moment: int) -> None:
        """Keep the moment that a schedule has come to; durable on return. It never goes back.

        Raises:
            StoreError: It cannot be kept.
        """
        ...

    async def pauses(self) -> list[Pause]:
        """What is paused, by agent and key; the pause of a whole agent first."""
        ...

    async def pause(self, pause: Pause) -> None:
        """Keep a pause until `resume`; durable on return. It takes the place of an earlier one.

        Raises:
            StoreError: It cannot be kept.
        """
        ...

    async def resume(self, agent: str, key: str | None) -> bool:
        """Forget the pause of an agent, or of one key of it; durable on return.

        Returns:
            Whether there was one.

        Raises:
            StoreError: It cannot be forgotten.
        """
        ...

    async def prune(self, retention: Retention) -> int:
        """Forget some runs that have ended, in one transaction.

        A run stays while one of its outputs waits to be acknowledged by a consumer that the
        store knows. Numbers and positions are never given out again; ids of callers are
        forgotten with their runs.

        Returns:
            How many runs were forgotten; 0 where none is left to forget.
        """
        ...

    async def runs(self, *, after: int, limit: int) -> list[RunRow]:
        """All runs by number, beginning behind `after`; for people."""
        ...
