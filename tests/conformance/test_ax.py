"""Asynchronous calls: what overlaps, how long it takes, and on which threads.

Time is a clock that the test moves, and only when everybody who can sleep sleeps.
"""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
import threading
from itertools import combinations
from typing import Any

import pytest

from durable_agents import (
    Agent,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    Store,
    WorkerSettings,
    durable,
)
from durable_agents.testing import ManualClock
from tests.conformance._kit import until
from tests.worker._kit import agent_of, life


class Slow:
    """A durable function that takes its time, and notes from when to when it ran."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.spans: list[tuple[float, float]] = []

    @durable(name="work")
    async def work(self, seconds: float, what: str) -> str:
        """Sleeps."""
        begin = self.clock.monotonic()
        await self.clock.sleep(seconds)
        self.spans.append((begin, self.clock.monotonic()))
        return f"{what} done"

    async def let_pass(self, seconds: float, sleepers: int) -> None:
        """Move the time as soon as so many sleep."""
        await until(lambda: self.clock.sleeping_count == sleepers)
        self.clock.advance(seconds)

    @property
    def overlaps(self) -> int:
        """Pairs of calls that ran at the same time."""
        pairs = combinations(self.spans, 2)
        return sum(one[0] < other[1] and other[0] < one[1] for one, other in pairs)


async def fetch(text: str) -> str:
    await asyncio.sleep(0)
    return f"AsyncResult:{text}"


async def step(number: int, text: str) -> str:
    await asyncio.sleep(0)
    return f"Step{number}:{text}"


@pytest.mark.rows("AX-01")
async def test_an_awaited_call_is_followed_by_plain_work_and_memory(store: Store) -> None:
    """In each of three requests, of which two share a key."""

    async def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        seen = 1 + ctx.short_term_memory.get("seen", 0)
        ctx.short_term_memory.set("seen", seen)
        fetched = await ctx.durable(fetch, event.input)
        processed = f"Processed:{fetched.upper()}"
        ctx.output([fetched, processed, f"MemoryCheck:{ctx.short_term_memory.get('seen')}"])

    async with life(agent_of(act), store) as worker:
        runs = [
            await worker.submit(text, key=key) for text, key in zip("abc", "121", strict=True)
        ]
        outputs = [await run.result() for run in runs]

    assert outputs == [
        [[f"AsyncResult:{t}", f"Processed:ASYNCRESULT:{t.upper()}", f"MemoryCheck:{n}"]]
        for t, n in [("a", 1), ("b", 1), ("c", 2)]
    ]


@pytest.mark.rows("AX-02")
async def test_an_action_awaits_any_number_of_calls(store: Store) -> None:
    """One after the other."""

    async def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        ctx.output([await ctx.durable(step, number, event.input) for number in (1, 2, 3)])

    async with life(agent_of(act), store) as worker:
        runs = [await worker.submit(text, key=text) for text in "ab"]
        outputs = [await run.result() for run in runs]

    assert outputs == [[[f"Step{n}:{text}" for n in (1, 2, 3)]] for text in "ab"]


@pytest.mark.rows("AX-03")
async def test_many_requests_of_many_keys_are_all_answered(store: Store) -> None:
    """More than may run at once."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(step, event.input, ctx.key))

    settings = WorkerSettings(max_concurrent_runs=2, shutdown_grace_seconds=0)
    async with life(agent_of(act), store, settings) as worker:
        places = [(number, key) for number in range(3) for key in "abcde"]
        runs = [await worker.submit(number, key=key) for number, key in places]
        outputs = [await run.result() for run in runs]

    assert outputs == [[f"Step{number}:{key}"] for number, key in places]


@pytest.mark.rows("AX-04")
@pytest.mark.parametrize(("bound", "overlaps"), [(3, 3), (1, 0)])
async def test_calls_of_different_keys_overlap_where_they_may(
    memory: InMemoryStore, bound: int, overlaps: int
) -> None:
    """On one worker; with room for one call they take turns."""
    slow = Slow()

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(slow.work, 0.5, ctx.key))

    settings = WorkerSettings(num_async_threads=bound, shutdown_grace_seconds=0)
    async with life(agent_of(act), memory, settings, clock=slow.clock) as worker:
        runs = [await worker.submit(1, key=key) for key in "abc"]
        for _ in range(0, 3, bound):
            await slow.let_pass(0.5, sleepers=bound)
        assert [await run.result() for run in runs] == [[f"{key} done"] for key in "abc"]

    assert slow.overlaps == overlaps


@pytest.mark.rows("AX-05")
async def test_plain_durable_calls_answer_each_request(store: Store) -> None:
    """From the thread of a plain action."""

    def look_up(text: str) -> str:
        return f"SyncDurable[{text}]"

    def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        found = ctx.durable_sync(look_up, event.input)
        ctx.output([found, f"SyncProcessed:{found}"])

    async with life(Agent("plain").add_action("act", InputEvent, act), store) as worker:
        runs = [await worker.submit(text, key=text) for text in "ab"]
        outputs = [await run.result() for run in runs]

    assert outputs == [
        [[f"SyncDurable[{text}]", f"SyncProcessed:SyncDurable[{text}]"]] for text in "ab"
    ]


@pytest.mark.rows("AX-06")
async def test_ten_keys_that_each_wait_three_times_take_as_long_as_one(
    memory: InMemoryStore,
) -> None:
    """A model, a tool and the model again, 5 s each: 15 s in all, not 150.

    Calls of models and tools are durable calls; these stand for them.
    """
    slow = Slow()

    async def act(event: Any, ctx: RunnerContext) -> None:
        steps = ("chat", "tool", "chat")
        ctx.output([await ctx.durable(slow.work, 5.0, f"{s} {ctx.key}") for s in steps])

    begin = slow.clock.monotonic()
    async with life(agent_of(act), memory, clock=slow.clock) as worker:
        runs = [await worker.submit(1, key=str(number)) for number in range(10)]
        for _ in range(3):
            await slow.let_pass(5.0, sleepers=10)
        outputs = [await run.result() for run in runs]

    assert slow.clock.monotonic() - begin == 15.0
    assert outputs == [
        [[f"chat {n} done", f"tool {n} done", f"chat {n} done"]] for n in range(10)
    ]


@pytest.mark.rows("AX-08")
async def test_each_thread_has_a_name_of_its_own_that_says_whose_it_is() -> None:
    """Two workers of two threads each: no two go by one name."""
    names: list[str] = []
    barrier = threading.Barrier(2, timeout=10)

    def tell(number: int) -> None:
        names.append(threading.current_thread().name)
        barrier.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await asyncio.gather(*(ctx.durable(tell, number) for number in range(2)))

    settings = WorkerSettings(num_sync_threads=2, shutdown_grace_seconds=0)
    for _ in range(2):
        async with life(agent_of(act), InMemoryStore(), settings) as worker:
            await (await worker.submit(1)).result()

    pools = [name.rpartition("-thread-")[0] for name in names]
    assert [name.rpartition("-")[2] for name in sorted(names)] == ["1", "2"] * 2
    assert len(set(names)) == 4
    assert len(set(pools)) == 2
    assert all(pool.startswith("durable-agents-sync-") for pool in pools)
