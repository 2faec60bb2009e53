"""A run as its submitter holds it."""

import asyncio
from typing import Any, Protocol

from durable_agents.errors import (
    RunCancelledError,
    RunError,
    RunFailedError,
    RunParkedError,
    UnknownRunError,
)
from durable_agents.journal import RunStatus
from durable_agents.store import AcceptedRun
from durable_agents.worker._run import Ending

__all__ = ["Run", "RunEnd"]


class RunReader(Protocol):
    """What a run's handle needs of its worker."""

    async def read(self, run_id: str, number: int) -> Ending | None:
        """How a run ended, as the store knows it; None while it is open."""
        ...

    async def read_outputs(self, ending: Ending, run_id: str, number: int) -> list[Any]:
        """Decoded outputs of a completed run."""
        ...


class RunEnd:
    """How a run ended here, for all who hold the run."""

    __slots__ = ("__weakref__", "_waiter", "ending")

    def __init__(self) -> None:
        self.ending: Ending | None = None
        self._waiter: asyncio.Future[None] | None = None

    def set(self, ending: Ending) -> None:
        """Tell those who wait; the end of a run that had been parked takes its place."""
        self.ending = ending
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def reopen(self) -> None:
        """The run goes on: who asks from now on waits for its next end."""
        self.ending = None

    def learn(self, ending: Ending | None) -> None:
        """What a look-up found; if the run ended meanwhile, that is known already."""
        if self.ending is None and ending is not None:
            self.set(ending)

    async def wait(self) -> Ending:
        """The end, as soon as there is one. Cancellation: others wait on."""
        while self.ending is None:
            if self._waiter is None or self._waiter.done():
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)
        return self.ending


class Run:
    """A run that was submitted: everything that one input causes."""

    def __init__(self, accepted: AcceptedRun, end: RunEnd, reader: RunReader) -> None:
        self.id: str = accepted.run_id
        """Id of the run, unique in its store."""
        self.key: str = accepted.key
        """What the run is ordered by."""
        self.is_new: bool = accepted.is_new
        """False where an earlier `submit` with the same id had been accepted."""
        self.number: int = accepted.number
        """Number of the run in its store, growing in the order of acceptance."""
        self._end = end
        self._reader = reader

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    async def result(self) -> list[Any]:
        """Outputs of the run in the order sent, once it has completed.

        Cancellation: the run goes on; ask again.

        Raises:
            RunFailedError: An action failed for good; its exception is the `__cause__`.
            RunParkedError: The run waits for a person.
            RunCancelledError: A person gave the run up.
            UnknownRunError: The run has ended, and was pruned before its outputs were read.
            RunError: The worker stopped first; the run goes on with the next worker.
        """
        ending = await self._completion()
        return await self._reader.read_outputs(ending, self.id, self.number)

    async def wait(self) -> None:
        """Wait until the run has completed, without its outputs; raises as `result` does."""
        await self._completion()

    async def _completion(self) -> Ending:
        if self._end.ending is None and not self.is_new:
            # It may have ended before anybody here held it.
            self._end.learn(await self._reader.read(self.id, self.number))
        ending = await self._end.wait()
        if ending.status is RunStatus.COMPLETED:
            return ending
        raise self._error(ending) from ending.error

    def _error(self, ending: Ending) -> RunError:
        if isinstance(ending.error, UnknownRunError):
            return UnknownRunError(self.id, ending.reason)
        kinds = {
            RunStatus.FAILED: RunFailedError,
            RunStatus.BLOCKING: RunFailedError,
            RunStatus.PARKED: RunParkedError,
            RunStatus.CANCELLED: RunCancelledError,
        }
        return kinds.get(ending.status, RunError)(self.id, ending.reason)
