"""One durable call through its lives: the decision table, and what its caller gets."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from durable_agents import (
    CallFailedError,
    CallTimeoutError,
    Codec,
    DefinitionError,
    EncodeError,
    InDoubtError,
    InMemoryStore,
    NotExecuted,
    PayloadTooLargeError,
    ReconcilerUnavailable,
    RetriesExhaustedError,
    RetryPolicy,
    RunFailedError,
    RunnerContext,
    RunParkedError,
    Store,
    StoreUnavailableError,
    TerminalError,
    UnsupportedCallableError,
    WorkerSettings,
    current_call,
    durable,
)
from durable_agents.journal import (
    ActionStarted,
    CallAbandoned,
    CallBegun,
    CallRetried,
    CallsCleared,
    CallSettled,
)
from durable_agents.store import NewRun, Write
from tests.worker._kit import (
    AT_ONCE,
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


@dataclass
class Receipt:
    """A value of our own."""

    total: Decimal
    items: tuple[str, ...]


class DeclinedError(Exception):
    """An exception with a constructor of its own and more than it was given."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.details = {"text": text}


class FalseError(Exception):
    """An exception that is false."""

    def __bool__(self) -> bool:
        return False


@pytest.mark.rows("RV-01", "DX-01", "DC-02", "GAP-03")
async def test_a_settled_call_is_not_executed_again(store: Store) -> None:
    """Start, then Replay: succeeded."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(calls.double, 21)
        await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == [42]
    assert calls.made == [21]
    assert gate.visits == 2


async def test_a_recorded_error_of_a_store_is_not_taken_for_one_of_ours(store: Store) -> None:
    """A function may use a store itself, and raise what that raises."""
    gate = Gate()

    async def look_up() -> None:
        path = "theirs.db"
        raise StoreUnavailableError(path, "it is away")

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(look_up)
        except StoreUnavailableError as error:
            await gate.wait()
            ctx.output([error.problem, *getattr(error, "__notes__", [])])

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert [["it is away"]] == await finish(agent, store)


@pytest.mark.rows("RV-07", "DC-08", "DE-04")
async def test_a_recorded_failure_is_raised_again_and_not_retried(store: Store) -> None:
    """Start, then Replay: failed."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(calls.refuse, "no")
        except ValueError as error:
            await gate.wait()
            ctx.output(f"Caught: {error}")

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == ["Caught: no"]
    assert calls.made == ["no"]


@pytest.mark.rows("GAP-02")
async def test_none_is_a_result_like_any_other(store: Store) -> None:
    """A replay tells "returned None" from "nothing recorded"."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(calls.echo, None)
        await gate.wait()
        ctx.output([value])

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == [[None]]
    assert calls.made == [None]


@pytest.mark.parametrize(
    ("options", "executed"),
    [
        ({}, 2),
        ({"on_interrupt": "rerun"}, 2),
        ({"reconciler": lambda: "looked up"}, 1),
    ],
    ids=["nothing declared", "rerun", "reconciler"],
)
async def test_an_interrupted_call_goes_on_as_declared(
    store: Store, options: dict[str, Any], executed: int
) -> None:
    """Resume: run again, or ask the reconciler."""
    gate = Gate()

    @durable(name="charge", **options)
    async def charge() -> str:
        await gate.wait()
        return "charged"

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(charge))

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == ["charged" if executed == 2 else "looked up"]
    assert gate.visits == executed


async def test_an_interrupted_call_that_must_not_repeat_fails_in_doubt(store: Store) -> None:
    """Resume with on_interrupt="fail"; the failure is recorded and comes again."""
    gate, second = Gate(), Gate()

    @durable(on_interrupt="fail")
    async def charge() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(charge)
        except InDoubtError as error:
            await second.wait()
            ctx.output(error.place)

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await interrupt(agent, store, second)

    assert await finish(agent, store) == ["root:0"]
    assert gate.visits == 1


async def test_an_interrupted_call_that_asks_parks_its_run(store: Store) -> None:
    """Resume with on_interrupt="ask": a person decides; the action's own `except` does not."""
    gate = Gate()

    @durable(on_interrupt="ask")
    async def charge() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(charge)
        except Exception:  # noqa: BLE001 - the careless author
            ctx.output("swallowed")

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    with pytest.raises(RunParkedError, match=r"charge.*root:0 is in doubt"):
        await finish(agent, store)
    with pytest.raises(RunParkedError, match="in doubt"):
        await finish(agent, store)
    assert gate.visits == 1


