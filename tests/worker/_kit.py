"""What the tests of the worker share: lives of a worker over one store, and places to end them.

A restart in one process: the first worker is left while an action waits at a `Gate` that nobody
opens, with no grace, so that nothing is recorded of it; a second worker over the same store
goes on. No test waits for real time.
"""

# ruff: noqa: ANN401 - actions take an event of any type, whether they read it or not

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest

from durable_agents import (
    Agent,
    InMemoryStore,
    InputEvent,
    Run,
    RunnerContext,
    Store,
    Worker,
    WorkerSettings,
    durable,
)
from durable_agents.journal import Entry
from durable_agents.store import StoreFacts
from durable_agents.testing import ManualClock

__all__ = [
    "AT_ONCE",
    "Calls",
    "FakeClock",
    "Gate",
    "KilledStore",
    "agent_of",
    "asleep",
    "entries",
    "finish",
    "interrupt",
    "life",
    "of",
    "passes",
]

Body: TypeAlias = Callable[[Any, RunnerContext], Coroutine[Any, Any, object]]

AT_ONCE = WorkerSettings(shutdown_grace_seconds=0)
"""Leaves without waiting for calls: as near to a crash as a worker comes that can be left."""


class FakeClock:
    """Moves on by a second at each look, and never waits.

    Args:
        at: Seconds since 1970-01-01 UTC that the first look gives.
        sleeps: Whether `sleep` returns; a held one waits for `wake`.
    """

    def __init__(self, at: float = 1_000_000.0, *, sleeps: bool = True) -> None:
        self.at = at
        self.waited: list[float] = []
        self.is_asleep = asyncio.Event()
        self._awake = asyncio.Event()
        if sleeps:
            self._awake.set()

    def now(self) -> float:
        self.at += 1
        return self.at

    def monotonic(self) -> float:
        return self.at

    def boot_id(self) -> str:
        return "boot"

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.is_asleep.set()
        await self._awake.wait()
        await asyncio.sleep(0)

    def wake(self) -> None:
        """Let all who sleep go on, now and later."""
        self._awake.set()


class KilledStore(InMemoryStore):
    """A store whose last owner always died."""

    async def open(self, owner: str) -> StoreFacts:
        return StoreFacts((await super().open(owner)).token, was_closed=False)


class Gate:
    """A place where a life of an action waits until the test opens it."""

    def __init__(self) -> None:
        self.visits = 0
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def wait(self) -> None:
        """Wait here; through at once when the gate is open."""
        self.visits += 1
        self.reached.set()
        await self._opened.wait()

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._opened.set()


class Calls:
    """Durable functions that note down when they are really executed."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    @durable(name="double")
    async def double(self, number: int) -> int:
        """Twice the number."""
        self.made.append(number)
        return 2 * number

    @durable(name="echo")
    async def echo(self, value: Any) -> Any:
        """The value."""
        self.made.append(value)
        return value

    @durable(name="refuse")
    async def refuse(self, error: str) -> None:
        """Raise a ValueError."""
        self.made.append(error)
        raise ValueError(error)


def agent_of(body: Body, name: str = "tested", **options: Any) -> Agent:
    """An agent with one action, fired by each input."""
    agent = Agent(name)
    agent.add_action("act", InputEvent, body, **options)
    return agent


@asynccontextmanager
async def life(
    agent: Agent, store: Store | None = None, settings: WorkerSettings = AT_ONCE, **options: Any
) -> AsyncIterator[Worker]:
    """A worker with a clock that never waits, left without a grace."""
    options.setdefault("clock", FakeClock())
    async with Worker(agent, store=store, settings=settings, **options) as worker:
        yield worker


async def interrupt(
    agent: Agent,
    store: Store,
    gate: Gate,
    settings: WorkerSettings = AT_ONCE,
    value: object = 1,
    **options: Any,
) -> None:
    """Run input "run" until its action waits at the gate, and end the worker there.

    Later lives find the gate open.
    """
    async with life(agent, store, settings, **options) as worker:
        await worker.submit(value, key="key", id="run")
        await gate.reached.wait()
    gate.open()


async def finish(
    agent: Agent,
    store: Store | None = None,
    settings: WorkerSettings = AT_ONCE,
    value: object = 1,
    **options: Any,
) -> list[Any]:
    """Outputs of input "run", taken up where an earlier life left it."""
    async with life(agent, store, settings, **options) as worker:
        run: Run = await worker.submit(value, key="key", id="run")
        return await run.result()


async def entries(store: InMemoryStore, number: int = 1) -> list[Entry]:
    """The journal of a run, read between two lives."""
    await store.open("a reader")
    try:
        return [entry for _, row in await store.journal(number) for entry in row]
    finally:
        await store.close()


def of(kind: type, recorded: list[Any]) -> int:
    """How many entries of a kind there are."""
    return sum(isinstance(entry, kind) for entry in recorded)


async def asleep(clock: ManualClock, count: int = 1) -> None:
    """Let the loop turn until so many sleep."""
    for _ in range(1000):
        if clock.sleeping_count >= count:
            return
        await asyncio.sleep(0)
    pytest.fail(f"{clock.sleeping_count} sleep, expected {count}")


async def passes(count: int) -> None:
    """Let the loop turn a number of times."""
    for _ in range(count):
        await asyncio.sleep(0)
