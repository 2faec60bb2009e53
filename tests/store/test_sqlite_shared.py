"""One file that several workers share: who runs what, and whose writes are refused."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from durable_agents import SqliteStore
from durable_agents.errors import (
    StoreConflictError,
    StoreFullError,
    StoreOwnedError,
    StoreUnavailableError,
)
from durable_agents.journal import RunParked, RunStatus
from durable_agents.store import Beat, ClaimedRun, Claims, Pulse, Write
from durable_agents.store._sqlite_file import is_free_of_wal_reset_bug
from tests.store._kit import FaultyDisk, disk_error, new, notes, write

LEASE = 10.0


class Member:
    """A worker that shares the file, as far as the store sees it."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path, shared=True)
        self.runs: list[int] = []
        self.left: list[int] = []
        self.gone: list[int] = []

    @property
    def claims(self) -> Claims:
        assert self.store.claims is not None
        return self.store.claims

    def claimed(self, runs: Sequence[ClaimedRun]) -> None:
        self.runs += [run.number for run in runs]
        self.left += [run.number for run in runs if run.was_left]

    def lost(self, numbers: Collection[int]) -> None:
        self.gone += sorted(numbers)

    async def beat(self, now: float = 0.0, *, capacity: int = 100, boot: str = "b") -> Pulse:
        return await self.claims.beat(Beat("shop", capacity, boot, now, LEASE))


async def member(path: Path) -> Member:
    made = Member(path)
    await made.store.open("a worker")
    made.claims.attach(made)
    await made.beat()
    return made


@pytest.fixture
async def pair(path: Path) -> AsyncIterator[tuple[Member, Member]]:
    """Two workers that have just beaten."""
    first, second = await member(path), await member(path)
    yield first, second
    await first.store.close()
    await second.store.close()


def end(number: int) -> Write:
    return Write(number=number, entries=[RunParked("x", 1.0)], status=RunStatus.COMPLETED)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_is_shared_where_the_library_is_free_of_its_bug(
    version: tuple[int, int, int], expected: bool
) -> None:
    """Three lines of releases have the correction."""
    assert expected is is_free_of_wal_reset_bug(version)


async def test_an_owner_and_those_who_share_refuse_each_other(path: Path) -> None:
    """And the error says what to do."""
    alone, shared = SqliteStore(path), SqliteStore(path, shared=True)
    await alone.open("worker 1")
    with pytest.raises(StoreOwnedError, match=r"worker 1 .*stop that worker first"):
        await shared.open("worker 2")
    await alone.close()
    await shared.open("worker 2")
    with pytest.raises(StoreOwnedError, match=r"worker 2 .*join them with shared=True"):
        await alone.open("worker 1")
    await shared.close()


async def test_a_file_may_be_shared_for_a_while(path: Path) -> None:
    """What one kind of owner wrote, the other reads; the file is in the mode of its owner."""
    modes: list[str] = []
    for shared in (False, True, False):
        store = SqliteStore(path, shared=shared)
        await store.open("worker")
        await store.accept(new())
        with closing(sqlite3.connect(path)) as connection:
            modes += connection.execute("PRAGMA journal_mode").fetchone()
        numbers = [row.number for row in await store.runs(after=0, limit=10)]
        await store.close()

    assert [1, 2, 3] == numbers
    expected = "wal" if SqliteStore(path, shared=True).journal_mode == "wal" else "delete"
    assert ["wal", expected, "wal"] == modes


async def test_a_key_is_one_workers_until_its_run_ends(pair: tuple[Member, Member]) -> None:
    """Wherever its inputs were accepted."""
    first, second = pair
    one = await first.store.accept(new())
    two = await second.store.accept(new())
    await second.beat()
    assert (True, False) == (one.is_claimed, two.is_claimed)
    assert [] == second.runs

    await first.store.append(end(one.number))
    await second.beat()
    assert [two.number] == first.runs + second.runs


