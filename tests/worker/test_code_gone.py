"""A run whose code is gone waits until it is back: seen, complete, and in nobody's way."""

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from contextvars import ContextVar
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from durable_agents import (
    Agent,
    Codec,
    Event,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    SqliteStore,
    Store,
    SystemClock,
    WorkerSettings,
)
from durable_agents.agent import AgentPlan
from durable_agents.errors import (
    RunCancelledError,
    RunError,
    RunParkedError,
    StoreConflictError,
)
from durable_agents.journal import RunCompleted, RunFailed, RunParked, RunRetried
from durable_agents.store import Write
from durable_agents.testing import assert_replays
from durable_agents.worker import replay_runs
from durable_agents.worker._returning import returns_to_work
from durable_agents.worker._services import make_services
from tests.worker._kit import Calls, Gate, agent_of, entries, finish, interrupt, life

ONE_PLACE = WorkerSettings(shutdown_grace_seconds=0, max_concurrent_runs=1)


class Half(Event):
    """Half of the work is done."""

    value: int


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

    said = f"action 'second' has begun over event 1, .*Half', and {told}: the run goes on when"
    for _ in range(2):  # a restart changes nothing about it
        with pytest.raises(RunParkedError, match=said):
            await finish(changed(), store)

    assert [4] == await finish(whole(calls, gate), store)
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
    """A module with classes, as code that is deployed and taken away."""
    module = ModuleType("released_classes")
    source = """
        from dataclasses import dataclass
        from durable_agents import Event

        class Priced(Event):
            value: int

        @dataclass
        class Order:
            value: int
        """
    exec(dedent(source), vars(module))  # noqa: S102
    module.Priced.__module__ = module.Order.__module__ = module.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def of_input(calls: Calls, gate: Gate, released: ModuleType) -> tuple[Agent, object]:
    """An agent, and an input of a class of the module."""

    async def act(event: InputEvent[Any], ctx: RunnerContext) -> None:
        CONTEXT.set(ctx)
        value = getattr(event.input, "value", event.input)
        value = await ctx.durable(calls.double, value)
        if type(event.input) is not int:
            await gate.wait()
            value = await ctx.durable(calls.double, value)
        ctx.output(value)

    return agent_of(act), released.Order(1)


def of_event(calls: Calls, gate: Gate, released: ModuleType) -> tuple[Agent, object]:
    """An agent that has an event of a class of the module between two actions."""

    async def first(event: InputEvent[Any], ctx: RunnerContext) -> Event | None:
        value = await ctx.durable(calls.double, event.input)
        if event.input > 1:
            ctx.output(value)
            return None
        event_of: type[Event] = released.Priced
        return event_of(value=value)

    async def second(event: Event, ctx: RunnerContext) -> None:
        CONTEXT.set(ctx)
        await gate.wait()
        ctx.output(await ctx.durable(calls.double, getattr(event, "value", 0)))

    agent = Agent("tested")
    agent.add_action("first", InputEvent, first)
    return agent.add_action("second", released.Priced.type_name(), second), 1


Make = Callable[[Calls, Gate, ModuleType], tuple[Agent, object]]
either = pytest.mark.parametrize(
    ("make", "told"),
    [
        (of_input, "its input cannot be read: no class released_classes:Order is loaded"),
        (
            of_event,
            "event 1, sent by action 'first', cannot be read: no class released_classes:Priced",
        ),
    ],
    ids=["input", "event"],
)


async def left_over(
    make: Make, calls: Calls, released: ModuleType, store: Store, key: str | None
) -> Agent:
    """An agent whose run "run" was interrupted behind its first call."""
    gate = Gate()
    agent, value = make(calls, gate, released)
    async with life(agent, store) as worker:
        await worker.submit(value, key=key, id="run")
        await gate.reached.wait()
    gate.open()
    return agent


