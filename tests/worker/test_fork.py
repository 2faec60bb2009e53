"""Forks: runs that have gone the way of another one up to some call."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
from typing import Any

import pytest

from durable_agents import (
    Agent,
    CallFailedError,
    Event,
    InMemoryStore,
    InputEvent,
    RunFailedError,
    RunnerContext,
    RunStateError,
    Store,
    UnknownRunError,
    durable,
)
from durable_agents.journal import RunStatus
from durable_agents.testing import CrashingStore, assert_replays
from tests.worker._kit import Calls, FakeClock, Gate, agent_of, entries, life


class Rated(Event):
    """A product has got a score."""

    score: int


class Review:
    """Two actions: the first makes three calls, the second one more."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.agent = Agent("reviews", input=str)
        self.agent.add_action("rate", InputEvent, self.rate)
        self.agent.add_action("publish", Rated, self.publish)

    @durable(name="fetch")
    async def fetch(self, name: str) -> str:
        """The text."""
        self.made.append(f"fetch {name}")
        return f"text of {name}"

    @durable(name="score")
    async def score(self, text: str, token: str) -> int:
        """The model's score."""
        del token
        self.made.append(f"score {text}")
        return 1

    @durable(name="post")
    async def post(self, text: str) -> str:
        """Effects behind it."""
        self.made.append(f"post {text}")
        return text.upper()

    async def rate(self, event: InputEvent[str], ctx: RunnerContext) -> Event:
        text = await ctx.durable(self.fetch, event.input)
        score = await ctx.durable(self.score, text, str(ctx.uuid4()))
        ctx.output(f"{event.input}: {score}")
        ctx.short_term_memory.set("last", score)
        return Rated(score=score)

    async def publish(self, event: Rated, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(self.post, f"score {event.score}"))


async def test_a_fork_repeats_nothing_that_had_settled_before_its_call(store: Store) -> None:
    """It goes its own way from there: with the result that it was given."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        run = await worker.submit("tea", key="k", id="run")
        first = await run.result()
        fork = await worker.fork("run", "0:rate:root:1", value=5)

        assert ["tea: 5", "SCORE 5"] == await fork.result()
        assert ("k", True) == (fork.key, fork.is_new)
        assert ["tea: 1", "SCORE 1"] == first == await run.result()
    made = ["fetch tea", "score text of tea", "post score 1", "post score 5"]
    assert made == scene.made


async def test_a_fork_of_a_later_action_keeps_what_the_earlier_ones_did(store: Store) -> None:
    """Outputs included: they are its own from the start, under ids of its own."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        await (await worker.submit("tea", key="k", id="run")).result()
        fork = await worker.fork("run", "1:publish:root:0", id="fork")

        assert ["tea: 1", "SCORE 1"] == await fork.result()
        sent = await worker.outputs_of(fork)
        assert ["fork/0#1", "fork/1#1"] == [output.event_id for output in sent]
        assert [3, 4] == [output.position for output in sent]
    assert 2 == scene.made.count("post score 1")
    assert 1 == scene.made.count("fetch tea")


async def test_what_a_fork_has_on_record_is_what_its_code_does(store: Store) -> None:
    """A replay finds no difference: what was copied is as if it had been made there."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        await (await worker.submit("tea", id="run")).result()
        await (await worker.fork("run", "1:publish:root:0", id="one")).result()
        await (await worker.fork("one", "1:publish:root:0", id="two")).result()
        await (await worker.fork("two", "0:rate:root:1", value=7, id="three")).result()
    await store.open("a reader")
    try:
        await assert_replays(scene.agent, store)
    finally:
        await store.close()


async def test_without_a_call_a_fork_does_everything_itself(store: Store) -> None:
    """Like another submit of the same input."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        await (await worker.submit("tea", id="run")).result()
        fork = await worker.fork("run")

        assert ["tea: 1", "SCORE 1"] == await fork.result()
        assert fork.id.startswith("run:fork-")
        assert fork.id == fork.key
    assert 2 == scene.made.count("fetch tea")


