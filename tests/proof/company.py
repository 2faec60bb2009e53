"""Let other programs open the store while it is worked on: they lock it, read it, copy it.

    python -m tests.proof.company --seconds 120

Processes with slots (`endless`) work on a store, one that owns it or two that share it. Another
process, with a connection of its own, pays them visits:

    lock    holds the file locked for writing, or for everything, for seconds, several times
    siege   does so for longer than the workers wait for it
    reader  keeps one read transaction open
    backup  copies the file, in pages with pauses, in one read transaction
    vacuum  copies it by VACUUM INTO

No error of a lock reaches a call or who submitted, but in a siege; there runs are taken up
again, with the reason, until it is over. Each copy is opened by the engine, and worked to the
end without a settled call of it being made again. The log beside the file (the WAL) grows while
a reader is there, in proportion to what is written, and comes down afterwards.
"""

import argparse
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import msgspec

from tests.crash import workload
from tests.crash.evidence import disturbed, read, repeated, swapped
from tests.crash.nursery import python
from tests.crash.verdict import Verdict, conclude
from tests.crash.witness import sightings
from tests.proof.audit import Audit
from tests.proof.crew import Crew, file_size
from tests.proof.endless import Duty

__all__ = ["VISITS", "Visit", "VisitReport", "keep_company"]

Visit: TypeAlias = Literal["lock", "siege", "reader", "backup", "vacuum"]

VISITS: tuple[Visit, ...] = ("lock", "siege", "reader", "backup", "vacuum")
WAL_AFTERWARDS = 8 * 2**20
"""Bytes that the WAL has at most when nobody has pinned it for a while."""
WAL_PER_CALL = 32 * 2**10
"""Bytes by which it grows at most for each call, while it is pinned."""
_WAL_BEFORE = 16 * 2**20
"""What it may come to without: checkpoints are 4 MiB apart, and may meet our own reader."""
_SLOTS = 24
_WARM_UP = 2 * _SLOTS
"""Runs of each worker that are done before anybody comes."""
_SIEGE_PATIENCE = 1.0
"""Seconds that workers wait then."""
_PAUSE_SECONDS = 0.3
_PAGES = 64
"""Pages that a backup copies at a time."""
_FOREIGN_PATIENCE = 60.0


@dataclass(slots=True)
class VisitReport:
    """One visit, and what came of it."""

    visit: Visit
    shared: bool
    runs: int = 0
    calls: int = 0
    refused: int = 0
    """How often the store failed somebody who submitted, or waited."""
    longest: float = 0.0
    """Seconds that the visitor held the file at a time, at most."""
    wal_before: int = 0
    wal_most: int = 0
    wal_after: int = 0
    per_call: float = 0.0
    """Bytes by which the WAL grew for each call, while the visitor was there."""
    copied: int = 0
    """Calls that had settled in a copy."""
    finished: int = 0
    """Calls that were made to finish it."""
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        sizes = [
            f"{size / 2**20:.1f}" for size in (self.wal_before, self.wal_most, self.wal_after)
        ]
        row = (
            self.visit,
            "shared" if self.shared else "alone",
            self.runs,
            self.calls,
            self.refused,
            f"{self.longest:.1f}",
            *sizes,
            f"{self.per_call / 1024:.1f}",
            self.copied,
            self.finished,
            len(self.breaches),
        )
        return _line(*row)


def _line(*cells: object) -> str:
    return "".join(f"{cell!s:>10}" for cell in cells)


_HEADING = "\n".join([
    _line("", "", "", "", "", "longest", "WAL MiB", "WAL MiB", "WAL MiB", "KiB a", "calls")
    + _line("calls", ""),
    _line("visit", "store", "runs", "calls", "refused", "seconds", "before", "most")
    + _line("after", "call", "copied", "finished", "breaches"),
])


