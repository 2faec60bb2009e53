"""Cut the power at any moment, on paper: is what was acknowledged still there?

    python -m tests.proof.power --images 2000

A busy process is recorded, with every write and sync of its store and everything that the
engine told its user. At points of the record the disk is rebuilt as a power cut may leave it
(see `disk`), and the engine opens that. Each image must open whole: SQLite finds no damage, the
engine reads every entry, and the journal is the beginning of what was written later. With
`synchronous="full"`, owned or shared, nothing that was acknowledged before the cut may be
missing; with `"normal"` it is counted what is. Some of the images are worked on to the end: no
settled call runs again, and all outputs are those of a run without a power cut.

The last round has every sync left out. There the harness must find losses; if it finds none, it
proves nothing, and fails.
"""

import argparse
import asyncio
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import SqliteStore
from tests.crash import workload
from tests.crash.evidence import CODEC, Record, disturbed, read, repeated, swapped, unlike
from tests.crash.nursery import python
from tests.crash.verdict import Verdict, conclude
from tests.crash.witness import sightings
from tests.proof.disk import CUTS, Cut, Disk, Image
from tests.proof.faults import Faults, build, compiler
from tests.proof.recorded import Mode
from tests.proof.told import Told, lost
from tests.proof.trace import Change, decode_trace

__all__ = ["PowerReport", "Recording", "cut_power", "record"]

_MODES: tuple[Mode, ...] = ("full", "normal", "shared", "off")
_EACH_FINISHED = 40
"""One image in so many is worked on to the end."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a process did from its start to its end."""

    mode: Mode
    runs: int
    changes: list[Change]
    final: Record | None
    """What its store holds at the end; None where images need not be a beginning of it."""


@dataclass(slots=True)
class PowerReport:
    """How many images were looked at, and what is wrong with them."""

    mode: Mode
    images: int = 0
    finished: int = 0
    """Images that were worked on to the end."""
    damaged: int = 0
    """Images that are not whole, or not worked on as they should."""
    losing: int = 0
    """Images that lack something that had been acknowledged."""
    acknowledged: int = 0
    """Acknowledgements before the cuts, over all images."""
    lost: int = 0
    """How many of them are not there."""
    most_lost: int = 0
    """By one image."""
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def is_as_promised(self) -> bool:
        """Whether the images hold what this way of syncing promises; "off" must break it."""
        return self.verdict().holds

    def verdict(self) -> Verdict:
        """What it comes to."""
        may_lose = self.mode == "normal"
        return Verdict(
            layer=f"power cuts, {self.mode}",
            claims=("C1", "C3", "C5") if may_lose else ("C1", "C2", "C3", "C5"),
            tried=f"{self.images} images",
            violations=self.damaged if may_lose else self.damaged + self.losing,
            seconds=self.seconds,
            must_fail=self.mode == "off",
        )

    def complain(self, kind: str, breaches: Sequence[str]) -> None:
        """Keep the first things that are wrong as examples."""
        self.examples += [f"{self.mode}: {kind}: {breach[:300]}" for breach in breaches[:1]]

    def __str__(self) -> str:
        figures = (
            self.images,
            self.finished,
            self.damaged,
            self.losing,
            self.acknowledged,
            self.lost,
            self.most_lost,
            f"{self.seconds:.1f}",
        )
        verdict = "as promised" if self.is_as_promised else "NOT AS PROMISED"
        return (
            f"{self.mode:8}" + "".join(f"{figure!s:>10}" for figure in figures) + f"  {verdict}"
        )


HEADING = f"{'mode':8}" + "".join(
    f"{name:>10}"
    for name in ("images", "finished", "damaged", "losing", "told", "lost", "most", "seconds")
)


def record(
    folder: Path, shim: Path, *, runs: int, mode: Mode, faults: Faults | None = None
) -> Recording:
    """Record a process that works on a new store in a new folder until all is done.

    Args:
        folder: Made; its trace lies beside it.
        shim: The library.
        runs: How many inputs there are.
        mode: How the store syncs.
        faults: What goes wrong besides; None: nothing.
    """
    folder.mkdir()
    trace, said = folder.with_suffix(".trace"), folder.with_suffix(".txt")
    wanted = faults or Faults(folder=folder, trace=trace)
    command = python("tests.proof.recorded", str(folder), str(runs), mode)
    with said.open("wb") as stderr:
        subprocess.run(  # noqa: S603 - our own program
            command, env=os.environ | wanted.environment(shim), stderr=stderr, check=True
        )
    final = read(folder / workload.STORE) if faults is None else None
    return Recording(mode, runs, decode_trace(trace.read_bytes()), final)


def cut_power(recording: Recording, folder: Path, *, images: int, seed: int = 0) -> PowerReport:
    """Rebuild images at points of a recording, and look at each.

    Args:
        recording: What was done.
        folder: An empty folder to work in.
        images: How many.
        seed: Of the points, and of what the disk loses.
    """
    started = time.monotonic()
    report = PowerReport(recording.mode)
    chance = random.Random(seed)  # noqa: S311 - not a secret
    with asyncio.Runner() as runner:
        for told, cut, image in _cuts(recording.changes, images, chance):
            report.images += 1
            place = folder / f"image-{report.images}"
            _put(image, place)
            is_whole = runner.run(_examine(place, told, recording, report, cut))
            if report.images % _EACH_FINISHED == 0 and recording.mode != "off" and is_whole:
                _finish(place, told, recording, report)
            shutil.rmtree(place)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{report.images} of {images} images ")
    report.seconds = time.monotonic() - started
    return report


