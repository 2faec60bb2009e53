"""Every decoder of bytes that others could have written, with valid encodings to begin from.

Each takes any bytes, and gives a value or raises an error that it is allowed to raise. What is
sealed by a checksum is tried twice: as it is, where anything but what was written has to be
refused; and behind its seal, where bytes arrive as if they had been written so.
"""

# ruff: noqa: ANN401 - whatever is decoded

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from uuid import UUID
from zlib import crc32

import msgspec

from durable_agents import Agent, InputEvent
from durable_agents.agent import AgentPlan
from durable_agents.cli._lines import InputLines
from durable_agents.errors import DurableAgentsError, StoreDamagedError
from durable_agents.events import EventRecord
from durable_agents.journal import (
    ActionCompleted,
    ActionStarted,
    CallAbandoned,
    CallBegun,
    CallSettled,
    Entry,
    MemoryUpdate,
    RunAccepted,
    RunFailed,
    RunParked,
    SentEvent,
    decode_blob,
    decode_memory,
    decode_output,
    decode_row,
    encode_blob,
    encode_cell,
    encode_row,
)
from durable_agents.serialization import Blobs, Codec, Payload
from durable_agents.worker._control import ControlServer, reply_to

__all__ = ["Decoder", "decoders"]

_RUN = 7
_NAME = b"\x01" * 24
_MAX_BYTES = 2**20
_PLAIN = Codec(pickle="refuse", max_bytes=_MAX_BYTES)
_SIGNED = Codec(pickle="signed", secret=b"of the fuzzer", max_bytes=_MAX_BYTES)
_ENCODINGS = (
    "plain",
    "typed",
    "pickle",
    "failure",
    "failure-pickle",
    "blob",
    "chain",
    "plain+zlib",
    "typed+zlib",
    "plain+shared",
    "typed+shared",
    "typed+shared+zlib",
    "plain+hmac",
    "plain+mine",
    "",
)


_ID = UUID(int=7)


class Colour(Enum):
    """An enum within a typed value."""

    RED = 1


@dataclass
class Order:
    """A typed value."""

    number: int
    lines: tuple[str, ...] = ("a", "b")
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    price: Decimal = Decimal("1.50")
    colour: Colour = Colour.RED
    id: UUID = _ID


_VALUES: tuple[object, ...] = (
    [1, {"a": [True, 2.5, b"x", "text"]}],
    (1, {2, 3}, frozenset({4}), 2 + 1j),
    Order(1),
    {"orders": [Order(2), Order(3)], 7: "seven"},
    "word " * 4_000,
)


@dataclass(frozen=True, slots=True)
class Decoder:
    """One way for bytes to come in."""

    name: str
    read: Callable[[bytes], object]
    """Gives a value, or raises what `allowed` says."""
    seeds: list[bytes]
    """Valid encodings."""
    allowed: tuple[type[Exception], ...] = (DurableAgentsError,)
    seal: Literal["none", "checksum", "hmac"] = "none"
    """Sealed: anything but the very seeds must be refused. A checksum is no secret, and refuses
    nobody who means to forge it."""
    is_plain: bool = True
    """Whether decoding may neither import nor call anything."""

    def breach(self, data: bytes, *, forges: bool = False) -> str | None:
        """What is wrong with what comes of some bytes; None: nothing.

        Args:
            data: The bytes.
            forges: Whether they may come from somebody who forges checksums.
        """
        try:
            value = self.read(data)
        except self.allowed:
            return None
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            return f"{type(error).__name__}: {error}"
        if value is None:
            return "None in place of a value"
        is_sealed = self.seal == "hmac" or (self.seal == "checksum" and not forges)
        if is_sealed and data not in self.seeds:
            return "accepted, and nobody has sealed it"
        return None


def decoders() -> list[Decoder]:
    """All of them."""
    return [*_journal(), *_payloads(), *_control(), *_inputs()]


def _payload(value: object = "value") -> Payload:
    return _PLAIN.encode(value, "a value")


