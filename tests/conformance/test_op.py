"""The engine: order and overlap of keys, restarts, failures."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
from typing import Any

import pytest

from durable_agents import (
    Agent,
    DynamicEvent,
    Event,
    EventType,
    InMemoryStore,
    InputEvent,
    OutputEvent,
    OutsideActionError,
    RunFailedError,
    RunnerContext,
    Store,
    StoreUnavailableError,
)
from durable_agents.scheduler import Scheduler
from durable_agents.store import Write
from tests.conformance._kit import until
from tests.worker._kit import Calls, Gate, agent_of, finish, life


class Multiplied(Event):
    """What the first action hands to the second."""

    value: int


class StumblingStore(InMemoryStore):
    """A store of which the first write to a run's journal fails."""

    has_failed = False

    def append(self, write: Write) -> "asyncio.Future[int]":
        if self.has_failed:
            return super().append(write)
        self.has_failed = True
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailableError("stumbling", "the disk is away"))
        future.exception()
        return future


async def times_ten(number: int) -> int:
    await asyncio.sleep(0)
    return 10 * number


async def multiply(event: InputEvent[int], ctx: RunnerContext) -> Event:
    """An asynchronous call, and an event with what came of it."""
    return Multiplied(value=await ctx.durable(times_ten, event.input))


async def double(event: Multiplied, ctx: RunnerContext) -> None:
    ctx.output(2 * event.value)


def multiplying() -> Agent:
    """Two actions, the second over what the first one sent."""
    return agent_of(multiply).add_action("double", Multiplied, double)


@pytest.mark.rows("OP-05")
async def test_a_run_that_waits_keeps_the_configuration_of_its_actions(store: Store) -> None:
    """Over a restart before it began."""
    gate, seen = Gate(), list[tuple[int, Any]]()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await gate.wait()
        seen.append((event.input, ctx.config["mode"]))

    agent = agent_of(act, mode="strict")
    async with life(agent, store) as worker:
        for number in (1, 2):
            await worker.submit(number, key="key")
        await gate.reached.wait()
    gate.open()
    async with life(agent, store) as worker:
        await worker.drain()

    assert seen == [(1, "strict"), (2, "strict")]


