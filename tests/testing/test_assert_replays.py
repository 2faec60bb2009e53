"""A changed agent is found over the record of the old one, and nothing is executed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from durable_agents import (
    Agent,
    Event,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    SqliteStore,
    Worker,
    WorkerSettings,
    durable,
)
from durable_agents.errors import RunError
from durable_agents.testing import CrashingStore, ManualClock, assert_replays

MADE: list[str] = []


class Half(Event):
    """Half of an input is known."""

    value: int


async def double(number: int) -> int:
    """Twice the number."""
    MADE.append("double")
    return 2 * number


async def triple(number: int) -> int:
    """Three times the number."""
    MADE.append("triple")
    return 3 * number


@durable(name="guarded", on_interrupt="ask")
async def guarded(number: int) -> int:
    """A call that must not repeat."""
    MADE.append("guarded")
    return number


async def refuse(number: int) -> int:
    """Raise an error."""
    raise ValueError(number)


def of(*bodies: Callable[..., Any]) -> Agent:
    """An agent whose actions are fired one by the other."""
    agent = Agent("replayed", input=int)
    for body, trigger in zip(bodies, (InputEvent, Half), strict=False):
        agent.add_action(body.__name__, trigger, body)
    return agent


async def split(event: InputEvent[int], ctx: RunnerContext) -> Half:
    """Two branches."""
    one, other = await asyncio.gather(
        ctx.durable(double, event.input), ctx.durable(triple, event.input)
    )
    ctx.sensory_memory["one"] = one
    return Half(value=one + other)


async def join(event: Half, ctx: RunnerContext) -> None:
    """One call, and an output."""
    ctx.output(await ctx.durable(double, event.value))


async def record(agent: Agent, *, writes: int | None = None, value: int = 1) -> InMemoryStore:
    """A store in which a run of the agent has ended, or got as far as so many writes."""
    inner = InMemoryStore()
    crash = asyncio.Event()
    store = CrashingStore(inner, after=writes, crash=crash.set, one_by_one=True)
    settings = WorkerSettings(shutdown_grace_seconds=0)
    async with Worker(agent, store=store, settings=settings) as worker:
        submitting = asyncio.ensure_future(worker.submit(value, id="r"))
        if writes is None:
            with suppress(RunError):
                await (await submitting).wait()
        else:
            await crash.wait()
            worker.request_stop()
            await asyncio.sleep(0.01)
            store.fail_waiters()
    MADE.clear()
    return inner


async def difference(agent: Agent, store: InMemoryStore, patience: float = 5.0) -> str:
    """What `assert_replays` has to say."""
    with pytest.raises(AssertionError) as found:
        await assert_replays(agent, store, patience_seconds=patience)
    return str(found.value)


async def test_a_finished_run_replays_against_the_code_that_made_it() -> None:
    """Each of its actions, and no function of theirs is called."""
    store = await record(of(split, join))

    report = await assert_replays(of(split, join), store)

    assert (1, 2, []) == (report.runs, report.actions, MADE)


@pytest.mark.parametrize("writes", range(1, 6))
async def test_an_unfinished_run_replays_as_far_as_it_got(writes: int) -> None:
    """The first call beyond its record is where it would go on."""
    store = await record(of(split, join), writes=writes)

    report = await assert_replays(of(split, join), store)

    # Acceptance, two calls, the completion of the first action, the call of the second.
    assert ([0, 1, 1, 1, 2][writes - 1], []) == (report.actions, MADE)


async def test_a_store_file_is_read_and_not_changed(tmp_path: Path) -> None:
    """By its path; so a copy from production will do."""
    path = tmp_path / "agents.db"
    async with Worker(of(split, join), store=SqliteStore(path)) as worker:
        await (await worker.submit(1)).wait()
    before = path.read_bytes()

    report = await assert_replays(of(split, join), path)

    assert 2 == report.actions
    assert before == path.read_bytes()


async def test_another_call_is_found_with_the_difference() -> None:
    """What was recorded, where, and what the code does now."""
    store = await record(of(split, join))

    async def join_otherwise(event: Half, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(triple, event.value))

    changed = Agent("replayed", input=int)
    changed.add_action("split", InputEvent, split)
    changed.add_action("join", Half, join_otherwise)
    said = await difference(changed, store)

    assert said.startswith("run r, action join: the code no longer repeats its calls: recorded")
    assert ":double(5) at root:0, now " in said
    assert ":triple(5); the code of action 'join' changed since this run began it" in said
    assert [] == MADE


def second(body: Callable[..., Any]) -> Agent:
    """The recorded agent with another second action."""
    agent = Agent("replayed", input=int)
    agent.add_action("split", InputEvent, split)
    agent.add_action("join", Half, body)
    return agent


async def further(event: Half, ctx: RunnerContext) -> None:
    """A call more."""
    ctx.output(await ctx.durable(double, await ctx.durable(double, event.value)))


async def fewer(event: Half, ctx: RunnerContext) -> None:
    """A call less."""
    ctx.output(2 * event.value)


async def other_output(event: Half, ctx: RunnerContext) -> None:
    """The same calls, another output."""
    ctx.output([await ctx.durable(double, event.value)])


async def other_memory(event: Half, ctx: RunnerContext) -> None:
    """The same calls, and something remembered."""
    ctx.short_term_memory["seen"] = event.value
    ctx.output(await ctx.durable(double, event.value))


async def fails(event: Half, ctx: RunnerContext) -> None:
    """The same calls, and a failure."""
    await ctx.durable(double, event.value)
    msg = "no"
    raise ValueError(msg)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (further, "made no such call when it was recorded, now "),
        (fewer, "1 recorded calls were not made: "),
        (other_output, "outputs were {'r/1#1': 10}, now {'r/1#1': [10]}"),
        (other_memory, "short-term memory were [], now [('seen', 'value', 5)]"),
        (fails, "it fails now: ValueError: no"),
    ],
)
async def test_each_change_of_a_finished_action_is_found(
    body: Callable[..., Any], expected: str
) -> None:
    """Nothing of it is executed to find out."""
    store = await record(of(split, join))

    said = await difference(second(body), store, patience=0.05)

    assert expected in said
    assert [] == MADE


async def test_an_action_that_has_gone_is_found() -> None:
    """By its name, and with what it was fired by."""
    store = await record(of(split, join), writes=5)

    async def renamed(event: Half, ctx: RunnerContext) -> None:
        ctx.output(event.value)

    said = await difference(of(split, renamed), store)

    assert "action join: action 'join' has begun over event 1, " in said
    assert "agent 'replayed' has no such action any more" in said


async def test_an_unfinished_action_that_waits_elsewhere_is_found() -> None:
    """It does not ask for what is recorded."""
    store = await record(of(split, join), writes=5)

    async def waits(_event: Half, _ctx: RunnerContext) -> None:
        await asyncio.Event().wait()

    said = await difference(second(waits), store, patience=0.05)

    assert "1 recorded calls were not made: " in said


async def test_a_failed_run_fails_alike() -> None:
    """Its failure is compared as an output is."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await ctx.durable(refuse, event.input)

    async def caught(event: InputEvent[int], ctx: RunnerContext) -> None:
        try:
            await ctx.durable(refuse, event.input)
        except ValueError:
            msg = "another"
            raise KeyError(msg) from None

    async def survives(event: InputEvent[int], ctx: RunnerContext) -> None:
        try:
            await ctx.durable(refuse, event.input)
        except ValueError:
            ctx.output(0)

    def named(body: Callable[..., Any]) -> Agent:
        agent = Agent("replayed", input=int)
        agent.add_action("act", InputEvent, body)
        return agent

    store = await record(named(act))

    assert 1 == (await assert_replays(named(act), store)).actions
    assert "failed with ValueError: 1, now with KeyError" in await difference(
        named(caught), store
    )
    assert "completes now" in await difference(named(survives), store)


