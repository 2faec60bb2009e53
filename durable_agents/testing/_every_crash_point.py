"""An agent, and a crash at each of its writes in turn: the proof that it can be taken up again.

Each try has a store of its own and two lives. In the first one the store plays dead at one
write, before its commit or after it; the second one goes on over what the first one left. What
the second life comes to must be what an undisturbed one comes to. The tries end when a life
makes fewer writes than the crash waits for: then every moment has been tried.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

import msgspec

from durable_agents.agent import Agent
from durable_agents.clock import Clock
from durable_agents.errors import RunError
from durable_agents.journal import ActionStarted, CallsCleared, CallSettled, Entry, call_id
from durable_agents.serialization import Codec
from durable_agents.store import InMemoryStore, Store, every_run
from durable_agents.testing._crashing_store import CrashingStore
from durable_agents.testing._problems import fail_for
from durable_agents.worker import Run, Worker, WorkerSettings

__all__ = ["CrashReport", "every_crash_point"]

Outcome: TypeAlias = list[Any] | str
"""Outputs of a run, or why it did not complete."""

_UNWINDING_PASSES = 50


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What `every_crash_point` tried."""

    writes: int
    """Writes that the agent makes where nothing disturbs it."""
    crash_points: int
    """Crashes that were tried, each at another moment."""
    outcomes: list[Outcome]
    """For each input its outputs, or as text why its run did not complete: the same in every
    try."""


async def every_crash_point(  # noqa: PLR0913 - what a worker is made of, and what is checked
    agent: Agent | Callable[[], Agent],
    inputs: Sequence[Any],
    *,
    key: Callable[[Any], str | None] | None = None,
    effects: Callable[[], object] | None = None,
    meanwhile: Callable[[Worker], Awaitable[object]] | None = None,
    store: Callable[[], Store] = InMemoryStore,
    settings: WorkerSettings | None = None,
    codec: Codec | None = None,
    clock: Clock | None = None,
    timeout_seconds: float = 30.0,
) -> CrashReport:
    """Run an agent once for each write that it makes, crash there, and let it go on.

    Each write is tried twice: the crash comes right before its commit, and right after it. The
    crash is pretended: the store plays dead and the worker is left without a grace, so that all
    happens in this process. `finally` blocks of the agent do run, as at a shutdown.

    Cancellation: the try that is under way is given up.

    Args:
        agent: What to run; or a function that makes it, called before each try, for an agent
            whose world must be made new.
        inputs: Values or events, submitted in order.
        key: Says of each input what it is ordered by. Default: ordered with nobody.
        effects: Gives what the agent has done to the world in the try that has ended, to be
            compared by `==`. A call in doubt may be made twice, so have the world know calls by
            `current_call().idempotency_key`, as payment APIs do.
        meanwhile: What the world does to the worker when the inputs are accepted, begun anew in
            each life and cancelled at its end: `signal` with an id, `complete`. The runs are
            called `input 0`, `input 1` ... Default: nothing.
        store: Makes the store of a try. Default: in memory.
        settings: How the workers work; but a divergence always parks the run, and nobody gets a
            grace.
        codec: How values become bytes.
        clock: Where the time comes from; the agent's retries wait by it in every try.
        timeout_seconds: What one life may take, > 0.

    Returns:
        How much was tried.

    Raises:
        AssertionError: After some crash, outcomes or effects are not those of an undisturbed
            run, a call that had settled was made again, or the agent hangs. Each crash point
            that shows it is named, the first twenty.
        DefinitionError: Something is wrong with the agent.
        Exception: What `meanwhile` raised.
    """
    trial = _Trial(
        agent,
        inputs,
        key,
        effects,
        meanwhile,
        store,
        settings,
        codec,
        clock,
        timeout_seconds,
    )
    expected, breaches = await trial.run(None, commits=True)
    crash_points = 0
    for write in count(1):
        has_crashed = False
        for commits in (False, True):
            seen, found = await trial.run(write, commits=commits)
            has_crashed |= seen.has_crashed
            crash_points += seen.has_crashed
            moment = f"{'after' if commits else 'before'} the commit of write {write}"
            breaches += [f"crash {moment}: {b}" for b in [*found, *expected.compared(seen)]]
        if not has_crashed:
            break
    fail_for(breaches)
    return CrashReport(expected.writes, crash_points, expected.outcomes)


@dataclass(slots=True)
class _Seen:
    """What one try came to."""

    has_crashed: bool
    writes: int
    outcomes: list[Outcome]
    effects: object

    def compared(self, other: "_Seen") -> Iterator[str]:
        """In what another try differs."""
        pairs = zip(self.outcomes, other.outcomes, strict=True)
        for index, (expected, actual) in enumerate(pairs):
            if expected != actual:
                yield f"input {index} came to {actual!r}, undisturbed to {expected!r}"
        if self.effects != other.effects:
            yield f"effects are {other.effects!r}, undisturbed {self.effects!r}"


