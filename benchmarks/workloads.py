"""The workloads, defined once, so that every contestant runs the same."""

from dataclasses import dataclass

__all__ = ["FAN_IN", "SEQUENCE", "Workload"]


@dataclass(frozen=True)
class Workload:
    """Runs of trivial durable calls in sequence."""

    name: str
    runs: int
    calls: int
    """Calls of each run."""
    in_flight: int
    """Runs at the same time."""

    @property
    def total_calls(self) -> int:
        """Calls of all runs."""
        return self.runs * self.calls


SEQUENCE = Workload("W1: 1 run x 1,000 calls", runs=1, calls=1000, in_flight=1)
FAN_IN = Workload("W2: 1,000 runs x 5 calls", runs=1000, calls=5, in_flight=1000)
