"""Plain data: what MessagePack holds exactly, so that it comes back as it went in.

This file is on the path of every durable call. A container is judged by the set of its parts'
types, which runs at C speed; Python steps into nested containers only.
"""

# ruff: noqa: ANN401 - the border where values are of any type

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = [
    "MAX_DEPTH",
    "SCALARS",
    "class_of",
    "decode_plain",
    "encode_plain",
    "is_encodable_text",
    "is_plain",
]

class_of: Callable[[Any], type[Any]] = type
"""`type`, as type checkers can follow it where a value may be anything."""

SCALARS: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
"""Types whose instances are their own replay: immutable, and exact when they come back."""

MAX_DEPTH = 100
"""How deep a value may nest. Far from Python's own limit, so that what one stack could encode
another can decode."""

_PLAIN = SCALARS | {list, dict}
_TEXT = frozenset({str})


def is_plain(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a value consists of scalars, lists and str-keyed dicts only, no subclasses.

    A cycle is not plain, nor is what nests deeper than `depth` levels.
    """
    kind = class_of(value)
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        parts = value.values()
    elif kind is list:
        parts = value
    else:
        return kind in SCALARS
    kinds = set(map(type, parts))
    if kinds <= SCALARS:
        return depth > 0
    if depth <= 0 or not kinds <= _PLAIN:
        return False
    # A loop and not all(): a generator would double the frames that each level takes.
    for part in parts:
        if type(part) not in SCALARS and not is_plain(part, depth - 1):
            return False
    return True


def is_encodable_text(text: str) -> bool:
    """Whether a text is free of lone surrogates, which UTF-8 cannot hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_extension(code: int, _data: memoryview) -> None:
    msg = f"MessagePack extension {code} is none of ours"
    raise ValueError(msg)


encode_plain = msgspec.msgpack.Encoder().encode
"""Bytes of a plain value.

Raises:
    OverflowError: It holds an int beyond 64 bits.
    UnicodeEncodeError: It holds a lone surrogate.
    RecursionError: It nests too deep, or contains itself.
"""

decode_plain = msgspec.msgpack.Decoder(ext_hook=_refuse_extension).decode
"""The plain value that bytes stand for; runs no code but msgspec's."""
