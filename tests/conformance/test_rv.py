"""What the next life makes of the journal that a crash left."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

from typing import Any

import pytest

from durable_agents import (
    Codec,
    Event,
    InputEvent,
    RunFailedError,
    RunnerContext,
    Store,
    durable,
)
from durable_agents.journal import ActionCompleted, RunStatus
from tests.conformance._journals import entries_now, opened, state_between
from tests.worker._kit import AT_ONCE, Calls, FakeClock, Gate, agent_of, finish, interrupt, life

CODEC = Codec()
UNAVAILABLE = "reconcile unavailable"


class Middle(Event, frozen=True):
    number: int


@pytest.mark.rows("RV-06")
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_failed_call_that_is_caught_ran_once(store: Store, kind: str) -> None:
    """Its error is the author's to handle."""
    made: list[str] = []

    def call_api() -> None:
        made.append("called")
        raise ConnectionError

    async def call_api_async() -> None:
        call_api()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(call_api if kind == "thread" else call_api_async)
        except ConnectionError as error:
            ctx.output(f"ERROR:{error!r}")

    assert await finish(agent_of(act), store) == ["ERROR:ConnectionError()"]
    assert made == ["called"]


@pytest.mark.rows("RV-08", "RV-09")
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_failure_that_nobody_catches_ends_every_life_alike(
    store: Store, kind: str
) -> None:
    """The worker dies between the record and the end of the run; the call is not made again."""
    gate, made = Gate(), list[str]()
    failure = LookupError("simulated failure of the model")

    def call_model() -> None:
        made.append("called")
        raise failure

    async def call_model_async() -> None:
        call_model()

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            await ctx.durable(call_model if kind == "thread" else call_model_async)
        finally:
            await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    for _ in range(2):
        with pytest.raises(RunFailedError, match="LookupError: simulated failure") as caught:
            await finish(agent, store)
        assert repr(caught.value.__cause__) == repr(failure)
    assert made == ["called"]


@pytest.mark.rows("RV-10", "RV-11")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_with_a_pending_call_completes_by_its_reconciler(
    store: Store, fails: bool
) -> None:
    """Its value or its error reaches the action; nothing of the call is left to replay."""
    gate, asked = Gate(), list[str]()

    def look_up() -> int:
        asked.append("asked")
        if fails:
            raise RuntimeError(UNAVAILABLE)
        return 42

    @durable(reconciler=look_up)
    async def charge() -> int:
        await gate.wait()
        return 0

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            ctx.output(await ctx.durable(charge))
        except RuntimeError as error:
            ctx.output(f"ERROR:{error}")

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store) == [f"ERROR:{UNAVAILABLE}" if fails else 42]
    assert (gate.visits, asked) == (1, ["asked"])
    state = await state_between(store)
    assert state.status is RunStatus.COMPLETED
    assert [(a.is_completed, a.records) for a in state.actions.values()] == [(True, {})]


async def first(event: InputEvent[int], ctx: RunnerContext) -> Event:
    ctx.short_term_memory.set("tmp", event.input + 1)
    return Middle(number=event.input + 1)


async def second(event: Middle, ctx: RunnerContext) -> None:
    ctx.output(2 * event.number)


@pytest.mark.rows("RV-01", "RV-03")
async def test_the_same_input_in_a_later_life_gets_what_it_got(store: Store) -> None:
    """Both actions had completed: neither body runs again, nor does the call of the first."""
    calls, bodies = Calls(), list[str]()

    async def begin(event: InputEvent[int], ctx: RunnerContext) -> Event:
        bodies.append("first")
        return Middle(number=await ctx.durable(calls.double, event.input))

    async def end(event: Middle, ctx: RunnerContext) -> None:
        bodies.append("second")
        ctx.output(event.number + 2)

    agent = agent_of(begin).add_action("second", Middle, end)

    assert await finish(agent, store, value=7) == [16]
    assert await finish(agent, store, value=7) == [16]
    assert bodies == ["first", "second"]
    assert calls.made == [7]
    async with opened(store):
        assert len(await store.outputs(after=0, limit=9)) == 1


