"""Payloads: exact round trips, layers, limits, pickles."""

# ruff: noqa: ANN401 - values of any type

import math
import random
import sys
import threading
import zlib
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_agents.errors import DecodeError, EncodeError, PayloadTooLargeError
from durable_agents.serialization import Blobs, Codec, Payload

CODEC = Codec()
DATA_ONLY = Codec(pickle="refuse")
Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - people use it


class Place(NamedTuple):
    x: int
    y: int = 0


class Color(Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias
    BLUE = (1, 2)


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Access(Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Bits(IntFlag):
    ONE = 1
    TWO = 2


class Celsius(float):
    """A float with a `__dict__`."""


class Label(str):
    __slots__ = ("language",)
    language: str


class Count(int):
    pass


class Raw(bytes):
    pass


class Wave(complex):
    pass


class Buffer(bytearray):
    pass


class Stack(list[Any]):
    def append(self, _: Any) -> None:
        raise AssertionError


class Table(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError


class Bag(set[Any]):
    pass


class Frozen(frozenset[Any]):
    pass


class Plain:
    """A class that says nothing of its fields: only a pickle holds it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]  # no test hashes it


class Hidden(threading.local):
    """C code that is no builtin type shapes its instances."""


def with_state(value: Any, **state: Any) -> Any:
    """The value, with attributes."""
    for name, part in state.items():
        setattr(value, name, part)
    return value


VALUES = [
    None,
    0,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    -(2**200),
    -0.0,
    math.inf,
    "",
    "\ud800",
    ["\udfff", 2**70],
    {"\ud800": 1},
    b"",
    (),
    ((1,), [2], {"a": (3,)}),
    [(), []],
    {1, 2},
    frozenset({frozenset(), (1,)}),
    {1: "a", (2, 3): {None: 4}},
    {"a": {True: 1}},
    bytearray(b"abc"),
    1 + 2j,
    complex(0.0, -0.0),
    date(2026, 1, 2),
    time(1, 2, 3, 4),
    time(1, 2, tzinfo=UTC, fold=1),
    datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - naive ones come back naive
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, seconds=1), "odd")),
    timezone(timedelta(hours=2)),
    timezone(timedelta(0), "Zulu"),
    UTC,
    ZoneInfo("UTC"),
    timedelta(days=-1, seconds=3, microseconds=5),
    Decimal("1.10"),
    Decimal("-Infinity"),
    Fraction(-3, 2**70),
    UUID(int=5),
    UUID(int=6, is_safe=SafeUUID.safe),
    PurePosixPath("/a/b"),
    PureWindowsPath("C:\\a"),
    Path("a/../b"),
    Path("name\udce9"),
    msgspec.UNSET,
    Pair(1, [2]),
    Place(1),
    Color.RED,
    Color.CRIMSON,
    Color.BLUE,
    Level.LOW,
    Word.YES,
    Access.READ,
    Access.READ | Access.RUN,
    Access(0),
    Bits.ONE | Bits.TWO,
    Bits(9),
    Celsius(1.5),
    with_state(Celsius(2.5), station="north"),
    with_state(Label("bonjour"), language="fr"),
    Count(7),
    Count(2**70),
    Raw(b"abc"),
    Wave(1 + 2j),
    Buffer(b"abc"),
    Stack([1, (2,)]),
    Table({1: 2, "a": [3]}),
    Bag({1, 2}),
    Frozen({1}),
    Counter("abca"),
    OrderedDict([("b", 1), ("a", (2,))]),
    defaultdict(list, {"a": [1]}),
    defaultdict(None, {1: 2}),
    deque([1, (2,)], maxlen=3),
    deque(),
]
IDS = [f"{type(value).__name__} {number}" for number, value in enumerate(VALUES)]


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal, types included, all the way down; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float | complex):
        return repr(left) == repr(right)
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    return bool(left == right)


@pytest.mark.rows("ID-16", "SE-03", "SE-10", "SE-12", "SE-14")
@pytest.mark.parametrize("value", VALUES, ids=IDS)
def test_a_value_comes_back_with_its_type(value: Any) -> None:
    """What a replay hands out equals what the call returned; no pickle is needed."""
    decoded = CODEC.decode(DATA_ONLY.encode(value, "w"))

    assert same(value, decoded)
    for name in ("__dict__", "maxlen", "is_safe"):
        assert getattr(value, name, None) == getattr(decoded, name, None)


def test_slots_of_a_subclass_come_back() -> None:
    """They are part of the value, though equality does not look at them."""
    value = with_state(Label("bonjour"), language="fr")

    assert CODEC.decode(CODEC.encode(value, "w")).language == "fr"


def test_a_moment_keeps_its_fold_and_the_name_of_its_zone() -> None:
    """Equality of datetimes looks at neither."""
    moment = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

    decoded = CODEC.decode(CODEC.encode(moment, "w"))

    assert (1, moment.tzinfo) == (decoded.fold, decoded.tzinfo)


def test_a_nan_comes_back_as_a_nan() -> None:
    """It equals nothing, so the other tests cannot tell."""
    assert math.isnan(CODEC.decode(CODEC.encode([math.nan], "w"))[0])


SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes(timezones=st.just(UTC) | st.none())
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([*Color, *Access, *Level])
)
KEY = st.recursive(
    st.none() | st.integers() | st.text() | st.binary() | st.uuids(),
    lambda key: st.tuples(key, key) | st.frozensets(key, max_size=3),
    max_leaves=4,
)
VALUE: st.SearchStrategy[Any] = st.recursive(
    SCALAR | KEY,
    lambda value: (
        st.lists(value, max_size=4)
        | st.dictionaries(st.text(), value, max_size=4)
        | st.dictionaries(KEY, value, max_size=4)
        | st.tuples(value, value)
        | st.builds(Pair, value, value)
        | st.builds(deque, st.lists(value, max_size=3))
        | st.builds(Stack, st.lists(value, max_size=3))
    ),
    max_leaves=20,
)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUE)
def test_any_nest_of_values_comes_back_with_its_types(value: Any) -> None:
    """Whatever people put together out of the values above."""
    decoded = CODEC.decode(DATA_ONLY.encode(value, "w"))

    assert same(value, decoded)


@pytest.mark.parametrize(
    ("value", "encoding"),
    [(1, "plain"), ([{"a": None}], "plain"), ((1,), "typed"), (Plain(1), "pickle")],
)
def test_the_simplest_exact_form_is_taken(value: Any, encoding: str) -> None:
    """Plain before typed before pickle: each is dearer and less safe than the one before."""
    payload = CODEC.encode(value, "w")

    assert encoding == payload.encoding
    assert value == CODEC.decode(payload)


@pytest.mark.parametrize(("value", "expected"), [(1, True), ("a", True), ([], False)])
def test_scalars_pass_through(value: Any, expected: bool) -> None:
    """They are their own replay."""
    assert CODEC.passes_through(value) is expected


def local_value() -> Any:
    """An instance of a class that no name leads to."""

    class Local(NamedTuple):
        x: int

    return Local(1)


class Odd(tzinfo):
    """A time zone that is code."""

    dst = tzname = None  # type: ignore[assignment]  # nobody asks

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)


class Ghost(Enum):
    """Makes members that are not in its table."""

    REAL = 1

    @classmethod
    def _missing_(cls, value: object) -> "Ghost":
        made = object.__new__(cls)
        made._value_ = str(value)  # type: ignore[assignment]  # not of the type of `REAL`
        made._name_ = "made"
        return made


@pytest.mark.parametrize(
    "value",
    [
        Plain(1),
        local_value(),
        datetime(2026, 1, 2, tzinfo=Odd()),
        with_state(defaultdict(), default_factory=Plain),
        Ghost("x"),
    ],
    ids=["class", "local class", "time zone", "factory", "enum member"],
)
def test_what_only_its_own_code_could_rebuild_is_not_data(value: Any) -> None:
    """G13: data does not run code."""
    with pytest.raises(EncodeError):
        CODEC.encode_data(value, "memory value 'a'")


@pytest.mark.parametrize("factory", [lambda: 0, Plain], ids=["lambda", "class"])
def test_a_defaultdict_with_a_factory_of_the_users_is_pickled(
    factory: Callable[..., Any],
) -> None:
    """Its factory is code."""
    payload = CODEC.encode(defaultdict(factory, a=1), "w")

    assert payload.encoding == "pickle"
    assert CODEC.decode(payload)["a"] == 1


@pytest.mark.parametrize("value", [memoryview(b"x"), [memoryview(b"x")]], ids=["it", "part"])
def test_a_view_of_bytes_is_refused_though_it_can_be_pickled(value: Any) -> None:
    """The pickle is one of bytes: the next life would get another type."""
    with pytest.raises(EncodeError, match=r"memoryview.* does not come back as one"):
        CODEC.encode(value, "it")


def test_a_refused_part_is_named_with_its_place() -> None:
    """The author of a large value must find the part that is in the way."""
    value = [1, 2, {"bad": (0, {b"k": Plain(1)})}]

    with pytest.raises(EncodeError) as caught:
        DATA_ONLY.encode(value, "result of shop:charge")

    assert str(caught.value) == (
        "result of shop:charge at [2]['bad'][1][b'k'] "
        f"({__name__}.Plain) cannot be recorded: its type is not data that can be read back "
        "without running its code. "
        "Use plain data, a dataclass, a pydantic model or a msgspec struct instead."
    )


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({(1, 2): Odd()}, "[...]"),
        (frozenset({(1, Odd())}), "{...}[1]"),
        (with_state(Celsius(1.0), owner=Odd()), ".owner"),
    ],
)
def test_places_lead_through_keys_elements_and_attributes(value: Any, place: str) -> None:
    """Every kind of container shows where the part lies."""
    with pytest.raises(EncodeError) as caught:
        DATA_ONLY.encode(value, "it")

    assert caught.value.what == f"it at {place}"


def test_what_may_be_a_function_that_is_called_for_an_error_only() -> None:
    """The hot path formats no text."""
    CODEC.encode(1, lambda: pytest.fail("not an error"))

    with pytest.raises(EncodeError, match=r"^the result "):
        DATA_ONLY.encode(Plain(1), lambda: "the result")
    with pytest.raises(PayloadTooLargeError, match=r"^the result "):
        Codec(max_bytes=1).encode("abc", lambda: "the result")


def nested(levels: int, wrap: Callable[[Any], Any], core: Any = 1) -> Any:
    """A value within containers."""
    for _ in range(levels):
        core = wrap(core)
    return core


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "list": lambda core: [core],
    "tuple": lambda core: (core,),
    "dict": lambda core: {"a": core},
    "pairs": lambda core: {1: core},
    "attribute": lambda core: with_state(Count(1), core=core),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_values_nest_a_hundred_levels(wrap: Callable[[Any], Any]) -> None:
    """At the bound they come back, beyond it they are refused; never a RecursionError."""
    value = nested(100, wrap)

    assert value == CODEC.decode(CODEC.encode(value, "w"))
    for levels in (101, 50_000):
        with pytest.raises(EncodeError, match="nests deeper than 100 levels") as caught:
            CODEC.encode(nested(levels, wrap), "w")
        assert len(str(caught.value)) < 500


def test_a_cycle_is_refused() -> None:
    """It has no end that could be written."""
    cycle: dict[str, Any] = {}
    cycle["self"] = [cycle, cycle]

    with pytest.raises(EncodeError, match="contains itself"):
        CODEC.encode(cycle, "w")


def at_the_end_of_the_stack(act: Callable[[], object]) -> None:
    """Act with hardly any frames left."""

    def descend(left: int) -> None:
        if left:
            descend(left - 1)
        else:
            act()

    depth, frame = 0, sys._getframe()  # noqa: SLF001 - counts the frames in use
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    descend(sys.getrecursionlimit() - depth - 60)


@pytest.mark.parametrize("value", [nested(99, WRAPPERS["list"]), nested(99, WRAPPERS["tuple"])])
def test_a_stack_that_runs_out_is_an_error_of_ours(value: Any) -> None:
    """The caller may stand deep in a recursion of its own."""
    payload = CODEC.encode(value, "w")

    def encode() -> None:
        with pytest.raises(EncodeError, match="stack"):
            CODEC.encode(value, "w")

    at_the_end_of_the_stack(encode)
    if payload.encoding == "typed":

        def decode() -> None:
            with pytest.raises(DecodeError):
                CODEC.decode(payload)

        at_the_end_of_the_stack(decode)


class Stubborn:
    """Pickle takes it and cannot bring it back."""

    def __init__(self, needed: int) -> None:
        self.needed = needed

    def __reduce__(self) -> Any:
        return Stubborn, ()


class Holder:
    def __init__(self, part: Any) -> None:
        self.part = part


@pytest.mark.parametrize(
    ("value", "place", "name"),
    [
        (threading.Lock(), "", "_thread.lock"),
        ([1, {"a": (0, threading.Lock())}], " at [1]['a'][1]", "_thread.lock"),
        (Holder([threading.Lock()]), " at .part[0]", "_thread.lock"),
        ([Stubborn(1)], " at [0]", f"{__name__}.Stubborn"),
    ],
)
def test_what_pickle_refuses_is_named_with_its_place(value: Any, place: str, name: str) -> None:
    """G8: found when it is recorded, not after the crash."""
    with pytest.raises(EncodeError) as caught:
        CODEC.encode(value, "w")

    assert (f"w{place}", name) == (caught.value.what, caught.value.type_name)
    assert "pickle refuses it (TypeError: " in caught.value.problem
    assert isinstance(caught.value.__cause__, TypeError)


def test_the_search_for_what_pickle_refuses_ends_in_a_cycle() -> None:
    """An object may hold itself."""
    holder = Holder([])
    holder.part += [holder, threading.Lock()]

    with pytest.raises(EncodeError):
        CODEC.encode(holder, "w")


def test_refused_pickles_are_neither_written_nor_read() -> None:
    """G13: the payload is not even looked at."""
    payload = CODEC.encode(Plain(1), "w")

    with pytest.raises(EncodeError):
        DATA_ONLY.encode(Plain(1), "w")
    with pytest.raises(DecodeError, match='pickle="refuse"'):
        DATA_ONLY.decode(payload)


@pytest.mark.parametrize("value", [1, (1,), Plain(1), "a" * 50_000], ids=["1", "2", "3", "4"])
@pytest.mark.parametrize("pickle", ["allow", "signed"])
def test_a_signed_payload_comes_back(value: Any, pickle: Any) -> None:
    """With the secret, every payload is signed, whatever its form."""
    codec = Codec(pickle=pickle, secret=b"key")

    payload = codec.encode(value, "w")

    assert payload.encoding.endswith("+hmac")
    assert value == codec.decode(payload)


@pytest.mark.parametrize("value", [1, (1,), Plain(1)], ids=["plain", "typed", "pickle"])
def test_a_payload_that_was_tampered_with_is_not_decoded(value: Any) -> None:
    """Neither its bytes nor its encoding may change, and unsigned ones are refused."""
    codec = Codec(pickle="signed", secret=b"key")
    signed = codec.encode(value, "w")
    flipped = bytes([signed.data[-1] ^ 1])

    for forged in (
        Payload(signed.encoding, signed.data[:-1] + flipped),
        Payload("typed+zlib+hmac", signed.data),
        Payload("hmac", signed.data),
        Payload(signed.encoding, b""),
        Payload("\ud800+hmac", signed.data),
        Codec(secret=b"other").encode(value, "w"),
        CODEC.encode(value, "w"),
    ):
        with pytest.raises(DecodeError, match="not signed with this codec's secret"):
            codec.decode(forged)


def test_a_signed_payload_needs_the_secret() -> None:
    """The message says what is missing."""
    with pytest.raises(DecodeError, match="give the codec the secret"):
        CODEC.decode(Codec(secret=b"key").encode(1, "w"))


@pytest.mark.parametrize("form", [str, tuple], ids=["plain", "typed"])
def test_a_large_payload_is_compressed(form: type[Any]) -> None:
    """Model answers are text, which shrinks."""
    value = form("abc " * 10_000)

    payload = CODEC.encode(value, "w")

    assert payload.encoding.endswith("+zlib")
    assert len(payload.data) < 1_000
    assert value == CODEC.decode(payload)


def test_what_does_not_shrink_is_not_compressed() -> None:
    """Reading it would cost time for nothing."""
    noise = zlib.compress(bytes(range(256)) * 4)
    codec = Codec(compress_above=0)

    assert codec.encode(noise, "w").encoding == "plain"
    assert Codec(compress_above=None).encode("a" * 50_000, "w").encoding == "plain"


def test_a_large_value_that_does_not_shrink_is_told_by_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop waits while a payload is compressed: 30 ms for a megabyte of an image."""
    compress, tried = zlib.compress, list[int]()

    def counted(data: bytes, level: int) -> bytes:
        tried.append(len(data))
        return compress(data, level)

    monkeypatch.setattr(zlib, "compress", counted)
    noise = random.Random(1).randbytes(10**6)  # noqa: S311 -- the same each time

    assert CODEC.encode(noise, "w").encoding == "plain"
    assert sum(tried) < len(noise) / 50
    assert CODEC.encode(bytes(10**6) + noise, "w").encoding == "plain+zlib"
    assert CODEC.encode(noise + bytes(10**6), "w").encoding == "plain+zlib"


def test_a_payload_beyond_the_limit_is_refused() -> None:
    """The limit counts what the value takes before compression."""
    codec = Codec(max_bytes=1_000)
    assert codec.encode("a" * 997, "w").data

    with pytest.raises(PayloadTooLargeError, match=r"^w takes 1,001 bytes, the limit is 1,000"):
        codec.encode("a" * 998, "w")


@pytest.mark.parametrize(
    "data",
    [
        zlib.compress(b"\x90" * 2_000),
        zlib.compress(b"\x01") + b"more",
        zlib.compress(b"\x01")[:-1],
        b"no zlib",
    ],
    ids=["bomb", "trailing bytes", "cut off", "not compressed"],
)
def test_what_does_not_unpack_as_written_is_refused(data: bytes) -> None:
    """A small payload must not fill the memory."""
    with pytest.raises(DecodeError):
        Codec(max_bytes=1_000).decode(Payload("plain+zlib", data))


def test_a_payload_at_the_limit_unpacks() -> None:
    """The end of the stream may lie behind the last byte."""
    codec = Codec(max_bytes=1_003, compress_above=10)
    payload = codec.encode("a" * 1_000, "w")

    assert payload.encoding == "plain+zlib"
    assert codec.decode(payload) == "a" * 1_000


@pytest.mark.rows("SE-15")
@pytest.mark.parametrize("encoding", ["", "new", "plain+zstd", "plain+zlib+zlib", "failure"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    """No silent acceptance of what a newer version wrote."""
    with pytest.raises(DecodeError):
        CODEC.decode(Payload(encoding, b"\x01"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"pickle": "maybe"},
        {"pickle": "signed"},
        {"secret": b""},
        {"max_bytes": 0},
        {"compress_above": -1},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: Any) -> None:
    """A codec that looks safe must be."""
    with pytest.raises(ValueError, match=r"pickle|max_bytes"):
        Codec(**arguments)


class Salted(Codec):
    """A subclass with slots and attributes of its own."""

    __slots__ = ("__dict__", "salt")

    def __init__(self, salt: bytes) -> None:
        super().__init__(secret=b"secret")
        self.salt = salt
        self.name = "salted"


def test_a_codec_of_the_users_own_stays_itself_when_it_is_bound_to_a_run() -> None:
    """With all that it was made with."""
    bound = Salted(b"salt").for_run(Blobs())

    assert (Salted, b"salt", "salted") == (type(bound), bound.salt, bound.name)
    assert 7 == Salted(b"other").decode(bound.encode(7, "a number"))


def test_a_codec_for_a_run_has_all_that_its_codec_has() -> None:
    """It is copied by name; a slot that is added later must not be forgotten."""
    slots = [name for cls in Codec.__mro__ for name in cls.__dict__.get("__slots__", ())]

    bound = Codec(secret=b"secret").for_run(Blobs())

    assert [] == [name for name in slots if not hasattr(bound, name)]


class Narrow(Codec):
    """A subclass that keeps something in a slot, and nothing beside."""

    __slots__ = ("name",)


def test_a_codec_for_a_run_has_the_slots_of_its_class() -> None:
    """Where the class has no room for anything else."""
    narrow = Narrow()
    narrow.name = "mine"

    assert "mine" == narrow.for_run(Blobs()).name
