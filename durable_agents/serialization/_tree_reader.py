"""Values made of trees (see `_nodes.py`), which may be forged."""

# ruff: noqa: ANN401 - the border where values are of any type

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from enum import Enum, Flag
from typing import Any

from durable_agents.serialization._classes import bare, c_base, find_class, reference, set_state
from durable_agents.serialization._leaves import PUT_LEAF, expect
from durable_agents.serialization._nodes import (
    COMPLEX,
    DEFAULT_DICT,
    DEFAULT_FACTORIES,
    DEQUE,
    ENUM,
    EXACT,
    FROZENSET,
    ORDERED_DICT,
    PAIRS,
    RECORD_KINDS,
    SET,
    SUBCLASS,
    TUPLE,
)
from durable_agents.serialization._plain import SCALARS, class_of
from durable_agents.serialization._records import kind_of, rebuild

__all__ = ["TreeReader"]

_TEXT = frozenset({str})

_FILL: dict[type, str] = {bytearray: "extend", list: "extend", set: "update", dict: "update"}
"""The method of a mutable builtin type that fills an empty instance."""


class TreeReader:
    """Makes values of trees, which may be forged.

    Args:
        foreign: How the nodes that a writer's `foreign` made are read, by tag.
    """

    __slots__ = ("_foreign",)

    def __init__(self, foreign: Mapping[int, Callable[[Any], Any]] | None = None) -> None:
        self._foreign = foreign or {}

    def value(self, tree: Any) -> Any:
        """The value that a tree stands for.

        Raises:
            Exception: Of whatever class: the tree stands for nothing; the text says why.
        """
        kind = class_of(tree)
        if kind in SCALARS:
            return tree
        if kind is list:
            return [part if type(part) in SCALARS else self.value(part) for part in tree]
        if len(expect(tree, dict)) == 1:
            [(tag, body)] = tree.items()
            if type(tag) is int:
                return self._node(tag, body)
        if not _TEXT.issuperset(map(type, tree)):
            msg = "a key of it is not text"
            raise ValueError(msg)
        return {
            name: part if type(part) in SCALARS else self.value(part)
            for name, part in tree.items()
        }

    def _node(self, tag: int, body: Any) -> Any:
        if tag in PUT_LEAF:
            return PUT_LEAF[tag](body)
        if tag in _READERS:
            return _READERS[tag](self, body)
        if tag in RECORD_KINDS:
            return _read_record(self, RECORD_KINDS[tag], body)
        if tag in self._foreign:
            return self._foreign[tag](body)
        msg = f"it has a part of a kind ({tag}) that this version does not know"
        raise ValueError(msg)

    def parts(self, body: Any) -> list[Any]:
        """Values of a list of trees."""
        return [self.value(part) for part in expect(body, list)]

    def pairs(self, body: Any) -> dict[Any, Any]:
        """The dict of a list of pairs of trees."""
        return {self.value(key): self.value(part) for key, part in expect(body, list)}


def _read_complex(reader: TreeReader, body: Any) -> complex:
    real, imaginary = reader.parts(body)
    return complex(expect(real, float), expect(imaginary, float))


def _read_tuple(reader: TreeReader, body: Any) -> tuple[Any, ...]:
    return tuple(reader.parts(body))


def _read_set(reader: TreeReader, body: Any) -> set[Any]:
    return set(reader.parts(body))


def _read_frozenset(reader: TreeReader, body: Any) -> frozenset[Any]:
    return frozenset(reader.parts(body))


def _read_ordered_dict(reader: TreeReader, body: Any) -> OrderedDict[Any, Any]:
    return OrderedDict(reader.pairs(body))


def _read_default_dict(reader: TreeReader, body: Any) -> defaultdict[Any, Any]:
    name, pairs = expect(body, list)
    factory = None if name is None else DEFAULT_FACTORIES[name]
    return defaultdict(factory, reader.pairs(pairs))


def _read_deque(reader: TreeReader, body: Any) -> deque[Any]:
    maximum, parts = expect(body, list)
    return deque(reader.parts(parts), expect(maximum, int, type(None)))


def _read_enum(reader: TreeReader, body: Any) -> Enum:
    name, member = expect(body, list)
    cls = find_class(name)
    if not issubclass(cls, Enum):
        raise TypeError(_not_a(name, "enum"))
    if type(member) is str:
        return cls.__members__[member]
    return _flag(cls, reader.value(member))


def _read_subclass(reader: TreeReader, body: Any) -> Any:
    name, content, state = expect(body, list)
    cls = find_class(name)
    base = c_base(cls)
    content = reader.value(content)
    if base is None or base not in EXACT or issubclass(cls, Enum):
        raise ValueError(_not_a(name, "subclass of a builtin type"))
    expect(content, base)
    if base in _FILL:
        value = bare(cls, base)
        getattr(base, _FILL[base])(value, content)
    else:
        value = bare(cls, base, content)
    set_state(value, expect(reader.value(state), dict))
    return value


def _read_record(reader: TreeReader, kind: str, body: Any) -> Any:
    name, state, *unset = expect(body, list)
    cls = find_class(name)
    if kind_of(cls) != kind:
        raise ValueError(_not_a(name, kind))
    state = expect(reader.value(state), dict)
    return rebuild(cls, state, expect(unset[0], list) if unset else [])


_READERS: dict[int, Callable[[TreeReader, Any], Any]] = {
    COMPLEX: _read_complex,
    TUPLE: _read_tuple,
    SET: _read_set,
    FROZENSET: _read_frozenset,
    PAIRS: TreeReader.pairs,
    ORDERED_DICT: _read_ordered_dict,
    DEFAULT_DICT: _read_default_dict,
    DEQUE: _read_deque,
    ENUM: _read_enum,
    SUBCLASS: _read_subclass,
}


def _not_a(name: Any, kind: str) -> str:
    return f"{name} is no {kind} any more"


def _flag(cls: type[Enum], value: Any) -> Enum:
    if not issubclass(cls, Flag):
        raise TypeError(_not_a(reference(cls), "flag"))
    known = cls._value2member_map_.get(expect(value, int))
    if known is not None:
        return known
    # Past a `_missing_` of the author's own. No combination of flags: it is an int, or raises.
    made = vars(Flag)["_missing_"].__func__(cls, value)
    if not isinstance(made, cls):
        raise TypeError(_not_a(f"{value} of {reference(cls)}", "flag"))
    return made
