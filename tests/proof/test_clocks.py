"""Wall clocks jump, freeze and go backwards; nothing that matters goes by them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from durable_agents import (
    InMemoryStore,
    RetryPolicy,
    Run,
    RunnerContext,
    SqliteStore,
    Worker,
    WorkerSettings,
)
from durable_agents.journal import RunStatus
from durable_agents.testing import ManualClock
from tests.crash.evidence import disturbed, read
from tests.crash.sharing import CALLS, Part, Result, began
from tests.crash.witness import sightings
from tests.proof.clocks import DAY, FAULTS, Fault, start
from tests.worker._kit import agent_of

LEASE = 10.0
SETTINGS = WorkerSettings(shutdown_grace_seconds=0, lease_seconds=LEASE)
HOUR = 3600.0


class WrongClock(ManualClock):
    """One whose wall clock goes wrong, each time that time passes or once."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault: Fault = fault
        self._sign = 1

    def break_down(self) -> None:
        """Go wrong at this moment."""
        days: dict[Fault, int] = {"forward": 1, "backward": -1, "to and fro": self._sign}
        self._sign = -self._sign
        self.jump(DAY * days.get(self._fault, 0))

    def advance(self, seconds: float) -> None:
        """Let time pass, which a frozen wall clock does not show."""
        super().advance(seconds)
        if self._fault == "frozen":
            self.jump(-seconds)


class Waiting:
    """An agent of one action that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.starts = 0
        self.is_there = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def act(self, event: Any, ctx: RunnerContext) -> None:  # noqa: ANN401 - any input
        self.starts += 1
        self.is_there.set()
        await self.may_go_on.wait()
        ctx.output(event.input)


async def until(is_so: Callable[[], object]) -> None:
    """Let threads do what they have to do."""
    while not is_so():  # noqa: ASYNC110 - they tell nobody
        await asyncio.sleep(0.001)


async def pass_time(seconds: float, *clocks: ManualClock) -> None:
    """Let time pass by so little that each worker beats in time."""
    for _ in range(round(seconds * 5)):
        for clock in clocks:
            clock.advance(0.2)
            await until(partial(getattr, clock, "sleeping_count"))


@asynccontextmanager
async def sharing(path: Path, body: Any, clock: ManualClock) -> AsyncGenerator[Worker]:  # noqa: ANN401 - an action
    agent = agent_of(body)
    store = SqliteStore(path, synchronous="normal", shared=True)
    async with Worker(agent, store=store, settings=SETTINGS, clock=clock) as worker:
        await until(lambda: clock.sleeping_count)
        yield worker


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_worker_that_beats_in_time_keeps_its_lease_whatever_the_wall_clock_says(
    tmp_path: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """For three leases, while the clock of one worker, then of the other, goes wrong."""
    body, path = Waiting(), tmp_path / "agents.db"
    clocks = WrongClock(fault), WrongClock(fault)
    async with sharing(path, body.act, clocks[0]) as first, sharing(path, body.act, clocks[1]):
        run = await first.submit(1, key="k", id="run")
        await body.is_there.wait()
        for clock in (*clocks, *clocks):
            clock.break_down()
            await pass_time(0.75 * LEASE, *clocks)
        body.may_go_on.set()

        assert [1] == await run.result()
    assert 1 == body.starts
    assert "took over" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_runs_of_a_worker_that_is_not_heard_of_are_taken_over_at_the_same_time(
    tmp_path: Path, fault: Fault
) -> None:
    """Not sooner and not later than its lease ends, by the time that all processes share."""
    body, path = Waiting(), tmp_path / "agents.db"
    silent, other = WrongClock(fault), WrongClock(fault)
    async with (
        sharing(path, body.act, silent) as first,
        sharing(path, body.act, other) as second,
    ):
        await first.submit(1, key="k", id="run")
        await body.is_there.wait()
        again = await second.submit(1, key="k", id="run")
        other.break_down()
        await pass_time(0.9 * LEASE, other)
        assert 1 == body.starts
        other.break_down()
        await pass_time(0.4 * LEASE, other)
        await until(lambda: body.starts == 2)
        body.may_go_on.set()
        result = asyncio.ensure_future(again.result())
        while not result.done():
            await pass_time(0.2, other)

        assert [1] == await result


class Failing:
    """A call that fails at first, and the times of its attempts."""

    def __init__(self, clock: ManualClock) -> None:
        self.at: list[float] = []
        self._clock = clock

    async def call(self) -> str:
        self.at.append(self._clock.monotonic())
        if len(self.at) < 3:
            raise ConnectionError
        return "done"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("retries", ["the call", "the action"])
async def test_a_retry_comes_when_its_time_has_passed_whatever_the_wall_clock_says(
    fault: Fault, retries: str
) -> None:
    """Neither early nor late: the wait is one of monotonic time."""
    clock = WrongClock(fault)
    failing = Failing(clock)
    policy = RetryPolicy(max_attempts=3, initial=HOUR, factor=2.0, maximum=DAY, jitter=0.0)
    of_call = policy if retries == "the call" else None
    of_action = policy if retries == "the action" else None

    async def act(event: Any, ctx: RunnerContext) -> None:  # noqa: ANN401, ARG001 - any input
        if of_call is not None:
            ctx.output(await ctx.options(name="call", retry=of_call).durable(failing.call))
        else:
            ctx.output(await failing.call())

    agent = agent_of(act, retry=of_action)
    async with Worker(agent, settings=SETTINGS, clock=clock) as worker:
        run = await worker.submit(1, key="k")
        for attempts, wait in ((1, HOUR), (2, 2 * HOUR)):
            await until(lambda: clock.sleeping_count)
            clock.break_down()
            clock.advance(wait - 1.0)
            await until_quiet()
            assert attempts == len(failing.at)
            clock.break_down()
            clock.advance(1.0)
            await until(partial(failing.at.__contains__, clock.monotonic()))
        assert ["done"] == await run.result()

    assert [HOUR, 2 * HOUR] == [b - a for a, b in zip(failing.at, failing.at[1:], strict=False)]


async def until_quiet() -> None:
    """Whatever would run without more time runs now."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_clock_that_went_back_forgets_no_run_before_its_time() -> None:
    """Runs of tomorrow are young; when the clock is right again, age counts as it should."""
    clock, store = ManualClock(), InMemoryStore()

    async def act(event: Any, ctx: RunnerContext) -> None:  # noqa: ANN401 - any input
        ctx.output(event.input)

    async with Worker(agent_of(act), store=store, settings=SETTINGS, clock=clock) as worker:
        await done(worker, "before")
        clock.jump(-DAY)
        await done(worker, "meanwhile")
        assert 0 == await worker.prune(older_than=HOUR)
        assert 0 == await worker.prune(older_than=0.0, keep=2)
        clock.advance(2 * HOUR)
        assert 1 == await worker.prune(older_than=HOUR)
        assert ["before"] == await kept(store)
        clock.jump(DAY)
        assert 1 == await worker.prune(older_than=HOUR)
        assert [] == await kept(store)


