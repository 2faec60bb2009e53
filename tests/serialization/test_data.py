"""Payloads as data: for people who look at a store without the code that filled it."""

import sys
from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, Flag
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given

from durable_agents.errors import DecodeError
from durable_agents.serialization import Codec, Payload
from tests.serialization.test_forged import TREE

CODEC = Codec()


@dataclass
class Point:
    x: int
    inner: Any = None


class Box(msgspec.Struct):
    label: str


class Colour(Enum):
    RED = 1


class Rights(Flag):
    READ = 1
    WRITE = 2


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (7, 7),
        ({"a": [1, None]}, {"a": [1, None]}),
        ((1, {2}), (1, {2})),
        (Point(1, Box("b")), {"x": 1, "inner": {"label": "b"}}),
        ([Colour.RED], ["RED"]),
        ((Rights.READ | Rights.WRITE,), (3,)),
        (Counter(a=2), {"a": 2}),
        (OrderedDict(a=1), {"a": 1}),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("x" * 20_000, "x" * 20_000),
    ],
)
def test_a_value_is_told_as_data(
    value: object, data: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not its classes are loaded."""
    payload = CODEC.encode(value, "a value")
    monkeypatch.setitem(sys.modules, __name__, ModuleType(__name__))

    assert data == CODEC.decode_data(payload)


def test_what_is_pickled_is_not_told() -> None:
    """Reading it would run code."""
    payload = CODEC.encode(lambda: 1, "a value")

    with pytest.raises(DecodeError, match="only its own code can tell"):
        CODEC.decode_data(payload)


@given(tree=TREE)
def test_forged_data_is_data_or_an_error(tree: Any) -> None:  # noqa: ANN401 -- whatever is drawn
    """Nothing else comes of it."""
    payload = Payload("typed", msgspec.msgpack.encode(tree))
    try:
        CODEC.decode_data(payload)
    except DecodeError:
        return


def test_damaged_bytes_are_an_error() -> None:
    """They hold nothing."""
    with pytest.raises(DecodeError):
        CODEC.decode_data(Payload("plain", b"\xc1"))