@pytest.mark.rows("RV-15", "RV-16")
async def test_the_store_holds_what_each_action_did_and_what_caused_it(store: Store) -> None:
    """Key, memory update and event of the first action, output of the second."""
    agent = agent_of(first).add_action("second", Middle, second)

    assert await finish(agent, store, value=3) == [8]

    async with opened(store):
        row = await store.find("run")
        assert row is not None
        assert row.key == "key"
        one, two = (e for e in await entries_now(store) if isinstance(e, ActionCompleted))
        [output] = await store.outputs_of(row.number)
    [update], [event] = one.short_term, one.events
    assert (update.path, update.kind) == ("tmp", "value")
    assert update.payload is not None
    assert CODEC.decode(update.payload) == 4
    assert CODEC.decode(event.payload) == Middle(number=4)
    assert CODEC.decode(output.event.payload) == 8
    # Event 0 is the input, event 1 the first one sent; ids begin with run and action run.
    assert [(one.event, one.name), (two.event, two.name)] == [(0, "act"), (1, "second")]
    assert event.event_id.startswith(f"run/{one.action}")
    assert output.event.event_id.startswith(f"run/{two.action}")
    [sent] = (await state_between(store)).events
    assert (sent.upstream_event, sent.upstream_action) == (0, "act")


@pytest.mark.rows("RV-17")
async def test_a_key_that_comes_again_adds_no_key_to_the_store(store: Store) -> None:
    """A new one does, and none is lost; each input has its output."""
    counts, outputs = list[int](), list[Any]()
    agent = agent_of(first).add_action("second", Middle, second)

    async with life(agent, store) as worker:
        for number in (1, 1, 2):
            outputs += await (await worker.submit(number, key=f"key {number}")).result()
            counts.append(len({row.key for row in await store.runs(after=0, limit=10)}))

    assert counts == [1, 1, 2]
    assert outputs == [4, 4, 6]


@pytest.mark.rows("RV-19")
async def test_a_wait_for_what_has_come_meanwhile_costs_no_time(store: Store) -> None:
    """The tool enters its wait again after the restart; the clock would not let it pass."""
    gate, clock = Gate(), FakeClock(sleeps=False)

    async def wait_for_release() -> str:
        await gate.wait()
        return "released"

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(wait_for_release))

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert await finish(agent, store, AT_ONCE, clock=clock) == ["released"]
    assert (gate.visits, clock.waited) == (2, [])


@pytest.mark.rows("RV-21")
async def test_a_wait_that_nothing_ends_raises_and_returns_nothing(store: Store) -> None:
    """An action that took silence for a release would go on without one."""
    gate = Gate()

    @durable(timeout=1e-9)
    async def wait_for_release() -> str:
        await gate.wait()
        return "released"

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(wait_for_release))

    with pytest.raises(RunFailedError) as caught:
        await finish(agent_of(act), store)
    assert isinstance(caught.value.__cause__, TimeoutError)


class Blob(bytes):
    """Bytes of a class of its own."""


BLOB = b"\x00\xffexact"
LOOKS_LIKE_IT = {
    "bytearray": bytearray(BLOB),
    "subclass": Blob(BLOB),
    "other bytes": b"other",
    "list": list(BLOB),
    "tuple": tuple(BLOB),
    "text": BLOB.decode("latin-1"),
    "None": None,
    "number": 7,
}


async def echoed(store: Store, value: object) -> Any:
    """A value as a life gets it that finds it on record."""
    calls, gate, got = Calls(), Gate(), list[Any]()

    async def act(event: Any, ctx: RunnerContext) -> None:
        got.append(await ctx.options(key="the value").durable(calls.echo, value))
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    await finish(agent, store)
    assert len(calls.made) == 1
    return got[-1]


@pytest.mark.rows("RV-22")
async def test_bytes_come_back_as_those_bytes(store: Store) -> None:
    """Of that very type."""
    back = await echoed(store, BLOB)

    assert type(back) is bytes
    assert back == BLOB


@pytest.mark.rows("RV-22")
@pytest.mark.parametrize("name", LOOKS_LIKE_IT)
async def test_what_only_looks_like_bytes_stays_what_it_is(store: Store, name: str) -> None:
    """A check for the exact bytes fails after a restart where it failed before."""
    value = LOOKS_LIKE_IT[name]

    back = await echoed(store, value)

    assert type(back) is type(value)
    assert back == value
    assert not (type(back) is bytes and back == BLOB)


@pytest.mark.rows("RV-22")
async def test_a_view_of_bytes_is_refused_before_it_is_recorded(store: Store) -> None:
    """It would come back as bytes, and pass the check that it failed before."""

    async def view() -> memoryview:
        return memoryview(BLOB)

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(view)

    with pytest.raises(RunFailedError, match="memoryview"):
        await finish(agent_of(act), store)
