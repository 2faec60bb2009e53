"""Keeps a worker's lease on the runs that it has claimed in a shared store.

A worker may be stopped at any moment, and go on when others have taken its runs over. Its late
writes are refused by the store. Its late calls are refused here: no call begins unless the
lease has not ended yet, by the same clock that the others go by, or is confirmed by the store.
So a call that others have made since is not made again; what was in flight when the worker was
stopped is in doubt, as after any crash.
"""

import asyncio
import logging

from durable_agents.clock import Clock
from durable_agents.errors import StoreError
from durable_agents.store import Beat, Claims, Pulse
from durable_agents.worker._places import Places
from durable_agents.worker._settings import WorkerSettings

__all__ = ["Lease"]

logger = logging.getLogger("durable_agents")

_POLL_SECONDS = 0.2
"""How long an input that another worker accepted, or left, waits at most to be seen."""


class Lease:
    """What a worker does to be left in possession of its runs.

    Args:
        claims: The store's.
        agent: Name of the agent whose runs are claimed.
        settings: The worker's.
        clock: The worker's.
        calls: The worker's pool; when it is closed, the worker is stopping and claims no more.
    """

    def __init__(
        self,
        claims: Claims,
        agent: str,
        settings: WorkerSettings,
        clock: Clock,
        calls: Places,
    ) -> None:
        self.pause: float = min(_POLL_SECONDS, settings.lease_seconds / 10)
        """Seconds between two looks at the store."""
        self._claims = claims
        self._agent = agent
        self._settings = settings
        self._clock = clock
        self._calls = calls
        self._boot = ""
        self._expires = 0.0

    @property
    def is_valid(self) -> bool:
        """Whether nobody can have taken a run over because this worker was not heard of."""
        return self._clock.monotonic() < self._expires

    async def take(self) -> None:
        """Take the lease, and claim the first runs.

        Raises:
            StoreError: The store cannot be written.
        """
        self._boot = await asyncio.to_thread(self._clock.boot_id)
        await self.beat()

    async def beat(self) -> Pulse:
        """Renew the lease, and claim what there is room for.

        Raises:
            StoreError: The store cannot be written; the lease ends when it would have.
        """
        capacity = 0 if self._calls.is_closed else self._settings.max_concurrent_runs
        pulse = await self._claims.beat(
            Beat(
                agent=self._agent,
                capacity=capacity,
                boot=self._boot,
                now=self._clock.monotonic(),
                lease_seconds=self._settings.lease_seconds,
            )
        )
        self._expires = pulse.expires
        return pulse

    async def look(self) -> bool:
        """Do what is due; returns whether other workers may have changed anything.

        An error of the store is told to people: the next look may find it well.
        """
        now = self._clock.monotonic()
        is_due = self._expires - now < self._settings.lease_seconds * 2 / 3
        try:
            has_news = await self._claims.has_news(self._boot, now)
            if has_news or is_due:
                await self.beat()
        except StoreError as error:
            logger.warning("the lease is not renewed: %s; trying again", error)
            return True
        return has_news

    async def confirm(self) -> bool:
        """Ask the store once who has the runs; returns whether the lease is valid then.

        Runs that were lost are stopped by the time it returns.
        """
        try:
            await self.beat()
        except StoreError as error:
            logger.warning("the lease is not confirmed: %s; trying again", error)
            await self._clock.sleep(self.pause)
        return self.is_valid
