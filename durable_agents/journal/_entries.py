"""The persisted facts of a run, and how a group of them becomes bytes.

What is on disk is API: a tag is never given to another entry, fields are only added at the end
and with a default, so that journals of every release stay readable (`tests/history`).

One row of the journal holds the entries that belong together and become durable together: the
start of an action travels with the action's first record, the end of a run with its last
action. A row is a CRC-32 over run number and content, then the content: MessagePack, an array
of entries, each an array that begins with its tag.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar
from zlib import crc32

import msgspec

from durable_agents.errors import StoreDamagedError
from durable_agents.serialization import Payload

__all__ = [
    "BATCH_BITS",
    "ActionCompleted",
    "ActionFailed",
    "ActionStarted",
    "CallAbandoned",
    "CallBegun",
    "CallResolved",
    "CallRetried",
    "CallSettled",
    "CallsCleared",
    "CancelRequested",
    "DeliveredOutOfOrder",
    "Entry",
    "MemoryUpdate",
    "RunAccepted",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunParked",
    "RunRetried",
    "RunTakenOver",
    "SentEvent",
    "batch_of",
    "decode_blob",
    "decode_memory",
    "decode_output",
    "decode_row",
    "encode_blob",
    "encode_cell",
    "encode_row",
]

T = TypeVar("T")


class MemoryUpdate(msgspec.Struct, frozen=True, array_like=True):
    """One change of one path of a memory."""

    path: str
    """Dotted path from the root of the memory."""
    kind: Literal["value", "object", "deleted"]
    """A value was set, an empty object was made, or the path and all below it were deleted."""
    payload: Payload | None = None
    """The encoded value; None unless `kind` is `"value"`."""


class SentEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event that an action sent: on to other actions, or out of the agent."""

    event_id: str
    payload: Payload
    at: float = 0.0
    """When it was sent; kept for outputs, other events take effect with their action."""


