"""What tests of agents are made of: a store that crashes on demand, time that stands still.

For users as much as for ourselves; nothing in the package imports it.
"""

from durable_agents._exports import publish
from durable_agents.testing._assert_replays import ReplayReport, assert_replays
from durable_agents.testing._clock import ManualClock
from durable_agents.testing._crashing_store import CrashingStore
from durable_agents.testing._every_crash_point import CrashReport, every_crash_point

__all__ = [
    "CrashReport",
    "CrashingStore",
    "ManualClock",
    "ReplayReport",
    "assert_replays",
    "every_crash_point",
]

publish(globals(), __all__)
