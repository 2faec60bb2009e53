"""Kill a process while calls are in doubt, and see each treated as its author declared.

    python -m tests.proof.doubt --kills 200

The calls of `doubt_workload` declare everything that can be declared: to be made again, to
fail, to have a person asked, to be looked up by a reconciler that finds the effect, finds none,
finds a refusal, or cannot look at all. Every second process is killed at a random moment after
the witness saw calls begin, the others before or after the nth write or sync of their store,
where there is a C compiler. Parked runs go on as a person decides, in a process or on the
command line between two of them. Only kills are counted that left a call in doubt.

The last round proves that the harness would notice: its workers treat every call in doubt as
one that may be made again.
"""

import argparse
import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from durable_agents.cli import main as durable_agents
from tests.crash.evidence import Record, read
from tests.crash.nursery import python
from tests.crash.random_kills import Process
from tests.crash.verdict import Verdict, conclude, figures
from tests.crash.witness import sightings
from tests.proof.doubt_history import Histories
from tests.proof.doubt_workload import (
    KINDS,
    LEDGER,
    STORE,
    TOLD,
    WITNESS,
    Effect,
    Telling,
    decision,
    id_of,
    is_decided_outside,
    kinds_of,
    lines,
)
from tests.proof.faults import Faults, build, compiler

__all__ = ["DoubtReport", "kill_in_doubt"]

RUNS_PER_KILL = 6
"""So many that a process gets somewhere before it is killed: see `tests.crash.workload`."""
_RECKLESS_KILLS = 10
_WRITES_PER_CALL = 2.0
"""Writes and syncs of the store for each call that settles, about."""
_POLL_SECONDS = 0.0005
_LONGEST_PAUSE = 0.01


class _Listed(msgspec.Struct):
    run: str
    reason: str


class _Listing(msgspec.Struct):
    """What is used of `durable-agents runs --json`."""

    runs: list[_Listed]


@dataclass(slots=True)
class DoubtReport:
    """What was done, and what came of it."""

    runs: int
    kills: int = 0
    """Kills that left at least one call in doubt."""
    misses: int = 0
    """Other kills: they prove nothing, and do not count."""
    doubts: Counter[str] = field(default_factory=Counter)
    """Calls that a kill left in doubt, by what they declare; counted once for each kill."""
    treatments: Counter[str] = field(default_factory=Counter)
    """What became of calls that had been in doubt."""
    decided_outside: int = 0
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return figures(
            {
                "runs": self.runs,
                "kills that left a call in doubt": self.kills,
                "other kills": self.misses,
                **{f"in doubt: {name}": self.doubts[name] for name in KINDS},
                **dict(sorted(self.treatments.items())),
                "decided by the command line": self.decided_outside,
                "not as declared, or not reported": len(self.breaches),
                "seconds": f"{self.seconds:.1f}",
            },
            width=64,
        )


