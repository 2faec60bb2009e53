"""Kill and stop workers that share a file, at random moments, and say what became of the work.

    python -m tests.crash.random_stops --workers 3 --kills 60 --stops 60

A worker that is killed is replaced by another one; one that is stopped goes on after a random
time, often longer than its lease. Kills and stops spread over all of the work, whatever its
speed, and hit the middle of transactions, too. The exit status is 0 if nothing was repeated,
lost or changed.
"""

import argparse
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash import workload
from tests.crash.evidence import Call, Record, disturbed, read, repeated, swapped, unlike
from tests.crash.nursery import python
from tests.crash.shared_workload import LEASE_SECONDS
from tests.crash.verdict import Verdict, conclude, figures
from tests.crash.witness import Sighting, sightings

__all__ = ["Report", "stop_at_random"]

_POLL_SECONDS = 0.02
_LONGEST_STOP = 2.5 * LEASE_SECONDS


@dataclass(slots=True)
class Report:
    """What was done, and what came of it."""

    workers: int
    runs: int
    seed: int
    kills: int = 0
    stops: int = 0
    acknowledged: int = 0
    begun: int = 0
    settled: int = 0
    lost: int = 0
    """Inputs that were acknowledged and have no outputs."""
    repeated: int = 0
    """Calls that began although they were known to be settled."""
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = {
            "workers": self.workers,
            "runs": self.runs,
            "kills": self.kills,
            "stops": self.stops,
            "calls settled": self.settled,
            "calls begun": self.begun,
            "settled calls repeated": self.repeated,
            "inputs acknowledged": self.acknowledged,
            "inputs lost": self.lost,
            "breaches of any kind": len(self.breaches),
            "seconds": f"{self.seconds:.1f}",
            "seed": self.seed,
        }
        return figures(rows)