def _cuts(
    changes: list[Change], images: int, chance: random.Random
) -> Iterator[tuple[Told, Cut, Image]]:
    """Images at random points, more of them where more than the WAL is written."""
    disk, told = Disk(chance), Told()
    wal = {c.inode for c in changes if c.kind == "c" and c.data.endswith(b"-wal")}
    weights = [1 if c.inode in wal or c.data.endswith(b"}\n") else 5 for c in changes]
    points = sorted(chance.choices(range(len(changes)), weights, k=images))
    for number, change in enumerate(changes):
        disk.play(change)
        told.take_in(change)
        while points and points[0] == number:
            points.pop(0)
            cut = CUTS[len(points) % len(CUTS)]
            yield told, cut, disk.image(cut, chance)


def _put(image: Image, folder: Path) -> None:
    """Write the files of a store to a folder."""
    folder.mkdir()
    for name, content in image.items():
        if name.startswith(workload.STORE) and "/" not in name:
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)


async def _examine(
    folder: Path, told: Told, recording: Recording, report: PowerReport, cut: Cut
) -> bool:
    """Open an image with the engine; see whether it has everything, and say if it is whole."""
    path = folder / workload.STORE
    try:
        counted = await _memory(path, told, shared=recording.mode == "shared")
        found = read(path)
        damage = list(_damage(path, found, recording.final))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is damage
        found, counted, damage = Record(), {}, [repr(error)]
    missing = list(lost(told, found, counted))
    report.damaged += bool(damage)
    report.losing += bool(missing)
    report.acknowledged += len(told.accepted) + len(told.results) + len(told.outputs)
    report.lost += len(missing)
    report.most_lost = max(report.most_lost, len(missing))
    report.complain(f"{cut} image {report.images} is damaged", damage)
    report.complain(f"{cut} image {report.images} lost {len(missing)}", missing)
    return not damage


async def _memory(path: Path, told: Told, *, shared: bool) -> dict[str, int]:
    """What short-term memory says of the keys of which runs are done, through the engine."""
    store = SqliteStore(path, shared=shared)
    await store.open("the examiner")
    try:
        counted: dict[str, int] = {}
        for key in told.completed:
            memory = await store.memory("workload", key)
            if (update := memory.get("runs")) is not None and update.payload is not None:
                counted[key] = int(str(CODEC.decode(update.payload)))
    finally:
        await store.close()
    return counted


def _damage(path: Path, found: Record, final: Record | None) -> Iterator[str]:
    """What is not whole in a file that the engine could open."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("PRAGMA integrity_check").fetchall()
    if rows != [("ok",)]:
        yield f"integrity_check: {rows[:3]}"
    if final is not None:
        if found.entries != final.entries[: len(found.entries)]:
            yield "its journal is not the beginning of the journal"
        if found.outputs != final.outputs[: len(found.outputs)]:
            yield "its outputs are not the beginning of the outputs"


def _finish(folder: Path, told: Told, recording: Recording, report: PowerReport) -> None:
    """Work on an image to the end: nothing settled runs again, nothing comes out otherwise."""
    settled = set(read(folder / workload.STORE).settled)
    witness = folder / workload.WITNESS
    witness.write_bytes(b"".join(told.witnessed))
    before = len(sightings(witness))
    arguments = [str(folder), str(recording.runs), "asyncio", "1"]
    process = subprocess.run(  # noqa: S603 - our own program
        python("tests.crash.workload", *arguments), capture_output=True, text=True, check=False
    )
    found, seen = read(folder / workload.STORE), sightings(witness)
    breaches = [process.stderr] if process.returncode else []
    breaches += repeated(settled, seen[before:])
    breaches += [*swapped(seen, found), *unlike(seen), *disturbed(found)]
    for number in range(recording.runs):
        outputs = found.outputs_of(workload.id_of(number))
        if outputs != [workload.expected_output(number)]:
            breaches.append(f"run {number} put out {outputs}")
    report.finished += 1
    report.damaged += bool(breaches)
    report.complain(f"image {report.images} did not come to its end", breaches)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2000, help="in all modes together")
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modes", nargs="+", choices=_MODES, default=_MODES)
    options = parser.parse_args(arguments)
    if compiler() is None:
        sys.stdout.write("skipped: the shim needs Linux and a C compiler (cc, gcc)\n")
        return 0
    logging.getLogger("durable_agents").setLevel(logging.ERROR)
    reports: list[PowerReport] = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        shim = build(place)
        for mode in options.modes:
            recording = record(place / mode, shim, runs=options.runs, mode=mode)
            images = options.images // len(options.modes)
            reports.append(cut_power(recording, place, images=images, seed=options.seed))
    table = "\n".join([HEADING, *map(str, reports)])
    unexpected = [e for r in reports if not r.is_as_promised for e in r.examples]
    return conclude(table, unexpected, *(report.verdict() for report in reports))


if __name__ == "__main__":
    sys.exit(main())
