"""Schedules: each moment is submitted once, over restarts, in time and after it."""

# ruff: noqa: ANN401 - values of any type

import asyncio
import logging
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from durable_agents import (
    Agent,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    SqliteStore,
    Store,
    StoreUnavailableError,
    Worker,
)
from durable_agents.errors import StoreDamagedError
from durable_agents.store import AcceptedRun, NewRun
from durable_agents.testing import CrashingStore, ManualClock
from tests.worker._kit import AT_ONCE, Calls, agent_of, life, passes

DAY = 86_400.0
BERLIN = ZoneInfo("Europe/Berlin")
SUNDAY = datetime(2026, 11, 22, 12, tzinfo=BERLIN)


@pytest.fixture
def clock() -> ManualClock:
    """One for all lives of a test; it is noon on a Sunday."""
    return ManualClock(SUNDAY.timestamp())


def reports(name: str = "reports") -> Agent:
    """An agent that puts out its inputs."""
    agent = Agent(name, input=str)

    @agent.action(InputEvent)
    async def report(event: InputEvent[str], ctx: RunnerContext) -> None:
        ctx.output(event.input)

    return agent


def daily(value: Any = "report", **options: Any) -> Agent:
    """One that has a schedule: every day at nine."""
    defaults = {"name": "daily", "zone": "Europe/Berlin"}
    return reports().schedule("0 9 * * *", value, **defaults | options)


def nine(day: int, agent: str = "reports:") -> str:
    """Id of the run of nine o'clock, so many days after the Sunday."""
    moment = (SUNDAY + timedelta(days=day)).replace(hour=9)
    return f"schedule:{agent}daily:{moment.isoformat()}"


async def rests(clock: ManualClock) -> None:
    """Let the loop turn until what is due has been done, and the time is waited for again."""
    while not clock.sleeping_count:  # noqa: ASYNC110 - what it waits for tells nobody
        await asyncio.sleep(0)


async def submitted(store: Store) -> list[str]:
    """Ids of all runs, in the order in which they were accepted."""
    return [row.run_id for row in await store.runs(after=0, limit=1000)]


async def lived(
    agent: Agent, store: Store, clock: ManualClock, seconds: float = 0.0
) -> list[str]:
    """One life in which so much time passes at once; the ids of all runs by then."""
    async with life(agent, store, AT_ONCE, clock=clock) as worker:
        await rests(clock)
        clock.advance(seconds)
        await rests(clock)
        await worker.drain()
        return await submitted(store)


