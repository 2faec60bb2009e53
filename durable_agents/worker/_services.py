"""What the rooms of a worker share: one of each per worker."""

from dataclasses import dataclass

from durable_agents.clock import Clock
from durable_agents.errors import DefinitionError
from durable_agents.serialization import Codec
from durable_agents.store import Store
from durable_agents.worker._delivery import Ticker
from durable_agents.worker._lease import Lease
from durable_agents.worker._lineage import Lineage
from durable_agents.worker._places import Places
from durable_agents.worker._settings import WorkerSettings
from durable_agents.worker._threads import DaemonThreads

__all__ = ["UNWINDING_SECONDS", "Services"]

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
    lease: Lease | None = None
    """What must hold while a call begins; None where the store is not shared."""

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
