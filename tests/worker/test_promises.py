"""Promises: begun by an action, finished from outside, found again by every replay."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from durable_agents import (
    Agent,
    InMemoryStore,
    InputError,
    InputEvent,
    PromiseFailedError,
    RunCancelledError,
    RunFailedError,
    RunnerContext,
    RunParkedError,
    RunStateError,
    SqliteStore,
    Store,
    StoreUnavailableError,
    SystemClock,
    UnknownRunError,
    Worker,
    WorkerSettings,
)
from durable_agents.journal import (
    CallAbandoned,
    PromiseMade,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    promise_id,
)
from durable_agents.testing import CrashingStore, ManualClock, assert_replays, every_crash_point
from tests.worker._kit import (
    AT_ONCE,
    Calls,
    Gate,
    KilledStore,
    agent_of,
    entries,
    life,
    of,
    passes,
)

Body = Callable[[RunnerContext], Awaitable[object]]
FIRST = promise_id("run", "0:act:root:0")
"""Id of a promise that is the first thing in the action of input "run"."""


class Receipt(msgspec.Struct, frozen=True):
    """What a payment comes to."""

    number: int


class DeclinedError(Exception):
    """What a payment may fail with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


def agent_with(body: Body, name: str = "tested") -> Agent:
    """An agent whose action puts out what the body returns, or the error as text."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        try:
            ctx.output(await body(ctx))
        except (TimeoutError, InputError, PromiseFailedError, DeclinedError) as error:
            ctx.output(f"{type(error).__name__}: {error}")

    return agent_of(act, name)


async def finished(agent: Agent, store: Store, clock: ManualClock | None = None) -> list[Any]:
    """Outputs of input "run" in a life in which nobody does anything."""
    async with life(agent, store, AT_ONCE, clock=clock or ManualClock()) as worker:
        run = await worker.submit(1, key="key", id="run")
        return await run.result()


async def rests(worker: Worker) -> None:
    """Let the loop turn until the one run waits."""
    while worker.statistics().resting != 1:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("when", ["before", "after", "between lives"])
async def test_a_promise_is_completed_whenever_that_comes(store: Store, when: str) -> None:
    """Before anyone waits, while somebody does, and while no worker of it runs."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise(Receipt)
        await gate.wait()
        return await promise.result()

    agent = agent_with(body)
    async with life(agent, store) as worker:
        run = await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        if when == "before":
            assert await worker.complete(FIRST, {"number": 3})
        if when != "between lives":
            gate.open()
            await passes(50)
        if when == "after":
            assert await worker.complete(FIRST, Receipt(3))
        if when != "between lives":
            assert [Receipt(3)] == await run.result()
    gate.open()
    if when == "between lives":
        async with life(agent_with(body, "other"), store) as worker:
            assert await worker.complete(FIRST, {"number": 3})

    assert [Receipt(3)] == await finished(agent, store)


