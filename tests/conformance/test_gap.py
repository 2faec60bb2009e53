"""Behaviours that upstream has no test for, and in which a crash must not be felt."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from durable_agents import (
    Agent,
    CallTimeoutError,
    Event,
    InMemoryStore,
    InputEvent,
    NotExecuted,
    RetryPolicy,
    RunnerContext,
    SqliteStore,
    Store,
    durable,
)
from durable_agents.journal import ActionCompleted, RunAccepted, RunCompleted
from durable_agents.testing import CrashingStore, ManualClock
from tests.conformance._kit import until
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

SOON = 1e-9
"""A timeout that has passed when the function first waits: no test waits for it."""


class Step(Event):
    """What one action hands to the next."""

    number: int


# --- what is on record ----------------------------------------------------------------------


@pytest.mark.rows("GAP-01")
async def test_a_call_that_was_begun_is_no_result_when_its_guard_is_gone(store: Store) -> None:
    """The code of the next life declares no reconciler any more: the call runs."""
    gate, is_guarded = Gate(), [True]

    async def charge() -> str:
        await gate.wait()
        return "charged"

    async def act(event: Any, ctx: RunnerContext) -> None:
        reconciler = (lambda: "looked up") if is_guarded[0] else None
        ctx.output(await ctx.options(name="charge", reconciler=reconciler).durable(charge))

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    is_guarded[0] = False

    assert await finish(agent, store) == ["charged"]
    assert gate.visits == 2


@pytest.mark.rows("GAP-03")
async def test_a_recorded_call_is_found_however_often_its_run_is_interrupted(
    store: Store,
) -> None:
    """Life after life ends before the next record; other runs come and are pruned meanwhile."""
    calls, gates = Calls(), [Gate() for _ in range(4)]

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        value = await ctx.durable(calls.double, event.input)
        if ctx.run_id == "run":
            for gate in gates:
                await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    for number, gate in enumerate(gates[:3]):
        await interrupt(agent, store, gate, value=100)
        async with life(agent, store) as worker:
            run = await worker.submit(number, key="other")
            assert await run.result() == [2 * number]
            assert await worker.prune(older_than=0) == 1

    gates[3].open()
    assert await finish(agent, store, value=100) == [200]
    assert calls.made == [100, 0, 1, 2]


@pytest.mark.rows("GAP-06")
async def test_any_text_is_a_key_before_and_after_a_restart(store: Store) -> None:
    """None is taken for another, nor for two."""
    keys = ["a_b", "a_b_", "a", "b", "_", "a/b", "a:b_c", "a\nb", "", " ", "ключ", "k" * 1000]
    gate = Gate()

    async def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        ctx.output([ctx.key, ctx.short_term_memory.get("mine")])
        ctx.short_term_memory.set("mine", event.input)
        if event.input == "second":
            await gate.wait()

    agent = agent_of(act)
    async with life(agent, store) as worker:
        for key in keys:
            await (await worker.submit(f"of {key}", key=key)).result()
            await worker.submit("second", key=key, id=f"id {key}")
        await until(lambda: gate.visits == len(keys))
        assert await worker.prune(older_than=0) == len(keys)
    gate.open()
    async with life(agent, store) as worker:
        runs = [await worker.submit("second", key=key, id=f"id {key}") for key in keys]
        outputs = [await run.result() for run in runs]

    assert outputs == [[[key, f"of {key}"]] for key in keys]


@dataclass
class Account:
    """Plain data with a method."""

    owner: str

    def greet(self) -> str:
        return f"hello {self.owner}"


@pytest.mark.rows("GAP-34", "GAP-35")
@pytest.mark.parametrize(
    "make",
    [lambda name: Account(name).greet, lambda name: partial(Account.greet, Account(name))],
    ids=["method", "partial"],
)
async def test_another_instance_is_another_call(
    store: Store, make: Callable[[str], Callable[[], str]]
) -> None:
    """It never gets what was recorded for the first one."""
    gate, names = Gate(), ["first"]

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(make(names[0]))
        await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    names[0] = "second"

    assert await finish(agent, store) == ["hello second"]


# --- what goes on beside it -----------------------------------------------------------------


@pytest.mark.rows("GAP-14")
async def test_a_key_that_waits_for_its_retry_keeps_nobody_waiting(
    memory: InMemoryStore,
) -> None:
    """The wait is a timer, not a thread that sleeps."""
    clock, failures = FakeClock(sleeps=False), [ConnectionError()]

    async def ask(key: str) -> str:
        if key == "slow" and failures:
            raise failures.pop()
        return f"answer to {key}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        policy = RetryPolicy(max_attempts=3, initial=60.0, jitter=0)
        ctx.output(await ctx.options(retry=policy).durable(ask, ctx.key))

    async with life(agent_of(act), memory, clock=clock) as worker:
        slow = await worker.submit(1, key="slow")
        await clock.is_asleep.wait()
        for number in range(5):
            run = await worker.submit(number, key="quick")
            assert await run.result() == ["answer to quick"]
        assert clock.waited == [60.0]
        clock.wake()
        assert await slow.result() == ["answer to slow"]


@pytest.mark.rows("GAP-18")
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_tool_that_blocks_is_answered_for_when_its_time_is_up(
    memory: InMemoryStore, kind: str
) -> None:
    """A tool is a durable function; the action turns its timeout into a failed response."""
    release = threading.Event()

    @durable(timeout=SOON)
    async def tool() -> str:
        await asyncio.Event().wait()
        return "never"

    @durable(timeout=SOON)
    def tool_in_thread() -> str:
        release.wait()
        return "too late"

    async def act(event: Any, ctx: RunnerContext) -> None:
        try:
            ctx.output(await ctx.durable(tool if kind == "async" else tool_in_thread))
        except CallTimeoutError as error:
            ctx.output(["failed", "did not finish within" in str(error)])

    assert await finish(agent_of(act), memory) == [["failed", True]]
    release.set()


@pytest.mark.rows("GAP-21")
async def test_whatever_can_be_awaited_is_awaited_and_not_recorded(
    memory: InMemoryStore,
) -> None:
    """Sleeping, a lock, an HTTP client: they run again in each life."""
    gate, lock, requests = Gate(), asyncio.Lock(), list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request.url.path)
        return httpx.Response(200, text="found")

    async def act(event: Any, ctx: RunnerContext) -> None:
        await asyncio.sleep(0)
        async with lock, httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            response = await client.get("https://example.org/page")
        await gate.wait()
        ctx.output(response.text)

    agent = agent_of(act)
    await interrupt(agent, memory, gate)

    assert await finish(agent, memory) == ["found"]
    assert requests == ["/page", "/page"]
    recorded = [type(entry) for entry in await entries(memory)]
    assert recorded == [RunAccepted, ActionCompleted, RunCompleted]


@pytest.mark.rows("GAP-22")
async def test_three_tools_at_once_take_as_long_as_one(store: Store) -> None:
    """Results in the order asked for; a failure cancels nobody; a replay calls nobody."""
    clock, made, gate = ManualClock(), list[str](), Gate()
    lengths = {"a": 1.0, "b": 0.25, "c": 0.5}

    async def tool(name: str) -> str:
        made.append(name)
        await clock.sleep(lengths[name])
        if name == "b":
            raise LookupError(name)
        return f"result of {name}"

    async def act(event: Any, ctx: RunnerContext) -> None:
        calls = (ctx.durable(tool, name) for name in lengths)
        results = await asyncio.gather(*calls, return_exceptions=True)
        await gate.wait()
        ctx.output([str(result) for result in results])

    agent, begin = agent_of(act), clock.monotonic()
    async with life(agent, store, clock=clock) as worker:
        await worker.submit(1, key="key", id="run")
        await until(lambda: clock.sleeping_count == 3)
        for _ in range(4):
            clock.advance(0.25)
            await passes(50)
        await gate.reached.wait()
    gate.open()

    assert await finish(agent, store) == [["result of a", "b", "result of c"]]
    assert clock.monotonic() - begin == 1.0
    assert made == ["a", "b", "c"]


@pytest.mark.rows("GAP-38")
async def test_two_actions_of_one_event_lose_no_update(store: Store) -> None:
    """Each reads what the other one wrote, though both wait in between."""
    calls = Calls()

    async def add(event: InputEvent[int], ctx: RunnerContext) -> None:
        before = ctx.short_term_memory.get("n", 0)
        await ctx.durable(calls.double, event.input)
        await passes(5)
        ctx.short_term_memory.set("n", before + event.input)
        ctx.output(before + event.input)

    agent = agent_of(add).add_action("again", InputEvent, add)

    assert await finish(agent, store, value=7) == [7, 14]


@pytest.mark.slow
@pytest.mark.rows("GAP-17")
async def test_a_store_that_is_pruned_does_not_grow(tmp_path: Path) -> None:
    """Thousands of inputs, of which the last few are kept: neither the runs nor the file."""
    path, sizes = tmp_path / "agents.db", list[int]()

    async def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(len, event.input))

    for _ in range(3):
        store = SqliteStore(path, synchronous="normal")
        async with life(agent_of(act), store) as worker:
            for _ in range(5):
                texts = [f"{number} {'x' * 500}" for number in range(200)]
                runs = await asyncio.gather(*map(worker.submit, texts))
                await asyncio.gather(*(run.result() for run in runs))
                await worker.prune(keep=10)
            assert len(await store.runs(after=0, limit=100)) == 10
        sizes.append(await asyncio.to_thread(lambda: path.stat().st_size))

    assert max(sizes[1:]) <= 1.25 * sizes[0]


# --- a crash at every write -----------------------------------------------------------------

GUARDED = "guarded"


def traveller(executed: list[str]) -> Agent:
    """Three durable calls, of which one has a reconciler, and two events on the way."""
    settled: dict[str, str] = {}

    async def book(what: str) -> str:
        executed.append(what)
        return f"booked {what}"

    async def pay(what: str) -> str:
        executed.append(GUARDED)
        settled[what] = f"paid {what}"
        return settled[what]

    def look_up(what: str) -> str:
        if what not in settled:
            raise NotExecuted
        return settled[what]

    async def start(event: Any, ctx: RunnerContext) -> list[Event]:
        ctx.output(await ctx.durable(book, "flight"))
        guarded = ctx.options(reconciler=look_up)
        ctx.output(await guarded.durable(pay, "flight"))
        ctx.output(await ctx.durable(book, "hotel"))
        return [Step(number=1), Step(number=2)]

    async def report(event: Step, ctx: RunnerContext) -> None:
        ctx.output(f"step {event.number}")

    return agent_of(start).add_action("report", Step, report)


CRASH_FREE = ["booked flight", "paid flight", "booked hotel", "step 1", "step 2"]
WRITES = 8
"""The input, four of the calls, one at the end of each action."""


async def crashed_after(writes: int, store: Store, agent: Agent) -> bool:
    """Whether a worker came to a crash right behind its n-th write."""
    crash = asyncio.Event()
    crashing = CrashingStore(store, after=writes, crash=crash.set, one_by_one=True)
    async with life(agent, crashing, AT_ONCE) as worker:
        waits: list[Awaitable[object]] = [crash.wait(), _to_the_end(worker.submit)]
        tasks = [asyncio.ensure_future(waited) for waited in waits]
        await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return crashing.has_crashed


async def _to_the_end(submit: Callable[..., Awaitable[Any]]) -> None:
    run = await submit(1, key="key", id="run")
    await run.result()


@pytest.mark.slow
@pytest.mark.rows("GAP-23")
async def test_a_crash_behind_any_write_repeats_no_call(tmp_path: Path) -> None:
    """Each effect has its record by then, and a call that was begun is asked about."""
    for writes in range(1, WRITES + 2):
        executed: list[str] = []
        agent = traveller(executed)
        store = SqliteStore(tmp_path / f"{writes}.db", synchronous="normal")

        has_crashed = await crashed_after(writes, store, agent)

        assert has_crashed == (writes <= WRITES)
        assert await finish(agent, store) == CRASH_FREE
        assert executed == ["flight", GUARDED, "hotel"]
