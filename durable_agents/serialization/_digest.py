"""Canonical bytes of arguments: what the digest of a durable call is taken over.

Equal arguments give equal bytes in every process: whatever the hash seed, the order of dicts
and sets, the identity of objects. Types count: 1, 1.0 and True differ, and so do a list and a
tuple. Never over pickles: those depend on identity and on the version of Python.
"""

# ruff: noqa: ANN401 - the border where values are of any type

import re
from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any

import msgspec

from durable_agents.serialization._classes import is_findable, reference
from durable_agents.serialization._codec import What, encode_error
from durable_agents.serialization._nodes import NAMED
from durable_agents.serialization._plain import SCALARS, encode_plain, is_plain
from durable_agents.serialization._tree_writer import (
    Refused,
    TreeWriter,
    refuse,
    type_name,
)

__all__ = ["canonical_bytes", "scalar_bytes"]

_encode_sorted = msgspec.msgpack.Encoder(order="deterministic").encode
_REMEDY = "Give the call a key: ctx.options(key=...)."
_FIRM = SCALARS - {float}
# A float whose exponent is all ones, as MessagePack writes it: an infinity, or one of the NaNs.
_may_hold_nan = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search


def scalar_bytes(values: Sequence[Any]) -> bytes | None:
    """`canonical_bytes` of a list of these, where each of them is a plain scalar; else None.

    Scalars are what most calls bring: one look at their types, one encoding.
    """
    if not _FIRM.issuperset(map(type, values)):
        return None
    try:
        return b"p" + _encode_sorted(values)
    except (OverflowError, UnicodeEncodeError):  # they are what MessagePack does not hold
        return None


def canonical_bytes(value: Any, what: What) -> bytes:
    """Bytes that are equal for equal values, and differ for different ones, in every process.

    Args:
        value: An argument, or a list of them. A function or class counts by its name.
        what: The value's part, for the error.

    Raises:
        EncodeError: The value, or a part of it, is no data.
    """
    try:
        if is_plain(value):
            data = _encode_sorted(value)
            if _may_hold_nan(data) is None:
                return b"p" + data
    except (OverflowError, UnicodeEncodeError):  # the tree holds what MessagePack does not
        pass
    except RecursionError as error:
        raise _too_deep(value, what) from error
    try:
        return b"t" + encode_plain(_write_tree(value))
    except Refused as refused:
        raise encode_error(refused, what, _REMEDY) from None
    except RecursionError as error:
        raise _too_deep(value, what) from error


def _too_deep(value: Any, what: What) -> Exception:
    problem = "it nests deeper than what is left of the stack"
    return encode_error(Refused(type_name(value), problem), what, _REMEDY)


def _by_name(value: Any) -> Any:
    if isinstance(value, type | FunctionType | BuiltinFunctionType) and is_findable(value):
        return {NAMED: reference(value)}
    return refuse(value)


_write_tree = TreeWriter(_by_name, is_canonical=True).tree
