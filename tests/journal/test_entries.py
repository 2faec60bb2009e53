"""What is written is what is read, or StoreDamagedError: nothing in between."""

from typing import get_args
from zlib import crc32

import msgspec
import pytest

from durable_agents.errors import StoreDamagedError
from durable_agents.journal import (
    BATCH_BITS,
    SIGNAL,
    SLEEP,
    ActionCompleted,
    ActionFailed,
    ActionStarted,
    CallAbandoned,
    CallBegun,
    CallResolved,
    CallRetried,
    CallsCleared,
    CallSettled,
    CancelRequested,
    DeliveredOutOfOrder,
    Entry,
    MemoryUpdate,
    PromiseMade,
    RowCopied,
    RunAccepted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunForked,
    RunParked,
    RunRetried,
    RunTakenOver,
    SentEvent,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    TimerSet,
    VersionMarked,
    batch_of,
    decode_blob,
    decode_memory,
    decode_output,
    decode_row,
    encode_cell,
    encode_row,
)
from durable_agents.serialization import Payload

PAYLOAD = Payload("plain", b"\xc0")
UPDATE = MemoryUpdate("a.b", "value", PAYLOAD)
EVENT = SentEvent("run-1/0/root/0", PAYLOAD)
DIGEST = b"0123456789abcdef"

ENTRIES: list[Entry] = [
    RunAccepted("run-1", "shop", "order-7", PAYLOAD, 1.0, is_event=True),
    RunTakenOver("worker 2", 2.0),
    ActionStarted(0, 0, "charge", {"a.b": UPDATE}, "3.11", 3.0, b"\1\2\3\4\5\6\7\10"),
    CallBegun(0, "/1.fetch.0", 2, "shop:charge", DIGEST, "card='c'", 1, 4.0),
    CallSettled(0, "", 0, "shop:charge", DIGEST, "1", False, PAYLOAD, 1, True, 5.0),
    CallAbandoned(0, "", 1, "shop:charge", DIGEST, "2", False, 6.0),
    CallRetried(0, "", 2, "shop:charge", DIGEST, 1, PAYLOAD, 7.0),
    CallsCleared(0, "", 3, "recorded f(1) at root:3, now f(2)", 8.0),
    DeliveredOutOfOrder(0, "", 4, "/1.fetch.0", 0, 9.0),
    ActionCompleted(0, 0, "charge", [EVENT], 2, [UPDATE], [MemoryUpdate("c", "deleted")], 10.0),
    ActionFailed(0, 1, PAYLOAD, 11.0),
    RunCompleted(12.0),
    RunFailed(-1, PAYLOAD, 13.0),
    RunParked("a call is in doubt", 14.0, lacks_code=True),
    RunCancelled("by hand", 15.0),
    RunRetried(16.0),
    CallResolved(1, "/1.a", 2, "shop:charge", b"00ff", 17.0),
    CancelRequested(1, "by hand", 18.0),
    TimerSet(1, "", 3, SLEEP, "60 s", 79.0, 19.0),
    TimerFired(1, "", 4, SIGNAL, "go", 20.0),
    SignalAwaited(1, "/1.a", 5, "go", "'go'", None, 21.0),
    SignalReceived("go", "mail-7", PAYLOAD, 22.0),
    SignalTaken(1, "/1.a", 5, "go", 0, 23.0),
    VersionMarked(1, "/1.a", "two-quotes", 2, 24.0),
    RunForked("run-0", "0:charge:root:2", {0: "run-0"}, 26.0),
    RowCopied(3 << BATCH_BITS, 27.0),
    PromiseMade(1, "/1.a", 6, "run-0", 28.0),
]


def sealed(run: int, content: bytes) -> bytes:
    """A row that passes its checksum, whatever it holds."""
    return crc32(content, run).to_bytes(4, "little") + content


