"""Starts runs from their records: after a crash, after a pause, when memory had no room.

What becomes of a run that is found is decided by `recovery`.
"""

import asyncio
import logging
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from durable_agents.errors import RunFailedError, StoreError
from durable_agents.journal import RunAccepted, RunFailed, RunState, RunStatus, RunTakenOver
from durable_agents.recovery import (
    MAX_STARTS_WITHOUT_PROGRESS,
    PROBATION_SECONDS,
    Verdict,
    verdict_on,
)
from durable_agents.store import Write, state_of
from durable_agents.worker._agenda import StoredRun
from durable_agents.worker._endings import Endings
from durable_agents.worker._places import Places
from durable_agents.worker._run import ActiveRun, Ending
from durable_agents.worker._services import Services

__all__ = ["TakeOver"]

logger = logging.getLogger("durable_agents")

_LONGEST_PAUSE = 60.0


class Host(Protocol):
    """What is needed of a dispatcher."""

    endings: Endings

    @property
    def is_stopped(self) -> bool:
        """Whether nothing starts any more."""
        ...

    def start(self, stored: StoredRun) -> ActiveRun | None:
        """Start a run, unless it was lost."""
        ...

    def has_lost(self, number: int) -> bool:
        """Whether another worker took the run over: it must not start here, and is dropped."""
        ...

    def drop(self, key: str, number: int) -> None:
        """A run that was lost has ended here."""
        ...

    def leave(self, key: str, number: int, status: RunStatus) -> None:
        """A run has come to something: the next one of its key may come, or has to wait."""
        ...

    def quarantine(self, key: str, number: int, error: StoreError) -> None:
        """A run cannot be read: it keeps its key and waits for a person."""
        ...

    def read(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that only reads and waits."""
        ...


class TakeOver:
    """Starts of runs from their records.

    Args:
        host: The dispatcher.
        services: The worker's.
        owner: Name of the worker, for the record.
    """

    def __init__(self, host: Host, services: Services, owner: str) -> None:
        self.marks_up_to = 0
        """Runs up to this number were left by an owner that died: each start is marked, since
        it may be what killed it."""
        self.left: set[int] = set()
        """Runs of which the same is known one by one: the store is shared."""
        self.returned: set[int] = set()
        """Runs that had left memory: those who died meanwhile did not die of them."""
        self.cut_off: set[int] = set()
        """Runs that the store failed: they start when it takes their writes again."""
        self._host = host
        self._services = services
        self._owner = owner
        self._probation = Places(1)
        self._held_back: dict[int, asyncio.Future[None]] = {}

    @contextmanager
    def holding_back(self, number: int) -> Generator[None]:
        """While inside, the run does not start; then it does what is on record by then."""
        decision = self._held_back[number] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._held_back[number]
            decision.set_result(None)

    async def load(self, key: str, number: int) -> None:
        """Read a run from the store and start it, or leave it where it is."""
        pause = self._services.settings.store_retry_seconds
        while not self._host.has_lost(number):
            try:
                await self._resume(key, number)
            except StoreError as error:
                if self._host.has_lost(number):
                    break
                if not error.retryable:
                    self._host.quarantine(key, number, error)
                    return
                logger.warning("run number %d: %s; trying again", number, error)
            else:
                return
            await self._services.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._host.drop(key, number)

    async def _resume(self, key: str, number: int) -> None:
        self._services.store.readmit(number)
        accepted, state = await state_of(self._services.store, number)
        match verdict_on(state):
            case Verdict.LEAVE:
                # It has ended all the same, where its completion was written and not confirmed.
                if (ending := self._host.endings.of(state)) is not None:
                    self._host.endings.tell(number, ending)
                self._host.leave(key, number, state.status)
            case Verdict.GIVE_UP:
                self._host.leave(key, number, await self._give_up(number, accepted.run_id))
            case Verdict.GO_ON:
                await self._take_over(number, accepted, state)
            case Verdict.GO_ON_APART:
                await self._take_over_apart(number, accepted, state)

    async def _take_over_apart(
        self, number: int, accepted: RunAccepted, state: RunState
    ) -> None:
        """Start a run under suspicion when no other one is on probation."""
        await self._probation.take()
        try:
            run = await self._take_over(number, accepted, state)
            if run is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PROBATION_SECONDS):
                        await run.wait_for_progress()
        finally:
            self._probation.give_back()

    async def _take_over(
        self, number: int, accepted: RunAccepted, state: RunState
    ) -> ActiveRun | None:
        """Start a run where its record ends; on record itself, if its last owner died."""
        if number in self.cut_off:
            # Calls whose outcomes cannot be recorded would be made again and again.
            await self._services.store.append(Write(number=number, entries=[]))
            self.cut_off.discard(number)
        elif number in self.returned:
            self.returned.discard(number)
        elif number <= self.marks_up_to or number in self.left:
            mark = RunTakenOver(self._owner, self._services.clock.now())
            await self._services.store.append(Write(number=number, entries=[mark]))
        if self._host.is_stopped:
            return None
        if (decision := self._held_back.get(number)) is not None:
            await decision
            # In a task of its own: this one may hold the place on probation.
            self._host.read(self.load(accepted.key, number), f"load run {number}")
            return None
        return self._host.start(StoredRun.of(number, accepted, state))

    async def _give_up(self, number: int, run_id: str) -> RunStatus:
        """A run whose starts killed their workers becomes a dead letter."""
        reason = (
            f"it was started {MAX_STARTS_WITHOUT_PROGRESS} times in a row, and each time its "
            "process died before anything new was recorded"
        )
        error = RunFailedError(run_id, reason)
        payload = self._services.codec.encode_failure(error, f"the failure of run {run_id}")
        status = self._services.status_of_failed
        blocks = status is RunStatus.BLOCKING
        entry = RunFailed(-1, payload, self._services.clock.now(), blocks)
        await self._services.store.append(Write(number=number, entries=[entry], status=status))
        self._host.endings.end(number, Ending(status, reason, error))
        return status
