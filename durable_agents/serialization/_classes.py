"""Classes by name, and instances taken apart and put together without running their code.

Rule 1: a class is looked up in `sys.modules` only, in the dictionaries of modules and classes,
so that neither an import nor a module's `__getattr__` runs. Rule 2: an instance is made by the
`__new__` of its C base and filled through its `__dict__` and slots: no constructor, no
`__post_init__`, no `__setattr__` of the author's.
"""

# ruff: noqa: ANN401 - the border where values are of any type

import sys
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from types import BuiltinFunctionType, MemberDescriptorType, ModuleType
from typing import Any, TypeVar

from durable_agents.serialization._plain import class_of

__all__ = [
    "MISSING",
    "bare",
    "c_base",
    "class_attribute",
    "dict_of",
    "find_class",
    "find_name",
    "has_c_new",
    "is_findable",
    "per_class",
    "reference",
    "set_state",
    "shaping_base",
    "state_of",
    "without_caches",
]

T = TypeVar("T")

MISSING: Any = object()
"""Nothing is there, where None could be a value."""

_NOT_STATE = frozenset({"__orig_class__", "_attrs_cached_hash"})
# typing's note of how a generic was written, and a hash that holds in this process only.

_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8
# https://docs.python.org/3/c-api/typeobj.html#c.Py_TPFLAGS_HEAPTYPE and ..._IMMUTABLETYPE


def per_class(compute: Callable[[type[Any]], T]) -> Callable[[type[Any]], T]:
    """A function of a class that remembers what it computed."""
    known: Any = lru_cache(maxsize=1024)(compute)  # its type would refuse classes as arguments
    look_up: Callable[[type[Any]], T] = known
    return look_up


def reference(named: Any) -> str:
    """`module:qualname` of a class or function."""
    return f"{named.__module__}:{named.__qualname__}"


def find_name(name: str) -> Any:
    """What `module:qualname` stands for among the modules already loaded, or `MISSING`."""
    module_name, _, qualname = name.partition(":")
    module = sys.modules.get(module_name)
    # By its type alone: isinstance() would ask a proxy for its `__class__`, and so wake it.
    if not issubclass(type(module), ModuleType):
        return MISSING
    # A lazy module loads itself when asked for an attribute in the usual way.
    found: Any = MISSING
    names: Mapping[str, Any] = object.__getattribute__(module, "__dict__")
    for part in qualname.split("."):
        found = names.get(part, MISSING)
        names = type.__getattribute__(found, "__dict__") if isinstance(found, type) else {}
    return found


def find_class(name: str) -> type[Any]:
    """The loaded class of that name.

    Raises:
        LookupError: No module that is loaded has it; the text says what to do.
    """
    found = find_name(name)
    if isinstance(found, type):
        return found
    msg = f"no class {name} is loaded: import its module before the value is read"
    raise LookupError(msg)


def is_findable(named: Any) -> bool:
    """Whether the name of a class or function leads back to it."""
    return find_name(reference(named)) is named


def class_attribute(cls: type, name: str) -> Any:
    """What a class or a base of it holds under a name, or `MISSING`. Calls no descriptor."""
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return MISSING


@per_class
def c_base(cls: type) -> type | None:
    """The C class whose `__new__` makes instances of a class that is written in Python.

    None where C code other than that `__new__`'s own class shapes the instances: they hold what
    nobody but their author knows.
    """
    base = shaping_base(cls, lambda base: has_c_new(base) or _is_written_in_c(base))
    return base if has_c_new(base) else None


def has_c_new(cls: type) -> bool:
    """Whether a class has a `__new__` of its own that is written in C; `object` has."""
    return isinstance(vars(cls).get("__new__"), BuiltinFunctionType)


def _is_written_in_c(cls: type) -> bool:
    return not cls.__flags__ & _HEAP_TYPE or bool(cls.__flags__ & _IMMUTABLE_TYPE)


def shaping_base(cls: type, matches: Callable[[type], bool]) -> type:
    """The nearest base that matches, of those that shape the memory of a class's instances."""
    base = cls
    while not matches(base):
        base = base.__base__ or object
    return base


def bare(cls: type[Any], base: type[Any], *content: Any) -> Any:
    """A new instance of a class, as the `__new__` of its C base makes it."""
    return base.__new__(cls, *content)


@per_class
def _slots(cls: type) -> Mapping[str, Any]:
    slots: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__slots__" in vars(base):
            for name, member in vars(base).items():
                if isinstance(member, MemberDescriptorType):
                    slots.setdefault(name, member)
    return slots


def state_of(value: Any) -> dict[str, Any]:
    """All that an instance holds in its slots and its `__dict__`, by name."""
    state: dict[str, Any] = {}
    for name, slot in _slots(class_of(value)).items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:  # declared and never set
            continue
    state.update(dict_of(value) or {})
    for name in _NOT_STATE.intersection(state):
        del state[name]
    return state


def without_caches(cls: type, state: Mapping[str, Any]) -> dict[str, Any]:
    """State without what `cached_property` put there: equal values may differ in it."""
    return {
        name: part
        for name, part in state.items()
        if not isinstance(class_attribute(cls, name), cached_property)
    }


def set_state(value: Any, state: Mapping[str, Any]) -> None:
    """Fill an instance from its state. Names that its class has no place for are left out."""
    slots = _slots(class_of(value))
    own = dict_of(value)
    for name, part in state.items():
        slot = slots.get(name)
        if slot is not None:
            slot.__set__(value, part)
        elif own is not None:
            own[name] = part


def dict_of(value: Any) -> dict[str, Any] | None:
    """The `__dict__` of an instance, past what its class may make of that name."""
    get: Callable[[Any, str], Any] = object.__getattribute__
    try:
        found: dict[str, Any] = get(value, "__dict__")
    except AttributeError:
        return None
    return found
