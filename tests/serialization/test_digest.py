"""Canonical bytes: equal for equal arguments in every process, different for different ones."""

# ruff: noqa: ANN401 - values of any type

import math
import os
import struct
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from functools import cached_property
from itertools import combinations
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from durable_agents.errors import EncodeError
from durable_agents.serialization import canonical_bytes, scalar_bytes


def digest(value: Any) -> bytes:
    """Canonical bytes of a value."""
    return canonical_bytes(value, "argument 'a' of shop:charge")


@dataclass(frozen=True)
class Point:
    x: int
    y: Any = None

    @cached_property
    def double(self) -> int:
        return 2 * self.x


class Model(pydantic.BaseModel):
    a: int = 1


def function() -> None:
    """Counts by its name."""


SOURCE = """
import sys
from decimal import Decimal
from durable_agents.serialization import canonical_bytes, scalar_bytes
names = {"alpha", "beta", "gamma", "delta", "epsilon"}
pairs = {(name,): name for name in names}
value = [names, frozenset(names), {name: {name: name} for name in names}, pairs, Decimal(1)]
sys.stdout.write(canonical_bytes(value, "w").hex())
"""


@pytest.mark.slow
@pytest.mark.rows("GAP-13")
def test_the_hash_seed_does_not_matter() -> None:
    """A restarted process has another one, and must find its calls again."""
    found = {
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", SOURCE],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(found) == 1
    assert found != {""}


def halved(text: str) -> str:
    """An equal text that is another object."""
    return text[: len(text) // 2] + text[len(text) // 2 :]


NAME = "a name"
OTHER_NAN: float = struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]


@pytest.mark.rows("ID-06", "ID-08", "GAP-29", "GAP-30")
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ({1: 1, "b": (2,)}, {"b": (2,), 1: 1}),
        ({"x": {3, 1, 2}}, {"x": {2, 3, 1}}),
        ([NAME, NAME], [halved(NAME), halved(NAME)]),
        ([math.nan], [OTHER_NAN]),
        ({"a": math.nan}, {"a": OTHER_NAN}),
        (complex(math.nan, 1), complex(OTHER_NAN, 1)),
        (Counter("xy"), Counter("yx")),
        (defaultdict(int, a=1, b=2), defaultdict(int, b=2, a=1)),
        ([math.inf, 1.5], [math.inf, 1.5]),
        (Model(), Model(a=1)),
        ((2**70, "\ud800"), (2**70, "\ud800")),
        ([2**70], [2**70]),
        ({"a": "\ud800"}, {"a": "\ud800"}),
    ],
)
def test_equal_arguments_give_equal_bytes(left: Any, right: Any) -> None:
    """Whatever the order of dicts and sets, or the identity of objects."""
    assert digest(left) == digest(right)


def test_a_cached_property_does_not_matter() -> None:
    """Somebody may have looked at it between two starts."""
    looked_at = Point(1)
    assert looked_at.double == 2

    assert digest(Point(1)) == digest(looked_at)


DIFFERENT: list[Any] = [
    None,
    False,
    True,
    0,
    1,
    1.0,
    -1,
    2**64,
    "",
    "1",
    b"",
    b"1",
    bytearray(b"1"),
    Decimal(1),
    Decimal("1.0"),
    math.nan,
    math.inf,
    [],
    [[]],
    [1],
    [1, 2],
    [2, 1],
    (),
    (1,),
    (1, 2),
    (2, 1),
    {},
    {"a": 1},
    {"a": (1,)},
    {"a": math.nan},
    OrderedDict(a=1, b=2),
    OrderedDict(b=2, a=1),
    {"a": 1, "b": 2},
    {1: 2},
    set(),
    {1},
    frozenset({1}),
    Point(1),
    Point(2),
    Point(1, y=(1,)),
    Point,
    Model,
    function,
    len,
    [{"20": [1]}],
]


@pytest.mark.rows("ID-09")
def test_different_arguments_give_different_bytes() -> None:
    """Types count, and so does order where it means something."""
    collisions = [(a, b) for a, b in combinations(DIFFERENT, 2) if digest(a) == digest(b)]

    assert not collisions


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part) | st.tuples(part),
)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN)
def test_the_order_of_keys_never_matters(value: Any) -> None:
    """At any depth."""

    def turned(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: turned(part[key]) for key in reversed(part)}
        if isinstance(part, list | tuple):
            return type(part)(map(turned, part))
        return part

    assert digest(value) == digest(turned(value))


def local() -> Any:
    """Instances and functions that no name leads to."""

    @dataclass
    class Local:
        x: int

    return Local(1)


def test_an_instance_of_a_local_class_is_digested_by_its_fields() -> None:
    """It is compared, never rebuilt, so nobody needs to find its class."""
    assert digest(local()) == digest(local())


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (threading.Lock(), ""),
        ([1, {"a": lambda: 1}], " at [1]['a']"),
        (Point(1, y=[object()]), " at .y[0]"),
        ([].append, ""),
        (type(local()), ""),
        (nested(300), "["),
    ],
)
def test_what_cannot_be_digested_is_named_with_the_remedy(value: Any, place: str) -> None:
    """Rather an error than a digest that changes with every restart."""
    with pytest.raises(EncodeError) as caught:
        digest(value)

    assert place in caught.value.what
    assert caught.value.what.startswith("argument 'a' of shop:charge")
    assert caught.value.remedy == "Give the call a key: ctx.options(key=...)."


def at_the_end_of_the_stack(act: Callable[[], object]) -> None:
    """Act with hardly any frames left."""
    depth, frame = 0, sys._getframe()  # noqa: SLF001 - counts the frames in use
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back

    def descend(left: int) -> None:
        if left:
            descend(left - 1)
        else:
            act()

    descend(sys.getrecursionlimit() - depth - 60)


@pytest.mark.parametrize("value", [nested(90), (nested(90),)], ids=["plain", "typed"])
def test_a_stack_that_runs_out_is_an_error_of_ours(value: Any) -> None:
    """The caller may stand deep in a recursion of its own."""

    def refused() -> None:
        with pytest.raises(EncodeError, match="stack"):
            digest(value)

    at_the_end_of_the_stack(refused)


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary())))
@example([1, 2**64])
@example(["\ud800"])
def test_scalars_have_the_bytes_that_a_list_of_them_has(values: list[Any]) -> None:
    """The straight road of most calls, and the general one, lead to the same digest."""
    straight = scalar_bytes(tuple(values))

    assert straight in {None, digest(values)}
    assert (straight is None) == any(_is_beyond(value) for value in values)


def _is_beyond(value: Any) -> bool:
    """Whether MessagePack does not hold it."""
    if type(value) is int:
        return not -(2**63) <= value < 2**64
    return type(value) is str and any("\ud800" <= letter <= "\udfff" for letter in value)


@pytest.mark.parametrize("value", [1.5, math.nan, [1], (1,), IntEnum("E", "a").a])
def test_what_is_no_plain_scalar_takes_the_general_road(value: Any) -> None:
    """A float may be a NaN, of which there are many."""
    assert scalar_bytes((1, value)) is None
