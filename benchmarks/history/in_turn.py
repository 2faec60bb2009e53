"""W7: a store with a million finished runs beside one that has none.

The store is filled once. One run more is made in each of the two stores in turn, each with a
worker and a process of its own. What is pruned are the oldest runs of the full store, some in
each round, beside as many that are all a store has. Files are in the page cache of the system,
as after a restart of the process and not of the machine.
"""

import json
import statistics
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.comparison import Figures, Result, command, environment, measure
from benchmarks.contestant import scratch_folder

__all__ = ["measure_history"]

RUNS, RUNS_IN_TURN, PRUNED = 1_000_000, 300, 20_000
WARM_UP = 10


class Adder:
    """A worker in a process of its own that makes a run when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.start = self._read()["start_milliseconds"]
        """Milliseconds that the worker took to start."""

    def add(self) -> float:
        """Milliseconds of one run more."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()["milliseconds"]

    def _read(self) -> Figures:
        assert self._process.stdout is not None
        figures: Figures = json.loads(self._process.stdout.readline())
        return figures


@contextmanager
def adding(path: Path) -> Generator[Adder]:
    """Start a worker on a store, and stop it."""
    with subprocess.Popen(  # noqa: S603 - our own program
        command("history.one_more", path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        yield Adder(process)


def measure_history(pairs: int, scale: float) -> list[Result]:
    """One run more, start-up and pruning, each against a store without a past."""
    runs, turns, pruned = (max(2, round(n * scale)) for n in (RUNS, RUNS_IN_TURN, PRUNED))
    size = f"{runs:,} finished runs in the store"
    one_more = Result("W7", size, "", "one run more, ms (median)", "an empty store")
    start = Result("W7", size, "", "start-up, ms", "an empty store")
    pruning = Result("W7", size, "", f"runs pruned/s, {pruned:,} of them", "all that there are")
    with scratch_folder() as folder:
        full = folder / "full.db"
        measure("history.fill", full, runs)
        for pair in range(pairs):
            with adding(full) as ours, adding(folder / f"empty{pair}.db") as theirs:
                start.add(ours.start, theirs.start)
                one_more.add(*in_turn(ours, theirs, turns))
        for pair in range(pairs):
            small = folder / f"small{pair}.db"
            measure("history.fill", small, pruned)
            ours_pruned = measure("history.prune", full, 1 + pruned * (pair + 1))
            theirs_pruned = measure("history.prune", small, 1 + pruned)
            pruning.add(ours_pruned["runs_per_second"], theirs_pruned["runs_per_second"])
    return [one_more, start, pruning]


def in_turn(ours: Adder, theirs: Adder, turns: int) -> tuple[float, float]:
    """Medians of one run more, the stores changing places in each turn."""
    found: dict[Adder, list[float]] = {ours: [], theirs: []}
    for turn in range(WARM_UP + turns):
        for adder in (ours, theirs) if turn % 2 else (theirs, ours):
            milliseconds = adder.add()
            if turn >= WARM_UP:
                found[adder].append(milliseconds)
    return statistics.median(found[ours]), statistics.median(found[theirs])
