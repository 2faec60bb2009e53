"""What people decide about runs: retry, resolve, prune; what failed runs do to their key."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from durable_agents import (
    CallFailedError,
    EncodeError,
    InMemoryStore,
    InputEvent,
    Run,
    RunFailedError,
    RunnerContext,
    RunParkedError,
    RunStateError,
    Store,
    UnknownRunError,
    Worker,
    WorkerSettings,
    durable,
)
from tests.worker._kit import (
    AT_ONCE,
    Calls,
    FakeClock,
    Gate,
    agent_of,
    entries,
    finish,
    life,
    passes,
)

BLOCK = WorkerSettings(shutdown_grace_seconds=0, on_failure="block")


class Outage:
    """An action that calls a service, which is down until it is said to be up."""

    def __init__(self) -> None:
        self.is_down = True
        self.made: list[str] = []
        self.order: list[int] = []
        self.agent = agent_of(self.act)

    @durable(name="prepare")
    async def prepare(self) -> str:
        """A call that works."""
        self.made.append("prepare")
        return "prepared"

    @durable(name="ask")
    async def ask(self) -> str:
        """A call that fails while the service is down."""
        self.made.append("ask")
        if self.is_down:
            msg = "the service is down"
            raise ConnectionError(msg)
        return "answered"

    async def act(self, event: InputEvent[int], ctx: RunnerContext) -> None:
        self.order.append(event.input)
        await ctx.durable(self.prepare)
        ctx.output([event.input, await ctx.durable(self.ask)])


class Doubt:
    """An action with one call that nobody knows the outcome of, after a crash."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.made: list[str] = []
        self.agent = agent_of(self.act)

    @durable(name="charge", on_interrupt="ask")
    async def charge(self, who: str) -> str:
        """A call that a crash interrupts once."""
        self.made.append(who)
        await self.gate.wait()
        return f"charged {who}"

    async def act(self, event: Any, ctx: RunnerContext) -> None:
        charges = (ctx.durable(self.charge, who) for who in event.input)
        ctx.output(await asyncio.gather(*charges))

    async def crash(self, store: Store, *names: str) -> None:
        """Leave the calls of run "run" in doubt, and the run parked."""
        async with life(self.agent, store) as worker:
            await worker.submit(list(names), key="key", id="run")
            await self.gate.reached.wait()
        self.gate.open()
        async with life(self.agent, store) as worker:
            await worker.drain()


async def failed(run: Run) -> str:
    """Why a run failed."""
    with pytest.raises(RunFailedError) as caught:
        await run.result()
    return caught.value.reason


async def test_a_retried_run_repeats_no_settled_call(store: Store) -> None:
    """Not the one that succeeded, and not the one that failed: its failure is handed over."""
    scene = Outage()
    async with life(scene.agent, store) as worker:
        run = await worker.submit(1, id="run")
        await failed(run)
        await worker.retry("run")

        assert "ConnectionError: the service is down" == await failed(run)
    assert ["prepare", "ask"] == scene.made


@pytest.mark.parametrize("turns", range(12))
async def test_a_retry_is_seen_through_where_its_caller_gives_it_up(
    store: Store, turns: int
) -> None:
    """Whenever that is: a run that is back to work on record is back to work."""
    scene = Outage()
    async with life(scene.agent, store) as worker:
        run = await worker.submit(1, id="run")
        await failed(run)
        scene.is_down = False
        retrying = asyncio.ensure_future(worker.retry("run", repeat_failed=True))
        await passes(turns)
        retrying.cancel()
        with suppress(asyncio.CancelledError):
            await retrying
        if turns == 0:
            await worker.retry("run", repeat_failed=True)  # it had not begun
        await worker.resume()  # decisions are taken one at a time

        assert [[1, "answered"]] == await run.result()


async def test_a_retry_may_repeat_the_calls_that_failed(store: Store) -> None:
    """After an outage: what had succeeded stays, what failed is made again."""
    scene = Outage()
    async with life(scene.agent, store) as worker:
        run = await worker.submit(1, id="run")
        await failed(run)
        scene.is_down = False
        await worker.retry("run", repeat_failed=True)

        assert [[1, "answered"]] == await run.result()
    assert ["prepare", "ask", "ask"] == scene.made


