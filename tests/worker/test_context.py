"""What an action may do with its context, where, and what it is told on replay."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from durable_agents import (
    Agent,
    EncodeError,
    Event,
    EventRecord,
    ForbiddenInDurableCallError,
    InMemoryStore,
    InputEvent,
    OutputEvent,
    OutsideActionError,
    RunAborted,
    RunFailedError,
    RunnerContext,
    Store,
    WorkerSettings,
    durable,
)
from durable_agents.journal import ActionCompleted
from tests.worker._kit import (
    Calls,
    FakeClock,
    Gate,
    agent_of,
    entries,
    finish,
    interrupt,
    life,
    passes,
)


class Scored(Event):
    """An event between two actions."""

    score: int


VERBS: dict[str, Callable[[RunnerContext], object]] = {
    "durable": lambda ctx: ctx.durable(len, "x"),
    "durable_sync": lambda ctx: ctx.durable_sync(len, "x"),
    "send": lambda ctx: ctx.send(Scored(score=1)),
    "output": lambda ctx: ctx.output(1),
    "read": lambda ctx: ctx.short_term_memory.get("a"),
    "write": lambda ctx: ctx.sensory_memory.set("a", 1),
    "now": lambda ctx: ctx.now(),
    "random": lambda ctx: ctx.random.random(),
    "uuid4": lambda ctx: ctx.uuid4(),
}
EVERY_VERB = pytest.mark.parametrize("verb", VERBS)


# --- where it is refused --------------------------------------------------------------------


@EVERY_VERB
@pytest.mark.parametrize("place", ["function", "child task", "thread", "reconciler"])
async def test_nothing_is_allowed_inside_a_durable_function(
    memory: InMemoryStore, verb: str, place: str
) -> None:
    """A replay skips its body: what it did with the context would be lost."""
    gate, contexts = Gate(), list[RunnerContext]()

    async def in_function() -> str:
        try:
            VERBS[verb](contexts[-1])
        except ForbiddenInDurableCallError as error:
            return error.function.rpartition(".")[2]
        return "not refused"

    async def in_child_task() -> str:
        return await asyncio.get_running_loop().create_task(in_function())

    def in_thread() -> str:
        try:
            VERBS[verb](contexts[-1])
        except ForbiddenInDurableCallError as error:
            return error.function.rpartition(".")[2]
        return "not refused"

    @durable(reconciler=in_function)
    async def reconciled() -> str:
        await gate.wait()
        return "not reached"

    functions: dict[str, Any] = {
        "function": in_function,
        "child task": in_child_task,
        "thread": in_thread,
        "reconciler": reconciled,
    }

    async def act(event: Any, ctx: RunnerContext) -> None:
        contexts.append(ctx)
        ctx.output(await ctx.durable(functions[place]))

    agent = agent_of(act)
    if place == "reconciler":
        await interrupt(agent, memory, gate)

    assert await finish(agent, memory) == [functions[place].__name__]


@EVERY_VERB
async def test_nothing_is_allowed_after_the_action_has_ended(
    memory: InMemoryStore, verb: str
) -> None:
    """Neither outside nor in a task that outlived it."""
    contexts: list[RunnerContext] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        contexts.append(ctx)

    async with life(agent_of(act), memory) as worker:
        run = await worker.submit(1)
        await run.result()
        with pytest.raises(OutsideActionError, match="has ended"):
            VERBS[verb](contexts[0])


@EVERY_VERB
async def test_once_the_worker_has_stopped_the_run_every_verb_says_so(
    memory: InMemoryStore, verb: str
) -> None:
    """RunAborted, which no `except Exception` swallows; nothing becomes visible."""
    gate, told = Gate(), list[str]()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            try:
                VERBS[verb](ctx)
            except RunAborted as error:
                told.append(error.reason)

    await interrupt(agent_of(act), memory, gate)

    assert told == ["the worker stopped; the run goes on with the next one"]


@EVERY_VERB
async def test_a_plain_action_that_outlives_the_worker_is_told_so(
    memory: InMemoryStore, verb: str
) -> None:
    """Its thread cannot be cancelled: its next use of the context ends it."""
    gate, go_on, told = Gate(), threading.Event(), list[BaseException]()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def act(event: Any, ctx: RunnerContext) -> None:
        loop.call_soon_threadsafe(gate.reached.set)
        go_on.wait()
        try:
            VERBS[verb](ctx)
        except BaseException as error:  # noqa: BLE001 - whatever it is
            told.append(error)
        loop.call_soon_threadsafe(ended.set)

    agent = Agent("plain").add_action("act", InputEvent, act)
    await interrupt(agent, memory, gate)
    go_on.set()
    await ended.wait()

    assert [type(error) for error in told] == [RunAborted]


async def test_an_action_cannot_swallow_the_end_of_its_run(memory: InMemoryStore) -> None:
    """Even `except BaseException` completes nothing."""
    gate = Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await gate.wait()
        except BaseException:  # noqa: BLE001 - the careless author
            return
        ctx.output("done")

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    assert await finish(agent, memory) == ["done"]


# --- events ---------------------------------------------------------------------------------


@pytest.mark.rows("OP-30")
async def test_the_event_that_fired_the_action_cannot_be_sent(memory: InMemoryStore) -> None:
    """The error names the action and the event; what was sent before is lost with the run."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.send(Scored(score=1))
        ctx.send(event)

    with pytest.raises(RunFailedError, match=r"'act' sent the very event.*run/input"):
        await finish(agent_of(act), memory)
    assert not [e for e in await entries(memory) if isinstance(e, ActionCompleted)]


