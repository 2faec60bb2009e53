"""Sleeps, timeouts, signals: on record, over restarts, decided on replay as they were."""

# ruff: noqa: ANN401 - values of any type

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from durable_agents import (
    Agent,
    Approval,
    InMemoryStore,
    InputError,
    InputEvent,
    RunFailedError,
    RunnerContext,
    RunStateError,
    UnknownRunError,
    Worker,
    WorkerSettings,
)
from durable_agents.journal import (
    CallAbandoned,
    RunTakenOver,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    TimerSet,
)
from durable_agents.testing import ManualClock, every_crash_point
from tests.worker._kit import (
    AT_ONCE,
    Calls,
    Gate,
    KilledStore,
    agent_of,
    asleep,
    entries,
    life,
    of,
    passes,
)

DAY = 86_400.0
Body = Callable[[RunnerContext], Awaitable[object]]


class Order(msgspec.Struct, frozen=True):
    """What a person may send."""

    number: int


def agent_with(body: Body, name: str = "tested") -> Agent:
    """An agent whose action puts out what the body returns, or the error's name."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event
        try:
            ctx.output(await body(ctx))
        except (TimeoutError, InputError) as error:
            ctx.output(f"{type(error).__name__}: {error}")

    return agent_of(act, name)


async def started(worker: Worker, clock: ManualClock) -> Any:
    """Input "run", submitted, and asleep."""
    run = await worker.submit(1, key="key", id="run")
    await asleep(clock)
    return run


async def finished(agent: Agent, store: InMemoryStore, clock: ManualClock) -> list[Any]:
    """Outputs of input "run" in a life in which nobody moves the clock."""
    async with life(agent, store, AT_ONCE, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        return await run.result()


async def test_a_sleep_of_a_month_costs_one_entry(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """What is not raced with needs no record of its end."""

    async def body(ctx: RunnerContext) -> object:
        before = ctx.now()
        await ctx.sleep(30 * DAY)
        return (ctx.now() - before).total_seconds()

    async with life(agent_with(body), memory, clock=clock) as worker:
        run = await started(worker, clock)
        clock.advance(30 * DAY - 1)
        await passes(50)
        assert 1 == clock.sleeping_count
        clock.advance(1)
        assert [30 * DAY] == await run.result()

    recorded = await entries(memory)
    assert (1, 0) == (of(TimerSet, recorded), of(TimerFired, recorded))


async def test_a_restart_sleeps_what_is_left(memory: InMemoryStore, clock: ManualClock) -> None:
    """And a process that comes late does not sleep at all."""
    calls = Calls()

    async def body(ctx: RunnerContext) -> object:
        first = await ctx.durable(calls.double, 1)
        await ctx.sleep(100)
        return first, await ctx.durable(calls.double, 2)

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await started(worker, clock)
    clock.advance(60)
    async with life(agent, memory, clock=clock) as worker:
        await started(worker, clock)
        clock.advance(39)
        await passes(50)
        assert 1 == clock.sleeping_count
    clock.advance(1)

    assert [(2, 4)] == await finished(agent, memory, clock)
    assert [1, 2] == calls.made
    assert 1 == of(TimerSet, await entries(memory))


async def test_a_sleep_that_was_over_is_over_though_the_clock_went_back(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """What came after it is on record."""
    gate, calls = Gate(), Calls()

    async def body(ctx: RunnerContext) -> object:
        await ctx.sleep(100)
        doubled = await ctx.durable(calls.double, 2)
        await gate.wait()
        return doubled

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await started(worker, clock)
        clock.advance(100)
        await gate.reached.wait()
    gate.open()
    clock.jump(-1000)

    assert [4] == await finished(agent, memory, clock)


async def test_sleeping_until_a_moment(memory: InMemoryStore, clock: ManualClock) -> None:
    """One that has passed is over at once."""
    moment = datetime.fromtimestamp(clock.now() + 10, UTC)

    async def body(ctx: RunnerContext) -> object:
        await ctx.sleep_until(moment - timedelta(days=1))
        await ctx.sleep_until(moment)
        return ctx.now() == moment

    async with life(agent_with(body), memory, clock=clock) as worker:
        run = await started(worker, clock)
        clock.advance(10)
        assert [True] == await run.result()


@pytest.mark.parametrize("winner", ["sleep", "call"])
async def test_a_race_of_a_sleep_with_a_call_is_decided_on_replay_as_it_was(
    memory: InMemoryStore, clock: ManualClock, winner: str
) -> None:
    """Both outcomes are there on replay; the order in which they came is on record."""
    answer, gate = Gate(), Gate()

    async def ask() -> str:
        await answer.wait()
        return "answer"

    async def body(ctx: RunnerContext) -> object:
        call = asyncio.ensure_future(ctx.durable(ask))
        nap = asyncio.ensure_future(ctx.sleep(10))
        done, _ = await asyncio.wait({call, nap}, return_when=asyncio.FIRST_COMPLETED)
        first = "call" if call in done else "sleep"
        await asyncio.wait({call, nap})
        await gate.wait()
        return first

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await started(worker, clock)
        await answer.reached.wait()
        if winner == "sleep":
            clock.advance(10)
            await passes(200)
            answer.open()
        else:
            answer.open()
            await passes(200)
            clock.advance(10)
        await gate.reached.wait()
    gate.open()

    assert [winner] == await finished(agent, memory, clock)


async def test_what_ends_during_a_sleep_has_ended_on_replay(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """The sleeper is the only task by its end, and yet it was raced with."""
    answer, gate = Gate(), Gate()

    async def ask() -> str:
        await answer.wait()
        return "answer"

    async def body(ctx: RunnerContext) -> object:
        call = asyncio.ensure_future(ctx.durable(ask))
        await ctx.sleep(10)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        await ctx.sleep(10)
        await gate.wait()
        return "cancelled" if call.cancelled() else call.result()

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await started(worker, clock)
        await answer.reached.wait()
        answer.open()
        await passes(200)
        clock.advance(10)
        await asleep(clock)
        clock.advance(10)
        await gate.reached.wait()
    gate.open()

    assert ["answer"] == await finished(agent, memory, clock)
    assert 1 == of(TimerFired, await entries(memory))


async def test_a_sleep_that_was_given_up_is_given_up_on_replay(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """It was cancelled as the loser of a race with a signal."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        nap = asyncio.ensure_future(ctx.sleep(10))
        signal = await ctx.wait_for_signal("go")
        nap.cancel()
        with suppress(asyncio.CancelledError):
            await nap
        await gate.wait()
        return signal, nap.cancelled()

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await started(worker, clock)
        await worker.signal("run", "go", 7)
        await gate.reached.wait()
    gate.open()
    clock.advance(1000)

    assert [(7, True)] == await finished(agent, memory, clock)
    assert 1 == of(CallAbandoned, await entries(memory))