async def test_a_run_that_is_retried_sees_the_memory_that_it_saw_at_first(store: Store) -> None:
    """Later runs of its key have changed it since; its recorded calls were made of the old."""
    outage, seen = Outage(), list[tuple[int, int]]()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        before = ctx.short_term_memory.get("last", 0, type=int)
        seen.append((event.input, before))
        ctx.short_term_memory.set("last", event.input)
        if event.input == 1:
            await ctx.durable(outage.ask)

    async with life(agent_of(act), store, AT_ONCE) as worker:
        with pytest.raises(RunFailedError):
            await (await worker.submit(1, key="key", id="run")).result()
        await (await worker.submit(2, key="key")).result()
        outage.is_down = False
        await worker.retry("run", repeat_failed=True)
        await worker.drain()

    assert [(1, 0), (2, 0), (1, 0)] == seen


async def test_a_retried_run_goes_to_the_end_of_the_line_of_its_key(store: Store) -> None:
    """Inputs that were accepted meanwhile come first, in this life and in the next."""
    scene, gate = Outage(), Gate()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        await gate.wait()
        scene.order.append(event.input)
        if event.input == 0 and scene.is_down:
            msg = "no"
            raise ValueError(msg)

    gate.open()
    async with life(agent_of(act), store) as worker:
        await failed(await worker.submit(0, key="k", id="bad"))
    scene.is_down = False
    closed = Gate()

    async def wait_first(event: InputEvent[int], ctx: RunnerContext) -> None:
        await closed.wait()
        await act(event, ctx)

    async with life(agent_of(wait_first), store) as worker:
        await worker.submit(1, key="k", id="good")
        await worker.submit(2, key="k", id="better")
        await closed.reached.wait()
        await worker.retry("bad")
    closed.open()
    async with life(agent_of(wait_first), store) as worker:
        await worker.drain()

    assert [0, 1, 2, 0] == scene.order


async def test_a_failed_run_lets_the_next_one_run(store: Store) -> None:
    """By default one bad input stops nobody."""
    scene = Outage()
    async with life(scene.agent, store) as worker:
        await worker.submit(1, key="k")
        await failed(await worker.submit(2, key="k"))

    assert [1, 2] == scene.order


async def test_a_failed_run_may_block_its_key_until_it_is_retried(store: Store) -> None:
    """In this life and in the next; other keys go on."""
    scene = Outage()
    async with life(scene.agent, store, BLOCK) as worker:
        await failed(await worker.submit(1, key="k", id="bad"))
        await worker.submit(2, key="k", id="later")
        await failed(await worker.submit(3, key="other"))
        await worker.drain()
    assert [1, 3] == scene.order
    scene.is_down = False
    async with life(scene.agent, store, BLOCK) as worker:
        bad = await worker.submit(1, key="k", id="bad")
        later = await worker.submit(2, key="k", id="later")
        assert "ConnectionError: the service is down" == await failed(bad)
        await worker.retry("bad", repeat_failed=True)

        assert [[1, "answered"]] == await bad.result()
        assert [[2, "answered"]] == await later.result()
    assert [1, 3, 1, 2] == scene.order


@pytest.mark.parametrize("status", ["completed", "running"])
async def test_only_failed_or_parked_runs_are_retried(store: Store, status: str) -> None:
    """The error names the state that was found."""
    gate = Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(Calls().double, 1)
        await gate.wait()

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1, id="run")
        await gate.reached.wait()
        if status == "completed":
            gate.open()
            await run.result()

        with pytest.raises(RunStateError, match=f"it is {status}; only failed or parked"):
            await worker.retry("run")


async def test_a_call_in_doubt_gets_the_outcome_that_a_person_found_out(store: Store) -> None:
    """It is not made again."""
    scene = Doubt()
    await scene.crash(store, "ann")
    async with life(scene.agent, store) as worker:
        run = await worker.submit(["ann"], key="key", id="run")
        await worker.resolve("run", value="charged by hand")

        assert [["charged by hand"]] == await run.result()
    assert ["ann"] == scene.made


async def test_a_call_in_doubt_is_made_again_where_a_person_says_so(store: Store) -> None:
    """It had never taken effect."""
    scene = Doubt()
    await scene.crash(store, "ann")
    async with life(scene.agent, store) as worker:
        run = await worker.submit(["ann"], key="key", id="run")
        await worker.resolve("run", rerun=True)

        assert [["charged ann"]] == await run.result()
    assert ["ann", "ann"] == scene.made


