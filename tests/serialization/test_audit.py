"""What the interpreter does while a payload is decoded, by its own audit events.

An audit hook cannot be taken back, so that each case is a process of its own.
https://docs.python.org/3/library/audit_events.html
"""

import json
import subprocess
import sys
from typing import Any

import pytest

HEAD = """
import json, pickle, sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID
from durable_agents import Codec
from durable_agents.errors import DecodeError
from durable_agents.serialization import Payload

WATCHED = {"import", "exec", "compile", "pickle.find_class", "open", "os.system"}
seen, is_on = [], False

def hook(event, arguments):
    if is_on and event in WATCHED:
        seen.append(event)

@dataclass
class Order:
    number: int
    constructed: int = 0
    def __post_init__(self):
        self.constructed += 1

class Colour(Enum):
    RED = 1

class Loud(Exception):
    calls = 0
    def __init__(self, text):
        Loud.calls += 1
        super().__init__(text)

sys.addaudithook(hook)

def watched(read, payload):
    global is_on
    is_on = True
    try:
        return read(payload), None
    except DecodeError as error:
        return None, str(error)
    finally:
        is_on = False

def tell(**more):
    print(json.dumps({"seen": seen, **more}))
"""


def run(body: str) -> dict[str, Any]:
    """What a process has to tell."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", HEAD + body], capture_output=True, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_plain_and_typed_payloads_import_and_call_nothing() -> None:
    """G13: data does not run code, whether its values are plain, typed, large or failures."""
    told = run("""
codec = Codec(pickle="refuse")
values = [
    [1, {"a": [True, 2.5, b"x"]}], (1, {2}, frozenset({3})), "word " * 9_000, Order(1),
    Colour.RED, datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.5"), UUID(int=7), Path("a/b"),
]
payloads = [codec.encode(value, "a value") for value in values]
back = [watched(codec.decode, payload)[0] for payload in payloads]
failure = codec.encode_failure(Loud("no"), "a failure")
made = Loud.calls
error, _ = watched(codec.decode_failure, failure)
tell(same=back == values, constructed=Loud.calls - made, type=type(error).__name__)
""")

    assert {"seen": [], "same": True, "constructed": 0, "type": "Loud"} == told


@pytest.mark.parametrize(
    "name", ["antigravity:x", "subprocess:Popen", "builtins:eval", "x.y:z"]
)
def test_a_name_in_a_forged_payload_is_neither_imported_nor_called(name: str) -> None:
    """Whether or not its module is there."""
    told = run(f"""
import msgspec
for tag in range(1, 60):
    for body in ([{name!r}, {{}}], [{name!r}, [], {{}}], [{name!r}, "x"]):
        data = msgspec.msgpack.encode({{tag: body}})
        watched(Codec(pickle="refuse").decode, Payload("typed", data))
tell(imported="antigravity" in sys.modules)
""")

    assert {"seen": [], "imported": False} == told


PICKLED = "pickle.dumps(Decimal('1.5'))"


@pytest.mark.parametrize(
    ("codec", "payload", "problem"),
    [
        ('Codec(pickle="refuse")', f'Payload("pickle", {PICKLED})', "pickle"),
        ('Codec(pickle="refuse")', f'Payload("failure-pickle", {PICKLED})', ""),
        (
            'Codec(pickle="signed", secret=b"s")',
            f'Payload("pickle+hmac", b"x" * 32 + {PICKLED})',
            "not signed with this codec's secret",
        ),
        (
            'Codec(pickle="signed", secret=b"s")',
            f'Payload("pickle", {PICKLED})',
            "not signed with this codec's secret",
        ),
        (
            'Codec(pickle="signed", secret=b"s")',
            'Codec(pickle="signed", secret=b"other").encode(lambda: 1, "a value")',
            "not signed with this codec's secret",
        ),
    ],
    ids=["refused", "refused failure", "forged", "unsigned", "another secret"],
)
def test_a_pickle_that_may_not_be_read_is_refused_before_it_is_loaded(
    codec: str, payload: str, problem: str
) -> None:
    """`pickle.find_class` never fires: the seal is looked at first."""
    told = run(f"""
payload = {payload}
seen.clear()
value, error = watched({codec}.decode, payload)
tell(value=value, error=error)
""")

    assert [] == told["seen"]
    assert told["value"] is None
    assert problem in told["error"]


def test_a_pickle_that_may_be_read_is_seen_to_be_loaded() -> None:
    """Or not seeing it would mean nothing."""
    told = run(f"""
value, error = watched(Codec().decode, Payload("pickle", {PICKLED}))
tell(error=error)
""")

    assert "pickle.find_class" in told["seen"]
    assert told["error"] is None
