"""What every store does: one suite, so that a fake may stand in for a database."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from durable_agents import Store
from durable_agents.errors import StoreError, StoreOwnedError, StoreUnavailableError
from durable_agents.journal import (
    Entry,
    MemoryUpdate,
    RunAccepted,
    RunCompleted,
    RunFailed,
    RunParked,
    RunStatus,
    SentEvent,
    batch_of,
)
from durable_agents.serialization import Payload
from durable_agents.store import (
    AcceptedRun,
    NewRun,
    Pause,
    Retention,
    RunRow,
    WaitingRuns,
    Write,
)

PAYLOAD = Payload("plain", b"\x01")
LONE_SURROGATE = "\ud800"


def new(key: str | None = "k", run_id: str | None = None, agent: str = "shop") -> NewRun:
    return NewRun(agent, key, run_id, PAYLOAD, 1.0)


def note(text: str) -> Entry:
    return RunParked(text, 2.0)


def write(number: int, *texts: str, **effects: Any) -> Write:  # noqa: ANN401 - fields of Write
    return Write(number=number, entries=[note(text) for text in texts or ("x",)], **effects)


def unwritable(number: int) -> Write:
    """One that no file could hold."""
    return write(number, memory=("shop", "k", {LONE_SURROGATE: None}))


def value(path: str, data: bytes = b"\x01") -> MemoryUpdate:
    return MemoryUpdate(path, "value", Payload("plain", data))


def sent(name: str) -> SentEvent:
    return SentEvent(name, PAYLOAD)


async def accept(
    store: Store,
    count: int = 1,
    **fields: Any,  # noqa: ANN401 - arguments of `new`
) -> list[AcceptedRun]:
    return await asyncio.gather(*(store.accept(new(**fields)) for _ in range(count)))


async def texts(store: Store, number: int) -> list[str]:
    """Notes of a run's journal, in order."""
    rows = await store.journal(number)
    return [e.reason for _, entries in rows for e in entries if isinstance(e, RunParked)]


async def reopen(store: Store) -> None:
    await store.close()
    await store.open("worker 2")


async def test_an_accepted_input_is_there(store: Store) -> None:
    """Under the number and id that its caller was told, with its first entry."""
    (accepted,) = await accept(store)

    row = RunRow(accepted.number, accepted.run_id, "shop", "k", RunStatus.ACCEPTED, 1)
    assert accepted.is_new
    assert row == await store.find(accepted.run_id)
    entry = RunAccepted(accepted.run_id, "shop", "k", PAYLOAD, 1.0, is_event=False)
    assert [(0, [entry])] == await store.journal(accepted.number)


async def test_inputs_are_numbered_in_the_order_of_acceptance(store: Store) -> None:
    """Whether they came together or one after the other."""
    numbers = [a.number for a in await accept(store, 5) + await accept(store, 5)]

    assert sorted(set(numbers)) == numbers
    assert numbers == [row.number for row in await store.runs(after=0, limit=100)]


async def test_an_input_that_is_an_event_stays_one(store: Store) -> None:
    """Its journal says how to read it."""
    accepted = await store.accept(NewRun("shop", "k", None, PAYLOAD, 1.0, is_event=True))

    ((_, [entry]),) = await store.journal(accepted.number)
    assert isinstance(entry, RunAccepted)
    assert entry.is_event


async def test_made_up_ids_are_distinct_and_stand_for_the_key_that_is_missing(
    store: Store,
) -> None:
    """An input without a key is ordered with nobody."""
    first, second = await accept(store, 2, key=None)

    assert first.run_id != second.run_id
    assert (first.run_id, second.run_id) == (first.key, second.key)
    found = await store.find(second.run_id)
    assert found is not None
    assert (second.number, second.key) == (found.number, found.key)


