"""When the disk fails, nobody is told that something is durable which is not."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from durable_agents import SqliteStore
from durable_agents.errors import StoreError, StoreFullError, StoreUnavailableError
from durable_agents.journal import batch_of
from durable_agents.store import AcceptedRun
from tests.store._kit import FaultyDisk, disk_error, new, notes, write


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open("worker")
    return store


@asynccontextmanager
async def kept_open(path: Path) -> AsyncIterator[SqliteStore]:
    """A store whose threads end with the test, even with one that fails."""
    store = await opened(path)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.rows("ST-15")
async def test_a_commit_that_failed_is_reported_as_failed(disk: FaultyDisk, path: Path) -> None:
    """The file was opened anew, and the transaction was not there."""
    store = await opened(path)
    run = await store.accept(new())
    disk.fail("COMMIT", disk_error())

    with pytest.raises(StoreUnavailableError, match="the disk reports an error"):
        await store.append(write(run.number, "lost", "output"))

    assert 2 == disk.opened
    assert [] == await notes(store, run.number)
    assert [] == await store.outputs(after=0, limit=9)
    store.readmit(run.number)
    await store.append(write(run.number, "kept", "output"))
    assert ["kept"] == await notes(store, run.number)
    assert 1 == len(await store.outputs_of(run.number))
    await store.close()


async def test_a_commit_that_failed_and_was_made_is_reported_as_made(
    disk: FaultyDisk, path: Path
) -> None:
    """The highest number in the file says so; nothing is written twice."""
    async with kept_open(path) as store:
        run = await store.accept(new())
        disk.fail("COMMIT", disk_error(), executed=True)

        seq = await store.append(write(run.number, "kept", "output"))
        later = await store.append(write(run.number, "later", "output"))

        assert batch_of(later) > batch_of(seq)
        rows = await store.journal(run.number)
        assert [0, seq, later] == [number for number, _ in rows]
        assert 2 == len(await store.outputs_of(run.number))


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO runs", "ROLLBACK"])
async def test_a_transaction_may_fail_anywhere(
    disk: FaultyDisk, path: Path, statement: str
) -> None:
    """Even when it is taken back: the connection is closed then, which takes it back, too."""
    store = await opened(path)
    disk.fail("COMMIT" if statement == "ROLLBACK" else statement, disk_error())
    disk.fail("ROLLBACK", disk_error())

    with pytest.raises(StoreUnavailableError):
        await store.accept(new("order-7"))

    assert await store.find("order-7") is None
    assert (await store.accept(new("order-7"))).is_new
    await store.close()


async def test_an_input_that_was_accepted_after_all_is_reported_as_accepted(
    disk: FaultyDisk, path: Path
) -> None:
    """Its submitter would otherwise submit it once more."""
    store = await opened(path)
    disk.fail("COMMIT", disk_error(), executed=True)

    run = await store.accept(new())

    assert run.is_new
    assert [run.number] == [row.number for row in await store.runs(after=0, limit=9)]
    await store.close()


async def test_an_input_that_was_not_accepted_is_reported_as_failed(
    disk: FaultyDisk, path: Path
) -> None:
    """Nothing of it is left, and its number is not given again."""
    store = await opened(path)
    disk.fail("COMMIT", disk_error())

    with pytest.raises(StoreUnavailableError):
        await store.accept(new())

    assert [] == await store.runs(after=0, limit=9)
    assert 2 == (await store.accept(new())).number
    await store.close()


@pytest.mark.parametrize("with_a_write", [False, True])
async def test_ids_that_were_known_are_told_after_a_failure_too(
    disk: FaultyDisk, path: Path, with_a_write: bool
) -> None:
    """What the transaction had found out went with its connection, and is looked up again."""
    store = await opened(path)
    first = await store.accept(new("order-1", key="first"))
    disk.fail("COMMIT", disk_error(), executed=True)

    futures = [store.accept(new("order-1")), store.accept(new("order-2", key=""))]
    if with_a_write:
        store.append(write(first.number))
    again, second = await asyncio.gather(*futures)

    assert AcceptedRun(first.number, "order-1", "first", is_new=False) == again
    assert ("order-2", "", True) == (second.run_id, second.key, second.is_new)
    assert second.number > first.number
    await store.close()


async def test_a_file_that_cannot_be_opened_anew_is_tried_again_with_the_next_write(
    disk: FaultyDisk, path: Path
) -> None:
    """Until then each write is reported as failed, and nobody waits for ever."""
    store = await opened(path)
    run, other = await store.accept(new()), await store.accept(new())
    disk.fail("COMMIT", disk_error())
    disk.refused = [StoreUnavailableError(str(path), "gone")] * 2

    with pytest.raises(StoreUnavailableError, match="the disk reports an error"):
        await store.append(write(run.number))
    with pytest.raises(StoreUnavailableError, match="gone"):
        await store.append(write(other.number))
    store.readmit(run.number)
    await store.append(write(run.number, "back"))

    assert ["back"] == await notes(store, run.number)
    await store.close()


async def test_a_store_that_cannot_be_opened_anew_can_be_closed(
    disk: FaultyDisk, path: Path
) -> None:
    """The next owner learns that it was not closed in good order."""
    store = await opened(path)
    disk.fail("COMMIT", disk_error())
    disk.refused = [StoreUnavailableError(str(path), "gone")]
    with pytest.raises(StoreUnavailableError):
        await store.accept(new())

    await store.close()

    assert not (await store.open("worker 2")).was_closed
    await store.close()


async def test_a_file_that_has_gone_is_not_made_anew(store: SqliteStore) -> None:
    """What is written next would be missing what came before."""
    await store.close()
    missing = SqliteStore(store.path)
    await missing.open("worker 2")
    run = await missing.accept(new())

    for file in list(store.path.parent.iterdir()):
        file.unlink()
    failed = missing.append(write(run.number, "x" * 100_000))
    await asyncio.wait([failed])
    await missing.close()

    assert not store.path.exists()


async def test_an_error_without_a_name_of_its_own_is_a_store_error(
    disk: FaultyDisk, path: Path
) -> None:
    """The text of the driver is kept."""
    store = await opened(path)
    disk.fail("COMMIT", sqlite3.OperationalError("out of luck"))

    with pytest.raises(StoreError, match="out of luck") as caught:
        await store.accept(new())

    assert StoreError is type(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    await store.close()


async def test_a_bug_of_ours_leaves_nobody_waiting(disk: FaultyDisk, path: Path) -> None:
    """The store goes on."""
    store = await opened(path)
    disk.fail("BEGIN", ZeroDivisionError("oops"))

    with pytest.raises(StoreError, match="oops"):
        await store.accept(new())

    assert (await store.accept(new())).is_new
    await store.close()


async def test_a_failure_while_opening_is_one_of_ours(disk: FaultyDisk, path: Path) -> None:
    """And leaves the file free."""
    disk.fail("INSERT INTO meta", disk_error())

    with pytest.raises(StoreUnavailableError, match="the disk reports an error"):
        await SqliteStore(path).open("worker")

    await (await opened(path)).close()


async def test_a_failure_while_closing_is_none(disk: FaultyDisk, path: Path) -> None:
    """What was committed is safe; only the mark of a good end is missing."""
    store = await opened(path)
    await store.accept(new())
    disk.fail("INSERT INTO meta", disk_error())

    await store.close()

    assert not (await store.open("worker 2")).was_closed
    await store.close()


def wal_size(path: Path) -> int:
    return path.with_name("agents.db-wal").stat().st_size


async def grow(store: SqliteStore, path: Path, *, commits: int = 64, each: int = 65_536) -> int:
    """Write so many bytes by each commit; the largest size of the log on the way."""
    run = await store.accept(new())
    sizes: list[int] = []
    for _ in range(commits):
        await store.append(write(run.number, "x" * each))
        sizes.append(await asyncio.to_thread(wal_size, path))
    return max(sizes)


@pytest.mark.slow
@pytest.mark.parametrize(("commits", "each"), [(64, 65_536), (500, 10)])
async def test_the_log_beside_the_file_stays_small(
    path: Path, monkeypatch: pytest.MonkeyPatch, commits: int, each: int
) -> None:
    """It is folded into the file between commits, however little each of them says."""
    monkeypatch.setattr("durable_agents.store._committer.CHECKPOINT_BYTES", 2**18)
    store = await opened(path)

    largest = await grow(store, path, commits=commits, each=each)

    assert largest < 3 * 2**18
    await store.close()


@pytest.mark.slow
async def test_a_log_that_cannot_be_folded_in_is_folded_in_later(
    disk: FaultyDisk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed is safe in it."""
    monkeypatch.setattr("durable_agents.store._committer.CHECKPOINT_BYTES", 2**18)
    store = await opened(path)
    disk.fail("PRAGMA wal_checkpoint", disk_error())

    largest = await grow(store, path)

    assert [] == disk.faults
    assert largest < 5 * 2**18
    await store.close()