async def test_a_call_in_doubt_is_where_the_record_ends() -> None:
    """Neither its reconciler nor a person is asked."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(guarded, event.input))

    store = await record(of(act), writes=2)

    report = await assert_replays(of(act), store)

    assert (1, []) == (report.actions, MADE)


async def test_a_plain_action_is_replayed_in_its_thread() -> None:
    """With `durable_sync`, up to the end of its record and to its own end."""

    def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        one = ctx.durable_sync(double, event.input)
        ctx.output(ctx.durable_sync(triple, one))

    finished, unfinished = await record(of(act)), await record(of(act), writes=2)

    assert 1 == (await assert_replays(of(act), finished)).actions
    assert 1 == (await assert_replays(of(act), unfinished)).actions
    assert [] == MADE


async def test_runs_that_ended_and_those_of_others_can_be_passed_over() -> None:
    """A worker never replays them."""
    store = await record(of(split, join))

    ended = await assert_replays(of(split, join), store, open_only=True)
    others = await assert_replays(Agent("another"), store)

    assert (0, 0) == (ended.runs, others.runs)


def acting(body: Callable[..., Any]) -> Agent:
    """An agent with one action, whose body may change."""
    agent = Agent("replayed", input=int)
    agent.add_action("act", InputEvent, body)
    return agent


async def waiting(body: Callable[..., Any], reached: asyncio.Event) -> InMemoryStore:
    """A store with a run that was left at its wait."""
    store = InMemoryStore()
    settings = WorkerSettings(shutdown_grace_seconds=0)
    async with Worker(acting(body), store=store, settings=settings, clock=CLOCK) as worker:
        await worker.submit(1, id="r")
        await reached.wait()
        for _ in range(50):
            await asyncio.sleep(0)
    MADE.clear()
    return store


CLOCK = ManualClock()


async def sleeps(ctx: RunnerContext) -> None:
    """Asleep for a month."""
    await ctx.sleep(30 * 86_400)


async def is_signalled(ctx: RunnerContext) -> None:
    """Waits for a signal."""
    await ctx.wait_for_signal("go")


async def is_limited(ctx: RunnerContext) -> None:
    """Waits for a signal, and for no longer than a minute."""
    with suppress(TimeoutError):
        async with ctx.timeout(60):
            await ctx.wait_for_signal("go")
    await ctx.durable(triple, 1)


async def test_an_action_that_has_completed_can_be_passed_over() -> None:
    """A worker that goes on with the run never starts it again."""
    store = await record(of(split, join), writes=5)

    async def split_otherwise(event: InputEvent[int], ctx: RunnerContext) -> Half:
        return Half(value=await ctx.durable(triple, event.input))

    changed = Agent("replayed", input=int)
    changed.add_action("split", InputEvent, split_otherwise)
    changed.add_action("join", Half, join)

    assert 1 == (await assert_replays(changed, store, open_only=True)).actions
    with pytest.raises(AssertionError, match="action split"):
        await assert_replays(changed, store)


@pytest.mark.parametrize("wait", [sleeps, is_signalled, is_limited])
@pytest.mark.parametrize("later", [0.0, 60 * 86_400.0])
async def test_a_run_that_waits_replays_up_to_its_wait(
    wait: Callable[[RunnerContext], Any], later: float
) -> None:
    """Whether or not its time is up by now; a change in front of it is found."""
    reached = asyncio.Event()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await ctx.durable(double, event.input)
        reached.set()
        await wait(ctx)

    async def changed(event: InputEvent[int], ctx: RunnerContext) -> None:
        await ctx.durable(triple, event.input)
        await wait(ctx)

    store = await waiting(act, reached)
    clock = ManualClock(CLOCK.now() + later)

    report = await assert_replays(acting(act), store, open_only=True, clock=clock)
    with pytest.raises(AssertionError, match=r"recorded .*:double\(1\) at root:0, now"):
        await assert_replays(acting(changed), store, open_only=True, clock=clock)

    assert (1, []) == (report.actions, MADE)


async def test_a_branch_that_begins_to_wait_hides_no_other_one() -> None:
    """That it waits is new, and what the others do is looked at all the same."""
    reached = asyncio.Event()

    async def twice(ctx: RunnerContext, second: int) -> None:
        await ctx.durable(triple, 1)
        await ctx.durable(triple, second)
        reached.set()
        await ctx.wait_for_signal("go")

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await asyncio.gather(ctx.durable(double, event.input), twice(ctx, 2))

    async def changed(event: InputEvent[int], ctx: RunnerContext) -> None:
        await asyncio.gather(ctx.durable(double, event.input), twice(ctx, 3), sleeps(ctx))

    store = await waiting(act, reached)

    assert "triple(2) at root/" in await difference(acting(changed), store)