class _Site:
    """A store that is worked on, and its visitor.

    Args:
        folder: An empty folder.
        report: What is filled in.
        span: Seconds that the visitor stays.
        seed: Of its moments.
    """

    def __init__(self, folder: Path, report: VisitReport, span: float, seed: int) -> None:
        self._report = report
        self._span = span
        self._chance = random.Random(seed)  # noqa: S311 - not a secret
        self._folder = folder
        self._store = folder / "site" / workload.STORE
        self._diary = folder / "diary"
        for place in (self._store.parent, self._diary, folder / "copy"):
            place.mkdir(parents=True)
        parts = 2 if report.shared else 1
        self._audits = [Audit(part, parts, [0] * _SLOTS) for part in range(parts)]
        self._crew = Crew([self._duty(part, parts) for part in range(parts)], self._audits)

    def live(self) -> None:
        """Work, be visited, work on, and come to the end."""
        with self._crew as crew:
            self._until(lambda: all(a.done >= _WARM_UP for a in self._audits), "got going")
            self._report.wal_before = self._wal()
            self._visit()
            self._leave()
            self._report.breaches += crew.finish()
        self._conclude()

    def _duty(self, part: int, parts: int) -> Duty:
        return Duty(
            folder=str(self._store.parent),
            diary=str(self._diary),
            part=part,
            parts=parts,
            turns=[0] * _SLOTS,
            shared=self._report.shared,
            patience=_SIEGE_PATIENCE if self._report.visit == "siege" else None,
        )

    def _visit(self) -> None:
        calls, size = self._crew.ended, self._wal()
        match self._report.visit:
            case "lock":
                self._lock(lambda: self._chance.uniform(0.2, 0.4) * self._span)
            case "siege":
                self._lock(lambda: max(self._span / 2, 3 * _SIEGE_PATIENCE))
            case "reader":
                self._hold(self._span, "BEGIN", "SELECT count(*) FROM runs")
            case "backup" | "vacuum":
                self._copy()
        self._crew.follow()
        grown = self._report.wal_most - size
        self._report.per_call = max(grown, 0) / max(self._crew.ended - calls, 1)

    def _lock(self, seconds: Callable[[], float]) -> None:
        end = time.monotonic() + self._span
        kinds = ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"]
        while time.monotonic() < end:
            self._hold(seconds(), kinds[0])
            kinds.reverse()
            self._wait(_PAUSE_SECONDS)

    def _hold(self, seconds: float, *statements: str) -> None:
        """Keep a transaction open."""
        with closing(_foreign(self._store)) as connection:
            for statement in statements:
                connection.execute(statement).fetchall()
            self._wait(seconds)
            connection.execute("ROLLBACK")
        self._report.longest = max(self._report.longest, seconds)

    def _copy(self) -> None:
        """Copy the file for as long as the visit lasts, and keep the last copy."""
        target = self._folder / "copy" / workload.STORE
        end = time.monotonic() + self._span
        while True:
            target.unlink(missing_ok=True)
            started = time.monotonic()
            self._copy_once(target)
            self._report.longest = max(self._report.longest, time.monotonic() - started)
            if time.monotonic() > end:
                break
            self._wait(_PAUSE_SECONDS)
        target.chmod(0o600)  # the engine trusts what nobody else can have written

    def _copy_once(self, target: Path) -> None:
        with closing(_foreign(self._store)) as source:
            if self._report.visit == "vacuum":
                source.execute("VACUUM INTO ?", (str(target),))
                return
            # All as of one moment: otherwise it begins anew with each commit.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM runs").fetchone()
            with closing(sqlite3.connect(target)) as copy:
                source.backup(copy, pages=_PAGES, sleep=0.002, progress=self._while_copying)

    def _while_copying(self, *_: object) -> None:
        self._sample()
        self._crew.follow()

    def _leave(self) -> None:
        """The visitor is gone: all goes on, and the WAL comes down."""
        done = self._crew.done
        self._until(lambda: self._crew.done >= done + _WARM_UP, "went on after the visit")
        self._until(lambda: self._wal() <= WAL_AFTERWARDS, "cut the WAL down after the visit")
        self._report.wal_after = self._wal()

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        if not self._crew.follow_until(is_so):
            self._report.breaches.append(f"they never {what}: {self._crew.said[-2000:]}")

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds

        def is_over() -> bool:
            self._sample()
            return time.monotonic() > end

        self._crew.follow_until(is_over)

    def _sample(self) -> None:
        self._report.wal_most = max(self._report.wal_most, self._wal())

    def _wal(self) -> int:
        return file_size(self._store.with_name(f"{self._store.name}-wal"))

    def _conclude(self) -> None:
        report = self._report
        report.runs, report.calls = self._crew.done, self._crew.ended
        report.refused = sum(audit.refused for audit in self._audits)
        for audit in self._audits:
            audit.conclude()
            report.breaches += audit.breaches
        report.breaches += disturbed(read(self._store))
        report.breaches += self._misled()
        if (self._folder / "copy" / workload.STORE).exists():
            report.breaches += self._finish_copy()

    def _misled(self) -> Iterator[str]:
        """Errors of locks that somebody was told of, and logs that grew."""
        report, said = self._report, self._crew.said
        if "Traceback" in said:
            yield f"they said: {said[-2000:]}"
        is_siege = report.visit == "siege"
        if is_siege and "another program holds it locked" not in said:
            yield f"nobody said why runs did not go on: {said[-2000:]}"
        if not is_siege and (report.refused or "is locked" in said):
            yield f"an error of a lock was told {report.refused} times: {said[-2000:]}"
        if report.wal_most > _WAL_BEFORE and report.per_call > WAL_PER_CALL:
            yield f"the WAL grew by {report.per_call:.0f} bytes for each call"

    def _finish_copy(self) -> Iterator[str]:
        """Work on the last copy to the end."""
        duty = Duty(
            folder=str(self._folder / "copy"),
            diary=str(self._folder / "copy"),
            shared=self._report.shared,
        )
        settled = set(read(duty.store).settled)
        command = python("tests.proof.endless", msgspec.json.encode(duty).decode())
        process = subprocess.run(  # noqa: S603 - our own program
            command, input="", capture_output=True, text=True, check=False
        )
        if process.returncode:
            yield f"the copy was not finished: {process.stderr[-2000:]}"
        found, seen = read(duty.store), sightings(duty.witness)
        self._report.copied = len(settled)
        self._report.finished = sum(s.phase == "end" for s in seen)
        yield from repeated(settled, seen)
        yield from swapped([*sightings(self._crew.duties[0].witness), *seen], found)
        yield from disturbed(found)
        for run_id in found.statuses:
            outputs = found.outputs_of(run_id)
            value = workload.expected_output(int(run_id.removeprefix("run-")))[2]
            if [value] != [output[2] for output in outputs]:
                yield f"in the copy, {run_id} put out {outputs}"


