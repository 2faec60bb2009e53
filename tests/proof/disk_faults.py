"""Let the disk fail under a worker: EIO, no space, short writes; then let it recover.

    python -m tests.proof.disk_faults --rounds 40

In each round a process works while some writes or syncs of its store fail, beginning with the
nth, as many as chance will have it. It must come to its end by itself once the fault is over,
with all outputs; no call begins again whose result was handed over. And the power is cut (see
`power`), where a failed sync may have lost what it covered, although later syncs succeed and
the process itself reads what it wrote: nothing that was acknowledged may be missing. An engine
that acknowledges after a failed sync is found out so: the last rounds have one that does, and
the harness fails if it finds nothing wrong with it.
"""

import argparse
import logging
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash import workload
from tests.crash.evidence import disturbed, read, swapped
from tests.crash.verdict import Verdict, conclude, figures
from tests.crash.witness import sightings
from tests.proof.faults import Deed, Faults, build, compiler
from tests.proof.power import Recording, cut_power, record
from tests.proof.recorded import Mode
from tests.proof.told import Told

__all__ = ["DiskReport", "fail_disk"]

_RUNS = 40
_OPENING = {"write": 40, "sync": 8}
"""Writes and syncs of a store that is being opened: who meets a fault there has to be started
again, which is not what these rounds are about."""
_WORKING = {"write": 700, "sync": 120}
"""Writes and syncs that follow, at least."""
_KINDS: tuple[tuple[Deed, str], ...] = (
    ("eio", "write"),
    ("eio", "sync"),
    ("enospc", "write"),
    ("enospc", "sync"),
    ("short", "write"),
)
_DEAF_ROUNDS = 5


@dataclass(slots=True)
class DiskReport:
    """What was done, and what came of it."""

    rounds: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    """Calls that failed, by what they were made to do, call and file."""
    images: int = 0
    damaged: int = 0
    losing: int = 0
    acknowledged: int = 0
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def verdict(self, layer: str, *, must_fail: bool = False) -> Verdict:
        """What it comes to."""
        return Verdict(
            layer=layer,
            claims=("C1", "C2", "C3", "C5"),
            tried=f"{self.hits.total()} failed calls, {self.images} images",
            violations=len(self.breaches),
            seconds=self.seconds,
            must_fail=must_fail,
        )

    def __str__(self) -> str:
        rows = {
            "rounds": self.rounds,
            **{f"failed: {name}": count for name, count in sorted(self.hits.items())},
            "crash images": self.images,
            "images damaged": self.damaged,
            "acknowledgements before cuts": self.acknowledged,
            "images that lost any": self.losing,
            "breaches of any kind": len(self.breaches),
            "seconds": f"{self.seconds:.1f}",
        }
        return figures(rows)


def fail_disk(
    folder: Path, *, rounds: int, images: int, seed: int = 0, mode: Mode = "full"
) -> DiskReport:
    """Work on a failing disk, again and again, each time over a new store.

    Args:
        folder: An empty folder.
        rounds: How often.
        images: In how many states of the disk the power is cut, in each round.
        seed: Of what fails, and of what the disk loses.
        mode: How the store syncs.
    """
    started = time.monotonic()
    report = DiskReport()
    shim = build(folder)
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for number in range(rounds):
        deed, call = _KINDS[number % len(_KINDS)]
        site = folder / f"round-{number}"
        faults = Faults(
            folder=site,
            call="write" if call == "write" else "sync",
            at=_OPENING[call] + chance.randrange(_WORKING[call]),
            count=chance.choice([1, 1, 2, 5, 25]),
            do=deed,
            said=folder / f"round-{number}.said",
            trace=site.with_suffix(".trace"),
        )
        _fail_once(faults, shim, mode, (images, chance.randrange(2**32)), report)
    report.seconds = time.monotonic() - started
    return report


def _fail_once(
    faults: Faults, shim: Path, mode: Mode, cuts: tuple[int, int], report: DiskReport
) -> None:
    """One round; `cuts` says how many images there are, and the seed of theirs."""
    images, seed = cuts
    site, said = faults.folder, faults.said
    report.rounds += 1
    try:
        recording = record(site, shim, runs=_RUNS, mode=mode, faults=faults)
    except subprocess.CalledProcessError as error:
        text = site.with_suffix(".txt").read_text()
        report.breaches.append(f"{faults}: ended with {error.returncode}: {text[-3000:]}")
        return
    if said is not None and said.exists():
        hits = said.read_text().splitlines()
        report.hits.update(f"{faults.do} in {hit.partition(' ')[2]}" for hit in hits)
    wrong = list(_at_the_end(site, recording))
    report.breaches += [f"{faults}: {breach}" for breach in wrong[:3]]
    place = site / "images"
    place.mkdir()
    power = cut_power(recording, place, images=images, seed=seed)
    report.images += power.images
    report.damaged += power.damaged
    report.losing += power.losing
    report.acknowledged += power.acknowledged
    if not power.is_as_promised:
        report.breaches += [f"{faults}: {example}" for example in power.examples[:3]]


def _at_the_end(site: Path, recording: Recording) -> Iterator[str]:
    """What is not as it would be had the disk never failed."""
    try:
        found = read(site / workload.STORE)
    except Exception as error:  # noqa: BLE001 - whatever it is, the store is not whole
        yield f"its store cannot be read: {error!r}"
        return
    seen = sightings(site / workload.WITNESS)
    yield from disturbed(found)
    yield from swapped(seen, found)
    told = Told()
    for change in recording.changes:
        told.take_in(change)
    yield from told.repeated
    for number in range(recording.runs):
        outputs = found.outputs_of(workload.id_of(number))
        if outputs != [workload.expected_output(number)]:
            yield f"run {number} put out {outputs}"
        if told.outputs.get(workload.id_of(number)) != outputs:
            yield f"run {number} put out {outputs}, and its user was told otherwise"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--images", type=int, default=20, help="in each round")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if compiler() is None:
        sys.stdout.write("skipped: the shim needs Linux and a C compiler (cc, gcc)\n")
        return 0
    logging.getLogger("durable_agents").setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        report = fail_disk(place, **vars(options))
        (place / "deaf").mkdir()
        deaf = fail_disk(place / "deaf", rounds=_DEAF_ROUNDS, images=5, mode="deaf")
    found = figures({"found wrong with a deaf engine": len(deaf.breaches)})
    return conclude(
        f"{report}\n{found}",
        report.breaches,
        report.verdict("failing disk"),
        deaf.verdict("failing disk, deaf", must_fail=True),
    )


if __name__ == "__main__":
    sys.exit(main())