async def test_only_events_are_sent(memory: InMemoryStore) -> None:
    """The error says what to use for a value."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        wrong: Any = 1
        with pytest.raises(TypeError, match="use output for a value"):
            ctx.send(wrong)

    await finish(agent_of(act), memory)


async def test_an_output_that_cannot_be_recorded_is_refused_where_it_is_made(
    memory: InMemoryStore,
) -> None:
    """Not when the action completes: the traceback shows the line."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(EncodeError, match="lock"):
            ctx.output(threading.Lock())
        ctx.output("fine")

    assert await finish(agent_of(act), memory) == ["fine"]


async def test_what_was_sent_is_what_it_was_then(memory: InMemoryStore) -> None:
    """Changing it afterwards changes nothing."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        items = [1]
        ctx.output(items)
        items.append(2)

    assert await finish(agent_of(act), memory) == [[1]]


@pytest.mark.rows("GAP-04", "OP-25")
async def test_events_sent_before_and_after_a_call_come_out_once(store: Store) -> None:
    """Sent, returned, returned in a list: in order, after a restart in between too."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> list[Event]:
        ctx.output("first")
        await ctx.durable(calls.double, 1)
        await gate.wait()
        ctx.send(OutputEvent(output="second"))
        return [OutputEvent(output="third"), Scored(score=7)]

    async def report(event: Scored, ctx: RunnerContext) -> Event:
        return OutputEvent(output=event.score)

    agent = agent_of(act).add_action("report", Scored, report)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == ["first", "second", "third", 7]


@pytest.mark.rows("RV-05", "OP-29", "GAP-05", "EV-04")
async def test_ids_and_lineage_are_the_same_on_replay(store: Store) -> None:
    """Distinct for each occurrence, equal events too, from whatever branch."""
    calls, gate = Calls(), Gate()
    lives: list[list[EventRecord]] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def branch(number: int) -> None:
            await ctx.durable(calls.double, number)
            ctx.send(Scored(score=1))

        ctx.send(Scored(score=1))
        await asyncio.gather(branch(1), branch(2))
        ctx.send(Scored(score=1))

    async def report(event: Scored, ctx: RunnerContext) -> None:
        lives[-1].append(ctx.trigger)
        if len(lives[-1]) == 4:
            await gate.wait()
            ctx.output(ctx.trigger.id)

    agent = agent_of(act).add_action("report", Scored, report)
    lives.append([])
    await interrupt(agent, store, gate)
    lives.append([])
    await finish(agent, store)

    live, replayed = lives
    assert len({record.id for record in live}) == 4
    assert replayed == live[3:]
    for record in live:
        assert (record.upstream_event_id, record.upstream_action) == ("run/input", "act")
        assert (record.type, record.key) == (Scored.type_name(), "key")


async def test_event_ids_do_not_depend_on_which_branch_was_faster(
    memory: InMemoryStore,
) -> None:
    """They come from the place of the `send`, not from a count over the run."""
    seen: list[dict[int, str]] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def branch(number: int) -> None:
            await passes(number if event.input == "rising" else 5 - number)
            ctx.send(Scored(score=number))

        await asyncio.gather(*map(branch, range(5)))

    async def report(event: Scored, ctx: RunnerContext) -> None:
        seen[-1][event.score] = ctx.trigger.id

    agent = agent_of(act).add_action("report", Scored, report)
    for value in ("rising", "falling"):
        seen.append({})
        await finish(agent, InMemoryStore(), value=value)

    assert seen[0] == seen[1]