@pytest.mark.parametrize("key", ["k", "", None])
async def test_accepting_an_id_twice_is_accepting_it_once(
    store: Store, key: str | None
) -> None:
    """Together, later, and after a restart; whatever else the second one says."""
    first, again = await asyncio.gather(
        store.accept(new(key, "order-7")), store.accept(new("other", "order-7"))
    )
    later = await store.accept(new(key, "order-7"))
    await reopen(store)
    restarted = await store.accept(new(key, "order-7"))

    expected = ("order-7", "order-7" if key is None else key)
    assert first.is_new
    assert expected == (first.run_id, first.key)
    known = AcceptedRun(first.number, *expected, is_new=False)
    assert [known] * 3 == [again, later, restarted]
    assert [first.number] == [row.number for row in await store.runs(after=0, limit=100)]


async def test_an_id_that_the_store_made_up_is_not_given_to_another_input(
    store: Store,
) -> None:
    """Two runs of one id could not be told apart."""
    (accepted,) = await accept(store)
    token, _, number = accepted.run_id.rpartition("-")

    with pytest.raises(ValueError, match=f"id '{accepted.run_id}'"):
        store.accept(new(run_id=accepted.run_id))
    with pytest.raises(ValueError, match="choose another"):
        store.accept(new(run_id=f"{token}-{int(number) + 1}"))


def made(run_id: str | None) -> NewRun:
    """One that has entries, outputs and blobs from the start."""
    outputs, blobs = [sent("1"), sent("2")], {b"hash": PAYLOAD}
    entries = (note("a"), note("b"))
    return NewRun(
        "shop", "k", run_id, PAYLOAD, 1.0, entries=entries, outputs=outputs, blobs=blobs
    )


@pytest.mark.parametrize("run_id", [None, "made"])
async def test_a_run_may_be_accepted_with_all_that_it_is_made_of(
    store: Store, run_id: str | None
) -> None:
    """In the row of its acceptance; also after a restart."""
    accepted = await store.accept(made(run_id))
    await reopen(store)

    number = accepted.number
    entry = RunAccepted(accepted.run_id, "shop", "k", PAYLOAD, 1.0)
    assert [(0, [entry, note("a"), note("b")])] == await store.journal(number)
    assert [sent("1"), sent("2")] == [row.event for row in await store.outputs_of(number)]
    assert [1, 2] == [row.position for row in await store.outputs(after=0, limit=9)]
    assert {b"hash": PAYLOAD} == await store.blobs(number)
    await store.append(write(number, "c", outputs=[sent("3")]))
    assert ["a", "b", "c"] == await texts(store, number)
    assert ["1", "2", "3"] == [row.event.event_id for row in await store.outputs_of(number)]


async def test_of_a_run_whose_id_is_known_nothing_is_taken_in(store: Store) -> None:
    """Neither under its own number nor under that of the run that is there."""
    first, again = await asyncio.gather(
        store.accept(new(run_id="made")), store.accept(made("made"))
    )

    assert (first.number, False) == (again.number, again.is_new)
    assert {} == await store.blobs(first.number) == await store.blobs(first.number + 1)
    assert [] == await store.outputs(after=0, limit=9)
    assert 1 == len((await store.journal(first.number))[0][1])


async def test_pauses_are_kept_until_they_are_resumed(store: Store) -> None:
    """For whole agents and for keys, whatever their names; also over a restart."""
    pauses = [
        Pause("a", None, "all", 1.0),
        Pause("a", "", "empty", 2.0),
        Pause("a", 'k","', "odd", 3.0),
        Pause("b-", "é", "other", 4.0),
    ]
    for pause in reversed(pauses):
        await store.pause(pause)
    await reopen(store)

    assert pauses == await store.pauses()
    assert [True, False] == [await store.resume("a", None) for _ in range(2)]
    assert not await store.resume("b", "k")
    await store.pause(Pause("a", "", "again", 5.0))
    assert [Pause("a", "", "again", 5.0), *pauses[2:]] == await store.pauses()


UNKNOWN_IDS = ["unknown", "", "{token}", "{token}-", "{token}-0", "{token}-01", "{token}-٣"]
ODD_IDS = ["x-1", "{token}-99", "{token}-" + "9" * 30, "{token}--1", LONE_SURROGATE]


