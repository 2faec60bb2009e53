"""Pickles: for what no other encoding holds. The only file that pickles or unpickles.

A pickle can run any code when it is read. Which may be read is the codec's to say.
"""

# ruff: noqa: ANN401 - the border where values are of any type

from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from durable_agents.serialization._plain import MAX_DEPTH, class_of
from durable_agents.serialization._tree_writer import Refused, type_name

__all__ = ["pickled", "unpickled"]

# The package has no types; these are what its documentation says.
_cloudpickle: Any = cloudpickle
_dumps: Callable[[Any], bytes] = _cloudpickle.dumps
_loads: Callable[[bytes], Any] = _cloudpickle.loads


def pickled(value: Any) -> bytes:
    """A pickle that was read back once: one that cannot be is found now, not after a crash.

    Raises:
        Refused: The value, or a part of it, cannot be pickled.
    """
    try:
        data = _dumps(value)
        unpickled(data)
    except Exception as error:  # whatever the value's own code raises
        path, part = _culprit(value, MAX_DEPTH)
        refused = Refused(type_name(part), f"pickle refuses it ({type_name(error)}: {error})")
        refused.path = path
        raise refused from error
    return data


def unpickled(data: bytes) -> Any:
    """The value of a pickle, which runs code."""
    return _loads(data)


def _culprit(value: Any, depth: int) -> tuple[list[str], Any]:
    """The innermost part that pickle refuses, and where it lies, from the inside out."""
    for crumb, part in _parts(value):
        if depth > 0 and not _can_be_pickled(part):
            path, innermost = _culprit(part, depth - 1)
            return [*path, crumb], innermost
    return [], value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    kind = class_of(value)
    if issubclass(kind, list | tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif issubclass(kind, dict):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    for name, part in getattr(value, "__dict__", {}).items():
        yield f".{name}", part


def _can_be_pickled(value: Any) -> bool:
    try:
        unpickled(_dumps(value))
    except Exception:  # noqa: BLE001 - whatever the value's own code raises
        return False
    return True
