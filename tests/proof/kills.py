"""Kill a busy process inside its commits, again and again, and say what became of its work.

    python -m tests.proof.kills --kills 500

As `tests.crash.random_kills`, but for the moment: each process is killed immediately before or
after its nth write or sync of the store's files, where n is spread over all of its work. So the
kills land between the frames of one transaction, before and after the sync that makes it
durable, within a checkpoint, and while the file is being opened.
"""

import argparse
import random
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from tests.crash.random_kills import Process, Report, kill_again_and_again
from tests.crash.verdict import conclude, figures
from tests.crash.workload import WITNESS
from tests.proof.faults import Faults, build, compiler

__all__ = ["CommitReport", "kill_in_commits"]

Kind: TypeAlias = Literal["write", "sync", "any"]

_PER_CALL: dict[Kind, float] = {"write": 1.4, "sync": 0.1, "any": 1.5}
"""Writes and syncs of the store for each call that settles (measured): a commit holds the
entries of several runs, and writes each page that they change in two pieces."""
_MOST_PER_CALL = 8.0
"""How many times that it may be: after several crashes runs are started one by one, and then a
commit holds the entries of one."""
RUNS_PER_KILL = 5
"""Inputs for each kill, unless told otherwise: so many that a process gets somewhere before it
is killed, see `workload`."""


class _InCommit:
    """Kills at the nth write or sync of the store's files."""

    def __init__(self, folder: Path, shim: Path, said: Path, seed: int) -> None:
        self._folder = folder
        self._shim = shim
        self._said = said
        self._chance = random.Random(seed)  # noqa: S311 - not a secret
        self._lives = 0
        self._per_call = dict(_PER_CALL)
        self._last: tuple[Kind, int] | None = None
        self._ends = 0

    def environment(self, share: int) -> Mapping[str, str]:
        """The shim, and what it is to do."""
        self._learn()
        call = self._chance.choice(list(_PER_CALL))
        self._lives += 1
        # Any moment, and then one in the second half: a run that five lives in a row end
        # before it gets anywhere is given up, as it should be, for what may have ended them.
        moment = self._chance.uniform(0.0 if self._lives % 2 else 0.5, 1.0)
        # Less than a life's share on average: what is left over is for the last life.
        at = 1 + int(moment * share * self._per_call[call])
        self._last = call, at
        faults = Faults(
            folder=self._folder,
            call=call,
            at=at,
            do=self._chance.choice(["kill-before", "kill-after"]),
            said=self._said,
        )
        return faults.environment(self._shim)

    def _learn(self) -> None:
        """How far the last life got for as many writes as it made."""
        witness = self._folder / WITNESS
        ends = witness.read_bytes().count(b'"end"') if witness.exists() else 0
        if self._last is not None:
            call, at = self._last
            seen = at / max(1, ends - self._ends) / _PER_CALL[call]
            factor = (self._per_call[call] / _PER_CALL[call] + seen) / 2
            self._per_call[call] = _PER_CALL[call] * min(max(factor, 1.0), _MOST_PER_CALL)
        self._ends = ends

    def kill(self, process: Process, share: int) -> bool:  # noqa: ARG002 - the killer's port
        """Wait for the end that the shim brings about; False if the work was done first."""
        return process.wait() == -signal.SIGKILL


@dataclass(slots=True)
class CommitReport(Report):
    """What was done, what came of it, and which calls were hit."""

    calls: Counter[str] = field(default_factory=Counter)
    """Kills for each kind of call and file, misses included."""

    def __str__(self) -> str:
        calls = {f"killed at: {name}": count for name, count in sorted(self.calls.items())}
        return f"{Report.__str__(self)}\n{figures(calls)}"


def kill_in_commits(folder: Path, *, runs: int, kills: int, seed: int = 0) -> CommitReport:
    """Kill processes inside their commits until the work is done.

    Args:
        folder: An empty folder.
        runs: How many inputs there are.
        kills: How many processes are killed, at most.
        seed: Of the calls that are hit.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    site, said = folder / "site", folder / "said.txt"
    site.mkdir()
    report = CommitReport(runs=runs, seed=seed)
    killer = _InCommit(site, build(folder), said, seed)
    kill_again_and_again(site, report, kills, killer)
    hits = said.read_text().splitlines() if said.exists() else []
    report.calls = Counter(hit.partition(" ")[2] for hit in hits)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--runs", type=int, help=f"default: {RUNS_PER_KILL} for each kill")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if compiler() is None:
        sys.stdout.write("skipped: the shim needs Linux and a C compiler (cc, gcc)\n")
        return 0
    runs = options.runs or RUNS_PER_KILL * options.kills
    with TemporaryDirectory() as folder:
        report = kill_in_commits(
            Path(folder), runs=runs, kills=options.kills, seed=options.seed
        )
    verdict = report.verdict("kills inside commits", options.kills)
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
