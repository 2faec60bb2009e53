"""Runs the two-stage fan-out on every system, each in an environment of its own.

    python -m benchmarks.fan_out [--tries N] [--at-once] [--only NAME ...] [--json FILE]

Prints a table, and ends with 1 if we ourselves were wrong once.

`--at-once` kills as soon as A's second stage begins, right after the result of its first was
handed over: a system whose `await` returns before the result is on disk executes that again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import interpreter
from tests.crash.verdict import Verdict, conclude

OURS = "durable_agents"
HEAD = """\
| system | version | tries | branch A received | branch B received | ended, executed again \
| never executed to the end | verdict |
|---|---|---:|---|---|---|---|---|"""
Report = dict[str, Any]
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ADAPTERS = {
    OURS: ("fan_out_durable_agents.py", None),
    "dbos": ("fan_out_dbos.py", "dbos"),
    "dbos-child-workflows": ("fan_out_dbos.py --child-workflows", "dbos"),
    "langgraph": ("fan_out_langgraph.py", "langgraph"),
    "restate": ("fan_out_restate.py", "restate"),
    "temporal": ("fan_out_temporal.py", "temporal"),
}
"""Script and environment; none is the one that runs this."""


def main() -> int:
    """Run all and print a table; the exit status says whether ours is right each time."""
    start = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fan_out",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tries", type=int, default=5, help="crashes of each system")
    parser.add_argument("--at-once", action="store_true", help="kill as the stage begins")
    parser.add_argument("--only", nargs="+", choices=ADAPTERS, default=list(ADAPTERS))
    parser.add_argument("--json", type=Path, help="where to write every report")
    arguments = parser.parse_args()
    reports: list[Report] = []
    table = [HEAD]
    for name in arguments.only:
        tries = [report(name, at_once=arguments.at_once) for _ in range(arguments.tries)]
        reports += tries
        table += rows(tries)
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=2) + "\n")
    ours = [found for found in reports if found["system"] == OURS]
    wrong = [f"{OURS}: {found}" for found in ours if found["verdict"] != "right"]
    verdict = Verdict(
        layer="fan-out",
        claims=("C1", "C3"),
        tried=f"{len(ours)} crashes of ours, {len(reports) - len(ours)} of others",
        violations=len(wrong),
        seconds=time.monotonic() - start,
    )
    return conclude("\n".join(table), wrong, verdict)


def report(name: str, *, at_once: bool) -> Report:
    """One crash of one system."""
    script, environment = ADAPTERS[name]
    python = str(interpreter(environment)) if environment else sys.executable
    file, *options = script.split()
    command = [python, str(HERE / file), *options, "--json", *(["--at-once"] * at_once)]
    # Ours may run from a checkout; the scripts of peers import nothing from there.
    paths = {} if environment else {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603 - our own scripts
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **paths},
    )
    return json.loads(done.stdout)


def rows(tries: list[Report]) -> Iterator[str]:
    """What came out, most frequent first: a race does not come out the same each time."""
    for cells, count in Counter(map(cells_of, tries)).most_common():
        system, version, *rest = cells
        print_count = f"{count} of {len(tries)}"
        yield f"| {' | '.join([system, version, print_count, *rest])} |"


def cells_of(found: Report) -> tuple[str, ...]:
    """A report as the cells of a row."""
    return (
        found["system"],
        found["version"],
        found["branch_a"],
        found["branch_b"],
        ", ".join(found["executed_again"]) or "none",
        ", ".join(found["never_ended"]) or "none",
        f"{found['verdict']}: {found['error']}" if found["error"] else found["verdict"],
    )


if __name__ == "__main__":
    sys.exit(main())
