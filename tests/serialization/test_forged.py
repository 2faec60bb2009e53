"""Bytes that nobody of ours wrote."""

# ruff: noqa: ANN401 - values of any type

import sys
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from durable_agents.errors import DecodeError
from durable_agents.serialization import Codec, Payload

CODEC = Codec(pickle="refuse")
ENCODINGS = st.sampled_from(["plain", "typed", "typed+zlib", "pickle", "typed+hmac", "failure"])

LEAF = st.none() | st.booleans() | st.integers(-9, 99) | st.floats() | st.text() | st.binary()
NAME = st.sampled_from([
    "subprocess:Popen",
    "builtins:object",
    "builtins:dict",
    "enum:Flag",
    "enum:Enum",
    "antigravity:x",
    "os.path:join",
    "pathlib:Path",
    "builtins:ValueError",
    "builtins:OSError",
    "builtins:ExceptionGroup",
    "pydantic_core._pydantic_core:ValidationError",
    "no colon",
    "",
])
TAG = st.sampled_from([*range(1, 20), *range(20, 28), 30, 31, 32, 33, 34, 35, 40, 50, 51, 99])
TREE: st.SearchStrategy[Any] = st.recursive(
    LEAF | NAME,
    lambda tree: (
        st.lists(tree, max_size=4)
        | st.dictionaries(st.text(max_size=3), tree, max_size=3)
        | st.dictionaries(TAG, tree, min_size=1, max_size=1)
        | st.builds(lambda tag, name, rest: {tag: [name, *rest]}, TAG, NAME, st.lists(tree))
    ),
    max_leaves=12,
)
RECORD = st.fixed_dictionaries(
    {"type": NAME},
    optional={
        "text": st.text(),
        "args": st.lists(TREE, max_size=2),
        "attributes": st.dictionaries(st.text(max_size=3), TREE, max_size=2),
        "members": st.dictionaries(st.sampled_from(["errno", "start", "x"]), TREE, max_size=2),
        "message": st.text(),
        "group": st.lists(st.integers(-1, 3), max_size=2),
        "validation": TREE,
        "cause": st.integers(-1, 3),
        "context": st.integers(0, 3),
    },
)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ENCODINGS, st.binary())
@example("plain", b"\xd4\x05\x00")
@example("plain", b"\xa1\xff")
@example("typed", b"\x91" * 100_000 + b"\xc0")
@example("plain", b"\x91" * 100_000 + b"\xc0")
@example("plain", b"\xdd\xff\xff\xff\xff")
@example("typed", b"\xd6\xff\x00\x00\x00\x00")
@example("typed", b"\x81\xc3\x01")
def test_arbitrary_bytes_give_a_value_or_a_decode_error(encoding: str, data: bytes) -> None:
    """Nothing else escapes, and nothing is imported."""
    before = set(sys.modules)
    for read in (CODEC.decode, CODEC.decode_failure):
        with suppress(DecodeError):
            read(Payload(encoding, data))

    assert before == set(sys.modules)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREE)
def test_arbitrary_trees_give_a_value_or_a_decode_error(tree: Any) -> None:
    """Whatever tags, names and bodies are put together."""
    before = set(sys.modules)
    with suppress(DecodeError):
        CODEC.decode(Payload("typed", msgspec.msgpack.encode(tree)))

    assert before == set(sys.modules)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RECORD, max_size=4))
def test_arbitrary_records_give_an_exception_or_a_decode_error(records: Any) -> None:
    """Members of themselves, classes that are no exceptions, parts of the wrong type."""
    before = set(sys.modules)
    with suppress(DecodeError):
        error = CODEC.decode_failure(Payload("failure", msgspec.msgpack.encode(records)))

        assert isinstance(error, BaseException)

    assert before == set(sys.modules)


@pytest.mark.parametrize(
    "tree",
    [
        {31: ["subprocess:Popen", [], {}]},
        {31: ["builtins:bytearray", 10**12, {}]},
        {3: 10**12},
        {25: ["object", []]},
        {25: ["__import__", []]},
        {30: ["enum:Enum", "name"]},
        {32: ["builtins:object", {}]},
        {35: ["msgspec:Struct", {}, 1]},
        {99: 1},
        {5: [1, 2]},
        {5: [1, 2, "3"]},
    ],
    ids=str,
)
def test_a_forged_node_is_refused(tree: Any) -> None:
    """G13: a name in a payload is no licence to call what it names."""
    with pytest.raises(DecodeError):
        CODEC.decode(Payload("typed", msgspec.msgpack.encode(tree)))
