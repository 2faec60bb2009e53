"""Sound agents pass at every crash point; each kind of broken one is found, and named."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from durable_agents import (
    Agent,
    Event,
    InputEvent,
    RetryPolicy,
    RunnerContext,
    SqliteStore,
    Worker,
    current_call,
    durable,
)
from durable_agents.errors import StoreUnavailableError
from durable_agents.journal import CallSettled, Entry
from durable_agents.store import InMemoryStore, StoreFacts
from durable_agents.testing import CrashingStore, every_crash_point
from tests.testing.test_crashing_store import NEW, mark


class Half(Event):
    """Half of an input is known."""

    value: int


class World:
    """What an agent does something to; it knows calls by their idempotency keys."""

    def __init__(self) -> None:
        self.paid: dict[str, int] = {}
        self.greeted = 0
        self.tries = 0

    @durable(name="pay", reconciler=lambda: 0, on_interrupt="rerun")
    async def pay(self, amount: int) -> int:
        """Pay once, however often it is asked."""
        self.paid[current_call().idempotency_key] = amount
        return amount

    @durable(name="slip", retry=RetryPolicy(max_attempts=3, initial=0.0, jitter=0.0))
    async def slip(self, number: int) -> int:
        """Fail at the first attempt."""
        if current_call().attempt == 1:
            raise OSError(number)
        return number


async def double(number: int) -> int:
    """Twice the number."""
    await asyncio.sleep(0)
    return 2 * number


async def triple(number: int) -> int:
    """Three times the number."""
    return 3 * number


def sound() -> Agent:
    """Two actions, branches, memory, outputs and a failed call."""
    agent = Agent("sound", input=int)

    @agent.action(InputEvent)
    async def split(event: InputEvent[int], ctx: RunnerContext) -> Half:
        one, other = await asyncio.gather(
            ctx.durable(double, event.input), ctx.durable(triple, event.input)
        )
        return Half(value=one + other)

    @agent.action(Half)
    async def join(event: Half, ctx: RunnerContext) -> None:
        seen = ctx.short_term_memory.get("seen", 0, type=int) + 1
        ctx.short_term_memory["seen"] = seen
        ctx.output([seen, await ctx.durable(double, event.value)])

    return agent


def of(body: Callable[[InputEvent[int], RunnerContext], object]) -> Agent:
    """An agent with one action."""
    agent = Agent("one", input=int)
    agent.add_action("act", InputEvent, body)
    return agent


async def test_a_sound_agent_comes_to_the_same_after_every_crash() -> None:
    """Each write is tried before its commit and after it."""
    report = await every_crash_point(sound(), [1, 2], key=lambda _: "k")

    # For each input: its acceptance, three calls and two completions.
    assert (12, 24) == (report.writes, report.crash_points)
    assert [[[1, 10]], [[2, 20]]] == report.outcomes


async def test_any_store_can_be_tried(tmp_path: Path) -> None:
    """Each try gets a new one: an undisturbed one, the crashes, and two without one."""
    files = iter(range(1000))

    def store() -> SqliteStore:
        return SqliteStore(tmp_path / f"{next(files)}.db", synchronous="normal")

    report = await every_crash_point(sound(), [1], store=store)

    assert (6, 12, 15) == (report.writes, report.crash_points, next(files))


async def test_an_agent_that_fails_fails_alike_after_every_crash() -> None:
    """A failure is an outcome."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await ctx.durable(double, event.input)
        msg = "no"
        raise ValueError(msg)

    report = await every_crash_point(of(act), [1])

    (outcome,) = report.outcomes
    assert "ValueError: no" in outcome


async def test_attempts_and_calls_in_doubt_pass() -> None:
    """The world that dedups by idempotency key sees each payment once."""
    world = World()

    def fresh() -> Agent:
        world.__init__()  # type: ignore[misc]  # a new world for each try

        async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            ctx.output(await ctx.durable(world.slip, event.input))

        return of(act)

    report = await every_crash_point(fresh, [3])

    assert [[3]] == report.outcomes


async def test_calls_in_random_order_are_found() -> None:
    """The message shows what was recorded and what the code does now."""
    lives = iter(range(1000))

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        calls = [double, triple]
        if next(lives) % 2:
            calls.reverse()
        ctx.output(sum([await ctx.durable(fn, event.input) for fn in calls]))

    with pytest.raises(AssertionError, match=r"recorded .*triple\(1\) .*now .*double\(1\)"):
        await every_crash_point(of(act), [1])


