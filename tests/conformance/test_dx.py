"""Durable calls one by one: what a replay does not do again."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
from typing import Any

import pytest

from durable_agents import Agent, InputEvent, RunnerContext, Store, durable
from durable_agents.journal import CallBegun, CallSettled
from tests.conformance._journals import call_entries, opened
from tests.worker._kit import Calls, Gate, agent_of, finish, interrupt


@pytest.mark.rows("DX-03")
async def test_a_plain_action_leaves_the_records_that_an_async_one_leaves(store: Store) -> None:
    """Where nothing can be suspended, the call waits in the action's own thread."""
    calls, asked = Calls(), list[str]()

    def act(event: Any, ctx: RunnerContext) -> None:
        guarded = ctx.options(name="charge", reconciler=asked.append)
        ctx.output(guarded.durable_sync(calls.echo, "ok"))

    agent = Agent("tested").add_action("act", InputEvent, act)

    assert await finish(agent, store) == ["ok"]
    assert (calls.made, asked) == (["ok"], [])
    async with opened(store):
        assert [type(e) for e in await call_entries(store)] == [CallBegun, CallSettled]


@pytest.mark.rows("DX-04", "DX-05", "DX-06")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_settled_call_is_replayed_without_call_question_or_entry(
    store: Store, fails: bool
) -> None:
    """A value is returned, a failure raised as it was live; the reconciler rests."""
    made, asked, gate, seen = list[str](), list[str](), Gate(), list[str]()

    @durable(name="charge", reconciler=asked.append)
    async def charge(order: str) -> str:
        made.append(order)
        if fails:
            message = f"cached failure of {order}"
            raise LookupError(message)
        return f"cached {order}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            outcome = await ctx.durable(charge, "order-1")
        except LookupError as error:
            outcome = f"{type(error).__name__}: {error}"
        seen.append(outcome)
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    async with opened(store):
        before = await call_entries(store)
    await finish(agent, store)

    expected = "LookupError: cached failure of order-1" if fails else "cached order-1"
    assert seen == [expected, expected]
    assert (made, asked) == (["order-1"], [])
    async with opened(store):
        assert await call_entries(store) == before


@pytest.mark.rows("DA-04")
async def test_a_reconciler_runs_in_the_task_of_its_action(store: Store) -> None:
    """It takes no place of the pool, so a full pool cannot keep a run in doubt."""
    gate, tasks = Gate(), list[asyncio.Task[Any] | None]()

    async def look_up() -> str:
        tasks.append(asyncio.current_task())
        return "recovered"

    @durable(reconciler=look_up)
    async def charge() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        tasks.append(asyncio.current_task())
        ctx.output(await ctx.durable(charge))

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    tasks.clear()

    assert await finish(agent, store) == ["recovered"]
    of_action, of_reconciler = tasks
    assert of_action is of_reconciler
    assert gate.visits == 1
    async with opened(store):
        assert [type(e) for e in await call_entries(store)] == [CallBegun, CallSettled]


@pytest.mark.rows("DE-03")
async def test_awaited_calls_follow_one_another(store: Store) -> None:
    """The second one gets what the first one gave."""

    async def add_five(number: int) -> int:
        return number + 5

    async def triple(number: int) -> int:
        return 3 * number

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(triple, await ctx.durable(add_five, event.input)))

    assert await finish(agent_of(act), store, value=4) == [27]
