"""What counts as plain data."""

# ruff: noqa: ANN401 - values of any type

from collections import OrderedDict
from typing import Any

import pytest

from durable_agents.serialization import SCALARS, is_plain


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "a", b"b", [], {}, [1, {"a": [None]}]])
def test_scalars_and_containers_of_them_are_plain(value: Any) -> None:
    """MessagePack brings these back exactly."""
    assert is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        (1,),
        {1},
        Text("a"),
        bytearray(b"a"),
        {1: "a"},
        {Text("a"): 1},
        OrderedDict(a=1),
        [1, (2,)],
        [[[{"a": (1,)}]]],
        {"a": {"b": {1: 2}}},
    ],
)
def test_what_messagepack_would_change_is_not_plain(value: Any) -> None:
    """A tuple would come back as a list, a subclass as its base."""
    assert not is_plain(value)


def test_a_cycle_is_not_plain() -> None:
    """It ends, and quickly, though each level holds the cycle twice."""
    cycle: list[Any] = []
    cycle += [cycle, cycle]

    assert not is_plain(cycle)


@pytest.mark.parametrize(("levels", "expected"), [(100, True), (101, False), (50_000, False)])
def test_plain_data_nest_a_hundred_levels(levels: int, expected: bool) -> None:
    """The bound keeps every stack able to read what another one wrote."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]

    assert is_plain(value) is expected


def test_the_scalars_are_the_immutable_plain_types() -> None:
    """Callers hand these through undecoded, so nothing mutable may join them."""
    assert {type(None), bool, int, float, str, bytes} == SCALARS
