"""The crash comes at the write that was asked for: after its commit, before its waiter."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from durable_agents import (
    Agent,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    SqliteStore,
    Store,
    Worker,
    WorkerSettings,
)
from durable_agents.errors import StoreError
from durable_agents.journal import RunCancelled, RunTakenOver, batch_of
from durable_agents.serialization import Codec
from durable_agents.store import NewRun, Write
from durable_agents.testing import CrashingStore

NEW = NewRun("agent", "key", None, Codec().encode(1, "the input"), 0.0)
MARK = RunTakenOver("worker", 0.0)


def mark(number: int = 1) -> Write:
    """A row for a run."""
    return Write(number=number, entries=[MARK])


def unwritable() -> Write:
    """A row that no store can take: its text is no UTF-8."""
    return Write(number=1, entries=[RunCancelled("\udc80", 0.0)])


async def passes() -> None:
    """Let whatever is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_it_is_a_store() -> None:
    """A worker takes it as any other; the type checker says so, too."""
    store: Store = CrashingStore(InMemoryStore(), after=1)

    assert "after=1" in repr(store)


def test_there_is_no_crash_before_the_first_write() -> None:
    """Counting begins at one."""
    with pytest.raises(ValueError, match="at least 1"):
        CrashingStore(InMemoryStore(), after=0)


@pytest.mark.parametrize("one_by_one", [True, False])
async def test_writes_are_counted_when_they_are_durable(one_by_one: bool) -> None:
    """Inputs and rows count; an input that was known already does not."""
    store = CrashingStore(InMemoryStore(), after=None, one_by_one=one_by_one)
    named = NewRun("agent", "key", "name", NEW.input, 0.0)
    await store.open("test")

    writes: list[asyncio.Future[Any]] = [store.accept(named), store.append(mark())]
    writes.append(store.accept(named))
    before = store.writes
    await asyncio.gather(*writes)

    assert (0, 2) == (before, store.writes)
    await store.close()


@pytest.mark.parametrize("one_by_one", [True, False])
async def test_the_crash_finds_its_write_durable_and_nobody_told(one_by_one: bool) -> None:
    """Later, somebody could have acted upon it; earlier, there would be nothing to find."""
    inner = InMemoryStore()
    found: list[object] = []

    def crash() -> None:
        found.append((store.writes, [write.done() for write in writes]))

    store = CrashingStore(inner, after=2, crash=crash, one_by_one=one_by_one)
    await store.open("test")
    writes: list[asyncio.Future[Any]] = [store.accept(NEW), store.append(mark())]
    writes.append(store.append(mark()))
    await passes()

    rows = len(await store.journal(1))
    assert [(2, [True, False, False])] == found
    assert [True, False, False] == [write.done() for write in writes]
    assert (2 if one_by_one else 3) == rows
    await store.close()


async def test_one_by_one_gives_each_write_a_transaction_of_its_own() -> None:
    """In the order in which they were submitted."""
    store = CrashingStore(InMemoryStore(), after=None, one_by_one=True)
    await store.open("test")

    accepted, *rows = [store.accept(NEW), *(store.append(mark()) for _ in range(3))]
    numbers = [await row for row in rows]

    assert 1 == (await accepted).number
    assert 3 == len({batch_of(number) for number in numbers})
    assert sorted(numbers) == numbers
    await store.close()


async def test_a_dead_store_takes_nothing_more_in() -> None:
    """Where the crash is a pretended one, the process must not go on in secret."""
    inner = InMemoryStore()
    store = CrashingStore(inner, after=1, crash=lambda: None)
    await store.open("test")
    accepted = store.accept(NEW)
    await passes()

    later = store.append(mark())
    await passes()

    assert (True, False, False) == (store.has_crashed, accepted.done(), later.done())
    assert 1 == len(await store.journal(1))
    await store.close()


async def test_closing_commits_what_is_held_back() -> None:
    """`close` keeps its promise."""
    inner = InMemoryStore()
    store = CrashingStore(inner, after=None, one_by_one=True)
    await store.open("test")
    writes: list[asyncio.Future[Any]] = [store.accept(NEW)]
    writes += [store.append(mark()) for _ in range(5)]

    await store.close()

    assert all(write.done() for write in writes)
    await inner.open("test")
    assert 6 == len(await inner.journal(1))
    await inner.close()


async def test_a_waiter_that_gives_up_takes_nothing_back() -> None:
    """As with any store."""
    store = CrashingStore(InMemoryStore(), after=None, one_by_one=True)
    await store.open("test")
    write = store.accept(NEW)

    write.cancel()
    await store.append(mark())

    assert 2 == len(await store.journal(1))
    await store.close()


