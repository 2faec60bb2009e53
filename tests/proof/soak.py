"""Work for long, with a thousand runs alive, a kill every few seconds and faults in between.

    python -m tests.proof.soak 60

One process after the other works on a store that keeps the newest ended runs only, and always
has so many runs alive: another one is submitted when one is done. A life ends by SIGKILL after
2 to 5 seconds of work. In the middle of some, another program locks the file, or the process is
stopped for a while, or the disk fails (through the shim). The last life takes a third of the
time, is locked and stopped again and again, but not killed, and sees everything to its end.

What the processes are told and seen to do is checked as it comes (see `audit`). What they take
up is measured at the end of each life, and each second of the last one: memory, descriptors,
threads, the WAL, the file. All of it has to be flat (see `trend`), and so has the memory of
this very program.
"""

import argparse
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash import workload
from tests.crash.verdict import Verdict, conclude, figures
from tests.proof.audit import Audit
from tests.proof.crew import Crew, Measures, file_size, measure
from tests.proof.endless import Duty
from tests.proof.faults import FAILURES, Faults, build, compiler
from tests.proof.trend import HEADING, Series

__all__ = ["SoakReport", "soak"]

_MIB = 2**20
_SHORTEST_LIFE, _LONGEST_LIFE = 2.0, 5.0
_SHORTEST_FAULT, _LONGEST_FAULT = 0.2, 1.5
_FAULT_EVERY = 10.0
"""Seconds between two faults in the last life."""
_SAMPLE_EVERY = 1.0
_MOST_WAL = 16 * _MIB
_OPENING = 60
"""Writes and syncs of a store that is being opened: who meets a fault there has to be started
again, which is no part of this."""
_CALLS = 2000
"""Writes and syncs that follow, among which the one is chosen that fails."""
_KINDS = ("none", "none", "lock", "stop", "disk")
_FOREIGN_PATIENCE = 30.0
_MOST_SHOWN = 20


def _over_lives() -> dict[str, Series]:
    return {
        "memory": Series("memory of a process at its end (MiB)", 4 * _MIB, unit=_MIB),
        "files": Series("its file descriptors", 2),
        "threads": Series("its threads", 2),
        "wal": Series("WAL, the most in a life (MiB)", 4 * _MIB, unit=_MIB),
        # Runs are kept by age: how much that is follows how many end in a second. A store that
        # forgot nothing would rise by tens of MiB a minute.
        "store": Series("store file (MiB)", 12 * _MIB, unit=_MIB),
        "driver": Series("memory of this program (MiB)", 4 * _MIB, unit=_MIB),
    }


def _within_life() -> dict[str, Series]:
    return {
        "memory": Series("last life: memory (MiB)", 4 * _MIB, unit=_MIB),
        "files": Series("last life: file descriptors", 2),
        "threads": Series("last life: threads", 2),
        "wal": Series("last life: WAL (MiB)", 4 * _MIB, unit=_MIB),
        "store": Series("last life: store file (MiB)", 4 * _MIB, unit=_MIB),
    }


@dataclass(slots=True)
class SoakReport:
    """What was done, and what came of it."""

    live: int
    seed: int
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    least_live: int = sys.maxsize
    """Runs that were accepted and not done when a process was killed, at least."""
    runs: int = 0
    calls: int = 0
    refused: int = 0
    most_wal: int = 0
    seconds: float = 0.0
    over_lives: dict[str, Series] = field(default_factory=_over_lives)
    within_life: dict[str, Series] = field(default_factory=_within_life)
    breach_count: int = 0
    breaches: list[str] = field(default_factory=list)
    """The first ones."""

    def complain(self, *breaches: str) -> None:
        """Something is not as promised."""
        self.breach_count += len(breaches)
        self.breaches += breaches[: _MOST_SHOWN - len(self.breaches)]

    def __str__(self) -> str:
        rows = {
            "kills": self.kills,
            "runs alive when killed, at least": self.least_live,
            **{f"faults: {name}": count for name, count in sorted(self.faults.items())},
            "times that the store failed a user": self.refused,
            "runs done": self.runs,
            "calls": self.calls,
            "WAL, the most ever (MiB)": f"{self.most_wal / _MIB:.1f}",
            "breaches of any kind": self.breach_count,
            "seconds": f"{self.seconds:.0f}",
            "seed": self.seed,
        }
        series = [*self.over_lives.values(), *self.within_life.values()]
        return "\n".join([figures(rows), "", HEADING, *map(str, series)])


