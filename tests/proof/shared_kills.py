"""Kill workers that share a store inside their commits, while the others go on.

    python -m tests.proof.shared_kills --kills 200

In each round two to four processes work on a new store. Each is killed immediately before or
after its nth write or sync of the store's files, and started again, most of them to be killed
once more; in the end all of them live until everything is done. What a killed one was in the
middle of, another one has to roll back. No call begins again whose result was handed over,
wherever that was, and each worker is told the outputs of all its runs.
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.crash.evidence import disturbed, read
from tests.crash.sharing import CALLS, Part, Process, Result, start
from tests.crash.verdict import Verdict, conclude, figures
from tests.crash.witness import Sighting, sightings
from tests.proof.faults import Faults, build, compiler

__all__ = ["SharedReport", "kill_sharers"]

_RUNS = 12
"""Inputs of each worker."""
_KEYS = 6
_KILLS = 3
"""How often a worker is killed in one round, at most."""
_CALLS = 250
"""Writes and syncs of the store from which the one is chosen that kills a worker."""
_PATIENCE = 60.0
_POLL_SECONDS = 0.01


@dataclass(slots=True)
class SharedReport:
    """What was done, and what came of it."""

    rounds: int = 0
    kills: int = 0
    """Kills of a worker that had begun calls of a run that was not done then."""
    misses: int = 0
    """Other kills: they prove nothing, and do not count."""
    runs: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    """Kills for each kind of call and file, misses included."""
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = {
            "rounds of 2 to 4 workers": self.rounds,
            "runs": self.runs,
            "kills that hit a live run": self.kills,
            "other kills": self.misses,
            **{f"killed at: {name}": count for name, count in sorted(self.calls.items())},
            "breaches of any kind": len(self.breaches),
            "seconds": f"{self.seconds:.1f}",
        }
        return figures(rows)


class _Round:
    """Workers on one store, from the first start to the end of all."""

    def __init__(
        self, folder: Path, shim: Path, chance: random.Random, report: SharedReport
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._shim = shim
        self._chance = chance
        self._report = report
        self._said = folder.with_suffix(".said")
        workers = range(1, 1 + chance.choice([2, 2, 3, 4]))
        self._parts = [_part(folder, number) for number in workers]
        self._kills_left = dict.fromkeys(workers, _KILLS)

    def live(self) -> None:
        """Start all, kill them, start them again, and look at what they have done."""
        living = {part.number: self._start(part) for part in self._parts}
        end = time.monotonic() + _PATIENCE
        try:
            while living and time.monotonic() < end:
                for part in self._parts:
                    process = living.get(part.number)
                    if process is not None and process.poll() is not None:
                        self._bury(living, part, process)
                time.sleep(_POLL_SECONDS)
        finally:
            for process in living.values():
                process.kill()
                process.wait()
        self._conclude(list(living))

    def _start(self, part: Part) -> Process:
        if not self._kills_left[part.number]:
            return start(part)
        self._kills_left[part.number] -= 1
        faults = Faults(
            folder=self._folder,
            at=self._chance.randrange(1, _CALLS),
            do=self._chance.choice(["kill-before", "kill-after"]),
            said=self._said,
        )
        return start(part, faults.environment(self._shim))

    def _bury(self, living: dict[int, Process], part: Part, process: Process) -> None:
        """Count a death, and start the next life of the same worker."""
        if process.returncode == -signal.SIGKILL:
            is_live = any(_unfinished(sightings(part.witness), process.pid))
            self._report.kills += is_live
            self._report.misses += not is_live
            living[part.number] = self._start(part)
            return
        del living[part.number]
        if process.returncode:
            said = part.said.read_text()[-2000:]
            self._complain(f"worker {part.number} ended with {process.returncode}: {said}")

    def _conclude(self, stuck: list[int]) -> None:
        report = self._report
        report.rounds += 1
        report.runs += sum(len(part.runs) for part in self._parts)
        if self._said.exists():
            hits = self._said.read_text().splitlines()
            report.calls.update(hit.partition(" ")[2] for hit in hits)
        if stuck:
            self._complain(f"workers {stuck} did not come to their end")
            return
        part = self._parts[0]
        self._complain(*_begun_again(sightings(part.witness)), *disturbed(read(part.store)))
        for part in self._parts:
            told = msgspec.json.decode(part.result.read_bytes(), type=Result).outputs
            for _, run_id in part.runs:
                expected = [[f"{run_id}:{number}" for number in range(CALLS)]]
                if told.get(run_id) != expected:
                    self._complain(f"worker {part.number} was told {told.get(run_id)}")

    def _complain(self, *breaches: str) -> None:
        self._report.breaches += [f"{self._folder.name}: {breach}" for breach in breaches]


def _part(folder: Path, number: int) -> Part:
    runs = [(f"key-{i % _KEYS}", f"run-{number}-{i}") for i in range(_RUNS)]
    return Part(folder=str(folder), number=number, runs=runs, lease_seconds=5.0)


def _unfinished(seen: Sequence[Sighting], pid: int) -> Iterator[str]:
    """Runs of which a process had begun a call, and nobody had come to the end."""
    done = {s.run_id for s in seen if s.phase == "end" and s.args[1] == CALLS - 1}
    yield from {s.run_id for s in seen if s.pid == pid} - done


def _begun_again(seen: Sequence[Sighting]) -> Iterator[str]:
    """Calls that began after one that came behind them in their run."""
    furthest: dict[str, int] = {}
    for sighting in seen:
        if sighting.phase == "begin":
            number = int(sighting.args[1])
            if number < furthest.get(sighting.run_id, 0):
                yield f"its result was handed over, and it began again: {sighting}"
            furthest[sighting.run_id] = number


def kill_sharers(folder: Path, *, kills: int, seed: int = 0) -> SharedReport:
    """Kill workers that share a store until there have been that many kills.

    Args:
        folder: An empty folder.
        kills: Of a worker in the middle of a run.
        seed: Of the calls that are hit.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    started = time.monotonic()
    report = SharedReport()
    shim = build(folder)
    chance = random.Random(seed)  # noqa: S311 - not a secret
    while report.kills < kills and not report.breaches:
        _Round(folder / f"round-{report.rounds}", shim, chance, report).live()
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{report.kills} of {kills} kills ")
    report.seconds = time.monotonic() - started
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if compiler() is None:
        sys.stdout.write("skipped: the shim needs Linux and a C compiler (cc, gcc)\n")
        return 0
    with TemporaryDirectory() as folder:
        report = kill_sharers(Path(folder), **vars(options))
    verdict = Verdict(
        layer="kills inside commits, sharing",
        claims=("C1", "C2", "C5"),
        tried=f"{report.kills} kills of a live run",
        violations=len(report.breaches),
        seconds=report.seconds,
        is_short=report.kills < options.kills,
    )
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
