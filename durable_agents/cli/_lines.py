"""Inputs from a file of JSON lines: read as they are needed, each known by where it stands.

A line's run id is made of the file's name, the number of the line and a digest of its text. So
the same file over the same store is the same inputs, wherever the reading stopped, and a line
that was changed since is a new one.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from hashlib import blake2b
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, cast

import msgspec

from durable_agents.cli._exit import UsageError

__all__ = ["InputLine", "InputLines", "RefusedLine"]

_LINES_AT_ONCE = 256
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DIGEST_BYTES = 8
_DIGEST = re.compile(f"[0-9a-f]{{{2 * _DIGEST_BYTES}}}")
_COUNTED_BYTES = 2**20
_JSON_NAMES = {
    "NoneType": "null",
    "bool": "a boolean",
    "float": "a number with a fraction",
    "list": "an array",
}


class InputLine(msgspec.Struct, frozen=True):
    """A line that can be submitted."""

    number: int
    """Counted from 1, empty lines included."""
    run_id: str
    key: str | None
    value: Any


class RefusedLine(msgspec.Struct, frozen=True):
    """A line that no run can be made of."""

    line: int
    problem: str
    """What was found, where, and what was expected."""


Parsed: TypeAlias = InputLine | RefusedLine


class InputLines:
    """The lines of one file.

    Args:
        path: The file.
        key: Field that inputs are ordered by, dotted where it lies deeper; None: no order.
        id_field: Field that is the run id; None: the id is made of name, number and digest.

    Raises:
        UsageError: The file cannot be read.
    """

    def __init__(self, path: Path, key: str | None, id_field: str | None = None) -> None:
        self.path = path
        # A name that is no UTF-8 must not keep a file from being read.
        self.name = os.fsencode(path.name).decode(errors="replace")
        self._key = key
        self._id_field = id_field
        try:
            with path.open("rb") as file:
                self.count = _count(file)
        except OSError as error:
            msg = f"--input {path} cannot be read: {error.strerror}"
            raise UsageError(msg) from error

    @property
    def has_own_ids(self) -> bool:
        """Whether run ids are made of where the lines stand."""
        return self._id_field is None

    def prefix(self, number: int) -> str:
        """What the ids of all runs begin with that this line has ever been."""
        return f"{self.name}:{number}:"

    def holds(self, run_id: str) -> bool:
        """Whether a run id is one of a line of this file, as it is or as it was."""
        place, _, digest = run_id.rpartition(":")
        name, _, number = place.rpartition(":")
        return name == self.name and number.isdecimal() and bool(_DIGEST.fullmatch(digest))

    async def chunks(self) -> AsyncIterator[list[Parsed]]:
        """The lines in order, some at a time; empty ones are left out.

        Raises:
            UsageError: The file cannot be read any more.
        """
        try:
            with await asyncio.to_thread(self.path.open, "rb") as file:
                number = 0
                while raw := await asyncio.to_thread(_next_lines, file):
                    lines = list(enumerate(raw, start=number + 1))
                    number += len(raw)
                    yield [self.parse(n, line) for n, line in lines if line.strip()]
        except OSError as error:
            msg = f"--input {self.path} cannot be read: {error.strerror}"
            raise UsageError(msg) from error

    def parse(self, number: int, raw: bytes) -> Parsed:
        """What one line stands for."""
        text = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
        text = text.rstrip(b"\r\n")
        try:
            value: object = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return RefusedLine(number, f"expected one JSON value: {error}")
        try:
            key = None if self._key is None else _text_at(value, self._key, "--key")
            run_id = (
                f"{self.prefix(number)}{blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()}"
                if self._id_field is None
                else _text_at(value, self._id_field, "--id")
            )
        except LookupError as error:
            return RefusedLine(number, error.args[0])
        return InputLine(number, run_id, key, value)


def _count(file: BufferedReader) -> int:
    """How many lines there are, for the progress bar."""
    count, last = 0, b"\n"
    while block := file.read(_COUNTED_BYTES):
        count += block.count(b"\n")
        last = block[-1:]
    return count + (last != b"\n")


def _next_lines(file: BufferedReader) -> list[bytes]:
    return list(islice(file, _LINES_AT_ONCE))


def _text_at(value: object, path: str, option: str) -> str:
    """The text at a dotted path.

    Raises:
        LookupError: There is none; its argument says what is there instead.
    """
    expected = f"{option} expects text or a whole number at `$.{path}`"
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            msg = f"{expected}, there is nothing"
            raise LookupError(msg)
        value = cast("Mapping[str, object]", value)[name]
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        name = type(value).__name__
        msg = f"{expected}, got {_JSON_NAMES.get(name, 'an object')}"
        raise LookupError(msg)  # noqa: TRY004 - of data, not of a caller's argument
    return str(value)