async def test_a_promise_costs_an_entry_and_its_wait_what_one_for_a_signal_does(
    memory: InMemoryStore,
) -> None:
    """And the second life of a run adds none."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    agent = agent_with(body)
    async with life(agent, memory) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(50)
    async with life(agent, memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        await passes(50)
        await worker.complete(FIRST, 7)
        assert [7] == await run.result()

    recorded = await entries(memory)
    kinds = (PromiseMade, SignalAwaited, SignalReceived, SignalTaken)
    assert (1, 1, 1, 1) == tuple(of(kind, recorded) for kind in kinds)


async def test_the_id_is_the_same_in_every_life_and_the_job_is_begun_once(
    store: Store,
) -> None:
    """Whoever was handed it may complete it after any number of restarts."""
    calls, ids = Calls(), set[str]()

    async def body(ctx: RunnerContext) -> object:
        await ctx.durable(calls.double, 1)
        promise = ctx.promise()
        ids.add(promise.id)
        await ctx.durable(calls.echo, promise.id)
        return await promise.result()

    agent = agent_with(body)
    for _ in range(3):
        async with life(agent, store) as worker:
            await worker.submit(1, key="key", id="run")
            await passes(200)
    (promise,) = ids
    async with life(agent, store) as worker:
        run = await worker.submit(1, key="key", id="run")
        await worker.complete(promise, "paid")
        assert ["paid"] == await run.result()

    assert {promise} == ids
    assert [1, promise] == calls.made
    assert promise_id("run", "0:act:root:1") == promise


async def test_what_was_handed_out_before_it_was_on_record_is_valid_all_the_same(
    memory: InMemoryStore,
) -> None:
    """The process died at once, and whoever has the id comes before the run is back."""
    reached = asyncio.Event()

    async def body(ctx: RunnerContext) -> object:
        if not reached.is_set():
            reached.set()
            await asyncio.Event().wait()
        return await ctx.promise().result()

    agent = agent_with(body)
    async with life(agent, memory) as worker:
        await worker.submit(1, key="key", id="run")
        await reached.wait()
    async with life(agent_with(body, "other"), memory) as worker:
        assert await worker.complete(FIRST, 5)

    assert [5] == await finished(agent, memory)


async def test_promises_are_awaited_side_by_side_and_come_back_unswapped(
    store: Store,
) -> None:
    """Completed in another order, and in two lives."""
    count = 5
    promises = [promise_id("run", f"0:act:root:{place}") for place in range(count)]

    async def body(ctx: RunnerContext) -> object:
        made = [ctx.promise() for _ in range(count)]
        assert promises == [promise.id for promise in made]
        assert f"<promise at root:0: {FIRST}>" == repr(made[0])
        return await asyncio.gather(*(promise.result() for promise in made))

    agent = agent_with(body)
    async with life(agent, store) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(200)
        for number in (3, 1):
            await worker.complete(promises[number], number)
        await passes(200)
    async with life(agent, store) as worker:
        run = await worker.submit(1, key="key", id="run")
        for number in (4, 0, 2):
            await worker.complete(promises[number], number)
        assert [[0, 1, 2, 3, 4]] == await run.result()


async def test_branches_make_promises_of_their_own(memory: InMemoryStore) -> None:
    """Places in a branch are not those of another one; the ids tell them apart."""
    handed: dict[str, int] = {}

    async def one(ctx: RunnerContext, number: int) -> object:
        promise = ctx.promise(int)
        handed[promise.id] = number
        return await promise.result()

    async def body(ctx: RunnerContext) -> object:
        return await asyncio.gather(*(one(ctx, number) for number in range(3)))

    async with life(agent_with(body), memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        await passes(50)
        for promise, number in reversed(handed.items()):
            await worker.complete(promise, number)
        assert [[0, 1, 2]] == await run.result()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeclinedError(402, "no funds"), "DeclinedError: 402: no funds"),
        ("no funds", "PromiseFailedError: the promise was failed: no funds"),
    ],
)
async def test_a_promise_that_is_failed_raises_in_the_action(
    store: Store, error: Exception | str, expected: str
) -> None:
    """The same in the life that it comes in and on replay, whatever the type that is wanted."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        try:
            return await ctx.promise(Receipt).result()
        finally:
            await gate.wait()

    agent = agent_with(body)
    async with life(agent, store) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(50)
        assert await worker.complete(FIRST, error=error)
        assert not await worker.complete(FIRST, error=error)
        await gate.reached.wait()
    gate.open()

    assert [expected] == await finished(agent, store)


@pytest.mark.parametrize("first", [{"value": [1, {"a": 2}]}, {"error": "lost"}])
async def test_the_first_completion_counts_and_the_same_again_is_no_error(
    store: Store, first: dict[str, Any]
) -> None:
    """While the action waits, in a later life, and when the run has ended."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise()
        await gate.wait()
        return await promise.result()

    async def others_are_refused(worker: Worker) -> None:
        assert not await worker.complete(FIRST, **first)
        others: list[dict[str, Any]] = [{"value": 2}, {"error": "found"}, {}]
        for other in others:
            with pytest.raises(RunStateError, match="0:act:root:0 was completed before"):
                await worker.complete(FIRST, **other)

    agent = agent_with(body)
    async with life(agent, store) as worker:
        await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        assert await worker.complete(FIRST, **first)
        await others_are_refused(worker)
    gate.open()
    async with life(agent, store) as worker:
        await others_are_refused(worker)
        run = await worker.submit(1, key="key", id="run")
        outputs = await run.result()
        await others_are_refused(worker)

    assert [first.get("value", "PromiseFailedError: the promise was failed: lost")] == outputs


async def test_of_completions_at_the_same_time_one_counts(store: Store) -> None:
    """Those that come while the first one is on its way to the store are told of it."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    async with life(agent_with(body), store) as worker:
        run = await worker.submit(1, key="key", id="run")
        await passes(50)
        told = await asyncio.gather(
            *(worker.complete(FIRST, value) for value in (1, 1, 2, 1)), return_exceptions=True
        )
        assert [1] == await run.result()

    assert [True, False, False] == [told[0], told[1], told[3]]
    assert isinstance(told[2], RunStateError)