@either
@pytest.mark.parametrize("key", ["key", None])
async def test_a_run_whose_class_is_gone_waits_until_it_is_back(  # noqa: PLR0913, PLR0917
    calls: Calls,
    store: Store,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    told: str,
    key: str | None,
) -> None:
    """Seen, over restarts, with all that it has done; then it goes on by itself."""
    agent = await left_over(make, calls, released, store, key)

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, released.__name__)
            async with life(agent, store) as worker:
                run = await worker.submit(7, key=key, id="run")
                with pytest.raises(RunParkedError, match=told):
                    await run.result()
                await worker.drain()
                statistics = worker.statistics()
                assert (0, 0) == (statistics.running, statistics.failed)

    async with life(agent, store) as worker:
        assert [4] == await (await worker.submit(7, key=key, id="run")).result()
    assert [1, 2] == calls.made


@either
@pytest.mark.parametrize("key", ["key", None])
async def test_a_run_whose_class_is_gone_starves_nobody(  # noqa: PLR0913, PLR0917
    calls: Calls,
    store: Store,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    told: str,
    key: str | None,
) -> None:
    """It holds its own key, so that the order of that stays, and no place of the worker."""
    del told
    agent = await left_over(make, calls, released, store, key)

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        async with life(agent, store, ONE_PLACE) as worker:
            await worker.submit(2, key="key", id="behind")
            others = [await worker.submit(n, key=f"other {n}") for n in (3, 4)]
            others.append(await worker.submit(5))
            assert [[6], [8], [10]] == [await run.result() for run in others]
            await worker.drain()

    async with life(agent, store, ONE_PLACE) as worker:
        behind = await worker.submit(2, key="key", id="behind")
        assert [4] == await behind.result()
        assert [4] == await (await worker.submit(7, key=key, id="run")).result()
    assert {"key": [1, 3, 4, 5, 2, 2], None: [1, 2, 3, 4, 5, 2]}[key] == calls.made


@either
async def test_a_check_finds_a_run_whose_class_is_gone(  # noqa: PLR0913, PLR0917
    calls: Calls,
    memory: InMemoryStore,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    told: str,
) -> None:
    """Before a worker comes to it."""
    agent = await left_over(make, calls, released, memory, "key")
    monkeypatch.delitem(sys.modules, released.__name__)

    with pytest.raises(AssertionError, match=f"^run run: {told}"):
        await assert_replays(agent, memory, open_only=True)
    assert ["gone"] == [run.safety async for run in replay_runs(agent, memory)]