@pytest.mark.parametrize("run_id", [*UNKNOWN_IDS, *ODD_IDS])
async def test_an_unknown_id_is_found_nowhere(store: Store, run_id: str) -> None:
    """Not even one that looks like those that are made up."""
    accepted = await accept(store, 3)
    token = accepted[0].run_id.rpartition("-")[0]

    assert await store.find(run_id.format(token=token)) is None


@pytest.mark.rows("ST-25")
async def test_an_unknown_run_has_no_journal(store: Store) -> None:
    """A number is no proof that there is a run."""
    assert [] == await store.journal(99)
    assert [] == await store.outputs_of(99)


@pytest.mark.rows("ST-29")
async def test_a_write_is_durable_when_its_future_is_done(store: Store) -> None:
    """And not before the call that enqueues it has returned."""
    (accepted,) = await accept(store)

    appended = store.append(write(accepted.number, "a", "b"))
    assert not appended.done()
    seq = await appended

    rows = await store.journal(accepted.number)
    assert (seq, [note("a"), note("b")]) == rows[-1]


async def test_rows_of_a_run_keep_their_order(store: Store) -> None:
    """Those of other runs between them."""
    runs = [a.number for a in await accept(store, 3)]

    futures = [store.append(write(run, f"{i}")) for i in range(20) for run in runs]
    seqs = await asyncio.gather(*futures)

    assert sorted(set(seqs)) == seqs
    for index, run in enumerate(runs):
        assert [f"{i}" for i in range(20)] == await texts(store, run)
        expected = [0, *seqs[index::3]]
        assert expected == [seq for seq, _ in await store.journal(run)]


async def test_transactions_are_numbered_in_order(store: Store) -> None:
    """Rows that became durable one after the other are of different batches."""
    (accepted,) = await accept(store)

    seqs = [await store.append(write(accepted.number)) for _ in range(3)]

    batches = [batch_of(seq) for seq in seqs]
    assert all(earlier < later for earlier, later in pairwise(batches))


async def test_what_a_caller_changes_afterwards_changes_no_record(store: Store) -> None:
    """The entries are written as they were when `append` was called."""
    (accepted,) = await accept(store)
    entries = [note("before")]

    appended = store.append(Write(number=accepted.number, entries=entries))
    entries[0] = note("after")
    await appended

    assert ["before"] == await texts(store, accepted.number)


async def test_blobs_become_durable_with_the_entries_that_refer_to_them(store: Store) -> None:
    """They are the run's own, and are there after a restart."""
    first, second = await accept(store, 2)
    blobs = {b"one": PAYLOAD, b"": Payload("blob+zlib", b"\x00\xff" * 9)}

    await store.append(write(first.number, blobs=blobs))
    await store.append(write(first.number, blobs={}))
    await store.append(write(first.number, blobs={b"later": PAYLOAD}))

    assert {} == await store.blobs(second.number) == await store.blobs(99)
    assert blobs | {b"later": PAYLOAD} == await store.blobs(first.number)
    await reopen(store)
    assert blobs | {b"later": PAYLOAD} == await store.blobs(first.number)


async def test_a_blob_that_is_there_stays_as_it_is(store: Store) -> None:
    """A name stands for one content, however often it is written, and in one run only."""
    first, second = await accept(store, 2)
    other = Payload("blob", b"sealed in another way")

    await store.append(write(first.number, blobs={b"one": PAYLOAD}))
    await store.append(write(first.number, blobs={b"one": other}))
    await store.append(write(second.number, blobs={b"one": other}))

    assert {b"one": PAYLOAD} == await store.blobs(first.number)
    assert {b"one": other} == await store.blobs(second.number)


async def test_blobs_of_a_write_that_is_refused_are_refused_with_it(store: Store) -> None:
    """All of a write or nothing."""
    (accepted,) = await accept(store)
    bad = unwritable(accepted.number)
    bad.blobs = {b"one": PAYLOAD}

    with pytest.raises(StoreError):
        await store.append(bad)

    assert {} == await store.blobs(accepted.number)