def _foreign(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_FOREIGN_PATIENCE, isolation_level=None)


def keep_company(
    folder: Path, visit: Visit, *, shared: bool, span: float, seed: int = 0
) -> VisitReport:
    """Have a store worked on, and visited.

    Args:
        folder: An empty folder.
        visit: What the visitor does.
        shared: Whether two workers share the store; else one owns it.
        span: Seconds that the visitor stays.
        seed: Of its moments.
    """
    report = VisitReport(visit, shared)
    _Site(folder, report, span, seed).live()
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="of all visits together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    visits: list[tuple[Visit, bool]] = [
        (visit, shared) for visit in VISITS for shared in (False, True)
    ]
    span = options.seconds / len(visits)
    reports: list[VisitReport] = []
    with TemporaryDirectory() as folder:
        for visit, shared in visits:
            place = Path(folder, f"{visit}-{'shared' if shared else 'alone'}")
            report = keep_company(place, visit, shared=shared, span=span, seed=options.seed)
            reports.append(report)
    breaches = [
        f"{report.visit} {'shared' if report.shared else 'alone'}: {breach[:1000]}"
        for report in reports
        for breach in report.breaches
    ]
    verdict = Verdict(
        layer="company",
        claims=("C1", "C2", "C3", "C5"),
        tried=f"{len(visits)} visits of {span:.0f} s, {sum(r.calls for r in reports)} calls",
        violations=len(breaches),
        seconds=time.monotonic() - started,
    )
    return conclude("\n".join([_HEADING, *map(str, reports)]), breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
