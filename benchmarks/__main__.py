"""Measures and compares: each contestant in a process of its own, both sides in turn.

    python -m benchmarks [WORKLOAD ...] [--pairs N] [--scale SHARE] [--json FILE]

Quote the ratio and its spread, not the calls a second: machines are noisy, and both sides of a
pair run within seconds of each other.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from benchmarks.comparison import Result, circumstances
from benchmarks.workloads import WORKLOADS

WORDS = ("size", "settings", "figure", "against")
NUMBERS = ("ours", "theirs", "ratio", "lowest", "highest")
GREAT = 100.0
"""From here on no decimals are shown."""


def main() -> None:
    """Run what was asked for, and print tables."""
    arguments = parse()
    record = {**circumstances(), "pairs": arguments.pairs, "scale": arguments.scale}
    results: list[Result] = []
    for name in arguments.workload or WORKLOADS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results += WORKLOADS[name](arguments.pairs, arguments.scale)
        if arguments.json:
            record["results"] = [result.as_record() for result in results]
            arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.pairs} pairs; commit {record['commit'][:12]}; {record['machine']};")
    print(f"Python {record['python']}, SQLite {record['sqlite']}; synchronous=full")
    for workload, some in groupby(results, attrgetter("workload")):
        print(f"\n{workload}\n\n{table(list(some))}")


def parse() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workload", nargs="*", help=f"of {', '.join(WORKLOADS)}; default: all")
    parser.add_argument("--pairs", type=int, default=5, help="times that each pair is run")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the real sizes")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    arguments = parser.parse_args()
    if unknown := set(arguments.workload) - set(WORKLOADS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    return arguments


def table(results: Sequence[Result]) -> str:
    """Medians over the pairs in Markdown, with the lowest and the highest ratio."""
    rules = ("---",) * len(WORDS) + ("---:",) * len(NUMBERS)
    rows = [WORDS + NUMBERS, rules, *map(cells, results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cells(result: Result) -> tuple[str, ...]:
    """A row of the table."""
    ratios = result.ratios
    return (
        result.size,
        result.settings,
        result.figure,
        result.against,
        shown(statistics.median(result.ours)),
        shown(statistics.median(result.theirs)),
        *(f"{ratio:.2f}" for ratio in (statistics.median(ratios), min(ratios), max(ratios))),
    )


def shown(figure: float) -> str:
    """With as many decimals as mean something."""
    return f"{figure:,.0f}" if figure >= GREAT else f"{figure:.2f}"


if __name__ == "__main__":
    main()