@pytest.mark.parametrize("error", [ConnectionError("declined"), "declined"])
async def test_a_call_in_doubt_fails_where_a_person_says_so(store: Store, error: Any) -> None:
    """With the exception that was given, or with a CallFailedError of the text."""
    scene = Doubt()
    await scene.crash(store, "ann")
    async with life(scene.agent, store) as worker:
        run = await worker.submit(["ann"], key="key", id="run")
        await worker.resolve("run", error=error)

        with pytest.raises(RunFailedError, match="declined") as caught:
            await run.result()
    expected = CallFailedError if isinstance(error, str) else ConnectionError
    assert expected is type(caught.value.__cause__)
    assert ["ann"] == scene.made


async def test_calls_in_doubt_are_resolved_one_by_one(store: Store) -> None:
    """The run is parked again for the next one; where several are, one must be named."""
    scene = Doubt()
    await scene.crash(store, "ann", "bob")
    async with life(scene.agent, store) as worker:
        run = await worker.submit(["ann", "bob"], key="key", id="run")
        with pytest.raises(RunStateError, match="which call is meant must be said") as caught:
            await worker.resolve("run", value="x")
        calls = caught.value.reason.partition("calls in doubt: ")[2].split(", ")
        await worker.resolve("run", calls[0], value="charged by hand")
        with pytest.raises(RunParkedError):
            await run.result()
        with pytest.raises(RunStateError, match=f"call {calls[0]} is not; calls in doubt"):
            await worker.resolve("run", calls[0], rerun=True)
        await worker.resolve("run", calls[1], rerun=True)

        assert [["charged by hand", "charged bob"]] == await run.result()
    assert ["ann", "bob", "bob"] == scene.made


async def test_a_run_that_is_not_parked_has_nothing_to_resolve(store: Store) -> None:
    """The error names the state that was found."""
    scene = Outage()
    async with life(scene.agent, store) as worker:
        await failed(await worker.submit(1, id="run"))

        with pytest.raises(RunStateError, match="it is failed; only calls of parked runs"):
            await worker.resolve("run", rerun=True)


@pytest.mark.parametrize("given", [{}, {"value": 1, "rerun": True}, {"value": 1, "error": "x"}])
async def test_a_resolution_is_exactly_one_of_three(memory: InMemoryStore, given: Any) -> None:
    """None is a value like any other."""
    async with life(Doubt().agent, memory) as worker:
        with pytest.raises(ValueError, match="exactly one of value=, error= and rerun=True"):
            await worker.resolve("run", **given)
        with pytest.raises(UnknownRunError):
            await worker.resolve("run", value=None)


async def test_an_outcome_that_cannot_be_recorded_resolves_nothing(store: Store) -> None:
    """The run stays parked."""
    scene = Doubt()
    await scene.crash(store, "ann")
    async with life(scene.agent, store) as worker:
        with pytest.raises(EncodeError, match="the outcome of call"):
            await worker.resolve("run", value=(n for n in []))
        await worker.resolve("run", rerun=True)


async def test_a_parked_run_keeps_its_key_until_it_is_resolved(store: Store) -> None:
    """Order is kept: what comes behind it waits, in the next life as well."""
    scene = Doubt()
    await scene.crash(store, "ann")
    async with life(scene.agent, store) as worker:
        later = await worker.submit(["bob"], key="key", id="later")
        await worker.drain()
        assert ["ann"] == scene.made
        await worker.resolve("run", rerun=True)
        await later.result()

    assert ["ann", "ann", "bob"] == scene.made


async def test_two_decisions_at_once_are_taken_one_after_the_other(store: Store) -> None:
    """The second one meets what the first one made of the run."""
    scene = Outage()
    async with life(scene.agent, store) as worker:
        await failed(await worker.submit(1, id="run"))
        scene.is_down = False
        decisions = (worker.retry("run", repeat_failed=True) for _ in range(2))
        done = await asyncio.gather(*decisions, return_exceptions=True)
        await worker.drain()

    assert [None, RunStateError] == [d if d is None else type(d) for d in done]
    assert ["prepare", "ask", "ask"] == scene.made


