"""Writes what was measured into the pages that show it.

    python -m benchmarks.page [--check]

Takes `benchmarks/results/benchmarks.json`, as `python -m benchmarks --json` writes it, and
`peers.json` beside it, as `python -m benchmarks.peers --json` does; draws their charts beside
them; and rewrites what lies between two marks in `docs/performance.md` and in the README. A
workload that neither file has leaves its rows out.

`--check` writes nothing. It names each file that differs from what would be written, and ends
with 1 if there is one.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.chart import drawings
from benchmarks.comparison import ROOT, Result
from benchmarks.tables import (
    OURS,
    Line,
    comparisons,
    contest_of,
    contests,
    grid,
    heading,
    name,
    shown,
)

__all__ = ["main"]

BEGIN = "<!-- made by `python -m benchmarks.page`, like all to the next mark -->\n"
END = "<!-- made until here -->\n"
NONE = "-"
"""A cell for what was not measured."""


@dataclass(frozen=True)
class Measured:
    """A file of results and its charts; a file that does not exist holds none."""

    record: Mapping[str, Any] = field(default_factory=dict[str, Any])
    charts: Mapping[str, tuple[Path, str]] = field(default_factory=dict[str, tuple[Path, str]])
    """Path and SVG, by what is drawn."""

    @property
    def results(self) -> list[Result]:
        """Of ours beside what it is held against."""
        return [Result.from_record(record) for record in self.record.get("results", ())]

    @property
    def lines(self) -> list[Line]:
        """Of systems beside each other."""
        return list(self.record.get("lines", ()))

    @property
    def rounds(self) -> list[Line]:
        """Lines with a figure."""
        return [line for line in self.lines if "seconds" in line]


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="a checkout; default: this one")
    arguments = parser.parse_args()
    texts = made(arguments.root)
    different = {path: text for path, text in texts.items() if not holds(path, text)}
    if arguments.check and different:
        names = ", ".join(str(path.relative_to(arguments.root)) for path in different)
        sys.exit(f"not what the results come to: {names}; run `python -m benchmarks.page`")
    for path, text in different.items():
        path.write_text(text, encoding="utf-8")
        print(path)


def holds(path: Path, text: str) -> bool:
    """Whether a file is there and has this text."""
    return path.exists() and path.read_text(encoding="utf-8") == text


def made(root: Path) -> dict[Path, str]:
    """Every file that is made of results, whole."""
    results = root / "benchmarks" / "results"
    ours, peers = read(results / "benchmarks.json"), read(results / "peers.json")
    page, readme = root / "docs" / "performance.md", root / "README.md"
    return {
        **dict(ours.charts.values()),
        **dict(peers.charts.values()),
        page: filled(page, "\n\n".join([*beside_a_limit(ours), *beside_peers(peers)])),
        readme: filled(readme, "\n\n".join(overview(ours, peers))),
    }


def read(path: Path) -> Measured:
    """What a file of results holds."""
    if not path.exists():
        return Measured()
    charts = {subject: (drawn, drawing) for subject, drawn, drawing in drawings(path)}
    return Measured(json.loads(path.read_text(encoding="utf-8")), charts)


def filled(path: Path, text: str) -> str:
    """A page with other text between its marks."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{path} lacks a mark, {BEGIN.strip()} or {END.strip()}")
    inside = f"\n{text}\n\n" if text else ""
    return f"{before}{begin}{inside}{end}{after}"


# --- docs/performance.md --------------------------------------------------------------------


def beside_a_limit(ours: Measured) -> Iterator[str]:
    """A table for each workload of `python -m benchmarks`."""
    if not ours.results:
        return
    record = ours.record
    yield "## Next to what it can be held against"
    circumstances = [
        *machine(record),
        f"load {record['load']:.1f} at the start",
        f"`synchronous` {record['synchronous']}",
        *pairs(ours),
        *([] if record["scale"] == 1 else [f"sizes times {record['scale']}"]),
    ]
    yield f"{'; '.join(circumstances)}."
    for workload, some in groupby(ours.results, attrgetter("workload")):
        yield f"### {heading(workload)}"
        yield comparisons(list(some))
        yield from chart(ours, workload)


def beside_peers(peers: Measured) -> Iterator[str]:
    """A table for each contest of `python -m benchmarks.peers`."""
    if not peers.lines:
        return
    yield "## Next to other systems"
    yield f"{'; '.join([*machine(peers.record), *loads(peers)])}."
    facts = {
        line["system"]: [name(line), line["sync"], line["includes"]] for line in peers.rounds
    }
    heads = ["system", "how it syncs", "in its figures, besides the calls"]
    yield grid(heads, list(facts.values()), len(heads))
    for contest, title, table in contests(peers.lines):
        yield f"### {title}"
        yield table
        yield from chart(peers, contest)