async def test_a_write_that_fails_is_told_and_not_counted(tmp_path: Path) -> None:
    """Nothing became durable, so no crash comes of it; the next one waits for its turn."""
    store = CrashingStore(SqliteStore(tmp_path / "s.db"), after=None, one_by_one=True)
    await store.open("test")
    accepted = store.accept(NEW)

    bad, refused = store.append(mark(number=2**63)), store.append(mark(number=2**63))
    good = store.append(mark())

    assert 1 == (await accepted).number
    for write in (bad, refused):
        with pytest.raises(StoreError):
            await write
    await good
    assert 2 == store.writes
    await store.close()


async def test_a_write_that_is_held_back_and_cannot_be_encoded_fails_by_itself() -> None:
    """Passed on at once it would have raised; held back, its future tells."""
    store = CrashingStore(InMemoryStore(), after=None, one_by_one=True)
    await store.open("test")
    store.accept(NEW)

    bad, good = store.append(unwritable()), store.append(mark())

    with pytest.raises(UnicodeEncodeError):
        await bad
    await good
    await store.close()


async def test_a_run_is_readmitted_behind_what_is_held_back_of_it(tmp_path: Path) -> None:
    """What was thrown away must not come through under the new state."""
    store = CrashingStore(SqliteStore(tmp_path / "s.db"), after=None, one_by_one=True)
    await store.open("test")
    await store.accept(NEW)
    bad, thrown_away = (store.append(mark(number=2**63)) for _ in range(2))

    store.readmit(2**63)
    new = store.append(mark(number=2**63))
    await asyncio.wait([bad, thrown_away, new])

    assert "a write was refused" in str(bad.exception())
    assert str(bad.exception()) == str(thrown_away.exception())
    store.readmit(2**63)
    await store.close()


def test_by_default_a_crash_is_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL, which nothing can catch: what a real one leaves is tested in `tests/crash`."""
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *kill: kills.append(kill))

    async def crash() -> None:
        store = CrashingStore(InMemoryStore(), after=1)
        await store.open("test")
        store.accept(NEW)
        await passes()
        await store.close()

    asyncio.run(crash())

    assert [(os.getpid(), signal.SIGKILL)] == kills


agent = Agent("counter", input=int)


async def square(number: int) -> int:
    """A durable function."""
    return number * number


@agent.action(InputEvent)
async def count(event: InputEvent[int], ctx: RunnerContext) -> None:
    """Use all that a store keeps."""
    seen = 1 + ctx.short_term_memory.get("seen", 0, type=int)
    ctx.short_term_memory.set("seen", seen)
    ctx.output([seen, await ctx.durable(square, event.input)])


async def test_a_pretended_crash_leaves_what_the_next_worker_needs() -> None:
    """So that an agent can be tried at every entry without a process for each."""
    inner = InMemoryStore()
    crashed = asyncio.Event()
    settings = WorkerSettings(shutdown_grace_seconds=0)
    store = CrashingStore(inner, after=2, crash=crashed.set, one_by_one=True)
    async with Worker(agent, store=store, settings=settings) as worker:
        await worker.submit(3, key="k", id="r")
        await crashed.wait()
    await inner.open("reader")
    [row] = await inner.runs(after=0, limit=2)
    await inner.close()

    async with Worker(agent, store=CrashingStore(inner, after=None)) as worker:
        outputs = await (await worker.submit(3, key="k", id="r")).result()

    assert ("r", True) == (row.run_id, row.status.is_open)
    assert [[1, 9]] == outputs


async def test_what_is_read_comes_from_the_inner_store() -> None:
    """Reading is never disturbed."""
    inner = InMemoryStore()
    store = CrashingStore(inner, after=None)
    async with Worker(agent, store=store) as worker:
        for number in (2, 3):
            await (await worker.submit(number, key="k", id=f"r{number}")).result()

        assert store.holds_memory
        assert await inner.find("r2") == await store.find("r2")
        assert await inner.runs(after=0, limit=9) == await store.runs(after=0, limit=9)
        assert await inner.outputs(after=0, limit=9) == await store.outputs(after=0, limit=9)
        assert 1 == len(await store.outputs_of(1))
        assert {"seen"} == set(await store.memory("counter", "k"))
        assert [] == await store.open_runs("counter", after=0, limit=9)
        assert [] == await store.open_runs_of_key("counter", "k", after=0, limit=9)
