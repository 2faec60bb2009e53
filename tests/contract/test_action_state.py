"""What the verbs of upstream's action state store come to in a store of ours.

To put a state is to append entries to the journal of a run; to get it is to fold that journal;
to rebuild is to read what has not ended. A run takes the place of a sequence number of a key.
"""

import pytest

from durable_agents import Codec, Store
from durable_agents.journal import (
    ActionStarted,
    CallBegun,
    CallSettled,
    CallStatus,
    Entry,
    RunAccepted,
    RunCompleted,
    RunState,
    RunStatus,
    encode_row,
)
from durable_agents.serialization import Payload
from durable_agents.store import NewRun, Retention, Write

DIGEST = b"00ff"
STARTED = ActionStarted(0, 0, "act", {}, "3.11", 1.0)
BEGUN = CallBegun(0, "", 0, "shop:pay", DIGEST, "7", 1, 2.0)


def encoded(value: object) -> Payload:
    return Codec().encode(value, "a value")


def settled(value: object, position: int = 0) -> CallSettled:
    payload = encoded(value)
    return CallSettled(0, "", position, "shop:pay", DIGEST, "7", False, payload, 1, True, 3.0)


async def accept(store: Store, value: object, key: str = "k") -> int:
    """Number of a new run with this input."""
    return (await store.accept(NewRun("shop", key, None, encoded(value), 1.0))).number


async def put(
    store: Store, number: int, *entries: Entry, status: RunStatus | None = None
) -> None:
    await store.append(Write(number=number, entries=[*entries], status=status))


async def reopen(store: Store) -> None:
    await store.close()
    await store.open("worker 2")


@pytest.mark.rows("ST-14")
async def test_a_put_is_one_row_more_and_can_be_read(store: Store) -> None:
    """Beside the acceptance, which is the first."""
    number = await accept(store, "input")

    await put(store, number, STARTED, settled("result"))

    rows = await store.journal(number)
    assert [1, 2] == [len(entries) for _, entries in rows]
    assert [STARTED, settled("result")] == rows[1][1]


@pytest.mark.rows("ST-06", "ST-27")
async def test_the_journal_keeps_every_version_and_the_last_one_counts(store: Store) -> None:
    """A call that was begun, and then settled; settled again, by a later attempt."""
    number = await accept(store, "input")
    await put(store, number, STARTED, BEGUN)
    await put(store, number, settled("first"))
    await put(store, number, settled("second"))

    rows = await store.journal(number)

    written = [entries[-1] for _, entries in rows[1:]]
    assert [BEGUN, settled("first"), settled("second")] == written
    record = RunState.of(rows).actions[0, "act"].records["", 0]
    assert CallStatus.SUCCEEDED == record.status
    assert encoded("second") == record.payload


@pytest.mark.rows("ST-07", "ST-26")
async def test_each_run_comes_back_with_its_own_input_and_records(store: Store) -> None:
    """After a restart, as it was put."""
    values = ["first", "second", "third"]
    numbers = [await accept(store, value) for value in values]
    for number, value in zip(numbers, values, strict=True):
        await put(store, number, STARTED, settled(value))
    before = [await store.journal(number) for number in numbers]

    await reopen(store)

    assert before == [await store.journal(number) for number in numbers]
    for value, rows in zip(values, before, strict=True):
        [accepted] = rows[0][1]
        assert isinstance(accepted, RunAccepted)
        assert encoded(value) == accepted.input
        assert [STARTED, settled(value)] == rows[1][1]


@pytest.mark.rows("ST-31", "ST-33")
async def test_only_what_has_not_ended_is_rebuilt(store: Store) -> None:
    """The end of a run is what a recovery marker is upstream: nobody reads behind it again."""
    ended = [await accept(store, n, key=f"key {n}") for n in range(10)]
    for number in ended:
        await put(store, number, RunCompleted(4.0), status=RunStatus.COMPLETED)
    unfinished = [await accept(store, n, key=f"key {n}") for n in range(10, 15)]
    for number in unfinished:
        await put(store, number, STARTED, settled(number))

    await reopen(store)

    rows = await store.open_runs("shop", after=0, limit=100)
    assert unfinished == [row.number for row in rows]
    assert [f"key {n}" for n in range(10, 15)] == [row.key for row in rows]
    for number in unfinished:
        assert [STARTED, settled(number)] == (await store.journal(number))[-1][1]


@pytest.mark.rows("ST-28")
async def test_pruning_takes_the_older_and_leaves_the_newer(store: Store) -> None:
    """With all that belongs to them; what has not ended stays, however old."""
    unfinished = await accept(store, "unfinished")
    await put(store, unfinished, STARTED)
    ended = [await accept(store, n) for n in (1, 2, 3)]
    for number, at in zip(ended, (1.0, 2.0, 3.0), strict=True):
        await put(store, number, STARTED, RunCompleted(at), status=RunStatus.COMPLETED)

    while await store.prune(Retention(ended_before=2.5)):
        pass

    assert [[], []] == [await store.journal(number) for number in ended[:2]]
    assert [STARTED, RunCompleted(3.0)] == (await store.journal(ended[2]))[-1][1]
    assert [STARTED] == (await store.journal(unfinished))[-1][1]
    rows = await store.runs(after=0, limit=10)
    assert [unfinished, ended[2]] == [row.number for row in rows]


@pytest.mark.rows("SE-18")
@pytest.mark.parametrize("value", [None, "text", b"\x00\xff", {"a": (1, 2)}])
async def test_what_is_put_comes_back_byte_for_byte(store: Store, value: object) -> None:
    """A store adds nothing to the codec's bytes, and takes nothing away; None is a value."""
    number = await accept(store, value)

    await put(store, number, STARTED, settled(value))
    await reopen(store)

    [accepted], entries = (entries for _, entries in await store.journal(number))
    assert isinstance(accepted, RunAccepted)
    assert encoded(value) == accepted.input
    assert encode_row(number, [STARTED, settled(value)]) == encode_row(number, entries)
    assert value == Codec().decode(accepted.input)
