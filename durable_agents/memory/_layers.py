"""Paths and what set them: a snapshot, and the changes made above it.

Rule 1: each path above another one is itself there, as an object. `Layers.apply` keeps that so,
and so nothing has to be searched to read, set or delete a value; only listing an object, or
deleting one, looks at all paths, once. Rule 2: the snapshot is neither copied nor changed: it
may be large, and the action may touch two paths of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from durable_agents.journal import MemoryUpdate

__all__ = ["Layers", "apply_updates", "joined", "parents"]


def apply_updates(
    snapshot: Mapping[str, MemoryUpdate], updates: Iterable[MemoryUpdate]
) -> dict[str, MemoryUpdate]:
    """The memory after some updates, each path with the update that set it.

    Args:
        snapshot: The memory before, as this function returned it; `{}` at first. Not changed.
        updates: Changes in the order in which they were made.
    """
    layers = Layers(snapshot)
    for update in updates:
        layers.apply(update)
    return layers.merged()


class Layers:
    """A snapshot and the changes above it; the snapshot is neither copied nor changed."""

    __slots__ = ("_below", "_changed", "_snapshot")

    def __init__(self, snapshot: Mapping[str, MemoryUpdate]) -> None:
        self._snapshot = snapshot
        self._changed: dict[str, MemoryUpdate | None] = {}
        self._below: defaultdict[str, set[str]] | None = None

    @property
    def changed(self) -> Mapping[str, MemoryUpdate | None]:
        """Paths that are not as in the snapshot, each with what set it; None: it is gone."""
        return self._changed

    def find(self, path: str) -> MemoryUpdate | None:
        """The update that set a path, or None where nothing is."""
        if path in self._changed:
            return self._changed[path]
        return self._snapshot.get(path)

    def names_below(self, path: str) -> set[str]:
        """Names directly below an object; the root is `""`."""
        return self._index().get(path, set())

    def apply(self, update: MemoryUpdate) -> None:
        """Make one change: an object starts out empty, whatever was at its path before."""
        found = self.find(update.path)
        if found is not None and found.kind == "object":
            self._drop_below(update.path)
        if update.kind == "deleted":
            self._drop(update.path)
            return
        for parent in parents(update.path):
            if self.find(parent) is not None:
                break
            self._put(MemoryUpdate(parent, "object"))
        self._put(update)

    def merged(self) -> dict[str, MemoryUpdate]:
        """All paths as they are now."""
        merged = {p: u for p, u in self._snapshot.items() if p not in self._changed}
        merged.update((p, u) for p, u in self._changed.items() if u is not None)
        return merged

    def _put(self, update: MemoryUpdate) -> None:
        self._changed[update.path] = update
        if self._below is not None:
            above, _, name = update.path.rpartition(".")
            self._below[above].add(name)

    def _drop(self, path: str) -> None:
        self._changed[path] = None
        if self._below is not None:
            above, _, name = path.rpartition(".")
            self._below[above].discard(name)

    def _drop_below(self, path: str) -> None:
        for name in self._index().pop(path, ()):
            below = joined(path, name)
            self._drop_below(below)
            self._changed[below] = None

    def _index(self) -> defaultdict[str, set[str]]:
        # Built for the first listing or deletion of an object; get and set never need it.
        if self._below is None:
            self._below = defaultdict(set)
            for path in self.merged():
                above, _, name = path.rpartition(".")
                self._below[above].add(name)
        return self._below


def parents(path: str) -> Iterator[str]:
    """Paths of the objects above a path, the nearest first."""
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def joined(above: str, path: str) -> str:
    """A path below another one; the root is `""`."""
    return f"{above}.{path}" if above else path
