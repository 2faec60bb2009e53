"""Fingerprints of code: whether it is the code that it was, and no more.

A fingerprint has two halves: one of the function itself, one of the functions of the same
program that it uses by name, since those may make durable calls of its action, too. Either is
the same in each process and on each machine that runs one minor version of Python.

    counts                                          does not count
    ---------------------------------------------   ----------------------------------------
    instructions, constants, names, nested code     lines, layout, comments, docstrings
    defaults, configuration, and what a closure     annotations, values of globals, what a
    holds: functions, and values that are fixed     closure holds and may change
    functions that a global names, a module of      libraries; durable functions, since what
    the program, or the class of a method           they do inside changes no call

Values are looked at and never pickled, called or compared: of what is no plain value the class
counts, by its name.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Literal, TypeAlias, cast
from uuid import UUID

from durable_agents.actions._code_digest import code_digest
from durable_agents.actions._used import functions_used_by, held_by, is_disguised

__all__ = ["CodeChange", "change_between", "digest_of", "fingerprint_of"]

CodeChange: TypeAlias = Literal["none", "function", "used", "unknown"]
"""What changed: nothing; the function itself; only functions that it uses; nobody knows."""

_HALF = 4
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
_FIXED = frozenset([*_PLAIN, Decimal, UUID, date, datetime, time, timedelta])
"""Classes whose instances never change, and say by their `repr` all that they are."""
_COLLECTIONS = (tuple, list, set, frozenset, dict)
"""Those of which to look at the members runs nobody's code."""


def fingerprint_of(fn: Callable[..., Any], config: Mapping[str, object]) -> bytes:
    """The fingerprint of a function, of which each half changes when its code does.

    Args:
        fn: A function or a bound method, decorated or not.
        config: What it is given beside its arguments; counts as its code.

    Returns:
        Eight bytes; none where its configuration or its code nests too deep.
    """
    try:
        used = sorted({digest_of(one) for one in functions_used_by(fn)})
        return digest_of(fn, dict(config))[:_HALF] + digest_of(*used)[:_HALF]
    except RecursionError:
        return b""


def change_between(recorded: bytes, now: bytes) -> CodeChange:
    """What changed from one fingerprint to another of the same minor version of Python.

    Args:
        recorded: The older one; empty where none was recorded.
        now: The newer one; empty where there is none.
    """
    if not recorded or not now:
        return "unknown"
    if recorded[:_HALF] != now[:_HALF]:
        return "function"
    return "none" if recorded == now else "used"


def digest_of(*values: object) -> bytes:
    """Eight bytes that stand for functions and values; see the table of this file."""
    text = repr([_form(value, ()) for value in values])
    return blake2b(text.encode(errors="backslashreplace"), digest_size=2 * _HALF).digest()


def _form(value: object, around: tuple[int, ...]) -> object:
    """What of a value counts, as texts and numbers.

    Args:
        value: Anything.
        around: Ids of what it lies in: a function may hold itself.
    """
    kind = type(value)
    if kind in _FIXED or is_disguised(value):
        return kind.__name__, repr(value) if kind in _FIXED else ""
    if id(value) in around:
        return "...", len(around) - around.index(id(value))
    around = (*around, id(value))
    parts: Iterable[object]
    match value:
        case CodeType():
            return code_digest(value)
        case FunctionType():
            parts = value.__code__, value.__defaults__, value.__kwdefaults__, *held_by(value)
        case MethodType():
            parts = value.__func__, type(value.__self__)
        case functools.partial():
            parts = cast("Iterable[object]", (value.func, value.args, value.keywords))
        case tuple() | list() | set() | frozenset() | dict() if kind in _COLLECTIONS:
            return _form_of_many(cast("Iterable[object]", value), kind, around)
        case _:
            return _form_of_object(value, around)
    return kind.__name__, *(_form(part, around) for part in parts)


def _form_of_many(value: Iterable[object], kind: type, around: tuple[int, ...]) -> object:
    members = cast("Mapping[object, object]", value).items() if kind is dict else value
    forms = [_form(member, around) for member in members]
    return kind.__name__, *(forms if kind in {tuple, list} else sorted(map(repr, forms)))


def _form_of_object(value: object, around: tuple[int, ...]) -> object:
    if isinstance(value, (type, ModuleType)) or inspect.isbuiltin(value):
        return _name_of(value)
    if isinstance(value, Enum):
        return _name_of(type(value)), value.name
    called = getattr(type(value), "__call__", None)  # noqa: B004 - what it does, not whether
    parts = [called] if isinstance(called, FunctionType) else []
    fields = [getattr(value, name, None) for name in _fixed_fields(type(value))]
    return _name_of(type(value)), *(_form(part, around) for part in [*parts, *fields])


def _fixed_fields(cls: type[Any]) -> tuple[str, ...]:
    """Names of the fields of a class whose instances stay as they are; of another, none."""
    if getattr(getattr(cls, "__struct_config__", None), "frozen", False):
        return cast("tuple[str, ...]", cls.__struct_fields__)
    if getattr(getattr(cls, "__dataclass_params__", None), "frozen", False):
        return tuple(field.name for field in dataclasses.fields(cls))
    return ()


def _name_of(value: object) -> str:
    # Without its module: a file that is run has another one than a file that is imported.
    return str(getattr(value, "__qualname__", None) or getattr(value, "__name__", ""))