async def test_an_id_is_known_to_all(pair: tuple[Member, Member]) -> None:
    """Submitting twice is submitting once."""
    first, second = pair
    one = await first.store.accept(new("order-7"))
    again = await second.store.accept(new("order-7"))

    assert one.number == again.number
    assert not again.is_new


async def test_a_late_workers_writes_are_refused(pair: tuple[Member, Member]) -> None:
    """While the other one has the run, and when that has ended it; new inputs are taken."""
    first, second = pair
    one = await first.store.accept(new())
    await second.beat(LEASE)
    await second.beat(LEASE + LEASE / 10)
    assert [one.number] == second.left

    with pytest.raises(StoreConflictError):
        await first.store.append(write(one.number, "late"))
    await second.store.append(end(one.number))
    first.store.readmit(one.number)
    with pytest.raises(StoreConflictError):
        await first.store.append(write(one.number, "later"))
    assert ["x"] == await notes(second.store, one.number)
    assert [one.number] == first.gone
    assert (await first.store.accept(new())).is_claimed


async def test_a_lease_that_has_not_ended_is_left_alone(pair: tuple[Member, Member]) -> None:
    """So is one that was renewed."""
    first, second = pair
    one = await first.store.accept(new())
    await second.beat(LEASE - 1)
    await first.beat(LEASE - 1)
    await second.beat(LEASE + 5)
    await second.beat(LEASE + 7)

    await first.store.append(write(one.number, "in time"))
    assert [] == first.gone


async def test_a_restart_of_the_machine_ends_all_leases(pair: tuple[Member, Member]) -> None:
    """Times of two starts cannot be compared."""
    first, second = pair
    one = await first.store.accept(new())
    await second.beat(0.0, boot="another")
    await second.beat(LEASE / 10, boot="another")

    assert [one.number] == second.left


async def test_a_worker_that_leaves_gives_its_runs_back(path: Path) -> None:
    """At once, and without suspicion."""
    first, second = await member(path), await member(path)
    one = await first.store.accept(new())
    await first.store.close()
    await second.beat()

    assert ([one.number], []) == (second.runs, second.left)
    await second.store.close()


async def test_a_parked_run_keeps_its_key(pair: tuple[Member, Member]) -> None:
    """Until a person has decided, in every worker."""
    first, second = pair
    one = await first.store.accept(new())
    await second.store.accept(new())
    parked = write(one.number)
    parked.status = RunStatus.PARKED
    await first.store.append(parked)

    assert (await second.beat()).is_idle
    assert [] == first.runs + second.runs


async def test_a_worker_claims_no_more_than_it_has_room_for(
    pair: tuple[Member, Member],
) -> None:
    """The others find the rest."""
    first, second = pair
    await first.beat(capacity=1)
    accepted = [await first.store.accept(new(key=key)) for key in "abc"]
    await second.beat()

    assert [True, False, False] == [one.is_claimed for one in accepted]
    assert [one.number for one in accepted[1:]] == second.runs


async def test_a_write_that_waited_while_its_run_was_lost_is_refused(
    pair: tuple[Member, Member],
) -> None:
    """Though the run is forgotten by then, and nobody's, since the other one ended it."""
    first, second = pair
    one = await first.store.accept(new())
    first.lost = lambda numbers: [first.claims.forget(n) for n in numbers]  # type: ignore[assignment,method-assign,return-value]
    await second.beat(LEASE)
    await second.beat(LEASE + LEASE / 10)
    await second.store.append(end(one.number))
    finding_out = first.claims.beat(Beat("shop", 100, "b", LEASE, LEASE))
    await asyncio.sleep(0)  # the writer is at work
    late = first.store.append(write(one.number, "late"))

    await finding_out
    with pytest.raises(StoreConflictError):
        await late
    assert ["x"] == await notes(second.store, one.number)


