"""What is on record before, during and after a run, and what is without a store."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

from pathlib import Path
from typing import Any

import pytest

from durable_agents import Codec, InputEvent, RunnerContext, Store
from durable_agents.journal import ActionCompleted, RunAccepted, RunStatus
from tests.conformance._journals import entries_now, state_between
from tests.worker._kit import Calls, Gate, agent_of, finish, life


@pytest.mark.rows("CK-01")
async def test_without_a_store_everything_works_and_nothing_outlives_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file, and a later worker knows of nothing."""
    monkeypatch.chdir(tmp_path)
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(calls.double, ctx.short_term_memory.get("last", 0)))
        ctx.short_term_memory.set("last", 1)

    for _ in range(2):
        async with life(agent_of(act)) as worker:
            run = await worker.submit(1, key="key", id="run")
            assert run.is_new
            assert await run.result() == [0]

    assert calls.made == [0, 0]
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - nothing else is going on


@pytest.mark.rows("CK-03")
async def test_an_input_is_on_record_before_its_action_runs_and_its_effects_after(
    store: Store,
) -> None:
    """Whatever moment the process dies at, the action runs, and takes effect once."""
    calls, before = Calls(), list[list[type]]()

    async def act(event: Any, ctx: RunnerContext) -> None:
        before.append([type(entry) for entry in await entries_now(store)])
        ctx.output(await ctx.durable(calls.double, 21))
        during = await store.outputs_of(1)
        assert during == []

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1, key="key-1", id="run")
        assert await run.result() == [42]
        *_, completed, _ = await entries_now(store)
        [output] = await store.outputs_of(1)

    assert before == [[RunAccepted]]
    assert isinstance(completed, ActionCompleted)
    assert completed.outputs == 1
    assert Codec().decode(output.event.payload) == 42
    state = await state_between(store)
    assert state.status is RunStatus.COMPLETED
    [action] = state.actions.values()
    assert action.is_completed
    assert action.call_log().is_empty
    assert await finish(agent_of(act), store) == [42]
    assert calls.made == [21]


@pytest.mark.rows("CK-10")
async def test_nothing_of_a_run_is_pruned_before_it_has_ended(store: Store) -> None:
    """Neither what it did, nor that it was taken in."""
    gate, calls = Gate(), Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(calls.double, 1)
        await gate.wait()

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(5, key="key")
        await gate.reached.wait()
        before = await entries_now(store)
        assert await worker.prune(keep=0) == 0
        assert await entries_now(store) == before
        gate.open()
        await run.result()
        assert await worker.prune(keep=0) == 1
        assert await entries_now(store) == []


@pytest.mark.rows("CK-11")
async def test_pruning_leaves_what_is_in_flight(store: Store) -> None:
    """The next run of the key keeps its record, and a later life goes on with it."""
    gate, calls = Gate(), Calls()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        value = await ctx.durable(calls.double, event.input)
        if ctx.run_id == "run":
            await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    async with life(agent, store) as worker:
        ended = await worker.submit(5, key="key")
        await ended.result()
        await worker.submit(6, key="key", id="run")
        await gate.reached.wait()
        assert await worker.prune(keep=0) == 1
        left = [row.run_id for row in await store.runs(after=0, limit=9)]
    gate.open()

    assert left == ["run"]
    assert await finish(agent, store) == [12]
    assert calls.made == [5, 6]
