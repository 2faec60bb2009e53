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
import subprocess
import sys
from pathlib import Path

from benchmarks import comparison
from benchmarks.peers.environments import PEERS, interpreter
from benchmarks.tables import OURS, Line, contests

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WORKLOADS = ("W1", "W2", "W3", "W5", "W6")
GIVE_UP_SECONDS = 1800


def main() -> None:
    """Run what was asked for, print tables, write a file."""
    arguments = parse()
    about_all, lines = circumstances(arguments.only), list[Line]()
    for number in range(arguments.rounds):
        for workload, in_flight in sizes(arguments):
            for system in arguments.only:
                line = measure(system, workload, in_flight, arguments.folder)
                rows_a_second = bare(line, arguments.folder)
                about = {"round": number, "asked": in_flight, "bare": rows_a_second}
                lines.append({**line, **about})
                print(progress(lines[-1]), file=sys.stderr, flush=True)
            if arguments.json:
                record = {**about_all, "lines": lines}
                arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    for _, title, table in contests(lines):
        print(f"\n{title}\n\n{table}")


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
        line: Line = json.loads(printed)
        return line
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
    rows_a_second: float = json.loads(done.stdout)["rows_per_second"]
    return rows_a_second


def progress(line: Line) -> str:
    """A line for who waits."""
    outcome = line.get("failed") or line.get("cannot") or f"{line['seconds']:.2f} s"
    size = f"{line['workload']} {line['asked'] or ''}"
    return f"round {line['round']} {size} {line['system']}: {outcome}"


def circumstances(systems: list[str]) -> Line:
    """What the figures depend on; how each system syncs is in its lines."""
    pins = {
        system: (HERE / "requirements" / f"{system}.txt").read_text().split()
        for system in systems
        if system != OURS
    }
    return {**comparison.circumstances(), "requirements": pins}


if __name__ == "__main__":
    main()
