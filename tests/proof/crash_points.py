"""Crash before and after each commit of a run in turn, and again while it recovers.

    python -m tests.proof.crash_points --points 10000
    python -m tests.proof.crash_points --points 1 --seed 17   all of that seed's

Each seed has a tree of asyncio and a schedule, both of the model and the schedules layer. Its
run is played once for each write that it makes and for each side of the commit, to the fixed
point: until a life makes fewer writes than the crash waits for. Every second life but the last
dies as well, at a write drawn by lot.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from tests.crash.verdict import Verdict, conclude, figures
from tests.proof.model_tree import Node, grown
from tests.proof.model_trial import Trial
from tests.proof.schedule_loop import Chance
from tests.proof.schedules import SlowStore, lived

__all__ = ["Report", "crash_everywhere"]

_LATEST_SECOND = 6
"""Writes of a second life, at most, after which it dies as well."""


@dataclass(slots=True)
class Report:
    """How much was tried, and what was found."""

    trees: int = 0
    points: int = 0
    """Crashes, each at another moment of its run."""
    in_recovery: int = 0
    """Crashes of a second life, besides."""
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return figures({
            "trees": self.trees,
            "crash points": self.points,
            "crashes while recovering": self.in_recovery,
            "breaches of any kind": len(self.breaches),
            "seconds": f"{self.seconds:.1f}",
        })


def crash_everywhere(*, points: int, seed: int = 0) -> Report:
    """Crash at every moment of as many trees as it takes.

    Args:
        points: Crash points, at least; the last tree is finished.
        seed: Of the first tree; each one has the next.
    """
    started = time.monotonic()
    report = Report()
    for number in count(seed):
        report.breaches += _crashed_everywhere(number, report)
        report.trees += 1
        if report.points >= points:
            break
    report.seconds = time.monotonic() - started
    return report


def _crashed_everywhere(seed: int, report: Report) -> Iterator[str]:
    tree = grown(Chance(seed))
    for write in count(1):
        has_crashed = False
        for commits in (False, True):
            trial, crashes = _crashed_once(seed, tree, write, commits=commits)
            report.points += min(crashes, 1)
            report.in_recovery += max(crashes - 1, 0)
            has_crashed |= crashes > 0
            side = "after" if commits else "before"
            for breach in dict.fromkeys(trial.witness.breaches):
                yield f"seed {seed}, {side} the commit of write {write}: {breach}; {tree}"
        if not has_crashed:
            return


def _crashed_once(seed: int, tree: Node, write: int, *, commits: bool) -> tuple[Trial, int]:
    """One tree with a crash at a write, and how often it crashed."""
    chance = Chance(seed * 1_000_003 + write * 2 + commits)
    store = SlowStore()
    trial = Trial({"run": tree}, store)
    # The second crash waits for few writes: little is left to be written by then.
    crashes = 0
    for after in (write, chance.randint(1, _LATEST_SECOND), None):
        store.chance = Chance(chance.random())
        if not lived(trial, store.chance, after, commits=commits):
            break
        crashes += 1
    if "run" not in trial.results:
        trial.witness.breaches.append("it has not ended")
    return trial, crashes


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.crash_points")
    parser.add_argument("--points", type=int, default=10_000, help="at least (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first tree (default 0)")
    options = parser.parse_args(arguments)
    # A task that an action leaves behind is worth a warning, but not one per seed.
    logging.getLogger("durable_agents").setLevel(logging.ERROR)
    report = crash_everywhere(**vars(options))
    verdict = Verdict(
        layer="every crash point",
        claims=("C1", "C2", "C3", "C5"),
        tried=f"{report.points} crash points, {report.trees} trees",
        violations=len(report.breaches),
        seconds=report.seconds,
    )
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