# --- what it tells --------------------------------------------------------------------------


@pytest.mark.rows("OP-23")
async def test_the_context_tells_who_and_where_it_is(memory: InMemoryStore) -> None:
    """Trigger, key, run id and the action's own configuration."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        assert ctx.trigger.event == event == InputEvent(input=1)
        assert (ctx.trigger.id, ctx.trigger.upstream_event_id) == ("run/input", None)
        assert (ctx.key, ctx.run_id, dict(ctx.config)) == ("key", "run", {"mode": "strict"})
        ctx.output("told")

    assert await finish(agent_of(act, mode="strict"), memory) == ["told"]


async def test_time_and_chance_come_again(store: Store) -> None:
    """The same in each life, another one in each branch."""
    calls, gate = Calls(), Gate()
    lives: list[list[Any]] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen: list[Any] = []
        lives.append(seen)

        async def branch(number: int) -> None:
            seen.append((number, ctx.now(), ctx.random.random(), ctx.uuid4()))
            await ctx.durable(calls.double, number)
            seen.append((number, ctx.now(), ctx.random.random(), ctx.uuid4()))

        seen.append((0, ctx.now(), ctx.random.random(), ctx.uuid4()))
        await asyncio.gather(branch(1), branch(2))
        await branch(3)
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await finish(agent, store, clock=FakeClock(5_000_000.0))

    live, replayed = lives
    assert live == replayed
    assert len({chance for _, _, chance, _ in live}) == len(live)
    assert all(uuid.version == 4 for *_, uuid in live)
    assert all(now.tzinfo is UTC for _, now, *_ in live)


async def test_a_clock_that_goes_backwards_tells_the_same_time_again(
    memory: InMemoryStore,
) -> None:
    """An administrator set the clock back between two calls."""
    calls, gate, clock = Calls(), Gate(), FakeClock()
    lives: list[list[datetime]] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen: list[datetime] = []
        lives.append(seen)
        for number in range(3):
            await ctx.durable(calls.double, number)
            seen.append(ctx.now())
            clock.at -= 1000
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, memory, gate, clock=clock)
    await finish(agent, memory)

    assert lives[0] == lives[1]


async def test_other_runs_have_other_chances(memory: InMemoryStore) -> None:
    """Seeded by run, action and branch."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output([ctx.random.random(), str(ctx.uuid4())])

    agent = agent_of(act).add_action("again", InputEvent, act)
    async with life(agent, memory) as worker:
        runs = [await worker.submit(1) for _ in range(2)]
        drawn = [one for run in runs for one in await run.result()]
    assert len({str(one) for one in drawn}) == 4


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_the_logger_is_quiet_while_replaying(
    memory: InMemoryStore, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was said in an earlier life is not said again."""
    calls, gate = Calls(), Gate()
    go_on = threading.Event()
    loop = asyncio.get_running_loop()
    caplog.set_level(logging.INFO, logger="durable_agents.action")
    replaying: list[bool] = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.logger.info("one")
        replaying.append(ctx.is_replaying)
        await ctx.durable(calls.double, 1)
        ctx.logger.info("two")
        await gate.wait()
        ctx.logger.info("three")

    def plain(event: Any, ctx: RunnerContext) -> None:
        ctx.logger.info("one")
        replaying.append(ctx.is_replaying)
        ctx.durable_sync(calls.double, 1)
        ctx.logger.info("two")
        loop.call_soon_threadsafe(gate.reached.set)
        go_on.wait()
        ctx.logger.info("three")

    agent = (
        agent_of(act) if kind == "async" else Agent("p").add_action("act", InputEvent, plain)
    )
    await interrupt(agent, memory, gate)
    first = [record.getMessage() for record in caplog.records if record.name.endswith("action")]
    caplog.clear()
    go_on.set()
    await passes(5)
    await finish(agent, memory)
    second = [
        record.getMessage() for record in caplog.records if record.name.endswith("action")
    ]

    assert first == ["one", "two"]
    assert [text for text in second if text != "three"] == ["two"]
    assert replaying == [False, True]


async def test_the_logger_knows_run_key_and_action(
    memory: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """As attributes of the record, for whoever formats it."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.logger.warning("hello")

    await finish(agent_of(act), memory)
    [record] = [r for r in caplog.records if r.name == "durable_agents.action"]
    names = vars(record)
    assert (names["run_id"], names["key"], names["action"]) == ("run", "key", "act")


# --- plain actions --------------------------------------------------------------------------


@pytest.mark.rows("DE-05", "AX-05")
async def test_a_plain_action_calls_durably_from_its_thread(store: Store) -> None:
    """Also from a function that it calls; exceptions come through, restarts replay."""
    calls, gate, go_on = Calls(), Gate(), threading.Event()
    loop = asyncio.get_running_loop()

    def helper(ctx: RunnerContext, number: int) -> int:
        return ctx.durable_sync(calls.double, number)

    def act(event: Any, ctx: RunnerContext) -> Event:
        assert threading.current_thread() is not threading.main_thread()
        first = helper(ctx, 1)
        try:
            ctx.options(name="refuses").durable_sync(calls.refuse, "no")
        except ValueError as error:
            ctx.output(f"Caught: {error}")
        ctx.output(ctx.durable_sync(len, "four"))
        loop.call_soon_threadsafe(gate.reached.set)
        go_on.wait()
        ctx.short_term_memory.set("first", first)
        return OutputEvent(output=ctx.short_term_memory.get("first"))

    agent = Agent("plain").add_action("act", InputEvent, act)
    await interrupt(agent, store, gate)
    go_on.set()

    assert await finish(agent, store) == ["Caught: no", 4, 2]
    assert calls.made == [1, "no"]


async def test_durable_sync_is_refused_on_the_loop(memory: InMemoryStore) -> None:
    """It would block the loop that has to carry it out."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(OutsideActionError, match=r"await ctx\.durable"):
            ctx.durable_sync(len, "x")

    await finish(agent_of(act), memory)


async def test_a_thread_that_a_plain_action_starts_is_refused(memory: InMemoryStore) -> None:
    """Even when it runs in a copy of the action's contextvars."""
    refused: list[str] = []

    def act(event: Any, ctx: RunnerContext) -> None:
        def stray() -> None:
            try:
                ctx.durable_sync(len, "x")
            except OutsideActionError as error:
                refused.append(error.verb)

        thread = threading.Thread(target=contextvars.copy_context().run, args=(stray,))
        thread.start()
        thread.join()

    await finish(Agent("plain").add_action("act", InputEvent, act), memory)
    assert refused == ["durable_sync"]


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), KeyError(1)])
async def test_what_a_plain_action_raises_fails_its_run(
    memory: InMemoryStore, error: Exception
) -> None:
    """StopIteration too, which a future refuses."""

    def act(event: Any, ctx: RunnerContext) -> None:
        raise error

    agent = Agent("plain").add_action("act", InputEvent, act)
    async with asyncio.timeout(5):
        with pytest.raises(RunFailedError, match=type(error).__name__):
            await finish(agent, memory)


