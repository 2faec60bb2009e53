"""Calls with a reconciler, from the pending record to the outcome."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

from typing import Any

import pytest

from durable_agents import RunnerContext, Store, WorkerSettings, durable
from durable_agents.journal import CallBegun, CallSettled, CallStatus
from tests.conformance._journals import call_entries, only_action
from tests.worker._kit import Calls, Gate, agent_of, finish, interrupt


@pytest.mark.rows("RC-01", "DX-02")
async def test_a_new_call_is_durably_pending_before_its_effect_and_settled_before_its_value(
    store: Store,
) -> None:
    """Whatever moment the process dies at, the journal knows of the effect; nobody is asked."""
    asked, seen = list[str](), list[list[type]]()

    async def look() -> None:
        seen.append([type(entry) for entry in await call_entries(store)])

    @durable(name="charge", reconciler=asked.append)
    async def charge(order: str) -> str:
        await look()
        return f"call:{order}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(charge, "order-1")
        await look()
        ctx.output(value)

    assert await finish(agent_of(act), store) == ["call:order-1"]
    assert seen == [[CallBegun], [CallBegun, CallSettled]]
    assert asked == []


@pytest.mark.rows("RC-05")
async def test_a_call_that_is_made_and_not_yet_awaited_has_written_nothing(
    store: Store,
) -> None:
    """Its identity is fixed, its effect has not begun."""
    asked, before = list[str](), list[int]()

    @durable(name="charge", reconciler=asked.append)
    async def charge(order: str) -> str:
        return f"call:{order}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        call = ctx.durable(charge, "order-1")
        before.append(len(await call_entries(store)))
        value = await call
        begun, settled = await call_entries(store)
        assert isinstance(begun, CallBegun)
        assert isinstance(settled, CallSettled)
        assert not settled.failed
        ctx.output(value)

    assert await finish(agent_of(act), store) == ["call:order-1"]
    assert before == [0]
    assert asked == []


@pytest.mark.rows("RC-04", "RV-12")
async def test_another_call_at_a_pending_record_drops_it_and_what_followed(
    store: Store,
) -> None:
    """Under "clear": one record is left, of the new call; the reconciler is not asked."""
    calls, gate, second = Calls(), Gate(), Gate()
    orders, asked = ["other-order"], list[str]()

    @durable(name="charge", reconciler=asked.append)
    async def charge(order: str) -> str:
        await gate.wait()
        return f"call:{order}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        charged = ctx.durable(charge, orders[0])
        if orders == ["other-order"]:
            await ctx.durable(calls.double, 1)
        value = await charged
        await second.wait()
        ctx.output(value)

    agent = agent_of(act)
    settings = WorkerSettings(shutdown_grace_seconds=0, on_divergence="clear")
    await interrupt(agent, store, gate, settings)
    first = (await only_action(store)).records
    orders[0] = "order-1"
    await interrupt(agent, store, second, settings)
    left = (await only_action(store)).records

    assert [CallStatus.PENDING, CallStatus.SUCCEEDED] == [
        first["", position].status for position in range(2)
    ]
    assert [("", 0)] == list(left)
    assert left["", 0].status is CallStatus.SUCCEEDED
    assert left["", 0].digest != first["", 0].digest
    assert await finish(agent, store, settings) == ["call:order-1"]
    assert asked == []
    done = await only_action(store)
    assert (done.is_completed, done.records) == (True, {})


@pytest.mark.rows("RC-08")
async def test_no_option_reaches_the_function_as_a_keyword(store: Store) -> None:
    """Options have a place of their own, so none collides with a keyword of the function."""

    async def collect(**keywords: Any) -> dict[str, Any]:
        return keywords

    async def act(event: Any, ctx: RunnerContext) -> None:
        guarded = ctx.options(reconciler=lambda: None)
        ctx.output(await guarded.durable(collect))
        ctx.output(await guarded.durable(collect, reconciler="the function's own"))

    assert await finish(agent_of(act), store) == [
        {},
        {"reconciler": "the function's own"},
    ]