async def test_cancelling_a_write_takes_nothing_back(store: Store) -> None:
    """What is enqueued becomes durable, whoever still waits."""
    (accepted,) = await accept(store)

    store.append(write(accepted.number, "kept")).cancel()
    await store.append(write(accepted.number, "next"))

    assert ["kept", "next"] == await texts(store, accepted.number)


@pytest.mark.rows("ST-15")
async def test_a_write_that_cannot_be_written_fails_its_own_run_only(store: Store) -> None:
    """Those that were enqueued with it go through, in order."""
    good, bad = [a.number for a in await accept(store, 2)]

    results = await asyncio.gather(
        store.append(write(good, "1")),
        store.append(write(bad, "before")),
        store.append(unwritable(bad)),
        store.append(write(bad, "after")),
        store.append(write(good, "2")),
        return_exceptions=True,
    )

    failed = [isinstance(result, StoreError) for result in results]
    assert [False, False, True, True, False] == failed
    assert "a write was refused for its data" in str(results[2])
    assert ["1", "2"] == await texts(store, good)
    assert ["before"] == await texts(store, bad)


async def test_each_waiter_gets_an_error_of_its_own(store: Store) -> None:
    """Tracebacks of several tasks must not pile up on one object."""
    (accepted,) = await accept(store)

    first, second = await asyncio.gather(
        store.append(unwritable(accepted.number)),
        store.append(write(accepted.number)),
        return_exceptions=True,
    )

    assert first is not second
    assert str(first) == str(second)


async def test_a_run_of_which_a_write_failed_is_refused_until_it_is_readmitted(
    store: Store,
) -> None:
    """What its owner has in memory may not be what is durable."""
    (accepted,) = await accept(store)
    with pytest.raises(StoreError):
        await store.append(unwritable(accepted.number))

    with pytest.raises(StoreError, match="refused for its data"):
        await store.append(write(accepted.number, "too early"))
    await store.journal(accepted.number)
    with pytest.raises(StoreError, match="refused for its data"):
        await store.append(write(accepted.number, "still too early"))
    store.readmit(accepted.number)
    await store.append(write(accepted.number, "again"))

    assert ["again"] == await texts(store, accepted.number)


async def test_a_write_of_nothing_says_whether_the_store_takes_writes(store: Store) -> None:
    """It is refused as any other one of the run, and adds nothing to what has happened."""
    (accepted,) = await accept(store)
    nothing = Write(number=accepted.number, entries=[])
    with pytest.raises(StoreError):
        await store.append(unwritable(accepted.number))
    with pytest.raises(StoreError, match="refused for its data"):
        await store.append(nothing)
    store.readmit(accepted.number)
    await store.append(nothing)
    await store.append(write(accepted.number, "again"))

    assert ["again"] == await texts(store, accepted.number)


async def test_readmitting_a_run_of_which_nothing_failed_changes_nothing(store: Store) -> None:
    """Whoever reads a run afresh may say so."""
    (accepted,) = await accept(store)

    store.readmit(accepted.number)

    assert batch_of(await store.append(write(accepted.number))) > 0


@pytest.mark.parametrize("field", ["agent", "key", "run_id"])
async def test_a_text_that_no_file_could_hold_fails_its_caller_at_once(
    store: Store, field: str
) -> None:
    """And nobody else."""
    with pytest.raises(UnicodeEncodeError):
        store.accept(new(**{field: LONE_SURROGATE}))
    (accepted,) = await accept(store)
    with pytest.raises(UnicodeEncodeError):
        store.append(write(accepted.number, LONE_SURROGATE))

    await store.append(write(accepted.number, "fine"))
    assert ["fine"] == await texts(store, accepted.number)