async def test_the_newest_runs_are_kept_by_their_order_and_not_by_the_clock() -> None:
    """A run that ended yesterday, by a clock that went back, is newer than one of today."""
    clock, store = ManualClock(), InMemoryStore()

    async def act(event: Any, ctx: RunnerContext) -> None:  # noqa: ANN401 - any input
        ctx.output(event.input)

    async with Worker(agent_of(act), store=store, settings=SETTINGS, clock=clock) as worker:
        await done(worker, "first")
        clock.jump(-DAY)
        await done(worker, "second")
        clock.jump(DAY + HOUR)
        assert 1 == await worker.prune(keep=1)
        assert ["second"] == await kept(store)


async def done(worker: Worker, run_id: str) -> None:
    run: Run = await worker.submit(run_id, key="k", id=run_id)
    await run.wait()


async def kept(store: InMemoryStore) -> list[str]:
    return [row.run_id for row in await store.runs(after=0, limit=9)]


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_time_that_an_action_is_told_does_not_go_back(fault: Fault) -> None:
    """Its calls are recorded in an order, and their times follow it."""
    clock = WrongClock(fault)
    times: list[datetime] = []

    async def act(event: Any, ctx: RunnerContext) -> None:  # noqa: ANN401, ARG001 - any input
        for _ in range(4):
            told = await ctx.options(name="look").durable(look, ctx.now())
            times.append(told)

    async def look(told: datetime) -> datetime:
        clock.advance(1.0)
        clock.break_down()
        return told

    async with Worker(agent_of(act), settings=SETTINGS, clock=clock) as worker:
        await (await worker.submit(1, key="k")).wait()

    assert sorted(times) == times
    assert 4 == len(times)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_processes_whose_clocks_are_days_apart_leave_each_other_their_runs(
    tmp_path: Path,
) -> None:
    """Real ones, over one file: each call is made once, and nobody loses anything."""
    parts = [
        Part(
            folder=str(tmp_path),
            number=number,
            runs=[(key, f"{key}-{number}-{turn}") for key in "abcdef" for turn in range(2)],
            lease_seconds=LEASE,
        )
        for number in range(1, 1 + len(FAULTS))
    ]
    processes = [start(part, fault) for part, fault in zip(parts, FAULTS, strict=True)]
    codes = [process.wait() for process in processes]

    assert [0] * len(parts) == codes, [part.said.read_text() for part in parts]
    results = [msgspec.json.decode(part.result.read_bytes(), type=Result) for part in parts]
    assert [[]] * len(parts) == [result.lost for result in results]
    seen = sightings(parts[0].witness)
    assert {1} == set(began(seen, lambda sighting: sighting.call).values())
    record = read(parts[0].store)
    assert [] == list(disturbed(record))
    assert {RunStatus.COMPLETED} == set(record.statuses.values())
    runs = [run_id for part in parts for _, run_id in part.runs]
    for run_id in runs:
        expected = [[f"{run_id}:{number}" for number in range(CALLS)]]
        assert expected == record.outputs_of(run_id)
