"""Runs the two-stage fan-out on every system, each in an environment of its own.

    python -m benchmarks.fan_out [--tries N] [--at-once] [--only NAME ...] [--json FILE]

`--at-once` kills as soon as A's second stage begins, right after the result of its first was
handed over: a system whose `await` returns before the result is on disk executes that again.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import interpreter

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ADAPTERS = {
    "durable_agents": ("fan_out_durable_agents.py", None),
    "dbos": ("fan_out_dbos.py", "dbos"),
    "dbos-child-workflows": ("fan_out_dbos.py --child-workflows", "dbos"),
    "langgraph": ("fan_out_langgraph.py", "langgraph"),
    "restate": ("fan_out_restate.py", "restate"),
    "temporal": ("fan_out_temporal.py", "temporal"),
}
"""Script and environment; none is the one that runs this."""


def main() -> None:
    """Run all and print a table."""
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
    reports = []
    print("| system | version | tries | branch A received | branch B received ", end="")
    print("| ended, executed again | never executed to the end | verdict |")
    print("|---|---|---:|---|---|---|---|---|")
    for name in arguments.only:
        tries = [report(name, at_once=arguments.at_once) for _ in range(arguments.tries)]
        reports += tries
        for row in rows(tries):
            print(row, flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=2) + "\n")


def report(name: str, *, at_once: bool) -> dict[str, Any]:
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


def rows(tries: list[dict[str, Any]]) -> Iterator[str]:
    """What came out, most frequent first: a race does not come out the same each time."""
    for cells, count in Counter(map(cells_of, tries)).most_common():
        system, version, *rest = cells
        print_count = f"{count} of {len(tries)}"
        yield f"| {' | '.join([system, version, print_count, *rest])} |"


def cells_of(found: dict[str, Any]) -> tuple[str, ...]:
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
    main()
