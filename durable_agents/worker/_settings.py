"""How a worker works; every figure has a default and a unit."""

import os
from collections.abc import Mapping
from typing import Literal

import msgspec

from durable_agents.journal import DivergencePolicy
from durable_agents.limits import AdaptiveLimit

__all__ = ["WorkerSettings"]


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one worker. Unknown names and figures out of range are refused.

    Raises:
        ValueError: A figure is out of its range.
    """

    max_concurrent_runs: int = 1000
    """Most runs at the same time, >= 1; further inputs wait in the store."""
    max_resident_runs: int = 10_000
    """Most runs in memory, >= 1, as far as it depends on those that only wait, for time or for
    signals: beyond it, those that have waited longest leave, and come back when there is
    something for them to do. A store that several workers share keeps all of its runs."""
    num_async_threads: int = 256
    """Most durable calls in flight, >= 1. The name is upstream's, for the pool that
    asynchronous work runs on; here a call that waits is a coroutine and costs no thread."""
    num_sync_threads: int = msgspec.field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    """Most threads for durable functions that are plain `def`, >= 1. Default 2 x CPU cores."""
    limits: Mapping[str, int | AdaptiveLimit] = msgspec.field(
        default_factory=dict[str, int | AdaptiveLimit]
    )
    """Bounds by name on calls in flight of the functions that declare `limit=name`: a figure
    >= 1, or an `AdaptiveLimit` that finds its own."""
    on_divergence: DivergencePolicy = "protect"
    """When an action does not repeat its recorded calls: `"clear"` drops what no longer fits
    and goes on, `"protect"` (default) does so unless a call that must not repeat would be
    dropped, `"fail"` parks the run for a person."""
    on_failure: Literal["continue", "block"] = "continue"
    """What a failed run does to later inputs of its key: `"continue"` (default) lets the next
    one run, `"block"` keeps them waiting until the run is retried or cancelled."""
    replay_order_wait: float = 30.0
    """Seconds that a replay waits, while nothing of the action moves, for the next outcome in
    order to be asked for, before it hands over another one. > 0."""
    lease_seconds: float = 10.0
    """In a store that several workers share: seconds after which the others take over the runs
    of a worker that lives and has not been heard of. > 0. One that dies loses them at once."""
    shutdown_grace_seconds: float = 10.0
    """Seconds that running calls get to finish when the worker stops. >= 0."""
    max_payload_bytes: int = 64 * 2**20
    """Largest encoded value: argument of an event, result of a call, memory value. >= 1."""
    store_retry_seconds: float = 1.0
    """Seconds before a run is taken up again after its store failed. > 0."""

    def __post_init__(self) -> None:
        """Refuse figures that no worker can work with."""
        counts = {
            "max_concurrent_runs": self.max_concurrent_runs,
            "max_resident_runs": self.max_resident_runs,
            "num_async_threads": self.num_async_threads,
            "num_sync_threads": self.num_sync_threads,
            "max_payload_bytes": self.max_payload_bytes,
            **{
                f"limits[{name!r}]": bound
                for name, bound in self.limits.items()
                if not isinstance(bound, AdaptiveLimit)
            },
        }
        for name, count in counts.items():
            if count < 1:
                msg = f"{name} is {count}, expected at least 1"
                raise ValueError(msg)
        if self.on_divergence not in {"clear", "protect", "fail"}:
            policy = self.on_divergence
            msg = f"on_divergence is {policy!r}, expected 'clear', 'protect' or 'fail'"
            raise ValueError(msg)
        if self.on_failure not in {"continue", "block"}:
            msg = f"on_failure is {self.on_failure!r}, expected 'continue' or 'block'"
            raise ValueError(msg)
        if self.shutdown_grace_seconds < 0:
            msg = f"shutdown_grace_seconds is {self.shutdown_grace_seconds}, expected >= 0"
            raise ValueError(msg)
        for name in ("replay_order_wait", "store_retry_seconds", "lease_seconds"):
            if not getattr(self, name) > 0:
                msg = f"{name} is {getattr(self, name)}, expected > 0"
                raise ValueError(msg)