def machine(record: Mapping[str, Any]) -> Iterator[str]:
    """Commit, machine and versions."""
    changes = ", with files changed since" if record.get("is_changed_since") else ""
    yield f"Commit `{record['commit'][:12]}`{changes}"
    versions = {"Python": record["python"], "SQLite": record["sqlite"]}
    versions |= record.get("versions", {})
    yield record["machine"]
    yield ", ".join(f"{what} {version}" for what, version in versions.items())


def pairs(ours: Measured) -> Iterator[str]:
    """How often both sides were run."""
    if ours.results:
        count = ours.record["pairs"]
        yield f"{count} {'pair' if count == 1 else 'pairs'}"


def loads(peers: Measured) -> Iterator[str]:
    """How busy the machine was, and how often all were run."""
    if not peers.lines:
        return
    if busy := [line["load"] for line in peers.rounds]:
        yield f"load {min(busy):.1f} to {max(busy):.1f}, what is measured included"
    counts = {contest_of(line): line["round"] + 1 for line in peers.lines}
    least, most = min(counts.values()), max(counts.values())
    number = str(most) if least == most else f"{least} to {most}"
    yield f"{number} {'round' if most == 1 else 'rounds'}"


def chart(measured: Measured, subject: str) -> Iterator[str]:
    """A link, as seen from `docs`, if there is a chart."""
    if subject in measured.charts:
        drawn, _ = measured.charts[subject]
        yield f"[Chart](../benchmarks/results/{drawn.name})"


# --- README ---------------------------------------------------------------------------------

RACES = {
    "W2 at 1000": ("1,000 runs x 5 calls, 1,000 in flight: calls/s", "calls_per_second"),
    "W5": ("1,000 runs x 10 calls, killed half way: seconds from restart to finish", "seconds"),
    "W6": ("10,000 calls on record, after a kill: calls/s replayed", "calls_per_second"),
}
"""Contests of peers that the README shows, in words, and which figure of theirs."""

ALONE: tuple[Callable[[Result], bool], ...] = (
    lambda result: result.figure == "bytes a run",
    lambda result: result.workload == "W7" and result.figure.startswith("start-up"),
)
"""What is measured of ours only; of several sizes the README shows the last."""


def overview(ours: Measured, peers: Measured) -> Iterator[str]:
    """What matters to who chooses a system."""
    systems = dict.fromkeys(line["system"] for line in peers.rounds)
    others = [system for system in systems if system != OURS]
    rows = [row for contest in RACES for row in race(peers.rounds, contest, others)]
    rows += [row for is_shown in ALONE for row in alone(ours.results, is_shown, len(others))]
    if not rows:
        return
    yield grid(["", OURS, *others, "held against"], rows, 1)
    machines = dict.fromkeys(file.record["machine"] for file in (ours, peers) if file.record)
    yield (
        "Medians, and in brackets ours divided by theirs: of calls/s more is better, of the "
        f"others less. {'; '.join([*machines, *loads(peers), *pairs(ours)])}."
    )
    modes = {name(line): line["sync"] for line in peers.rounds}
    if modes:
        listed = "\n".join(f"- {system}: {sync}" for system, sync in modes.items())
        yield f"How each syncs, unless a row says otherwise:\n\n{listed}"


def race(lines: list[Line], contest: str, others: list[str]) -> Iterator[list[str]]:
    """A row of a contest, if ours took part; what is divided is of one round."""
    subject, figure = RACES[contest]
    of_contest = [line for line in lines if contest_of(line) == contest]

    def by_round(system: str, key: str = figure) -> dict[int, float]:
        found = [line for line in of_contest if line["system"] == system and line[key]]
        return {line["round"]: line[key] for line in found}

    ours, bare = by_round(OURS), by_round(OURS, "bare")
    if ours:
        limit = f"bare group commit: {paired(ours, bare)}" if bare else NONE
        cells = [paired(ours, by_round(system)) for system in others]
        yield [subject, shown(median(ours.values())), *cells, limit]


def alone(
    results: list[Result], is_shown: Callable[[Result], bool], others: int
) -> Iterator[list[str]]:
    """A row of what was measured of ours only."""
    for result in list(filter(is_shown, results))[-1:]:
        figure = shown(median(result.ours))
        against = f"{result.against}: {beside(result.theirs, result.ratios)}"
        yield [f"{result.size}: {result.figure}", figure, *[NONE] * others, against]


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """Theirs, and the ratio in the rounds that both have."""
    both = [number for number in theirs if number in ours]
    if not both:
        return NONE
    return beside([theirs[n] for n in both], [ours[n] / theirs[n] for n in both])


def beside(theirs: list[float], ratios: list[float]) -> str:
    """Another side's figure, and ours divided by it."""
    return f"{shown(median(theirs))} ({shown(median(ratios))})"


if __name__ == "__main__":
    main()
