"""How entries become bytes, and come back.

One row of the journal holds the entries that belong together and become durable together: the
start of an action travels with the action's first record, the end of a run with its last
action. A row is a CRC-32 over run number and content, then the content: MessagePack, an array
of entries, each an array that begins with its tag.
"""

from collections.abc import Callable
from typing import TypeVar
from zlib import crc32

import msgspec

from durable_agents.errors import StoreDamagedError
from durable_agents.journal._entries import Entry, MemoryUpdate, SentEvent
from durable_agents.serialization import Payload

__all__ = [
    "BATCH_BITS",
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
