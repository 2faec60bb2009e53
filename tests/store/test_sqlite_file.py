"""The file of a store: how it is made, taken and checked, and what is refused."""

import asyncio
import errno
import fcntl
import os
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from durable_agents import SqliteStore
from durable_agents.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreOwnedError,
    StoreUnavailableError,
    StoreVersionError,
)
from durable_agents.store._file_lock import FileLock
from durable_agents.store._sqlite_file import (
    APPLICATION_ID,
    as_store_error,
    connect,
    make_file,
)
from durable_agents.store.sql import load_migrations
from tests.store._kit import disk_error, new, notes, write

LATEST = len(load_migrations())


def ask(path: Path, *statements: str) -> list[Any]:
    """What the statements answer on a connection of their own, committed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchone() for statement in statements]


def refused(path: Path, error: type[StoreError], match: str) -> None:
    """Opening fails so, and leaves the store free for the next one."""
    for _ in range(2):
        with pytest.raises(error, match=match):
            asyncio.run(SqliteStore(path).open("worker"))


def test_a_store_shows_how_it_was_made() -> None:
    """In messages and in a debugger."""
    assert "SqliteStore('a.db', synchronous='normal')" == repr(
        SqliteStore(Path("a.db"), synchronous="normal")
    )


def test_only_two_kinds_of_syncing_are_known() -> None:
    """A typing error must not mean less than full."""
    with pytest.raises(ValueError, match="'off', expected 'full' or 'normal'"):
        SqliteStore("a.db", synchronous="off")  # type: ignore[arg-type]  # that is the test


async def test_a_new_file_is_for_its_owner_alone(store: SqliteStore) -> None:
    """The lock beside it, too: both hold what others need not know."""
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()
    }

    assert {"agents.db", "agents.db.lock"} <= modes.keys()
    assert {0o600} == set(modes.values())


async def test_a_new_file_says_whose_it_is(store: SqliteStore) -> None:
    """In its header, where other programs look."""
    found = ask(
        store.path, "PRAGMA application_id", "PRAGMA user_version", "PRAGMA journal_mode"
    )

    assert [(APPLICATION_ID,), (LATEST,), ("wal",)] == found
    assert b"DAgs" == APPLICATION_ID.to_bytes(4, "big")


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_each_commit_is_synced_as_was_asked(path: Path, synchronous: str, level: int) -> None:
    """`"full"` survives a power cut; the log is folded in between commits only."""
    make_file(path)

    with closing(connect(path, synchronous)) as connection:
        assert (level,) == connection.execute("PRAGMA synchronous").fetchone()
        assert (0,) == connection.execute("PRAGMA wal_autocheckpoint").fetchone()


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """As one that `mktemp` made."""
    path.touch()

    make(path)

    assert [(1,)] == ask(path, "SELECT count(*) FROM runs")


async def test_closing_leaves_one_file_and_its_lock(store: SqliteStore) -> None:
    """The log is folded in, so that the file can be copied."""
    await store.accept(new())

    await store.close()

    left = sorted(path.name for path in store.path.parent.iterdir())
    assert ["agents.db", "agents.db.lock"] == left


def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    """It is not known what it holds."""
    make(path)
    ask(path, "PRAGMA journal_mode = DELETE", "PRAGMA user_version = 99")
    before = path.read_bytes()

    refused(path, StoreVersionError, r"version 99, this package knows up to .: upgrade")

    assert before == path.read_bytes()


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    """Not even its journal mode is changed."""
    ask(path, "CREATE TABLE theirs (a)")
    before = path.read_bytes()

    refused(path, StoreDamagedError, "a database of another program: take another path")

    assert before == path.read_bytes()


@pytest.mark.parametrize("content", [b"id,name\n1,Ann\n" * 9, b"SQLite f", b"\0" * 4096])
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    path: Path, content: bytes
) -> None:
    """A wrong path is a likely mistake."""
    path.write_bytes(content)

    refused(path, StoreDamagedError, "not an SQLite database")

    assert content == path.read_bytes()


def test_a_file_whose_making_a_power_cut_tore_is_made_anew(tmp_path: Path) -> None:
    """Zeros where its header should be, and the journal that makes them good."""
    path = tmp_path / "store.db"
    path.write_bytes(bytes(2 * 4096))
    magic = bytes.fromhex("d9d505f920a163d7")
    # No page of before, a number, no page in the file of before; sizes of sectors and pages.
    numbers = struct.pack(">5I", 0, 1, 0, 512, 4096)
    Path(f"{path}-journal").write_bytes((magic + numbers).ljust(512, b"\0"))

    async def is_closed_well() -> bool:
        store = SqliteStore(path)
        facts = await store.open("worker")
        await store.close()
        return facts.was_closed

    assert asyncio.run(is_closed_well())


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """It is not made: the path may be mistyped."""
    path = tmp_path / "missing" / "agents.db"

    refused(path, StoreUnavailableError, r"No such file .*missing.*; create the folder")

    assert not path.parent.exists()


def test_a_path_below_a_file_cannot_be_opened(tmp_path: Path) -> None:
    """Whoever asks."""
    (tmp_path / "file").touch()

    refused(tmp_path / "file" / "agents.db", StoreUnavailableError, "Not a directory")


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    """The path of the file is wanted."""
    folder = tmp_path / "store"
    folder.mkdir()

    refused(folder, StoreUnavailableError, "Is a directory: check the path")


READ_ONLY = """
import asyncio, os, sys, tempfile
from pathlib import Path
from durable_agents import SqliteStore
from durable_agents.errors import StoreError