async def test_a_worker_that_was_struck_out_keeps_nothing_without_a_beat(
    pair: tuple[Member, Member],
) -> None:
    """What it takes in before that can be taken over, should it be stopped again."""
    first, second = pair
    await first.store.accept(new())
    await second.beat(LEASE)
    await second.beat(LEASE + LEASE / 10)
    again = await first.store.accept(new(key="other"))
    assert again.is_claimed
    second.runs.clear()

    await second.beat(LEASE + 2)
    await second.beat(LEASE + 4)
    assert [again.number] == second.runs


@pytest.mark.parametrize("executed", [False, True])
async def test_a_commit_of_which_nobody_knows_the_end_leaves_claims_as_the_file_has_them(
    disk: FaultyDisk, path: Path, executed: bool
) -> None:
    """Nothing is held twice, and a place is free again where a run ended all the same."""
    first, second = await member(path), await member(path)
    one = await first.store.accept(new())
    disk.fail("COMMIT", disk_error(), executed=executed)
    disk.refused.append(disk_error())
    with pytest.raises(StoreUnavailableError):
        await first.store.append(end(one.number))
    first.store.readmit(one.number)
    two = await second.store.accept(new())
    await first.beat()
    await second.beat()

    assert executed is not first.claims.holds(one.number)
    assert executed is two.is_claimed
    assert not first.claims.holds(two.number)
    if not executed:
        await first.store.append(end(one.number))
        await second.beat()
        assert [two.number] == first.runs + second.runs
    await first.store.close()
    await second.store.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_FULL])
async def test_what_was_acknowledged_survives_a_disk_that_fails(
    disk: FaultyDisk, path: Path, code: int
) -> None:
    """The write that failed can be made again; the run is still this worker's alone."""
    first, second = await member(path), await member(path)
    one = await first.store.accept(new())
    await first.store.append(write(one.number, "kept"))
    disk.fail("COMMIT", disk_error(code))
    with pytest.raises((StoreUnavailableError, StoreFullError)):
        await first.store.append(write(one.number, "lost"))
    with pytest.raises(StoreConflictError):
        await second.store.append(write(one.number, "not its own"))
    first.store.readmit(one.number)
    await first.store.append(write(one.number, "again"))

    assert ["kept", "again"] == await notes(second.store, one.number)
    assert [] == first.gone
    await first.store.close()
    await second.store.close()


async def test_files_are_shared_in_wal_mode_where_that_is_safe(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims, refusals and take-overs are the same."""
    monkeypatch.setattr("durable_agents.store._sqlite.is_free_of_wal_reset_bug", lambda _: True)
    first, second = await member(path), await member(path)
    with closing(sqlite3.connect(path)) as connection:
        assert ("wal",) == connection.execute("PRAGMA journal_mode").fetchone()
    one, two = await first.store.accept(new()), await second.store.accept(new())
    await second.beat(LEASE)
    await second.beat(LEASE + LEASE / 10)
    with pytest.raises(StoreConflictError):
        await first.store.append(write(one.number, "late"))
    await second.store.append(end(one.number))
    await second.beat(LEASE + 2)

    assert [one.number, two.number] == second.runs
    assert [one.number] == first.gone
    assert ["x"] == await notes(first.store, one.number)
    await first.store.close()
    await second.store.close()


async def test_a_decision_on_what_a_run_no_longer_is_is_refused(
    pair: tuple[Member, Member],
) -> None:
    """Between the look and the write another worker may have run it to its end."""
    first, second = pair
    accepted = await first.store.accept(new(run_id="a"))
    await first.store.append(end(accepted.number))
    late = end(accepted.number)
    late.decided_on = RunStatus.ACCEPTED

    with pytest.raises(StoreConflictError, match="has changed hands or state meanwhile"):
        await second.store.append(late)

    second.store.readmit(accepted.number)
    fresh = end(accepted.number)
    fresh.decided_on = RunStatus.COMPLETED
    await second.store.append(fresh)
