"""Keys of runs, and what belongs together by them."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
from typing import Any

import pytest

from durable_agents import Codec, InputEvent, RunnerContext, Store
from durable_agents.journal import CallSettled
from tests.conformance._journals import call_entries, opened
from tests.worker._kit import Calls, Gate, agent_of, finish, life

CODEC = Codec()


@pytest.mark.rows("KY-01", "KY-02")
async def test_a_call_about_an_event_depends_on_its_content_alone(store: Store) -> None:
    """Two inputs of equal content are two occurrences; a third one differs."""
    occurrences: list[str] = []

    async def look_at(event: InputEvent[Any]) -> str:
        return str(event.input)

    async def act(event: InputEvent[Any], ctx: RunnerContext) -> None:
        occurrences.append(ctx.trigger.id)
        await ctx.durable(look_at, event)

    async with life(agent_of(act), store) as worker:
        for value in ({"order": 7}, {"order": 7}, {"order": 8}):
            run = await worker.submit(value, key="key")
            await run.result()
        calls = [call for n in (1, 2, 3) for call in await call_entries(store, n)]

    one, again, other = (call.digest for call in calls if isinstance(call, CallSettled))
    assert len(set(occurrences)) == 3
    assert one == again
    assert one != other


@pytest.mark.rows("KY-05", "KY-08")
@pytest.mark.parametrize(
    "key",
    ["round-trip-test", "key-with-special@chars#123", "a_b_1_2", "_1_action_event", "ключ/%00"],
)
async def test_key_and_number_come_back_as_they_were(store: Store, key: str) -> None:
    """In the context, in the store and by a look-up, after a restart too."""
    gate = Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await gate.wait()
        ctx.output(ctx.key)

    agent = agent_of(act)
    async with life(agent, store) as worker:
        await worker.submit(1, key="another")
        await worker.submit(1, key=key, id="run")
        await gate.reached.wait()
    gate.open()
    async with opened(store):
        row = await store.find("run")
        assert row is not None
        assert (row.key, row.number) == (key, 2)
        assert await store.open_runs_of_key("tested", key, after=0, limit=9) == [row]

    assert await finish(agent, store) == [key]


@pytest.mark.rows("KY-11", "KY-19")
async def test_all_runs_of_a_key_are_found_together_and_stand_in_one_line(
    store: Store,
) -> None:
    """Before a restart and after it, whatever else is in the store."""
    gate, order = Gate(), list[tuple[str, int]]()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await gate.wait()
        order.append((ctx.key, event.input))

    agent = agent_of(act)
    async with life(agent, store) as worker:
        for number in range(3):
            for key in ("a", "b"):
                await worker.submit(number, key=key)
        await gate.reached.wait()
        assert worker.statistics().running <= 2
    async with opened(store):
        found = await store.open_runs_of_key("tested", "a", after=0, limit=9)
    gate.open()
    async with life(agent, store) as worker:
        await worker.drain()

    assert [row.number for row in found] == [1, 3, 5]
    assert [number for key, number in order if key == "a"] == [0, 1, 2]
    assert [number for key, number in order if key == "b"] == [0, 1, 2]


@pytest.mark.rows("KY-18")
async def test_one_worker_takes_over_the_runs_of_every_key(store: Store) -> None:
    """There is no other place that a key could belong to."""
    calls, gate = Calls(), Gate()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await gate.wait()
        await ctx.durable(calls.double, event.input)

    agent = agent_of(act)
    async with life(agent, store) as worker:
        await asyncio.gather(*(worker.submit(n, key=f"key {n}") for n in range(10)))
        await gate.reached.wait()
    gate.open()
    async with life(agent, store) as worker:
        await worker.drain()
        assert worker.statistics().completed == 10

    assert sorted(calls.made) == list(range(10))