async def test_a_full_store_says_so_and_goes_on_when_there_is_space(
    disk: FaultyDisk, path: Path
) -> None:
    """Nothing that was acknowledged is lost, nothing that was not is there."""
    store = await opened(path)
    run = await store.accept(new())
    await store.append(write(run.number, "before"))
    disk.fail("COMMIT", disk_error(sqlite3.SQLITE_FULL))

    with pytest.raises(StoreFullError, match="make space; what is recorded stays"):
        await store.append(write(run.number, "lost"))

    store.readmit(run.number)
    await store.append(write(run.number, "after"))
    assert ["before", "after"] == await notes(store, run.number)
    await store.close()


FULL_DISK = """
import asyncio, json, resource, sys
from durable_agents import SqliteStore
from durable_agents.errors import StoreError
from durable_agents.journal import RunParked
from durable_agents.serialization import Payload
from durable_agents.store import NewRun, Write

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open("worker")
    kept, errors = [], []
    runs = [await store.accept(NewRun("shop", "k", None, Payload("plain", b""), 1.0))]

    async def append(text):
        number = runs[0].number
        store.readmit(number)
        await store.append(Write(number=number, entries=[RunParked(text, 1.0)]))
        kept.append(text[:9])

    limit(300_000)
    for n in range(40):
        try:
            await append(f"before {n:02}" + "x" * 20_000)
        except StoreError as error:
            errors.append(type(error).__name__)
    limit(resource.RLIM_INFINITY)
    await append("afterward")
    await store.close()
    print(json.dumps([kept, errors]))

asyncio.run(main())
"""


@pytest.mark.slow
async def test_what_was_acknowledged_on_a_disk_that_ran_full_is_there(path: Path) -> None:
    """A real one: the system refuses to let the file grow, and then lets it."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    kept, errors = json.loads(done.stdout)
    store = await opened(path)

    assert 41 == len(kept) + len(errors)
    assert {"StoreUnavailableError"} == set(errors)
    assert kept == [text[:9] for text in await notes(store, 1)]
    await store.close()
