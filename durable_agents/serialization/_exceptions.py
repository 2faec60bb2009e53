"""Exceptions taken apart and filled past their own code.

An exception keeps its arguments, its `__dict__`, and what C or slots keep for it: `errno` of an
`OSError`, `start` of a `UnicodeDecodeError`. All of it is read and written where it lies.
"""

# ruff: noqa: ANN401 - the border where values are of any type

import builtins
from collections.abc import Callable, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from durable_agents.serialization._classes import has_c_new, per_class, shaping_base
from durable_agents.serialization._plain import is_encodable_text

__all__ = [
    "add_notes",
    "attributes_of",
    "builtin_base",
    "get_args",
    "get_chain",
    "get_group",
    "member_values",
    "members_of",
    "recorded_traceback",
    "set_args",
    "set_attributes",
    "set_chain",
    "set_traceback",
]

_TRACEBACK = "_durable_agents_traceback"
_NOTES = "__notes__"

_LEFT_OUT: Mapping[type, frozenset[str]] = {
    BaseException: frozenset({"args"}),  # kept by themselves
    BaseExceptionGroup: frozenset({"message", "exceptions"}),
    AttributeError: frozenset({"obj"}),  # only there to suggest names; often large
}


_own: Callable[[BaseException], dict[str, Any]] = vars(BaseException)["__dict__"].__get__
_args: Any = vars(BaseException)["args"]
_cause: Any = vars(BaseException)["__cause__"]
_context: Any = vars(BaseException)["__context__"]
_message: Any = vars(BaseExceptionGroup)["message"]
_members: Any = vars(BaseExceptionGroup)["exceptions"]
_suppressed: Any = vars(BaseException)["__suppress_context__"]

get_args: Callable[[BaseException], tuple[Any, ...]] = _args.__get__
"""The arguments of an exception, past a property of that name."""

set_args: Callable[[BaseException, tuple[Any, ...]], None] = _args.__set__
"""Give an exception its arguments."""


def recorded_traceback(error: BaseException) -> str | None:
    """The formatted traceback that an exception brought back, or None where there is none."""
    found = _own(error).get(_TRACEBACK)
    return found if type(found) is str else None


def set_traceback(error: BaseException, text: str) -> None:
    """Have `recorded_traceback` find a text on an exception."""
    _own(error)[_TRACEBACK] = text


def builtin_base(cls: type) -> type[BaseException] | None:
    """The builtin exception that shapes a class, or None where other C code does."""
    base = shaping_base(cls, lambda base: _is_builtin(base) or has_c_new(base))
    return base if _is_builtin(base) and issubclass(base, BaseException) else None


@per_class
def members_of(cls: type) -> Mapping[str, Any]:
    """Descriptors of what an exception keeps outside its `__dict__`, by name."""
    members: dict[str, Any] = {}
    for base in cls.__mro__:
        # Other classes that are written in C may compute what their descriptors show.
        if "__slots__" in vars(base) or _is_builtin(base):
            for name, member in vars(base).items():
                if _is_member(member) and name not in _LEFT_OUT.get(base, ()):
                    members.setdefault(name, member)
    return members


def _is_builtin(cls: type) -> bool:
    return vars(builtins).get(cls.__name__) is cls


def _is_member(member: Any) -> bool:
    is_descriptor = isinstance(member, MemberDescriptorType | GetSetDescriptorType)
    return is_descriptor and not member.__name__.startswith("__")


def member_values(error: BaseException) -> dict[str, Any]:
    """What an exception keeps outside its `__dict__`, by name."""
    values = {name: _read(member, error) for name, member in members_of(type(error)).items()}
    # For C, None that was set differs from nothing: the text of an OSError shows it.
    return {name: value for name, value in values.items() if value is not None}


def _read(member: Any, error: BaseException) -> Any:
    try:
        return member.__get__(error)
    except Exception:  # noqa: BLE001 - never set: each class says so in its own way
        return None


def attributes_of(error: BaseException) -> dict[str, Any]:
    """What an exception keeps in its `__dict__`; its notes are among it."""
    own = _own(error).items()
    return {name: part for name, part in own if name != _TRACEBACK and is_encodable_text(name)}


def set_attributes(error: BaseException, values: Mapping[str, Any]) -> None:
    """Put values into the `__dict__` of an exception."""
    _own(error).update(values)


def get_chain(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cause and the context of an exception, past properties of these names."""
    return _cause.__get__(error), _context.__get__(error)


def get_group(error: BaseException) -> tuple[str, tuple[BaseException, ...]] | None:
    """Message and members of a group, past properties of these names; None for no group."""
    if not issubclass(type(error), BaseExceptionGroup):
        return None
    return _message.__get__(error), _members.__get__(error)


def set_chain(
    error: BaseException,
    cause: BaseException | None,
    context: BaseException | None,
    *,
    is_context_suppressed: bool,
) -> None:
    """Tie an exception to the ones that it came from."""
    _cause.__set__(error, cause)
    _context.__set__(error, context)
    _suppressed.__set__(error, is_context_suppressed)


def add_notes(error: BaseException, notes: list[str]) -> None:
    """Add notes of ours to those that an exception has."""
    own = _own(error)
    if notes and type(own.setdefault(_NOTES, [])) is list:
        own[_NOTES].extend(f"durable_agents: {note}" for note in notes)