@pytest.mark.rows("OP-07")
@pytest.mark.parametrize("memory_name", ["short_term_memory", "sensory_memory"])
async def test_memory_is_refused_to_other_threads(
    memory: InMemoryStore, memory_name: str
) -> None:
    """The run fails, and its error says who may."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        await asyncio.to_thread(lambda: getattr(ctx, memory_name).get("a"))

    with pytest.raises(
        RunFailedError, match="no task of action 'act': it is a thread"
    ) as caught:
        await finish(agent_of(act), memory)
    assert isinstance(caught.value.__cause__, OutsideActionError)


def failing_after_a_write(seen: list[str]) -> Agent:
    """Two actions of one event; the first writes memory and fails."""

    async def first(event: Any, ctx: RunnerContext) -> None:
        if event.input == "look":
            seen.append(f"memory: {ctx.short_term_memory.get('a')}")
            return
        ctx.short_term_memory.set("a", "lost")
        message = "first failed after its write"
        raise ValueError(message)

    async def second(event: Any, ctx: RunnerContext) -> None:
        seen.append(f"second: {event.input}")

    return agent_of(first).add_action("second", InputEvent, second)


@pytest.mark.rows("OP-11")
async def test_a_failed_action_takes_its_writes_along_and_stops_its_run(store: Store) -> None:
    """The next action of the event does not begin; the next run of the key sees nothing."""
    seen: list[str] = []

    async with life(failing_after_a_write(seen), store) as worker:
        bad = await worker.submit("fail", key="key")
        with pytest.raises(RunFailedError, match="first failed after its write"):
            await bad.result()
        await (await worker.submit("look", key="key")).result()

    assert seen == ["memory: None", "second: look"]


@pytest.mark.rows("OP-12")
async def test_a_failure_is_not_replaced_by_one_of_its_record() -> None:
    """The run is taken up again until its own failure is on record."""
    seen: list[str] = []
    store = StumblingStore()

    with pytest.raises(RunFailedError, match="first failed after its write") as caught:
        await finish(failing_after_a_write(seen), store, value="fail")

    assert store.has_failed
    assert isinstance(caught.value.__cause__, ValueError)
    assert seen == []


@pytest.mark.rows("OP-13", "OP-15")
async def test_an_action_goes_on_with_what_another_one_awaited(store: Store) -> None:
    """Over several keys at once."""
    async with life(multiplying(), store) as worker:
        runs = [await worker.submit(number, key=str(number)) for number in (5, 3, 4)]
        outputs = [await run.result() for run in runs]

    assert outputs == [[100], [60], [80]]


@pytest.mark.rows("OP-14")
async def test_one_asynchronous_call_may_use_the_result_of_another(store: Store) -> None:
    """Both are awaited in turn."""

    async def plus_hundred(number: int) -> int:
        await asyncio.sleep(0)
        return number + 100

    async def twice(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        value = await ctx.durable(plus_hundred, event.input)
        ctx.output(await ctx.durable(twice, value))

    assert await finish(agent_of(act), store, value=7) == [214]


@pytest.mark.rows("OP-16")
async def test_a_plain_action_makes_its_durable_call(store: Store) -> None:
    """In its thread, which waits for the record."""

    def triple(number: int) -> int:
        return 3 * number

    def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output(ctx.durable_sync(triple, event.input))

    agent = Agent("plain").add_action("act", InputEvent, act)
    assert await finish(agent, store, value=5) == [15]


@pytest.mark.rows("OP-20")
def test_a_key_is_at_work_until_the_last_of_its_runs_has_ended() -> None:
    """Three of one key are three."""
    scheduler = Scheduler(10)
    for number in (1, 2, 3):
        scheduler.offer("key", number)

    for _ in range(2):
        scheduler.next_run()
        scheduler.finish("key")
    assert (1, False) == (scheduler.waiting_count, scheduler.is_drained)

    scheduler.next_run()
    scheduler.finish("key")
    assert (0, True) == (scheduler.waiting_count, scheduler.is_drained)


@pytest.mark.rows("OP-25")
async def test_an_output_may_be_sent_in_any_of_its_shapes(store: Store) -> None:
    """As a value, as the typed event, as a dynamic event of its type."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(21)
        ctx.send(OutputEvent(output=42))
        ctx.send(DynamicEvent(type=EventType.OutputEvent, attributes={"output": 84}))

    assert await finish(agent_of(act), store) == [21, 42, 84]


@pytest.mark.rows("OP-31")
async def test_actions_that_are_suspended_at_once_share_nothing(store: Store) -> None:
    """Each has its own trigger, memories, chance and calls, before a restart and after it."""
    calls, gate = Calls(), Gate()
    lives: list[dict[str, Any]] = []
    outputs: list[list[Any]] = []

    async def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        ctx.sensory_memory.set("mine", ctx.key)
        ctx.short_term_memory.set("mine", ctx.key)
        value = await ctx.durable(calls.echo, event.input)
        chance = ctx.random.random()
        lives[-1][ctx.key] = chance
        await gate.wait()
        memories = [ctx.sensory_memory.get("mine"), ctx.short_term_memory.get("mine")]
        ctx.output([ctx.run_id, ctx.trigger.id, value, *memories])

    agent = agent_of(act)
    for is_last in (False, True):
        lives.append({})
        async with life(agent, store) as worker:
            runs = [await worker.submit(f"in {k}", key=k, id=f"run {k}") for k in "ab"]
            if is_last:
                gate.open()
                outputs += [await run.result() for run in runs]
            else:
                await until(lambda: len(lives[-1]) == 2)

    assert outputs == [[[f"run {k}", f"run {k}/input", f"in {k}", k, k]] for k in "ab"]
    assert lives[0] == lives[1]
    assert len(set(lives[0].values())) == 2
    assert sorted(calls.made) == ["in a", "in b"]