async def test_equal_errors_are_the_same_wherever_they_were_raised(
    memory: InMemoryStore,
) -> None:
    """Their tracebacks are no part of what was said."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    def raised(code: int) -> Exception:
        with pytest.raises(DeclinedError) as caught:
            raise DeclinedError(code, "no")
        return caught.value

    async with life(agent_with(body), memory) as worker:
        await worker.submit(1, key="key", id="run")
        assert await worker.complete(FIRST, error=DeclinedError(1, "no"))
        assert not await worker.complete(FIRST, error=raised(1))
        with pytest.raises(RunStateError):
            await worker.complete(FIRST, error=raised(2))


class Unlike:
    """A value that refuses to be compared."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        raise TypeError(other)

    def __hash__(self) -> int:
        return self.number


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (Receipt(1), Receipt(1), True),
        (Receipt(1), {"number": 1}, False),
        (Unlike(1), Unlike(2), False),
    ],
)
async def test_values_are_the_same_that_come_back_equal(
    memory: InMemoryStore, first: object, second: object, is_same: bool
) -> None:
    """Whatever their bytes; and what cannot be compared is another value."""

    async def body(ctx: RunnerContext) -> object:
        await ctx.promise().result()
        return "completed"

    async with life(agent_with(body), memory) as worker:
        await worker.submit(1, key="key", id="run")
        assert await worker.complete(FIRST, first)
        if is_same:
            assert not await worker.complete(FIRST, second)
            return
        with pytest.raises(RunStateError, match="completed before, with something else"):
            await worker.complete(FIRST, second)


async def test_a_run_that_failed_keeps_what_its_promise_was_completed_with(
    store: Store,
) -> None:
    """It is there when the run is put back to work."""
    calls, is_broken = Calls(), [True]

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise()
        if is_broken[0]:
            await ctx.durable(calls.refuse, "closed")
        return await promise.result()

    async with life(agent_with(body), store) as worker:
        run = await worker.submit(1, key="key", id="run")
        with pytest.raises(RunFailedError, match="closed"):
            await run.result()
        assert await worker.complete(FIRST, 1)
        assert not await worker.complete(FIRST, 1)
        is_broken[0] = False
        await worker.retry("run", repeat_failed=True)
        assert [1] == await (await worker.submit(1, key="key", id="run")).result()


async def test_workers_that_share_a_store_complete_promises_of_their_runs(
    tmp_path: Path,
) -> None:
    """And are told where another one has the run."""
    path = tmp_path / "shared.db"

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    agent = agent_with(body)
    first, second = (SqliteStore(path, shared=True) for _ in range(2))
    clock = SystemClock()
    async with life(agent, first, clock=clock) as one:
        run = await one.submit(1, key="key", id="run")
        await rests(one)
        async with life(agent_with(body, "other"), second, clock=clock) as other:
            with pytest.raises(RunStateError, match="which alone may change it: decide there"):
                await other.complete(FIRST, 1)
            told = await asyncio.gather(*(one.complete(FIRST, 1) for _ in range(3)))
            assert [1] == await run.result()
            assert not await other.complete(FIRST, 1)

    assert [True, False, False] == told