class RunAccepted(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """An input was taken in; it will run to its end."""

    run_id: str
    agent: str
    key: str
    input: Payload
    """The input value; or, with `is_event`, the event that was handed in for it."""
    at: float
    """Seconds since 1970-01-01 UTC, as in every other entry."""
    is_event: bool = False
    """Whether the input is an event of its own rather than the value of an `InputEvent`."""


class RunTakenOver(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A worker took up a run that an earlier one left unfinished."""

    worker: str
    at: float


class ActionStarted(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """An action began; written with the first record of the action, never alone."""

    action: int
    """Number of the action run within the run, from 0; later entries refer to it."""
    event: int
    """Number of the event within the run: 0 is the input, the others in the order sent."""
    name: str
    """Name of the action in the plan."""
    short_term: dict[str, MemoryUpdate]
    """Short-term memory as the action saw it, by path, so that a replay reads the same."""
    python: str
    """Minor version of Python that ran it (`"3.11"`); another one may order tasks otherwise."""
    at: float


class CallBegun(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """A guarded call is about to take effect: from here on it is in doubt until it settles."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    preview: str
    attempt: int
    at: float


class CallSettled(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """A call returned or raised; its outcome never changes again."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    preview: str
    """The arguments for people: bounded, not decodable."""
    failed: bool
    """Whether the payload is an exception."""
    payload: Payload
    attempt: int
    """The attempt that settled it, from 1."""
    guarded: bool
    """Whether the call must not be repeated in silence: it declared a reconciler, or an
    `on_interrupt` other than `"rerun"`."""
    at: float


class CallAbandoned(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The action's own code gave the call up (a timeout, a lost race): a fact, no value."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    preview: str
    guarded: bool
    at: float


class CallRetried(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """An attempt failed and another one follows: the budget holds over restarts."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    attempt: int
    error: Payload
    at: float


class CallsCleared(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The code changed: what is recorded from here on no longer counts.

    That is the records of the branch from `position` on, and those of the branches that it
    started later.
    """

    action: int
    branch: str
    position: int
    difference: str
    """What was recorded and what the code did instead, for people."""
    at: float


class DeliveredOutOfOrder(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A replay handed this outcome over before one that had been recorded earlier."""

    action: int
    branch: str
    position: int
    overtaken_branch: str
    overtaken_position: int
    at: float


class ActionCompleted(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """An action returned: its events, outputs and memory updates take effect together."""

    action: int
    event: int
    name: str
    events: list[SentEvent]
    """Events for other actions, in the order sent; outputs are kept beside the journal."""
    outputs: int
    """How many outputs it sent."""
    sensory: list[MemoryUpdate]
    short_term: list[MemoryUpdate]
    at: float


class ActionFailed(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """An attempt of an action raised and another one follows."""

    action: int
    attempt: int
    error: Payload
    at: float


class RunCompleted(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Every action of the run has completed."""

    at: float


class RunFailed(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """An action failed for good; the run is kept as a dead letter."""

    action: int
    """The action run that failed; -1 where none had started."""
    error: Payload
    at: float
    blocks_key: bool = False
    """Whether later inputs of the key wait until a person has decided."""


class RunParked(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """The run waits for a person."""

    reason: str
    at: float


class RunCancelled(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """The run was given up by a person or by its parent."""

    reason: str
    at: float


class RunRetried(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """A person put the run back to work: what had not completed starts again."""

    at: float


class CallResolved(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """A person decided that a call in doubt is to be made again."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    at: float


class CancelRequested(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """The action was told to stop; a replay tells it at the same place among the outcomes."""

    action: int
    reason: str
    at: float


Entry: TypeAlias = (
    RunAccepted
    | RunTakenOver
    | ActionStarted
    | CallBegun
    | CallSettled
    | CallAbandoned
    | CallRetried
    | CallsCleared
    | DeliveredOutOfOrder
    | ActionCompleted
    | ActionFailed
    | RunCompleted
    | RunFailed
    | RunParked
    | RunCancelled
    | RunRetried
    | CallResolved
    | CancelRequested
)

BATCH_BITS = 20
"""A row's number is its transaction's number, then this many bits of its index in there."""
_CHECKSUM_BYTES = 4
_encode = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_decode_event = msgspec.msgpack.Decoder(SentEvent).decode
_decode_payload = msgspec.msgpack.Decoder(Payload).decode
_decode_update = msgspec.msgpack.Decoder(MemoryUpdate).decode


def batch_of(seq: int) -> int:
    """Number of the transaction that committed the row with this number."""
    return seq >> BATCH_BITS


def encode_row(run: int, entries: list[Entry]) -> bytes:
    """Bytes of one journal row.

    Args:
        run: Number of the run in its store; a row moved to another run fails its checksum.
        entries: What happened, in order.
    """
    content = _encode(entries)
    return crc32(content, run & 0xFFFFFFFF).to_bytes(_CHECKSUM_BYTES, "little") + content


def decode_row(run: int, row: bytes, store: str) -> list[Entry]:
    """Entries of one journal row.

    Args:
        run: Number of the run that the row is filed under.
        row: What `encode_row` made.
        store: Name of the store, for the error.

    Raises:
        StoreDamagedError: The row is not what was written. Nothing is skipped or repaired.
    """
    return _unseal(run, row, _decode_entries, store, f"an entry of run number {run}")


def encode_cell(run: int, cell: SentEvent | MemoryUpdate) -> bytes:
    """Bytes of an output (under its run's number) or of a path of memory (under 0)."""
    content = _encode(cell)
    return crc32(content, run & 0xFFFFFFFF).to_bytes(_CHECKSUM_BYTES, "little") + content


def decode_output(run: int, cell: bytes, store: str) -> SentEvent:
    """An output, or StoreDamagedError."""
    return _unseal(run, cell, _decode_event, store, f"an output of run number {run}")


def decode_memory(cell: bytes, store: str) -> MemoryUpdate:
    """A path of memory, or StoreDamagedError."""
    return _unseal(0, cell, _decode_update, store, "a memory value")


def encode_blob(run: int, name: bytes, payload: Payload) -> bytes:
    """Bytes of a blob; one moved to another run or name fails its checksum."""
    content = _encode(payload)
    return crc32(content, _blob_seed(run, name)).to_bytes(_CHECKSUM_BYTES, "little") + content


def decode_blob(run: int, name: bytes, body: bytes, store: str) -> Payload:
    """A blob, or StoreDamagedError."""
    if type(name) is not bytes:
        problem = f"a blob of run number {run} has no name: restore the store from a backup"
        raise StoreDamagedError(store, problem)
    what = f"blob {name.hex()} of run number {run}"
    return _unseal(_blob_seed(run, name), body, _decode_payload, store, what)


def _blob_seed(run: int, name: bytes) -> int:
    return crc32(name, run & 0xFFFFFFFF)


def _unseal(run: int, sealed: bytes, decode: Callable[[bytes], T], store: str, what: str) -> T:
    if type(sealed) is not bytes:  # a damaged page gives values of any type
        problem = f"{what} is {type(sealed).__name__}: restore the store from a backup"
        raise StoreDamagedError(store, problem)
    content = sealed[_CHECKSUM_BYTES:]
    checksum = crc32(content, run & 0xFFFFFFFF).to_bytes(_CHECKSUM_BYTES, "little")
    if checksum != sealed[:_CHECKSUM_BYTES]:
        problem = f"{what} fails its checksum: restore the store from a backup"
        raise StoreDamagedError(store, problem)
    try:
        return decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem = f"{what} is of a form that this version does not know ({error})"
        raise StoreDamagedError(store, problem) from error