@pytest.mark.rows("RC-02", "RC-06", "DX-07", "RV-10")
@pytest.mark.parametrize("kind", ["async", "thread", "arguments"])
async def test_what_the_reconciler_returns_is_the_result(store: Store, kind: str) -> None:
    """Recorded as success: a third life asks nobody."""
    gate, second = Gate(), Gate()
    asked: list[Any] = []

    async def look_up() -> str:
        asked.append(threading.current_thread() is threading.main_thread())
        return "reconciled:order-1"

    def look_up_in_thread() -> str:
        asked.append(threading.current_thread() is not threading.main_thread())
        return "reconciled:order-1"

    async def look_up_order(order: str) -> str:
        asked.append(order == "order-1")
        return f"reconciled:{order}"

    reconcilers: dict[str, Callable[..., Any]] = {
        "async": look_up,
        "thread": look_up_in_thread,
        "arguments": look_up_order,
    }

    @durable(reconciler=reconcilers[kind])
    async def charge(order: str) -> str:
        await gate.wait()
        return f"call:{order}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(charge, "order-1")
        await second.wait()
        ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await interrupt(agent, store, second)

    assert await finish(agent, store) == ["reconciled:order-1"]
    assert asked == [True]
    assert gate.visits == 1


@pytest.mark.rows("RC-03", "RC-07", "RV-11", "GAP-36")
async def test_what_the_reconciler_raises_is_the_failure(store: Store) -> None:
    """Recorded as failure: a third life asks nobody."""
    gate, second = Gate(), Gate()
    asked: list[None] = []

    def look_up() -> None:
        asked.append(None)
        raise ValueError("failed:order-1")  # noqa: EM101 - short

    @durable(reconciler=look_up)
    async def charge() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(charge)
        except ValueError as error:
            await second.wait()
            ctx.output(str(error))

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await interrupt(agent, store, second)

    assert await finish(agent, store) == ["failed:order-1"]
    assert len(asked) == 1
    assert gate.visits == 1


async def test_not_executed_makes_the_call_run(store: Store) -> None:
    """The reconciler knows that it never took effect."""
    gate = Gate()

    def look_up() -> None:
        raise NotExecuted

    @durable(reconciler=look_up)
    async def charge() -> str:
        await gate.wait()
        return "charged"

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(charge))

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == ["charged"]
    assert gate.visits == 2


@pytest.mark.rows("GAP-36")
async def test_a_reconciler_that_cannot_ask_now_is_asked_again(memory: InMemoryStore) -> None:
    """Under the retry policy, and nothing is recorded of it."""
    gate, clock = Gate(), FakeClock()
    asked: list[None] = []

    def look_up() -> str:
        asked.append(None)
        if len(asked) < 3:
            raise ReconcilerUnavailable
        return "looked up"

    policy = RetryPolicy(max_attempts=3, initial=10, factor=2, jitter=0)

    @durable(reconciler=look_up, retry=policy)
    async def charge() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(charge))

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    assert await finish(agent, memory, clock=clock) == ["looked up"]
    assert clock.waited == [10, 20]
    assert gate.visits == 1


@pytest.mark.rows("GAP-36")
async def test_a_reconciler_that_stays_unavailable_fails_the_run_and_records_no_outcome(
    memory: InMemoryStore,
) -> None:
    """The call stays in doubt; an `except` of the action cannot turn it into an outcome."""
    gate = Gate()

    def look_up() -> None:
        raise ReconcilerUnavailable

    @durable(reconciler=look_up)
    async def charge() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(charge)
        except Exception:  # noqa: BLE001 - the careless author
            ctx.output("swallowed")

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    with pytest.raises(RunFailedError) as caught:
        await finish(agent, memory)
    assert isinstance(caught.value.__cause__, ReconcilerUnavailable)
    assert gate.visits == 1
    assert not [e for e in await entries(memory) if isinstance(e, CallSettled)]


@pytest.mark.rows("DX-01")
async def test_a_pending_record_is_written_before_a_guarded_effect(
    memory: InMemoryStore,
) -> None:
    """And before nothing else: a plain call costs one entry."""
    calls = Calls()
    looked = durable(reconciler=lambda: None)(calls_double_of(calls))

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(looked, 1)
        await ctx.durable(calls.double, 2)

    await finish(agent_of(act), memory)

    made = [e for e in await entries(memory) if isinstance(e, CallBegun | CallSettled)]
    assert [(type(e), e.position) for e in made] == [
        (CallBegun, 0),
        (CallSettled, 0),
        (CallSettled, 1),
    ]


def calls_double_of(calls: Calls) -> Callable[[int], Any]:
    async def looked(number: int) -> int:
        return await calls.double(number)

    return looked


# --- divergence -----------------------------------------------------------------------------


