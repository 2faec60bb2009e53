"""A run as its submitter holds it."""

import asyncio
from typing import Any, Protocol

from durable_agents.errors import (
    RunCancelledError,
    RunError,
    RunFailedError,
    RunParkedError,
)
from durable_agents.journal import RunStatus
from durable_agents.store import AcceptedRun
from durable_agents.worker._run import Ending

__all__ = ["Run"]


class RunReader(Protocol):
    """What a run's handle needs of its worker."""

    async def read_ending(self, number: int) -> Ending | None:
        """How a run ended, as the store knows it; None while it is open."""
        ...

    async def read_outputs(self, ending: Ending, number: int) -> list[Any]:
        """Decoded outputs of a completed run."""
        ...


class Run:
    """A run that was submitted: everything that one input causes."""

    def __init__(self, accepted: AcceptedRun, reader: RunReader) -> None:
        self.id = accepted.run_id
        """Id of the run, unique in its store."""
        self.key = accepted.key
        """What the run is ordered by."""
        self.is_new = accepted.is_new
        """False where an earlier `submit` with the same id had been accepted."""
        self._number = accepted.number
        self._reader = reader
        self._ending: Ending | None = None
        self._ended: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    @property
    def has_ended(self) -> bool:
        """Whether it is known here how the run ended."""
        return self._ending is not None

    async def result(self) -> list[Any]:
        """Outputs of the run in the order sent, once it has completed.

        Cancellation: the run goes on; ask again.

        Raises:
            RunFailedError: An action failed for good; its exception is the `__cause__`.
            RunParkedError: The run waits for a person.
            RunCancelledError: A person gave the run up.
            RunError: The worker stopped first; the run goes on with the next worker.
        """
        if self._ending is None and not self.is_new:
            self._ending = await self._reader.read_ending(self._number)
        if self._ending is None:
            if self._ended is None:
                self._ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)
        ending = self._ending
        assert ending is not None, "the future is done when the ending is known"
        if ending.status is RunStatus.COMPLETED:
            return await self._reader.read_outputs(ending, self._number)
        raise self._error(ending) from ending.error

    def end(self, ending: Ending) -> None:
        """Tell those who wait how the run ended."""
        self._ending = ending
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _error(self, ending: Ending) -> RunError:
        kinds = {
            RunStatus.FAILED: RunFailedError,
            RunStatus.PARKED: RunParkedError,
            RunStatus.CANCELLED: RunCancelledError,
        }
        return kinds.get(ending.status, RunError)(self.id, ending.reason)