class _Site:
    """A store, its witness, the ledger, and the processes that come and go."""

    def __init__(self, folder: Path, shim: Path | None, report: DoubtReport, seed: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._shim = shim
        self._report = report
        self._chance = random.Random(seed)  # noqa: S311 - not a secret
        self._lives = 0
        self._record = Record()
        self._histories = Histories(map(id_of, range(report.runs)))

    @property
    def is_done(self) -> bool:
        """Whether every run has completed."""
        done = {t.run_id for t in self._tellings() if t.what == "output"}
        return len(done) == self._report.runs

    def live(self, kills_left: int, module: str) -> None:
        """One process, killed if kills are left, and what is decided after it."""
        settled = sum(h.settled_in is not None for h in self._histories.calls.values())
        share = 1 + (len(self._histories.calls) - settled) // max(kills_left, 1)
        seen_before = len(sightings(self._folder / WITNESS))
        said = self._folder / f"life-{self._lives}.txt"
        command = python(module, str(self._folder), str(self._report.runs), str(self._lives))
        by_shim = self._shim is not None and self._lives % 2 == 1 and kills_left > 0
        environment = os.environ | (self._faults(share) if by_shim else {})
        with (
            said.open("wb") as stderr,
            subprocess.Popen(  # noqa: S603 - our own program
                command, stderr=stderr, env=environment
            ) as process,
        ):
            if kills_left and not by_shim:
                self._kill(process, self._chance.randrange(share))
            code = process.wait()
        if said.stat().st_size or code not in {0, -signal.SIGKILL}:
            self._complain(f"life {self._lives} ended with {code}: {said.read_text()[-2000:]}")
        self._look(seen_before, was_killed=code == -signal.SIGKILL)
        self._decide()
        self._lives += 1

    def _faults(self, share: int) -> dict[str, str]:
        assert self._shim is not None, "there is one"
        faults = Faults(
            folder=self._folder,
            at=1 + int(self._chance.random() * share * _WRITES_PER_CALL),
            do=self._chance.choice(["kill-before", "kill-after"]),
        )
        return faults.environment(self._shim)

    def _kill(self, process: Process, ends: int) -> None:
        """Kill a process a random time after it was seen to end so many calls."""
        witness = self._folder / WITNESS
        offset = witness.stat().st_size if witness.exists() else 0
        while process.poll() is None:
            new = witness.read_bytes()[offset:] if witness.exists() else b""
            if new and new.count(b'"end"') >= ends:
                time.sleep(self._chance.uniform(0, _LONGEST_PAUSE))
                process.kill()
                return
            time.sleep(_POLL_SECONDS)

    def _look(self, seen_before: int, *, was_killed: bool) -> None:
        """What the process did, and what it left in doubt."""
        store, report = self._folder / STORE, self._report
        if store.exists():
            self._record = read(store, self._record)
        seen = sightings(self._folder / WITNESS)[seen_before:]
        doubtful = self._histories.end_of_life(self._lives, seen, self._record)
        if not was_killed:
            return
        report.kills += bool(doubtful)
        report.misses += not doubtful
        report.doubts.update(self._histories.calls[call].kind for call in doubtful)

    def _decide(self) -> None:
        """Be the person who looks after parked runs from the command line."""
        numbers = {id_of(n): n for n in range(self._report.runs) if is_decided_outside(n)}
        for listed in self._parked():
            with (self._folder / TOLD).open("ab") as told:
                told.write(_line(Telling(listed.run, "parked", listed.reason)))
            if listed.run not in numbers:
                continue  # the next process decides
            effect = decision(self._folder, listed.run)
            how = ["--rerun"] if effect is None else ["--value", f'"told {effect.value}"']
            self._command("resolve", listed.run, *how)
            self._report.decided_outside += 1

    def _parked(self) -> list[_Listed]:
        if not self._record.statuses:
            return []
        text = self._command("runs", "--json", "--status", "parked", "--limit", "1000")
        return msgspec.json.decode(text, type=_Listing).runs if text else []

    def _command(self, command: str, *arguments: str) -> str:
        """What the command line has to say; empty where it refused."""
        said, complaint = io.StringIO(), io.StringIO()
        line = [command, *arguments, "--store", str(self._folder / STORE)]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            code = durable_agents(line)
        if code:
            self._complain(f"{line} ended with {code}: {complaint.getvalue()}")
            return ""
        return said.getvalue()

    def conclude(self) -> None:
        """All is done: compare it with what was declared."""
        if not self.is_done:
            return  # it was broken off: what was found by then says why
        histories = self._histories
        histories.take_effects(lines(self._folder / LEDGER, Effect))
        self._complain(*histories.breaches(), *histories.unreported(self._tellings()))
        self._complain(*self._not_put_out())
        for history in histories.calls.values():
            if history.doubts:
                self._report.treatments[history.treatment] += 1

    def _not_put_out(self) -> Iterator[str]:
        """Runs whose outputs are not the outcomes of their calls."""
        outputs: dict[str, list[object]] = {}
        for run_id, value in self._record.outputs:
            outputs.setdefault(run_id, []).append(value)
        calls = self._histories.calls
        for number in range(self._report.runs):
            run_id = id_of(number)
            expected = [
                [kind, calls[run_id, f"0:act:root:{position}"].outcome]
                for position, kind in enumerate(kinds_of(number))
            ]
            if outputs.get(run_id) != expected:
                yield f"{run_id} put out {outputs.get(run_id)}, expected {expected}"

    def _tellings(self) -> list[Telling]:
        return lines(self._folder / TOLD, Telling)

    def _complain(self, *breaches: str) -> None:
        self._report.breaches += breaches


def _line(telling: Telling) -> bytes:
    return b"\n" + msgspec.json.encode(telling) + b"\n"


def kill_in_doubt(
    folder: Path,
    *,
    kills: int,
    runs: int | None = None,
    seed: int = 0,
    module: str = "tests.proof.doubt_workload",
) -> DoubtReport:
    """Kill processes until so many kills left a call in doubt, and see the work done.

    Args:
        folder: An empty folder.
        kills: How many kills are to leave a call in doubt, at most.
        runs: How many inputs there are. Default: `RUNS_PER_KILL` for each kill.
        seed: Of the moments.
        module: The processes' program.
    """
    started = time.monotonic()
    report = DoubtReport(runs=runs or RUNS_PER_KILL * kills)
    shim = None if compiler() is None else build(folder)
    site = _Site(folder / "site", shim, report, seed)
    while not site.is_done and not report.breaches:
        site.live(kills - report.kills, module)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{report.kills} of {kills} kills ")
    site.conclude()
    report.seconds = time.monotonic() - started
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, help=f"default: {RUNS_PER_KILL} for each kill")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        report = kill_in_doubt(Path(folder), **vars(options))
    with TemporaryDirectory() as folder:
        reckless = kill_in_doubt(
            Path(folder), kills=_RECKLESS_KILLS, module="tests.proof.doubt_reckless"
        )
    verdicts = [
        Verdict(
            layer="calls in doubt",
            claims=("C4", "C5"),
            tried=f"{report.kills} kills, {report.doubts.total()} calls in doubt",
            violations=len(report.breaches),
            seconds=report.seconds,
            is_short=report.kills < options.kills,
        ),
        Verdict(
            layer="calls in doubt, all made again",
            claims=("C4",),
            tried=f"{reckless.kills} kills",
            violations=len(reckless.breaches),
            seconds=reckless.seconds,
            must_fail=True,
        ),
    ]
    return conclude(report, report.breaches, *verdicts)


if __name__ == "__main__":
    sys.exit(main())
