"""What actions of a run see of memory, what becomes of it, and how it goes on record."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from durable_agents.journal import MemoryUpdate
from durable_agents.serialization import Codec

__all__ = ["Memories", "as_recorded", "changed", "snapshot_as_recorded"]

NOTHING: Mapping[str, MemoryUpdate] = MappingProxyType({})
"""A memory in which nothing has been written."""


class Memories(msgspec.Struct):
    """What an action may see: short-term memory of the key, sensory memory of the run."""

    short_term: Mapping[str, MemoryUpdate] = NOTHING
    sensory: Mapping[str, MemoryUpdate] = NOTHING


def changed(
    memory: Mapping[str, MemoryUpdate], changes: Mapping[str, MemoryUpdate | None]
) -> Mapping[str, MemoryUpdate]:
    """A memory after an action's writes; the old one stays as its snapshot was."""
    if not changes:
        return memory
    kept = {path: update for path, update in memory.items() if path not in changes}
    return kept | {path: update for path, update in changes.items() if update is not None}


def as_recorded(codec: Codec, updates: Iterable[MemoryUpdate]) -> list[MemoryUpdate]:
    """Memory updates as a run's journal holds them: large parts as references to blobs.

    Raises:
        EncodeError: A codec of the user's cannot seal them.
    """
    return [
        update
        if update.payload is None
        else MemoryUpdate(update.path, update.kind, codec.shared(update.payload))
        for update in updates
    ]


def snapshot_as_recorded(
    codec: Codec, memory: Mapping[str, MemoryUpdate]
) -> dict[str, MemoryUpdate]:
    """The same for a memory by path."""
    if not memory:
        return {}
    return dict(zip(memory, as_recorded(codec, memory.values()), strict=True))
