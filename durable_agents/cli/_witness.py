"""A file in which durable functions themselves write down when they begin and end.

It is evidence that does not rest on the engine: what the functions did is counted from here,
not from what the engine says of them.
"""

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from durable_agents.worker import current_call

__all__ = ["Sighting", "Watch", "Witness", "is_witness", "read_witness", "unwatched"]

Watch: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Taken around the body of a durable function, with the function's name."""


class Sighting(msgspec.Struct, frozen=True):
    """One line of the file: what a function saw of itself."""

    pid: int
    function: str
    run_id: str
    call_id: str
    """Distinct within the run."""
    idempotency_key: str
    phase: Literal["begin", "end"]

    @property
    def call(self) -> tuple[str, str]:
        """The call, told from every other one in the store."""
        return self.run_id, self.call_id


class Witness:
    """Appends to the file; safe from many threads, and each line is there once it is written.

    A line is one `write` to a file opened for appending: the system has it when the call
    returns, whatever becomes of the process. It is never closed: a function that outlives the
    worker may still have something to write.

    Args:
        path: The file; made if it is missing.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)

    @contextmanager
    def watch(self, function: str) -> Generator[None]:
        """Write down that the function begins, and that it ends, however it ends."""
        self._write(function, "begin")
        try:
            yield
        finally:
            self._write(function, "end")

    def _write(self, function: str, phase: Literal["begin", "end"]) -> None:
        call = current_call()
        sighting = Sighting(
            os.getpid(), function, call.run_id, call.call_id, call.idempotency_key, phase
        )
        os.write(self._file, msgspec.json.encode(sighting) + b"\n")


def unwatched(_function: str) -> AbstractContextManager[None]:
    """Write nothing down."""
    return nullcontext()


def read_witness(text: bytes) -> list[Sighting]:
    """What was written down, in order.

    Args:
        text: Whole lines of the file.
    """
    return msgspec.json.Decoder(Sighting).decode_lines(text)


def is_witness(text: bytes) -> bool:
    """Whether a file was written by a `Witness`, or by nobody yet."""
    try:
        read_witness(text)
    except msgspec.MsgspecError:
        return False
    return True
