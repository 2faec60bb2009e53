"""Ours and something to hold it against, in turn, each in a process of its own.

What counts is the ratio of each pair: machines are noisy, and both sides of a pair run within
seconds of each other.
"""

import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

__all__ = [
    "ROOT",
    "Comparison",
    "Figure",
    "Figures",
    "Result",
    "circumstances",
    "command",
    "compare",
    "environment",
    "measure",
]

ROOT = Path(__file__).parent.parent
CHANGES = ("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
"""What differs from the commit; results that have just been written change no figure."""
Figures = dict[str, float]


@dataclass(frozen=True)
class Figure:
    """One of the numbers that both sides print."""

    name: str
    ours: str
    """Its key in what ours prints."""
    theirs: str | None = None
    """Its key on the other side; None: the same."""
    per: float = 1.0
    """What both are divided by."""


@dataclass(frozen=True)
class Comparison:
    """Two programs that are run in turn, and what is read from both."""

    workload: str
    size: str
    ours: tuple[object, ...]
    """A module of `benchmarks` and its arguments."""
    theirs: tuple[object, ...]
    against: str
    """What the other side is, in words."""
    figures: tuple[Figure, ...]
    settings: str = ""


@dataclass
class Result:
    """One figure of a comparison, from all pairs."""

    workload: str
    size: str
    settings: str
    figure: str
    against: str
    ours: list[float] = field(default_factory=list[float])
    theirs: list[float] = field(default_factory=list[float])

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """What `as_record` gave."""
        return cls(**{one.name: record[one.name] for one in fields(cls)})

    def add(self, ours: float, theirs: float) -> None:
        """Take in one pair."""
        self.ours.append(ours)
        self.theirs.append(theirs)

    @property
    def ratios(self) -> list[float]:
        """Ours through theirs, of each pair."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def as_record(self) -> dict[str, Any]:
        """Every number, and the medians."""
        medians = {
            "median_ours": statistics.median(self.ours),
            "median_theirs": statistics.median(self.theirs),
            "median_ratio": statistics.median(self.ratios),
        }
        return {**asdict(self), "ratios": self.ratios, **medians}


def compare(comparison: Comparison, pairs: int) -> list[Result]:
    """Run both sides in turn, so many times."""
    wanted = comparison.figures
    results = [
        Result(
            comparison.workload,
            comparison.size,
            comparison.settings,
            figure.name,
            comparison.against,
        )
        for figure in wanted
    ]
    for _ in range(pairs):
        ours, theirs = measure(*comparison.ours), measure(*comparison.theirs)
        for figure, result in zip(wanted, results, strict=True):
            key = figure.theirs or figure.ours
            result.add(ours[figure.ours] / figure.per, theirs[key] / figure.per)
    return results


def measure(module: object, *arguments: object) -> Figures:
    """Figures that one program prints."""
    done = subprocess.run(  # noqa: S603 - our own programs
        command(module, *arguments),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    figures: Figures = json.loads(done.stdout)
    return figures


def command(module: object, *arguments: object) -> list[str]:
    """What starts a program of ours."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def environment() -> dict[str, str]:
    """Ours, with this package where a process finds it that runs in another folder."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def circumstances() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "commit": git("rev-parse", "HEAD"),
        "is_changed_since": bool(git(*CHANGES)),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("aiosqlite", "anyio", "msgspec")},
    }


def git(*arguments: str) -> str:
    """What git says about this checkout; nothing where it is none."""
    program = shutil.which("git") or "git"
    try:
        done = subprocess.run(  # noqa: S603
            [program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
