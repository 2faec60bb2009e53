"""What durable calls and durable waits have in common where they are on record already."""

import asyncio
from typing import NoReturn

from durable_agents.journal import (
    CallAbandoned,
    CallKey,
    CallLog,
    CallRecord,
    CallsCleared,
    Diverged,
)
from durable_agents.worker._call import Scope
from durable_agents.worker._services import Services

__all__ = ["Replaying"]


class Replaying:
    """One start of one action over its record.

    Args:
        scope: The action run.
        log: What earlier starts left on record.
        services: The worker's.
    """

    __slots__ = ("_log", "_scope", "_services")

    def __init__(self, scope: Scope, log: CallLog, services: Services) -> None:
        self._scope = scope
        self._log = log
        self._services = services

    async def _stay_abandoned(self, key: CallKey, record: CallRecord) -> NoReturn:
        """Wait for the cancellation that ended this call the first time."""
        if record.has_turn:
            # Its turn, not its outcome: the cancellation finds it where it did live.
            await self._scope.delivery.hand_over(key)
        await asyncio.get_running_loop().create_future()
        msg = "nobody settles this future"
        raise AssertionError(msg)

    def _clear(self, key: CallKey, diverged: Diverged) -> None:
        """Drop what the code no longer repeats, or park the run."""
        policy = self._services.settings.on_divergence
        difference = self._scope.explain(diverged.difference)
        if diverged.must_park(policy):
            self._scope.park(f"the code no longer repeats its calls: {difference}")
        self._scope.warn(f"dropped {len(diverged.dropped)} records: {difference}")
        branch, position = key
        now = self._services.clock.now()
        # Enqueued before any later settlement; a crash in between finds both or neither.
        self._scope.record(CallsCleared(self._scope.number, branch, position, difference, now))
        self._log.clear(key)
        self._scope.delivery.release()

    def _abandon(
        self, key: CallKey, function: str, digest: bytes, preview: str, *, guarded: bool = False
    ) -> None:
        """Record that the action's own code gave it up."""
        if self._scope.is_aborted:
            return  # the worker's doing is no fact about the call
        branch, position = key
        self._scope.record(
            CallAbandoned(
                self._scope.number,
                branch,
                position,
                function,
                digest,
                preview,
                guarded,
                self._services.clock.now(),
            )
        )