@pytest.mark.rows("GAP-12", "DC-04")
@pytest.mark.parametrize("policy", ["protect", "clear"])
async def test_another_call_at_a_recorded_place_drops_what_followed(
    memory: InMemoryStore,
    policy: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Diverged: the readable difference is told, the later calls run again."""
    calls, gate, arguments = Calls(), Gate(), [1, 2, 3]

    async def act(event: Any, ctx: RunnerContext) -> None:
        values = [await ctx.durable(calls.double, number) for number in arguments]
        await gate.wait()
        ctx.output(values)

    agent, settings = (
        agent_of(act),
        WorkerSettings(shutdown_grace_seconds=0, on_divergence=policy),
    )
    await interrupt(agent, memory, gate, settings)
    arguments[1] = 20

    assert await finish(agent, memory, settings) == [[2, 40, 6]]
    assert calls.made == [1, 2, 3, 20, 3]
    assert "recorded double(2) at root:1, now double(20)" in caplog.text
    [cleared] = [e for e in await entries(memory) if isinstance(e, CallsCleared)]
    assert (cleared.branch, cleared.position) == ("", 1)


@pytest.mark.rows("GAP-12", "GAP-37")
async def test_a_call_that_must_not_repeat_is_never_dropped_in_silence(
    memory: InMemoryStore,
) -> None:
    """Diverged under "protect" with a guarded record behind it: parked, nothing executed."""
    calls, gate, first = Calls(), Gate(), [1]
    paid = durable(name="pay", on_interrupt="ask")(calls_double_of(calls))

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(calls.double, first[0])
        ctx.output(await ctx.durable(paid, 2))
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    first[0] = 10

    with pytest.raises(
        RunParkedError, match=r"recorded double\(1\) at root:0, now double\(10\)"
    ):
        await finish(agent, memory)
    assert calls.made == [1, 2]


@pytest.mark.rows("GAP-12")
async def test_a_divergence_parks_where_the_policy_says_so(memory: InMemoryStore) -> None:
    """Diverged under "fail"; with the old code back, nothing was lost."""
    calls, gate, first = Calls(), Gate(), [1]
    settings = WorkerSettings(shutdown_grace_seconds=0, on_divergence="fail")

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(calls.double, first[0])
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, memory, gate, settings)
    first[0] = 10

    with pytest.raises(RunParkedError, match="no longer repeats its calls"):
        await finish(agent, memory, settings)
    assert calls.made == [1]


async def test_a_divergence_after_a_change_of_python_says_so(
    memory: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The code of lambdas differs between versions: who reads the message wants to know."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(calls.double, 10))

    await memory.open("an older Python")
    accepted = NewRun("tested", "key", "run", Codec().encode(1, "input"), 1.0)
    await memory.accept(accepted)
    started = ActionStarted(0, 0, "act", {}, "3.9", 1.0)
    payload = Codec().encode(2, "result")
    settled = CallSettled(0, "", 0, "double", b"1", "1", False, payload, 1, False, 1.0)
    await memory.append(Write(number=1, entries=[started, settled]))
    await memory.close()

    assert await finish(agent_of(act), memory) == [20]
    assert "3.9" in caplog.text


async def test_an_interrupted_call_that_is_no_longer_made_is_dropped_under_clear(
    memory: InMemoryStore,
) -> None:
    """Its reconciler is not asked about another call."""
    gate, orders, asked = Gate(), ["other-order"], list[str]()

    @durable(name="charge", reconciler=asked.append)
    async def charge(order: str) -> str:
        await gate.wait()
        return f"call:{order}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(charge, orders[0]))

    agent = agent_of(act)
    settings = WorkerSettings(shutdown_grace_seconds=0, on_divergence="clear")
    await interrupt(agent, memory, gate, settings)
    orders[0] = "order-1"

    assert await finish(agent, memory, settings) == ["call:order-1"]
    assert asked == []


@pytest.mark.rows("GAP-37")
@pytest.mark.parametrize("is_guarded", [False, True])
async def test_a_record_that_nobody_asked_for_is_reported(
    memory: InMemoryStore, is_guarded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A call was removed from the code: told; parked where it must not be lost."""
    calls, gate, numbers = Calls(), Gate(), [1, 2]
    options: dict[str, Any] = {"on_interrupt": "fail"} if is_guarded else {}
    fn: Any = durable(name="pay", **options)(calls_double_of(calls))

    async def act(event: Any, ctx: RunnerContext) -> None:
        for number in numbers:
            await ctx.durable(fn, number)
        await gate.wait()
        ctx.output("done")

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    numbers.pop()

    if is_guarded:
        with pytest.raises(RunParkedError, match=r"not made: pay\(2\) at root:1"):
            await finish(agent, memory)
    else:
        assert await finish(agent, memory) == ["done"]
        assert "not made: pay(2) at root:1" in caplog.text


@pytest.mark.rows("GAP-07")
async def test_two_lambdas_of_one_scope_are_two_functions(memory: InMemoryStore) -> None:
    """The second never gets the value of the first."""
    gate, second = Gate(), [False]

    async def act(event: Any, ctx: RunnerContext) -> None:
        one, two = (lambda: "first"), (lambda: "second")
        value = await ctx.durable(two if second[0] else one)
        await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    second[0] = True

    assert await finish(agent, memory) == ["second"]


# --- what the caller gets -------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        (1, ("two", [3.0])),
        Receipt(Decimal("1.10"), ("a", "b")),
        {("a", 1): {1, 2}, "b": b"\0"},
        2**70,
        float("inf"),
        True,
        "text",
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_live_value_equals_the_replayed_one(store: Store, value: object) -> None:
    """Same type, same value; a tuple stays a tuple."""
    gate = Gate()
    seen: list[Any] = []

    @durable(key="value")
    async def make() -> Any:
        return value

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen.append(await ctx.durable(make))
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await finish(agent, store)

    assert seen == [value, value]
    assert [type(v) for v in seen] == [type(value)] * 2


@pytest.mark.rows("GAP-32", "GAP-33", "ID-18", "DX-04")
@pytest.mark.parametrize(
    "error",
    [
        DeclinedError(402, "no money"),
        FalseError("false"),
        KeyError("k"),
        ExceptionGroup("g", [ValueError(1)]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_live_exception_equals_the_replayed_one(store: Store, error: Exception) -> None:
    """Type, text and attributes, without calling its constructor."""
    gate = Gate()
    seen: list[Any] = []

    @durable(key="error")
    async def refuse() -> None:
        raise error

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(refuse)
        except Exception as caught:  # noqa: BLE001 - any of them
            seen.append(caught)
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await finish(agent, store)

    live, replayed = seen
    assert type(live) is type(replayed) is type(error)
    assert str(live) == str(replayed) == str(error)
    assert vars(live) == vars(replayed)
    assert vars(error).items() <= vars(live).items()


@pytest.mark.rows("GAP-29")
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_an_argument_that_the_function_changes_changes_no_record(
    store: Store, kind: str
) -> None:
    """The digest is taken before the call."""
    gate, made = Gate(), list[int]()

    @durable(name="extend")
    async def extend(items: list[int]) -> int:
        items.append(99)
        made.append(len(items))
        return len(items)

    @durable(name="extend")
    def extend_in_thread(items: list[int]) -> int:
        items.append(99)
        made.append(len(items))
        return len(items)

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(extend if kind == "async" else extend_in_thread, [1, 2])
        await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == [3]
    assert made == [3]


async def test_a_result_that_the_caller_changes_changes_no_record(
    memory: InMemoryStore,
) -> None:
    """What comes back is a copy, live too: the function's own object stays as it was."""
    gate, kept = Gate(), [1]
    seen: list[list[int]] = []

    async def make() -> list[int]:
        return kept

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(make)
        seen.append(list(value))
        value.append(2)
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    await finish(agent, memory)

    assert seen == [[1], [1]]
    assert kept == [1]


async def test_an_argument_that_is_changed_before_the_await_changes_no_identity(
    memory: InMemoryStore,
) -> None:
    """Identity is fixed when `ctx.durable` is called."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        items = [1]
        call = ctx.durable(calls.echo, items)
        items.append(gate.visits)
        await call
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, memory, gate)
    await finish(agent, memory)

    assert len(calls.made) == 1


@pytest.mark.rows("GAP-31", "AX-05", "DE-02", "DE-06")
async def test_functions_of_every_kind_can_be_called(store: Store) -> None:
    """async, plain, partial, method, callable object, keyword arguments."""
    from functools import partial  # noqa: PLC0415 - the subject

    def add(number: int, more: int = 0) -> int:
        return number + more

    class Triple:
        async def __call__(self, number: int) -> int:
            return 3 * number

    def wrapped(number: int) -> Any:
        return Calls().double(number)

    async def act(event: Any, ctx: RunnerContext) -> None:
        first = await ctx.durable(add, 2, more=5)
        second = await ctx.durable(partial(add, more=100), first)
        third = await ctx.options(name="triple").durable(Triple(), second)
        fourth = await ctx.durable(wrapped, third)
        ctx.output([first, second, third, fourth])

    assert await finish(agent_of(act), store) == [[7, 107, 321, 642]]


# --- what cannot be recorded ----------------------------------------------------------------


@pytest.mark.rows("GAP-31", "GAP-11")
@pytest.mark.parametrize("is_caught", [False, True])
async def test_a_result_that_cannot_be_recorded_fails_the_run(
    memory: InMemoryStore, is_caught: bool
) -> None:
    """The effect took place and is not on record: the run is never reported as done."""

    async def make() -> Any:
        return threading.Lock()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(make)
        except EncodeError:
            if not is_caught:
                raise
        ctx.output("done")

    with pytest.raises(RunFailedError) as caught:
        await finish(agent_of(act), memory)
    assert isinstance(caught.value.__cause__, EncodeError)
    assert "the result of" in str(caught.value.__cause__)
    assert "make" in str(caught.value.__cause__)


async def test_a_result_that_is_too_large_fails_the_run(memory: InMemoryStore) -> None:
    """The error names the call, the size and the limit."""

    async def make() -> bytes:
        import os  # noqa: PLC0415 - one use

        return os.urandom(5000)

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(make)

    settings = WorkerSettings(shutdown_grace_seconds=0, max_payload_bytes=4000)
    with pytest.raises(RunFailedError) as caught:
        await finish(agent_of(act), memory, settings)
    error = caught.value.__cause__
    assert isinstance(error, PayloadTooLargeError)
    assert (error.limit, error.size > 5000) == (4000, True)


async def test_a_failure_that_is_too_large_fails_its_run_and_not_the_worker(
    memory: InMemoryStore,
) -> None:
    """Whatever the limit, there is room for why a run failed."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        if event.input == "die":
            raise ValueError("x" * 10_000)
        ctx.output("fine")

    settings = WorkerSettings(shutdown_grace_seconds=0, max_payload_bytes=1000)
    async with life(agent_of(act), memory, settings) as worker:
        run = await worker.submit("die")
        other = await worker.submit("live")
        with pytest.raises(RunFailedError):
            await run.result()
        assert await other.result() == ["fine"]


async def test_an_argument_without_a_stable_form_surfaces_at_the_await(
    memory: InMemoryStore,
) -> None:
    """Nothing has run: the action may catch it and go on."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        call = ctx.durable(calls.echo, threading.Lock())
        with pytest.raises(EncodeError, match="argument 'value' of echo"):
            await call
        ctx.output(await ctx.options(key="a lock").durable(len, [threading.Lock()]))

    assert await finish(agent_of(act), memory) == [1]
    assert calls.made == []


async def test_a_function_without_a_name_is_refused_with_the_remedy(
    memory: InMemoryStore,
) -> None:
    """Its calls could not be recognized after a crash."""

    class Nameless:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __call__(self) -> int:
            return 1

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises((EncodeError, UnsupportedCallableError), match="name="):
            await ctx.durable(Nameless())
        ctx.output(await ctx.options(name="nameless").durable(Nameless()))

    assert await finish(agent_of(act), memory) == [1]


async def test_wrong_arguments_are_a_type_error_at_the_await(memory: InMemoryStore) -> None:
    """As when the function is called directly."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        wrong: Any = calls.double
        with pytest.raises(TypeError, match="too many positional"):
            await ctx.durable(wrong, 1, 2)

    await finish(agent_of(act), memory)
    assert calls.made == []


# --- retries --------------------------------------------------------------------------------

POLICY = RetryPolicy(max_attempts=4, initial=1, factor=2, jitter=0)


async def test_a_failed_attempt_is_followed_by_another_one_after_its_wait(
    memory: InMemoryStore,
) -> None:
    """The clock that was handed in is what waits."""
    clock, attempts = FakeClock(), list[int]()

    @durable(retry=POLICY)
    async def flaky() -> str:
        attempts.append(current_call().attempt)
        if len(attempts) < 3:
            raise ConnectionError
        return "up"

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(flaky))

    assert await finish(agent_of(act), memory, clock=clock) == ["up"]
    assert attempts == [1, 2, 3]
    assert clock.waited == [1, 2]


@pytest.mark.rows("GAP-15")
async def test_attempts_are_counted_over_all_lives(store: Store) -> None:
    """The worker is left during the wait after each attempt; the budget holds."""
    attempts: list[int] = []

    @durable(retry=POLICY)
    async def broken() -> None:
        attempts.append(current_call().attempt)
        raise ConnectionError(len(attempts))

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(broken)

    agent = agent_of(act)
    for _ in range(3):
        clock = FakeClock(sleeps=False)
        async with life(agent, store, clock=clock) as worker:
            await worker.submit(1, key="key", id="run")
            await clock.is_asleep.wait()

    with pytest.raises(RunFailedError) as caught:
        await finish(agent, store)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert attempts == [1, 2, 3, 4]


async def test_a_budget_that_shrank_below_the_attempts_made_is_exhausted(
    memory: InMemoryStore,
) -> None:
    """The function is not executed once more to find out."""
    attempts: list[None] = []
    policies = [POLICY]

    async def broken() -> None:
        attempts.append(None)
        raise ConnectionError

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.options(retry=policies[0]).durable(broken)

    agent, clock = agent_of(act), FakeClock(sleeps=False)
    async with life(agent, memory, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await clock.is_asleep.wait()
    policies[0] = RetryPolicy(max_attempts=1)

    with pytest.raises(RunFailedError) as caught:
        await finish(agent, memory)
    assert isinstance(caught.value.__cause__, RetriesExhaustedError)
    assert len(attempts) == 1


@pytest.mark.parametrize("error", [TerminalError("no use"), KeyError("not listed")])
async def test_what_is_not_worth_a_retry_is_not_retried(
    memory: InMemoryStore, error: Exception
) -> None:
    """TerminalError never, others where `retry_on` does not list them."""
    attempts: list[None] = []
    policy = RetryPolicy(max_attempts=5, retry_on=(OSError, TerminalError))

    @durable(retry=policy)
    async def broken() -> None:
        attempts.append(None)
        raise error

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(type(error)):
            await ctx.durable(broken)

    await finish(agent_of(act), memory)
    assert len(attempts) == 1


async def test_the_jitter_is_the_same_for_the_same_run(memory: InMemoryStore) -> None:
    """It comes from the run's own seeded source, and takes nothing from `ctx.random`."""
    waits, chances = list[list[float]](), list[float]()

    @durable(name="broken", retry=RetryPolicy(max_attempts=3, jitter=0.5))
    async def broken() -> None:
        raise ConnectionError

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(ConnectionError):
            await ctx.durable(broken)
        chances.append(ctx.random.random())

    for _ in range(2):
        clock = FakeClock()
        await finish(agent_of(act), InMemoryStore(), clock=clock)
        waits.append(clock.waited)

    assert waits[0] == waits[1]
    assert waits[0] != [1, 2]
    assert chances[0] == chances[1]


async def test_a_retried_outcome_keeps_its_attempt_on_record(memory: InMemoryStore) -> None:
    """Each failed attempt is an entry of its own."""
    attempts: list[None] = []

    @durable(retry=POLICY)
    async def flaky() -> None:
        attempts.append(None)
        if len(attempts) < 3:
            raise ConnectionError

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(flaky)

    await finish(agent_of(act), memory)
    made = await entries(memory)
    assert [e.attempt for e in made if isinstance(e, CallRetried)] == [1, 2]
    assert [e.attempt for e in made if isinstance(e, CallSettled)] == [3]


# --- timeouts -------------------------------------------------------------------------------

SOON = 1e-9
"""A timeout that has passed when the function first waits: no test waits for it."""


@pytest.mark.rows("GAP-18")
async def test_a_call_that_takes_too_long_fails_with_its_timeout(store: Store) -> None:
    """Also a TimeoutError; recorded, so that no replay waits again."""
    gate, after = Gate(), Gate()

    @durable(timeout=SOON)
    async def slow() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(slow)
        except TimeoutError as error:
            await after.wait()
            ctx.output([type(error) is CallTimeoutError, str(error)])

    agent = agent_of(act)
    await interrupt(agent, store, after)

    [[is_ours, text]] = await finish(agent, store)
    assert is_ours
    assert text.endswith("slow did not finish within 1e-09 s; its effect is in doubt")
    assert gate.visits == 1


async def test_a_thread_that_takes_too_long_keeps_its_place_until_it_returns(
    memory: InMemoryStore,
) -> None:
    """Its late outcome is refused; the next call of its limit waits for it."""
    release, order = threading.Event(), list[str]()

    def slow(name: str) -> str:
        if name == "first":
            release.wait()
        order.append(name)
        return name

    async def act(event: Any, ctx: RunnerContext) -> None:
        limited = ctx.options(limit="one")
        with pytest.raises(CallTimeoutError):
            await ctx.options(limit="one", timeout=SOON).durable(slow, "first")
        second = asyncio.ensure_future(limited.durable(slow, "second"))
        await passes(50)
        assert order == []
        release.set()
        ctx.output(await second)

    settings = WorkerSettings(limits={"one": 1})
    assert await finish(agent_of(act), memory, settings) == ["second"]
    assert order == ["first", "second"]


async def test_a_timeout_of_the_function_itself_is_its_own_failure(
    memory: InMemoryStore,
) -> None:
    """Not mistaken for the declared one."""

    @durable(timeout=60)
    async def slow() -> None:
        msg = "its own"
        raise TimeoutError(msg)

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(TimeoutError, match="its own") as caught:
            await ctx.durable(slow)
        assert type(caught.value) is TimeoutError

    await finish(agent_of(act), memory)


@pytest.mark.parametrize("retry", [None, POLICY])
async def test_a_guarded_call_that_times_out_is_in_doubt_and_not_retried(
    memory: InMemoryStore, retry: RetryPolicy | None
) -> None:
    """Under on_interrupt="fail"; the timeout is the cause."""
    gate = Gate()

    @durable(timeout=SOON, on_interrupt="fail", retry=retry)
    async def slow() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(InDoubtError) as caught:
            await ctx.durable(slow)
        assert isinstance(caught.value.__cause__, CallTimeoutError)

    await finish(agent_of(act), memory)
    assert gate.visits == 1


async def test_a_guarded_call_that_times_out_parks_where_it_asks(memory: InMemoryStore) -> None:
    """A person decides."""
    gate = Gate()

    @durable(timeout=SOON, on_interrupt="ask")
    async def slow() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(slow)

    with pytest.raises(RunParkedError, match=r"in doubt.*did not finish within"):
        await finish(agent_of(act), memory)


@pytest.mark.parametrize("took_effect", [True, False])
async def test_a_reconciler_is_asked_about_a_call_that_timed_out(
    memory: InMemoryStore, took_effect: bool
) -> None:
    """It took effect: its outcome. It did not: the timeout."""
    gate = Gate()

    def look_up() -> str:
        if not took_effect:
            raise NotExecuted
        return "looked up"

    @durable(timeout=SOON, reconciler=look_up)
    async def slow() -> str:
        await gate.wait()
        return "late"

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            ctx.output(await ctx.durable(slow))
        except CallTimeoutError:
            ctx.output("timeout")

    assert await finish(agent_of(act), memory) == ["looked up" if took_effect else "timeout"]


# --- limits ---------------------------------------------------------------------------------


async def test_a_limit_by_name_bounds_its_calls_and_no_others(memory: InMemoryStore) -> None:
    """Whoever waits for it holds no place of the pool."""
    gate = Gate()
    inside = [0, 0]

    @durable(limit="two")
    async def limited(number: int) -> int:
        inside[0] += 1
        inside[1] = max(inside)
        await gate.wait()
        inside[0] -= 1
        return number

    async def act(event: Any, ctx: RunnerContext) -> None:
        calls = asyncio.gather(*(ctx.durable(limited, n) for n in range(6)))
        await gate.reached.wait()
        ctx.output(await ctx.durable(len, "free"))
        gate.open()
        ctx.output(await calls)

    settings = WorkerSettings(limits={"two": 2}, num_async_threads=3)
    assert await finish(agent_of(act), memory, settings) == [4, list(range(6))]
    assert inside == [0, 2]


async def test_a_limit_that_the_worker_does_not_have_is_named(memory: InMemoryStore) -> None:
    """The error lists those that it has."""

    @durable(limit="payments")
    async def pay() -> None: ...

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(pay)

    with pytest.raises(RunFailedError) as caught:
        await finish(agent_of(act), memory, WorkerSettings(limits={"other": 1}))
    assert isinstance(caught.value.__cause__, DefinitionError)
    assert "'payments'" in str(caught.value.__cause__)
    assert "other" in str(caught.value.__cause__)


async def test_a_place_that_a_cancelled_waiter_leaves_goes_to_the_next(
    memory: InMemoryStore,
) -> None:
    """A waiter cancelled in the very pass in which a place comes free takes nothing along."""
    gate, calls = Gate(), Calls()

    async def hold() -> str:
        await gate.wait()
        return "held"

    async def act(event: Any, ctx: RunnerContext) -> None:
        async with asyncio.TaskGroup() as group:
            held = group.create_task(ctx.durable(hold))
            await gate.reached.wait()
            waiting = [group.create_task(ctx.durable(calls.double, n)) for n in range(3)]
            await passes(3)
            gate.open()
            waiting[0].cancel()
        ctx.output([held.result(), *[t.result() for t in waiting[1:]]])

    settings = WorkerSettings(num_async_threads=1)
    assert await finish(agent_of(act), memory, settings) == [["held", 2, 4]]
    assert calls.made == [1, 2]


# --- interrupts -----------------------------------------------------------------------------


async def test_a_function_that_cancels_itself_has_failed(store: Store) -> None:
    """Nobody gave the call up; recorded as abandoned, it would hang a replay."""
    gate, made = Gate(), list[None]()

    async def odd() -> None:
        made.append(None)
        raise asyncio.CancelledError

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(odd)
        except CallFailedError as error:
            await gate.wait()
            ctx.output(error.text)

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == ["the function cancelled itself"]
    assert len(made) == 1


async def test_an_abandoned_call_is_not_executed_again(store: Store) -> None:
    """Abandoned: it waits to be cancelled as it was, and the fallback is what replays."""
    slow, gate, calls = Gate(), Gate(), Calls()

    async def endless() -> None:
        await slow.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            async with asyncio.timeout(0):
                await ctx.durable(endless)
        except TimeoutError:
            value = await ctx.durable(calls.double, 4)
            await gate.wait()
            ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    slow.open()

    assert await finish(agent, store) == [8]
    assert slow.visits == 1
    assert calls.made == [4]


async def test_a_call_that_the_worker_interrupts_leaves_no_outcome(
    memory: InMemoryStore,
) -> None:
    """Neither settled nor abandoned."""
    gate = Gate()

    async def slow() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(slow)

    await interrupt(agent_of(act), memory, gate)

    made = await entries(memory)
    assert not [e for e in made if isinstance(e, CallSettled | CallAbandoned)]


@pytest.mark.rows("OP-08")
async def test_a_fatal_error_of_a_function_fails_its_run_and_not_the_worker(
    memory: InMemoryStore,
) -> None:
    """A BaseException of the user's own is a failure of user code like any other."""

    class FatalError(BaseException):
        pass

    async def die() -> None:
        msg = "fatal"
        raise FatalError(msg)

    async def act(event: Any, ctx: RunnerContext) -> None:
        if event.input == "die":
            await ctx.durable(die)
        ctx.output("fine")

    async with life(agent_of(act), memory) as worker:
        run = await worker.submit("die")
        other = await worker.submit("live")
        with pytest.raises(RunFailedError, match="fatal"):
            await run.result()
        assert await other.result() == ["fine"]


# --- coroutines -----------------------------------------------------------------------------


@pytest.mark.rows("GAP-26")
async def test_calls_awaited_in_another_order_than_made_keep_their_identity(
    store: Store,
) -> None:
    """Position counts when `ctx.durable` is called."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        first = ctx.durable(calls.double, 1)
        second = ctx.durable(calls.double, 2)
        values = [await second, await first]
        await gate.wait()
        ctx.output(values)

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == [[4, 2]]
    assert calls.made == [2, 1]
    settled = [e for e in await entries(store) if isinstance(e, CallSettled)]
    assert [(e.position, e.preview) for e in settled] == [(1, "2"), (0, "1")]


@pytest.mark.rows("GAP-09", "GAP-27")
async def test_a_call_that_is_not_awaited_is_not_executed_and_shifts_nobody(
    memory: InMemoryStore,
) -> None:
    """Python warns that it was never awaited."""
    calls, gate = Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.durable(calls.double, 1)  # type: ignore[unused-coroutine]  # the subject
        gc.collect()
        value = await ctx.durable(calls.double, 2)
        await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        await interrupt(agent, memory, gate)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        assert await finish(agent, memory) == [4]
    assert calls.made == [2]


@pytest.mark.rows("GAP-28")
async def test_a_call_can_be_awaited_once(memory: InMemoryStore) -> None:
    """Awaiting it again is Python's own error, and executes nothing."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        call = ctx.durable(calls.double, 1)
        await call
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await call

    await finish(agent_of(act), memory)
    assert calls.made == [1]


async def test_no_private_name_reaches_the_disk(memory: InMemoryStore) -> None:
    """Branches are named after the coroutine; renaming one of ours must not lose a journal."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        async def child() -> None:
            await asyncio.gather(ctx.durable(calls.double, 1), inner())

        async def inner() -> None:
            await ctx.durable(calls.double, 2)

        await asyncio.gather(ctx.durable(calls.double, 0), child())

    await finish(agent_of(act), memory)

    branches = {e.branch for e in await entries(memory) if isinstance(e, CallSettled)}
    assert len(branches) == 3
    assert not [b for b in branches if "/_" in b or "._" in b]


# --- what a function can know of its call ---------------------------------------------------


async def test_the_idempotency_key_is_stable_over_attempts_and_restarts(store: Store) -> None:
    """And another one for every other call."""
    gate, infos = Gate(), list[Any]()

    @durable(retry=RetryPolicy(max_attempts=5, jitter=0))
    async def pay(number: int) -> None:
        infos.append(current_call())
        if len(infos) == 1:
            raise ConnectionError
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(pay, 1)
        await ctx.durable(pay, 1)
        await ctx.durable(pay, 2)

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await finish(agent, store)

    keys = [info.idempotency_key for info in infos]
    assert [info.attempt for info in infos] == [1, 2, 2, 1, 1]
    assert len(set(keys[:3])) == 1
    assert len(set(keys)) == 3
    assert len({info.call_id for info in infos}) == 3
    assert {info.run_id for info in infos} == {"run"}


async def test_a_thread_knows_its_call(memory: InMemoryStore) -> None:
    """As a function on the loop does."""

    def tell() -> str:
        return current_call().run_id

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(tell))

    assert await finish(agent_of(act), memory) == ["run"]


async def test_outside_a_durable_function_there_is_no_current_call(
    memory: InMemoryStore,
) -> None:
    """Neither in the action that makes the call, nor after it."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(calls.double, 1)
        with pytest.raises(RuntimeError, match="outside a durable function"):
            current_call()

    await finish(agent_of(act), memory, AT_ONCE)
    with pytest.raises(RuntimeError, match="outside a durable function"):
        current_call()