def test_there_is_an_example_of_every_entry() -> None:
    """An entry that is added later must be tried here, too."""
    assert set(get_args(Entry)) == {type(entry) for entry in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_comes_back_equal(entry: Entry) -> None:
    """Type and fields."""
    assert [entry] == decode_row(7, encode_row(7, [entry]), "shop.db")


def test_a_row_keeps_the_order_of_its_entries() -> None:
    """The end of a run travels with its last action and comes after it."""
    assert ENTRIES == decode_row(7, encode_row(7, ENTRIES), "shop.db")


def test_tags_of_entries_are_on_disk_and_never_change() -> None:
    """Each number stands for one entry for ever."""
    tags = {type(entry).__name__: entry.__struct_config__.tag for entry in ENTRIES}

    assert list(range(1, 28)) == list(tags.values())


def test_an_entry_without_its_later_fields_is_read_with_their_defaults() -> None:
    """Journals of earlier releases lack the fields that were added since."""
    accepted = [1, "run-1", "shop", "k", ["plain", b"\xc0"], 1.0]
    started, parked = [3, 0, 0, "charge", {}, "3.11", 2.0], [14, "in doubt", 3.0]
    content = msgspec.msgpack.encode([accepted, started, parked])

    assert [
        RunAccepted("run-1", "shop", "k", PAYLOAD, 1.0, is_event=False),
        ActionStarted(0, 0, "charge", {}, "3.11", 2.0, code=b""),
        RunParked("in doubt", 3.0, lacks_code=False),
    ] == decode_row(7, sealed(7, content), "shop.db")


def test_every_flipped_bit_of_a_row_is_noticed() -> None:
    """Disks and hands do it; nothing is guessed at."""
    row = encode_row(7, ENTRIES[:3])

    for bit in range(len(row) * 8):
        damaged = bytearray(row)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreDamagedError, match="an entry of run number 7 fails its check"):
            decode_row(7, bytes(damaged), "shop.db")


@pytest.mark.parametrize("length", [0, 1, 3, 4, 20])
def test_a_row_that_is_cut_short_is_noticed(length: int) -> None:
    """Even where not the whole checksum is left."""
    with pytest.raises(StoreDamagedError, match=r"store shop\.db: .* restore the store"):
        decode_row(7, encode_row(7, ENTRIES)[:length], "shop.db")


@pytest.mark.parametrize("run", [0, 8, 2**32 + 8, 2**63 - 1])
def test_a_row_that_was_moved_to_another_run_is_noticed(run: int) -> None:
    """The number of the run is part of the checksum."""
    with pytest.raises(StoreDamagedError, match="fails its checksum"):
        decode_row(run, encode_row(7, ENTRIES), "shop.db")


@pytest.mark.parametrize(
    "content",
    [
        msgspec.msgpack.encode([[99, 1.0]]),
        msgspec.msgpack.encode([["RunCompleted", 1.0]]),
        msgspec.msgpack.encode([[12]]),
        msgspec.msgpack.encode({}),
        msgspec.msgpack.encode([[12, 1.0]]) + b"\xc0",
        msgspec.msgpack.encode([[12, 1.0]])[:-1],
        b"",
        b"\x91\x93\x02\xa1\xff\xcb" + bytes(8),
        b"\x91\x93\x0c" + b"\xcb" + bytes(8) + b"\x91" * 100_000,
    ],
    ids=[
        "unknown tag",
        "tag of another type",
        "missing field",
        "no list",
        "bytes behind it",
        "bytes missing",
        "nothing",
        "text that is none",
        "nested without end",
    ],
)
def test_a_row_of_an_unknown_form_is_not_guessed_at(content: bytes) -> None:
    """It passes its checksum: a newer version wrote it, or another program."""
    with pytest.raises(StoreDamagedError, match="of a form that this version does not know"):
        decode_row(7, sealed(7, content), "shop.db")


def test_an_output_comes_back_equal_under_its_run_only() -> None:
    """Like a row of the journal."""
    cell = encode_cell(7, EVENT)

    assert EVENT == decode_output(7, cell, "shop.db")
    with pytest.raises(StoreDamagedError, match="an output of run number 8"):
        decode_output(8, cell, "shop.db")


def test_a_path_of_memory_comes_back_equal() -> None:
    """It belongs to no run."""
    cell = encode_cell(0, UPDATE)

    assert UPDATE == decode_memory(cell, "shop.db")
    with pytest.raises(StoreDamagedError, match="a memory value"):
        decode_memory(cell[:-1], "shop.db")


def test_the_number_of_a_row_begins_with_that_of_its_transaction() -> None:
    """So the batches of a delivery need no field of their own."""
    assert 5 == batch_of((5 << BATCH_BITS) + 17)


def test_a_row_that_is_no_bytes_is_damage() -> None:
    """A damaged page gives values of any type."""
    with pytest.raises(StoreDamagedError, match="an entry of run number 7 is int"):
        decode_row(7, 12, "shop.db")  # type: ignore[arg-type]  # as the file has it


def test_a_blob_without_a_name_is_damage() -> None:
    """The same."""
    with pytest.raises(StoreDamagedError, match="a blob of run number 7 has no name"):
        decode_blob(7, None, b"", "shop.db")  # type: ignore[arg-type]  # as the file has it
