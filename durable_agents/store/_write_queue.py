"""What every store does before it writes: number, encode and queue."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from durable_agents.errors import StoreError, StoreUnavailableError
from durable_agents.journal import RunAccepted, encode_row
from durable_agents.store._group_commit import GroupCommit, Queued
from durable_agents.store._port import AcceptedRun, NewRun, Write
from durable_agents.store._run_ids import RunIds

__all__ = ["NOT_OPEN", "Acceptance", "Commit", "QueuedWrite", "WriteQueue"]

NOT_OPEN = "it is not open: use it through a Worker"


class Acceptance(msgspec.Struct, gc=False):
    """An input on its way to the disk."""

    run: NewRun
    number: int
    run_id: str
    key: str

    def as_accepted(self) -> AcceptedRun:
        """What the caller of `accept` is told where the run is new."""
        return AcceptedRun(self.number, self.run_id, self.key, is_new=True)

    def encoded(self) -> bytes:
        """The first row of the run's journal."""
        run = self.run
        accepted = RunAccepted(
            self.run_id, run.agent, self.key, run.input, run.at, run.is_event
        )
        return encode_row(self.number, [accepted, *run.entries])


QueuedWrite: TypeAlias = Queued[Acceptance | Write]
Commit: TypeAlias = Callable[
    [Sequence[QueuedWrite]], Awaitable[Mapping[QueuedWrite, StoreError] | None]
]


class WriteQueue:
    """Numbers new runs, encodes what is written, and hands it to the group commit.

    Encoding happens at once, on the caller's side: what the caller changes afterwards changes
    no record, and a value that cannot be encoded fails its caller and nobody else.

    Args:
        name: Name of the store, for errors.
        token: Random name of the store, part of the ids of its runs.
        last_number: Highest number of a run in the store.
        commit: Makes a batch durable; see `GroupCommit`.
    """

    def __init__(
        self,
        name: str,
        token: str,
        last_number: int,
        commit: Commit,
    ) -> None:
        self._name = name
        self.ids = RunIds(token)
        """Ids that the store makes up."""
        self._last_number = last_number
        self._is_open = True
        self._commits: GroupCommit[Acceptance | Write] = GroupCommit(name, commit)
        self._commits.start()

    async def close(self) -> None:
        """Commit what has been enqueued; later writes are refused."""
        self._is_open = False
        await self._commits.close()

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        """Queue an input.

        Raises:
            ValueError: The caller's id has the form of those that the store makes up.
        """
        self._check(run)
        self._last_number += 1
        number = self._last_number
        run_id = self.run_id(number) if run.run_id is None else run.run_id
        key = run_id if run.key is None else run.key
        acceptance = Acceptance(run, number, run_id, key)
        return self._commits.enqueue(number, acceptance, acceptance.encoded())

    def append(self, write: Write) -> asyncio.Future[int]:
        """Queue entries of a run."""
        if not self._is_open:
            self._check_open()
        number = write.number
        if write.requeues:
            self._last_number += 1
            write.turn = self._last_number
        return self._commits.enqueue(number, write, encode_row(number, write.entries))

    def readmit(self, number: int) -> None:
        """Let writes of a run through again after one had failed."""
        self._commits.readmit(number)

    def run_id(self, number: int) -> str:
        """The made-up id of a run whose caller chose none."""
        return self.ids.of(number)

    def number_of(self, run_id: str) -> int | None:
        """Number that a made-up run id stands for; None for an id that a caller chose."""
        return self.ids.number_of(run_id)

    def _check(self, run: NewRun) -> None:
        self._check_open()
        if run.run_id is not None and self.number_of(run.run_id) is not None:
            msg = (
                f"id {run.run_id!r} may be another run's, made up by the store: choose another"
            )
            raise ValueError(msg)

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailableError(
                self._name, "it is closed: nothing can be written any more"
            )
