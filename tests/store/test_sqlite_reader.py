"""A reader sees what was committed and changes nothing, whoever owns the file."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from durable_agents import (
    SqliteStore,
    StoreDamagedError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
)
from durable_agents.journal import RunStatus
from durable_agents.store import SqliteReader, Write
from tests.store._kit import PAYLOAD, new, write


async def test_a_reader_sees_what_the_owner_has_committed(
    store: SqliteStore, path: Path
) -> None:
    """While the owner goes on writing: no lock of theirs is in the way."""
    async with SqliteReader(path) as reader:
        made = await store.accept(new("a"))
        unnamed = await store.accept(new())
        written = write(made.number, "why", "one", "two")
        written.blobs = {b"hash": PAYLOAD}
        await store.append(written)

        assert await store.find("a") == await reader.find("a")
        assert await store.find(unnamed.run_id) == await reader.find(unnamed.run_id)
        assert await store.journal(made.number) == await reader.journal(made.number)
        assert await store.blobs(made.number) == await reader.blobs(made.number)
        assert await store.outputs_of(made.number) == await reader.outputs_of(made.number)
        assert await store.outputs(after=1, limit=9) == await reader.outputs(after=1, limit=9)
        assert await store.runs(after=0, limit=9) == await reader.runs(after=0, limit=9)


async def test_runs_are_found_by_ids_numbers_and_beginnings(
    store: SqliteStore, path: Path
) -> None:
    """Many at a time: one hop to the file for all of them."""
    for name in ("f:1:aa", "f:1:bb", "f:10:cc", "other"):
        await store.accept(new(name))
    async with SqliteReader(path) as reader:
        by_number = await reader.numbered([1, 3, 99])
        begun = await reader.beginning_with(["f:1:", "g:"])

        assert {"other", "f:1:aa"} == (
            await reader.find_all(["other", "nobody", "f:1:aa", "\ud800"])
        ).keys()
        assert {1: "f:1:aa", 3: "f:10:cc"} == {n: r.run_id for n, r in by_number.items()}
        assert ["f:1:aa", "f:1:bb"] == [row.run_id for row in begun]


async def test_the_latest_runs_come_first(store: SqliteStore, path: Path) -> None:
    """Narrowed down to a status or a key."""
    for name, key in (("a", "x"), ("b", "y"), ("c", "x")):
        accepted = await store.accept(new(name, key=key))
    parked = write(accepted.number)
    await store.append(
        Write(number=accepted.number, entries=parked.entries, status=RunStatus.PARKED)
    )
    async with SqliteReader(path) as reader:
        by_key = await reader.latest_runs(key="x", limit=9)
        parked_runs = await reader.latest_runs(status=RunStatus.PARKED, limit=9)

        assert ["c", "b"] == [row.run_id for row in await reader.latest_runs(limit=2)]
        assert ["c", "a"] == [row.run_id for row in by_key]
        assert ["c"] == [row.run_id for row in parked_runs]
        assert {RunStatus.ACCEPTED: 2, RunStatus.PARKED: 1} == await reader.status_counts()


async def test_a_reader_changes_not_a_byte(path: Path) -> None:
    """Not even of what a crash left to be cleaned up."""
    store = SqliteStore(path)
    await store.open("worker 1")
    await store.accept(new("a"))
    await store.close()
    before = content(path)

    async with SqliteReader(path) as reader:
        await reader.find("a")

    assert before == content(path)


async def test_a_reader_makes_no_file(path: Path) -> None:
    """A typing error in a path must not look like an empty store."""
    with pytest.raises(StoreUnavailableError, match="there is no such file"):
        async with SqliteReader(path):
            pass

    assert [] == os.listdir(path.parent)  # noqa: PTH208 -- of a path, names are enough


def content(path: Path) -> bytes:
    return path.read_bytes()


def schema(version: int) -> Callable[[Path], None]:
    def set_version(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")

    return set_version


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is no database, but long enough to have a header " * 20)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")


def headless(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE outputs")
        connection.commit()


@pytest.mark.parametrize(
    ("spoil", "error", "problem"),
    [
        (schema(99), StoreVersionError, "version 99, this package knows up to"),
        (schema(0), StoreVersionError, "version 0, this package reads version"),
        (empty, StoreVersionError, "it is empty"),
        (text, StoreDamagedError, "file is not a database"),
        (foreign, StoreDamagedError, "a database of another program"),
        (headless, StoreDamagedError, "tables are missing"),
    ],
)
async def test_a_file_that_cannot_be_read_as_it_is_is_refused(
    spoil: Callable[[Path], None], error: type[StoreError], problem: str, path: Path
) -> None:
    """Nothing is migrated or repaired on the way."""
    store = SqliteStore(path)
    await store.open("worker 1")
    await store.close()
    spoil(path)
    before = content(path)

    with pytest.raises(error, match=problem):
        async with SqliteReader(path):
            pass

    assert before == content(path)


async def test_a_reader_that_is_not_entered_says_so(path: Path) -> None:
    """It has nothing to read from."""
    with pytest.raises(StoreUnavailableError, match="async with"):
        await SqliteReader(path).find("a")
