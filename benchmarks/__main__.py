"""Measures and compares: each contestant in a process of its own, both sides in turn.

    python -m benchmarks [WORKLOAD ...] [--pairs N] [--scale SHARE] [--json FILE]

Quote the ratio and its spread, not the calls a second: machines are noisy, and both sides of a
pair run within seconds of each other.
"""

import argparse
import json
import sys
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from benchmarks.comparison import Result, circumstances
from benchmarks.tables import comparisons, heading
from benchmarks.workloads import WORKLOADS


def main() -> None:
    """Run what was asked for, and print tables."""
    arguments = parse()
    record = {
        **circumstances(),
        "loop": "asyncio",
        "synchronous": "full, unless a size says otherwise",
        "pairs": arguments.pairs,
        "scale": arguments.scale,
    }
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
        print(f"\n{heading(workload)}\n\n{comparisons(list(some))}")


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


if __name__ == "__main__":
    main()
