"""Flip bits of a store, one at a time, and see what a worker and `doctor` make of it.

    python -m tests.proof.damage --flips 2000

Each case is a copy of one small store with runs in every state, in which one bit of one page
differs; the pages take turns. A worker then takes the copy up and is asked for every run.
A run may come to what it has to come to, or be refused by an error of ours that says what is
damaged. It may not come to anything else, and no call that had settled may be made again.

One kind of damage can be noticed only by comparing tables with their indexes, which a worker
does not do when it opens a store: a row of which the index has lost track. Such cases are
counted apart, and `doctor` has to name them.
"""

import argparse
import asyncio
import contextlib
import faulthandler
import io
import json
import logging
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

from durable_agents import DurableAgentsError, RunParkedError
from durable_agents.cli import main as durable_agents
from tests.crash.verdict import Verdict, conclude, figures
from tests.proof.damaged_runs import PARKED, Found, expected, look, make

__all__ = ["DamageReport", "Outcome", "flip_bits"]

_PAGE = 4096
_HANGS = 120.0

Outcome: TypeAlias = Literal[
    "untouched", "refused at open", "refused when read", "lost from an index", "wrong"
]


@dataclass(slots=True)
class DamageReport:
    """What was done, and what came of it."""

    pages: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Cases by what the page holds and what came of them."""
    noticed: int = 0
    """Cases in which `doctor` found something."""
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return figures(
            {
                "pages": self.pages,
                **dict(sorted(self.outcomes.items())),
                **{f"  {name}": count for name, count in sorted(self.kinds.items())},
                "damage that doctor names": self.noticed,
                "violations": len(self.breaches),
                "seconds": f"{self.seconds:.1f}",
            },
            width=64,
        )


def outcome_of(found: Found) -> tuple[Outcome, str]:
    """What a worker made of a store, and an example where it is not as it should be."""
    if found.refused:
        return "refused at open", ""
    outcome: Outcome = "untouched"
    for number, result in found.results.items():
        match _judged(number, result):
            case "wrong":
                return "wrong", f"run {number} came to {result!r}"
            case "refused when read":
                outcome = "refused when read"
            case _:
                pass
    if found.again:
        return "wrong", f"settled calls were made again: {found.again}"
    return outcome, ""


def _judged(number: int, result: Any) -> Outcome:  # noqa: ANN401 - outputs
    if isinstance(result, RunParkedError) and "resolve it" in str(result):
        return "untouched" if number in PARKED else "wrong"
    if isinstance(result, DurableAgentsError):
        return "refused when read"
    return "untouched" if number not in PARKED and result == expected(number) else "wrong"


def flip_bits(folder: Path, *, flips: int, seed: int = 0) -> DamageReport:
    """Flip bits of copies of a store.

    Args:
        folder: An empty folder.
        flips: How many cases.
        seed: Of the bits.
    """
    started = time.monotonic()
    report = DamageReport()
    whole = folder / "whole.db"
    asyncio.run(make(whole))
    content = whole.read_bytes()
    names = _names_of_pages(whole)
    report.pages = len(content) // _PAGE
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for number in range(flips):
        page = number % report.pages
        # Every second flip hits the beginning of the page: its header, and where its cells lie.
        at = chance.randrange(64 if number // report.pages % 2 else _PAGE)
        _one_flip(report, folder, content, (page * _PAGE + at, chance.randrange(8)), names)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{number + 1} of {flips} flips ")
    report.seconds = time.monotonic() - started
    return report


def _names_of_pages(path: Path) -> dict[int, str]:
    """What each page belongs to, where SQLite tells; counted from 0."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("SELECT pageno, name, pagetype FROM dbstat").fetchall()
        except sqlite3.OperationalError:  # not compiled in
            return {}
    return {number - 1: f"{name} ({kind})" for number, name, kind in rows}


def _one_flip(
    report: DamageReport,
    folder: Path,
    content: bytes,
    place: tuple[int, int],
    names: dict[int, str],
) -> None:
    at, bit = place
    where = f"byte {at}, bit {bit} ({names.get(at // _PAGE, 'page')})"
    path = folder / "flipped.db"
    flipped = bytearray(content)
    flipped[at] ^= 1 << bit
    for left in folder.glob("flipped.db*"):
        left.unlink()
    path.write_bytes(flipped)
    path.chmod(0o600)
    faulthandler.dump_traceback_later(_HANGS, exit=True)
    is_noticed = False
    try:
        is_noticed = _is_noticed(path)
        outcome, example = outcome_of(asyncio.run(look(path)))
    except BaseException as error:  # noqa: BLE001 - whatever is none of ours is a violation
        outcome, example = "wrong", f"{type(error).__name__}: {error}"
    if outcome == "wrong" and is_noticed and example.startswith(_LOST):
        outcome = "lost from an index"
    report.noticed += is_noticed
    report.outcomes[outcome] += 1
    report.kinds[f"{names.get(at // _PAGE, 'page')}: {outcome}"] += 1
    if outcome == "wrong":
        report.breaches.append(f"{where}: {example}")
    elif outcome != "untouched" and not is_noticed:
        report.breaches.append(f"{where}: {outcome}, and doctor finds nothing")
    faulthandler.cancel_dump_traceback_later()


_LOST = ("TimeoutError", "settled calls were made again")
"""What follows where a worker does not find a row: its run does not start, a call is made
again, an input is taken for a new one. A value that nobody has produced never follows."""


def _is_noticed(path: Path) -> bool:
    """Whether `doctor` names the damage; anything but a report is an error of its own."""
    said, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
        code = durable_agents(["doctor", "--json", "--store", str(path)])
    if not said.getvalue():
        return code == 3 and bool(complaint.getvalue())
    report = json.loads(said.getvalue())
    return code == 3 and bool(report["found"]["damage"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.getLogger("durable_agents").setLevel(logging.CRITICAL)
    with TemporaryDirectory() as folder:
        report = flip_bits(Path(folder), **vars(options))
    verdict = Verdict(
        layer="flipped bits",
        claims=("C1", "C2", "C3"),
        tried=f"{report.outcomes.total()} flips over {report.pages} pages",
        violations=len(report.breaches),
        seconds=report.seconds,
    )
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
