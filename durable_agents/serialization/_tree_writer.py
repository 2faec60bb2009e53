"""Values made into trees (see `_nodes.py`)."""

# ruff: noqa: ANN401 - the border where values are of any type

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, Flag
from math import nan
from typing import Any, NoReturn

from durable_agents.serialization._classes import (
    c_base,
    is_findable,
    reference,
    state_of,
    without_caches,
)
from durable_agents.serialization._leaves import LEAVES
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
    RECORD_TAGS,
    SET,
    SUBCLASS,
    TUPLE,
)
from durable_agents.serialization._plain import (
    MAX_DEPTH,
    SCALARS,
    class_of,
    encode_plain,
    is_encodable_text,
)
from durable_agents.serialization._records import STRUCT, kind_of, unset_fields

__all__ = ["Refused", "TreeWriter", "refuse", "type_name"]

_TEXT = frozenset({str})
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_CRUMBS = 16  # about one line


class Refused(Exception):
    """A part of a value has no tree.

    Args:
        type_name: Type of the part.
        problem: Why it has none.
        is_final: Whether no other encoding may be tried.
    """

    def __init__(self, type_name: str, problem: str, *, is_final: bool = False) -> None:
        super().__init__(type_name, problem)
        self.type_name = type_name
        self.problem = problem
        self.is_final = is_final
        self.path: list[str] = []
        """Where the part lies in the value, from the inside out."""

    def place(self) -> str:
        """Where the part lies: `"[2]['bad']"`; shortened where it lies deep."""
        path = self.path[::-1]
        if len(path) > _CRUMBS:
            path[_CRUMBS // 2 : -_CRUMBS // 2] = ["..."]
        return "".join(path)


def type_name(value: Any) -> str:
    """Name of a value's type, for people."""
    kind = class_of(value)
    is_builtin = kind.__module__ == "builtins"
    return kind.__qualname__ if is_builtin else f"{kind.__module__}.{kind.__qualname__}"


def refuse(value: Any) -> NoReturn:
    """Say why a value has no tree.

    Raises:
        Refused: Always.
    """
    cls = class_of(value)
    problem = "its type is not data that can be read back without running its code"
    if not is_findable(cls):
        problem = f"its class is not found as {cls.__qualname__} in the module {cls.__module__}"
    raise Refused(type_name(value), problem)


class TreeWriter:
    """Makes trees of values.

    Args:
        foreign: Gives the tree of a value that has none by itself, or raises `Refused`.
        is_canonical: Whether equal values must have trees that encode to equal bytes, whatever
            the hash seed and the order of dicts. Such a tree is not meant to be read.
    """

    __slots__ = ("_firm", "foreign", "is_canonical")

    def __init__(
        self, foreign: Callable[[Any], Any] = refuse, *, is_canonical: bool = False
    ) -> None:
        self.foreign = foreign
        self.is_canonical = is_canonical
        # What is its own tree, whatever its value.
        self._firm = SCALARS - ({int, str, float} if is_canonical else {int, str})

    def tree(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """The tree of a value.

        Args:
            value: Any value.
            depth: How many levels it may nest.

        Raises:
            Refused: The value, or a part of it, has none.
        """
        kind = class_of(value)
        if kind in self._firm:
            return value
        if kind is str and is_encodable_text(value):
            return value
        if kind is int and _INT_MIN <= value <= _INT_MAX:
            return value
        if kind is float:  # in a canonical tree: one NaN is like the other
            return nan if value != value else value  # noqa: PLR0124
        leaf = LEAVES.get(kind)
        if leaf is not None:
            return _leaf_tree(leaf.tag, leaf.take, value)
        if depth <= 0:
            problem = f"it nests deeper than {MAX_DEPTH} levels, or contains itself"
            raise Refused(type_name(value), problem, is_final=True)
        write = _WRITERS.get(kind, _write_declared)
        return write(self, value, depth - 1)

    def parts(self, values: Iterable[Any], depth: int) -> list[Any]:
        """Trees of values in their order."""
        parts: list[Any] = []
        add = parts.append
        try:
            for value in values:
                add(value if type(value) in self._firm else self.tree(value, depth))
        except Refused as refused:
            refused.path.append(f"[{len(parts)}]")
            raise
        return parts

    def elements(self, values: Iterable[Any], depth: int) -> list[Any]:
        """Trees of values whose order means nothing."""
        try:
            parts = [self.tree(value, depth) for value in values]
        except Refused as refused:
            refused.path.append("{...}")
            raise
        return sorted(parts, key=encode_plain) if self.is_canonical else parts

    def named(self, values: Mapping[Any, Any], depth: int, crumb: str = "[{!r}]") -> Any:
        """The tree of a mapping whose keys are most likely names.

        Args:
            values: The mapping.
            depth: How many levels its values may nest.
            crumb: How a key is shown in the place of a value that is refused.
        """
        if not _TEXT.issuperset(map(type, values)) or not all(map(is_encodable_text, values)):
            return {PAIRS: self.pairs(values, depth)}
        parts: dict[str, Any] = {}
        name = ""
        items = sorted(values.items()) if self.is_canonical else values.items()
        try:
            for name, value in items:
                parts[name] = value if type(value) in self._firm else self.tree(value, depth)
        except Refused as refused:
            refused.path.append(crumb.format(name))
            raise
        return parts

    def pairs(
        self, values: Mapping[Any, Any], depth: int, *, in_order: bool = False
    ) -> list[Any]:
        """Trees of keys and values; `in_order` where their order means something."""
        pairs: list[Any] = []
        for key, value in values.items():
            try:
                pairs.append([self.tree(key, depth), self.tree(value, depth)])
            except Refused as refused:
                refused.path.append(f"[{key!r}]" if type(key) in SCALARS else "[...]")
                raise
        if self.is_canonical and not in_order:
            pairs.sort(key=_key_bytes)
        return pairs


def _write_list(writer: TreeWriter, value: list[Any], depth: int) -> Any:
    return writer.parts(value, depth)


def _write_tuple(writer: TreeWriter, value: tuple[Any, ...], depth: int) -> Any:
    return {TUPLE: writer.parts(value, depth)}


def _write_complex(writer: TreeWriter, value: complex, depth: int) -> Any:
    return {COMPLEX: writer.parts((value.real, value.imag), depth)}


def _write_set(writer: TreeWriter, value: set[Any], depth: int) -> Any:
    return {SET: writer.elements(value, depth)}


def _write_frozenset(writer: TreeWriter, value: frozenset[Any], depth: int) -> Any:
    return {FROZENSET: writer.elements(value, depth)}


def _write_ordered_dict(writer: TreeWriter, value: OrderedDict[Any, Any], depth: int) -> Any:
    return {ORDERED_DICT: writer.pairs(value, depth, in_order=True)}


def _write_default_dict(writer: TreeWriter, value: defaultdict[Any, Any], depth: int) -> Any:
    factory: Any = value.default_factory
    name: Any = getattr(factory, "__name__", None)
    if factory is not None and DEFAULT_FACTORIES.get(name) is not factory:
        return writer.foreign(value)
    return {DEFAULT_DICT: [name, writer.pairs(value, depth)]}


def _write_deque(writer: TreeWriter, value: deque[Any], depth: int) -> Any:
    return {DEQUE: [value.maxlen, writer.parts(value, depth)]}


def _write_declared(writer: TreeWriter, value: Any, depth: int) -> Any:
    cls = class_of(value)
    if not writer.is_canonical and not is_findable(cls):
        return writer.foreign(value)
    if issubclass(cls, Enum):
        return _write_enum(writer, cls, value, depth)
    kind = kind_of(cls)
    if kind is not None:
        return _write_record(writer, kind, value, depth)
    base = c_base(cls)
    if base in EXACT:
        content = writer.tree(EXACT[base](value), depth)
        state = _state(writer, cls, state_of(value), depth)
        return {SUBCLASS: [reference(cls), content, state]}
    return writer.foreign(value)


def _write_enum(writer: TreeWriter, cls: type[Enum], value: Any, depth: int) -> Any:
    name = value._name_
    if cls.__members__.get(name) is value:
        return {ENUM: [reference(cls), name]}
    if issubclass(cls, Flag):
        return {ENUM: [reference(cls), writer.tree(value._value_, depth)]}
    return writer.foreign(value)


def _write_record(writer: TreeWriter, kind: str, value: Any, depth: int) -> Any:
    cls = class_of(value)
    state = state_of(value)
    unset = unset_fields(cls, state)
    if unset and kind == STRUCT:  # msgspec has no way to make one with a hole
        return writer.foreign(value)
    body = [reference(cls), _state(writer, cls, state, depth)]
    return {RECORD_TAGS[kind]: [*body, unset] if unset else body}


def _state(writer: TreeWriter, cls: type, state: dict[str, Any], depth: int) -> Any:
    if writer.is_canonical:
        state = without_caches(cls, state)
        state.pop("__pydantic_fields_set__", None)  # equal models may differ in it
    return writer.named(state, depth, ".{}")


def _refuse_view(_writer: TreeWriter, value: Any, _depth: int) -> NoReturn:
    # Not to be pickled either: cloudpickle would make bytes of it.
    problem = "a view does not come back as one, but as bytes"
    raise Refused(type_name(value), problem, is_final=True)


_WRITERS: dict[type, Callable[[TreeWriter, Any, int], Any]] = {
    list: _write_list,
    dict: TreeWriter.named,
    tuple: _write_tuple,
    complex: _write_complex,
    set: _write_set,
    frozenset: _write_frozenset,
    OrderedDict: _write_ordered_dict,
    defaultdict: _write_default_dict,
    deque: _write_deque,
    memoryview: _refuse_view,
}


def _leaf_tree(tag: int, take: Callable[[Any], Any], value: Any) -> Any:
    try:
        return {tag: take(value)}
    except LookupError as error:
        raise Refused(type_name(value), str(error)) from None


def _key_bytes(pair: list[Any]) -> bytes:
    return encode_plain(pair[0])