async def test_a_timeout_ends_its_block_and_the_call_in_it(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """A replay raises it at the same place, and waits for nothing."""
    slow, gate, calls = Gate(), Gate(), Calls()

    async def wait() -> None:
        await slow.wait()

    async def body(ctx: RunnerContext) -> object:
        try:
            async with ctx.timeout(60):
                await ctx.durable(calls.double, 1)
                await ctx.durable(wait)
        except TimeoutError:
            fallback = await ctx.durable(calls.double, 21)
        await gate.wait()
        return fallback

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await slow.reached.wait()
        clock.advance(60)
        await gate.reached.wait()
    gate.open()

    assert [42] == await finished(agent, memory, clock)
    assert ([1, 21], 1) == (calls.made, slow.visits)
    recorded = await entries(memory)
    assert (1, 1, 1) == tuple(
        of(kind, recorded) for kind in (TimerSet, TimerFired, CallAbandoned)
    )


async def test_a_timeout_counts_over_restarts(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """The block is entered again, and its time goes on from where it was."""
    slow = Gate()

    async def wait() -> None:
        await slow.wait()

    async def body(ctx: RunnerContext) -> object:
        async with ctx.timeout(60):
            await ctx.durable(wait)

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await slow.reached.wait()
    clock.advance(59)
    async with life(agent, memory, clock=clock) as worker:
        run = await started(worker, clock)
        clock.advance(1)
        assert ["TimeoutError: "] == await run.result()


async def test_a_block_that_ended_in_time_is_not_cut_short_by_a_late_replay(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Though what is not on record takes its time again, and the time is up by then."""
    rest, gate, calls = asyncio.Event(), Gate(), Calls()
    rest.set()

    async def body(ctx: RunnerContext) -> object:
        async with ctx.timeout(60):
            doubled = await ctx.durable(calls.double, 1)
            await rest.wait()
        await gate.wait()
        return doubled

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
    gate.open()
    rest.clear()
    clock.advance(1000)
    async with life(agent, memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        await passes(500)
        rest.set()
        assert [2] == await run.result()


async def test_a_cancellation_from_outside_is_no_timeout(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Only the timer's own is turned into one, as asyncio has it."""

    async def body(ctx: RunnerContext) -> object:
        try:
            async with asyncio.timeout(0):
                async with ctx.timeout(60):
                    await ctx.sleep(10)
        except TimeoutError as error:
            return type(error.__cause__).__name__
        return "no timeout"

    async with life(agent_with(body), memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        assert ["CancelledError"] == await run.result()


@pytest.mark.parametrize("when", ["before", "after", "between lives"])
async def test_a_signal_is_taken_whenever_it_comes(
    memory: InMemoryStore, clock: ManualClock, when: str
) -> None:
    """Before anyone waits, while somebody does, and while no worker runs."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        await gate.wait()
        return await ctx.wait_for_signal("go", type=Order)

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        if when == "before":
            assert await worker.signal("run", "go", {"number": 3})
        if when != "between lives":
            gate.open()
            await passes(50)
        if when == "after":
            assert await worker.signal("run", "go", Order(3))
        if when != "between lives":
            assert [Order(3)] == await run.result()
    gate.open()
    if when == "between lives":
        async with life(agent_with(body, "other"), memory, clock=clock) as worker:
            assert await worker.signal("run", "go", {"number": 3})

    assert [Order(3)] == await finished(agent, memory, clock)
    recorded = await entries(memory)
    kinds = (SignalAwaited, SignalReceived, SignalTaken)
    assert (1, 1, 1) == tuple(of(kind, recorded) for kind in kinds)


async def test_signals_of_a_name_are_taken_in_order_and_each_once(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """By waits one after the other and side by side, and by no replay twice."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        first = await ctx.wait_for_signal("item")
        both = await asyncio.gather(ctx.wait_for_signal("item"), ctx.wait_for_signal("item"))
        await gate.wait()
        return first, *both, await ctx.wait_for_signal("item")

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        for number in range(3):
            await worker.signal("run", "item", number)
        await gate.reached.wait()
    gate.open()
    async with life(agent, memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        await worker.signal("run", "item", 3)
        assert [(0, 1, 2, 3)] == await run.result()


async def test_a_signal_of_a_known_id_is_the_same_signal(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """In this life and in later ones."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.wait_for_signal("a"), await ctx.wait_for_signal("b")

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        assert await worker.signal("run", "a", 1, id="one")
        assert not await worker.signal("run", "a", 2, id="one")
        await passes(50)
    async with life(agent, memory, clock=clock) as worker:
        assert not await worker.signal("run", "b", 3, id="one")
        assert await worker.signal("run", "b", 4, id="two")
        run = await worker.submit(1, key="key", id="run")
        assert [(1, 4)] == await run.result()

    assert 2 == of(SignalReceived, await entries(memory))


async def test_a_signal_of_the_wrong_type_is_refused_while_somebody_waits(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Nothing is recorded, and the right one is taken."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.wait_for_signal("go", type=Order)

    async with life(agent_with(body), memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        await passes(50)
        with pytest.raises(InputError, match=r"signal 'go' does not fit Order.*number"):
            await worker.signal("run", "go", {"number": "three"})
        await worker.signal("run", "go", {"number": 3})
        assert [Order(3)] == await run.result()

    assert 1 == of(SignalReceived, await entries(memory))


async def test_a_signal_that_came_too_early_to_be_checked_fails_the_wait(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """By name, and the action can wait again."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        await gate.wait()
        try:
            return await ctx.wait_for_signal("go", type=Order)
        except InputError:
            return await ctx.wait_for_signal("go", type=Order)

    async with life(agent_with(body), memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        await worker.signal("run", "go", "three")
        await worker.signal("run", "go", {"number": 3})
        gate.open()
        assert [Order(3)] == await run.result()


@pytest.mark.parametrize("comes", [False, True])
async def test_a_wait_gives_up_when_its_time_is_up(
    memory: InMemoryStore, clock: ManualClock, comes: bool
) -> None:
    """Counted over restarts; the replay raises it again, though a signal came since."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        try:
            return await ctx.wait_for_signal("go", timeout=60)
        except TimeoutError:
            await gate.wait()
            return "late", await ctx.wait_for_signal("go")

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await started(worker, clock)
        clock.advance(30)
        await passes(20)
    async with life(agent, memory, clock=clock) as worker:
        run = await started(worker, clock)
        if comes:
            await worker.signal("run", "go", "in time")
            assert ["in time"] == await run.result()
            return
        clock.advance(30)
        await gate.reached.wait()
        await worker.signal("run", "go", "for the next")
    gate.open()

    assert [("late", "for the next")] == await finished(agent, memory, clock)


async def test_a_signal_for_a_run_that_ended_is_refused(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """And for one that never was."""

    async def body(ctx: RunnerContext) -> object:
        return ctx.run_id

    async with life(agent_with(body), memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        await run.result()
        with pytest.raises(RunStateError, match="completed; only runs that have not ended"):
            await worker.signal("run", "go")
        with pytest.raises(UnknownRunError):
            await worker.signal("walk", "go")


async def test_a_person_is_asked_once_and_the_answer_is_kept(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Over a restart before the answer, and one after it."""
    gate, calls = Gate(), Calls()

    async def body(ctx: RunnerContext) -> object:
        await ctx.durable(calls.echo, "mail: refund 100?")
        decision = await ctx.approve("refund 100?")
        await gate.wait()
        return decision

    agent = agent_with(body)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await passes(50)
    async with life(agent, memory, clock=clock) as worker:
        await worker.signal("run", "approval:root:1", {"approved": True, "comment": "fine"})
        await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
    gate.open()

    assert [Approval(approved=True, comment="fine")] == await finished(agent, memory, clock)
    assert ["mail: refund 100?"] == calls.made
    awaited = [e for e in await entries(memory) if isinstance(e, SignalAwaited)]
    assert ["refund 100?"] == [entry.preview for entry in awaited]


async def test_a_run_that_waits_is_no_suspect_after_many_crashes(clock: ManualClock) -> None:
    """A run is given up after five starts without progress; waiting is not one's fault."""

    async def body(ctx: RunnerContext) -> object:
        return await ctx.wait_for_signal("go")

    agent, store = agent_with(body), KilledStore()
    for _ in range(10):
        async with life(agent, store, clock=clock) as worker:
            run = await worker.submit(1, key="key", id="run")
            await passes(50)
    async with life(agent, store, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        await worker.signal("run", "go", 1)
        assert [1] == await run.result()

    assert of(RunTakenOver, await entries(store)) > 5


async def test_what_ends_the_process_within_a_timeout_is_a_suspect(
    clock: ManualClock,
) -> None:
    """The timer is the newest record, and yet it is not all that the run does."""
    gate = Gate()

    async def wait() -> None:
        await gate.wait()

    async def body(ctx: RunnerContext) -> object:
        async with ctx.timeout(60):
            await ctx.durable(wait)

    agent, store = agent_with(body), KilledStore()
    for _ in range(6):
        async with life(agent, store, clock=clock) as worker:
            run = await worker.submit(1, key="key", id="run")
            await passes(50)
    async with life(agent, store, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        with pytest.raises(RunFailedError, match="5 times in a row"):
            await run.result()


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
@pytest.mark.parametrize("verb", ["sleep", "timeout"])
async def test_what_is_no_duration_is_refused(
    memory: InMemoryStore, clock: ManualClock, verb: str, seconds: float
) -> None:
    """Where it is written, and before anything is recorded."""

    async def body(ctx: RunnerContext) -> object:
        with pytest.raises(ValueError, match=rf"{verb} takes seconds >= 0"):
            getattr(ctx, verb)(seconds)
        with pytest.raises(ValueError, match="aware datetime"):
            ctx.sleep_until(datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point
        return "refused"

    async with life(agent_with(body), memory, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        assert ["refused"] == await run.result()


async def naps_and_calls(event: InputEvent[int], ctx: RunnerContext) -> None:
    """Sleeps, timeouts and calls, one after the other and side by side."""

    async def slow() -> str:
        await asyncio.Event().wait()
        return "never"

    async def nap(number: int) -> int:
        await ctx.sleep(0.001)
        return await ctx.durable(double, number)

    await ctx.sleep(0.001)
    doubled = await asyncio.gather(*(nap(number) for number in range(3)))
    try:
        async with ctx.timeout(0.002):
            await ctx.durable(double, 1)
            await ctx.options(name="slow").durable(slow)
    except TimeoutError:
        doubled.append(await ctx.durable(double, 4))
    async with ctx.timeout(3600):
        doubled.append(await ctx.durable(double, event.input))
    try:
        await ctx.wait_for_signal("never", timeout=0.001)
    except TimeoutError:
        await ctx.sleep_until(ctx.now())
    ctx.output(doubled)


async def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_crash_at_any_write_changes_nothing_about_waits() -> None:
    """Before and after each commit, with outcomes equal and no call made twice."""
    report = await every_crash_point(agent_of(naps_and_calls), [5])

    assert report.crash_points > 40
    assert [[[0, 2, 4, 8, 10]]] == report.outcomes


def napping(calls: Calls) -> Agent:
    """An agent whose input 0 sleeps for a day, and others double."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        if event.input == 0:
            await ctx.sleep(DAY)
        ctx.output(await ctx.durable(calls.double, event.input))

    return agent_of(act)


@pytest.mark.parametrize("end", ["wakes", "is cancelled"])
async def test_a_run_that_only_waits_takes_no_place(
    memory: InMemoryStore, clock: ManualClock, end: str
) -> None:
    """Others run meanwhile, and go on running when it has ended, whichever way."""
    settings = WorkerSettings(shutdown_grace_seconds=0.0, max_concurrent_runs=1)
    agent = napping(Calls())
    async with life(agent, memory, settings, clock=clock) as worker:
        sleeper = await worker.submit(0, key="sleepy")
        others = [await worker.submit(number) for number in (1, 2)]
        assert [[2], [4]] == [await run.result() for run in others]
        assert (1, 1) == (worker.statistics().running, worker.statistics().resting)

        drained = asyncio.ensure_future(worker.drain())
        await passes(20)
        assert not drained.done()
        if end == "wakes":
            clock.advance(DAY)
            assert [0] == await sleeper.result()
        else:
            await worker.cancel(sleeper.id)
        await drained
        assert [6] == await (await worker.submit(3)).result()
        assert 0 == worker.statistics().resting


async def test_a_run_that_waits_keeps_its_key(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Inputs of one key go one at a time, however long one takes."""
    agent = napping(Calls())
    async with life(agent, memory, clock=clock) as worker:
        sleeper = await worker.submit(0, key="key")
        behind = await worker.submit(1, key="key")
        beside = await worker.submit(2)
        assert [4] == await beside.result()
        await asleep(clock)
        assert 1 == worker.statistics().waiting
        clock.advance(DAY)
        assert ([0], [2]) == (await sleeper.result(), await behind.result())


async def test_a_run_that_waits_beside_a_call_keeps_its_place(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """It does something; the place is free as soon as the call has returned."""
    slow, calls = Gate(), Calls()

    async def wait() -> None:
        await slow.wait()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        if event.input == 0:
            await asyncio.gather(ctx.sleep(DAY), ctx.options(name="wait").durable(wait))
        ctx.output(await ctx.durable(calls.double, event.input))

    settings = WorkerSettings(shutdown_grace_seconds=0.0, max_concurrent_runs=1)
    async with life(agent_of(act), memory, settings, clock=clock) as worker:
        await worker.submit(0)
        other = await worker.submit(1)
        await slow.reached.wait()
        looked = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.2, looked.set_result, None)
        await looked
        assert [] == calls.made
        slow.open()
        assert [2] == await other.result()
