"""A run that a person cancels: every task is reached, clean-up runs, a replay does the same."""

# ruff: noqa: ANN401, ARG001, ARG002 - actions take an event of any type, whether they read it or not

import asyncio
from typing import Any

import pytest

from durable_agents import (
    Agent,
    Event,
    InMemoryStore,
    InputEvent,
    RetryPolicy,
    Run,
    RunCancelledError,
    RunnerContext,
    RunStateError,
    Store,
    UnknownRunError,
    WorkerSettings,
    durable,
)
from durable_agents.journal import CallAbandoned, CallSettled, CancelRequested, RunCancelled
from durable_agents.testing import CrashingStore
from tests.worker._kit import AT_ONCE, Calls, FakeClock, Gate, agent_of, entries, life, passes


class Next(Event):
    """Fires a second action."""


class Scene:
    """An action that waits in durable calls at a gate, and cleans up when it is cancelled.

    Args:
        branches: How many calls wait at once.
        swallows: Whether the action goes on as if nothing had happened.
    """

    def __init__(self, branches: int = 1, *, swallows: bool = False) -> None:
        self.gate = Gate()
        self.cleaning = Gate()
        self.calls = Calls()
        self.reached: list[int] = []
        self.agent = agent_of(self.act)
        self._branches = branches
        self._swallows = swallows

    @durable(name="wait")
    async def wait(self, branch: int) -> int:
        """Wait at the gate."""
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.reached.append(branch)
            raise
        return branch

    async def act(self, event: Any, ctx: RunnerContext) -> None:
        try:
            waits = (ctx.durable(self.wait, n) for n in range(self._branches))
            ctx.output(await asyncio.gather(*waits))
        except asyncio.CancelledError:
            await ctx.durable(self.calls.double, 21)
            await self.cleaning.wait()
            ctx.output("cleaned up")
            if not self._swallows:
                raise


async def ended(run: Run) -> str:
    """Why a run was cancelled."""
    with pytest.raises(RunCancelledError) as caught:
        await run.result()
    return caught.value.reason


async def test_every_task_of_the_action_is_reached(store: Store) -> None:
    """Through the gather that the action awaits."""
    scene = Scene(branches=3)
    scene.cleaning.open()
    async with life(scene.agent, store) as worker:
        run = await worker.submit(1, id="run")
        await scene.gate.reached.wait()
        await worker.cancel("run", "by hand")

        assert "by hand" == await ended(run)
    assert [0, 1, 2] == sorted(scene.reached)


async def test_durable_calls_of_the_clean_up_are_made_and_recorded(
    memory: InMemoryStore,
) -> None:
    """A cancelled order is refunded durably, too."""
    scene = Scene()
    scene.cleaning.open()
    async with life(scene.agent, memory) as worker:
        run = await worker.submit(1, id="run")
        await scene.gate.reached.wait()
        await worker.cancel("run")
        await ended(run)

    assert [21] == scene.calls.made
    kinds = [type(entry) for entry in await entries(memory)]
    assert [CancelRequested, CallAbandoned, CallSettled, RunCancelled] == kinds[-4:]


async def test_a_replay_meets_the_cancellation_where_the_action_met_it(store: Store) -> None:
    """A process that dies while the action cleans up: the next one cleans up, once."""
    scene = Scene(branches=2)
    async with life(scene.agent, store) as worker:
        await worker.submit(1, id="run")
        await scene.gate.reached.wait()
        await worker.cancel("run", "by hand")
        await scene.cleaning.reached.wait()
    scene.cleaning.open()
    async with life(scene.agent, store) as worker:
        run = await worker.submit(1, id="run")

        assert "by hand" == await ended(run)
    assert [21] == scene.calls.made
    assert 2 == scene.gate.visits


async def test_what_an_action_did_that_swallows_its_cancellation_stays(store: Store) -> None:
    """But no further action starts, and the run ends as cancelled."""
    scene = Scene(swallows=True)
    scene.cleaning.open()
    started: list[int] = []

    async def follow(event: Any, ctx: RunnerContext) -> None:
        started.append(1)

    async def act(event: Any, ctx: RunnerContext) -> Event:
        await scene.act(event, ctx)
        return Next()

    agent = Agent("tested")
    agent.add_action("act", InputEvent, act)
    agent.add_action("follow", Next, follow)
    async with life(agent, store) as worker:
        run = await worker.submit(1, id="run")
        await scene.gate.reached.wait()
        await worker.cancel("run")
        await ended(run)
        outputs = [row.event.event_id for row in await store.outputs_of(run.number)]

    assert 1 == len(outputs)
    assert [] == started


async def test_an_error_of_the_clean_up_is_told_with_the_cancellation(store: Store) -> None:
    """The run was given up; why it did not end well is not lost."""
    gate = Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await gate.wait()
        except asyncio.CancelledError as error:
            msg = "the refund was refused"
            raise ValueError(msg) from error

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1, id="run")
        await gate.reached.wait()
        await worker.cancel("run", "by hand")

        reason = await ended(run)
    assert "by hand (its clean-up raised ValueError: the refund was refused)" == reason


async def test_a_run_that_waits_for_its_turn_never_starts(store: Store) -> None:
    """The run before it goes on, the one behind it moves up."""
    gate, seen = Gate(), list[int]()

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen.append(event.input)
        await gate.wait()

    async with life(agent_of(act), store) as worker:
        runs = [await worker.submit(n, key="k", id=f"run{n}") for n in range(3)]
        await gate.reached.wait()
        await worker.cancel("run1", "by hand")
        assert "by hand" == await ended(runs[1])
        gate.open()
        await runs[2].result()
        await worker.drain()

    assert [0, 2] == seen