async def test_a_call_may_fail_in_a_fork(store: Store) -> None:
    """By an exception, or by a text."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        await (await worker.submit("tea", id="run")).result()
        fork = await worker.fork("run", "0:rate:root:0", error=ValueError("no such tea"))
        with pytest.raises(RunFailedError) as caught:
            await fork.result()
        assert isinstance(caught.value.__cause__, ValueError)
        fork = await worker.fork("run", "0:rate:root:0", error="no such tea")
        with pytest.raises(RunFailedError) as caught:
            await fork.result()
        assert isinstance(caught.value.__cause__, CallFailedError)


async def test_a_failed_run_is_forked_with_the_call_mended(store: Store) -> None:
    """It stays the dead letter that it is."""
    calls = Calls()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await ctx.durable(calls.double, event.input)
        await ctx.durable(calls.refuse, "no")
        ctx.output(await ctx.durable(calls.double, 5))

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1, id="run")
        with pytest.raises(RunFailedError):
            await run.result()

        assert [10] == await (await worker.fork("run", "0:act:root:1", value=None)).result()
        with pytest.raises(RunFailedError):
            await run.result()
    assert [1, "no", 5] == calls.made


async def test_a_run_that_is_under_way_may_be_forked(store: Store) -> None:
    """It goes on beside its fork, where its key lets both run."""
    calls, gate = Calls(), Gate()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await ctx.durable(calls.double, event.input)
        if ctx.run_id == "run":
            await gate.wait()
        ctx.output(await ctx.durable(calls.double, 5))

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1, id="run")
        await gate.reached.wait()
        fork = await worker.fork("run", "0:act:root:0", value=8)

        assert [10] == await fork.result()
        gate.open()
        assert [10] == await run.result()
    assert [1, 5, 5] == calls.made


async def test_branches_keep_what_had_settled_before_the_call(memory: InMemoryStore) -> None:
    """And make again what settled later, whatever branch it is of."""
    calls, first = Calls(), asyncio.Event()

    @durable(name="after")
    async def after(number: int) -> int:
        await first.wait()
        return await calls.double(number)

    async def branch(ctx: RunnerContext, fn: Any, *numbers: int) -> list[int]:
        return [await ctx.durable(fn, number) for number in numbers]

    async def act(event: Any, ctx: RunnerContext) -> None:
        early = asyncio.create_task(branch(ctx, calls.double, 1, 2))
        late = asyncio.create_task(branch(ctx, after, 3, 4))
        await early
        first.set()
        ctx.output([*await early, *await late])

    async with life(agent_of(act), memory) as worker:
        await (await worker.submit(0, id="run")).result()
        done = list(calls.made)
        late = f"0:act:root/0.1.{branch.__qualname__}:0"
        fork = await worker.fork("run", late, value=0)
        assert [[2, 4, 0, 8]] == await fork.result()
    assert [1, 2, 3, 4] == done
    assert [4] == calls.made[4:]


async def test_an_answer_may_be_another_one_in_a_fork(store: Store) -> None:
    """The wait for it is a call, too: the fork has the other answer, or asks again."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.wait_for_signal("answer", type=str))

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(0, id="run")
        await worker.signal("run", "answer", "yes")
        assert ["yes"] == await run.result()

        assert ["no"] == await (await worker.fork("run", "0:act:root:0", value="no")).result()
        again = await worker.fork("run", "0:act:root:0")
        await worker.signal(again.id, "answer", "perhaps")
        assert ["perhaps"] == await again.result()


async def test_a_large_value_is_there_for_a_fork(store: Store) -> None:
    """It is kept apart from the entries that refer to it."""
    calls = Calls()
    large = ["words " * 1000, *map(str, range(100_000))]

    async def act(event: Any, ctx: RunnerContext) -> None:
        messages = await ctx.durable(calls.echo, large)
        ctx.output([len(messages), await ctx.durable(calls.double, 1)])

    async with life(agent_of(act), store) as worker:
        await (await worker.submit(0, id="run")).result()
        fork = await worker.fork("run", "0:act:root:1", value=0)

        assert [[len(large), 0]] == await fork.result()
    assert [large, 1] == calls.made


