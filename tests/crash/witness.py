"""The witness: a file that durable functions append to themselves, outside the engine.

What the engine says of itself proves nothing. Each durable function of these tests writes a
line before its effect and another one after it, each with one `write` to a file opened with
O_APPEND: the line is there whatever kills the process next. A kill in the middle of the `write`
may leave a piece of a line; its effect had not begun, or is not known to have ended.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from durable_agents import current_call

FILE = "DURABLE_AGENTS_WITNESS"
"""Environment variable: path of the witness file."""
LIFE = "DURABLE_AGENTS_LIFE"
"""Environment variable: number of the process among those that worked on the store."""

LATENCY = "DURABLE_AGENTS_LATENCY"
"""Environment variable: seconds that a call of the reviews takes."""

_encode = msgspec.json.Encoder().encode


class Sighting(msgspec.Struct, frozen=True):
    """A durable function began, or came to its end."""

    run_id: str
    call_id: str
    idempotency_key: str
    function: str
    args: list[Any]
    phase: Literal["begin", "end"]
    pid: int
    life: int
    at: float = 0.0
    """Monotonic seconds, the same for all processes: a process may be stopped before it has
    written this down."""

    @property
    def call(self) -> tuple[str, str]:
        """Run and call."""
        return (self.run_id, self.call_id)


_decode = msgspec.json.Decoder(Sighting).decode


@contextmanager
def witnessed(function: str, *args: object) -> Iterator[None]:
    """Have the witness see a durable function; one that is cancelled or raises has no end."""
    _append(function, args, "begin")
    yield
    _append(function, args, "end")


def sightings(path: Path) -> list[Sighting]:
    """All that the witness has seen, in order; none where nothing has begun."""
    if not path.exists():
        return []
    return [_decode(line) for line in path.read_bytes().splitlines() if line.endswith(b"}")]


def this_life() -> int:
    """Number of this process among those that worked on the store."""
    return int(os.environ[LIFE])


def _append(function: str, args: tuple[object, ...], phase: Literal["begin", "end"]) -> None:
    at = time.monotonic()
    info = current_call()
    sighting = Sighting(
        info.run_id,
        info.call_id,
        info.idempotency_key,
        function,
        list(args),
        phase,
        os.getpid(),
        this_life(),
        at,
    )
    # On a line of its own, even where an earlier process left a piece of one.
    os.write(_file(os.environ[FILE]), b"\n" + _encode(sighting) + b"\n")


@cache
def _file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