async def test_a_completion_that_the_store_refuses_is_no_completion(
    memory: InMemoryStore,
) -> None:
    """Who comes while it is on its way is told that nothing came of it, and may come again."""
    crashed = asyncio.Event()

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    agent = agent_with(body)
    async with life(agent, memory) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(50)
    dying = CrashingStore(memory, after=1, crash=crashed.set, one_by_one=True, commits=False)
    async with life(agent, dying) as worker:
        await passes(50)
        told = asyncio.gather(
            *(worker.complete(FIRST, 1) for _ in range(2)), return_exceptions=True
        )
        await crashed.wait()
        dying.fail_waiters()
        assert all(isinstance(error, StoreUnavailableError) for error in await told)
    async with life(agent, memory) as worker:
        assert await worker.complete(FIRST, 2)
        assert [2] == await (await worker.submit(1, key="key", id="run")).result()


async def test_what_completes_no_promise_is_refused_by_name(memory: InMemoryStore) -> None:
    """A text that is no id, a run that is not there, one that ended, a wrong call of ours."""

    async def body(ctx: RunnerContext) -> object:
        return ctx.run_id

    async with life(agent_with(body), memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        await run.result()
        with pytest.raises(InputError, match="'run-7' is no id of a promise"):
            await worker.complete("run-7")
        with pytest.raises(InputError, match="is no id of a promise"):
            await worker.complete(FIRST[:-3])
        with pytest.raises(UnknownRunError):
            await worker.complete(promise_id("walk", "0:act:root:0"))
        with pytest.raises(RunStateError, match="completed; only runs that have not ended"):
            await worker.complete(FIRST)
        with pytest.raises(TypeError, match="promise is int, expected str"):
            await worker.complete(7)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(ValueError, match="a value or error=, not both"):
            await worker.complete(FIRST, 1, error="no")
        for error in (7, asyncio.CancelledError()):
            with pytest.raises(TypeError, match="an Exception or a text"):
                await worker.complete(FIRST, error=error)  # type: ignore[arg-type]  # the same


@pytest.mark.parametrize("is_awaited", [True, False])
async def test_a_value_of_the_wrong_type_is_refused_once_the_promise_is_made(
    memory: InMemoryStore, is_awaited: bool
) -> None:
    """Nothing is recorded, and the right one completes it."""
    gate = Gate()
    if is_awaited:
        gate.open()

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise(Receipt)
        await gate.wait()
        return await promise.result()

    async with life(agent_with(body), memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        await passes(20)
        problem = r"what completes the promise at root:0 does not fit Receipt.*number"
        with pytest.raises(InputError, match=problem):
            await worker.complete(FIRST, {"number": "three"})
        await worker.complete(FIRST, {"number": 3})
        gate.open()
        assert [Receipt(3)] == await run.result()

    assert 1 == of(SignalReceived, await entries(memory))


async def test_a_value_that_came_too_early_to_be_checked_fails_the_wait(
    memory: InMemoryStore,
) -> None:
    """By name."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        await gate.wait()
        return await ctx.promise(Receipt).result()

    async with life(agent_with(body), memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        await worker.complete(FIRST, "three")
        gate.open()
        (told,) = await run.result()

    assert told.startswith("InputError: what completes the promise at root:0 does not fit")


async def test_a_wait_gives_up_when_its_time_is_up_and_the_promise_stays(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Counted over restarts, raised again on replay; a late completion is there for later."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise()
        try:
            return await promise.result(timeout=60)
        except TimeoutError as error:
            told = str(error)
            await gate.wait()
            return told, await promise.result()

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(50)
        clock.advance(30)
        await passes(20)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(50)
        clock.advance(30)
        await gate.reached.wait()
        assert await worker.complete(FIRST, "late")
    gate.open()

    told = "promise at root:0 was not completed in time"
    assert [(told, "late")] == await finished(agent, memory, clock=clock)
    assert 1 == of(TimerFired, await entries(memory))


async def test_everybody_who_waits_for_a_promise_gets_the_same(store: Store) -> None:
    """Several tasks, one after the other, and on replay."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise()
        both = await asyncio.gather(promise.result(), promise.result())
        await gate.wait()
        return *both, await promise.result()

    agent = agent_with(body)
    async with life(agent, store) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(200)
        await worker.complete(FIRST, 4)
        await gate.reached.wait()
    gate.open()

    assert [(4, 4, 4)] == await finished(agent, store)


async def test_a_wait_that_was_given_up_is_given_up_on_replay(memory: InMemoryStore) -> None:
    """It lost a race with a call; the promise is completed later all the same."""
    gate, calls = Gate(), Calls()

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise()
        waiting = asyncio.ensure_future(promise.result())
        doubled = await ctx.durable(calls.double, 4)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await gate.wait()
        return doubled, waiting.cancelled(), await promise.result()

    agent = agent_with(body)
    async with life(agent, memory) as worker:
        await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        await worker.complete(FIRST, "late")
    gate.open()

    assert [(8, True, "late")] == await finished(agent, memory)
    assert ([4], 1) == (calls.made, of(CallAbandoned, await entries(memory)))


async def test_a_run_that_waits_for_a_promise_can_be_cancelled(memory: InMemoryStore) -> None:
    """And its promise takes nothing any more."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    async with life(agent_with(body), memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        await passes(50)
        await worker.cancel("run", "sold out")
        with pytest.raises(RunCancelledError, match="sold out"):
            await run.result()
        with pytest.raises(RunStateError, match="it is cancelled"):
            await worker.complete(FIRST, 1)


async def test_a_run_that_waits_for_a_promise_takes_no_place(memory: InMemoryStore) -> None:
    """Others run meanwhile."""
    calls = Calls()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        if event.input == 0:
            await ctx.promise().result()
        ctx.output(await ctx.durable(calls.double, event.input))

    settings = WorkerSettings(shutdown_grace_seconds=0.0, max_concurrent_runs=1)
    async with life(agent_of(act), memory, settings) as worker:
        first = await worker.submit(0, id="run")
        assert [2] == await (await worker.submit(1)).result()
        assert 1 == worker.statistics().resting
        await worker.complete(FIRST)
        assert [0] == await first.result()


async def test_a_run_that_has_left_memory_is_called_back_by_a_completion(
    memory: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of either of its promises; what does not fit is refused as if it had been there."""
    monkeypatch.setattr("durable_agents.worker._resting._QUIET_SECONDS", 0.001)
    settings = WorkerSettings(shutdown_grace_seconds=0.0, max_resident_runs=1)
    second = promise_id("run", "0:act:root:1")

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        promises = ctx.promise(Receipt), ctx.promise(int)
        ctx.output([event.input, *[await promise.result() for promise in promises]])

    async def left(worker: Worker) -> None:
        while worker.statistics().evicted != 1:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)

    async with life(agent_of(act), memory, settings) as worker:
        run = await worker.submit(1, id="run")
        await rests(worker)
        await worker.submit(2, id="other")
        await left(worker)
        with pytest.raises(InputError, match="promise at root:1 does not fit int"):
            await worker.complete(second, "two")
        assert await worker.complete(second, 2)
        await left(worker)
        assert not await worker.complete(second, 2)
        assert await worker.complete(FIRST, {"number": 1})
        assert [[1, Receipt(1), 2]] == await run.result()


async def test_a_signal_cannot_complete_a_promise_past_its_id(memory: InMemoryStore) -> None:
    """It could come twice, and nobody would be told."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    async with life(agent_with(body), memory) as worker:
        await worker.submit(1, key="key", id="run")
        with pytest.raises(InputError, match="is a promise's: complete it by its id"):
            await worker.signal("run", "durable_agents:promise:0:act:root:0", 1)


async def test_a_plain_action_makes_no_promise(memory: InMemoryStore) -> None:
    """It could not await it; the error says what to do."""

    def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        ctx.promise()

    agent = Agent("tested")
    agent.add_action("act", InputEvent, act)
    async with life(agent, memory) as worker:
        run = await worker.submit(1, key="key", id="run")
        with pytest.raises(RunFailedError, match="declare the action by `async def`"):
            await run.result()


async def test_a_call_in_the_place_of_a_promise_is_a_divergence(memory: InMemoryStore) -> None:
    """And so is a promise in the place of a call; each is told from the other."""
    calls, lives = Calls(), [0]

    async def body(ctx: RunnerContext) -> object:
        lives[0] += 1
        if lives[0] == 1:
            return await ctx.promise().result()
        return await ctx.durable(calls.double, 1)

    agent = agent_with(body)
    async with life(agent, memory) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(50)
    settings = WorkerSettings(shutdown_grace_seconds=0, on_divergence="fail")
    async with life(agent, memory, settings) as worker:
        run = await worker.submit(1, key="key", id="run")
        recorded = r"recorded durable_agents:promise\(\) at root:0, now double\(1\)"
        with pytest.raises(RunParkedError, match=recorded):
            await run.result()


@pytest.mark.parametrize("policy", ["clear", "fail"])
async def test_a_promise_in_the_place_of_a_call_is_a_divergence(
    memory: InMemoryStore, policy: Literal["clear", "fail"]
) -> None:
    """Found where the promise is made: the run is parked there, or goes its new way."""
    calls, gate = Calls(), Gate()

    async def body(ctx: RunnerContext) -> object:
        if not gate.visits:
            await ctx.durable(calls.double, 1)
            await gate.wait()
        return await ctx.promise().result()

    agent = agent_with(body)
    async with life(agent, memory) as worker:
        await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
    settings = WorkerSettings(shutdown_grace_seconds=0, on_divergence=policy)
    async with life(agent, memory, settings) as worker:
        run = await worker.submit(1, key="key", id="run")
        if policy == "clear":
            await passes(50)
            await worker.complete(FIRST, 3)
            assert [3] == await run.result()
            return
        recorded = r"recorded double\(1\) at root:0, now durable_agents:promise\(\)"
        with pytest.raises(RunParkedError, match=recorded):
            await run.result()


async def test_what_ends_the_process_behind_a_promise_is_a_suspect() -> None:
    """That a promise was made says nothing of what the run does next."""

    async def wait() -> None:
        await asyncio.Event().wait()

    async def body(ctx: RunnerContext) -> object:
        ctx.promise()
        return await ctx.options(name="wait").durable(wait)

    agent, store = agent_with(body), KilledStore()
    for _ in range(6):
        async with life(agent, store) as worker:
            await worker.submit(1, key="key", id="run")
            await passes(50)
    async with life(agent, store) as worker:
        run = await worker.submit(1, key="key", id="run")
        with pytest.raises(RunFailedError, match="5 times in a row"):
            await run.result()


async def test_a_run_that_waits_for_a_promise_is_no_suspect_after_many_crashes() -> None:
    """Waiting is not what ended the process."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.promise().result()

    agent, store = agent_with(body), KilledStore()
    for _ in range(10):
        async with life(agent, store) as worker:
            await worker.submit(1, key="key", id="run")
            await passes(50)
    async with life(agent, store) as worker:
        run = await worker.submit(1, key="key", id="run")
        await worker.complete(FIRST, 1)
        assert [1] == await run.result()


async def test_what_is_logged_before_a_promise_is_logged_once(memory: InMemoryStore) -> None:
    """A promise that is on record is replayed, though it has no outcome of its own."""
    said: list[bool] = []

    async def body(ctx: RunnerContext) -> object:
        said.append(ctx.is_replaying)
        promise = ctx.promise()
        said.append(ctx.is_replaying)
        return await promise.result()

    agent = agent_with(body)
    for _ in range(2):
        async with life(agent, memory) as worker:
            await worker.submit(1, key="key", id="run")
            await passes(50)

    assert [False, False, True, False] == said


def paying(calls: Calls) -> Agent:
    """An agent that hands a promise to a payment provider, and waits."""

    async def body(ctx: RunnerContext) -> object:
        promise = ctx.promise()
        order = await ctx.durable(calls.echo, f"pay into {promise.id}")
        paid = await promise.result()
        return order, paid, await ctx.durable(calls.double, 2)

    return agent_with(body)


async def test_a_fork_from_before_the_job_makes_a_promise_of_its_own(store: Store) -> None:
    """The job is begun again, and what it comes to is the fork's."""
    calls = Calls()
    mine = promise_id("fork", "0:act:root:0")
    async with life(paying(calls), store) as worker:
        run = await worker.submit(1, key="key", id="run")
        await rests(worker)
        await worker.complete(FIRST, "paid")
        await run.result()
        fork = await worker.fork("run", "0:act:root:1", id="fork")
        await rests(worker)
        await worker.complete(mine, "paid again")
        expected = [(f"pay into {mine}", "paid again", 4)]
        assert expected == await fork.result()

    assert [f"pay into {FIRST}", 2, f"pay into {mine}", 2] == calls.made


async def test_a_fork_from_behind_the_job_keeps_what_was_handed_out(store: Store) -> None:
    """Its record is repeated; it is completed by an id of its own, or with an edited result."""
    calls = Calls()
    mine, wait = promise_id("fork", "0:act:root:0"), "0:act:root:2"
    order = f"pay into {FIRST}"
    async with life(paying(calls), store) as worker:
        run = await worker.submit(1, key="key", id="run")
        await rests(worker)
        await worker.complete(FIRST, "paid")
        await run.result()
        fork = await worker.fork("run", wait, id="fork")
        await rests(worker)
        assert await worker.complete(mine, "paid once more")
        assert [(order, "paid once more", 4)] == await fork.result()
        edited = await worker.fork("run", wait, value="edited", id="edited")
        assert [(order, "edited", 4)] == await edited.result()
        failed = await worker.fork("run", wait, error=DeclinedError(1, "no"), id="failed")
        assert ["DeclinedError: 1: no"] == await failed.result()
        later = await worker.fork("run", "0:act:root:3", id="later")
        assert [(order, "paid", 4)] == await later.result()
        changed = await worker.fork("run", "0:act:root:1", value="changed", id="changed")
        await rests(worker)
        await worker.complete(promise_id("changed", "0:act:root:0"), 0)
        assert [("changed", 0, 4)] == await changed.result()

    assert [order, 2, 2, 2, 2, 2] == calls.made


async def test_a_run_with_promises_replays(memory: InMemoryStore) -> None:
    """Read-only, while it waits and when it has ended."""
    agent = paying(Calls())
    async with life(agent, memory) as worker:
        await worker.submit(1, key="key", id="run")
        await rests(worker)
    await assert_replays(agent, memory)
    async with life(agent, memory) as worker:
        await worker.complete(FIRST, 1)
        await (await worker.submit(1, key="key", id="run")).result()

    assert 1 == (await assert_replays(agent, memory)).actions


class Provider:
    """Takes jobs, and finishes the first two of them; its agent is made anew for each try."""

    def __init__(self) -> None:
        self.jobs: dict[int, str] = {}

    def agent(self) -> Agent:
        """Begins three jobs: one is paid, one is declined, and one is waited for in vain."""
        self.jobs = {}

        async def pay(ctx: RunnerContext, number: int) -> object:
            promise = ctx.promise(int)
            await ctx.options(name="begin").durable(self.begin, number, promise.id)
            try:
                return await promise.result(timeout=0.001 if number == 2 else None)
            except DeclinedError as error:
                return error.code
            except TimeoutError:
                return "in vain"

        async def body(ctx: RunnerContext) -> object:
            return await asyncio.gather(*(pay(ctx, number) for number in range(3)))

        return agent_with(body)

    async def begin(self, number: int, promise: str) -> None:
        """A job that is begun twice has the same id to be finished by."""
        assert promise == self.jobs.setdefault(number, promise)

    async def finish(self, worker: Worker) -> None:
        """Finish jobs in every life, twice: who knows what became of it in the last one."""
        outcomes: list[dict[str, Any]] = [{"value": 100}, {"error": DeclinedError(402, "")}]
        for number, outcome in enumerate(outcomes):
            while number not in self.jobs:  # noqa: ASYNC110 - the agent knows no event of ours
                await asyncio.sleep(0)
            for _ in range(2):
                await worker.complete(self.jobs[number], **outcome)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_crash_at_any_write_changes_nothing_about_promises() -> None:
    """Before and after each commit, those of the completions among them; no job is lost."""
    provider = Provider()

    report = await every_crash_point(
        provider.agent,
        [1],
        effects=lambda: dict(provider.jobs),
        meanwhile=provider.finish,
        timeout_seconds=5,
    )

    assert report.crash_points > 30
    assert [[[100, 402, "in vain"]]] == report.outcomes
