"""What every peer is asked to do, and how it is timed; standard library only.

A peer is a script that hands a `Peer` to `main`. Each of its runs makes `calls` durable calls
of one of the functions below in sequence. The script prints one JSON line:

    python dbos_peer.py W2 --in-flight 100 --folder DIR

- W1: 1 run x 1,000 calls in sequence.
- W2: 1,000 runs x 5 calls, so many in flight.
- W3: 1,000 runs of one call that waits 50 ms, 100 in flight.
- W5: 1,000 runs x 10 calls; half way the process group is killed by SIGKILL, servers included,
  and started again. `seconds` goes from the start of the second process to the last run's end.
- W6: 1 run with 10,000 recorded calls and one that hangs; killed when nothing is written any
  more, started again.
  `seconds` goes from the start of the second process to the call that hung;
  `replay_seconds` from the first line of the run's function.

W1 to W3: the clock starts when the system is up and ends when every run's result is with its
caller. Importing and starting are in W5 and W6 only.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = ["SHAPES", "STEPS", "Peer", "Step", "began", "main"]

WAIT_SECONDS = 0.05
GIVE_UP_SECONDS = 900.0
POLL_SECONDS = 0.005
QUIET_SECONDS, PATIENCE_SECONDS = 1.0, 30.0
"""The kill of W6, which is about replaying, waits until a second long nothing was written."""


@dataclass(frozen=True)
class Shape:
    """A workload's size."""

    runs: int
    calls: int
    in_flight: int


SHAPES = {
    "W1": Shape(runs=1, calls=1000, in_flight=1),
    "W2": Shape(runs=1000, calls=5, in_flight=1000),
    "W3": Shape(runs=1000, calls=1, in_flight=100),
    "W5": Shape(runs=1000, calls=10, in_flight=1000),
    "W6": Shape(runs=1, calls=10_000, in_flight=1),
}

Step = Callable[[int, int], Awaitable[int]]
"""A durable function: of the run's number and the call's, returns something small."""


async def trivial(_run: int, number: int) -> int:
    """Nothing to do."""
    return number + 1


async def wait(_run: int, number: int) -> int:
    """A call to somewhere that answers in 50 ms."""
    await asyncio.sleep(WAIT_SECONDS)
    return number + 1


async def witnessed(run: int, number: int) -> int:
    """Leaves a trace outside the system that no crash can undo."""
    note(f"{life()} {run} {number}")
    return number + 1


async def hung(run: int, number: int) -> int:
    """Quick, but for the last call of the run, which hangs until it is killed."""
    is_last = number == int(os.environ["CONTEST_CALLS"])
    if life() != 1 and not is_last:
        note(f"{life()} {run} {number}")
    if is_last:
        note(f"{life()} reached {time.monotonic()}")
        if life() == 1:
            await asyncio.sleep(GIVE_UP_SECONDS)
    return await trivial(run, number)


STEPS: dict[str, Step] = {
    "W1": trivial,
    "W2": trivial,
    "W3": wait,
    "W5": witnessed,
    "W6": hung,
}


class Peer(Protocol):
    """A system under test."""

    system: str
    version: str
    sync: str
    """What is on disk when a call's `await` returns, and by which settings."""
    includes: str
    """What is in the numbers besides the calls themselves."""

    cannot: dict[str, str]
    """Workloads that are out of its reach, and why."""

    def up(
        self, folder: Path, workload: str, in_flight: int, /
    ) -> AbstractAsyncContextManager[object]:
        """The system, running on a store in that folder; recovers on its own if it can."""
        ...

    async def execute(self, run: int, calls: int) -> object:
        """Start a run of so many calls of the workload's step and wait for its end."""
        ...

    async def recover(self, runs: int, calls: int) -> None:
        """Wait until that many runs have ended, with what has to be done to this end."""
        ...


def main(peer: Peer) -> None:
    """Measure what the command line asks for, or be one life of it."""
    arguments = parse()
    if "CONTEST_LIFE" in os.environ:
        asyncio.run(one_life(peer, arguments))
        return
    # Told to stop, it takes its servers and lives with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if arguments.workload in peer.cannot:
        why = peer.cannot[arguments.workload]
        print(json.dumps({**circumstances(peer, arguments), "cannot": why}))
        return
    with tempfile.TemporaryDirectory(
        dir=arguments.folder, ignore_cleanup_errors=True
    ) as scratch:
        if arguments.workload in {"W5", "W6"}:
            figures = recovery(arguments, Path(scratch))
        else:
            seconds = asyncio.run(throughput(peer, arguments, Path(scratch)))
            figures = {"seconds": seconds, **rates(arguments, seconds)}
    print(json.dumps({**circumstances(peer, arguments), **figures}), flush=True)


def parse() -> argparse.Namespace:
    """The same command line for every peer; sizes are the workload's own by default."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=SHAPES)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--calls", type=int)
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--folder", type=Path, default=Path(), help="where stores are made")
    arguments = parser.parse_args()
    shape = SHAPES[arguments.workload]
    for name in ("runs", "calls", "in_flight"):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(shape, name))
    return arguments


def circumstances(peer: Peer, arguments: argparse.Namespace) -> dict[str, Any]:
    """Who did what."""
    return {
        "system": peer.system,
        "version": peer.version,
        "workload": arguments.workload,
        "runs": arguments.runs,
        "calls_per_run": arguments.calls,
        "in_flight": arguments.in_flight,
        "calls": arguments.runs * arguments.calls,
        "sync": peer.sync,
        "includes": peer.includes,
        "load": os.getloadavg()[0],
    }


def rates(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What follows from the time; for waits the share of the best possible, too."""
    calls = arguments.runs * arguments.calls
    figures = {"calls_per_second": calls / seconds}
    if arguments.workload == "W3":
        figures["efficiency"] = calls * WAIT_SECONDS / arguments.in_flight / seconds
    return figures


