"""What is on disk is API: payloads that were written once are read for ever."""

# ruff: noqa: ANN401 - values of any type

from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from hashlib import blake2b
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest

from durable_agents.serialization import (
    Blobs,
    Codec,
    Payload,
    canonical_bytes,
    recorded_traceback,
)


class Color(Enum):
    RED = 1


class Count(int):
    pass


@dataclass
class Point:
    x: int


@attrs.define
class Size:
    x: int


class Model(pydantic.BaseModel):
    x: int


class Struct(msgspec.Struct):
    x: int


HERE = __name__
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=ZoneInfo("Europe/Berlin"))
FORMS: list[tuple[Any, Any]] = [
    ([1, {"a": None}], [1, {"a": None}]),
    (2**64, {1: b"\x00\x00\x00\x00\x00\x00\x00\x00\x01"}),
    ("\ud800", {2: b"\xed\xa0\x80"}),
    (bytearray(b"a"), {3: b"a"}),
    (1 + 2j, {4: [1.0, 2.0]}),
    (date(2026, 1, 2), {5: [2026, 1, 2]}),
    (time(1, 2, 3, 4, fold=1), {6: [[1, 2, 3, 4], 1, None]}),
    (MOMENT, {7: [[2026, 1, 2, 3, 4, 5, 6], 0, "Europe/Berlin"]}),
    (timedelta(1, 2, 3), {8: [1, 2, 3]}),
    (UTC, {9: [0, 0, 0]}),
    (timezone(timedelta(0, 60), "near"), {9: [0, 60, 0, "near"]}),
    (ZoneInfo("UTC"), {10: "UTC"}),
    (Decimal("1.10"), {11: "1.10"}),
    (UUID(int=1), {12: [bytes(15) + b"\x01", None]}),
    (PurePosixPath("/a"), {13: "/a"}),
    (PureWindowsPath("C:/a"), {14: "C:\\a"}),
    (msgspec.UNSET, {17: None}),
    (Fraction(-1, 17), {18: "-1/11"}),
    ((1, [2]), {20: [1, [2]]}),
    ({1}, {21: [1]}),
    (frozenset({1}), {22: [1]}),
    ({1: "a"}, {23: [[1, "a"]]}),
    (OrderedDict(a=1), {24: [["a", 1]]}),
    (defaultdict(list, a=[]), {25: ["list", [["a", []]]]}),
    (deque([1], 2), {26: [2, [1]]}),
    (Color.RED, {30: [f"{HERE}:Color", "RED"]}),
    (Count(1), {31: [f"{HERE}:Count", 1, {}]}),
    (Point(1), {32: [f"{HERE}:Point", {"x": 1}]}),
    (Size(1), {33: [f"{HERE}:Size", {"x": 1}]}),
    (Struct(1), {35: [f"{HERE}:Struct", {"x": 1}]}),
]
IDS = [f"{type(value).__name__} {number}" for number, (value, _) in enumerate(FORMS)]


@pytest.mark.parametrize(("value", "tree"), FORMS, ids=IDS)
def test_a_form_stays_as_it_is(value: Any, tree: Any) -> None:
    """Written so by this version, read from every one."""
    payload = Codec().encode(value, "w")

    assert tree == msgspec.msgpack.decode(payload.data)
    assert value == Codec().decode(Payload("typed", msgspec.msgpack.encode(tree)))


def test_the_form_of_a_pydantic_model_stays_as_it_is() -> None:
    """It keeps more than fields."""
    tree = {
        34: [
            f"{HERE}:Model",
            {
                "__pydantic_extra__": None,
                "__pydantic_fields_set__": {21: ["x"]},
                "__pydantic_private__": None,
                "x": 1,
            },
        ]
    }

    assert tree == msgspec.msgpack.decode(Codec().encode(Model(x=1), "w").data)
    assert Model(x=1) == Codec().decode(Payload("typed", msgspec.msgpack.encode(tree)))


