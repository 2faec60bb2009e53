"""Measures and compares: each contestant in a process of its own, ours and bare in turn.

    python -m benchmarks [--pairs N] [--json FILE]

Quote the ratio and its spread, not the calls a second: machines are noisy, and both sides of a
pair run within the same second or two.
"""

import argparse
import json
import platform
import sqlite3
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.workloads import FAN_IN, SEQUENCE, Workload


def main() -> None:
    """Run all workloads and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="times that each pair is run")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    results = [compare(workload, arguments.pairs) for workload in (SEQUENCE, FAN_IN)]
    print("| workload | ours, calls/s | bare, rows/s | share | lowest | highest |")
    print("|---|---:|---:|---:|---:|---:|")
    for result in results:
        low, high = min(result["shares"]), max(result["shares"])
        print(
            f"| {result['workload']} | {result['ours']:,.0f} | {result['bare']:,.0f} "
            f"| {result['share']:.2f} | {low:.2f} | {high:.2f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({**circumstances(), "results": results}, indent=2))


def compare(workload: Workload, pairs: int) -> dict:
    """Run ours and bare in turn; medians over the pairs."""
    ours, bare = [], []
    shape = [str(workload.runs), str(workload.calls)]
    for _ in range(pairs):
        ours.append(measure("ours", *shape, str(workload.in_flight)))
        bare.append(measure("bare", *shape))
    shares = [o / b for o, b in zip(ours, bare, strict=True)]
    return {
        "workload": workload.name,
        "ours": statistics.median(ours),
        "bare": statistics.median(bare),
        "share": statistics.median(shares),
        "shares": shares,
    }


def measure(contestant: str, *arguments: str) -> float:
    """One figure, from a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.throughput.{contestant}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(done.stdout.split()[0])


def circumstances() -> dict:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()} {platform.machine()}",
        "loop": "asyncio",
        "synchronous": "full",
        "versions": {name: version(name) for name in ("aiosqlite", "msgspec")},
    }


if __name__ == "__main__":
    main()
