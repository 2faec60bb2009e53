"""Digests of code objects: what they do, not how the text is laid out that they come from.

Texts that differ in lines, layout, comments and docstrings alone come to code objects that do
the same in another order: the compiler looks at lines when it joins instructions, turns
conditions round and places blocks. So the instructions are read as a graph, in the order in
which they are executed: what each does, what comes next, and what does when it raises.
"""

import dis
import functools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from types import CodeType
from typing import NamedTuple, cast

__all__ = ["code_digest"]

_DIGEST_BYTES = 16
_FLAGS = 0x3FF
"""Of a code object, those that say what kind of function it is: not whether it has a docstring,
nor which features its file asked for."""
_CONSTANTS = frozenset(dis.hasconst)
_NAMES = frozenset(dis.hasname)
_JUMPS = frozenset([*dis.hasjrel, *dis.hasjabs])
_DO_NOTHING = frozenset({"NOP", "CACHE", "EXTENDED_ARG", "NOT_TAKEN"})
_ALWAYS = re.compile(r"JUMP(_FORWARD|_BACKWARD|_ABSOLUTE)?(_NO_INTERRUPT)?")
_CONDITION = re.compile(r"POP_JUMP_(?:FORWARD_|BACKWARD_)?IF_(TRUE|FALSE|NONE|NOT_NONE)")
_OPPOSITES = {"FALSE": "TRUE", "NOT_NONE": "NONE"}
_LEAVE = frozenset({"RETURN_VALUE", "RAISE_VARARGS", "RERAISE"})
_LOCAL = re.compile("(?:LOAD|STORE)_FAST(?:_BORROW|_CHECK|_AND_CLEAR)?")
_BITS_OF_LOCAL = 4
_ABOUT_TEXT = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
"""Names that the body of a class stores for those who read it."""


class _Step(NamedTuple):
    """What one instruction does, or half of one that does two things."""

    offset: int
    what: tuple[object, ...] | None
    """None: it only goes on elsewhere."""
    following: tuple[int | None, ...] = (None,)
    """Offsets at which it goes on, by how it came out; None: behind it."""


@functools.lru_cache(maxsize=4096)
def code_digest(code: CodeType) -> str:
    """Digest of a code object, with those within it; of one minor version of Python.

    Args:
        code: Of a function, a class body, a lambda, a comprehension.
    """
    parts = (
        code.co_qualname,
        code.co_flags & _FLAGS,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        (code.co_varnames, code.co_freevars, code.co_cellvars),
        _Graph(code).as_executed(),
    )
    text = repr(parts).encode(errors="backslashreplace")
    return blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


class _Graph:
    """Steps of a code object, and what may come after each."""

    def __init__(self, code: CodeType) -> None:
        self._steps = [step for i in _instructions(code) for step in _steps_of(i)]
        self._places = [step.offset for step in self._steps]
        self._handlers = list(_handlers(code.co_exceptiontable))

    def as_executed(self) -> list[tuple[object, ...]]:
        """Each step and the numbers of those that may follow, as they are reached."""
        numbers: dict[int, int] = {}
        found: list[tuple[int, tuple[int, ...]]] = []
        left = [self._from(0)]
        while left:
            index = left.pop()
            if index not in numbers:
                numbers[index] = len(numbers)
                following = self._after(index)
                found.append((index, following))
                left += reversed(following)
        return [
            (self._steps[index].what, *(numbers[i] for i in following))
            for index, following in found
        ]

    def _after(self, index: int) -> tuple[int, ...]:
        step = self._steps[index]
        reached = [index + 1 if o is None else self._at(o) for o in step.following]
        reached += [
            self._at(h) for start, end, h in self._handlers if start <= step.offset < end
        ]
        return tuple(map(self._from, reached))

    def _at(self, offset: int) -> int:
        return bisect_left(self._places, offset)

    def _from(self, index: int) -> int:
        """The first step from here on that does anything."""
        passed: set[int] = set()
        while (step := self._steps[index]).what is None and index not in passed:
            passed.add(index)
            (offset,) = step.following
            index = index + 1 if offset is None else self._at(offset)
        return index


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """Those that do anything, but for a class body's notes about its own text."""
    kept = [i for i in dis.get_instructions(code) if i.opname not in _DO_NOTHING]
    notes: set[int] = set()
    for index, instruction in enumerate(kept):
        if instruction.opname == "STORE_NAME" and instruction.argval in _ABOUT_TEXT:
            notes |= {index - 1, index}
    return (i for index, i in enumerate(kept) if index not in notes)


def _steps_of(instruction: dis.Instruction) -> Iterator[_Step]:
    name, offset, argument = instruction.opname, instruction.offset, instruction.arg
    pair = _LOCAL.findall(name)
    if instruction.opcode in _JUMPS:
        yield _jump(name, offset, instruction.argval)
    elif instruction.opcode in _CONSTANTS:
        # By itself: a docstring moves its place in the table.
        loads = name.replace("RETURN_CONST", "LOAD_CONST")
        yield _Step(offset, (loads, _constant(instruction.argval)))
        if loads != name:
            yield _Step(offset, ("RETURN_VALUE",), ())
    elif instruction.opcode in _NAMES:
        yield _Step(offset, (name, instruction.argrepr))
    elif len(pair) > 1 and argument is not None:
        # Two in one, which the compiler makes of those that stand on one line.
        yield _Step(offset, (pair[0], argument >> _BITS_OF_LOCAL))
        yield _Step(offset, (pair[1], argument % (1 << _BITS_OF_LOCAL)))
    else:
        yield _Step(offset, (name, argument), () if name in _LEAVE else (None,))


def _jump(name: str, offset: int, to: int) -> _Step:
    if _ALWAYS.fullmatch(name):
        return _Step(offset, None, (to,))
    condition = _CONDITION.fullmatch(name)
    if condition is None:
        return _Step(offset, (name,), (None, to))
    opposite = _OPPOSITES.get(condition[1])
    if opposite is None:
        return _Step(offset, (condition[1],), (to, None))
    return _Step(offset, (opposite,), (None, to))


def _constant(value: object) -> object:
    match value:
        case CodeType():
            return code_digest(value)
        case tuple():
            return "tuple", *map(_constant, cast("Iterable[object]", value))
        case frozenset():
            members = map(_constant, cast("Iterable[object]", value))
            return "frozenset", *sorted(map(repr, members))
        case _:
            return type(value).__name__, repr(value)


def _handlers(table: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each entry of an exception table: from where, up to where, and its handler."""
    numbers = _numbers(table)
    for start in numbers:
        length, handler, _ = next(numbers), next(numbers), next(numbers)
        yield 2 * start, 2 * (start + length), 2 * handler


def _numbers(table: bytes) -> Iterator[int]:
    """Numbers as CPython packs them there: six bits in each byte, the highest first."""
    number = 0
    for byte in table:
        number = number << 6 | byte & 0x3F
        if not byte & 0x40:
            yield number
            number = 0