class _Site:
    """A store, and the processes that come and go.

    Args:
        folder: An empty folder.
        report: What is filled in.
        keep: How many ended runs the store keeps.
        young: Seconds that it keeps them in any case.
        shim: The library; None where there is no compiler.
    """

    def __init__(
        self, folder: Path, report: SoakReport, keep: int, young: float, shim: Path | None
    ) -> None:
        self._report = report
        self._keep = keep
        self._young = young
        self._shim = shim
        self._folder, self._diary = folder / "site", folder / "diary"
        self._folder.mkdir()
        self._diary.mkdir()
        self._store = self._folder / workload.STORE
        self._hits = folder / "hits.txt"
        self._chance = random.Random(report.seed)  # noqa: S311 - not a secret
        self._audit = Audit(0, 1, [0] * report.live)
        self._started = time.monotonic()
        self._lives = 0

    def short_life(self) -> None:
        """One process that is killed in the middle of its work."""
        kind = self._chance.choice(_KINDS)
        seconds = self._chance.uniform(_SHORTEST_LIFE, _LONGEST_LIFE)
        with self._living(seconds, kind) as crew:
            if not self._wait(crew, seconds / 2) or not self._meddle(crew, kind):
                self._mourn(crew, kind)
                return
            most = self._watch(crew, seconds / 2)
            taken = measure(crew.processes[0].pid)
            crew.kill()
            self._note_kill(crew, kind, taken, most)

    def last_life(self, seconds: float) -> None:
        """One process that is not killed, and sees everything to its end."""
        kinds = ["lock", "stop"]
        with self._living(seconds, "last") as crew:
            end = time.monotonic() + seconds
            next_fault = time.monotonic() + _FAULT_EVERY
            while time.monotonic() < end and self._wait(crew, _SAMPLE_EVERY):
                self._sample(crew)
                if time.monotonic() > next_fault:
                    self._meddle(crew, kinds[0])
                    kinds.reverse()
                    next_fault = time.monotonic() + _FAULT_EVERY
            self._report.complain(*crew.finish())
            self._check_words(crew, "last")
        self._conclude()

    @contextmanager
    def _living(self, seconds: float, kind: str) -> Generator[Crew]:
        """A process that has begun to work; what it wrote is gone afterwards."""
        self._lives += 1
        duty = Duty(
            folder=str(self._folder),
            diary=str(self._diary),
            life=self._lives,
            turns=list(self._audit.turns),
            keep=self._keep,
            young=self._young,
            longest=seconds + 60.0,
        )
        with Crew([duty], [self._audit], self._environment(kind)) as crew:
            begun = self._audit.begun
            crew.follow_until(lambda: self._audit.begun > begun)
            yield crew
        crew.forget()

    def _environment(self, kind: str) -> dict[str, str]:
        if kind != "disk" or self._shim is None:
            return {}
        faults = Faults(
            folder=self._folder,
            at=_OPENING + self._chance.randrange(_CALLS),
            count=self._chance.choice([1, 2, 5, 25]),
            do=self._chance.choice(FAILURES),
            said=self._hits,
        )
        return faults.environment(self._shim)

    def _meddle(self, crew: Crew, kind: str) -> bool:
        """Do what is to be done in the middle of a life; False if it has ended."""
        seconds = self._chance.uniform(_SHORTEST_FAULT, _LONGEST_FAULT)
        if kind == "lock":
            with closing(_foreign(self._store)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._wait(crew, seconds)
                connection.execute("ROLLBACK")
        elif kind == "stop":
            crew.processes[0].send_signal(signal.SIGSTOP)
            self._wait(crew, seconds)
            crew.processes[0].send_signal(signal.SIGCONT)
        if kind in {"lock", "stop"}:
            self._report.faults[kind] += 1
        return crew.processes[0].poll() is None

    def _wait(self, crew: Crew, seconds: float) -> bool:
        """Follow a process for a while; False if it has ended."""
        end = time.monotonic() + seconds
        crew.follow_until(lambda: time.monotonic() > end)
        return crew.processes[0].poll() is None

    def _watch(self, crew: Crew, seconds: float) -> int:
        """Follow it for a while; returns the largest size of the WAL."""
        end = time.monotonic() + seconds
        most = [self._wal()]

        def is_over() -> bool:
            most.append(max(most.pop(), self._wal()))
            return time.monotonic() > end

        crew.follow_until(is_over)
        return most[0]

    def _note_kill(self, crew: Crew, kind: str, taken: Measures | None, most: int) -> None:
        report = self._report
        report.kills += 1
        report.least_live = min(report.least_live, self._audit.unfinished)
        report.most_wal = max(report.most_wal, most)
        now = time.monotonic() - self._started
        series = report.over_lives
        _add(series, now, taken)
        series["wal"].add(now, most)
        series["store"].add(now, file_size(self._store))
        own = measure(os.getpid())
        series["driver"].add(now, own.memory if own is not None else 0)
        if self._hits.exists():
            report.faults["disk"] += 1
            self._hits.unlink()
        self._check_words(crew, kind)

    def _sample(self, crew: Crew) -> None:
        """What the last process takes up at this moment."""
        now, wal = time.monotonic() - self._started, self._wal()
        self._report.most_wal = max(self._report.most_wal, wal)
        series = self._report.within_life
        _add(series, now, measure(crew.processes[0].pid))
        series["wal"].add(now, wal)
        series["store"].add(now, file_size(self._store))

    def _mourn(self, crew: Crew, kind: str) -> None:
        """It ended by itself: only a disk that failed while the store was opened excuses it."""
        code, said = crew.processes[0].poll(), crew.said
        if kind != "disk" or not self._hits.exists():
            self._report.complain(
                f"life {self._lives} ({kind}) ended by {code}: {said[-2000:]}"
            )
        self._report.faults["disk, while opening"] += 1
        self._hits.unlink(missing_ok=True)

    def _check_words(self, crew: Crew, kind: str) -> None:
        said = crew.said
        is_wrong = "Traceback" in said or "is locked" in said
        if is_wrong and kind != "disk":
            self._report.complain(f"life {self._lives} ({kind}) said: {said[:3000]}")

    def _wal(self) -> int:
        return file_size(self._store.with_name(f"{self._store.name}-wal"))

    def _conclude(self) -> None:
        report, audit = self._report, self._audit
        audit.conclude()
        report.complain(*audit.breaches)
        report.breach_count += audit.breach_count - len(audit.breaches)
        report.runs, report.calls, report.refused = audit.done, audit.ended, audit.refused
        report.seconds = time.monotonic() - self._started
        for series in (*report.over_lives.values(), *report.within_life.values()):
            if not series.is_flat:
                report.complain(f"it grows: {series}")
        if report.most_wal > _MOST_WAL:
            report.complain(f"the WAL came to {report.most_wal} bytes")


def _add(series: dict[str, Series], now: float, taken: Measures | None) -> None:
    if taken is not None:
        series["memory"].add(now, taken.memory)
        series["files"].add(now, taken.files)
        series["threads"].add(now, taken.threads)


def _foreign(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_FOREIGN_PATIENCE, isolation_level=None)


def soak(  # noqa: PLR0913 - what the command line has
    folder: Path,
    *,
    seconds: float,
    live: int = 1000,
    keep: int = 2000,
    young: float = 10.0,
    seed: int = 0,
    on_life: Callable[[SoakReport], object] = lambda _: None,
) -> SoakReport:
    """Work on one store for a while, through kills and faults.

    Args:
        folder: An empty folder.
        seconds: How long; ending takes a little more.
        live: How many runs are alive at any time.
        keep: How many ended runs the store keeps.
        young: Seconds since its end that it keeps a run in any case: more than a process takes
            from its start to hearing of what ended in the life before.
        seed: Of the moments and the faults.
        on_life: Told after each kill.
    """
    report = SoakReport(live, seed)
    shim = build(folder) if compiler() is not None else None
    site = _Site(folder, report, keep, young, shim)
    end_of_kills = time.monotonic() + seconds * 2 / 3
    while time.monotonic() < end_of_kills:
        site.short_life()
        on_life(report)
    site.last_life(seconds / 3)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("minutes", type=float, nargs="?", default=60.0)
    parser.add_argument("--live", type=int, default=1000, help="runs alive at any time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        sys.stdout.write("skipped: what a process takes up is read from Linux's /proc\n")
        return 0

    def tell(report: SoakReport) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{report.kills} kills ")

    with TemporaryDirectory() as folder:
        report = soak(
            Path(folder),
            seconds=60.0 * options.minutes,
            live=options.live,
            keep=2 * options.live,
            seed=options.seed,
            on_life=tell,
        )
    verdict = Verdict(
        layer="soak",
        claims=("C1", "C2", "C3", "C5"),
        tried=f"{report.live} runs alive for {report.seconds / 60:.0f} min, "
        f"{report.kills} kills, {report.calls} calls",
        violations=report.breach_count,
        seconds=report.seconds,
    )
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
