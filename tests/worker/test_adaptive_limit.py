"""A limit that finds its own figure, in a worker."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
from typing import Any

import msgspec
import pytest

from durable_agents import AdaptiveLimit, InMemoryStore, RunnerContext, WorkerSettings, durable
from durable_agents.testing import ManualClock
from tests.worker._kit import Gate, agent_of, finish, life, passes


class RateLimited(Exception):
    """What a service answers that has enough."""


class Service:
    """Works on a number of calls at once, each for a second of the test's clock."""

    def __init__(self, clock: ManualClock, capacity: int) -> None:
        self.in_flight = 0
        self.peak = 0
        self._clock = clock
        self._places = asyncio.Semaphore(capacity)

    @durable(name="ask", limit="llm")
    async def ask(self, number: int) -> int:
        """Twice the number."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        async with self._places:
            await self._clock.sleep(1.0)
        self.in_flight -= 1
        return 2 * number


class Queue:
    """Calls that stay inside until they are told to end, and note down when they began."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.inside: dict[int, asyncio.Future[None]] = {}

    @durable(name="visit", limit="llm")
    async def visit(self, number: int) -> int:
        """The number."""
        self.begun.append(number)
        self.inside[number] = asyncio.get_running_loop().create_future()
        try:
            await self.inside[number]
        finally:
            del self.inside[number]
        return number


def limited(**options: Any) -> WorkerSettings:
    """Settings with one adaptive limit, left without a grace."""
    limits = {"llm": AdaptiveLimit(**options)}
    return WorkerSettings(shutdown_grace_seconds=0, limits=limits)


async def test_a_worker_finds_what_a_service_bears(memory: InMemoryStore) -> None:
    """Far below the maximum, at which latency would be twelve times as long."""
    clock = ManualClock()
    service = Service(clock, capacity=20)

    async def act(event: Any, ctx: RunnerContext) -> None:
        calls = (ctx.durable(service.ask, number) for number in range(500))
        ctx.output(sum(await asyncio.gather(*calls)))

    async with life(agent_of(act), memory, limited(initial=4), clock=clock) as worker:
        assert {"llm": 4} == worker.statistics().limits
        run = await worker.submit(1, key="key")
        outputs = asyncio.ensure_future(run.result())
        seconds = 0
        while not outputs.done():
            await passes(60)
            clock.advance(1.0)
            seconds += 1

        assert 20 <= worker.statistics().limits["llm"] <= 45
        assert [500 * 499] == await outputs
    assert 20 <= service.peak <= 64
    assert seconds <= 2 * 500 / 20


async def test_a_limit_that_shrinks_interrupts_nobody_and_keeps_the_order(
    memory: InMemoryStore,
) -> None:
    """Nobody is let in until enough have left; then whoever came first."""
    queue = Queue()

    async def act(event: Any, ctx: RunnerContext) -> None:
        calls = (ctx.durable(queue.visit, number) for number in range(8))
        ended = await asyncio.gather(*calls, return_exceptions=True)
        ctx.output([type(end).__name__ for end in ended])

    settings = limited(initial=4, backoff=0.5, backs_off_on=(RateLimited,))
    async with life(agent_of(act), memory, settings) as worker:
        run = await worker.submit(1, key="key")
        await passes(20)
        assert [0, 1, 2, 3] == queue.begun

        queue.inside[1].set_exception(RateLimited())
        await passes(20)
        assert {"llm": 2} == worker.statistics().limits
        assert [0, 2, 3] == list(queue.inside)

        queue.inside[3].set_result(None)
        await passes(20)
        assert [0, 2] == list(queue.inside)

        for number in (0, 2, 4, 5, 6, 7):
            queue.inside[number].set_result(None)
            await passes(20)
            assert len(queue.inside) <= 2
        assert list(range(8)) == queue.begun
        assert [["int", "RateLimited", *["int"] * 6]] == await run.result()


async def test_a_limit_that_grows_lets_in_who_waits(memory: InMemoryStore) -> None:
    """At once, in the order in which they came."""
    queue = Queue()

    async def act(event: Any, ctx: RunnerContext) -> None:
        calls = (ctx.durable(queue.visit, number) for number in range(40))
        await asyncio.gather(*calls)

    async with life(agent_of(act), memory, limited(initial=10)) as worker:
        await worker.submit(1, key="key")
        await passes(50)
        assert 10 == len(queue.inside)

        for number in range(10):
            queue.inside[number].set_result(None)
        await passes(50)
        assert {"llm": 20} == worker.statistics().limits
        assert list(range(10, 30)) == list(queue.inside)


@pytest.mark.parametrize(
    ("backs_off_on", "expected"),
    [
        ((RateLimited,), 5),
        (lambda error: isinstance(error, RateLimited), 5),
        ((TimeoutError,), 10),
    ],
    ids=["classes", "function", "other classes"],
)
async def test_only_what_is_declared_an_overload_takes_the_limit_down(
    memory: InMemoryStore, backs_off_on: Any, expected: int
) -> None:
    """Each attempt counts, whatever becomes of the call; so does a plain function."""

    def refuse() -> None:
        raise RateLimited

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(RateLimited):
            await ctx.options(limit="llm").durable(refuse)

    settings = limited(initial=10, backoff=0.5, backs_off_on=backs_off_on)
    async with life(agent_of(act), memory, settings) as worker:
        await (await worker.submit(1, key="key")).result()

        assert {"llm": expected} == worker.statistics().limits


async def test_a_declared_timeout_takes_the_limit_down(memory: InMemoryStore) -> None:
    """It is an overload unless something else is declared."""
    gate = Gate()

    @durable(limit="llm", timeout=0.001)
    async def slow() -> None:
        await gate.wait()

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(TimeoutError):
            await ctx.durable(slow)

    async with life(agent_of(act), memory, limited(initial=10)) as worker:
        await (await worker.submit(1, key="key")).result()

        assert {"llm": 7} == worker.statistics().limits


async def test_an_outcome_stands_although_nobody_can_say_whether_it_is_an_overload(
    memory: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The call has had its effect; what the author's function raised is told."""

    def wrong(error: BaseException) -> bool:
        raise ZeroDivisionError

    @durable(limit="llm")
    async def refuse() -> None:
        raise RateLimited

    async def act(event: Any, ctx: RunnerContext) -> None:
        with pytest.raises(RateLimited):
            await ctx.durable(refuse)
        ctx.output("went on")

    assert ["went on"] == await finish(agent_of(act), memory, limited(backs_off_on=wrong))
    assert "backs_off_on of limit 'llm' raised ZeroDivisionError" in caplog.text


def test_limits_of_both_kinds_can_be_read_from_a_file() -> None:
    """As settings are kept: what is an overload aside, which is code."""
    text = b'{"limits": {"fixed": 3, "llm": {"maximum": 8}}}'

    settings = msgspec.json.decode(text, type=WorkerSettings)

    assert {"fixed": 3, "llm": AdaptiveLimit(maximum=8)} == settings.limits


async def test_a_fixed_limit_is_told_as_it_was_set(memory: InMemoryStore) -> None:
    """Beside those that move."""

    async def act(event: Any, ctx: RunnerContext) -> None: ...

    settings = WorkerSettings(limits={"fixed": 3, "llm": AdaptiveLimit(maximum=8)})
    async with life(agent_of(act), memory, settings) as worker:
        assert {"fixed": 3, "llm": 8} == worker.statistics().limits
