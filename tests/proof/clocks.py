"""A worker that shares a store, see `tests.crash.sharing`, with a wall clock that is wrong."""

import os
import subprocess
from functools import partial
from typing import Literal, TypeAlias, assert_never

import msgspec

from durable_agents import SystemClock, Worker
from tests.crash import sharing
from tests.crash.nursery import python

__all__ = ["DAY", "FAULTS", "Fault", "start"]

Fault: TypeAlias = Literal["forward", "backward", "frozen", "to and fro"]

DAY = 86_400.0
FAULTS: tuple[Fault, ...] = ("forward", "backward", "frozen", "to and fro")
_LOOKS_PER_DAY = 20


class _WrongClock(SystemClock):
    """Goes wrong when it has been looked at for a while; its monotonic time stays right.

    Args:
        fault: How.
    """

    def __init__(self, fault: Fault) -> None:
        self._fault: Fault = fault
        self._looks = 0
        self._first = super().now()

    def now(self) -> float:
        """A time that may be days off."""
        self._looks += 1
        days = self._looks // _LOOKS_PER_DAY
        right = super().now()
        match self._fault:
            case "forward":
                return right + DAY * min(days, 1)
            case "backward":
                return right - DAY * min(days, 1)
            case "frozen":
                return self._first
            case "to and fro":
                return right + DAY * (days % 3 - 1)
            case _:
                assert_never(self._fault)


def start(part: sharing.Part, fault: Fault) -> sharing.Process:
    """Start a process that takes part, with such a clock."""
    command = python("tests.proof.clocks", msgspec.json.encode(part).decode(), fault)
    with part.said.open("wb") as said:
        return subprocess.Popen(command, stderr=said, env=os.environ)  # noqa: S603 - our own


def main(text: str, fault: Fault) -> None:
    """Be that process."""
    sharing.Worker = partial(Worker, clock=_WrongClock(fault))  # type: ignore[assignment, attr-defined]
    sharing.main(text)
