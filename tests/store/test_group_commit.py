"""One queue, one transaction, many waiters."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from durable_agents.errors import StoreError, StoreFullError, StoreUnavailableError
from durable_agents.store._group_commit import MAX_BATCH, BadWriteError, GroupCommit, Queued

Batch = Sequence[Queued[str]]


class Disk:
    """Commits in memory, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.attempts: list[list[str]] = []
        self.fails: Callable[[list[str]], Exception | None] = lambda _: None
        self.is_free = asyncio.Event()
        self.is_free.set()
        self.is_reached = asyncio.Event()

    async def commit(self, batch: Batch) -> None:
        words = [queued.write for queued in batch]
        self.attempts.append(words)
        self.is_reached.set()
        await self.is_free.wait()
        if (error := self.fails(words)) is not None:
            raise error
        self.batches.append(words)
        for queued in batch:
            queued.result = queued.write.upper()

    def open(self) -> GroupCommit[str]:
        commits = GroupCommit[str]("disk", self.commit)
        commits.start()
        return commits


def refuses(word: str) -> Callable[[list[str]], Exception | None]:
    return lambda words: BadWriteError(f"{word} is bad") if word in words else None


async def test_what_is_enqueued_in_one_pass_is_one_transaction() -> None:
    """The cost of a sync is shared by all who wait for one."""
    disk = Disk()
    commits = disk.open()

    results = await asyncio.gather(*(commits.enqueue(n, f"w{n}", b"") for n in range(100)))

    assert [[f"w{n}" for n in range(100)]] == disk.batches
    assert [f"W{n}" for n in range(100)] == results
    await commits.close()


async def test_what_comes_during_a_commit_is_the_next_transaction() -> None:
    """However much it is."""
    disk = Disk()
    disk.is_free.clear()
    commits = disk.open()
    first = commits.enqueue(1, "a", b"")
    await disk.is_reached.wait()

    others = [commits.enqueue(n, word, b"") for n, word in enumerate("bcd")]
    disk.is_free.set()
    await asyncio.gather(first, *others)

    assert [["a"], ["b", "c", "d"]] == disk.batches
    await commits.close()


async def test_a_transaction_is_bounded() -> None:
    """So that the first of a batch does not wait for a million others."""
    disk = Disk()
    commits = disk.open()

    await asyncio.gather(*(commits.enqueue(n, "w", b"") for n in range(MAX_BATCH + 1)))

    assert [MAX_BATCH, 1] == [len(batch) for batch in disk.batches]
    await commits.close()


async def test_waiters_are_woken_in_the_order_of_the_queue() -> None:
    """A run sees its own writes become durable one after the other."""
    disk = Disk()
    commits = disk.open()
    woken: list[str] = []

    futures = [commits.enqueue(1, word, b"") for word in "abc"]
    for future in futures:
        future.add_done_callback(lambda done: woken.append(done.result()))
    await asyncio.gather(*futures)

    assert ["A", "B", "C"] == woken
    await commits.close()


async def test_a_writer_that_is_idle_wakes_up_again() -> None:
    """However often."""
    disk = Disk()
    commits = disk.open()

    for word in "abc":
        assert word.upper() == await commits.enqueue(1, word, b"")

    assert [["a"], ["b"], ["c"]] == disk.batches
    await commits.close()


async def test_a_bad_write_fails_its_run_and_no_other() -> None:
    """The batch is tried again, one write at a time."""
    disk = Disk()
    disk.fails = refuses("bad")
    commits = disk.open()

    results = await asyncio.gather(
        *(
            commits.enqueue(n, word, b"")
            for n, word in [(1, "a"), (2, "bad"), (1, "b"), (2, "c")]
        ),
        return_exceptions=True,
    )

    assert ["A", "B"] == results[::2]
    assert [["a"], ["b"]] == disk.batches
    for error in results[1::2]:
        assert isinstance(error, StoreError)
        assert "store disk: a write was refused for its data: bad is bad" == str(error)
    await commits.close()