async def test_a_fork_sees_the_memory_of_its_key_as_it_is_now(store: Store) -> None:
    """Where it starts an action anew; one that is copied sees what it saw."""
    calls, seen = Calls(), list[tuple[str, int]]()

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen.append((ctx.run_id, ctx.short_term_memory.get("count", 0, type=int)))
        ctx.short_term_memory.set("count", seen[-1][1] + 1)
        await ctx.durable(calls.double, 1)
        await ctx.durable(calls.double, 2)

    async with life(agent_of(act), store) as worker:
        await (await worker.submit(0, key="k", id="run")).result()
        await (await worker.fork("run", "0:act:root:1", id="copied")).result()
        await (await worker.fork("run", "0:act:root:0", id="anew")).result()

    assert [("run", 0), ("copied", 0), ("anew", 1)] == seen


@pytest.mark.parametrize(
    ("run_id", "at", "options", "error", "problem"),
    [
        ("nobody", None, {}, UnknownRunError, "no run of this id"),
        ("run", "0:act:root:7", {}, RunStateError, "calls: 0:rate:root:0, 0:rate:root:1, 1:pu"),
        ("run", "x", {"id": "fork"}, RunStateError, "it has no call 'x' on record"),
        ("run", None, {"value": 1}, ValueError, "for the call that at= names"),
        ("run", "0:rate:root:0", {"value": 1, "error": "no"}, ValueError, "not both"),
        ("run", "0:rate:root:0", {"id": "other"}, RunStateError, "another run of this id"),
        ("run", "0:rate:root:0", {"id": "run"}, RunStateError, "another run of this id"),
        ("run", "0:rate:root:0", {"id": 7}, TypeError, "id is int"),
    ],
)
async def test_what_cannot_be_forked_is_refused_and_nothing_is_written(  # noqa: PLR0913, PLR0917
    store: Store,
    run_id: str,
    at: str | None,
    options: dict[str, Any],
    error: type[Exception],
    problem: str,
) -> None:
    """The error says what there is instead."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        await (await worker.submit("tea", id="run")).result()
        await (await worker.submit("nut", id="other")).result()
        with pytest.raises(error, match=problem):
            await worker.fork(run_id, at, **options)

    await store.open("a reader")
    try:
        assert ["run", "other"] == [row.run_id for row in await store.runs(after=0, limit=9)]
    finally:
        await store.close()


async def test_a_run_of_another_agent_is_not_forked_here(store: Store) -> None:
    """Nobody would run it."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        await (await worker.submit("tea", id="run")).result()

    async def act(event: Any, ctx: RunnerContext) -> None:
        pass

    async with life(agent_of(act), store) as worker:
        with pytest.raises(RunStateError, match="its agent is 'reviews', that of this worker"):
            await worker.fork("run", "0:rate:root:1")


