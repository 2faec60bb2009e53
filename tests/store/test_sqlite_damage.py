"""Damage is never repaired or skipped in silence: it is named, and what is whole is read."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from durable_agents import SqliteStore
from durable_agents.errors import StoreDamagedError
from durable_agents.journal import MemoryUpdate
from durable_agents.store import Write
from tests.store._kit import PAYLOAD, new, notes, write

Read = Callable[[SqliteStore], Awaitable[object]]
PAGE = 4096


def made(path: Path) -> None:
    """A store with two runs, their outputs and a memory, closed."""

    async def make() -> None:
        store = SqliteStore(path)
        await store.open("worker")
        for name in ("a", "b"):
            run = await store.accept(new())
            await store.append(write(run.number, name, f"output of {name}"))
        update = {"path": MemoryUpdate("path", "value", PAYLOAD)}
        entries = write(1, "x").entries
        memory = ("shop", "k", update)
        await store.append(
            Write(number=1, entries=entries, memory=memory, blobs={b"name": PAYLOAD})
        )
        await store.close()

    asyncio.run(make())


def change(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert 1 == connection.execute(statement, parameters).rowcount


def read(path: Path, question: Read) -> object:
    """The answer of the store at `path`."""

    async def ask() -> object:
        store = SqliteStore(path)
        await store.open("worker")
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(ask())


FLIP = "CAST(substr(body, 1, 9) || x'ff' || substr(body, 11) AS BLOB)"
CUT = "CAST(substr(body, 1, length(body) - 1) AS BLOB)"


@pytest.mark.parametrize("damage", [FLIP, CUT, "x''"], ids=["flipped", "cut", "emptied"])
@pytest.mark.parametrize(
    ("statement", "question", "named"),
    [
        (
            "UPDATE journal SET body = {} WHERE seq = (SELECT min(seq) FROM journal)",
            lambda store: store.journal(1),
            "an entry of run number 1",
        ),
        (
            "UPDATE outputs SET body = {} WHERE run = 1",
            lambda store: store.outputs_of(1),
            "an output of run number 1",
        ),
        (
            "UPDATE outputs SET body = {} WHERE run = 1",
            lambda store: store.outputs(after=0, limit=9),
            "an output of run number 1",
        ),
        (
            "UPDATE memory SET body = {} WHERE path = 'path'",
            lambda store: store.memory("shop", "k"),
            "a memory value",
        ),
        (
            "UPDATE blobs SET body = {}",
            lambda store: store.blobs(1),
            "blob 6e616d65 of run number 1",
        ),
    ],
    ids=["journal", "outputs of a run", "outputs", "memory", "blobs"],
)
def test_a_damaged_value_is_named_when_it_is_read(
    path: Path, damage: str, statement: str, question: Read, named: str
) -> None:
    """By its checksum; the store opens all the same."""
    made(path)
    change(path, statement.format(damage))

    with pytest.raises(StoreDamagedError, match=f"{named} fails its checksum"):
        read(path, question)


def test_a_damaged_acceptance_is_named_too(path: Path) -> None:
    """It is the first row of a journal, and kept with the run."""
    made(path)
    change(path, "UPDATE runs SET accepted = CAST(x'ff' || accepted AS BLOB) WHERE run = 1")

    with pytest.raises(StoreDamagedError, match="an entry of run number 1 fails its checksum"):
        read(path, lambda store: store.journal(1))


def test_a_row_that_was_moved_to_another_run_is_noticed(path: Path) -> None:
    """It was whole where it was."""
    made(path)
    change(path, "UPDATE journal SET run = 2 WHERE seq = (SELECT min(seq) FROM journal)")

    with pytest.raises(StoreDamagedError, match="an entry of run number 2 fails its checksum"):
        read(path, lambda store: store.journal(2))


@pytest.mark.parametrize(
    ("moved", "number", "named"),
    [
        ("run = 2", 2, "blob 6e616d65 of run number 2"),
        ("hash = x'00'", 1, "blob 00 of run number 1"),
    ],
)
def test_a_blob_that_was_moved_is_noticed(
    path: Path, moved: str, number: int, named: str
) -> None:
    """To another run, or to another name."""
    made(path)
    change(path, f"UPDATE blobs SET {moved}")  # noqa: S608 -- constants

    with pytest.raises(StoreDamagedError, match=f"{named} fails its checksum"):
        read(path, lambda store: store.blobs(number))


def test_runs_that_are_whole_are_read_beside_a_damaged_one(path: Path) -> None:
    """Damage to one is no damage to another."""
    made(path)
    change(path, f"UPDATE journal SET body = {FLIP} WHERE run = 2")  # noqa: S608 -- a constant

    assert ["a", "x"] == read(path, lambda store: notes(store, 1))


def pages(path: Path, first: int) -> None:
    """Overwrite the pages of the file from one on, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(first * PAGE)
        file.write(b"\xa5" * (path.stat().st_size - first * PAGE))


def test_a_damaged_page_is_named_when_it_is_looked_up(path: Path) -> None:
    """Opening did not touch it."""
    made(path)
    with closing(sqlite3.connect(path)) as connection:
        root = "SELECT rootpage FROM sqlite_schema WHERE name = 'journal_by_run'"
        page = connection.execute(root).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xa5" * PAGE)

    with pytest.raises(StoreDamagedError, match=r"malformed.*: restore the file from a backup"):
        read(path, lambda store: store.journal(1))
    assert read(path, lambda store: store.runs(after=0, limit=9))


def test_a_file_with_damaged_pages_is_named_when_they_are_read(path: Path) -> None:
    """SQLite notices it, and the message says what to do."""
    made(path)
    pages(path, 1)

    with pytest.raises(StoreDamagedError, match=r"malformed.*: restore the file from a backup"):
        read(path, lambda store: store.journal(1))


def test_a_file_with_a_damaged_schema_is_refused(path: Path) -> None:
    """Its first page holds it, behind the header."""
    made(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * (PAGE - 100))

    with pytest.raises(StoreDamagedError, match="restore the file from a backup"):
        read(path, lambda store: store.journal(1))


def test_a_schema_that_is_no_text_is_refused(path: Path) -> None:
    """The driver has no error of its own for it."""
    made(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"CREATE TABLE memory", b"CREATE TABLE m\xccmory", 1))

    with pytest.raises(StoreDamagedError, match="restore the file from a backup"):
        read(path, lambda store: store.runs(after=0, limit=9))


def test_a_file_that_was_cut_off_is_named(path: Path) -> None:
    """As by a copy that was not finished."""
    made(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2 // PAGE * PAGE)

    with pytest.raises(StoreDamagedError, match="restore the file from a backup"):
        read(path, lambda store: store.runs(after=0, limit=9))


def test_a_moment_of_a_schedule_that_is_none_is_named(tmp_path: Path) -> None:
    """Taken for long ago, it would have every moment since submitted."""
    path = tmp_path / "agents.db"
    made(path)
    read(path, lambda store: store.moment("shop", "daily", 7))
    change(path, "UPDATE meta SET value = 'soon' WHERE name LIKE 'moment %'")

    with pytest.raises(StoreDamagedError, match="schedule 'daily' has come to 'soon'"):
        read(path, lambda store: store.moment("shop", "daily", 7))