# --- W1, W2, W3 -----------------------------------------------------------------------------


async def throughput(peer: Peer, arguments: argparse.Namespace, folder: Path) -> float:
    """Seconds for all runs of a workload, so many at a time."""
    async with peer.up(folder, arguments.workload, arguments.in_flight):
        start = time.perf_counter()
        await execute_all(peer, arguments)
        return time.perf_counter() - start


async def execute_all(peer: Peer, arguments: argparse.Namespace) -> None:
    """Callers, each with one run at a time, until there are no more runs."""
    numbers = iter(range(arguments.runs))

    async def caller() -> None:
        for number in numbers:
            await peer.execute(number, arguments.calls)

    async with asyncio.TaskGroup() as callers:
        for _ in range(arguments.in_flight):
            callers.create_task(caller())


# --- W5, W6 ---------------------------------------------------------------------------------


def life() -> int:
    """1 until the kill, then 2."""
    return int(os.environ["CONTEST_LIFE"])


def note(line: str) -> None:
    """Append a line to the witness file."""
    path = os.environ["CONTEST_FOLDER"] + "/witness"
    descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def began() -> None:
    """To be called in the first line of a run's function: where a replay begins."""
    if "CONTEST_LIFE" in os.environ and os.environ["CONTEST_WORKLOAD"] == "W6":
        note(f"{life()} began {time.monotonic()}")


async def one_life(peer: Peer, arguments: argparse.Namespace) -> None:
    """The first starts all runs, the second sees them to their end."""
    runs, calls = arguments.runs, arguments.calls + (arguments.workload == "W6")
    folder = Path(os.environ["CONTEST_FOLDER"])
    async with peer.up(folder, arguments.workload, arguments.in_flight):
        if life() == 1:
            arguments.calls = calls
            await execute_all(peer, arguments)
        else:
            await peer.recover(runs, calls)
            note(f"2 finished {time.monotonic()}")


def recovery(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill, start again, and see how long it takes and what is repeated."""
    witness = folder / "witness"
    witness.touch()
    half = arguments.runs * arguments.calls // 2 if arguments.workload == "W5" else 0
    spawn(arguments, folder, 1, lambda: enough(witness, half))
    word = "finished" if arguments.workload == "W5" else "reached"
    start = spawn(arguments, folder, 2, lambda: moment(witness, word) is not None)
    finished = moment(witness, word)
    assert finished is not None
    seconds = finished - start
    if arguments.workload == "W5":
        return {"seconds": seconds, **repeated(witness)}
    replay = finished - (moment(witness, "began") or start)
    rate = arguments.calls / replay
    again = sum(
        map(str.isdigit, (line.split()[1] for line in witness.read_text().splitlines()))
    )
    return {
        "seconds": seconds,
        "replay_seconds": replay,
        "calls_per_second": rate,
        "executed_again": again,
    }


def spawn(
    arguments: argparse.Namespace, folder: Path, number: int, is_over: Callable[[], bool]
) -> float:
    """One life in a process group of its own, killed when it is over; returns its start."""
    environment = {
        "CONTEST_LIFE": str(number),
        "CONTEST_FOLDER": str(folder),
        "CONTEST_WORKLOAD": arguments.workload,
        "CONTEST_CALLS": str(arguments.calls),
    }
    start = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, *sys.argv],
        env={**os.environ, **environment},
        stdout=sys.stderr,
        start_new_session=True,
    )
    try:
        while not is_over():
            if process.poll() is not None:
                sys.exit(f"life {number} ended by itself: {process.returncode}")
            if time.monotonic() - start > GIVE_UP_SECONDS:
                sys.exit(f"life {number} did not end in {GIVE_UP_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return start


def enough(witness: Path, half: int) -> bool:
    """Whether it is time to kill."""
    text = witness.read_text()
    if "reached" in text:
        return has_settled(witness)
    return 0 < half <= text.count("\n")


def has_settled(witness: Path) -> bool:
    """Whether what is written in the background is written, or is never going to be."""
    last = max(map(last_write, witness.parent.rglob("*")))
    now = time.time()
    return now - last > QUIET_SECONDS or now - last_write(witness) > PATIENCE_SECONDS


def last_write(path: Path) -> float:
    """When a file was written, in seconds since 1970; a store may have removed it meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def moment(witness: Path, word: str) -> float | None:
    """When the second life came there."""
    for line in witness.read_text().splitlines():
        if line.startswith(f"2 {word} "):
            return float(line.split()[2])
    return None


def repeated(witness: Path) -> dict[str, int]:
    """Calls executed in both lives.

    All but the last of a run's calls in the first life had settled, as seen from outside: the
    next one was made with the result in hand. The last was in doubt at the kill, or
    its run had ended.
    """
    lines = (line.split() for line in witness.read_text().splitlines())
    calls = [(n, int(run), int(call)) for n, run, call in lines if run.isdigit()]
    before, after = ({(run, call) for n, run, call in calls if n == life} for life in "12")
    again = before & after
    settled = {(run, call) for run, call in again if (run, call + 1) in before}
    return {
        "executed_before_kill": len(before),
        "executed_again": len(settled),
        "in_doubt_executed_again": len(again) - len(settled),
        "executed_in_all": len(before | after),
    }
