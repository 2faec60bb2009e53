"""Values as trees of plain data, and back: what MessagePack alone would not bring back exactly.

A tree is plain data, but for its **nodes**: a dict with one key that is an int, the tag, stands
for a value that is not plain. The keys of plain dicts are text, so the two cannot be confused.

    value                          tree
    ----------------------------   ------------------------------------------
    [1, {"a": None}]               [1, {"a": None}]
    (1, 2)                         {20: [1, 2]}
    {1: "a"}                       {23: [[1, "a"]]}
    Point(x=1, y=2)                {32: ["geometry:Point", {"x": 1, "y": 2}]}

Rule 1: a value that cannot come back equal, type included, has no tree. Rule 2: reading a tree
imports nothing and runs no code of a class that the tree names, with one exception that lies in
the nature of sets: elements and keys are hashed and compared.
"""

from collections.abc import Callable
from typing import Any

from durable_agents.serialization._records import ATTRS, DATACLASS, PYDANTIC, STRUCT

__all__ = [
    "COMPLEX",
    "DEFAULT_DICT",
    "DEFAULT_FACTORIES",
    "DEQUE",
    "ENUM",
    "EXACT",
    "FROZENSET",
    "NAMED",
    "ORDERED_DICT",
    "PAIRS",
    "RECORD_KINDS",
    "RECORD_TAGS",
    "SET",
    "SUBCLASS",
    "TUPLE",
]

# A tag is on disk: it is never given to another form. Those of the leaves are in `_leaves.py`.
COMPLEX = 4
TUPLE, SET, FROZENSET, PAIRS, ORDERED_DICT, DEFAULT_DICT, DEQUE = range(20, 27)
ENUM, SUBCLASS = 30, 31
RECORD_TAGS = {DATACLASS: 32, ATTRS: 33, PYDANTIC: 34, STRUCT: 35}
RECORD_KINDS = {tag: kind for kind, tag in RECORD_TAGS.items()}
NAMED = 40


def _copier(base: type[Any], method: str) -> Callable[[Any], Any]:
    parts: Callable[[Any], Any] = getattr(base, method)
    return lambda value: base(parts(value))


EXACT: dict[type | None, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: bytes.__bytes__,
    bytearray: lambda value: bytearray(memoryview(value)),
    tuple: _copier(tuple, "__iter__"),
    list: _copier(list, "__iter__"),
    set: _copier(set, "__iter__"),
    frozenset: _copier(frozenset, "__iter__"),
    dict: _copier(dict, "items"),
}
"""The content of a subclass's instance, past the methods that the subclass may have changed."""

_FACTORIES = (bool, bytes, dict, float, frozenset, int, list, set, str, tuple)
DEFAULT_FACTORIES: dict[str, type] = {factory.__name__: factory for factory in _FACTORIES}
"""What a defaultdict may call, by name."""
