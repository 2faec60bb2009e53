"""What a run takes that waits in a durable call, and what a bare coroutine takes.

    python -m benchmarks.memory.suspended ours|bare RUNS

prints `bytes_per_run`: growth of the resident memory from when everything was started, and some
runs had come and gone, to when all runs wait. Linux only. `synchronous="normal"`, since nothing
is timed.
"""

import asyncio
import sys
from pathlib import Path

from benchmarks.contestant import report, resident_bytes, scratch_folder
from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, WorkerSettings

WARM_UP, SUBMITTED_AT_ONCE = 100, 1_000


class Gate:
    """Where coroutines wait, counted."""

    def __init__(self) -> None:
        self.waiting = 0
        self._wanted = 0
        self._full = asyncio.Event()

    async def wait(self) -> None:
        """Wait for ever, each for a future of its own as in a request to somewhere."""
        self.waiting += 1
        if self.waiting == self._wanted:
            self._full.set()
        await asyncio.get_running_loop().create_future()

    async def fill(self, count: int) -> None:
        """Return when so many wait."""
        self._wanted = count
        if self.waiting < count:
            await self._full.wait()


_gates: list[Gate] = []
"""The gate of this process, where a durable function finds it."""

agent = Agent("suspended", input=bool)


async def call_somewhere(waits: bool) -> int:  # noqa: FBT001 - an input, no option
    """A durable function that waits for an answer which never comes."""
    if waits:
        await _gates[0].wait()
    return 0


@agent.action(InputEvent)
async def ask(event: InputEvent[bool], ctx: RunnerContext) -> None:
    """One call."""
    await ctx.durable(call_somewhere, event.input)


async def measure_ours(runs: int, folder: Path) -> float:
    """Bytes of a run that waits in a call."""
    _gates.append(gate := Gate())
    settings = WorkerSettings(
        max_concurrent_runs=runs + WARM_UP,
        num_async_threads=runs + WARM_UP,
        shutdown_grace_seconds=0.0,
    )
    store = SqliteStore(folder / "suspended.db", synchronous="normal")
    async with Worker(agent, store=store, settings=settings) as worker:
        for _ in range(WARM_UP):
            await (await worker.submit(False)).result()  # noqa: FBT003 - the input
        before = resident_bytes()
        for start in range(0, runs, SUBMITTED_AT_ONCE):
            count = min(SUBMITTED_AT_ONCE, runs - start)
            await asyncio.gather(*map(worker.submit, [True] * count))
        await gate.fill(runs)
        return (resident_bytes() - before) / runs


async def measure_bare(runs: int) -> float:
    """Bytes of a task that waits for a future."""
    gate = Gate()
    before = resident_bytes()
    tasks = [asyncio.get_running_loop().create_task(gate.wait()) for _ in range(runs)]
    await gate.fill(runs)
    grown = resident_bytes() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return grown / runs


def main() -> None:
    """Measure, and say so."""
    contestant, runs = sys.argv[1], int(sys.argv[2])
    if contestant == "bare":
        report(bytes_per_run=asyncio.run(measure_bare(runs)))
        return
    with scratch_folder() as folder:
        report(bytes_per_run=asyncio.run(measure_ours(runs, folder)))


if __name__ == "__main__":
    main()
