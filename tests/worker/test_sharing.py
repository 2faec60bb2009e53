"""Several workers over one file, in one process."""

import asyncio
from pathlib import Path

import pytest

from durable_agents import Agent, RunError, SqliteStore, StoreError, Worker, WorkerSettings
from durable_agents.testing import ManualClock
from tests.worker._kit import Calls, Gate, agent_of

SETTINGS = WorkerSettings(shutdown_grace_seconds=0, lease_seconds=10.0)


def doubling(calls: Calls) -> Agent:
    """An agent that doubles its input in a durable call."""

    async def act(event: object, ctx: object) -> None:
        ctx.output(await ctx.durable(calls.double, event.input))  # type: ignore[attr-defined]  # as any action

    return agent_of(act)


def worker_over(path: Path, agent: Agent, clock: ManualClock | None = None) -> Worker:
    return Worker(agent, store=SqliteStore(path, shared=True), settings=SETTINGS, clock=clock)


async def test_a_result_comes_from_whichever_worker_ran_it(tmp_path: Path) -> None:
    """And inputs of one key run in the order in which they were accepted, over all workers."""
    calls = Calls()
    agent = doubling(calls)
    path = tmp_path / "agents.db"
    async with worker_over(path, agent) as first, worker_over(path, agent) as second:
        runs = [await (first, second)[n % 2].submit(n, key="k") for n in range(6)]
        outputs = [await run.result() for run in runs]
        await first.drain()

    assert [[2 * n] for n in range(6)] == outputs
    assert list(range(6)) == calls.made


async def test_a_worker_that_is_late_loses_its_runs_and_goes_on(tmp_path: Path) -> None:
    """Its handles say so; the wall clock has no part in it."""
    gate, path = Gate(), tmp_path / "agents.db"

    async def wait(event: object, ctx: object) -> None:
        await gate.wait()
        ctx.output(event.input)  # type: ignore[attr-defined]  # as any action

    agent = agent_of(wait)
    stopped, running = ManualClock(), ManualClock()
    async with (
        worker_over(path, agent, stopped) as first,
        worker_over(path, agent, running) as second,
    ):
        lost = await first.submit(1, key="k", id="run")
        await gate.reached.wait()
        running.jump(3600.0)
        again = await second.submit(1, key="k", id="run")
        while gate.visits == 1:
            running.advance(1.0)
            await asyncio.sleep(0.001)
        gate.open()
        while not stopped.sleeping_count:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)
        stopped.advance(running.monotonic() - stopped.monotonic())
        with pytest.raises(RunError, match="another worker took the run over"):
            await lost.result()
        other = asyncio.ensure_future(again.result())
        while not other.done():
            running.advance(0.5)
            await asyncio.sleep(0.001)

        assert [1] == await other


async def test_a_file_that_others_may_write_is_refused_with_pickles_that_nobody_signed(
    tmp_path: Path,
) -> None:
    """They could run code."""
    path = tmp_path / "agents.db"
    agent = doubling(Calls())
    async with worker_over(path, agent):
        pass
    path.chmod(0o664)
    with pytest.raises(StoreError, match="chmod 600"):
        async with worker_over(path, agent):
            pass