@pytest.mark.parametrize(
    "effects",
    [
        {"outputs": [SentEvent(LONE_SURROGATE, PAYLOAD)]},
        {"memory": (LONE_SURROGATE, "k", {"a": value("a")})},
        {"memory": ("shop", LONE_SURROGATE, {"a": None})},
        {"memory": ("shop", "k", {LONE_SURROGATE: value("a")})},
    ],
    ids=["output", "agent", "key", "path"],
)
async def test_effects_that_no_file_could_hold_take_none_of_their_write_along(
    store: Store, effects: dict[str, Any]
) -> None:
    """All or nothing."""
    (accepted,) = await accept(store)

    with pytest.raises(StoreError, match="refused for its data"):
        await store.append(
            write(accepted.number, "lost", status=RunStatus.COMPLETED, **effects)
        )

    assert [] == await texts(store, accepted.number)
    assert [] == await store.outputs(after=0, limit=10)
    assert 1 == len(await store.open_runs("shop", after=0, limit=10))


@pytest.mark.rows("ST-31")
async def test_outputs_are_numbered_in_the_order_of_commits(store: Store) -> None:
    """Over all runs, and over restarts."""
    one, two = [a.number for a in await accept(store, 2)]
    await store.append(write(one, outputs=[sent("1"), sent("2")]))
    await store.append(write(two, outputs=[sent("3")]))
    await reopen(store)
    await store.append(write(one, outputs=[sent("4")]))

    rows = await store.outputs(after=0, limit=100)

    positions = [row.position for row in rows]
    assert ["1", "2", "3", "4"] == [row.event.event_id for row in rows]
    assert [one, one, two, one] == [row.number for row in rows]
    assert sorted(set(positions)) == positions
    assert rows[1:3] == await store.outputs(after=positions[0], limit=2)
    assert [rows[0], rows[1], rows[3]] == await store.outputs_of(one)
    assert [] == await store.outputs(after=positions[-1], limit=10)


@pytest.mark.rows("ST-27")
async def test_memory_holds_the_last_update_of_each_path(store: Store) -> None:
    """Per agent and key; a deleted path is gone."""
    (accepted,) = await accept(store)
    first = {"a": value("a"), "b": value("b"), "c": None}
    second = {"a": value("a", b"\x02"), "b": None, "d": MemoryUpdate("d", "object")}

    await store.append(write(accepted.number, memory=("shop", "k", first)))
    assert {"a": value("a"), "b": value("b")} == await store.memory("shop", "k")
    await store.append(write(accepted.number, memory=("shop", "k", second)))
    await store.append(write(accepted.number, memory=("shop", "other", {"z": value("z")})))
    await reopen(store)

    expected = {"a": value("a", b"\x02"), "d": MemoryUpdate("d", "object")}
    assert expected == await store.memory("shop", "k")
    assert {"z": value("z")} == await store.memory("shop", "other")
    assert {} == await store.memory("other", "k")
    assert {} == await store.memory(LONE_SURROGATE, "k")


async def test_a_store_knows_whether_it_holds_any_memory(store: Store) -> None:
    """From the first path on, and after a restart; before that a look-up is saved."""
    (accepted,) = await accept(store)
    assert not store.holds_memory

    await store.append(write(accepted.number, memory=("shop", "k", {"a": value("a")})))
    assert store.holds_memory

    await reopen(store)
    assert store.holds_memory


async def test_open_runs_are_those_of_the_agent_that_have_not_ended(store: Store) -> None:
    """A parked one is open; it waits for a person."""
    runs = [a.number for a in await accept(store, len(RunStatus))]
    await accept(store, agent="other")
    for run, status in zip(runs, RunStatus, strict=True):
        await store.append(write(run, status=status))

    rows = await store.open_runs("shop", after=0, limit=100)

    expected = [(run, s) for run, s in zip(runs, RunStatus, strict=True) if s.is_open]
    assert expected == [(row.number, row.status) for row in rows]
    assert len(runs) + 1 == len(await store.runs(after=0, limit=100))


