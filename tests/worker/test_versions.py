"""A run keeps to the version of a change that it began with, whatever its code says later."""

# ruff: noqa: ANN401 - values of any type

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from durable_agents import (
    Agent,
    Event,
    InMemoryStore,
    InputEvent,
    RetryPolicy,
    RunnerContext,
    Store,
    WorkerSettings,
)
from durable_agents.errors import ForbiddenInDurableCallError, RunFailedError, RunParkedError
from durable_agents.journal import (
    ActionCompleted,
    ActionStarted,
    CallSettled,
    Entry,
    VersionMarked,
)
from durable_agents.testing import CrashingStore, assert_replays, every_crash_point
from tests.worker._kit import Calls, Gate, agent_of, entries, finish, interrupt, life, passes

CHANGE = "louder"
FAIL = WorkerSettings(shutdown_grace_seconds=0, on_divergence="fail")
Ask = Callable[[RunnerContext], int]


def silent(ctx: RunnerContext) -> int:
    """What the code did before there was a change."""
    del ctx
    return 1


def first(ctx: RunnerContext) -> int:
    """The change, guarded."""
    return ctx.version(CHANGE, 1, 2)


def one_after_the_other(
    calls: Calls, gate: Gate, ask: Ask, *, place: int = 1, behind: int = 1
) -> Agent:
    """An agent that asks before its call of a place, and ends its first life behind a call."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        done: list[Any] = []
        version = 1
        for position in range(3):
            if position == place:
                version = ask(ctx)
            done.append(await ctx.durable(calls.echo, f"{position} of {version}"))
            if position == behind:
                await gate.wait()
        ctx.output(done)

    return agent_of(act)


async def retried(agent: Agent, store: Store) -> list[Any]:
    """Outputs of input "run", which a person puts back to work."""
    async with life(agent, store) as worker:
        await worker.retry("run")
        return await (await worker.submit(1, key="key", id="run")).result()


def marks(recorded: list[Entry]) -> list[tuple[str, int]]:
    """Changes and versions that are on record."""
    return [(e.change, e.version) for e in recorded if isinstance(e, VersionMarked)]


@pytest.mark.parametrize(("place", "version"), [(0, 1), (1, 1), (2, 2)])
async def test_a_run_that_came_by_before_the_change_goes_the_old_way(
    calls: Calls, gate: Gate, memory: InMemoryStore, place: int, version: int
) -> None:
    """One that had not come so far goes the new way; neither makes a call again."""
    await interrupt(one_after_the_other(calls, gate, silent), memory, gate, FAIL)

    changed = one_after_the_other(calls, gate, first, place=place)
    (done,) = await finish(changed, memory, FAIL)

    assert ["0 of 1", "1 of 1", f"2 of {version}"] == done == calls.made
    assert [(CHANGE, version)] == marks(await entries(memory))


async def test_a_run_that_began_with_the_change_follows_it_on_every_replay(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """Newer versions of the code change nothing about it."""
    await interrupt(one_after_the_other(calls, gate, first), memory, gate, FAIL)

    def newer(ctx: RunnerContext) -> int:
        return ctx.version(CHANGE, 1, 3)

    (done,) = await finish(one_after_the_other(calls, gate, newer), memory, FAIL)

    assert ["0 of 1", "1 of 2", "2 of 2"] == done == calls.made


async def test_a_mark_travels_with_the_next_record(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """It costs no write of its own, and is there before anything that depends on it."""
    gate.open()
    await finish(one_after_the_other(calls, gate, first, place=0), memory)
    await memory.open("a reader")
    rows = [[type(entry) for entry in row] for _, row in await memory.journal(1)]

    assert [ActionStarted, VersionMarked] == rows[1][:2]
    assert 5 == len(rows)


async def test_an_action_without_calls_marks_its_version_as_it_completes(
    memory: InMemoryStore,
) -> None:
    """A later action of the run is told the same."""

    class Later(Event):
        pass

    async def earlier(event: InputEvent[int], ctx: RunnerContext) -> Later:
        del event
        first(ctx)
        return Later()

    async def later(event: Later, ctx: RunnerContext) -> None:
        del event
        ctx.output(ctx.version(CHANGE, 1, 9))

    agent = Agent("tested")
    agent.add_action("earlier", InputEvent, earlier)
    agent.add_action("later", Later, later)

    assert [2] == await finish(agent, memory)
    recorded = [type(entry) for entry in await entries(memory)][1:4]
    assert [VersionMarked, ActionCompleted, ActionCompleted] == recorded


@pytest.mark.parametrize(("old", "new", "told"), [(3, 4, "3 to 4"), (1, 1, "only 1")])
async def test_a_version_that_is_no_longer_supported_parks_the_run(  # noqa: PLR0913, PLR0917
    calls: Calls, gate: Gate, memory: InMemoryStore, old: int, new: int, told: str
) -> None:
    """Nothing is lost: with code that supports it the run goes on."""
    await interrupt(one_after_the_other(calls, gate, first), memory, gate)

    def later(ctx: RunnerContext) -> int:
        return ctx.version(CHANGE, old, new)

    said = f"follows version 2 of change 'louder', and the code supports {told}: retry"
    with pytest.raises(RunParkedError, match=said):
        await finish(one_after_the_other(calls, gate, later), memory)
    with pytest.raises(AssertionError, match=said):
        await assert_replays(one_after_the_other(calls, gate, later), memory)

    (done,) = await retried(one_after_the_other(calls, gate, first), memory)
    assert ["0 of 1", "1 of 2", "2 of 2"] == done
    assert 3 == len(calls.made)


def removed(ctx: RunnerContext) -> int:
    """The question is gone, and with it the old way."""
    del ctx
    return 2


def renamed(ctx: RunnerContext) -> int:
    """The question has another name, which no run has an answer for."""
    return ctx.version("loudness", 2, 3)


def raised(ctx: RunnerContext) -> int:
    """The old way is gone, the question is not."""
    return ctx.version(CHANGE, 2, 2)


NOT_ASKED = (
    "the run follows version 1 of change 'louder', and the code has not asked for that by"
)
TOLD_OLD = "the run was told version 2 of change 'louder', since it may have come by before"


@pytest.mark.parametrize(
    ("ask", "told"),
    [(removed, NOT_ASKED), (renamed, NOT_ASKED), (raised, "supports only 2: retry the run")],
)
async def test_a_question_that_went_too_early_is_named(
    calls: Calls, memory: InMemoryStore, ask: Ask, told: str
) -> None:
    """The run follows the old way, and nothing of it is lost: with the question it goes on."""
    for release, behind in ((silent, 0), (first, 1)):
        gate = Gate()
        agent = one_after_the_other(calls, gate, release, place=0, behind=behind)
        await interrupt(agent, memory, gate, FAIL)
    opened = Gate()
    opened.open()
    agent = one_after_the_other(calls, opened, ask, place=0)

    with pytest.raises(AssertionError, match=told):
        await assert_replays(agent, memory)
    with pytest.raises(RunParkedError, match=told):
        await finish(agent, memory, FAIL)

    (done,) = await retried(one_after_the_other(calls, opened, first, place=0), memory)
    assert ["0 of 1", "1 of 1", "2 of 1"] == done
    assert 3 == len(calls.made)


async def test_a_run_without_an_answer_that_came_by_is_told_so_when_it_diverges(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """It was told the oldest version that there is by then, which is not what it did."""
    await interrupt(one_after_the_other(calls, gate, silent, place=1), memory, gate, FAIL)
    agent = one_after_the_other(calls, gate, raised, place=1)

    with pytest.raises(AssertionError, match=TOLD_OLD):
        await assert_replays(agent, memory)
    with pytest.raises(RunParkedError, match=f"recorded echo.*now echo.*; {TOLD_OLD}"):
        await finish(agent, memory, FAIL)


async def test_a_divergence_elsewhere_does_not_blame_a_question(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """One that was asked and answered from the record, or that another action asked."""

    class Later(Event):
        pass

    def make(text: str) -> Agent:
        async def earlier(event: InputEvent[int], ctx: RunnerContext) -> Later:
            del event
            ctx.version("of another action", 1, 2)
            return Later()

        async def later(event: Later, ctx: RunnerContext) -> None:
            del event
            version = first(ctx)
            await ctx.durable(calls.echo, f"{text} of {version}")
            await gate.wait()

        agent = Agent("tested")
        agent.add_action("earlier", InputEvent, earlier)
        return agent.add_action("later", Later, later)

    await interrupt(make("one"), memory, gate, FAIL)

    with pytest.raises(RunParkedError, match=r"now echo\('other of 2'\)") as parked:
        await finish(make("other"), memory, FAIL)
    assert "change" not in str(parked.value).partition("now echo")[2].replace("changed", "")


def two_questions(calls: Calls, gate: Gate, *order: str) -> Agent:
    """An agent that asks for two changes, in some order, then makes its calls."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        told = {change: ctx.version(change, 1, 2) for change in order}
        done = [await ctx.durable(calls.echo, [told[change] for change in ("one", "other")])]
        await gate.wait()
        ctx.output([*done, await ctx.durable(calls.echo, sorted(told.items()))])

    return agent_of(act)


