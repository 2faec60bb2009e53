"""What the rooms of a worker share: one of each per worker."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from durable_agents.clock import Clock
from durable_agents.errors import DefinitionError
from durable_agents.journal import RunStatus
from durable_agents.limits import AdaptiveLimit
from durable_agents.serialization import Codec
from durable_agents.store import Store
from durable_agents.worker._adaptive_places import AdaptivePlaces
from durable_agents.worker._delivery import Ticker
from durable_agents.worker._lease import Lease
from durable_agents.worker._lineage import Lineage
from durable_agents.worker._outputs import OutputSignal
from durable_agents.worker._places import Places
from durable_agents.worker._settings import WorkerSettings
from durable_agents.worker._threads import DaemonThreads

__all__ = ["UNWINDING_SECONDS", "Services", "make_services"]

UNWINDING_SECONDS = 1.0
"""What cancelled tasks get to unwind in, however short the grace is."""


@dataclass(slots=True)
class Services:
    """One worker's clock, codec, store, bounds and threads."""

    settings: WorkerSettings
    store: Store
    clock: Clock
    codec: Codec
    lineage: Lineage
    ticker: Ticker
    threads: DaemonThreads
    calls: Places
    """The bounded pool that every durable call passes."""
    limits: dict[str, Places]
    outputs: OutputSignal
    lease: Lease | None = None
    """What must hold while a call begins; None where the store is not shared."""
    at_end_of_record: Callable[[str], Awaitable[None]] | None = None
    """Awaited before anything is executed or waited for, with what that is, for people; None
    but where records are only read."""
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("durable_agents"))
    """Told what becomes of runs."""

    @property
    def status_of_failed(self) -> RunStatus:
        """What a run comes to that failed for good."""
        blocks = self.settings.on_failure == "block"
        return RunStatus.BLOCKING if blocks else RunStatus.FAILED

    def limit(self, name: str) -> Places:
        """The bound that a function declared.

        Raises:
            DefinitionError: The worker has no limit of this name.
        """
        limit = self.limits.get(name)
        if limit is None:
            known = sorted(self.limits)
            msg = f"limit {name!r} is not in WorkerSettings.limits, which has {known}"
            raise DefinitionError(msg)
        return limit


def make_services(
    settings: WorkerSettings, store: Store, clock: Clock, codec: Codec
) -> Services:
    """One of each, for a worker that is being entered on the running loop."""
    loop = asyncio.get_running_loop()
    return Services(
        settings=settings,
        store=store,
        clock=clock,
        codec=codec,
        lineage=Lineage(loop),
        ticker=Ticker(loop),
        threads=DaemonThreads(settings.num_sync_threads, "durable-agents-sync"),
        calls=Places(settings.num_async_threads),
        limits={name: _places(bound) for name, bound in settings.limits.items()},
        outputs=OutputSignal(),
    )


def _places(bound: int | AdaptiveLimit) -> Places:
    return AdaptivePlaces(bound) if isinstance(bound, AdaptiveLimit) else Places(bound)