async def test_runs_that_wait_are_found_when_they_are_due(store: Store) -> None:
    """The earliest first, so many at a time; one that no time wakes is counted, too."""
    runs = [a.number for a in await accept(store, 4)]
    (other,) = await accept(store, agent="other")
    for run, wake in zip(runs, (30.0, 10.0, 20.0, None), strict=True):
        await store.append(write(run, status=RunStatus.WAITING, wake=wake))
    await store.append(write(other.number, status=RunStatus.WAITING, wake=1.0))

    async def due(now: float, limit: int = 9) -> list[int]:
        return [row.number for row in await store.due_runs("shop", now=now, limit=limit)]

    assert WaitingRuns(4, 10.0) == await store.waiting_runs("shop")
    assert [] == await due(9.9)
    assert [runs[1], runs[2]] == await due(20.0)
    assert [runs[1]] == await due(99.0, limit=1)

    await store.append(write(runs[1], status=RunStatus.ACCEPTED))
    await store.append(write(runs[2], status=RunStatus.WAITING, wake=40.0))
    assert WaitingRuns(3, 30.0) == await store.waiting_runs("shop")
    assert [runs[0], runs[2]] == await due(99.0)
    assert WaitingRuns(0, None) == await store.waiting_runs("nobody")


async def test_those_that_wait_are_in_nobodys_way_without_a_key(store: Store) -> None:
    """A worker that starts reads the keys that are kept, and no more."""
    (keyless,) = await accept(store, key=None)
    (keyed,) = await accept(store, key="k")
    for run in (keyless, keyed):
        await store.append(write(run.number, status=RunStatus.WAITING))

    assert [keyed.number] == [r.number for r in await store.open_runs("shop", after=0, limit=9)]
    rows = await store.open_runs_of_key("shop", "k", after=0, limit=9)
    assert [keyed.number] == [row.number for row in rows]


async def test_a_write_without_a_status_leaves_it(store: Store) -> None:
    """Most writes are about calls."""
    (accepted,) = await accept(store)

    await store.append(write(accepted.number, status=RunStatus.PARKED))
    await store.append(write(accepted.number))

    row = await store.find(accepted.run_id)
    assert row is not None
    assert RunStatus.PARKED == row.status


async def test_runs_are_read_page_by_page(store: Store) -> None:
    """By number, beginning behind the last one of the page before."""
    runs = [a.number for a in await accept(store, 7)]

    async def numbers(after: int) -> list[int]:
        return [row.number for row in await store.open_runs("shop", after=after, limit=3)]

    assert runs[:3] == await numbers(0)
    assert runs[3:6] == await numbers(runs[2])
    assert runs[6:] == await numbers(runs[5])
    assert [] == await numbers(runs[6])
    assert runs[2:4] == [r.number for r in await store.runs(after=runs[1], limit=2)]


@pytest.mark.parametrize("key", ["k", "", "nul\0", "ß"])
async def test_open_runs_of_one_key_are_found_by_it(store: Store, key: str) -> None:
    """Any text is a key."""
    first, second, third, ended = await accept(store, 4, key=key)
    await accept(store, 2, key="another")
    await accept(store, key=key, agent="other")
    await store.append(write(ended.number, status=RunStatus.FAILED))

    async def numbers(after: int, limit: int) -> list[int]:
        rows = await store.open_runs_of_key("shop", key, after=after, limit=limit)
        return [row.number for row in rows]

    assert [first.number, second.number, third.number] == await numbers(0, 10)
    assert [second.number] == await numbers(first.number, 1)


async def test_a_run_whose_id_is_its_key_is_ordered_with_those_of_that_key(
    store: Store,
) -> None:
    """Its caller named it, so others may be given the same key."""
    (named,) = await accept(store, key=None, run_id="order-7")
    (keyed,) = await accept(store, key="order-7")

    rows = await store.open_runs_of_key("shop", "order-7", after=0, limit=10)

    assert [named.number, keyed.number] == [row.number for row in rows]


async def test_a_new_store_counts_as_closed(store: Store) -> None:
    """No run of it can have been under way; its name stays its own."""
    await store.close()

    first = await store.open("worker 2")
    await store.close()
    second = await store.open("worker 3")

    assert first.was_closed
    assert first == second


async def test_an_open_store_is_refused_to_a_second_owner(store: Store) -> None:
    """The error names the first, who is not disturbed."""
    with pytest.raises(StoreOwnedError, match="worker 1"):
        await store.open("worker 2")

    (accepted,) = await accept(store)
    assert await store.find(accepted.run_id) is not None


