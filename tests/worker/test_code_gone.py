"""A run whose code is gone waits for a person: seen, complete, and in nobody's way."""

import asyncio
import sys
from contextlib import suppress
from types import ModuleType

import pytest

from durable_agents import (
    Agent,
    Event,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    Store,
    WorkerSettings,
)
from durable_agents.errors import RunCancelledError, RunError, RunFailedError, RunParkedError
from durable_agents.testing import assert_replays
from tests.worker._kit import Calls, Gate, agent_of, finish, interrupt, life

ONE_PLACE = WorkerSettings(shutdown_grace_seconds=0, max_concurrent_runs=1)


class Half(Event):
    """Half of the work is done."""

    value: int


@pytest.fixture
def calls() -> Calls:
    """Durable functions, and what was executed."""
    return Calls()


@pytest.fixture
def gate() -> Gate:
    """Where the first life ends."""
    return Gate()


def whole(calls: Calls, gate: Gate) -> Agent:
    """Two actions, one fired by the other; the first life ends in the second one."""

    async def first(event: InputEvent[int], ctx: RunnerContext) -> Half:
        return Half(value=await ctx.durable(calls.double, event.input))

    async def second(event: Half, ctx: RunnerContext) -> None:
        value = await ctx.durable(calls.double, event.value)
        await gate.wait()
        ctx.output(value)

    agent = Agent("tested")
    agent.add_action("first", InputEvent, first)
    agent.add_action("second", Half, second)
    return agent


def without_second() -> Agent:
    """The action that had begun was taken out of the code."""

    async def first(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output(event.input)

    agent = Agent("tested")
    agent.add_action("first", InputEvent, first)
    return agent


def second_elsewhere() -> Agent:
    """The action is there, and nothing fires it on that event."""

    async def second(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output(event.input)

    agent = Agent("tested")
    agent.add_action("second", InputEvent, second)
    return agent


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (without_second, "agent 'tested' has no such action any more"),
        (second_elsewhere, "agent 'tested' does not fire it on that event any more"),
    ],
)
async def test_a_run_whose_action_is_gone_is_parked_by_its_name(
    calls: Calls, gate: Gate, store: Store, changed: type[Agent], told: str
) -> None:
    """It does not complete without it; with its code back it goes on where it was."""
    await interrupt(whole(calls, gate), store, gate)

    said = f"action 'second' has begun over event 1, .*Half', and {told}: retry"
    for _ in range(2):  # a restart changes nothing about it
        with pytest.raises(RunParkedError, match=said):
            await finish(changed(), store)

    async with life(whole(calls, gate), store) as worker:
        await worker.retry("run")
        assert [4] == await (await worker.submit(1, key="key", id="run")).result()
    assert [1, 2] == calls.made


async def test_it_starves_nobody(calls: Calls, gate: Gate, store: Store) -> None:
    """It holds its own key, as the order of the key wants, and no place of the worker."""
    await interrupt(whole(calls, gate), store, gate)

    async with life(without_second(), store, ONE_PLACE) as worker:
        behind = await worker.submit(2, key="key", id="behind")
        others = [await worker.submit(n, key=f"other {n}") for n in range(3)]
        assert [[0], [1], [2]] == [await run.result() for run in others]
        await worker.drain()
        statistics = worker.statistics()
        assert (0, 1) == (statistics.running, statistics.parked)
        await worker.cancel("run")
        assert [2] == await behind.result()


async def test_it_can_be_given_up(calls: Calls, gate: Gate, memory: InMemoryStore) -> None:
    """By a person who knows that nobody needs it."""
    await interrupt(whole(calls, gate), memory, gate)

    async with life(without_second(), memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        with pytest.raises(RunParkedError):
            await run.result()
        await worker.cancel("run")
        with pytest.raises(RunCancelledError):
            await run.result()


async def test_an_action_that_was_told_to_stop_needs_its_code_no_more(
    calls: Calls, memory: InMemoryStore
) -> None:
    """There is nothing left to clean up with: the run ends as it was told to."""
    gate, cleaning = Gate(), Gate()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        try:
            await ctx.durable(calls.double, event.input)
            await gate.wait()
        finally:
            await cleaning.wait()

    async with life(agent_of(act), memory) as worker:
        await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        cancelling = asyncio.create_task(worker.cancel("run", "no longer needed"))
        await cleaning.reached.wait()
    with suppress(RunError):
        await cancelling

    with pytest.raises(RunCancelledError, match="no longer needed"):
        await finish(without_second(), memory)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with an event class, as code that is deployed and taken away."""
    module = ModuleType("released_events")
    exec("from durable_agents import Event\nclass Priced(Event):\n    value: int", vars(module))  # noqa: S102
    module.Priced.__module__ = module.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


async def test_an_event_whose_class_is_gone_fails_its_run_by_that_name(
    calls: Calls,
    gate: Gate,
    memory: InMemoryStore,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is kept, and goes on when the class is back; a check tells before it comes to that."""

    async def first(event: InputEvent[int], ctx: RunnerContext) -> Event:
        value = await ctx.durable(calls.double, event.input)
        event_of: type[Event] = released.Priced
        return event_of(value=value)

    async def second(event: Event, ctx: RunnerContext) -> None:
        await gate.wait()
        ctx.output(await ctx.durable(calls.double, getattr(event, "value", 0)))

    agent = Agent("tested")
    agent.add_action("first", InputEvent, first)
    agent.add_action("second", released.Priced.type_name(), second)
    await interrupt(agent, memory, gate)

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        with pytest.raises(
            AssertionError, match=r"^run run: it fails now: DecodeError: .*Priced"
        ):
            await assert_replays(agent, memory, open_only=True)
        with pytest.raises(RunFailedError, match="Priced"):
            await finish(agent, memory)

    async with life(agent, memory) as worker:
        await worker.retry("run")
        assert [4] == await (await worker.submit(1, key="key", id="run")).result()
    assert [1, 2] == calls.made
