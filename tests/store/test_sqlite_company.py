"""Other programs open the file of a store, too: they lock it, and they read it for long."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Literal

import pytest

from durable_agents import SqliteStore, StoreUnavailableError
from durable_agents.journal import RunStatus
from durable_agents.store import Retention, Write
from tests.store._kit import FaultyDisk, new, notes, write

LIMIT = 2**18


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come early, and so does the end of what the log may keep."""
    monkeypatch.setattr("durable_agents.store._committer.CHECKPOINT_BYTES", LIMIT // 2)
    monkeypatch.setattr("durable_agents.store._sqlite_file._WAL_BYTES", LIMIT)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the file locked gives up soon."""
    monkeypatch.setattr("durable_agents.store._sqlite_file._PATIENCE", 0.05)


@asynccontextmanager
async def opened(path: Path, *, shared: bool = False) -> AsyncGenerator[SqliteStore]:
    store = SqliteStore(path, shared=shared)
    await store.open("worker")
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def foreign(path: Path, *statements: str) -> Generator[sqlite3.Connection]:
    """Another program's connection, in the middle of a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection


async def grow(store: SqliteStore, commits: int = 64) -> None:
    """Write some 4 MiB."""
    run = await store.accept(new(key=""))
    for _ in range(commits):
        await store.append(write(run.number, "x" * 65_536))


def log_size(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


@pytest.mark.slow
@pytest.mark.usefixtures("small_log")
async def test_the_log_is_cut_down_when_a_reader_lets_go(path: Path) -> None:
    """Nothing can be folded in that a reader may not see yet; the space comes back after it."""
    async with opened(path) as store:
        with foreign(path, "BEGIN", "SELECT * FROM runs"):
            await grow(store)
            pinned = await asyncio.to_thread(log_size, path)
        await grow(store, commits=8)
        afterwards = await asyncio.to_thread(log_size, path)

        assert pinned > 10 * LIMIT
        assert afterwards <= LIMIT


@pytest.mark.slow
@pytest.mark.usefixtures("small_log")
async def test_forgetting_many_runs_leaves_the_log_small(path: Path) -> None:
    """It writes more than most commits do, and may be all that is written for long."""
    async with opened(path) as store:
        for _ in range(1200):
            run = await store.accept(new(key=""))
            entries = write(run.number, "x" * 2000).entries
            ended = Write(number=run.number, entries=entries, status=RunStatus.COMPLETED)
            await store.append(ended)
        sizes: list[int] = []
        while await store.prune(Retention(ended_before=9.0)):
            sizes.append(await asyncio.to_thread(log_size, path))
        await grow(store, commits=1)
        afterwards = await asyncio.to_thread(log_size, path)

        assert 3 == len(sizes)
        assert afterwards <= LIMIT
        assert max(sizes) <= 2 * sizes[0]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_file_that_is_locked_for_too_long_is_written_again_when_it_is_free(
    disk: FaultyDisk, path: Path, lock: Literal["IMMEDIATE", "EXCLUSIVE"]
) -> None:
    """Nothing was written, which is known: the file is not opened anew, and nobody misled."""
    async with opened(path) as store:
        run = await store.accept(new())
        with foreign(path, f"BEGIN {lock}"):
            with pytest.raises(StoreUnavailableError, match="another program holds it locked"):
                await store.append(write(run.number, "refused"))
            with pytest.raises(StoreUnavailableError, match="another program holds it locked"):
                await store.accept(new("order-7"))
            assert [] == await notes(store, run.number)

        store.readmit(run.number)
        await store.append(write(run.number, "kept"))
        assert ["kept"] == await notes(store, run.number)
        assert (await store.accept(new("order-7"))).is_new
        assert 1 == disk.opened


@pytest.mark.usefixtures("impatient")
async def test_a_shared_file_that_is_read_for_too_long_is_written_again_afterwards(
    path: Path,
) -> None:
    """Without a log beside it, readers keep writers out: the commit itself is refused."""
    async with opened(path, shared=True) as store:
        if store.journal_mode == "wal":
            pytest.skip(
                "this SQLite shares files in WAL mode, where readers are in nobody's way"
            )
        run = await store.accept(new())
        with (
            foreign(path, "BEGIN", "SELECT * FROM runs"),
            pytest.raises(StoreUnavailableError, match="another program holds it locked"),
        ):
            await store.append(write(run.number, "refused"))

        store.readmit(run.number)
        await store.append(write(run.number, "kept"))
        assert ["kept"] == await notes(store, run.number)
