"""Functions that a function uses by name, as far as they are of the same program.

A global name may stand for a function, for a module that has it, or for an object whose class
does; a method finds others of its own class by name, too. What a name stands for is looked up,
and nothing is called. Too many are found rather than too few: every name counts that is written
anywhere in the code.
"""

import dis
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from durable_agents.journal import is_declared

__all__ = ["functions_used_by", "held_by", "is_disguised"]

_CALLS = frozenset({"durable", "durable_sync"})
_MAY_CHANGE = (list, dict, set, bytearray)
_Namespace = Mapping[str, Any]


def functions_used_by(fn: Callable[..., Any]) -> list[FunctionType]:
    """Functions that a function uses, directly or not, durable ones left out.

    Args:
        fn: A function or a bound method, decorated or not.
    """
    own = list(_functions_in(fn, set()))
    owner = type(fn.__self__) if isinstance(fn, MethodType) else None
    found: list[FunctionType] = []
    seen = {id(function) for function in own}
    left = [*own]
    while left:
        function = left.pop()
        for used in _Program(function.__globals__).named_in(function.__code__, owner):
            if id(used) not in seen:
                seen.add(id(used))
                found.append(used)
                left.append(used)
    return found


def held_by(fn: FunctionType) -> Iterator[object]:
    """What is in the closure of a function, and what it was put around.

    What may change is stood for by its class.
    """
    for cell in fn.__closure__ or ():
        try:
            held: object = cell.cell_contents
        except ValueError:  # nothing yet
            continue
        cls: type = type(held)
        yield cls if issubclass(cls, _MAY_CHANGE) else held
    yield getattr(fn, "__wrapped__", None)


def is_disguised(value: object) -> bool:
    """Whether an object says that it is of another class; to ask it would run its code."""
    return any("__class__" in vars(cls) for cls in type(value).__mro__[:-1])


class _Program:
    """The modules that belong together: of one package, or files of one folder.

    Args:
        namespace: Of one of its modules.
    """

    def __init__(self, namespace: _Namespace) -> None:
        self._namespace = namespace
        self._package = _package_of(namespace)
        self._folder = _folder_of(namespace)

    def named_in(self, code: CodeType, owner: type | None) -> Iterator[FunctionType]:
        """Functions that names in a code object may stand for.

        Args:
            code: Of a function of the program.
            owner: The class that a method belongs to.
        """
        names = _names_in(code)
        seen: set[int] = set()
        for name in names:
            yield from self._reached(self._namespace.get(name), names, seen)
        if owner is not None:
            yield from self._reached(owner, names, seen)

    def _reached(
        self, value: object, names: tuple[str, ...], seen: set[int]
    ) -> Iterator[FunctionType]:
        if id(value) in seen or is_disguised(value):
            return
        seen.add(id(value))
        if isinstance(value, ModuleType):
            if self._has(vars(value)):
                for name in names:
                    yield from self._reached(vars(value).get(name), names, seen)
            return
        functions = list(_functions_in(value, set()))
        for function in functions:
            if self._has(function.__globals__) and not is_declared(function):
                yield function
        if functions:
            return
        cls = value if isinstance(value, type) else type(value)
        if self._has(vars(sys.modules.get(cls.__module__, sys))):
            for name in names:
                yield from self._reached(inspect.getattr_static(cls, name, None), names, seen)

    def _has(self, namespace: _Namespace) -> bool:
        """Whether a module belongs to the program."""
        if _package_of(namespace) == self._package:
            return True
        return self._folder is not None and self._folder == _folder_of(namespace)


def _functions_in(value: object, seen: set[int]) -> Iterator[FunctionType]:
    """Functions that a value is made of: decorators have put some around others."""
    if id(value) in seen or is_disguised(value):
        return
    seen.add(id(value))
    match value:
        case FunctionType():
            yield value
            for held in held_by(value):
                yield from _functions_in(held, seen)
        case MethodType() | staticmethod() | classmethod():
            yield from _functions_in(cast("object", value.__func__), seen)
        case property():
            yield from _functions_in(value.fget, seen)
        case functools.partial():
            yield from _functions_in(cast("object", value.func), seen)
        case _:
            pass


@functools.lru_cache(maxsize=4096)
def _names_in(code: CodeType) -> tuple[str, ...]:
    """Names that a code object and those within it load, but for the functions of calls.

    In `ctx.durable(fetch, url)` that is `fetch`, declared as durable or not.
    """
    names: dict[str, None] = {}
    makes_call = False
    for instruction in dis.get_instructions(code):
        if isinstance(instruction.argval, CodeType):
            names |= dict.fromkeys(_names_in(instruction.argval))
        elif instruction.opname.startswith("LOAD_") and isinstance(instruction.argval, str):
            if instruction.opcode in dis.hasname and not makes_call:
                names[instruction.argval] = None
            makes_call = instruction.argval in _CALLS and instruction.opcode in dis.hasname
    return tuple(names)


def _package_of(namespace: _Namespace) -> str:
    """Name of the outermost package of a module, or of the module that is in none."""
    name = namespace.get("__package__") or namespace.get("__name__") or ""
    return str(name).partition(".")[0]


def _folder_of(namespace: _Namespace) -> PurePath | None:
    """Where a module lies that is in no package, and may import its neighbours."""
    file = namespace.get("__file__")
    if namespace.get("__package__") or file is None:
        return None
    return PurePath(file).parent
