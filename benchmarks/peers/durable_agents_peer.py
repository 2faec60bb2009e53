"""We ourselves, under the same rules: `python durable_agents_peer.py W2 --in-flight 100`.

Each run is submitted, which is durable on return, and its output waited for.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from contest import STEPS, began, main

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, WorkerSettings

Order = tuple[int, int]
"""Number of the run, and how many calls it makes."""


def make_agent(workload: str) -> Agent:
    """An agent of one action."""
    agent, step = Agent("contest", input=Order), STEPS[workload]

    @agent.action(InputEvent)
    async def sequence(event: InputEvent[Order], ctx: RunnerContext) -> None:
        began()
        (run, calls), value = event.input, 0
        for _ in range(calls):
            value = await ctx.durable(step, run, value)
        ctx.output(value)

    return agent


def our_version() -> str:
    """Of the installed package; a checkout on the path has none."""
    try:
        return version("durable-agents-asyncio")
    except PackageNotFoundError:
        return "checkout"


class DurableAgents:
    """A worker in this process."""

    system = "durable_agents"
    version = our_version()
    sync = "SQLite, journal_mode=WAL, synchronous=FULL"
    includes = "acceptance, call records, output and completion of each run"
    cannot: ClassVar[dict[str, str]] = {}
    worker: Worker

    @asynccontextmanager
    async def up(self, folder: Path, workload: str, in_flight: int) -> AsyncGenerator[None]:
        """Start the worker, which takes unfinished runs over."""
        settings = WorkerSettings(max_concurrent_runs=in_flight, num_async_threads=in_flight)
        store = SqliteStore(folder / "contest.db", synchronous="full")
        async with Worker(make_agent(workload), store=store, settings=settings) as worker:
            self.worker = worker
            yield

    async def execute(self, run: int, calls: int) -> list[int]:
        """A run whose id is its number: a second submit returns the same run."""
        submitted = await self.worker.submit((run, calls), id=str(run))
        return await submitted.result()

    async def recover(self, runs: int, calls: int) -> None:
        """The worker goes on by itself; what was never accepted is submitted."""
        await asyncio.gather(*(self.execute(run, calls) for run in range(runs)))


if __name__ == "__main__":
    main(DurableAgents())
