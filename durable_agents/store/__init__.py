"""Where facts are kept: the port that the worker speaks to, and the stores behind it."""

from durable_agents.store._claims import Beat, Claimant, ClaimedRun, Claims, Pulse
from durable_agents.store._every_run import RunLister, every_run
from durable_agents.store._examination import Damage, Examination, StoreFile, examine
from durable_agents.store._in_memory import InMemoryStore
from durable_agents.store._port import (
    AcceptedRun,
    NewRun,
    OutputRow,
    Pause,
    Retention,
    RunRow,
    Store,
    StoreFacts,
    WaitingRuns,
    Write,
)
from durable_agents.store._sqlite import SqliteStore
from durable_agents.store._sqlite_reader import SqliteReader
from durable_agents.store._states import GONE, acceptance_in, name_of, state_in, state_of

__all__ = [
    "GONE",
    "AcceptedRun",
    "Beat",
    "Claimant",
    "ClaimedRun",
    "Claims",
    "Damage",
    "Examination",
    "InMemoryStore",
    "NewRun",
    "OutputRow",
    "Pause",
    "Pulse",
    "Retention",
    "RunLister",
    "RunRow",
    "SqliteReader",
    "SqliteStore",
    "Store",
    "StoreFacts",
    "StoreFile",
    "WaitingRuns",
    "Write",
    "acceptance_in",
    "every_run",
    "examine",
    "name_of",
    "state_in",
    "state_of",
]
