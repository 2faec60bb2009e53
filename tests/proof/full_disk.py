"""Fill the disk under a worker, for real, and fail the opening of its store; then let it work.

    python -m tests.proof.full_disk --rounds 12 --openings 60

In a round the store lies on a tmpfs of 8 MiB, which something else fills while a
worker is at work and which is emptied again; where none can be mounted (it takes a user
namespace), the system refuses to let files grow beyond a size (RLIMIT_FSIZE) instead. The
process must come to its end by itself with all outputs, and say why it stood still meanwhile.

In an opening the nth write or sync of a store that is being opened fails. That is an error of
ours with a next move, or none at all; and a second start works on with nothing lost.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec

from tests.crash import workload
from tests.crash.evidence import disturbed, read, swapped
from tests.crash.nursery import python
from tests.crash.verdict import Verdict, conclude, figures
from tests.crash.witness import sightings
from tests.proof.faults import FAILURES, Faults, build, compiler
from tests.proof.filled import Said

__all__ = ["FullReport", "can_mount", "fail_openings", "fill_disks"]

_RUNS = 30
_PATIENCE = 120.0
_CALLS = {True: {"write": 40, "sync": 8}, False: {"write": 6, "sync": 2}}
"""Writes and syncs of a store that is being made and opened, and of one that is only opened."""
_KINDS: tuple[Literal["write", "sync"], ...] = ("write", "sync")


@dataclass(slots=True)
class FullReport:
    """What was done, and what came of it."""

    rounds: Counter[str] = field(default_factory=Counter)
    """By what filled up."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Errors of submitters while there was no space, by class."""
    waits: int = 0
    """Warnings of workers that say why a run stands still."""
    openings: int = 0
    opened: int = 0
    """Openings that succeeded all the same."""
    errors: Counter[str] = field(default_factory=Counter)
    """Of the others, by class."""
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return figures(
            {
                **{f"filled: {name}": count for name, count in self.rounds.items()},
                **{f"submissions refused: {n}": c for n, c in self.refusals.items()},
                "warnings that say why runs stand still": self.waits,
                "openings with a fault": self.openings,
                "opened all the same": self.opened,
                **{f"refused: {name}": count for name, count in self.errors.items()},
                "violations": len(self.breaches),
                "seconds": f"{self.seconds:.1f}",
            },
            width=52,
        )


def can_mount() -> bool:
    """Whether a tmpfs can be mounted in a namespace of our own."""
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - ours
    except OSError:
        return False
    return done.returncode == 0


def fill_disks(folder: Path, report: FullReport, *, rounds: int, seed: int) -> None:
    """Fill the disk under a worker, again and again, each time over a new store."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    mounts = can_mount()
    for number in range(rounds):
        # Every second round of those with a tmpfs, so that both ways are gone.
        kind = "tmpfs" if mounts and number % 2 == 0 else "file size"
        site = folder / f"round-{number}"
        site.mkdir()
        places = [str(1 + chance.randrange(100 * _RUNS // 10)) for _ in range(3)]
        _fill_once(site, report, kind, places)
        report.rounds[kind] += 1


def _fill_once(site: Path, report: FullReport, kind: str, places: Sequence[str]) -> None:
    module = "tests.proof.filled"
    command = python(module, str(site), str(_RUNS), kind, ",".join(places))
    if kind == "tmpfs":
        mount = f"mkdir {site}/disk && mount -t tmpfs -o size=8m tmpfs {site}/disk"
        command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
    said = site / "said.json"
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        report.breaches.append(f"{site.name} ({kind}): it does not come to its end")
        return
    if done.returncode or not said.exists():
        problem = f"ended with {done.returncode}: {done.stderr[-2000:]}"
        report.breaches.append(f"{site.name} ({kind}): {problem}")
        return
    told = msgspec.json.decode(said.read_bytes(), type=Said)
    report.refusals.update(told.refusals)
    report.waits += told.waits
    if not told.failures:
        report.breaches.append(f"{site.name} ({kind}): nothing failed: it proves nothing")
    wrong = list(_at_the_end(site))
    report.breaches += [f"{site.name} ({kind}): {breach}" for breach in wrong[:3]]


def _at_the_end(site: Path) -> Iterator[str]:
    """What is not as it would be had there been space all the time."""
    record = read(site / workload.STORE)
    seen = sightings(site / workload.WITNESS)
    yield from disturbed(record)
    yield from swapped(seen, record)
    for number in range(_RUNS):
        outputs = record.outputs_of(workload.id_of(number))
        if outputs != [workload.expected_output(number)]:
            yield f"run {number} put out {outputs}"


def fail_openings(folder: Path, report: FullReport, *, openings: int, seed: int) -> None:
    """Fail the opening of stores: every second one is new, the others hold work.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    shim = build(folder)
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for number in range(openings):
        site = folder / f"opening-{number}"
        site.mkdir()
        is_new = number % 2 == 0
        if not is_new:
            _live(site, {}, "begin")
        call = chance.choice(_KINDS)
        faults = Faults(
            folder=site,
            call=call,
            at=1 + chance.randrange(_CALLS[is_new][call]),
            count=chance.choice([1, 3, 8]),
            do=FAILURES[number % len(FAILURES)],
        )
        report.openings += 1
        first = _live(site, faults.environment(shim), "finish")
        if first == "":
            report.opened += 1
        else:
            report.errors[first.partition(":")[0]] += 1
        second = _live(site, {}, "finish")
        if first.startswith("!") or second:
            report.breaches.append(f"{faults}: first {first!r}, then {second!r}")


def _live(site: Path, environment: dict[str, str], what: str) -> str:
    """One life over a store: the error of ours that ended it, "" for none, "!" for others."""
    done = subprocess.run(  # noqa: S603 - our own program
        python("tests.proof.opened", str(site), what),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        env=os.environ | environment,
        check=False,
    )
    if done.returncode:
        return f"!{done.returncode}: {done.stderr[-1500:]}"
    return done.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--openings", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    report = FullReport()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        fill_disks(place, report, rounds=options.rounds, seed=options.seed)
        if compiler() is not None:
            fail_openings(place, report, openings=options.openings, seed=options.seed)
    report.seconds = time.monotonic() - started
    verdict = Verdict(
        layer="full disks and openings",
        claims=("C2", "C5"),
        tried=f"{report.rounds.total()} rounds, {report.openings} openings",
        violations=len(report.breaches),
        seconds=report.seconds,
    )
    return conclude(report, report.breaches, verdict)


if __name__ == "__main__":
    sys.exit(main())