class _Life:
    """One of the processes."""

    def __init__(self, folder: Path, part: int, report: Report, number: int) -> None:
        self.part = part
        self.goes_on_at: float | None = None
        """When it is to go on, if it is stopped."""
        self._said = folder / f"life-{number}.txt"
        arguments = [str(folder), part, report.runs, report.workers, number]
        command = python("tests.crash.shared_workload", *map(str, arguments))
        with self._said.open("wb") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr)  # noqa: S603 - our own program

    def stop(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.goes_on_at = time.monotonic() + seconds

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.goes_on_at = None

    def complaint(self) -> str:
        """What is wrong with how it ended; empty if nothing is."""
        code, said = self.process.wait(), self._said.read_text()
        # That it lost runs, or took them over, is told as a warning.
        if code in {0, -signal.SIGKILL} and "Traceback" not in said:
            return ""
        return f"{self._said.stem} ended with {code}: {said}"


class _Site:
    """A store, its witness, and the processes that share it.

    Args:
        folder: Where everything is kept.
        report: What is filled in.
        kills: How many processes are killed.
        stops: How many are stopped for a while.
    """

    def __init__(self, folder: Path, report: Report, kills: int, stops: int) -> None:
        self.report = report
        self._folder = folder
        self._chance = chance = random.Random(report.seed)  # noqa: S311 - not a secret
        self._record = Record()
        self._seen_up_to = 0
        self._known_at = 0.0
        self._lives: list[_Life] = []
        self._born = 0
        blows = ["kill"] * kills + ["stop"] * stops
        chance.shuffle(blows)
        all_calls = sum(workload.calls_of(number) for number in range(report.runs))
        # None in the last tenth: a blow is to hit somebody who works.
        moments = sorted(chance.randrange(all_calls * 9 // 10) for _ in blows)
        self._blows = list(zip(moments, blows, strict=True))

    def work(self) -> None:
        """Have all work done, and strike while it is done."""
        try:
            for part in range(self.report.workers):
                self._bear(part)
            while self._lives:
                self._look()
                self._strike()
                self._go_on()
                self._bury()
                time.sleep(_POLL_SECONDS)
        finally:
            for life in self._lives:
                life.process.kill()
                life.process.wait()

    def conclude(self) -> None:
        """All is done: compare it with what was to be done."""
        record, report = read(self._folder / workload.STORE), self.report
        seen = sightings(self._folder / workload.WITNESS)
        report.begun = sum(s.phase == "begin" for s in seen)
        report.settled = len(record.settled)
        acknowledged = set(workload.acknowledged_in(self._folder))
        report.acknowledged = len(acknowledged)
        report.lost = len(acknowledged - {run_id for run_id, _ in record.outputs})
        self._complain(*swapped(seen, record), *unlike(seen), *disturbed(record))
        self._complain(*misordered(seen, record, report.runs))

    def _bear(self, part: int) -> None:
        self._lives.append(_Life(self._folder, part, self.report, self._born))
        self._born += 1

    def _look(self) -> None:
        """Whether anything began that had been known to be settled when we looked last."""
        settled: frozenset[Call] = frozenset(self._record.settled)
        seen = sightings(self._folder / workload.WITNESS)[self._seen_up_to :]
        # One that was stopped as it began a call writes so when it goes on.
        again = list(repeated(settled, (s for s in seen if s.at >= self._known_at)))
        self.report.repeated += len(again)
        self._complain(*again)
        store = self._folder / workload.STORE
        try:
            self._record = read(store, self._record) if store.exists() else self._record
        except sqlite3.OperationalError:
            return  # locked by one that is stopped, or left so by one that was killed
        # What began before the record was read may have been settled since.
        self._known_at = time.monotonic()
        self._seen_up_to = len(sightings(self._folder / workload.WITNESS))

    def _strike(self) -> None:
        awake = [life for life in self._lives if life.goes_on_at is None]
        if not awake or not self._blows or len(self._record.settled) < self._blows[0][0]:
            return
        _, blow = self._blows.pop(0)
        life = self._chance.choice(awake)
        time.sleep(self._chance.uniform(0, _POLL_SECONDS))
        if blow == "stop":
            life.stop(self._chance.uniform(0, _LONGEST_STOP))
            self.report.stops += 1
        else:
            life.process.kill()
            self.report.kills += 1

    def _go_on(self) -> None:
        now = time.monotonic()
        for life in self._lives:
            if life.goes_on_at is not None and life.goes_on_at <= now:
                life.go_on()

    def _bury(self) -> None:
        for life in [life for life in self._lives if life.process.poll() is not None]:
            self._lives.remove(life)
            if complaint := life.complaint():
                self._complain(complaint)
            if life.process.returncode == -signal.SIGKILL:
                self._bear(life.part)

    def _complain(self, *breaches: str) -> None:
        self.report.breaches += breaches


def misordered(seen: list[Sighting], record: Record, runs: int) -> list[str]:
    """Each run put out what it should, and those of a key began and ended in their order."""
    breaches: list[str] = []
    lines: dict[str, list[int]] = {}
    for run_id in record.statuses:
        number = int(run_id.removeprefix("run-"))
        lines.setdefault(workload.key_of(number), []).append(number)
    if sorted(number for line in lines.values() for number in line) != list(range(runs)):
        breaches.append(f"there are {len(record.statuses)} runs, expected {runs}")
    began = list(dict.fromkeys(s.run_id for s in seen if s.phase == "begin"))
    order: dict[str, list[int]] = {}
    for run_id in began:
        number = int(run_id.removeprefix("run-"))
        order.setdefault(workload.key_of(number), []).append(number)
    for key, line in lines.items():
        expected = [
            [number, place, workload.expected_output(number)[2]]
            for place, number in enumerate(line, start=1)
        ]
        found = [value for _, value in record.outputs if workload.key_of(value[0]) == key]
        if found != expected:
            breaches.append(f"{key} put out {found}, expected {expected}")
        if order.get(key) != line:
            breaches.append(f"{key} began {order.get(key)}, accepted {line}")
    return breaches


def stop_at_random(  # noqa: PLR0913 - what the command line has
    folder: Path,
    *,
    workers: int = 3,
    runs: int = 2000,
    kills: int = 60,
    stops: int = 60,
    seed: int = 0,
) -> Report:
    """Kill and stop workers at random moments until the work is done.

    Args:
        folder: An empty folder.
        workers: How many processes work at the same time.
        runs: How many inputs there are.
        kills: How many processes are killed.
        stops: How many are stopped for a while.
        seed: Of what is done when, and to whom.
    """
    started = time.monotonic()
    report = Report(workers=workers, runs=runs, seed=seed)
    site = _Site(folder, report, kills, stops)
    site.work()
    site.conclude()
    report.seconds = time.monotonic() - started
    return report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--stops", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = stop_at_random(Path(folder), **vars(arguments))
    verdict = Verdict(
        layer="stops and kills of sharing workers",
        claims=("C1", "C2", "C3", "C5"),
        tried=f"{report.stops} stops, {report.kills} kills",
        violations=len(report.breaches),
        seconds=report.seconds,
        is_short=(report.kills, report.stops) != (arguments.kills, arguments.stops),
    )
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