async def test_numbering_goes_on_after_a_restart(store: Store) -> None:
    """No number of a run or a row is given twice."""
    (first,) = await accept(store)
    early = await store.append(write(first.number, "before"))
    await reopen(store)

    (second,) = await accept(store)
    late = await store.append(write(first.number, "after"))

    assert second.number > first.number
    assert batch_of(late) > batch_of(early)
    assert ["before", "after"] == await texts(store, first.number)


async def test_closing_commits_what_is_enqueued(store: Store) -> None:
    """Nobody has to wait for it."""
    accepted = store.accept(new())
    run = await accepted
    appended = store.append(write(run.number, "last"))

    await store.close()

    assert appended.done()
    await store.open("worker 2")
    assert ["last"] == await texts(store, run.number)


async def test_closing_twice_is_allowed(store: Store) -> None:
    """So that whoever cleans up need not ask."""
    await store.close()
    await store.close()

    assert (await store.open("worker 2")).was_closed


async def test_a_closed_store_refuses_to_be_used(store: Store) -> None:
    """Clearly, rather than by waiting for ever."""
    (accepted,) = await accept(store)
    await store.close()

    with pytest.raises(StoreUnavailableError, match="not open"):
        store.accept(new())
    with pytest.raises(StoreUnavailableError, match="not open"):
        store.append(write(accepted.number))
    with pytest.raises(StoreUnavailableError, match="not open"):
        store.readmit(accepted.number)
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.find(accepted.run_id)


async def test_a_store_that_is_closing_takes_nothing_more_in(store: Store) -> None:
    """What came before is committed; what comes now would come too late."""
    (accepted,) = await accept(store)
    appended = store.append(write(accepted.number))
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    with pytest.raises(StoreUnavailableError, match=r"it is (closed|not open)"):
        store.append(write(accepted.number))
    with pytest.raises(StoreUnavailableError, match=r"it is (closed|not open)"):
        store.accept(new())

    await closing
    assert appended.done()


@pytest.mark.parametrize("passes", range(4))
async def test_closing_can_be_cancelled_and_loses_nothing(store: Store, passes: int) -> None:
    """What is enqueued becomes durable, and the next owner can have the store."""
    (accepted,) = await accept(store)
    store.append(write(accepted.number, "last"))
    closing = asyncio.ensure_future(store.close())
    for _ in range(passes):
        await asyncio.sleep(0)

    closing.cancel()
    await asyncio.wait([closing])
    await store.close()

    await store.open("worker 2")
    assert ["last"] == await texts(store, accepted.number)


async def finished(store: Store, count: int, *, at: float = 5.0) -> list[AcceptedRun]:
    """Runs that completed, each with one output."""
    runs = await accept(store, count, key=None)
    for run in runs:
        done = Write(
            number=run.number,
            entries=[RunCompleted(at)],
            status=RunStatus.COMPLETED,
            outputs=[sent(f"{run.run_id}/0")],
        )
        await store.append(done)
    return runs


async def numbers(store: Store) -> list[int]:
    """Numbers of all runs."""
    return [row.number for row in await store.runs(after=0, limit=100)]


async def test_the_oldest_ended_runs_are_forgotten(store: Store) -> None:
    """With their journals and outputs; the newest are kept."""
    runs = await finished(store, 4)

    assert 3 == await store.prune(Retention(ended_before=6.0, keep=1))
    assert [runs[3].number] == await numbers(store)
    assert [] == await store.outputs_of(runs[0].number)
    assert 4 == await store.last_position()
    assert await store.find(runs[0].run_id) is None


async def test_runs_that_ended_lately_are_kept(store: Store) -> None:
    """An age is asked for."""
    await finished(store, 2, at=5.0)

    assert 0 == await store.prune(Retention(ended_before=5.0))
    assert 2 == await store.prune(Retention(ended_before=5.1))


