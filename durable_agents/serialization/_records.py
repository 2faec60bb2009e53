"""Instances of declared classes: dataclasses, attrs classes, pydantic models, msgspec structs.

Each is taken apart into all that it holds and put together without its constructor. Neither
attrs nor pydantic is imported: a class says by an attribute what it is.

A class may change between the write and the read. A field that it gained since is filled from a
default that needs no code of the author's; one that it lost is left out.
"""

# ruff: noqa: ANN401 - the border where values are of any type

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import msgspec

from durable_agents.serialization._classes import (
    MISSING,
    bare,
    c_base,
    class_attribute,
    per_class,
    set_state,
)
from durable_agents.serialization._plain import SCALARS

__all__ = ["ATTRS", "DATACLASS", "PYDANTIC", "STRUCT", "kind_of", "rebuild", "unset_fields"]

DATACLASS, ATTRS, PYDANTIC, STRUCT = "dataclass", "attrs", "pydantic", "struct"

_MARKS = (
    ("__dataclass_fields__", DATACLASS),
    ("__attrs_attrs__", ATTRS),
    ("__pydantic_fields__", PYDANTIC),
)
_STRUCT_META: Any = type(msgspec.Struct)
_copy_struct: Callable[[Any], Any] = class_attribute(msgspec.Struct, "__copy__")
_SAFE_FACTORIES = frozenset({
    list,
    dict,
    set,
    frozenset,
    tuple,
    bytearray,
    str,
    bytes,
    int,
    float,
})
_FIXED: tuple[type[Any], ...] = (Enum, tuple, frozenset, msgspec.UnsetType)


@per_class
def kind_of(cls: type) -> str | None:
    """How a class declares its fields, or None where it is no declared class of ours.

    A class that is also a dict, an exception and the like holds more than fields: None.
    """
    # A metaclass of the author's own could run when the blank struct is made.
    if type(cls) is _STRUCT_META:
        return STRUCT
    if c_base(cls) is not object:
        return None
    for mark, kind in _MARKS:
        if class_attribute(cls, mark) is not MISSING:
            return kind
    return None


def unset_fields(cls: type, state: Mapping[str, Any]) -> list[str]:
    """The fields that a class declares and an instance with this state does not have set."""
    return [name for name in _defaults(cls) if name not in state]


def rebuild(cls: type[Any], state: dict[str, Any], unset: list[str]) -> Any:
    """An instance that holds the state; no code of its author runs.

    Raises:
        ValueError: A field that the class gained since has no default to fill it with.
    """
    for name, default in _defaults(cls).items():
        if name not in state and name not in unset:
            state[name] = _filled(cls, name, default)
    if kind_of(cls) == STRUCT:
        return _rebuild_struct(cls, state)
    value = bare(cls, object)
    set_state(value, state)
    return value


def _rebuild_struct(cls: type[Any], state: dict[str, Any]) -> Any:
    value = _copy_struct(_blank(cls))
    fields: tuple[str, ...] = cls.__struct_fields__
    for name in fields:
        msgspec.structs.force_setattr(value, name, state.pop(name))
    # Only a copy tells the garbage collector of the containers that the fields hold.
    value = _copy_struct(value)
    set_state(value, state)
    return value


class _Silent:
    """Stands before a struct in the order of its bases, so that its hooks stay silent."""

    __slots__ = ()

    def __init_subclass__(cls, **_: object) -> None:
        pass

    def __post_init__(self) -> None:
        pass


@per_class
def _blank(cls: type[Any]) -> Any:
    nothing = dict.fromkeys(cls.__struct_fields__)
    if class_attribute(cls, "__post_init__") is MISSING:
        return cls(**nothing)
    # msgspec has no way to make a struct that skips `__post_init__`. An instance of a subclass
    # whose hooks are silent can be given the class itself, since it has the same layout.
    blank = _STRUCT_META("_Blank", (_Silent, cls), {})(**nothing)
    vars(object)["__class__"].__set__(blank, cls)
    return blank


class _Factory:
    """A default that must be made anew for each instance."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


@per_class
def _defaults(cls: type[Any]) -> Mapping[str, Any]:
    """The declared fields, each with its default, a `_Factory`, or `MISSING`."""
    return _READ_DEFAULTS[kind_of(cls)](cls)


def _dataclass_defaults(cls: type[Any]) -> dict[str, Any]:
    return {
        field.name: _default(field.default, field.default_factory)
        for field in dataclasses.fields(cls)
    }


def _attrs_defaults(cls: type[Any]) -> dict[str, Any]:
    return {
        field.name: _default(field.default, getattr(field.default, "factory", MISSING))
        for field in class_attribute(cls, "__attrs_attrs__")
    }


def _pydantic_defaults(cls: type[Any]) -> dict[str, Any]:
    return {
        name: _default(field.default, field.default_factory)
        for name, field in class_attribute(cls, "__pydantic_fields__").items()
    }


def _struct_defaults(cls: type[Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = dict.fromkeys(cls.__struct_fields__, MISSING)
    for name, default in zip(
        reversed(cls.__struct_fields__), reversed(cls.__struct_defaults__), strict=False
    ):
        defaults[name] = _default(default, getattr(default, "factory", MISSING))
    return defaults


_READ_DEFAULTS: dict[str | None, Callable[[type[Any]], dict[str, Any]]] = {
    DATACLASS: _dataclass_defaults,
    ATTRS: _attrs_defaults,
    PYDANTIC: _pydantic_defaults,
    STRUCT: _struct_defaults,
}


def _default(default: Any, factory: Any) -> Any:
    if isinstance(factory, type) and factory in _SAFE_FACTORIES:
        return _Factory(factory)
    if type(default) in SCALARS:
        return default
    # Each library has a mark that says "no default"; that of attrs is a member of an enum.
    is_mark = type(default).__module__ == "attr._make"
    return default if isinstance(default, _FIXED) and not is_mark else MISSING


def _filled(cls: type[Any], name: str, default: Any) -> Any:
    if default is MISSING:
        msg = (
            f"{cls.__qualname__} gained the field {name!r} since the value was recorded: "
            "give it a plain default"
        )
        raise ValueError(msg)
    return default.make() if isinstance(default, _Factory) else default
