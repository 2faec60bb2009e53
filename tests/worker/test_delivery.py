"""Races are decided on replay as they were the first time, whatever asyncio runs them with.

The method: the first life runs an action whose durable functions end in a shuffled order, and
it ends at a gate behind some of them; the next life replays it and goes on. What the action
saw, outcome by outcome, must be the same in both, and no settled call is executed twice.
"""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
import gc
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeAlias

import anyio
import pytest

from durable_agents import (
    InMemoryStore,
    OutsideActionError,
    RunFailedError,
    RunnerContext,
    RunParkedError,
    Store,
    StoreUnavailableError,
    WorkerSettings,
    current_call,
    durable,
)
from durable_agents.journal import CallAbandoned, CallSettled, DeliveredOutOfOrder
from durable_agents.store import Write
from tests.worker._kit import (
    AT_ONCE,
    Calls,
    Gate,
    agent_of,
    entries,
    finish,
    interrupt,
    life,
    passes,
)

See: TypeAlias = Callable[[object], Coroutine[Any, Any, None]]


class HeldStore(InMemoryStore):
    """A store whose first write is answered by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[asyncio.Future[int]] | None = []

    def append(self, write: Write) -> "asyncio.Future[int]":
        if self.held is None:
            return super().append(write)
        self.held.append(asyncio.get_running_loop().create_future())
        return self.held[-1]


class Shuffled:
    """Durable functions that return after a number of passes drawn by lot.

    Args:
        seed: Another seed, another order.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - not a secret
        self.made: list[Any] = []

    @durable(name="work")
    async def work(self, number: Any) -> Any:
        """The number, after some passes of the loop."""
        await passes(self._chance.randrange(60))
        self.made.append(number)
        return number


async def same_in_each_life(
    store: Store, seed: int, race: Callable[[RunnerContext, Shuffled, See], Any]
) -> None:
    """Run a race, end the worker after some of what it sees, and compare what each life saw."""
    work = Shuffled(seed)
    lives: list[list[Any]] = []
    gates: list[Gate] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen: list[Any] = []
        lives.append(seen)

        async def see(what: object) -> None:
            seen.append(what)
            if len(seen) == len(lives) * 2 and gates:
                await gates[-1].wait()

        await race(ctx, work, see)
        ctx.output(seen)

    agent = agent_of(act)
    for _ in range(3):
        gates.append(Gate())
        async with life(agent, store) as worker:
            run = await worker.submit(1, key="key", id="run")
            result = asyncio.ensure_future(run.result())
            reached = asyncio.ensure_future(gates[-1].reached.wait())
            await asyncio.wait({result, reached}, return_when="FIRST_COMPLETED")
            reached.cancel()
        await asyncio.gather(result, reached, return_exceptions=True)
    gates.clear()
    [final] = await finish(agent, store)

    for seen in lives:
        assert seen == final[: len(seen)]
    assert sorted(map(repr, work.made)) == sorted({repr(m) for m in work.made})


SEEDS = pytest.mark.parametrize("seed", range(4))


@SEEDS
@pytest.mark.every_loop
@pytest.mark.rows("GAP-08")
async def test_gather_of_branches_with_several_calls(store: Store, seed: int) -> None:
    """Branches that fan out come back unswapped, whatever order they finish in."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        async def branch(name: str) -> list[Any]:
            values = []
            for step in range(3):
                values.append(await ctx.durable(work.work, f"{name}{step}"))
                await see(values[-1])
            return values

        names = "abcd"
        assert await asyncio.gather(*map(branch, names)) == [
            [f"{name}{step}" for step in range(3)] for name in names
        ]

    await same_in_each_life(store, seed, race)


@SEEDS
@pytest.mark.every_loop
async def test_a_task_group_of_branches(memory: InMemoryStore, seed: int) -> None:
    """As gather."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        async def branch(name: str) -> None:
            for step in range(2):
                await see(await ctx.durable(work.work, f"{name}{step}"))

        async with asyncio.TaskGroup() as group:
            for name in "abcd":
                group.create_task(branch(name))

    await same_in_each_life(memory, seed, race)