async def test_a_store_that_fails_fails_the_whole_batch() -> None:
    """Each waiter with an error of its own, of the same type and cause."""
    disk = Disk()
    full = StoreFullError("disk", "no space is left")
    full.__cause__ = OSError("ENOSPC")
    disk.fails = lambda _: full
    commits = disk.open()

    errors = await asyncio.gather(
        *(commits.enqueue(n, "w", b"") for n in range(2)), return_exceptions=True
    )

    assert errors[0] is not errors[1]
    for error in errors:
        assert isinstance(error, StoreFullError)
        assert full.args == error.args
        assert full.__cause__ is error.__cause__
    await commits.close()


async def test_later_writes_of_a_failed_run_are_refused_until_it_is_readmitted() -> None:
    """A gap in a journal would be taken for the truth; other runs go on."""
    disk = Disk()
    commits = disk.open()
    disk.fails = lambda _: StoreFullError("disk", "full")
    with pytest.raises(StoreFullError):
        await commits.enqueue(1, "a", b"")
    disk.fails = lambda _: None

    with pytest.raises(StoreFullError):
        await commits.enqueue(1, "b", b"")
    assert "C" == await commits.enqueue(2, "c", b"")
    commits.readmit(1)
    assert "D" == await commits.enqueue(1, "d", b"")

    assert [["c"], ["d"]] == disk.batches
    await commits.close()


async def test_a_failure_that_nobody_foresaw_leaves_nobody_waiting() -> None:
    """The writer tells it and goes on."""
    disk = Disk()
    disk.fails = lambda _: ZeroDivisionError("oops")
    commits = disk.open()

    with pytest.raises(StoreError, match=r"ZeroDivisionError\('oops'\)") as caught:
        await commits.enqueue(1, "a", b"")
    disk.fails = lambda _: None

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "B" == await commits.enqueue(2, "b", b"")
    await commits.close()


@pytest.mark.parametrize("fails", [None, StoreFullError("disk", "full")])
async def test_a_waiter_that_has_gone_is_not_told(fails: Exception | None) -> None:
    """Neither of the outcome nor of the failure; its write is not taken back."""
    disk = Disk()
    disk.fails = lambda _: fails
    commits = disk.open()

    gone = commits.enqueue(1, "a", b"")
    gone.cancel()
    await asyncio.gather(commits.enqueue(2, "b", b""), return_exceptions=True)

    assert gone.cancelled()
    assert [["a", "b"]] == disk.attempts
    await commits.close()


async def test_closing_waits_for_what_is_enqueued() -> None:
    """And for the commit that is under way."""
    disk = Disk()
    disk.is_free.clear()
    commits = disk.open()
    first = commits.enqueue(1, "a", b"")
    await disk.is_reached.wait()
    second = commits.enqueue(1, "b", b"")

    closing = asyncio.ensure_future(commits.close())
    disk.is_free.set()
    await closing

    assert ("A", "B") == (first.result(), second.result())


async def test_closing_can_be_cancelled_and_the_writer_ends_all_the_same() -> None:
    """When it has committed what was enqueued."""
    disk = Disk()
    disk.is_free.clear()
    commits = disk.open()
    first = commits.enqueue(1, "a", b"")
    await disk.is_reached.wait()

    closing = asyncio.ensure_future(commits.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    disk.is_free.set()
    await commits.close()

    assert closing.cancelled()
    assert "A" == first.result()


async def test_a_queue_that_was_never_started_can_be_closed() -> None:
    """Whoever cleans up need not ask."""
    await GroupCommit[str]("disk", Disk().commit).close()


async def test_nobody_waits_for_a_writer_that_was_cancelled() -> None:
    """A loop that is torn down cancels every task."""
    disk = Disk()
    disk.is_free.clear()
    tasks = asyncio.all_tasks()
    commits = disk.open()
    (writer,) = asyncio.all_tasks() - tasks
    under_way = commits.enqueue(1, "a", b"")
    await disk.is_reached.wait()
    queued = commits.enqueue(2, "b", b"")

    writer.cancel()
    await asyncio.wait([writer])
    late = commits.enqueue(3, "c", b"")

    for future in (under_way, queued, late):
        with pytest.raises(StoreUnavailableError, match="its writer has ended"):
            await future
