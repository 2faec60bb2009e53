"""Processes with slots (see `endless`), started, followed, measured and ended by a driver."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tests.crash.nursery import python
from tests.crash.random_kills import Process
from tests.crash.witness import Sighting
from tests.proof.audit import Audit, Tail
from tests.proof.endless import Duty, Told

__all__ = ["Crew", "Measures", "file_size", "measure"]

_POLL_SECONDS = 0.02
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Measures:
    """What a process takes up."""

    memory: int
    """Resident bytes."""
    files: int
    """Open descriptors."""
    threads: int


def measure(pid: int) -> Measures | None:
    """Look a process up; None where it is gone."""
    folder = Path("/proc", str(pid))
    try:
        files = sum(1 for _ in (folder / "fd").iterdir())
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return None
    facts = dict(line.split(":", 1) for line in lines)
    if "VmRSS" not in facts:
        return None  # it has ended, and nobody has waited for it yet
    return Measures(1024 * int(facts["VmRSS"].split()[0]), files, int(facts["Threads"]))


def file_size(path: Path) -> int:
    """Bytes of a file; 0 where it is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Crew:
    """Processes that work on one store, one for each part; leaving it kills what is left.

    Args:
        duties: What each is to do.
        audits: Take in what becomes known of each.
        environment: Variables besides.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        audits: Sequence[Audit],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.duties = duties
        self.audits = audits
        self.processes: list[Process] = []
        self._told = [Tail(duty.told, Told) for duty in duties]
        self._witness = Tail(duties[0].witness, Sighting)
        for duty in duties:
            command = python("tests.proof.endless", msgspec.json.encode(duty).decode())
            variables = os.environ | (environment or {})
            with duty.said.open("wb") as stderr:
                process = subprocess.Popen(  # noqa: S603 - our own program
                    command, stdin=subprocess.PIPE, stderr=stderr, env=variables
                )
            self.processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def said(self) -> str:
        """What they have written to their standard error."""
        return "".join(duty.said.read_text() for duty in self.duties)

    @property
    def done(self) -> int:
        """How many runs are known to be done, in this life and earlier ones."""
        return sum(audit.done for audit in self.audits)

    @property
    def ended(self) -> int:
        """How many calls have had their effect."""
        return sum(audit.ended for audit in self.audits)

    def follow(self) -> None:
        """Take in what has come."""
        told = [tail.new() for tail in self._told]
        seen = self._witness.new()  # last: it saw all calls of what is done
        for audit, heard in zip(self.audits, told, strict=True):
            own = [s for s in seen if audit.owns(s)] if len(self.audits) > 1 else seen
            audit.take_in(own, heard)

    def follow_until(self, is_so: Callable[[], bool]) -> bool:
        """Follow until something is so; False if it is not so in two minutes, or never."""
        end = time.monotonic() + _PATIENCE
        while not is_so():
            if time.monotonic() > end or any(p.poll() for p in self.processes):
                return is_so()
            self.follow()
            time.sleep(_POLL_SECONDS)
        return True

    def finish(self) -> Iterator[str]:
        """Have them begin nothing new, and see them end; says what is wrong with that."""
        for process in self.processes:
            _close(process)
        self.follow_until(lambda: all(p.poll() is not None for p in self.processes))
        self.follow()
        for duty, process in zip(self.duties, self.processes, strict=True):
            if process.poll() != 0:
                said = duty.said.read_text()[-3000:]
                yield f"part {duty.part} came to {process.returncode} in the end: {said}"

    def kill(self) -> None:
        """End them in the middle of everything, and take in the rest."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            _close(process)
        self.follow()

    def forget(self) -> None:
        """Remove what they have written."""
        for duty in self.duties:
            for path in (duty.witness, duty.told, duty.said):
                path.unlink(missing_ok=True)


def _close(process: Process) -> None:
    assert process.stdin is not None, "it was asked for"
    process.stdin.close()