async def test_it_is_parked_once_however_often_workers_start(
    calls: Calls,
    memory: InMemoryStore,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A restart without the class is not on record, one with it is."""
    agent = await left_over(of_event, calls, released, memory, "key")
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        for _ in range(3):
            async with life(agent, memory) as worker:
                await worker.drain()
    await finish(agent, memory)

    ends = (RunParked, RunRetried, RunFailed, RunCompleted)
    recorded = [type(entry) for entry in await entries(memory) if isinstance(entry, ends)]
    assert [RunParked, RunRetried, RunCompleted] == recorded


async def test_a_run_that_a_person_has_to_decide_about_stays_parked(
    calls: Calls, gate: Gate, store: Store
) -> None:
    """A divergence is not over because a worker starts."""

    def act_with(value: int) -> Agent:
        async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            del event
            await ctx.durable(calls.double, value)
            await gate.wait()

        return agent_of(act)

    await interrupt(act_with(1), store, gate)
    settings = WorkerSettings(shutdown_grace_seconds=0, on_divergence="fail")
    for agent in (act_with(2), act_with(1)):
        with pytest.raises(RunParkedError, match="no longer repeats"):
            await finish(agent, store, settings)

    async with life(act_with(1), store) as worker:
        await worker.retry("run")
        assert [] == await (await worker.submit(1, key="key", id="run")).result()


async def test_a_run_stays_parked_while_a_condition_raises(
    calls: Calls,
    memory: InMemoryStore,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would only fail."""
    agent = await left_over(of_event, calls, released, memory, "key")
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        async with life(agent, memory) as worker:
            await worker.drain()

    def raises(event: Event) -> bool:
        raise ZeroDivisionError(event)

    async def second(event: Event, ctx: RunnerContext) -> None:
        """Not reached."""

    broken = Agent("tested")
    broken.add_action("second", released.Priced.type_name(), second, when=raises)
    with pytest.raises(RunParkedError):
        await finish(broken, memory)
    assert "run run stays parked: a condition raised ZeroDivisionError" in caplog.text
    assert [4] == await finish(agent, memory)


async def test_a_worker_starts_though_a_parked_run_cannot_be_read(
    calls: Calls,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It stays as it is, and others go on."""
    store = SqliteStore(tmp_path / "agents.db")
    agent = await left_over(of_event, calls, released, store, "key")
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        async with life(agent, store) as worker:
            await worker.drain()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("UPDATE journal SET body = CAST(body || x'00' AS BLOB)")

    async with life(agent, store) as worker:
        assert [6] == await (await worker.submit(3, key="other")).result()
    assert "run run stays parked: store " in caplog.text


async def test_workers_that_share_a_store_take_it_up_once(
    calls: Calls,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Whichever of them comes first."""
    path = tmp_path / "agents.db"
    agent = await left_over(of_event, calls, released, SqliteStore(path, shared=True), "key")
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        with pytest.raises(RunParkedError):
            await finish(agent, SqliteStore(path, shared=True))

    async with (
        life(agent, SqliteStore(path, shared=True)) as first,
        life(agent, SqliteStore(path, shared=True)),
    ):
        assert [4] == await (await first.submit(1, key="key", id="run")).result()
    assert [1, 2] == calls.made


async def test_a_run_that_another_worker_has_put_back_is_left_to_it(
    calls: Calls,
    memory: InMemoryStore,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is on record once that it goes on."""
    agent = await left_over(of_event, calls, released, memory, "key")
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        async with life(agent, memory) as worker:
            await worker.drain()
    await memory.open("a worker")
    (row,) = await memory.open_runs("tested", after=0, limit=9)
    services = make_services(WorkerSettings(), memory, SystemClock(), Codec())
    plan = AgentPlan.of(agent)

    def refuse(write: Write) -> None:
        raise StoreConflictError(str(write.number), "another worker has it")

    with monkeypatch.context() as patch:
        patch.setattr(memory, "append", refuse)
        assert not await returns_to_work(row, plan, services)
    assert await returns_to_work(row, plan, services)
    assert not await returns_to_work(row, plan, services)
    services.threads.close()


@either
@pytest.mark.parametrize("key", ["key", None])
async def test_a_run_that_had_left_memory_takes_its_signal_along(  # noqa: PLR0913, PLR0917
    calls: Calls,
    memory: InMemoryStore,
    released: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    told: str,
    key: str | None,
) -> None:
    """Whoever signals it while its class is gone is not refused, and nothing is lost."""
    monkeypatch.setattr("durable_agents.worker._resting._QUIET_SECONDS", 0.001)
    settings = WorkerSettings(shutdown_grace_seconds=0, max_resident_runs=1)
    gate = _Signalled()
    agent, value = make(calls, gate, released)

    async with life(agent, memory, settings) as worker:
        for input_of, name in ((value, "run"), (value, "other")):
            await worker.submit(input_of, key=key and f"{key} of {name}", id=name)
        while not worker.statistics().evicted:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)

    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, released.__name__)
        async with life(agent, memory, settings) as worker:
            for name in ("run", "other"):
                assert await worker.signal(name, "go")
                with pytest.raises(RunParkedError, match=told):
                    await (await worker.submit(value, id=name)).result()

    async with life(agent, memory, settings) as worker:
        for name in ("run", "other"):
            assert [4] == await (await worker.submit(value, id=name)).result()
    assert [1, 1, 2, 2] == calls.made


class _Signalled(Gate):
    """A place where an action waits for a signal."""

    async def wait(self) -> None:
        await CONTEXT.get().wait_for_signal("go")


CONTEXT: ContextVar[RunnerContext] = ContextVar("CONTEXT")