async def test_state_outside_the_store_is_found() -> None:
    """A counter of the process is another one in each life."""
    starts = 0

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        nonlocal starts
        starts += 1
        await ctx.durable(double, event.input)
        ctx.output(starts)

    with pytest.raises(
        AssertionError, match="crash before the commit of write 1: input 0 came"
    ):
        await every_crash_point(of(act), [1])


async def test_an_effect_outside_of_a_durable_call_is_found_by_its_effects() -> None:
    """It takes place again in each life, and no output shows it."""
    world = World()

    def fresh() -> Agent:
        world.greeted = 0

        async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            world.greeted += 1
            ctx.output(await ctx.durable(double, event.input))

        return of(act)

    with pytest.raises(AssertionError) as found:
        await every_crash_point(fresh, [1], effects=lambda: world.greeted)

    # The action had not begun when its input was accepted, or not even that.
    assert [
        "crash before the commit of write 2: effects are 2, undisturbed 1",
        "crash after the commit of write 2: effects are 2, undisturbed 1",
        "crash before the commit of write 3: effects are 2, undisturbed 1",
    ] == str(found.value).splitlines()[:3]


class Forgetful(InMemoryStore):
    """A store that hides from workers what has settled, as a broken engine would."""

    owner = ""

    async def open(self, owner: str) -> StoreFacts:
        self.owner = owner
        return await super().open(owner)

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        rows = await super().journal(number)
        if "process" not in self.owner:
            return rows
        return [(n, row) for n, row in rows if not any(isinstance(e, CallSettled) for e in row)]


async def test_a_settled_call_that_is_made_again_is_found() -> None:
    """Even where every output is as it should be."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output([await ctx.durable(double, event.input) for _ in range(2)])

    with pytest.raises(AssertionError, match=r"double\(1\) at .*:0 had settled and was made"):
        await every_crash_point(of(act), [1], store=Forgetful)


async def test_an_agent_that_hangs_after_a_crash_is_found() -> None:
    """It waits for somebody who died with the first life."""
    friend = asyncio.Event()
    friend.set()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await friend.wait()
        friend.clear()
        ctx.output(await ctx.durable(double, event.input))
        friend.set()

    with pytest.raises(AssertionError, match=r"input 0 came to 'it has not ended after 0\.05"):
        await every_crash_point(of(act), [1], timeout_seconds=0.05)


async def test_what_the_world_does_is_done_in_every_life() -> None:
    """What comes from outside is tried at each crash, too; without it the agent would hang."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        paid = await ctx.wait_for_signal("paid", type=int)
        ctx.output(await ctx.durable(double, event.input + paid))

    async def pay(worker: Worker) -> None:
        await worker.signal("input 0", "paid", 3, id="once")

    report = await every_crash_point(of(act), [1], meanwhile=pay)

    assert [[8]] == report.outcomes
    assert report.crash_points > 8


async def test_what_the_world_raises_is_raised() -> None:
    """The agent would wait in vain for what it would have done."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output([event.input, await ctx.wait_for_signal("paid")])

    async def fail(_: Worker) -> None:
        msg = "out of money"
        raise OSError(msg)

    with pytest.raises(OSError, match="out of money"):
        await every_crash_point(of(act), [1], meanwhile=fail)


async def test_of_many_breaches_the_first_are_shown() -> None:
    """A message that nobody can read helps nobody."""
    starts = 0

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        nonlocal starts
        starts += 1
        for _ in range(12):
            await ctx.durable(double, event.input)
        ctx.output(starts)

    with pytest.raises(AssertionError) as found:
        await every_crash_point(of(act), [1])

    assert 21 == len(str(found.value).splitlines())


def test_a_crash_before_the_commit_needs_commits_of_their_own() -> None:
    """In a shared one nobody could say what is lost."""
    with pytest.raises(ValueError, match="one_by_one"):
        CrashingStore(InMemoryStore(), after=1, commits=False)


async def test_who_waits_for_a_dead_store_can_be_let_go() -> None:
    """So that a worker can be left at once; what comes later fails at once."""
    store = CrashingStore(InMemoryStore(), after=None, crash=lambda: None)
    await store.open("test")
    store.has_crashed = True
    first = store.accept(NEW)
    store.fail_waiters()
    second = store.append(mark())

    for write in (first, second):
        with pytest.raises(StoreUnavailableError, match="has crashed"):
            await write
    await store.close()