async def test_a_thread_that_raises_stop_iteration_fails_its_call(
    memory: InMemoryStore,
) -> None:
    """As a coroutine that raises it does."""

    def exhausted() -> None:
        next(iter(()))

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await ctx.durable(exhausted)

    await finish(agent_of(act), memory)


async def test_plain_actions_wait_for_plain_functions_without_a_standstill(
    memory: InMemoryStore,
) -> None:
    """One pool for both would come to one."""

    def work(number: int) -> int:
        return number

    def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(ctx.durable_sync(work, event.input))

    agent = Agent("plain").add_action("act", InputEvent, act)
    settings = WorkerSettings(num_sync_threads=1)
    async with life(agent, memory, settings) as worker:
        runs = [await worker.submit(n) for n in range(20)]
        assert [await run.result() for run in runs] == [[n] for n in range(20)]


async def test_a_plain_action_is_interrupted_in_its_call(memory: InMemoryStore) -> None:
    """The thread leaves with RunAborted; the call runs again in the next life."""
    gate, left, has_left = Gate(), list[type](), threading.Event()

    async def slow() -> str:
        await gate.wait()
        return "done"

    def act(event: Any, ctx: RunnerContext) -> None:
        try:
            ctx.output(ctx.durable_sync(slow))
        except BaseException as error:
            left.append(type(error))
            has_left.set()
            raise

    agent = Agent("plain").add_action("act", InputEvent, act)
    await interrupt(agent, memory, gate)

    assert await finish(agent, memory) == ["done"]
    assert await asyncio.to_thread(has_left.wait, 10)
    assert left == [RunAborted]