@dataclass(slots=True)
class _Trial:
    agent: Agent | Callable[[], Agent]
    inputs: Sequence[Any]
    key: Callable[[Any], str | None] | None
    effects: Callable[[], object] | None
    meanwhile: Callable[[Worker], Awaitable[object]] | None
    store: Callable[[], Store]
    settings: WorkerSettings | None
    codec: Codec | None
    clock: Clock | None
    timeout_seconds: float

    async def run(self, after: int | None, *, commits: bool) -> tuple[_Seen, list[str]]:
        """One try: what it came to, and the breaches that its journals show."""
        agent = self.agent if isinstance(self.agent, Agent) else self.agent()
        inner = self.store()
        crash = asyncio.Event()
        store = CrashingStore(
            inner, after=after, crash=crash.set, one_by_one=True, commits=commits
        )
        outcomes = await self._live(agent, store, crash)
        if outcomes is None:
            outcomes = await self._live(agent, inner, asyncio.Event())
        assert outcomes is not None, "only a crash leaves a life without outcomes"
        seen = None if self.effects is None else self.effects()
        breaches = await _repetitions(inner)
        return _Seen(store.has_crashed, store.writes, outcomes, seen), breaches

    async def _live(
        self, agent: Agent, store: Store, crash: asyncio.Event
    ) -> list[Outcome] | None:
        """Outcomes of all inputs; None where the crash came first."""
        worker = Worker(
            agent, store=store, settings=self._settings, codec=self.codec, clock=self.clock
        )
        async with worker:
            work = asyncio.ensure_future(self._outcomes(worker))
            crashing = asyncio.ensure_future(crash.wait())
            try:
                done, _ = await asyncio.wait(
                    [work, crashing],
                    return_when=asyncio.FIRST_COMPLETED,
                    timeout=self.timeout_seconds,
                )
            finally:
                work.cancel()
                crashing.cancel()
            if work in done:
                return work.result()
            await _leave(worker, store)
        if crashing in done:
            return None
        return [f"it has not ended after {self.timeout_seconds} seconds" for _ in self.inputs]

    async def _outcomes(self, worker: Worker) -> list[Outcome]:
        runs = [
            await worker.submit(
                value, key=None if self.key is None else self.key(value), id=f"input {index}"
            )
            for index, value in enumerate(self.inputs)
        ]
        if self.meanwhile is None:
            return await _outcomes_of(runs)
        ending = asyncio.ensure_future(_outcomes_of(runs))
        world = asyncio.ensure_future(self.meanwhile(worker))
        try:
            both: list[asyncio.Future[Any]] = [ending, world]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await world
            return await ending
        finally:
            ending.cancel()
            world.cancel()
            # What the world meets when all has come to its end is no fault of the agent's.
            await asyncio.gather(world, return_exceptions=True)

    @property
    def _settings(self) -> WorkerSettings:
        settings = WorkerSettings() if self.settings is None else self.settings
        return msgspec.structs.replace(
            settings, on_divergence="fail", shutdown_grace_seconds=0.0
        )


async def _outcomes_of(runs: Sequence[Run]) -> list[Outcome]:
    return [await _outcome(run) for run in runs]


async def _outcome(run: Run) -> Outcome:
    try:
        return await run.result()
    except RunError as error:
        return f"{type(error).__name__}: {error}"


async def _leave(worker: Worker, store: Store) -> None:
    """Have a worker stop whose store plays dead."""
    worker.request_stop()
    for _ in range(_UNWINDING_PASSES):
        await asyncio.sleep(0)
    # What was being committed is no longer the author's code: it may learn that nothing comes.
    if isinstance(store, CrashingStore) and store.has_crashed:
        store.fail_waiters()


async def _repetitions(store: Store) -> list[str]:
    """Calls that settled more than once, and records that were dropped, in all journals."""
    await store.open("every_crash_point")
    try:
        found: list[str] = []
        async for row in every_run(store):
            entries = [e for _, rows in await store.journal(row.number) for e in rows]
            found += [f"{row.run_id}: {problem}" for problem in _repeated(entries)]
        return found
    finally:
        await store.close()


def _repeated(entries: Sequence[Entry]) -> Iterator[str]:
    started: dict[int, ActionStarted] = {}
    settled: Counter[str] = Counter()
    for entry in entries:
        match entry:
            case ActionStarted():
                started[entry.action] = entry
            case CallsCleared():
                yield f"records were dropped: {entry.difference}"
            case CallSettled():
                action = started[entry.action]
                where = call_id(action.event, action.name, (entry.branch, entry.position))
                settled[f"{entry.function}({entry.preview}) at {where}"] += 1
            case _:
                pass
    for call, times in settled.items():
        if times > 1:
            yield f"{call} had settled and was made again"
