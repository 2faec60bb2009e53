"""Runs that only wait leave memory when there are too many, and nobody can tell."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from durable_agents import (
    Agent,
    InMemoryStore,
    InputError,
    InputEvent,
    Run,
    RunAborted,
    RunCancelledError,
    RunnerContext,
    SqliteStore,
    StoreUnavailableError,
    SystemClock,
    Worker,
    WorkerSettings,
)
from durable_agents.journal import RunStatus, RunTakenOver, SignalReceived
from durable_agents.serialization import Codec
from durable_agents.store import Write
from durable_agents.testing import ManualClock, every_crash_point
from durable_agents.worker._decisions import signal
from tests.worker._kit import Calls, Gate, KilledStore, agent_of, asleep, entries, life, passes

DAY = 86_400.0
ONE = WorkerSettings(shutdown_grace_seconds=0, max_resident_runs=1)
Body = Callable[[RunnerContext], Awaitable[object]]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run rests as soon as it has made no step for a moment."""
    monkeypatch.setattr("durable_agents.worker._resting._QUIET_SECONDS", 0.001)


def agent_with(body: Body) -> Agent:
    """An agent whose action puts out what the body returns, for each input but 0.

    Input 0 waits for ever, so that there is one too many.
    """

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.output(await (ctx.wait_for_signal("never") if event.input == 0 else body(ctx)))

    return agent_of(act)


async def become(worker: Worker, **figures: int) -> None:
    """Let the loop turn until the statistics are these."""
    found: dict[str, int] = {}
    for _ in range(20_000):
        statistics = worker.statistics()
        found = {name: getattr(statistics, name) for name in figures}
        if found == figures:
            return
        await asyncio.sleep(0)
    pytest.fail(f"the worker has come to {found}, expected {figures}")


async def evicted(worker: Worker, key: str = "key") -> Run:
    """Input "run" of a worker with room for one, when another one has made it leave."""
    run = await worker.submit(1, key=key, id="run")
    await become(worker, resting=1)
    await worker.submit(0, key="other", id="other")
    await become(worker, resting=1, evicted=1)
    return run


async def status_of(store: InMemoryStore, run_id: str) -> RunStatus:
    """As the store lists the run."""
    row = await store.find(run_id)
    assert row is not None
    return row.status


async def sleeps(ctx: RunnerContext) -> str:
    """Wait for time."""
    await ctx.sleep(DAY)
    return "slept"


async def asks(ctx: RunnerContext) -> int:
    """Wait for a signal of a type."""
    return await ctx.wait_for_signal("go", type=int)