async def test_failed_runs_are_forgotten_only_where_that_is_asked_for(store: Store) -> None:
    """They wait for a person."""
    (run,) = await accept(store)
    failed = Write(
        number=run.number, entries=[RunFailed(0, PAYLOAD, 5.0)], status=RunStatus.FAILED
    )
    await store.append(failed)

    assert 0 == await store.prune(Retention(ended_before=6.0))
    assert 1 == await store.prune(Retention(ended_before=6.0, failed=True))


async def test_open_runs_are_never_forgotten(store: Store) -> None:
    """Nothing in flight is pruned, nor what waits for a person."""
    first, second = await accept(store, 2, key=None)
    await store.append(write(first.number, status=RunStatus.PARKED))
    await store.append(write(second.number, status=RunStatus.BLOCKING))

    assert 0 == await store.prune(Retention(ended_before=9e9, failed=True))


async def test_a_forgotten_id_may_be_used_again(store: Store) -> None:
    """Its run is a new one."""
    (run,) = await accept(store, run_id="order-7")
    await store.append(
        Write(number=run.number, entries=[RunCompleted(5.0)], status=RunStatus.COMPLETED)
    )
    await store.prune(Retention(ended_before=6.0))
    (again,) = await accept(store, run_id="order-7")

    assert again.is_new
    assert again.number > run.number


async def test_a_consumer_keeps_what_it_has_not_acknowledged(store: Store) -> None:
    """In this life and in the next."""
    await finished(store, 2)
    await store.acknowledge("report", 1)
    await reopen(store)

    assert 1 == await store.acknowledged("report")
    assert 1 == await store.prune(Retention(ended_before=6.0))
    await store.acknowledge("report", 2)
    assert 1 == await store.prune(Retention(ended_before=6.0))


async def test_a_schedule_begins_once_and_never_goes_back(store: Store) -> None:
    """In this life and in the next; the first moment counts where nothing else is known."""
    assert 100 == await store.moment("shop", "daily", 100)
    await reopen(store)
    assert 100 == await store.moment("shop", "daily", 999)

    await store.keep_moment("shop", "daily", 300)
    await store.keep_moment("shop", "daily", 200)
    assert 300 == await store.moment("shop", "daily", 100)
    await reopen(store)
    assert 300 == await store.moment("shop", "daily", 100)


async def test_schedules_are_told_apart_by_agent_and_name(store: Store) -> None:
    """Whatever stands in the names."""
    pairs = [("a", "b c"), ("a b", "c"), ('a", "b', "c"), ("ü", ""), ("", "ü\0")]
    for moment, pair in enumerate(pairs):
        await store.keep_moment(*pair, moment)

    assert list(range(len(pairs))) == [await store.moment(*pair, 99) for pair in pairs]


async def test_a_schedule_holds_no_run_back_from_being_forgotten(store: Store) -> None:
    """It is no consumer; and it goes on where it was when its runs are gone."""
    await finished(store, 2)
    await store.keep_moment("shop", "daily", 1)

    assert 2 == await store.prune(Retention(ended_before=6.0))
    assert 1 == await store.moment("shop", "daily", 5)


async def test_a_run_goes_to_the_end_of_the_line_of_its_key(store: Store) -> None:
    """Its new turn is behind all others, in this life and in the next."""
    first, second = await accept(store, 2)
    retried = write(first.number, status=RunStatus.ACCEPTED, requeues=True)
    await store.append(retried)
    await reopen(store)
    (third,) = await accept(store)

    rows = await store.open_runs_of_key("shop", "k", after=0, limit=10)
    assert [second.number, first.number, third.number] == [row.number for row in rows]
    assert retried.turn == rows[1].turn
    assert rows[2].number > retried.turn
    assert rows == await store.open_runs("shop", after=0, limit=10)


async def test_an_output_names_its_run_and_key(store: Store) -> None:
    """Those that callers chose, and those that were made up."""
    (run,) = await accept(store, run_id="order-7", key="k")
    await store.append(write(run.number, outputs=[sent("a")]))
    (made,) = await finished(store, 1)

    rows = await store.outputs(after=0, limit=10)
    assert [("order-7", "k"), (made.run_id, made.run_id)] == [(r.run_id, r.key) for r in rows]