@pytest.mark.parametrize("guarded", [(), ("one",), ("one", "other")])
async def test_questions_may_change_places(
    calls: Calls, gate: Gate, memory: InMemoryStore, guarded: tuple[str, ...]
) -> None:
    """Answers are found by the name of the change, whichever the code asks for first."""

    def before(*order: str) -> Agent:
        async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            del event
            told = {"one": 1, "other": 1} | {c: ctx.version(c, 1, 2) for c in order}
            await ctx.durable(calls.echo, [told[change] for change in ("one", "other")])
            await gate.wait()

        return agent_of(act)

    await interrupt(before(*guarded), memory, gate, FAIL)
    versions = {c: 2 if c in guarded else 1 for c in ("one", "other")}

    for order in (("one", "other"), ("other", "one")):
        assert 1 == (await assert_replays(two_questions(calls, gate, *order), memory)).actions
    (done,) = await finish(two_questions(calls, gate, "other", "one"), memory, FAIL)

    assert [list(versions.values()), [list(pair) for pair in versions.items()]] == [
        done[0],
        [list(pair) for pair in done[1]],
    ]
    assert 2 == len(calls.made)


def branches(calls: Calls, gate: Gate, ask: Ask) -> Agent:
    """Three branches that come by one change; one of them does so in the first life."""

    async def branch(ctx: RunnerContext, number: int) -> list[Any]:
        done = [await ctx.durable(calls.echo, f"{number}a")]
        if number != 2 and gate.visits < 2:
            await gate.wait()
        version = ask(ctx)
        done.append(await ctx.durable(calls.echo, f"{number}b of {version}"))
        await gate.wait()
        return done

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        ctx.output(await asyncio.gather(*(branch(ctx, number) for number in range(3))))

    return agent_of(act)


