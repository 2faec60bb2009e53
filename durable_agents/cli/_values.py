"""Recorded values as people and programs can read them."""

from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

import msgspec

from durable_agents.errors import DecodeError
from durable_agents.serialization import Codec, Payload

__all__ = ["READING", "error_text", "moment", "readable", "shortened", "to_json"]

READING = Codec(pickle="refuse")
"""Who only looks runs no code: neither imports nor pickles."""


def readable(payload: Payload) -> msgspec.Raw:
    """A recorded value as JSON, classes as their fields; else text that says what it is."""
    try:
        return msgspec.Raw(to_json(READING.decode_data(payload)))
    except (DecodeError, TypeError, ValueError):
        about = (
            f"({payload.encoding}, {len(payload.data):,} bytes, which only its code can read)"
        )
        return msgspec.Raw(msgspec.json.encode(about))


def error_text(payload: Payload) -> str:
    """A recorded exception in one line."""
    try:
        error = READING.decode_failure(payload)
    except DecodeError as unreadable:
        return str(unreadable)
    return f"{type(error).__name__}: {error}"


def moment(at: float) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")


def shortened(text: str, most: int) -> str:
    """A text on one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _foreign(value: Any) -> Any:  # noqa: ANN401 - whatever an agent outputs
    """What stands for a value that JSON has no form for; pydantic's classes know theirs."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, PurePath):
        return str(value)
    msg = f"{type(value).__name__} is no data"
    raise TypeError(msg)


# In one order, whatever the process: sets have another one in each.
to_json = msgspec.json.Encoder(enc_hook=_foreign, order="deterministic").encode
"""JSON of a value; TypeError or ValueError where it has none."""