async def test_a_run_comes_back_when_it_is_due(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """And goes on to its end, on record as if it had never left."""
    async with life(agent_with(sleeps), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        assert RunStatus.WAITING == await status_of(memory, "run")
        clock.advance(DAY)
        assert ["slept"] == await run.result()
        await become(worker, running=0, evicted=1)  # there was room for one of the two


async def test_those_leave_first_who_have_waited_longest(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """No more of them than there are too many."""
    settings = WorkerSettings(shutdown_grace_seconds=0, max_resident_runs=3)
    async with life(agent_with(asks), memory, settings, clock=clock) as worker:
        for number in range(1, 6):
            await worker.submit(number, id=f"run-{number}")
            await become(worker, resting=min(number, 3), evicted=max(number - 3, 0))
        statuses = [await status_of(memory, f"run-{number}") for number in range(1, 6)]
    assert [RunStatus.WAITING] * 2 + [RunStatus.ACCEPTED] * 3 == statuses


async def test_a_signal_calls_a_run_back(memory: InMemoryStore, clock: ManualClock) -> None:
    """It is the run's at once, as for any run."""
    async with life(agent_with(asks), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        assert await worker.signal("run", "go", 7)
        assert [7] == await run.result()


async def test_a_wrong_signal_is_refused_for_a_run_that_is_away(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """The type is known where the run is; it waits on, for the right one."""
    async with life(agent_with(asks), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        with pytest.raises(InputError, match="does not fit int"):
            await worker.signal("run", "go", "seven")
        await become(worker, resting=1, evicted=1)
        assert await worker.signal("run", "go", 7)
        assert [7] == await run.result()


async def test_a_signal_that_nobody_waits_for_is_kept(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """The run comes back, does not take it, and leaves again."""

    async def body(ctx: RunnerContext) -> object:
        first = await ctx.wait_for_signal("first")
        return first, await ctx.wait_for_signal("second")

    async with life(agent_with(body), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        await worker.signal("run", "second", 2)
        await become(worker, evicted=1, resting=1)
        await worker.signal("run", "first", 1)
        assert [(1, 2)] == await run.result()


async def test_many_are_called_back_at_once(memory: InMemoryStore, clock: ManualClock) -> None:
    """Each signal reaches its run, and reaches it once."""
    async with life(agent_with(asks), memory, ONE, clock=clock) as worker:
        runs = [await worker.submit(1) for _ in range(20)]
        await become(worker, evicted=19)
        signals = (worker.signal(run.id, "go", n) for n, run in enumerate(runs))
        assert [True] * 20 == await asyncio.gather(*signals)
        assert [[n] for n in range(20)] == [await run.result() for run in runs]
        assert (0, 20) == (worker.statistics().evicted, worker.statistics().completed)


async def test_what_a_run_does_to_end_is_not_recorded_when_it_leaves(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Its `finally` blocks run, as at a shutdown, and may not use the context."""
    seen: list[str] = []

    async def body(ctx: RunnerContext) -> object:
        try:
            await ctx.sleep(DAY)
        except asyncio.CancelledError:
            try:
                await ctx.durable(Calls().double, 1)
            except RunAborted as error:
                seen.append(str(error))
            raise
        return "slept"

    async with life(agent_with(body), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        before = await memory.journal(1)
        clock.advance(DAY)
        assert ["slept"] == await run.result()
    assert ["the run is stopped here: it only waits"] == [text[:38] for text in seen]
    assert 2 == sum(bool(row) for _, row in before)  # the input; the start with its timer


async def test_a_run_that_is_away_is_cancelled_as_any(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Its clean-up makes durable calls."""
    calls = Calls()

    async def body(ctx: RunnerContext) -> object:
        try:
            await ctx.sleep(DAY)
        except asyncio.CancelledError:
            with suppress(RunAborted):
                await ctx.durable(calls.echo, "undo")
            raise
        return "slept"

    async with life(agent_with(body), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        await worker.cancel("run", "no more")
        with pytest.raises(RunCancelledError, match="no more"):
            await run.result()
    assert ["undo"] == calls.made


async def test_a_run_that_is_away_keeps_its_key(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Inputs of one key go one at a time, also after a restart."""
    agent = agent_with(sleeps)
    async with life(agent, memory, ONE, clock=clock) as worker:
        await evicted(worker)
        behind = await worker.submit(1, key="key", id="behind")
        await passes(200)
        assert 1 == worker.statistics().waiting
    async with life(agent, memory, ONE, clock=clock) as worker:
        behind = await worker.submit(1, key="key", id="behind")
        await become(worker, resting=1, waiting=1, evicted=1)
        clock.advance(DAY)
        await become(worker, completed=1, resting=1, evicted=1)
        clock.advance(DAY)
        assert ["slept"] == await behind.result()


async def test_a_run_that_is_away_keeps_its_id_for_those_who_give_it_as_their_key(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """They are ordered with it, in memory or not."""
    async with life(agent_with(sleeps), memory, ONE, clock=clock) as worker:
        await worker.submit(1, id="run")
        await become(worker, resting=1)
        await worker.submit(0)
        await become(worker, resting=1, evicted=1)
        await worker.submit(1, key="run")
        await passes(200)
        assert 1 == worker.statistics().waiting


@pytest.mark.parametrize("key", ["key", None])
async def test_a_restart_leaves_those_away_who_are(clock: ManualClock, key: str | None) -> None:
    """They are not read, nor marked as what may have killed their worker."""
    memory, agent = KilledStore(), agent_with(sleeps)
    async with life(agent, memory, ONE, clock=clock) as worker:
        await worker.submit(1, key=key, id="run")
        await worker.submit(1, key=key, id="behind")
        await become(worker, resting=1, evicted=0 if key else 1)
        await worker.submit(0, id="other")
        await become(worker, evicted=1 if key else 2)
    async with life(agent, memory, ONE, clock=clock) as worker:
        run = await worker.submit(1, key=key, id="run")
        await become(worker, running=1, evicted=1 if key else 2)
        drained = asyncio.ensure_future(worker.drain())
        clock.advance(DAY)
        assert ["slept"] == await run.result()
        assert not drained.done()
        drained.cancel()
    assert not [e for e in await entries(memory) if isinstance(e, RunTakenOver)]


async def test_a_run_that_was_due_while_nobody_ran_comes_back_at_the_start(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """However long ago that was."""
    agent = agent_with(sleeps)
    async with life(agent, memory, ONE, clock=clock) as worker:
        await evicted(worker)
    clock.advance(10 * DAY)
    async with life(agent, memory, ONE, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        assert ["slept"] == await run.result()


async def test_the_earliest_comes_first_whoever_left_first(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """A run that leaves later may be due sooner."""
    naps = iter([3, 1, 2])

    async def body(ctx: RunnerContext) -> object:
        seconds = await ctx.options(name="draw").durable(lambda: next(naps))
        await ctx.sleep(seconds)
        return seconds

    async with life(agent_with(body), memory, ONE, clock=clock) as worker:
        runs = []
        for _ in range(3):
            runs.append(await worker.submit(1))
            await become(worker, resting=1, evicted=len(runs) - 1)
        await worker.submit(0)
        await become(worker, evicted=3)
        for completed, number in enumerate([1, 2, 0], start=1):
            clock.advance(1)
            assert [completed] == await runs[number].result()


async def test_a_timer_that_no_journal_knows_of_keeps_a_run_in_memory(
    memory: InMemoryStore,
) -> None:
    """Out of it, nothing would fire."""

    async def body(ctx: RunnerContext) -> object:
        try:
            async with asyncio.timeout(0.05):
                await ctx.sleep(DAY)
        except TimeoutError:
            return "timed out"
        return "slept"

    async with life(agent_with(body), memory, ONE, clock=SystemClock()) as worker:
        run = await worker.submit(1)
        await become(worker, resting=1)
        await worker.submit(0)
        await become(worker, resting=1, evicted=1)
        assert RunStatus.ACCEPTED == await status_of(memory, run.id)
        assert ["timed out"] == await run.result()


async def test_a_durable_timeout_calls_a_run_back(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Its moment is on record, so that the run may leave."""

    async def body(ctx: RunnerContext) -> object:
        try:
            async with ctx.timeout(DAY):
                await asyncio.gather(ctx.wait_for_signal("go"), ctx.sleep(10 * DAY))
        except TimeoutError:
            return "timed out"
        return "signalled"

    async with life(agent_with(body), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        clock.advance(DAY)
        assert ["timed out"] == await run.result()


async def test_a_task_that_waits_for_something_else_keeps_its_run_in_memory(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Only what is on record is found again."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        await asyncio.gather(ctx.sleep(DAY), gate.wait())
        return "slept"

    async with life(agent_with(body), memory, ONE, clock=clock) as worker:
        run = await worker.submit(1)
        await become(worker, resting=1)
        await worker.submit(0)
        await become(worker, resting=1, evicted=1)
        assert RunStatus.ACCEPTED == await status_of(memory, run.id)
        gate.open()
        clock.advance(DAY)
        assert ["slept"] == await run.result()


async def test_a_signal_for_a_run_on_its_way_out_is_not_lost(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Its `finally` takes its time; the signal is there when it comes back."""
    gate = Gate()

    async def body(ctx: RunnerContext) -> object:
        try:
            return await ctx.wait_for_signal("go")
        finally:
            await asyncio.shield(gate.wait())

    async with life(agent_with(body), memory, ONE, clock=clock) as worker:
        run = await worker.submit(1, id="run")
        await become(worker, resting=1)
        await worker.submit(0)
        await gate.reached.wait()
        signalling = asyncio.ensure_future(worker.signal("run", "go", 7))
        await passes(50)
        gate.open()
        assert await signalling
        assert [7] == await run.result()


async def test_a_run_that_is_paused_comes_back_after_the_pause(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """Nothing of its key is started out of the store meanwhile, signals are kept."""
    async with life(agent_with(asks), memory, ONE, clock=clock) as worker:
        run = await evicted(worker)
        await worker.pause("key", reason="repairs")
        assert await worker.signal("run", "go", 7)
        await passes(100)
        assert 1 == worker.statistics().waiting
        await worker.resume("key")
        assert [7] == await run.result()


class Refusing(InMemoryStore):
    """A store that refuses to note one status of a run, while it is down."""

    def __init__(self, refused: RunStatus, *, is_down: bool = False) -> None:
        super().__init__()
        self.refused = refused
        self.is_down = is_down
        self.has_refused = False

    def append(self, write: Write) -> asyncio.Future[int]:
        if not self.is_down or write.status is not self.refused:
            return super().append(write)
        self.has_refused = True
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailableError("refusing", "not now"))
        return future


async def test_runs_that_are_due_come_back_when_the_store_works_again(
    clock: ManualClock,
) -> None:
    """It is asked again after `store_retry_seconds`; until then a signal is refused."""
    store = Refusing(RunStatus.ACCEPTED)
    async with life(agent_with(sleeps), store, ONE, clock=clock) as worker:
        runs = [await worker.submit(1) for _ in range(3)]
        await become(worker, resting=1, evicted=2)
        await worker.submit(0)
        await become(worker, evicted=3)
        store.is_down = True
        clock.advance(DAY)
        await asleep(clock)  # before the store is asked again
        with pytest.raises(StoreUnavailableError, match="not now"):
            await worker.signal(runs[0].id, "go")
        assert 3 == worker.statistics().evicted
        store.is_down = False
        clock.advance(1)
        assert [["slept"]] * 3 == [await run.result() for run in runs]


async def test_a_run_stays_where_the_store_cannot_note_that_it_waits(
    clock: ManualClock,
) -> None:
    """It is taken up again, and asked to leave another time."""
    store = Refusing(RunStatus.WAITING, is_down=True)
    async with life(agent_with(sleeps), store, ONE, clock=clock) as worker:
        run = await worker.submit(1)
        await become(worker, resting=1)
        await worker.submit(0)
        while not store.has_refused:  # noqa: ASYNC110 - the store knows no event of ours
            await asyncio.sleep(0)
        store.is_down = False
        await asleep(clock)  # before it is taken up again
        clock.advance(1)
        await become(worker, resting=1, evicted=1)
        clock.advance(DAY)
        assert ["slept"] == await run.result()


async def test_a_signal_put_on_record_while_nobody_runs_wakes_the_run_at_the_start(
    memory: InMemoryStore, clock: ManualClock
) -> None:
    """As a command does it, without the agent's code."""
    agent = agent_with(asks)
    async with life(agent, memory, ONE, clock=clock) as worker:
        await evicted(worker)
    await memory.open("a command")
    payload = Codec().encode(7, "the signal")
    assert await signal(memory, "run", SignalReceived("go", "", payload, clock.now()))
    await memory.close()
    async with life(agent, memory, ONE, clock=clock) as worker:
        run = await worker.submit(1, key="key", id="run")
        assert [7] == await run.result()


async def test_runs_of_a_shared_store_stay_in_memory(tmp_path: Path) -> None:
    """Another worker may be told of a signal, and could not wake them."""
    path = tmp_path / "store.db"
    agent = agent_with(asks)
    async with life(agent, SqliteStore(path), ONE, clock=SystemClock()) as worker:
        await evicted(worker)
    shared = SqliteStore(path, shared=True)
    async with life(agent, shared, ONE, clock=SystemClock()) as worker:
        await become(worker, resting=2, evicted=0)
        await worker.signal("run", "go", 7)
        assert [7] == await (await worker.submit(1, key="key", id="run")).result()


async def waits_of_all_kinds(event: InputEvent[int], ctx: RunnerContext) -> None:
    """Waits with calls between and beside them."""
    calls = Calls()

    async def nap(number: int) -> int:
        await ctx.sleep(0.02)
        return await ctx.durable(calls.double, number)

    try:
        doubled = await asyncio.gather(*(nap(number) for number in range(2)))
        async with ctx.timeout(3600):
            await ctx.sleep(0.02)
        with suppress(TimeoutError):
            await ctx.wait_for_signal("never", timeout=0.02)
        doubled.append(await ctx.durable(calls.double, event.input))
    finally:
        await asyncio.sleep(0)
    ctx.output(doubled)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_crash_at_any_write_changes_nothing_about_those_that_are_away() -> None:
    """Before and after each commit, those included that say who waits and who is back."""
    statuses: list[RunStatus | None] = []

    class Watched(InMemoryStore):
        def append(self, write: Write) -> asyncio.Future[int]:
            statuses.append(write.status)
            return super().append(write)

    report = await every_crash_point(
        agent_of(waits_of_all_kinds), [5, 6], settings=ONE, store=Watched
    )

    assert report.crash_points > 40
    assert RunStatus.WAITING in statuses
    assert [[[0, 2, 10]], [[0, 2, 12]]] == report.outcomes