async def test_a_cancelled_run_stays_so_in_the_next_life(store: Store) -> None:
    """Whatever its submitter asks."""
    gate = Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await gate.wait()

    async with life(agent_of(act), store) as worker:
        await worker.submit(1, id="run")
        await gate.reached.wait()
        await worker.cancel("run", "by hand")
        await worker.drain()
    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1, id="run")

        assert "by hand" == await ended(run)
    assert 1 == gate.visits


async def test_a_second_cancellation_waits_for_the_same_end(store: Store) -> None:
    """And is refused once the run has ended."""
    scene = Scene()
    async with life(scene.agent, store) as worker:
        run = await worker.submit(1, id="run")
        await scene.gate.reached.wait()
        await worker.cancel("run", "first")
        await worker.cancel("run", "second")
        scene.cleaning.open()
        assert "first" == await ended(run)

        with pytest.raises(RunStateError, match="it is cancelled; only runs that have not"):
            await worker.cancel("run")


async def test_a_completed_run_cannot_be_cancelled(store: Store) -> None:
    """What completed stays so."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output("done")

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1, id="run")
        await run.result()

        with pytest.raises(RunStateError, match="run: it is completed"):
            await worker.cancel("run")
        assert ["done"] == await run.result()


async def test_a_run_that_nobody_submitted_is_unknown(store: Store) -> None:
    """The error says where to look."""
    async with life(Scene().agent, store) as worker:
        with pytest.raises(UnknownRunError, match="no run of this id"):
            await worker.cancel("nowhere")


async def test_a_run_between_two_attempts_of_its_action_ends_at_once(store: Store) -> None:
    """The pause is not waited for."""
    clock = FakeClock(sleeps=False)

    async def act(event: Any, ctx: RunnerContext) -> None:
        msg = "no"
        raise ValueError(msg)

    agent = agent_of(act, retry=RetryPolicy(max_attempts=3, initial=60.0))
    async with life(agent, store, clock=clock) as worker:
        run = await worker.submit(1, id="run")
        await clock.is_asleep.wait()
        await worker.cancel("run", "by hand")

        assert "by hand" == await ended(run)


async def test_calls_that_settled_before_it_are_handed_over_before_it(
    memory: InMemoryStore,
) -> None:
    """On replay as live: the action sees three results, then its cancellation."""
    gate, calls = Gate(), Calls()
    seen: list[list[int]] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        results: list[int] = []
        try:
            for number in range(3):
                results += [await ctx.durable(calls.double, number)]
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append(results)
            await gate.wait()
            raise

    async with life(agent_of(act), memory) as worker:
        await worker.submit(1, id="run")
        await passes(50)
        await worker.cancel("run")
        await gate.reached.wait()
    gate.open()
    async with life(agent_of(act), memory) as worker:
        await ended(await worker.submit(1, id="run"))

    assert [[0, 2, 4], [0, 2, 4]] == seen
    assert [0, 1, 2] == calls.made


async def test_a_failed_run_that_blocks_its_key_lets_go_when_it_is_cancelled(
    store: Store,
) -> None:
    """A person gave it up; the next input of the key runs."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        if event.input == 0:
            msg = "no"
            raise ValueError(msg)
        ctx.output("done")

    settings = WorkerSettings(shutdown_grace_seconds=0, on_failure="block")
    async with life(agent_of(act), store, settings) as worker:
        await worker.submit(0, key="k", id="bad")
        good = await worker.submit(1, key="k", id="good")
        await worker.drain()
        await worker.cancel("bad")

        assert ["done"] == await good.result()


async def test_a_worker_that_stops_takes_no_decisions(store: Store) -> None:
    """The next one does."""
    async with life(Scene().agent, store, AT_ONCE) as worker:
        worker.request_stop()

        with pytest.raises(Exception, match="the worker is stopping and takes no decisions"):
            await worker.cancel("run")


@pytest.mark.parametrize("after", range(1, 8))
async def test_a_crash_at_any_write_leaves_the_cancellation_whole(
    memory: InMemoryStore, after: int
) -> None:
    """On record, it is carried out by the next life; clean-up that settled is not repeated."""
    scene, crashed = Scene(branches=2), asyncio.Event()
    scene.cleaning.open()
    store = CrashingStore(memory, after=after, crash=crashed.set, one_by_one=True)

    async def cancel_once() -> None:
        async with life(scene.agent, store) as worker:
            run = await worker.submit(1, key="key", id="run")
            await scene.gate.reached.wait()
            await worker.cancel("run", "by hand")
            await ended(run)

    living = asyncio.ensure_future(cancel_once())
    crash = asyncio.ensure_future(crashed.wait())
    await asyncio.wait([living, crash], return_when=asyncio.FIRST_COMPLETED)
    for task in (living, crash):
        task.cancel()
    await asyncio.gather(living, crash, return_exceptions=True)
    recorded = await entries(memory)
    cleaned_up = list(scene.calls.made)
    is_settled = any(isinstance(entry, CallSettled) for entry in recorded)
    async with life(scene.agent, memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        if not any(isinstance(entry, CancelRequested) for entry in recorded):
            await passes(50)
            await worker.cancel("run", "by hand")

        assert "by hand" == await ended(run)
    assert [21] == (cleaned_up if is_settled else scene.calls.made[-1:])
    assert 1 + (bool(cleaned_up) and not is_settled) == len(scene.calls.made)
