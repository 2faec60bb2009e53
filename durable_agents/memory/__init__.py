"""What an agent remembers: sensory memory of a run, short-term memory of a key."""

from durable_agents._exports import publish
from durable_agents.memory._layers import apply_updates
from durable_agents.memory._state import (
    MemoryName,
    MemoryObject,
    MemoryRef,
    MemoryState,
)

__all__ = ["MemoryName", "MemoryObject", "MemoryRef", "MemoryState", "apply_updates"]

publish(globals(), __all__)