@SEEDS
@pytest.mark.every_loop
async def test_as_completed_of_calls(memory: InMemoryStore, seed: int) -> None:
    """The first one is the first one again."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        for call in asyncio.as_completed([ctx.durable(work.work, n) for n in range(8)]):
            await see(await call)

    await same_in_each_life(memory, seed, race)


@SEEDS
async def test_as_completed_of_branches(memory: InMemoryStore, seed: int) -> None:
    """It starts its tasks in the order of a set: still each branch is itself again."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        async def branch(number: int) -> list[Any]:
            return [await ctx.durable(work.work, (number, step)) for step in range(2)]

        for one in asyncio.as_completed([branch(n) for n in range(8)]):
            await see(await one)

    await same_in_each_life(memory, seed, race)


@SEEDS
@pytest.mark.every_loop
async def test_the_first_of_several_wins_again_and_the_losers_stay_cancelled(
    memory: InMemoryStore, seed: int
) -> None:
    """`wait(FIRST_COMPLETED)`, and the winner is used in the next call."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        for turn in range(3):
            tasks = [asyncio.ensure_future(ctx.durable(work.work, (turn, n))) for n in range(5)]
            done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            winners = [task.result() for task in tasks if task in done]
            await see(winners)
            await see(await ctx.durable(work.work, ("used", turn, *winners)))

    await same_in_each_life(memory, seed, race)


@SEEDS
@pytest.mark.every_loop
async def test_a_queue_between_branches(memory: InMemoryStore, seed: int) -> None:
    """Workers take what comes first; what they take is what they took."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        queue: asyncio.Queue[int | None] = asyncio.Queue()

        async def produce(start: int) -> None:
            for number in range(start, start + 4):
                await queue.put(await ctx.durable(work.work, number))

        async def consume(name: str) -> None:
            while (number := await queue.get()) is not None:
                await see(await ctx.durable(work.work, (name, number)))

        async with asyncio.TaskGroup() as consumers:
            for name in "xyz":
                consumers.create_task(consume(name))
            await asyncio.gather(produce(0), produce(10))
            for _ in "xyz":
                await queue.put(None)

    await same_in_each_life(memory, seed, race)


@SEEDS
async def test_three_idle_passes_in_one_branch_beside_a_call_in_another(
    memory: InMemoryStore, seed: int
) -> None:
    """What a branch does without a call counts as movement, and is waited for."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        async def idle(name: str) -> None:
            await ctx.durable(work.work, name)
            await passes(3)
            await see(name)

        async def call(name: str) -> None:
            await ctx.durable(work.work, name)
            await see(name)

        await asyncio.gather(idle("a"), call("b"), idle("c"), call("d"))

    await same_in_each_life(memory, seed, race)


@SEEDS
@pytest.mark.every_loop
async def test_an_anyio_task_group(memory: InMemoryStore, seed: int) -> None:
    """Its tasks share one name and are one sequence."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        async def branch(name: str) -> None:
            for step in range(2):
                await see(await ctx.durable(work.work, f"{name}{step}"))

        async with anyio.create_task_group() as group:
            for name in "abcd":
                group.start_soon(branch, name)

    await same_in_each_life(memory, seed, race)


@pytest.mark.every_loop
async def test_an_anyio_cancel_scope_gives_a_call_up_again(store: Store) -> None:
    """`move_on_after` on replay takes the same way."""
    slow, gate, calls = Gate(), Gate(), Calls()

    async def endless() -> None:
        await slow.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(ctx.durable, endless)
                await ctx.durable(calls.double, 1)
                scope.cancel()
        value = await ctx.durable(calls.double, 2)
        await gate.wait()
        ctx.output([scope.cancelled_caught, value])

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    slow.open()

    assert await finish(agent, store) == [[True, 4]]
    assert calls.made == [1, 2]
    assert slow.visits == 1