def test_the_form_of_a_failure_stays_as_it_is() -> None:
    """One record for each exception; they refer to each other by number."""
    records = [
        {
            "type": "builtins:ExceptionGroup",
            "text": "g (1 sub-exception)",
            "args": ["g", [{50: 1}]],
            "attributes": {"note": 1},
            "message": "g",
            "group": [1],
            "cause": 1,
            "is_context_suppressed": True,
            "lost": ["something"],
            "traceback": "the traceback",
        },
        {
            "type": "builtins:FileNotFoundError",
            "args": [2, "no"],
            "members": {"errno": 2, "strerror": "no", "filename": "f"},
            "context": 0,
        },
    ]

    back: Any = Codec().decode_failure(Payload("failure", msgspec.msgpack.encode(records)))

    inner = back.exceptions[0]
    assert ("g", 1, ["durable_agents: something"]) == (back.message, back.note, back.__notes__)
    assert inner is back.__cause__ is back.args[1][0]
    assert "[Errno 2] no: 'f'" == str(inner)
    assert back is inner.__context__
    assert recorded_traceback(back) == "the traceback"
    group = ExceptionGroup("g", [FileNotFoundError(2, "no", "f")])
    written = msgspec.msgpack.decode(Codec().encode_failure(group, "w").data)
    assert written == [
        {
            "type": "builtins:ExceptionGroup",
            "text": "g (1 sub-exception)",
            "args": ["g", [{50: 1}]],
            "message": "g",
            "group": [1],
            "traceback": written[0]["traceback"],
        },
        {
            "type": "builtins:FileNotFoundError",
            "text": "[Errno 2] no: 'f'",
            "args": [2, "no"],
            "members": {"errno": 2, "strerror": "no", "filename": "f"},
        },
    ]


def test_the_form_of_a_shared_value_stays_as_it_is() -> None:
    """A part, a list, a longer one, and what refers to them."""
    blobs = Blobs()
    codec = Codec(share_above=64, secret=None).for_run(blobs)
    first = [{"text": "a" * 300}, "b" * 40, "c" * 40]
    second = [*first, "d" * 60]

    payloads = [codec.shared(codec.encode(value, "w")) for value in (first, {"list": second})]

    encode, ext = msgspec.msgpack.encode, msgspec.msgpack.Ext
    part = encode("a" * 300)
    part_name = blake2b(part, digest_size=24, person=b"blob").digest()
    element = {"text": ext(1, part_name)}
    short_step = encode([element, "b" * 40, "c" * 40])
    long_step = encode([element, "b" * 40, "c" * 40, "d" * 60])
    names = [
        blake2b(step, digest_size=24, person=b"chain").digest()
        for step in (short_step, long_step)
    ]
    assert blobs.take_new() == {
        part_name: Payload("blob", part),
        names[0]: Payload("chain", encode([b"", 0, [short_step]])),
        names[1]: Payload("chain", encode([b"", 0, [long_step]])),
    }
    assert payloads == [
        Payload("plain+shared", encode(ext(2, names[0]))),
        Payload("plain+shared", encode({"list": ext(2, names[1])})),
    ]


def test_the_form_of_a_list_that_grew_stays_as_it_is() -> None:
    """Where the earlier one is found, how many of its steps count, and the new ones."""
    blobs = Blobs()
    codec = Codec(share_above=400, secret=b"secret").for_run(blobs)
    step, new = (msgspec.msgpack.encode([letter * 300]) for letter in "ab")

    payloads = [
        codec.shared(codec.encode(list(t), "w"))
        for t in (["a" * 300] * 2, ["a" * 300, "b" * 300])
    ]

    key = blake2b(b"durable_agents content\0secret").digest()

    def state(before: bytes, after: bytes) -> bytes:
        return blake2b(before + after, digest_size=24, person=b"chain", key=key).digest()

    first = state(state(b"", step), step)
    second = state(state(b"", step), new)
    found = blobs.take_new()
    assert [first, second] == list(found)
    contents = [(b.encoding, msgspec.msgpack.decode(b.data[32:])) for b in found.values()]
    assert [
        ("chain+hmac", [b"", 0, [step, step]]),
        ("chain+hmac", [first, 1, [new]]),
    ] == contents
    assert ["plain+shared+hmac"] * 2 == [payload.encoding for payload in payloads]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, "a", 1.5], b"p\x93\x01\xa1a\xcb?\xf8\x00\x00\x00\x00\x00\x00"),
        ([{"b": 1, "a": 2}], b"p\x91\x82\xa1a\x02\xa1b\x01"),
        (({"b", "a"},), b"t\x81\x14\x91\x81\x15\x92\xa1a\xa1b"),
        ({2: 1, 1: 2}, b"t\x81\x17\x92\x92\x01\x02\x92\x02\x01"),
        (len, b"t\x81\x28\xacbuiltins:len"),
    ],
    ids=["scalars", "plain", "set", "pairs", "function"],
)
def test_canonical_bytes_stay_as_they_are(value: Any, expected: bytes) -> None:
    """A digest that changes with a release would repeat every call of an open run."""
    assert expected == canonical_bytes(value, "w")
