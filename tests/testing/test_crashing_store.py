"""The crash comes at the write that was asked for: after its commit, before its waiter."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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
from durable_agents.errors import StoreError, StoreUnavailableError
from durable_agents.journal import RunCancelled, RunTakenOver
from durable_agents.serialization import Codec
from durable_agents.store import NewRun, Write
from durable_agents.testing import CrashingStore

NEW = NewRun("agent", "key", None, Codec().encode(1, "the input"), 0.0)
MARK = RunTakenOver("worker", 0.0)


def mark(number: int = 1) -> Write:
    """A row for a run."""
    return Write(number=number, entries=[MARK])


def write_of_text() -> Write:
    """A row that no store can take: its text is no UTF-8."""
    return Write(number=1, entries=[RunCancelled("\udc80", 0.0)])


async def passes() -> None:
    """Let whatever is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def crashes() -> Iterator[list[int]]:
    """Crashes that took place; each adds its number."""
    return []


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

    writes = [store.accept(named), store.append(mark()), store.accept(named)]
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
    writes: list[asyncio.Future[object]] = [store.accept(NEW), store.append(mark())]
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
    assert 3 == len({number >> 20 for number in numbers})
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
    writes = [store.accept(NEW), *(store.append(mark()) for _ in range(5))]

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


@pytest.mark.parametrize("one_by_one", [True, False])
async def test_a_write_that_fails_is_told_and_not_counted(
    one_by_one: bool, tmp_path: Path
) -> None:
    """Nothing became durable, so no crash comes of it."""
    store = CrashingStore(SqliteStore(tmp_path / "s.db"), after=None, one_by_one=one_by_one)
    await store.open("test")
    await store.accept(NEW)
    twice = Write(number=2**63, entries=[MARK])

    with pytest.raises(StoreError):
        await store.append(twice)

    assert 1 == store.writes
    await store.close()
