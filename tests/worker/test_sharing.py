"""Several workers over one file, in one process."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from durable_agents import (
    Agent,
    RunCancelledError,
    RunError,
    RunStateError,
    SqliteStore,
    StoreError,
    Worker,
    WorkerSettings,
    durable,
)
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


async def test_a_run_is_cancelled_by_the_worker_that_has_it(tmp_path: Path) -> None:
    """The other one says who that is and changes nothing; what is nobody's it may cancel."""
    gate, path = Gate(), tmp_path / "agents.db"

    async def wait(event: object, ctx: object) -> None:  # noqa: ARG001 - as any action
        await gate.wait()

    agent = agent_of(wait)
    async with worker_over(path, agent) as second, worker_over(path, agent) as first:
        run = await first.submit(1, key="k", id="run")
        await gate.reached.wait()
        await second.submit(2, key="k", id="behind")
        with pytest.raises(RunStateError, match=r"belongs to .*process .* decide there"):
            await second.cancel("run")
        await second.cancel("behind")
        await first.cancel("run")
        with pytest.raises(RunCancelledError):
            await run.result()


async def test_a_plain_call_that_waits_for_a_thread_begins_only_while_the_lease_holds(
    tmp_path: Path,
) -> None:
    """Its turn may come long after the lease was looked at, and after the run was lost."""
    path, made = tmp_path / "agents.db", list[str]()
    blocker, is_blocked = threading.Event(), threading.Event()

    @durable(name="block")
    def block() -> None:
        is_blocked.set()
        blocker.wait(10)

    @durable(name="work")
    def work(name: str) -> None:
        made.append(name)

    async def act(event: object, ctx: object) -> None:
        if event.input == "blocker":  # type: ignore[attr-defined]  # as any action
            await ctx.durable(block)  # type: ignore[attr-defined]  # as any action
        else:
            await ctx.durable(work, event.input)  # type: ignore[attr-defined]  # as any action

    clock = ManualClock()
    settings = WorkerSettings(num_sync_threads=1, lease_seconds=10.0, shutdown_grace_seconds=0)
    store = SqliteStore(path, shared=True)
    async with Worker(agent_of(act), store=store, settings=settings, clock=clock) as worker:
        await worker.submit("blocker")
        while not is_blocked.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        run = await worker.submit("late", id="late")
        while worker.statistics().calls_in_flight < 2:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE runs SET worker = 0 WHERE worker > 0")
            other.execute("DELETE FROM workers")
        clock.advance(3600.0)
        blocker.set()
        with pytest.raises(RunError, match="another worker took the run over"):
            await run.result()
        assert [] == made
