"""Trees of what an action can do with asyncio, and how to grow one by lot.

A node is known by its path from the root. What is below it decides what it may come to, so a
small reference model (`model_reference`) can say of each node whether what it came to is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TypeAlias
from zlib import crc32

__all__ = [
    "LEAVES",
    "Feed",
    "Kind",
    "Node",
    "Path",
    "answer",
    "feed",
    "grown",
    "nodes",
    "spelt",
]

Path: TypeAlias = tuple[int, ...]
"""Where a node is: which part of the root, which part of that, and so on."""
Feed: TypeAlias = int
"""Stands for all values that a call is given: another value, another feed."""


class Kind(Enum):
    """What a node does."""

    CALL = "call"
    REFUSED_CALL = "refused call"
    """A durable call that raises."""
    IDLE = "idle"
    """Passes of the loop without a call."""
    NAP = "nap"
    """A durable sleep."""
    SIGNAL = "signal"
    """Waits for a signal that somebody sends in each life anew, under one id."""
    UPGRADED = "upgraded"
    """A call for which the second life has another one, guarded by `ctx.version`."""
    RAISE = "raise"
    """Raises without a call."""
    SEQUENCE = "sequence"
    """One part after the other, each over the values before it."""
    GATHER = "gather"
    TASK_GROUP = "task group"
    """Its first failure cancels the others; failures come as a group."""
    RACE = "race"
    """`wait(FIRST_COMPLETED)`, and the losers are cancelled."""
    AS_COMPLETED = "as completed"
    """Parts in the order of arrival, each followed by a call while others run on."""
    QUEUE = "queue"
    """Parts are put into a queue by as many producers, and taken out by two consumers."""
    TIMEOUT = "timeout"
    """A call that hangs is given up, another one made instead of it, and its part follows."""
    RECORDED_TIMEOUT = "recorded timeout"
    """The same by `ctx.timeout`, and nothing made instead: that it fired is on record."""
    CANCEL = "cancel"
    """When its second part has ended, its first part is cancelled."""
    CAUGHT = "caught"
    """Goes on whatever its part raises."""


LEAVES = (
    *(4 * (Kind.CALL,)),
    Kind.REFUSED_CALL,
    Kind.IDLE,
    Kind.NAP,
    Kind.SIGNAL,
    Kind.UPGRADED,
    Kind.RAISE,
)
"""Most leaves are calls that return."""

_FORKS = {
    Kind.SEQUENCE: (2, 3),
    Kind.GATHER: (2, 4),
    Kind.TASK_GROUP: (2, 3),
    Kind.RACE: (2, 3),
    Kind.AS_COMPLETED: (2, 3),
    Kind.QUEUE: (2, 3),
    Kind.TIMEOUT: (1, 1),
    Kind.RECORDED_TIMEOUT: (1, 1),
    Kind.CANCEL: (2, 2),
    Kind.CAUGHT: (1, 1),
}
"""Fewest and most parts of each kind."""
_LIKELY = [*_FORKS, Kind.SEQUENCE, Kind.SEQUENCE, Kind.GATHER, Kind.CAUGHT]


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that an action does, made of other such things."""

    kind: Kind
    parts: tuple["Node", ...] = ()

    def __repr__(self) -> str:
        parts = ", ".join(map(repr, self.parts))
        return f"{self.kind.name}({parts})" if parts else self.kind.name


def grown(chance: Random, depth: int = 3) -> Node:
    """A tree by lot, at most `depth` forks deep."""
    kind = chance.choice(_LIKELY)
    fewest, most = _FORKS[kind]
    parts = []
    for _ in range(chance.randint(fewest, most)):
        is_leaf = depth == 1 or chance.random() < 0.4
        parts.append(Node(chance.choice(LEAVES)) if is_leaf else grown(chance, depth - 1))
    return Node(kind, tuple(parts))


def nodes(tree: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """All nodes, each with its path, parents first."""
    yield path, tree
    for index, part in enumerate(tree.parts):
        yield from nodes(part, (*path, index))


def feed(*values: object) -> Feed:
    """What a call is given where these values came before it."""
    return crc32(repr(values).encode())


def spelt(run: str, path: Path, stage: str = "") -> str:
    """The name of a durable call: no two calls share one, in no run."""
    return f"{run}/{'.'.join(map(str, path))}{stage}"


def origin(run: str) -> str:
    """The run that a fork goes back to: its calls are named as that one's."""
    return run.partition(":")[0]


def answer(name: str, given: Feed) -> str:
    """The one outcome that the call of this name can have: the value, or the error's text."""
    return f"{name} of {given:08x}"