async def attempt(path):
    store = SqliteStore(path)
    try:
        await store.open("worker")
    except StoreError as error:
        return f"{type(error).__name__}: {error.problem}"
    await store.close()
    return "open"

async def main():
    with tempfile.TemporaryDirectory() as folder:
        await attempt(Path(folder) / "agents.db")  # imports what there is to import
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write anything, so nobody tries
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # TMPDIR may lie where nobody cannot go
    path = folder / "agents.db"
    print(await attempt(path))
    path.chmod(0o400)
    print(await attempt(path))
    path.chmod(0o600)
    folder.chmod(0o500)
    print(await attempt(path))
    print(await attempt(folder / "other.db"))
    folder.chmod(0o700)
    path.chmod(0o000)
    print(await attempt(path))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    os.seteuid(os.getuid())  # who measures coverage writes its figures after this

asyncio.run(main())
"""


@pytest.mark.slow
def test_what_cannot_be_written_is_refused_when_it_is_opened() -> None:
    """Rather than at the first commit; the message says what to change."""
    done = subprocess.run(  # noqa: S603 -- our own script
        [sys.executable, "-c", READ_ONLY], capture_output=True, text=True, check=True
    )

    first, file, folder, other, hidden = done.stdout.splitlines()
    assert "open" == first
    assert file.startswith("StoreUnavailableError: it is read-only: change its permissions")
    assert folder.startswith("StoreUnavailableError: it is read-only: change its permissions")
    assert other.startswith("StoreUnavailableError: Permission denied: ")
    assert hidden.startswith("StoreUnavailableError: Permission denied: check the path")


async def test_a_second_owner_is_told_who_the_first_is(store: SqliteStore) -> None:
    """Its name and its machine."""
    with pytest.raises(StoreOwnedError, match=f"worker 1 on {os.uname().nodename}: stop that"):
        await SqliteStore(store.path).open("worker 2")


async def test_a_link_to_the_file_leads_to_the_same_lock(store: SqliteStore) -> None:
    """Two owners under two names would be two owners."""
    link = store.path.with_name("link.db")
    link.symlink_to(store.path)

    with pytest.raises(StoreOwnedError, match="worker 1"):
        await SqliteStore(link).open("worker 2")


async def test_a_lock_without_a_name_in_it_is_a_lock(path: Path) -> None:
    """Its owner may have found the disk full."""
    with path.with_name("agents.db.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        with pytest.raises(StoreOwnedError, match="owned by another worker"):
            await SqliteStore(path).open("worker 2")


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_an_owner_that_cannot_write_its_name_owns_the_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not keep a store from being opened and read."""
    lock = FileLock(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", failing(errno.ENOSPC))
        lock.take("worker 1")

    with pytest.raises(StoreOwnedError):
        FileLock(path).take("worker 2")
    lock.release()
    lock.release()
    FileLock(path).take("worker 2")


def test_a_file_system_without_locks_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could tell who owns the store."""
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))

    with pytest.raises(
        StoreUnavailableError, match=r"cannot be locked .*take a path on a local"
    ):
        FileLock(path).take("worker")


OWNER = """
import asyncio, os, sys
from durable_agents import SqliteStore
from durable_agents.journal import RunParked
from durable_agents.serialization import Payload
from durable_agents.store import NewRun, Write

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open("the other process")
    run = await store.accept(NewRun("shop", "k", None, Payload("plain", b""), 1.0))
    await store.append(Write(number=run.number, entries=[RunParked("kept", 1.0)]))
    print(run.number, flush=True)
    sys.stdin.readline()
    os._exit(1)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_store_is_free_when_its_owner_has_died(path: Path) -> None:
    """However it died; what it was told is durable, and that it died is known."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    number = int(await owner.stdout.readline())
    store = SqliteStore(path)
    with pytest.raises(StoreOwnedError, match="the other process"):
        await store.open("worker 2")

    await owner.communicate(b"die\n")
    facts = await store.open("worker 2")

    assert not facts.was_closed
    assert ["kept"] == await notes(store, number)
    assert [number] == [row.number for row in await store.open_runs("shop", after=0, limit=9)]
    await store.close()
    assert (await store.open("worker 3")).was_closed
    await store.close()


async def test_a_closed_store_answers_nothing(store: SqliteStore) -> None:
    """It says so, rather than that there is nothing."""
    await store.close()

    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.runs(after=0, limit=9)


def test_a_file_that_goes_while_it_is_opened_is_not_made_anew(path: Path) -> None:
    """Only the look at it before makes one."""
    with pytest.raises(StoreUnavailableError, match="it cannot be opened"):
        connect(path, "full")

    assert not path.exists()


async def test_waiting_for_a_lock_that_another_one_has_can_be_cancelled(
    store: SqliteStore,
) -> None:
    """Nothing was taken, so nothing is given back."""
    opening = asyncio.ensure_future(SqliteStore(store.path).open("worker 2"))
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])

    assert opening.cancelled()
    with pytest.raises(StoreOwnedError, match="worker 1"):
        await SqliteStore(store.path).open("worker 3")


async def test_a_connection_that_gets_no_thread_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller was cancelled between the two."""

    class Nobody:
        """A thread that never comes."""

        def __init__(self, connector: Callable[[], object], **_: object) -> None:
            self.opened = connector()

        def __await__(self) -> Iterator[None]:
            opened.append(self.opened)
            raise asyncio.CancelledError
            yield  # what makes it an iterator

    opened: list[Any] = []
    with monkeypatch.context() as patched:
        patched.setattr("durable_agents.store._thread.aiosqlite.Connection", Nobody)
        with pytest.raises(asyncio.CancelledError):
            await SqliteStore(path).open("worker 1")

    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        opened[0].cursor()
    store = SqliteStore(path)
    await store.open("worker 2")
    await store.close()


@pytest.mark.slow
async def test_opening_can_be_cancelled_at_any_moment(path: Path) -> None:
    """The store is free at once, and no thread is left that would keep the process alive."""
    for passes in range(40):
        store = SqliteStore(path)
        opening = asyncio.ensure_future(store.open("worker 1"))
        for _ in range(passes**2):
            await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
        if not opening.cancelled():
            await store.close()

        await store.open("worker 2")
        await store.close()


@pytest.mark.parametrize("table", ["meta", "runs", "journal", "outputs", "memory"])
def test_a_store_of_which_a_table_is_missing_is_refused(path: Path, table: str) -> None:
    """It is not made anew: what was in it has to be looked for."""
    make(path)
    ask(path, f"DROP TABLE {table}")

    refused(path, StoreDamagedError, "tables are missing: restore the file")


@pytest.mark.parametrize("fact", ["token", "was_closed"])
def test_a_store_that_lost_its_name_is_refused(path: Path, fact: str) -> None:
    """The ids of its runs are made of it."""
    make(path)
    ask(path, f"DELETE FROM meta WHERE name = '{fact}'")  # noqa: S608 -- one of two words

    refused(path, StoreDamagedError, "its name is missing: restore the file")


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    """It runs in one transaction."""
    ask(path, f"PRAGMA application_id = {APPLICATION_ID}", "CREATE TABLE runs (a)")

    refused(path, StoreError, "table runs already exists")

    found = ask(path, "SELECT count(*) FROM sqlite_schema", "PRAGMA user_version")
    assert [(1,), (0,)] == found


@pytest.mark.parametrize(
    ("code", "expected", "text"),
    [
        (sqlite3.SQLITE_FULL, StoreFullError, "no space is left"),
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailableError, "the disk reports an error"),
        (sqlite3.SQLITE_CANTOPEN, StoreUnavailableError, "it cannot be opened"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StoreUnavailableError, "it is read-only"),
        (sqlite3.SQLITE_BUSY, StoreUnavailableError, "another program holds it locked"),
        (sqlite3.SQLITE_PERM, StoreUnavailableError, "it may not be opened"),
        (sqlite3.SQLITE_CORRUPT, StoreDamagedError, "restore the file from a backup"),
        (sqlite3.SQLITE_NOTADB, StoreDamagedError, "restore the file from a backup"),
        (sqlite3.SQLITE_NOMEM, StoreError, "disk I/O error"),
    ],
)
def test_errors_of_the_driver_become_ours(
    path: Path, code: int, expected: type[StoreError], text: str
) -> None:
    """By their code, extended or not; the text says what to do."""
    error = as_store_error(disk_error(code), path)

    assert expected is type(error)
    assert str(path) == error.store
    assert text in error.problem


def make(path: Path) -> None:
    """A store with one run in it, closed."""

    async def make_it() -> None:
        store = SqliteStore(path)
        await store.open("worker")
        run = await store.accept(new())
        await store.append(write(run.number, "a", "first output"))
        await store.close()

    asyncio.run(make_it())
