"""Measures every system in turn, each in a process and an environment of its own.

    python -m benchmarks.peers [--only NAME ...] [--workloads W1 ...] [--in-flight N ...]
                               [--rounds N] [--folder DIR] [--json FILE]

A round runs each workload on each system, one after the other, beside bare group commit with
as many waiters (`benchmarks.throughput.bare`). Tables show medians over the rounds, with the
lowest and the highest; the share is of the bare figure of the same round.
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.environments import PEERS, interpreter

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OURS = "durable_agents"
WORKLOADS = ("W1", "W2", "W3", "W5", "W6")
TITLES = {
    "W1": "W1: 1 run x 1,000 calls in sequence",
    "W2": "W2: 1,000 runs x 5 calls, {} in flight",
    "W3": "W3: 1,000 runs of one wait of 50 ms, 100 in flight",
    "W5": "W5: 1,000 runs x 10 calls, killed half way, from restart to all finished",
    "W6": "W6: 1 run with 10,000 recorded calls, from restart to its next call",
}
GIVE_UP_SECONDS = 1800
Line = dict[str, Any]


def main() -> None:
    """Run what was asked for, print tables, write a file."""
    arguments = parse()
    lines: list[Line] = []
    for number in range(arguments.rounds):
        for workload, in_flight in sizes(arguments):
            for system in arguments.only:
                line = measure(system, workload, in_flight, arguments.folder)
                rows_a_second = bare(line, arguments.folder)
                about = {"round": number, "asked": in_flight, "bare": rows_a_second}
                lines.append({**line, **about})
                print(progress(lines[-1]), file=sys.stderr, flush=True)
            if arguments.json:
                record = {**circumstances(arguments.only), "lines": lines}
                arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    show(lines)


def parse() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    systems = (OURS, *PEERS)
    parser.add_argument("--only", nargs="+", choices=systems, default=list(systems))
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--in-flight", nargs="+", type=int, default=[1, 10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3, help="times that all are run")
    parser.add_argument("--folder", type=Path, default=Path(), help="where stores are made")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    return parser.parse_args()


def sizes(arguments: argparse.Namespace) -> list[tuple[str, int | None]]:
    """Workloads; only W2 comes in several sizes."""
    found: list[tuple[str, int | None]] = []
    for workload in arguments.workloads:
        counts = arguments.in_flight if workload == "W2" else [None]
        found += [(workload, count) for count in counts]
    return found


def measure(system: str, workload: str, in_flight: int | None, folder: Path) -> Line:
    """One line of one system, or why there is none."""
    python = sys.executable if system == OURS else str(interpreter(system))
    command = [python, str(HERE / f"{system}_peer.py"), workload, "--folder", str(folder)]
    command += ["--in-flight", str(in_flight)] if in_flight else []
    # Ours may run from a checkout; the scripts of peers import nothing from there.
    paths = {"PYTHONPATH": str(ROOT)} if system == OURS else {}
    with subprocess.Popen(  # noqa: S603 - our own scripts
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **paths},
    ) as process:
        try:
            printed, complaint = process.communicate(timeout=GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            printed, complaint = "", f"took more than {GIVE_UP_SECONDS} s"
    if printed:
        return json.loads(printed)
    reason = (complaint.strip().splitlines() or [f"ended with {process.returncode}"])[-1]
    return {"system": system, "workload": workload, "failed": reason}


def bare(line: Line, folder: Path) -> float | None:
    """Rows a second of bare group commit with as many waiters; only where calls queue."""
    if line["workload"] not in {"W1", "W2"} or "calls" not in line:
        return None
    waiters = line["in_flight"]
    command = [sys.executable, "-m", "benchmarks.throughput.bare"]
    command += [str(waiters), str(line["calls"] // waiters)]
    done = subprocess.run(  # noqa: S603 - ours
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return json.loads(done.stdout)["rows_per_second"]


def progress(line: Line) -> str:
    """A line for who waits."""
    outcome = line.get("failed") or line.get("cannot") or f"{line['seconds']:.2f} s"
    size = f"{line['workload']} {line['asked'] or ''}"
    return f"round {line['round']} {size} {line['system']}: {outcome}"


def circumstances(systems: list[str]) -> Line:
    """What the figures depend on."""
    git = shutil.which("git") or "git"
    commit = subprocess.run(  # noqa: S603
        [git, "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    pins = {
        system: (HERE / "requirements" / f"{system}.txt").read_text().split()
        for system in systems
        if system != OURS
    }
    return {
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "requirements": pins,
    }


# --- tables ---------------------------------------------------------------------------------


def show(lines: list[Line]) -> None:
    """A table for each workload and size."""
    keys = dict.fromkeys((line["workload"], line["asked"]) for line in lines)
    for workload, in_flight in keys:
        print(f"\n{TITLES[workload].format(in_flight)}\n")
        heads = ["system", *COLUMNS[workload]]
        print(f"| {' | '.join(heads)} |\n|---|{'---:|' * len(COLUMNS[workload])}")
        of_size = [
            line for line in lines if (line["workload"], line["asked"]) == (workload, in_flight)
        ]
        for system in dict.fromkeys(line["system"] for line in of_size):
            print(row([line for line in of_size if line["system"] == system], workload))


def row(lines: list[Line], workload: str) -> str:
    """Medians of one system."""
    first = lines[0]
    name = f"{first['system']} {first.get('version', '')}".strip()
    good = [line for line in lines if "seconds" in line]
    if not good:
        return f"| {name} | {first.get('cannot') or first['failed']} |"
    cells = [
        spread([take(line) for line in good], form) for take, form in COLUMNS[workload].values()
    ]
    return f"| {name} | {' | '.join(cells)} |"


def spread(values: list[float], form: str) -> str:
    """Median, and lowest to highest where there are several."""
    text = format(median(values), form)
    if len(values) == 1 or min(values) == max(values):
        return text
    return f"{text} ({min(values):{form}} to {max(values):{form}})"


CALLS = (lambda line: line["calls_per_second"], ",.0f")
SHARE = (lambda line: line["calls_per_second"] / line["bare"], ".3f")
SECONDS = (lambda line: line["seconds"], ".2f")
COLUMNS: dict[str, dict[str, tuple[Any, str]]] = {
    "W1": {"calls/s": CALLS, "share of bare": SHARE},
    "W2": {"calls/s": CALLS, "share of bare": SHARE},
    "W3": {"seconds": SECONDS, "efficiency": (lambda line: line["efficiency"], ".1%")},
    "W5": {
        "seconds": SECONDS,
        "settled, executed again": (lambda line: line["executed_again"], ",.0f"),
        "in doubt, executed again": (lambda line: line["in_doubt_executed_again"], ",.0f"),
    },
    "W6": {
        "seconds": SECONDS,
        "of them in the run's function": (lambda line: line["replay_seconds"], ".2f"),
        "calls/s in it": CALLS,
        "executed again": (lambda line: line["executed_again"], ",.0f"),
    },
}


if __name__ == "__main__":
    main()
