"""What runs cost that wait for a signal and have left memory.

    python -m benchmarks.memory.waiting RUNS [--resident MOST]

has RUNS of them wait in one store, starts a worker over it, and prints

- `fill_bytes`: most resident memory while they were taken in and left,
- `runs_per_second`: how fast that was,
- `start_seconds`, `start_bytes`: until a worker over the store is ready, and its memory then,
- `signal_seconds`: until 1,000 of them, spread evenly, were signalled and had completed,
- `file_bytes`: of the store.

A process for each of the two parts, so that neither counts what the other one left. Linux only.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.contestant import report, resident_bytes, scratch_folder
from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, WorkerSettings

SUBMITTED_AT_ONCE, SIGNALLED = 1_000, 1_000
LOOKED_AFTER = 50_000
"""Runs between two looks at the memory: each one collects garbage first, and takes its time."""

agent = Agent("waiting", input=int)


@agent.action(InputEvent)
async def wait(event: InputEvent[int], ctx: RunnerContext) -> None:
    """One signal."""
    ctx.output(event.input + await ctx.wait_for_signal("go", type=int))


def worker(path: Path, resident: int) -> Worker:
    """A worker that keeps so many runs in memory."""
    settings = WorkerSettings(max_resident_runs=resident, max_concurrent_runs=2 * resident)
    return Worker(agent, store=SqliteStore(path), settings=settings)


async def fill(path: Path, runs: int, resident: int) -> dict[str, float]:
    """Have runs wait."""
    most, began = 0, time.perf_counter()
    async with worker(path, resident) as filling:
        for start in range(0, runs, SUBMITTED_AT_ONCE):
            numbers = range(start, min(runs, start + SUBMITTED_AT_ONCE))
            await asyncio.gather(*(filling.submit(n, id=f"run-{n}") for n in numbers))
            if start % LOOKED_AFTER == 0:
                most = max(most, resident_bytes())
        while filling.statistics().evicted < runs - resident:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
        most = max(most, resident_bytes())
        seconds = time.perf_counter() - began
    return {"fill_bytes": most, "runs_per_second": runs / seconds}


async def wake(path: Path, runs: int, resident: int) -> dict[str, float]:
    """Start over the store, and signal some."""
    began = time.perf_counter()
    async with worker(path, resident) as waking:
        start_seconds = time.perf_counter() - began
        # Those that were in memory are again, as after any restart.
        while waking.statistics().resting < min(runs, resident):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
        start_bytes = resident_bytes()
        chosen = range(0, runs, max(1, runs // SIGNALLED))
        handles = [await waking.submit(n, id=f"run-{n}") for n in chosen]
        began = time.perf_counter()
        await asyncio.gather(*(waking.signal(f"run-{n}", "go", 1) for n in chosen))
        await asyncio.gather(*(handle.result() for handle in handles))
        signal_seconds = time.perf_counter() - began
    return {
        "start_seconds": start_seconds,
        "start_bytes": start_bytes,
        "signal_seconds": signal_seconds,
    }


def in_a_process(part: str, runs: int, resident: int, path: Path) -> dict[str, float]:
    """The figures of one part."""
    command = [sys.executable, "-m", "benchmarks.memory.waiting", str(runs)]
    command += ["--resident", str(resident), "--part", part, "--store", str(path)]
    printed = subprocess.check_output(command)  # noqa: S603 -- our own program
    figures: dict[str, float] = json.loads(printed)
    return figures


def main() -> None:
    """Measure, and say so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.waiting")
    parser.add_argument("runs", type=int)
    parser.add_argument("--resident", type=int, default=10_000, help="runs that stay in memory")
    parser.add_argument("--part", choices=("fill", "wake"), help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        part = fill if options.part == "fill" else wake
        report(**asyncio.run(part(options.store, options.runs, options.resident)))
        return
    with scratch_folder() as folder:
        path = folder / "waiting.db"
        sizes = (options.runs, options.resident, path)
        figures = in_a_process("fill", *sizes) | in_a_process("wake", *sizes)
        report(**figures, file_bytes=path.stat().st_size)


if __name__ == "__main__":
    main()