@pytest.mark.parametrize("depth", [10])
@pytest.mark.every_loop
async def test_deeply_nested_gathers_decide_a_race_again(
    memory: InMemoryStore, depth: int
) -> None:
    """A wake-up that travels far is waited for, too."""

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        def nested(level: int, name: str) -> Any:
            call = ctx.durable(work.work, name)
            future: Any = asyncio.ensure_future(call)
            for _ in range(level):
                future = asyncio.gather(future)
            return future

        async def after(future: Any, name: str) -> None:
            await future
            await see(name)
            await see(await ctx.durable(work.work, f"after {name}"))

        await asyncio.gather(
            after(nested(depth, "deep"), "deep"),
            after(nested(0, "flat"), "flat"),
            after(nested(depth // 2, "half"), "half"),
        )

    await same_in_each_life(memory, 1, race)


@pytest.mark.every_loop
async def test_wait_for_is_one_branch_with_its_caller(memory: InMemoryStore) -> None:
    """On every Python: a journal means the same on 3.11 as on its successors."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def inner() -> int:
            return await ctx.durable(calls.double, 1)

        await asyncio.wait_for(inner(), 60)
        await asyncio.wait_for(ctx.durable(calls.double, 2), 60)
        ctx.output(await ctx.durable(calls.double, 3))

    await finish(agent_of(act), memory)

    places = [
        (e.branch, e.position) for e in await entries(memory) if isinstance(e, CallSettled)
    ]
    assert places == [("", 0), ("", 1), ("", 2)]


@pytest.mark.every_loop
async def test_a_timeout_and_its_fallback_come_again(store: Store) -> None:
    """`wait_for` gives the call up; the slow call is not executed on replay."""
    slow, gate, calls = Gate(), Gate(), Calls()

    async def endless() -> None:
        await slow.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await asyncio.wait_for(ctx.durable(endless), 0.001)
        except TimeoutError:
            value = await ctx.durable(calls.double, 3)
            await gate.wait()
            ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    slow.open()

    assert await finish(agent, store) == [6]
    assert slow.visits == 1


async def test_a_call_given_up_after_it_had_settled_is_given_up_again(
    memory: InMemoryStore,
) -> None:
    """Abandoned overrides a settlement that had been committed and not yet handed over."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        task = asyncio.ensure_future(ctx.durable(calls.double, 1))
        await passes(8)
        assert calls.made == [1]
        was_done = task.done()
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        await gate.wait()
        ctx.output([was_done, type(outcome).__name__])

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    assert await finish(agent, memory) == [[False, "CancelledError"]]
    assert calls.made == [1]
    made = [
        type(e) for e in await entries(memory) if isinstance(e, CallSettled | CallAbandoned)
    ]
    assert made == [CallSettled, CallAbandoned]


@pytest.mark.every_loop
async def test_a_call_given_up_while_its_outcome_is_on_its_way_is_told_in_the_same_pass(
    memory: InMemoryStore,
) -> None:
    """A pass decides who is done when the winner of a race is looked at."""
    calls, gate = Calls(), Gate()
    lives: list[list[str]] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        order = list[str]()
        lives.append(order)

        async def call(number: int) -> None:
            try:
                await ctx.durable(calls.double, number)
                if number == 0:
                    tasks[1].cancel()
            finally:
                order.append(f"call {number}")

        # One transaction commits all three; the first one to be told cancels the second.
        tasks = [asyncio.ensure_future(call(number)) for number in range(3)]
        await asyncio.wait(tasks)
        await gate.wait()
        ctx.output(order)

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    assert [["call 0", "call 1", "call 2"]] == await finish(agent, memory)
    assert lives[0] == lives[1]
    assert CallAbandoned in [type(entry) for entry in await entries(memory)]


@pytest.mark.slow
@pytest.mark.every_loop
async def test_a_thousand_calls_outstanding(store: Store) -> None:
    """In one batch or in many, live and on replay."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        values = await asyncio.gather(*(ctx.durable(calls.double, n) for n in range(1000)))
        await gate.wait()
        ctx.output(values)

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == [[2 * n for n in range(1000)]]
    assert sorted(calls.made) == list(range(1000))


async def test_a_long_sequence_of_calls_leaves_the_loop_to_others_on_replay(
    memory: InMemoryStore,
) -> None:
    """A replay of a thousand calls is not one step."""
    calls, gate = Calls(), Gate()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def act(event: Any, ctx: RunnerContext) -> None:
        nonlocal turns
        turns = 0
        for number in range(1000):
            await ctx.durable(calls.double, number)
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    counter = asyncio.ensure_future(count())
    await finish(agent, memory)
    counter.cancel()

    assert turns >= 3
    assert len(calls.made) == 1000


async def test_a_branch_that_polls_without_end_does_not_hold_up_the_others(
    memory: InMemoryStore,
) -> None:
    """An action need not come to rest: everything in asyncio works inside it."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        is_done = False

        async def poll() -> None:
            while not is_done:  # noqa: ASYNC110 - the subject
                await asyncio.sleep(0)

        poller = asyncio.ensure_future(poll())
        value = await ctx.durable(calls.double, 1)
        is_done = True
        await poller
        ctx.output(value)

    settings = WorkerSettings(shutdown_grace_seconds=0, replay_order_wait=0.01)
    async with asyncio.timeout(5):
        assert await finish(agent_of(act), memory, settings) == [2]


# --- order is a preference ------------------------------------------------------------------

IMPATIENT = WorkerSettings(shutdown_grace_seconds=0, replay_order_wait=0.02)


async def test_an_outcome_that_is_not_asked_for_is_overtaken_with_a_warning(
    memory: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A lock that is taken the other way round on replay: identity is the safety."""
    calls, gate, swapped = Calls(), Gate(), [False]

    async def act(event: Any, ctx: RunnerContext) -> None:
        first_is_through = asyncio.Event()

        async def first() -> None:
            await ctx.durable(calls.double, 1)
            first_is_through.set()

        async def second() -> None:
            await first_is_through.wait()
            await ctx.durable(calls.double, 2)

        async def first_late() -> None:
            await second_is_through.wait()
            await ctx.durable(calls.double, 1)

        async def second_early() -> None:
            await ctx.durable(calls.double, 2)
            second_is_through.set()

        second_is_through = asyncio.Event()
        if swapped[0]:
            first_late.__qualname__, second_early.__qualname__ = "first", "second"
            await asyncio.gather(first_late(), second_early())
        else:
            first.__qualname__, second.__qualname__ = "first", "second"
            await asyncio.gather(first(), second())
        await gate.wait()
        ctx.output("done")

    agent = agent_of(act)
    await interrupt(agent, memory, gate, IMPATIENT)
    swapped[0] = True

    assert await finish(agent, memory, IMPATIENT) == ["done"]
    assert calls.made == [1, 2]
    assert "came next and was not asked for within 0.02 s" in caplog.text
    overtakings = [e for e in await entries(memory) if isinstance(e, DeliveredOutOfOrder)]
    assert len(overtakings) == 1


async def test_a_replay_after_an_overtaking_keeps_the_new_order(
    memory: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal notes it down; the third life neither waits nor warns."""
    calls, gate, second_gate, late = Calls(), Gate(), Gate(), [False]

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen: list[int] = []
        released, first_is_through = asyncio.Event(), asyncio.Event()

        async def one() -> None:
            if late[0]:
                await released.wait()
            seen.append(await ctx.durable(calls.double, 1))
            first_is_through.set()

        async def two() -> None:
            if not late[0]:
                await first_is_through.wait()
            seen.append(await ctx.durable(calls.double, 2))
            released.set()

        await asyncio.gather(one(), two())
        await gate.wait()
        await second_gate.wait()
        ctx.output(seen)

    agent = agent_of(act)
    await interrupt(agent, memory, gate, IMPATIENT)
    late[0] = True
    await interrupt(agent, memory, second_gate, IMPATIENT)
    caplog.clear()

    assert await finish(agent, memory) == [[4, 2]]
    assert caplog.text == ""
    assert calls.made == [1, 2]


async def test_an_outcome_that_is_never_asked_for_is_waited_for_once(
    memory: InMemoryStore,
) -> None:
    """A call was removed from one branch: later outcomes do not each wait anew for it."""
    calls, gate, is_removed = Calls(), Gate(), [False]

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def removed() -> None:
            if not is_removed[0]:
                await ctx.durable(calls.double, -1)

        async def kept(after: asyncio.Task[None]) -> list[int]:
            await after
            return [await ctx.durable(calls.double, n) for n in range(30)]

        first = asyncio.ensure_future(removed())
        ctx.output(await asyncio.gather(kept(first)))
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    is_removed[0] = True

    settings = WorkerSettings(shutdown_grace_seconds=0, replay_order_wait=0.2)
    async with asyncio.timeout(1):
        assert await finish(agent, memory, settings) == [[[2 * n for n in range(30)]]]
    assert len(calls.made) == 31


# --- who belongs to the action --------------------------------------------------------------


async def test_a_task_that_a_client_starts_on_its_own_shifts_nobody(
    memory: InMemoryStore,
) -> None:
    """It has another name, and so another sequence; live it was there, on replay it is not."""
    calls, gate, started = Calls(), Gate(), list[asyncio.Task[None]]()

    async def keep_alive() -> None:
        await asyncio.get_running_loop().create_future()

    async def use_client() -> None:
        if not started:
            started.append(asyncio.get_running_loop().create_task(keep_alive()))

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def branch(number: int) -> int:
            return await ctx.durable(calls.double, number)

        await use_client()
        values = await asyncio.gather(branch(1), branch(2))
        await gate.wait()
        ctx.output(values)

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    assert await finish(agent, memory) == [[2, 4]]
    assert calls.made == [1, 2]


async def test_a_task_that_a_durable_function_starts_outlives_the_action(
    memory: InMemoryStore,
) -> None:
    """It belongs to the client that the function uses: nobody cancels it with the action."""
    started: list[asyncio.Task[None]] = []

    async def keep_alive() -> None:
        await asyncio.get_running_loop().create_future()

    async def use_client() -> None:
        started.append(asyncio.get_running_loop().create_task(keep_alive()))

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(use_client)
        ctx.output("done")

    assert await finish(agent_of(act), memory) == ["done"]
    [task] = started
    assert not task.done()
    task.cancel()


@pytest.mark.every_loop
async def test_two_tasks_in_one_context_object_do_not_see_each_others_calls(
    memory: InMemoryStore,
) -> None:
    """A context can be given to many tasks; the call belongs to the one that makes it."""
    gates = {"a": Gate(), "b": Gate()}

    async def work(name: str) -> tuple[str, bool]:
        before = current_call()
        await gates[name].wait()
        return before.call_id, before.call_id == current_call().call_id

    async def act(event: Any, ctx: RunnerContext) -> None:
        context = copy_context()
        loop = asyncio.get_running_loop()
        a = loop.create_task(ctx.durable(work, "a"), context=context)
        await gates["a"].reached.wait()
        b = loop.create_task(ctx.durable(work, "b"), context=context)
        await gates["b"].reached.wait()
        gates["a"].open()
        first = await a
        gates["b"].open()
        ctx.output([first, await b])

    [[first, second]] = await finish(agent_of(act), memory)
    assert first[0] != second[0]
    assert first[1]
    assert second[1]


@pytest.mark.every_loop
async def test_a_task_in_the_context_of_a_running_call_may_use_the_context(
    memory: InMemoryStore,
) -> None:
    """It shares the other task's context object, not its durable function."""
    gate, calls = Gate(), Calls()

    async def hold() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        context = copy_context()
        loop = asyncio.get_running_loop()

        async def branch() -> int:
            return await ctx.durable(calls.double, 1)

        held = loop.create_task(ctx.durable(hold), context=context)
        await gate.reached.wait()
        ctx.output(await loop.create_task(branch(), context=context))
        gate.open()
        await held

    assert await finish(agent_of(act), memory) == [2]


async def test_a_callback_may_not_use_the_context(memory: InMemoryStore) -> None:
    """It runs outside any task step, though in the action's own contextvars."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        outcome = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                ctx.durable(calls.double, 1)  # type: ignore[unused-coroutine]  # refused
            except OutsideActionError as error:
                outcome.set_result(error.verb)

        asyncio.get_running_loop().call_soon(callback)
        ctx.output(await outcome)

    assert await finish(agent_of(act), memory) == ["durable"]
    assert calls.made == []


async def test_a_task_from_another_thread_may_not_use_the_context(
    memory: InMemoryStore,
) -> None:
    """`run_coroutine_threadsafe` starts it in a callback of the loop."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        loop = asyncio.get_running_loop()

        async def stray() -> str:
            try:
                await ctx.durable(calls.double, 1)
            except OutsideActionError as error:
                return error.hint
            return "not refused"

        def start() -> str:
            return asyncio.run_coroutine_threadsafe(stray(), loop).result()

        ctx.output(await asyncio.to_thread(start))

    [hint] = await finish(agent_of(act), memory)
    assert "no task of action 'act'" in hint
    assert calls.made == []


async def test_a_generator_that_the_garbage_collector_closes_may_not_use_the_context(
    memory: InMemoryStore,
) -> None:
    """Even when that happens while another action makes a step."""
    calls, refused = Calls(), list[str]()
    loose: list[AsyncIterator[int]] = []
    opened, collected = asyncio.Event(), asyncio.Event()

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                try:
                    await ctx.durable(calls.double, 1)
                except OutsideActionError as error:
                    refused.append(error.hint)
                collected.set()

        if event.input == "leaky":
            loose.append(numbers())
            await anext(loose[0])
            opened.set()
            await collected.wait()
        else:
            loose.clear()
            gc.collect()
            await collected.wait()
            ctx.output(await ctx.durable(calls.double, 2))

    async with life(agent_of(act), memory) as worker:
        leaky = await worker.submit("leaky")
        await opened.wait()
        other = await worker.submit("other")
        assert await other.result() == [4]
        await leaky.result()
    assert "aclosing" in refused[0]
    assert calls.made == [2]


async def test_the_context_of_another_action_is_refused(memory: InMemoryStore) -> None:
    """A context that leaks from one run to another does nothing there."""
    calls, leaked, gate = Calls(), list[RunnerContext](), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        if event.input == "lender":
            leaked.append(ctx)
            await gate.wait()
        else:
            with pytest.raises(OutsideActionError, match="the caller to another action"):
                await leaked[0].durable(calls.double, 1)
            with pytest.raises(OutsideActionError):
                leaked[0].output(1)

    async with life(agent_of(act), memory) as worker:
        await worker.submit("lender")
        await gate.reached.wait()
        borrower = await worker.submit("borrower")
        assert await borrower.result() == []
    assert calls.made == []


# --- the end of a run inside structured concurrency -----------------------------------------


@pytest.mark.parametrize("kind", ["TaskGroup", "gather", "anyio", "root"])
async def test_a_call_that_parks_its_run_may_be_anywhere(
    memory: InMemoryStore, kind: str
) -> None:
    """Whatever wraps the interrupt on its way out, the run is parked and the worker lives."""
    gate, other = Gate(), Gate()

    @durable(on_interrupt="ask")
    async def pay() -> None:
        await gate.wait()

    async def hold() -> None:
        await other.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        if event.input != 1:
            ctx.output("fine")
        elif kind == "TaskGroup":
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.durable(hold))
                group.create_task(ctx.durable(pay))
        elif kind == "gather":
            await asyncio.gather(ctx.durable(hold), ctx.durable(pay))
        elif kind == "anyio":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ctx.durable, hold)
                tasks.start_soon(ctx.durable, pay)
        else:
            held = asyncio.ensure_future(ctx.durable(hold))
            await ctx.durable(pay)
            await held

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    async with life(agent, memory) as worker:
        run = await worker.submit(1, id="run")
        with pytest.raises(RunParkedError, match="in doubt"):
            await run.result()
        another = await worker.submit(2)
        assert await another.result() == ["fine"]
    assert not [e for e in await entries(memory) if isinstance(e, CallAbandoned)]


async def test_a_branch_that_goes_on_after_the_worker_stopped_does_no_harm(
    memory: InMemoryStore,
) -> None:
    """It swallows its cancellation and is told by RunAborted, which a TaskGroup wraps."""
    gate, calls = Gate(), Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def stubborn() -> None:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                await ctx.durable(calls.double, 1)

        async with asyncio.TaskGroup() as group:
            group.create_task(stubborn())
        ctx.output("done")

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    assert calls.made == []
    assert await finish(agent, memory) == ["done"]


@pytest.mark.parametrize("grace", [0, 5])
@pytest.mark.parametrize("depth", [1, 3])
async def test_a_task_left_behind_is_cancelled_with_a_warning(
    memory: InMemoryStore, depth: int, grace: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Its call is abandoned, the action completes."""
    gate = Gate()

    async def slow() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def nested(level: int) -> None:
            if level == 0:
                await ctx.durable(slow)
            else:
                await asyncio.gather(nested(level - 1))

        asyncio.get_running_loop().create_task(nested(depth), name="left over")
        await gate.reached.wait()
        ctx.output("done")

    settings = WorkerSettings(shutdown_grace_seconds=grace)
    assert await finish(agent_of(act), memory, settings) == ["done"]
    assert "ended before its tasks did; they are cancelled" in caplog.text
    assert "left over" in caplog.text
    assert "ignore their cancellation" not in caplog.text
    assert [e for e in await entries(memory) if isinstance(e, CallAbandoned)]


async def test_a_call_given_up_in_the_pass_in_which_its_store_fails_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both happen at once: no error is left for the loop to complain about."""
    store, calls = HeldStore(), Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        if store.held is None:
            ctx.output("second start")
            return
        task = asyncio.ensure_future(ctx.durable(calls.double, 1))
        while not store.held:  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0)
        held, store.held = store.held, None
        held[0].set_exception(StoreUnavailableError("held", "the disk is away"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        ctx.output("first start")

    async with asyncio.timeout(5):
        await finish(agent_of(act), store)
    assert "InvalidStateError" not in caplog.text


async def test_a_failing_branch_fails_the_run_with_its_group(memory: InMemoryStore) -> None:
    """The siblings are cancelled, as TaskGroup promises."""
    calls, gate = Calls(), Gate()

    async def slow() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.durable(slow))
            group.create_task(ctx.durable(calls.refuse, "no"))

    with pytest.raises(RunFailedError) as caught:
        await finish(agent_of(act), memory)
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert isinstance(group.exceptions[0], ValueError)


# --- other factories, other loops -----------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
@SEEDS
async def test_eager_tasks_race_the_same_way(memory: InMemoryStore, seed: int) -> None:
    """Their first step is made before `create_task` returns."""
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined,unused-ignore]
    asyncio.get_running_loop().set_task_factory(factory)

    async def race(ctx: RunnerContext, work: Shuffled, see: See) -> None:
        async def branch(name: str) -> None:
            for step in range(2):
                await see(await ctx.durable(work.work, f"{name}{step}"))

        await asyncio.gather(*map(branch, "abcd"))

    await same_in_each_life(memory, seed, race)
    assert asyncio.get_running_loop().get_task_factory() is factory


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_an_eager_task_may_park_its_run(memory: InMemoryStore) -> None:
    """Its parent is in the middle of a step when it is cancelled."""
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined,unused-ignore]
    asyncio.get_running_loop().set_task_factory(factory)
    gate = Gate()

    @durable(on_interrupt="ask")
    async def pay() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await asyncio.gather(ctx.durable(pay))

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    async with asyncio.timeout(5):
        with pytest.raises(RunParkedError):
            await finish(agent, memory)


async def test_an_action_runs_on_a_loop_in_debug_mode(memory: InMemoryStore) -> None:
    """asyncio then looks into the coroutine of each task."""
    calls = Calls()
    asyncio.get_running_loop().set_debug(True)

    async def act(event: Any, ctx: RunnerContext) -> None:
        task = asyncio.ensure_future(ctx.durable(calls.double, 1))
        assert "durable" in repr(task)
        task.get_stack()
        ctx.output(await asyncio.gather(task, ctx.durable(calls.double, 2)))

    assert await finish(agent_of(act), memory, AT_ONCE) == [[2, 4]]


async def test_threads_of_the_action_are_refused(memory: InMemoryStore) -> None:
    """A thread that the action starts by itself is nobody's branch."""
    refused: list[str] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        def stray() -> None:
            try:
                ctx.output(1)
            except OutsideActionError as error:
                refused.append(error.verb)

        await asyncio.to_thread(stray)
        thread = threading.Thread(target=stray)
        thread.start()
        await asyncio.to_thread(thread.join)

    assert await finish(agent_of(act), memory) == []
    assert refused == ["send", "send"]