async def test_one_branch_that_came_by_before_the_change_decides_for_all(
    calls: Calls, memory: InMemoryStore
) -> None:
    """Even where another one, that had not come so far, asks first."""
    gate = Gate()
    async with life(branches(calls, gate, silent), memory, FAIL) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(100)
        assert (4, 3) == (len(calls.made), gate.visits)
    gate.open()

    (done,) = await finish(branches(calls, gate, first), memory, FAIL)

    assert [[f"{n}a", f"{n}b of 1"] for n in range(3)] == done
    assert 6 == len(calls.made)


async def test_to_ask_takes_no_place_among_the_calls(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """So that a question may be added, and taken away when no run needs it any more."""
    await interrupt(one_after_the_other(calls, gate, first, place=1), memory, gate, FAIL)

    def settled(ctx: RunnerContext) -> int:
        del ctx
        return 2

    (done,) = await finish(one_after_the_other(calls, gate, settled), memory, FAIL)

    assert ["0 of 1", "1 of 2", "2 of 2"] == done


@pytest.mark.parametrize("has_failed", [False, True])
async def test_an_attempt_that_failed_leaves_its_mark(
    memory: InMemoryStore, has_failed: bool
) -> None:
    """The next attempt, of whatever code, is told the same; a run that failed begins anew."""
    asked: list[int] = []

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        asked.append(ctx.version(CHANGE, 1, 2 + len(asked)))
        if len(asked) == 1:
            raise ValueError

    retry = None if has_failed else RetryPolicy(max_attempts=2)
    agent = agent_of(act, retry=retry)
    if not has_failed:
        await finish(agent, memory)
    else:
        with pytest.raises(RunFailedError):
            await finish(agent, memory)
        await retried(agent, memory)

    assert [2, 3 if has_failed else 2] == asked


def test_a_plain_action_asks_from_its_thread() -> None:
    """It is told, and parked, as others are."""

    def asks(old: int, new: int) -> Any:
        def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            del event
            version = ctx.version(CHANGE, old, new)
            ctx.output(ctx.durable_sync(abs, -version))
            if new == 2:
                msg = "after the call"
                raise ValueError(msg)

        return agent_of(act)  # type: ignore[arg-type]  # the kit knows coroutines only

    async def lives() -> None:
        store = InMemoryStore()
        with pytest.raises(RunFailedError):
            await finish(asks(1, 2), store)
        with pytest.raises(RunParkedError, match="supports 3 to 4"):
            await retried(asks(3, 4), store)
        assert [2] == await retried(asks(1, 3), store)

    asyncio.run(lives())


@pytest.mark.parametrize(
    ("change", "old", "new", "problem"),
    [
        ("", 1, 2, "ValueError: .* the name of a change"),
        ("c", 2, 1, "ValueError: .* the old version first, got 2 and 1"),
        ("c", 1, 2**63, "ValueError: .* too large"),
        ("c", True, 2, "TypeError: .* two whole numbers, got 'c', True, 2"),
        ("c", "1", "2", "TypeError: .* two whole numbers"),
        (7, 1, 2, "TypeError: .* takes a name"),
    ],
)
async def test_what_is_no_change_is_refused(
    memory: InMemoryStore, change: Any, old: Any, new: Any, problem: str
) -> None:
    """By its argument."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        ctx.version(change, old, new)

    with pytest.raises(RunFailedError, match=problem):
        await finish(agent_of(act), memory)


async def test_a_durable_function_cannot_ask(memory: InMemoryStore) -> None:
    """A replay skips its body."""
    contexts: list[RunnerContext] = []

    async def body() -> int:
        return contexts[0].version(CHANGE, 1, 2)

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        contexts.append(ctx)
        with pytest.raises(ForbiddenInDurableCallError):
            await ctx.options(name="body").durable(body)

    await finish(agent_of(act), memory)


async def test_a_version_survives_a_crash_at_every_write() -> None:
    """What is put out is the same, and no settled call is made again."""

    def make() -> Agent:
        calls, gate = Calls(), Gate()
        gate.open()
        return one_after_the_other(calls, gate, first, place=0)

    report = await every_crash_point(make, [1])

    assert report.writes > 3


async def test_the_record_of_a_version_replays(calls: Calls, memory: InMemoryStore) -> None:
    """Finished or not, over today's code; a new change in a finished run is the old one."""
    gate = Gate()
    agent = one_after_the_other(calls, gate, first, place=0)
    await interrupt(agent, memory, gate)
    assert 1 == (await assert_replays(agent, memory)).actions
    await finish(agent, memory)

    def twice(ctx: RunnerContext) -> int:
        assert 1 == ctx.version("another", 1, 2)
        return first(ctx)

    again = one_after_the_other(calls, gate, twice, place=0)
    assert 1 == (await assert_replays(again, memory)).actions
    assert 3 == len(calls.made)


class Fanned(Event):
    """Fires the second action."""


def fan_out(calls: Calls, ask: Ask) -> Agent:
    """An agent whose second action has branches that come by one change, twice each."""

    async def first_action(event: InputEvent[int], ctx: RunnerContext) -> Fanned:
        del event
        await ctx.durable(calls.echo, "one")
        return Fanned()

    async def branch(ctx: RunnerContext, number: int) -> list[Any]:
        one = await ctx.durable(calls.echo, f"{number}a")
        other = await ctx.durable(calls.echo, f"{number}b of {ask(ctx)}")
        return [one, other, await ctx.durable(calls.echo, f"{number}c of {ask(ctx)}")]

    async def second_action(event: Fanned, ctx: RunnerContext) -> None:
        del event
        ctx.output(await asyncio.gather(*(branch(ctx, number) for number in range(3))))

    agent = Agent("tested")
    agent.add_action("first", InputEvent, first_action)
    agent.add_action("second", Fanned, second_action)
    return agent


async def crashed(agent: Agent, store: InMemoryStore, writes: int) -> None:
    """A life that ends at a write."""
    crash = asyncio.Event()
    crashing = CrashingStore(store, after=writes, crash=crash.set, one_by_one=True)
    async with life(agent, crashing) as worker:
        submitting = asyncio.ensure_future(worker.submit(1, key="key", id="run"))
        await crash.wait()
        worker.request_stop()
        await passes(50)
        crashing.fail_waiters()
    submitting.cancel()


@pytest.mark.parametrize("writes", range(1, 13))
async def test_an_upgrade_after_a_crash_at_any_write_goes_one_way(
    calls: Calls, memory: InMemoryStore, writes: int
) -> None:
    """All branches go the old way, or all the new one; what had settled is not made again."""
    await crashed(fan_out(calls, silent), memory, writes)
    settled = {
        (entry.branch, entry.position, entry.action)
        for entry in await entries(memory)
        if isinstance(entry, CallSettled)
    }

    await assert_replays(fan_out(calls, first), memory)
    (done,) = await finish(fan_out(calls, first), memory, FAIL)

    # The first write is the acceptance, two are of the first action, then come the calls.
    version = 1 if writes > 6 else 2
    assert [[f"{n}a", f"{n}b of {version}", f"{n}c of {version}"] for n in range(3)] == done
    last = [entry for entry in await entries(memory) if isinstance(entry, CallSettled)]
    assert 10 == len(last)
    assert settled <= {(entry.branch, entry.position, entry.action) for entry in last}


async def test_a_question_before_the_branches_is_answered_alike_after_every_crash() -> None:
    """Its answer is on record before anything of theirs is."""

    def make() -> Agent:
        calls = Calls()

        async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            del event
            version = first(ctx)
            branches = (ctx.durable(calls.echo, [version, number]) for number in range(3))
            ctx.output(await asyncio.gather(*branches))

        return agent_of(act)

    report = await every_crash_point(make, [1])

    assert [[[[2, 0], [2, 1], [2, 2]]]] == report.outcomes