async def test_an_input_is_submitted_when_its_moment_comes(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Not before; made of the moment, under its key."""
    made: list[datetime] = []

    def make(moment: datetime) -> str:
        made.append(moment)
        return f"{moment:%A}"

    async with life(daily(make, key="k"), memory, clock=clock) as worker:
        await rests(clock)
        clock.advance(21 * 3600 - 1)
        await rests(clock)
        assert [] == await submitted(memory)
        clock.advance(1)
        await rests(clock)
        run = await worker.submit("again", id=nine(1))
        assert ["Monday"] == await run.result()
        assert "k" == run.key

    assert [datetime(2026, 11, 23, 9, tzinfo=BERLIN)] == made
    assert BERLIN is made[0].tzinfo


async def test_a_week_passes_at_once(store: Store, clock: ManualClock) -> None:
    """Each of its moments is a run, in order; what has been is not submitted again."""
    agent = daily(missed="all")
    week = [nine(day) for day in range(1, 8)]

    assert week == await lived(agent, store, clock, 7 * DAY)
    assert week == await lived(agent, store, clock)
    assert [*week, nine(8)] == await lived(agent, store, clock, DAY)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("all", [1, 2, 3, 4]), ("latest", [1, 3, 4]), ("skip", [1, 4])],
)
async def test_what_was_missed_is_submitted_as_declared(
    store: Store, clock: ManualClock, missed: str, expected: list[int]
) -> None:
    """Two days pass with no worker up; the next moment comes in time again."""
    agent = daily(missed=missed)

    assert [nine(1)] == await lived(agent, store, clock, 21 * 3600)
    clock.advance(2 * DAY + 3600)
    await lived(agent, store, clock, 23 * 3600)

    async with life(agent, store, AT_ONCE, clock=clock):
        assert [nine(day) for day in expected] == await submitted(store)


async def test_what_was_skipped_is_told(
    memory: InMemoryStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Or somebody waits for a report that never comes."""
    agent = daily(missed="skip")
    await lived(agent, memory, clock)
    clock.advance(2 * DAY)

    assert [] == await lived(agent, memory, clock)
    told = "schedule 'daily': moments up to 2026-11-24T09:00:00+01:00 were missed"
    assert [told] == [record.message for record in caplog.records]


async def test_a_schedule_begins_when_a_worker_first_sees_it(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """What would have been due before was not missed; what comes before a restart counts."""
    async with life(reports(), memory, clock=clock):
        clock.advance(3 * DAY)
    assert [] == await lived(daily(missed="all"), memory, clock)
    clock.advance(DAY)
    assert [nine(4)] == await lived(daily(missed="all"), memory, clock)


async def test_moments_are_submitted_once_though_their_runs_are_forgotten(
    store: Store, clock: ManualClock
) -> None:
    """How far a schedule has come does not go with its runs."""
    agent = daily(missed="all")
    await lived(agent, store, clock, 3 * DAY)
    async with life(agent, store, AT_ONCE, clock=clock) as worker:
        await rests(clock)
        assert 3 == await worker.prune(keep=0)

    assert [] == await lived(agent, store, clock)


class Forgetful(InMemoryStore):
    """One under which the process dies between an input and what is kept of its moment."""

    dies = True

    async def keep_moment(self, agent: str, schedule: str, moment: int) -> None:
        if self.dies:
            await asyncio.Event().wait()
        await super().keep_moment(agent, schedule, moment)


@pytest.mark.parametrize("missed", ["all", "latest", "skip"])
async def test_a_crash_behind_a_submission_repeats_nothing(
    clock: ManualClock, missed: str
) -> None:
    """Nor is the author's function asked for what is there."""
    made: list[datetime] = []
    store = Forgetful()

    def make(moment: datetime) -> str:
        made.append(moment)
        return str(moment)

    agent = daily(make, missed=missed)
    async with life(agent, store, clock=clock):
        await rests(clock)
        clock.advance(21 * 3600)
        await passes(200)
        assert [nine(1)] == await submitted(store)
    store.dies = False

    assert [nine(1)] == await lived(agent, store, clock)
    assert [nine(1), nine(2)] == await lived(agent, store, clock, DAY)
    assert 2 == len(made)


class Dying(InMemoryStore):
    """One that takes so many inputs in, and no more."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self.takes = takes

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        self.takes -= 1
        if self.takes < 0:
            return asyncio.get_running_loop().create_future()
        return super().accept(run)


@pytest.mark.parametrize("takes", range(5))
async def test_a_crash_among_missed_moments_loses_none(takes: int, clock: ManualClock) -> None:
    """The next worker begins with the first that is not there."""
    store, agent = Dying(takes), daily(missed="all")
    async with life(agent, store, clock=clock):
        await rests(clock)
        clock.advance(5 * DAY)
        await passes(300)
        assert takes == len(await submitted(store))
    store.takes = 99

    assert [nine(day) for day in range(1, 6)] == await lived(agent, store, clock)


def echoing(calls: Calls) -> Agent:
    """An agent that makes a durable call of each day at nine, one after the other."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(calls.echo, event.input))

    made = datetime.isoformat
    return agent_of(act).schedule(
        "0 9 * * *", made, name="daily", zone="Europe/Berlin", missed="all", key="k"
    )


async def crashed_at(write: int, agent: Agent, inner: InMemoryStore, *, commits: bool) -> bool:
    """Three days pass in a life that ends at a write; False where it did not come so far."""
    clock = ManualClock(SUNDAY.timestamp())
    store = CrashingStore(
        inner, after=write, crash=lambda: None, one_by_one=True, commits=commits
    )
    async with life(agent, store, clock=clock) as worker:
        await rests(clock)
        clock.advance(3 * DAY)
        await passes(400)
        worker.request_stop()
        await passes(20)
        if store.has_crashed:
            store.fail_waiters()
    async with life(agent, inner, clock=clock) as worker:
        await rests(clock)
        await worker.drain()
    return store.has_crashed


@pytest.mark.parametrize("commits", [True, False])
async def test_no_crash_loses_a_moment_or_repeats_one(commits: bool) -> None:
    """Right before each commit, and right after it."""
    write, has_crashed = 0, True
    while has_crashed:
        write += 1
        calls, inner = Calls(), InMemoryStore()
        has_crashed = await crashed_at(write, echoing(calls), inner, commits=commits)
        await inner.open("a reader")
        outputs = await inner.outputs(after=0, limit=100)

        days = [nine(day, "tested:") for day in range(1, 4)]
        assert days == await submitted(inner)
        assert days == [row.run_id for row in outputs]
        # One call may have been in doubt.
        assert len(calls.made) in {3, 4}
        await inner.close()
    assert write > 9


class Asked(SqliteStore):
    """One that counts how often its worker asks how far a schedule has come."""

    asked = 0

    async def moment(self, agent: str, schedule: str, first: int) -> int:
        moment = await super().moment(agent, schedule, first)
        self.asked += 1
        return moment


async def test_workers_that_share_a_store_submit_one_run(tmp_path: Path) -> None:
    """Both wait for the moment; the clock of one is ahead, then that of the other."""
    clocks = [ManualClock(SUNDAY.timestamp()) for _ in range(2)]
    stores = [Asked(tmp_path / "a.db", shared=True) for _ in clocks]
    agent = daily(missed="all")
    async with (
        Worker(agent, store=stores[0], settings=AT_ONCE, clock=clocks[0]),
        Worker(agent, store=stores[1], settings=AT_ONCE, clock=clocks[1]),
    ):
        while not (stores[0].asked and stores[1].asked):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)
        for number in (0, 1, 1, 0):
            asked = stores[number].asked
            clocks[number].advance(DAY)
            while stores[number].asked == asked:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.001)
        while len(await submitted(stores[0])) < 2:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)

        assert [nine(1), nine(2)] == await submitted(stores[0])


