"""The processes of `doubt_workload` with an engine that makes every call in doubt again."""

from durable_agents.journal import Resolution
from durable_agents.worker import _durable_call as calls
from tests.proof import doubt_workload

__all__ = ["main"]


def main(folder: str, runs: str, life: str) -> None:
    """Be one of them; see `doubt_workload.main`."""
    vars(calls)["resolution"] = lambda *_: Resolution.RUN
    doubt_workload.main(folder, runs, life)