def _entries() -> list[Entry]:
    failure = _PLAIN.encode_failure(ValueError("no", 7), "a failure")
    sent = SentEvent("run/0#1", _payload(), 1.0)
    update = MemoryUpdate("a.b", "value", _payload())
    return [
        RunAccepted("run", "shop", "key", _payload(), 1.0),
        ActionStarted(0, 0, "act", {"a": update}, "3.11", 1.0),
        CallBegun(0, "", 0, "charge", b"digest", "charge(1)", 1, 1.0),
        CallSettled(0, "", 0, "charge", b"digest", "", False, _payload(), 1, True, 1.0),
        CallAbandoned(0, "/1", 1, "look", b"digest", "look()", False, 1.0),
        ActionCompleted(0, 0, "act", [sent], 1, [update], [update], 1.0),
        RunFailed(0, failure, 1.0),
        RunParked("why", 1.0),
    ]


def _sealed(
    name: str, seed: int, read: Callable[[bytes], object], seeds: list[bytes]
) -> Iterator[Decoder]:
    """A decoder behind a checksum, with and without it."""
    damaged = (StoreDamagedError,)
    yield Decoder(name, read, seeds, damaged, "checksum")

    def read_behind(content: bytes) -> object:
        return read(crc32(content, seed).to_bytes(4, "little") + content)

    yield Decoder(f"{name}, sealed anew", read_behind, [s[4:] for s in seeds], damaged)


def _journal() -> Iterator[Decoder]:
    entries = _entries()
    rows = [encode_row(_RUN, [entry]) for entry in entries] + [encode_row(_RUN, entries)]
    yield from _sealed("row", _RUN, lambda data: decode_row(_RUN, data, "a store"), rows)
    sent = [encode_cell(_RUN, SentEvent("run/0#1", _payload(), 1.0))]
    yield from _sealed(
        "output cell", _RUN, lambda data: decode_output(_RUN, data, "a store"), sent
    )
    updates = [encode_cell(0, MemoryUpdate("a.b", "value", _payload()))]
    yield from _sealed("memory cell", 0, lambda data: decode_memory(data, "a store"), updates)
    blobs = [encode_blob(_RUN, _NAME, _payload("x" * 500))]
    yield from _sealed(
        "blob",
        crc32(_NAME, _RUN),
        lambda data: decode_blob(_RUN, _NAME, data, "a store"),
        blobs,
    )


def _payloads() -> Iterator[Decoder]:
    """Payloads: the first byte says which encoding they claim to have, the rest is data."""
    encoded = [_PLAIN.encode(value, "a value") for value in _VALUES]
    failure = _PLAIN.encode_failure(ValueError("no", Order(1)), "a failure")
    seeds = [_as_bytes(payload) for payload in [*encoded, failure]]
    # A payload may well stand for None: wrapped, so that it is not taken for nothing.
    yield Decoder("payload", lambda data: [_PLAIN.decode(_as_payload(data))], seeds)
    yield Decoder(
        "payload as data", lambda data: [_PLAIN.decode_data(_as_payload(data))], seeds
    )
    yield Decoder(
        "payload as failure", lambda data: _PLAIN.decode_failure(_as_payload(data)), seeds
    )
    signed = [_SIGNED.encode(value, "a value").data for value in ([1, 2], "text")]
    signed += [_SIGNED.encode(_unfindable(), "a value").data]
    yield Decoder(
        "signed payload",
        lambda data: [_SIGNED.decode(Payload("plain+hmac", data))],
        signed[:2],
        seal="hmac",
    )
    yield Decoder(
        "signed pickle",
        lambda data: [_SIGNED.decode(Payload("pickle+hmac", data))],
        signed[2:],
        seal="hmac",
        is_plain=False,
    )
    yield from _shared()


def _unfindable() -> object:
    return lambda: 1  # only a pickle can hold it