async def test_what_another_worker_has_submitted_and_forgotten_is_not_submitted_again(
    tmp_path: Path,
) -> None:
    """Its ids are forgotten, so they would be taken for new."""
    clocks = [ManualClock(SUNDAY.timestamp()) for _ in range(2)]
    stores = [Asked(tmp_path / "a.db", shared=True) for _ in clocks]
    agent = daily(missed="all")
    async with (
        Worker(agent, store=stores[0], settings=AT_ONCE, clock=clocks[0]),
        Worker(agent, store=stores[1], settings=AT_ONCE, clock=clocks[1]) as other,
    ):
        while not (stores[0].asked and stores[1].asked):  # noqa: ASYNC110 - see `rests`
            await asyncio.sleep(0.001)
        clocks[1].advance(2 * DAY)
        forgotten = 0
        while forgotten < 2:
            clocks[1].advance(1.0)
            forgotten += await other.prune(keep=0)
            await asyncio.sleep(0.001)
        asked = stores[0].asked
        clocks[0].advance(2 * DAY)
        while stores[0].asked == asked:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.001)
        await passes(50)

        assert [] == await submitted(stores[0])


async def test_a_function_that_fails_fails_no_other_moment(
    memory: InMemoryStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its moment is not lost: it is missed, and submitted when the function works again."""
    is_broken = True

    def make(moment: datetime) -> str:
        if is_broken:
            raise LookupError(moment.isoformat())
        return "mended"

    agent = daily(make, missed="all").schedule("0 10 * * *", "ten", name="ten")
    async with life(agent, memory, clock=clock):
        await rests(clock)
        clock.advance(DAY)
        await rests(clock)
        assert ["schedule:reports:ten:2026-11-23T10:00:00+00:00"] == await submitted(memory)
        is_broken = False
        clock.advance(DAY)
        await rests(clock)
        ids = await submitted(memory)

    assert [nine(1), nine(2)] == [run_id for run_id in ids if "daily" in run_id]
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "schedule 'daily': the input of a moment cannot be submitted" in record.message
    assert record.exc_text is not None
    assert "LookupError: 2026-11-23T09:00:00+01:00" in record.exc_text


async def test_a_value_that_does_not_fit_is_told(
    memory: InMemoryStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What a function makes is known when it has made it."""
    agent = daily(datetime.timestamp)

    assert [] == await lived(agent, memory, clock, DAY)
    assert "the input does not fit str: Expected `str`, got `float`" in caplog.text


class Faulty(InMemoryStore):
    """One that cannot be read at first."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.errors = [error]

    async def moment(self, agent: str, schedule: str, first: int) -> int:
        if self.errors:
            raise self.errors.pop()
        return await super().moment(agent, schedule, first)


async def test_a_store_that_was_gone_is_asked_again(clock: ManualClock) -> None:
    """After `store_retry_seconds`."""
    store = Faulty(StoreUnavailableError("store", "gone"))
    async with life(daily(missed="all"), store, clock=clock):
        await rests(clock)
        clock.advance(AT_ONCE.store_retry_seconds)
        await rests(clock)
        clock.advance(DAY)
        await rests(clock)

        assert [nine(1)] == await submitted(store)


async def test_a_store_that_is_damaged_is_told_once_for_each_moment(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Asking again would not mend it; the worker does its other work."""
    store = Faulty(StoreDamagedError("store", "not whole"))

    assert [] == await lived(daily(), store, clock, 3600.0)
    assert 1 == caplog.text.count("StoreDamagedError: ")


def daily_of(name: str) -> Agent:
    """Another agent, with a schedule of the same name."""
    return reports(name).schedule("0 9 * * *", name, name="daily", zone="Europe/Berlin")


async def test_agents_of_one_store_may_have_schedules_of_one_name(
    store: Store, clock: ManualClock
) -> None:
    """Each has its runs, its moments, and what it missed."""
    await lived(daily(), store, clock)
    await lived(daily_of("other"), store, clock)
    clock.advance(DAY)

    assert [nine(1)] == await lived(daily(), store, clock)
    both = [nine(1), nine(1, "other:")]
    assert both == await lived(daily_of("other"), store, clock)
    assert both == await lived(daily(), store, clock)
    async with life(daily_of("other"), store, clock=clock) as worker:
        assert ["other"] == await (await worker.submit("", id=nine(1, "other:"))).result()


async def test_a_moment_that_was_submitted_under_an_earlier_id_is_not_submitted_again(
    store: Store, clock: ManualClock
) -> None:
    """The worker died before it noted that; other agents' moments are their own."""
    await lived(daily(), store, clock)
    await lived(daily_of("other"), store, clock)
    async with life(reports(), store, clock=clock) as worker:
        await worker.submit("as it was submitted then", id=nine(1, ""))
        await worker.drain()
    clock.advance(DAY)

    assert [nine(1, "")] == await lived(daily(), store, clock)
    both = [nine(1, ""), nine(1, "other:")]
    assert both == await lived(daily_of("other"), store, clock)
    assert [*both, nine(2)] == await lived(daily(), store, clock, DAY)


async def test_a_moment_whose_id_was_taken_by_hand_is_passed_over_and_told(
    memory: InMemoryStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One's run is none of the other's."""
    await lived(daily(), memory, clock)
    async with life(reports("other"), memory, clock=clock) as worker:
        await worker.submit("by hand", id=nine(1))
    clock.advance(DAY)

    assert [nine(1)] == await lived(daily(), memory, clock)
    assert f"{nine(1)} is a run of agent 'other' already" in caplog.text


class Ticking(ManualClock):
    """Moves on by a second at each look."""

    def now(self) -> float:
        self.jump(1.0)
        return super().now()


@pytest.mark.parametrize("before", range(2, 9))
async def test_a_moment_that_comes_between_two_looks_is_not_passed_over(
    memory: InMemoryStore, before: int
) -> None:
    """It is behind the clock, and has not been submitted."""
    clock = Ticking((SUNDAY + timedelta(hours=21, seconds=-before - 0.5)).timestamp())
    async with life(daily(), memory, clock=clock):
        await rests(clock)
        clock.advance(60)
        await rests(clock)

        assert [nine(1)] == await submitted(memory)


def test_what_lies_on_the_disk_is_looked_up_when_a_schedule_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker is made in the event loop, where a blocking call fails this test."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "cronsim"]:
        monkeypatch.delitem(sys.modules, module)
    ZoneInfo.clear_cache(only_keys=["Asia/Tokyo"])
    agent = daily(zone="Asia/Tokyo")

    async def enter() -> None:
        async with Worker(agent, clock=ManualClock()):
            pass

    asyncio.run(enter())


async def test_a_worker_that_stops_waits_for_no_moment(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Nobody is left behind in the clock."""
    async with life(daily(), memory, clock=clock) as worker:
        await rests(clock)
        await worker.stop()
        assert 0 == clock.sleeping_count


async def test_nothing_is_submitted_while_the_worker_stops(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """The next worker does it."""
    agent = daily(missed="all")
    async with life(agent, memory, clock=clock) as worker:
        await rests(clock)
        clock.advance(DAY)
        worker.request_stop()
        await passes(50)
        assert [] == await submitted(memory)

    assert [nine(1)] == await lived(agent, memory, clock)


async def test_draining_does_not_wait_for_moments_to_come(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """There is always one to come."""
    async with life(daily(), memory, clock=clock) as worker:
        await worker.drain()


async def test_a_clock_that_is_set_back_repeats_no_moment(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Nor is one left out that comes after the last."""
    async with life(daily(missed="all"), memory, clock=clock):
        await rests(clock)
        clock.advance(DAY)
        await rests(clock)
        clock.jump(-2 * DAY)
        for _ in range(4):
            clock.advance(DAY)
            await rests(clock)

        assert [nine(1), nine(2), nine(3)] == await submitted(memory)


async def test_a_machine_that_was_suspended_is_late_by_less_than_missed(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """The loop's clock stood still while the wall clock went on; the moment comes later."""
    async with life(daily(missed="skip"), memory, clock=clock):
        await rests(clock)
        clock.jump(20.5 * 3600)
        for _ in range(80):
            clock.advance(30)
            await passes(100)

        assert [nine(1)] == await submitted(memory)
