"""Kill a busy process at random moments, again and again, and say what became of its work.

    python -m tests.crash.random_kills --kills 200

Each process is killed with SIGKILL a random time after the witness has seen it at work; the
next one goes on with the same store. They are given as much time as makes the kills spread over
all of the work. The exit status is 0 if nothing was repeated, lost or changed. Only kills are
counted that hit a process in the middle of a run.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeAlias

from tests.crash import workload
from tests.crash.evidence import Call, Record, disturbed, read, repeated, swapped, unlike
from tests.crash.nursery import python
from tests.crash.verdict import Verdict, conclude, figures
from tests.crash.witness import Sighting, sightings

__all__ = ["Killer", "Process", "Report", "kill_again_and_again", "kill_at_random"]

Process: TypeAlias = "subprocess.Popen[bytes]"

_POLL_SECONDS = 0.0005
_LONGEST_PAUSE = 0.005


@dataclass(slots=True)
class Report:
    """What was done, and what came of it."""

    runs: int
    seed: int
    kills: int = 0
    """Kills of a process that had begun calls of a run that was not done then."""
    misses: int = 0
    """Other kills: they prove nothing, and do not count."""
    interrupted: int = 0
    """Calls that had begun and not ended when their process was killed."""
    acknowledged: int = 0
    begun: int = 0
    settled: int = 0
    lost: int = 0
    """Inputs that were acknowledged and have no outputs."""
    repeated: int = 0
    """Calls that began although they had settled before an earlier kill."""
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def verdict(self, layer: str, wanted: int) -> Verdict:
        """What it comes to.

        Args:
            layer: Its name.
            wanted: Kills of a live run that it was to come to.
        """
        return Verdict(
            layer=layer,
            claims=("C1", "C2", "C3", "C5"),
            tried=f"{self.kills} kills of a live run",
            violations=len(self.breaches),
            seconds=self.seconds,
            is_short=self.kills < wanted,
        )

    def __str__(self) -> str:
        rows = {
            "runs": self.runs,
            "kills that hit a live run": self.kills,
            "other kills": self.misses,
            "calls interrupted by a kill": self.interrupted,
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


class Killer(Protocol):
    """Chooses the moment at which a process dies."""

    def environment(self, share: int) -> Mapping[str, str]:
        """Variables of a process that is to die before it has settled twice `share` calls."""

    def kill(self, process: Process, share: int) -> bool:
        """See it dead; False if it came to its end before that."""


class _AtRandom:
    """Kills a random time after the witness has seen a process at work."""

    def __init__(self, witness: Path, seed: int) -> None:
        self._witness = witness
        self._chance = random.Random(seed)  # noqa: S311 - not a secret
        self._offset = 0

    def environment(self, share: int) -> Mapping[str, str]:  # noqa: ARG002 - the killer's port
        """Nothing."""
        self._offset = self._witness.stat().st_size if self._witness.exists() else 0
        return {}

    def kill(self, process: Process, share: int) -> bool:
        """Kill the process at a random moment; False if it ended first."""
        # Half of a life's share on average: what is left over is for the last life.
        ends = self._chance.randrange(share)
        while process.poll() is None:
            new = self._witness.read_bytes()[self._offset :] if self._witness.exists() else b""
            if new and new.count(b'"end"') >= ends:
                time.sleep(self._chance.uniform(0, _LONGEST_PAUSE))
                process.kill()
                return process.wait() == -signal.SIGKILL
            time.sleep(_POLL_SECONDS)
        return False


class _Site:
    """A store, its witness, and the processes that come and go.

    Args:
        folder: Where everything is kept.
        report: What is filled in.
        loop: The kind of event loop of the processes.
        killer: Ends them.
    """

    def __init__(self, folder: Path, report: Report, loop: str, killer: Killer) -> None:
        self.report = report
        self._folder = folder
        self._loop = loop
        self._killer = killer
        self._lives = 0
        self._record = Record()
        self._settled: frozenset[Call] = frozenset()

    @property
    def calls_left(self) -> int:
        """Calls that have not settled."""
        all_calls = sum(workload.calls_of(number) for number in range(self.report.runs))
        return all_calls - len(self._settled)

    def live(self, kills_left: int) -> bool:
        """One process; returns whether it was killed.

        Args:
            kills_left: How many more are to be killed, with this one; 0: it lives to its end.
        """
        witness = self._folder / workload.WITNESS
        seen_before = len(sightings(witness))
        said = self._folder / f"life-{self._lives}.txt"
        arguments = [str(self._folder), str(self.report.runs), self._loop, str(self._lives)]
        command = python("tests.crash.workload", *arguments)
        share = 1 + self.calls_left // kills_left if kills_left else 0
        environment = os.environ | self._killer.environment(share) if share else None
        with (
            said.open("wb") as stderr,
            subprocess.Popen(  # noqa: S603 - our own program
                command, stderr=stderr, env=environment
            ) as process,
        ):
            was_killed = share > 0 and self._killer.kill(process, share)
            code = process.wait()
        seen = sightings(witness)[seen_before:]
        self._look(seen, was_killed=was_killed)
        if said.stat().st_size or code not in {0, -signal.SIGKILL}:
            self._complain(f"life {self._lives} ended with {code}: {said.read_text()}")
        self._lives += 1
        return was_killed

    def conclude(self) -> None:
        """All is done: compare it with what was to be done."""
        record, report = self._record, self.report
        seen = sightings(self._folder / workload.WITNESS)
        report.begun = sum(s.phase == "begin" for s in seen)
        report.settled = len(self._settled)
        outputs: dict[str, list[object]] = {}
        for run_id, value in record.outputs:
            outputs.setdefault(run_id, []).append(value)
        acknowledged = set(workload.acknowledged_in(self._folder))
        report.acknowledged = len(acknowledged)
        report.lost = len(acknowledged - outputs.keys())
        self._complain(*swapped(seen, record), *unlike(seen), *disturbed(record))
        for number in range(report.runs):
            found, expected = (
                outputs.get(workload.id_of(number)),
                workload.expected_output(number),
            )
            if found != [expected]:
                self._complain(f"run {number} put out {found}, expected [{expected}]")

    def _look(self, seen: list[Sighting], *, was_killed: bool) -> None:
        """What the process did, and what it left."""
        report = self.report
        again = list(repeated(self._settled, seen))
        report.repeated += len(again)
        self._complain(*again)
        self._record = record = read(self._folder / workload.STORE, self._record)
        self._settled = frozenset(record.settled)
        if was_killed:
            begun = {s.call for s in seen if s.phase == "begin"}
            report.interrupted += len(begun - {s.call for s in seen if s.phase == "end"})
            is_live = any(record.statuses[run_id].is_open for run_id, _ in begun)
            report.kills += is_live
            report.misses += not is_live

    def _complain(self, *breaches: str) -> None:
        self.report.breaches += breaches


def kill_at_random(
    folder: Path, *, runs: int = 1000, kills: int = 200, seed: int = 0, loop: str = "asyncio"
) -> Report:
    """Kill processes at random moments until the work is done.

    Args:
        folder: An empty folder.
        runs: How many inputs there are.
        kills: How many processes are killed, at most.
        seed: Of the moments.
        loop: The kind of event loop of the processes: `"asyncio"` or `"uvloop"`.
    """
    report = Report(runs=runs, seed=seed)
    killer = _AtRandom(folder / workload.WITNESS, seed)
    kill_again_and_again(folder, report, kills, killer, loop)
    return report


def kill_again_and_again(
    folder: Path, report: Report, kills: int, killer: Killer, loop: str = "asyncio"
) -> None:
    """Have processes killed until the work is done, and fill the report in.

    Args:
        folder: An empty folder.
        report: Says how many inputs there are.
        kills: How many processes are killed in the middle of a run, at most.
        killer: Chooses the moments.
        loop: The kind of event loop of the processes.
    """
    started = time.monotonic()
    site = _Site(folder, report, loop, killer)
    while site.live(kills - report.kills):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{report.kills} of {kills} kills ")
    site.conclude()
    report.seconds = time.monotonic() - started


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = kill_at_random(Path(folder), **vars(arguments))
    verdict = report.verdict("kills at random moments", arguments.kills)
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