@pytest.mark.parametrize("is_waited_for", [False, True])
async def test_a_run_that_was_pruned_before_its_outputs_were_read_says_so(
    is_waited_for: bool,
) -> None:
    """Nobody waits for ever for its end, or takes it for a run without outputs."""
    store = InMemoryStore()

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(event.input)

    agent = agent_of(act)
    clock = FakeClock()
    assert [1] == await finish(agent, store, clock=clock)
    async with life(agent, store, clock=clock) as worker, asyncio.timeout(5):
        run = await worker.submit(1, key="key", id="run")
        if is_waited_for:
            await run.wait()
        assert 1 == await worker.prune(keep=0)
        with pytest.raises(UnknownRunError, match="it has ended and was pruned"):
            await run.result()
        with pytest.raises(UnknownRunError, match="it has ended and was pruned"):
            await worker.outputs_of(run)


async def pruned(worker: Worker, *ids: str) -> list[str]:
    """Which of these runs the store has forgotten."""
    gone: list[str] = []
    for run_id in ids:
        try:
            await worker.retry(run_id)
        except UnknownRunError:
            gone.append(run_id)
        except RunStateError:
            pass
    return gone


async def test_old_runs_are_forgotten_and_open_and_failed_ones_stay(store: Store) -> None:
    """A failed one waits for a person, unless it is asked for."""
    gate = Gate()

    async def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        if event.input == "bad":
            msg = "no"
            raise ValueError(msg)
        if event.input == "open":
            await gate.wait()
        ctx.output(event.input)

    async with life(agent_of(act), store) as worker:
        for name in ("good", "bad", "open"):
            await worker.submit(name, id=name)
        await gate.reached.wait()
        assert 1 == await worker.prune(keep=0)
        assert 0 == await worker.prune(keep=0)
        assert 1 == await worker.prune(keep=0, failed=True)

        assert ["good", "bad"] == await pruned(worker, "good", "bad", "open")


async def test_runs_are_kept_by_number_and_by_age(store: Store) -> None:
    """Both must allow it before a run is forgotten."""
    clock = FakeClock(at=1000.0)

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(event.input)

    async with life(agent_of(act), store, clock=clock) as worker:
        for number in range(4):
            await (await worker.submit(number, id=str(number))).result()
        assert 0 == await worker.prune(older_than=1000.0)
        assert 0 == await worker.prune(keep=4)
        assert 1 == await worker.prune(keep=3, older_than=0.0)
        assert ["0"] == await pruned(worker, "0", "1", "2", "3")
        clock.at += 5000.0

        assert 3 == await worker.prune(older_than=1000.0)


async def test_numbers_of_forgotten_runs_are_never_given_out_again(store: Store) -> None:
    """A made-up id would else stand for two runs, and a consumer would miss outputs."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(event.input)

    async with life(agent_of(act), store) as worker:
        run = await worker.submit(1)
        await run.result()
        await worker.prune(keep=0)
    async with life(agent_of(act), store) as worker:
        later = await worker.submit(2)
        (output,) = await worker.outputs_of(later)

        assert run.number < later.number
        assert 2 == output.position


async def test_a_run_whose_output_a_consumer_waits_for_is_kept(store: Store) -> None:
    """Until it is acknowledged."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        ctx.output(event.input)

    async with life(agent_of(act), store) as worker:
        for number in range(2):
            await (await worker.submit(number)).result()
        outputs = worker.outputs("report")
        first = await anext(outputs)
        assert 0 == await worker.prune(keep=0)
        await first.ack()

        assert 1 == await worker.prune(keep=0)


@pytest.mark.parametrize("given", [{}, {"keep": -1}, {"older_than": -1.0}])
async def test_nothing_is_forgotten_by_mistake(memory: InMemoryStore, given: Any) -> None:
    """What is kept must be said."""
    async with life(Outage().agent, memory) as worker:
        with pytest.raises(ValueError, match=r"expected|takes older_than="):
            await worker.prune(**given)


async def test_a_retry_is_on_record(memory: InMemoryStore) -> None:
    """With what was dropped for it, and why."""
    scene = Outage()
    async with life(scene.agent, memory, AT_ONCE) as worker:
        run = await worker.submit(1, id="run")
        await failed(run)
        await worker.retry("run", repeat_failed=True)
        await failed(run)

    kinds = [type(entry).__name__ for entry in await entries(memory)]
    assert ["RunFailed", "CallsCleared", "RunRetried", "CallSettled", "RunFailed"] == kinds[-5:]