async def test_a_fork_is_made_once_for_each_id(store: Store) -> None:
    """Asked for again, it is the same run, in this life and in the next."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        await (await worker.submit("tea", id="run")).result()
        one = await worker.fork("run", "0:rate:root:1", value=5, id="fork")
        two = await worker.fork("run", "0:rate:root:1", value=5, id="fork")

        assert (one.number, True, False) == (two.number, one.is_new, two.is_new)
    async with life(scene.agent, store) as worker:
        again = await worker.fork("run", "0:rate:root:1", value=6, id="fork")
        assert ["tea: 5", "SCORE 5"] == await again.result()
        with pytest.raises(RunStateError, match="no such fork"):
            await worker.fork("run", "0:rate:root:0", id="fork")


async def test_a_fork_goes_on_after_a_restart(store: Store) -> None:
    """Its own calls are replayed beside those that it has of the other run."""
    calls, gate = Calls(), Gate()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        one = await ctx.durable(calls.double, event.input)
        two = await ctx.durable(calls.double, one + len(str(ctx.uuid4())))
        if ctx.run_id == "fork":
            await gate.wait()
        ctx.output(await ctx.durable(calls.double, two))

    async with life(agent_of(act), store) as worker:
        await (await worker.submit(1, id="run")).result()
        await worker.fork("run", "0:act:root:1", id="fork")
        await gate.reached.wait()
    gate.open()
    async with life(agent_of(act), store) as worker:
        fork = await worker.fork("run", "0:act:root:1", id="fork")
        assert [152] == await fork.result()

    assert [1, 38, 76, 38, 76] == calls.made


async def test_a_fork_takes_its_turn_behind_the_runs_of_its_key(store: Store) -> None:
    """As an input that was accepted now."""
    calls, gate = Calls(), Gate()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await ctx.durable(calls.echo, ctx.run_id)
        if event.input == 2:
            await gate.wait()

    async with life(agent_of(act), store) as worker:
        await (await worker.submit(1, key="k", id="run")).result()
        await worker.submit(2, key="k", id="slow")
        await gate.reached.wait()
        await worker.fork("run", id="fork")
        assert ["run", "slow"] == calls.made
        gate.open()
        await worker.drain()
    assert ["run", "slow", "fork"] == calls.made


@pytest.mark.parametrize("commits", [True, False])
async def test_a_crash_leaves_the_whole_of_a_fork_or_nothing(
    memory: InMemoryStore, *, commits: bool
) -> None:
    """It becomes durable by one write; the other run is as it was."""
    scene = Review()
    async with life(scene.agent, memory) as worker:
        await (await worker.submit("tea", id="run")).result()
    before = await entries(memory)
    crashed = asyncio.Event()
    dying = CrashingStore(memory, after=1, crash=crashed.set, one_by_one=True, commits=commits)
    async with life(scene.agent, dying) as worker:
        asking = asyncio.ensure_future(worker.fork("run", "1:publish:root:0", id="fork"))
        await crashed.wait()
        asking.cancel()
    async with life(scene.agent, memory) as worker:
        await worker.drain()
        found = await memory.find("fork")
        if commits:
            assert found is not None
            assert RunStatus.COMPLETED is found.status
            outputs = [row.event.event_id for row in await memory.outputs_of(found.number)]
            assert ["fork/0#1", "fork/1#1"] == outputs
        else:
            assert found is None
            assert 2 == len(await memory.outputs(after=0, limit=9))
    assert before == await entries(memory)


@pytest.mark.parametrize("after", range(1, 6))
async def test_a_crash_at_any_write_of_a_fork_repeats_no_settled_call(
    memory: InMemoryStore, after: int
) -> None:
    """Neither those that it has of the other run, nor its own."""
    scene = Review()
    async with life(scene.agent, memory) as worker:
        await (await worker.submit("tea", id="run")).result()
    scene.made.clear()
    crashed = asyncio.Event()
    dying = CrashingStore(memory, after=after, crash=crashed.set, one_by_one=True)
    async with life(scene.agent, dying) as worker:
        asking = asyncio.ensure_future(worker.fork("run", "0:rate:root:1", id="fork"))
        await crashed.wait()
        asking.cancel()
    async with life(scene.agent, memory) as worker:
        fork = await worker.fork("run", "0:rate:root:1", id="fork")
        assert ["tea: 1", "SCORE 1"] == await fork.result()

    assert ["score text of tea", "post score 1"] == scene.made


async def test_a_sleep_that_is_over_is_not_slept_again_by_a_fork(memory: InMemoryStore) -> None:
    """It is over when it was due; a timeout that was open gives its block the whole time."""
    calls, clock = Calls(), FakeClock()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.sleep(20.0)
        async with ctx.timeout(50.0):
            ctx.output(await ctx.durable(calls.double, 1))

    async with life(agent_of(act), memory, clock=clock) as worker:
        await (await worker.submit(0, id="run")).result()
    held = FakeClock(clock.at + 1000.0, sleeps=False)
    async with life(agent_of(act), memory, clock=held) as worker:
        fork = await worker.fork("run", "0:act:root:2")
        assert [2] == await fork.result()
        held.is_asleep.clear()
        again = await worker.fork("run", "0:act:root:0")
        await held.is_asleep.wait()
        assert [1, 1] == calls.made
        await worker.cancel(again.id)