def _shared() -> Iterator[Decoder]:
    """A value that refers to blobs; what is fuzzed is the value, then one of the blobs."""
    blobs = Blobs()
    codec = _PLAIN.for_run(blobs)
    messages = [f"message {number} " + "word " * 60 for number in range(40)]
    values = [codec.shared(codec.encode(messages[:n], "a value")) for n in (20, 40)]
    stored = blobs.take_new()
    tops = [value.data for value in values]

    def read_value(data: bytes) -> object:
        reader = _PLAIN.for_run(Blobs(stored))
        return [reader.decode(Payload("plain+shared", data))]

    yield Decoder("shared payload", read_value, tops)
    for number, (name, blob) in enumerate(stored.items(), start=1):

        def read_blob(data: bytes, name: bytes = name, form: str = blob.encoding) -> object:
            reader = _PLAIN.for_run(Blobs({**stored, name: Payload(form, data)}))
            return [reader.decode(values[-1])]

        yield Decoder(f"{blob.encoding} {number} of a value", read_blob, [blob.data])


def _as_bytes(payload: Payload) -> bytes:
    return bytes([_ENCODINGS.index(payload.encoding)]) + payload.data


def _as_payload(data: bytes) -> Payload:
    first = data[0] if data else 0
    return Payload(_ENCODINGS[first % len(_ENCODINGS)], data[1:])


def _control() -> Iterator[Decoder]:
    async def execute(command: object) -> int:  # noqa: ARG001 -- the server's port
        return 3

    server = ControlServer(Path("nowhere"), execute)
    commands = [
        {"type": "cancel", "run": "run-1", "reason": "why"},
        {"type": "retry", "run": "run-1", "repeat_failed": True},
        {"type": "resolve", "run": "run-1", "call": "0:act:root:0", "value": [1, {"a": 2}]},
        {"type": "prune", "keep": 3, "older_than": 1.5},
    ]
    requests = [msgspec.json.encode({"version": 1, "command": c}) for c in commands]
    yield Decoder(
        "control request",
        lambda line: _result(server.answer(line)),
        requests,
        (),
    )
    replies = [
        {"version": 1, "result": 3},
        {"version": 1, "error": "RunStateError", "arguments": ["run-1", "it is completed"]},
        {"version": 1, "error": "UnknownRunError", "arguments": ["run-1"]},
        {"version": 1, "error": "StoreFullError", "arguments": ["store", "full"]},
        {"version": 1, "error": "RunAborted", "arguments": ["why"]},
    ]
    yield Decoder(
        "control reply",
        lambda line: [reply_to(line, Path("nowhere"))],
        [msgspec.json.encode(reply) for reply in replies],
    )


def _result(coroutine: Coroutine[Any, Any, object]) -> object:
    """What a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    msg = "it waits for something"
    raise AssertionError(msg)


def _inputs() -> Iterator[Decoder]:
    with TemporaryDirectory() as folder:
        empty = Path(folder, "inputs.jsonl")
        empty.touch()
        lines = InputLines(empty, "key", "id")
    objects = [{"key": "k", "id": "i", "number": 1}, {"key": "k", "id": "i", "lines": [["a"]]}]
    seeds = [msgspec.json.encode(line) for line in objects]
    yield Decoder("input line", lambda line: lines.parse(2, line), seeds, ())
    agent = Agent("fuzzed", input=Order)
    agent.add_action("act", InputEvent, _act)
    plan = AgentPlan.of(agent)

    def decode_input(line: bytes) -> object:
        return plan.decode_input(msgspec.json.decode(line))

    orders = [msgspec.json.encode(Order(1))]
    unreadable = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # before it is ours
    yield Decoder("input", decode_input, orders, (DurableAgentsError, *unreadable))
    event = b'{"id":"a","type":"t","key":"k","attributes":{"a":[1]},"createdAt":1.5}'
    yield Decoder("event record", EventRecord.from_json, [event], (ValueError,))


async def _act(event: Any, ctx: Any) -> None:
    """An agent needs an action."""
