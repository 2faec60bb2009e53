"""The record of one call, as a value."""

import msgspec
import pytest

from durable_agents.journal import CallSettled
from durable_agents.serialization import Payload

SECRET = b"4111 1111 1111 1111"
RECORD = CallSettled(
    0,
    "",
    0,
    "shop:pay",
    b"00ff",
    "order-7",
    failed=False,
    payload=Payload("plain", SECRET),
    attempt=1,
    guarded=False,
    at=4.0,
)


def again() -> CallSettled:
    """An equal record, of equal parts that are objects of their own."""
    decode = msgspec.msgpack.Decoder(CallSettled).decode
    return decode(msgspec.msgpack.encode(RECORD))


@pytest.mark.rows("CR-08")
@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(RECORD, function="shop:refund"),
        msgspec.structs.replace(RECORD, digest=b"ffff"),
        msgspec.structs.replace(RECORD, failed=True),
        msgspec.structs.replace(RECORD, payload=Payload("plain", b"")),
        None,
        "shop:pay",
    ],
)
def test_a_record_is_equal_to_itself_and_to_its_like_only(other: object) -> None:
    """Every field counts."""
    assert again() == RECORD
    assert again() is not RECORD
    assert RECORD != other


@pytest.mark.rows("CR-09")
def test_equal_records_have_equal_hashes() -> None:
    """They may be told apart in a set."""
    assert hash(again()) == hash(RECORD)
    assert len({RECORD, again(), msgspec.structs.replace(RECORD, position=1)}) == 2


@pytest.mark.rows("CR-10")
def test_a_printed_record_shows_the_size_of_what_it_holds_and_not_the_content() -> None:
    """It ends up in logs, where a result of a megabyte or a card number has no business."""
    shown = repr(RECORD)

    assert "shop:pay" in shown
    assert "00ff" in shown
    assert f"{len(SECRET)} bytes" in shown
    assert "4111" not in shown
