"""Stores that every release has recorded are read, replayed and gone on with by this one.

`record.py` makes new ones. A failure here means that runs of users would be lost by upgrading.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from durable_agents import RunStateError, SqliteStore, Worker, WorkerSettings
from durable_agents.journal import (
    ActionStarted,
    CallAbandoned,
    CallSettled,
    Entry,
    RunState,
    RunStatus,
    call_id,
    promise_id,
)
from durable_agents.serialization import Codec, Payload
from durable_agents.store import SqliteReader
from durable_agents.testing import assert_replays
from durable_agents.worker import replay
from tests.golden.agents import (
    AGENTS,
    CODECS,
    MADE,
    Context,
    Input,
    Opaque,
    Receipt,
    agent_of,
    plain,
)
from tests.golden.record import FOLDER, STORES, restore

VERSIONS = sorted(path.name for path in FOLDER.iterdir() if list(path.glob("*.sql")))
FORMS: list[Any] = [
    [{"number": 1}, Opaque(1), 20_000, ["no 1", "KeyError(1)"], 20],
    [Receipt(1, ("a", "b")), 1, -1],
]
BRANCHES: list[Any] = [[1, {"number": 9}, {"number": 2}]]
FINISHED: dict[str, tuple[RunStatus, list[Any]]] = {
    "forms": (RunStatus.COMPLETED, FORMS),
    "branches": (RunStatus.COMPLETED, BRANCHES),
    "fails": (RunStatus.FAILED, []),
    "clears": (RunStatus.COMPLETED, [[{"number": 2}, {"number": 0}]]),
    "overtakes": (RunStatus.COMPLETED, [[{"number": 1}, {"number": 2}, {"number": 0}]]),
    "cancelled": (RunStatus.CANCELLED, []),
    "asks": (RunStatus.COMPLETED, [[{"number": 1}, 1]]),
}
KEPT = "promise-a-Ic22mUiukqZ1bnBhaWSsMDphY3Q6cm9vdDow"
"""Handed out by the run that waits."""
SETTINGS = WorkerSettings(on_divergence="fail", shutdown_grace_seconds=0)

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

every_version = pytest.mark.parametrize("version", VERSIONS)
every_store = pytest.mark.parametrize("name", STORES)


@pytest.fixture(autouse=True)
def nothing_made() -> Iterator[None]:
    """No durable function was executed yet."""
    MADE.clear()
    yield
    MADE.clear()


def store_of(version: str, name: str, folder: Path) -> Path:
    """A recorded store, as a file to work on."""
    path = folder / f"{name}.db"
    restore(FOLDER / version / f"{name}.sql", path)
    return path


def codec_of(name: str) -> Codec:
    return CODECS["signed" if name == "signed" else "plain"]


def payloads(found: object) -> Iterator[Payload]:
    """Every payload within an entry."""
    if isinstance(found, Payload):
        yield found
    elif isinstance(found, (list, tuple)):
        for part in found:
            yield from payloads(part)
    elif isinstance(found, dict):
        yield from payloads(list(found.values()))
    elif hasattr(found, "__struct_fields__"):
        yield from payloads([getattr(found, field) for field in found.__struct_fields__])


async def entries(reader: SqliteReader) -> list[tuple[int, Entry]]:
    """All entries of a store, each with the number of its run."""
    rows = await reader.runs(after=0, limit=99)
    return [
        (row.number, entry)
        for row in rows
        for _, found in await reader.journal(row.number)
        for entry in found
    ]


@every_version
async def test_the_stores_hold_every_type_of_entry_and_every_form_of_payload(
    version: str, tmp_path: Path
) -> None:
    """What they do not hold, they prove nothing about."""
    types: set[type] = set()
    encodings: set[str] = set()
    for name in STORES:
        async with SqliteReader(store_of(version, name, tmp_path)) as reader:
            found = await entries(reader)
            blobs = [await reader.blobs(number) for number in {n for n, _ in found}]
        types |= {type(entry) for _, entry in found}
        every = [*payloads([e for _, e in found]), *payloads(blobs)]
        encodings |= {part for p in every for part in p.encoding.split("+")}

    assert set(get_args(Entry)) == types
    assert {
        "plain",
        "typed",
        "pickle",
        "failure",
        "shared",
        "blob",
        "chain",
        "zlib",
        "hmac",
    } == encodings


@every_version
async def test_finished_runs_are_as_they_were(version: str, tmp_path: Path) -> None:
    """Their status and their outputs, whatever the form of the values."""
    async with SqliteReader(store_of(version, "finished", tmp_path)) as reader:
        rows = await reader.runs(after=0, limit=99)
        states = {r.run_id: RunState.of(await reader.journal(r.number)).status for r in rows}
        outputs = {
            r.run_id: [
                CODECS["plain"].decode(o.event.payload)
                for o in await reader.outputs_of(r.number)
            ]
            for r in rows
        }

    assert FINISHED == {run_id: (states[run_id], outputs[run_id]) for run_id in states}


@every_version
@every_store
async def test_every_run_replays_against_its_agent(
    version: str, name: str, tmp_path: Path
) -> None:
    """Finished actions come to what they came to, open ones as far as they got."""
    path = store_of(version, name, tmp_path)

    actions = 0
    for agent in AGENTS.values():
        report = await assert_replays(agent, path, codec=codec_of(name), patience_seconds=0.2)
        actions += report.actions

    assert {
        "finished": 8,
        "unfinished": 3,
        "signed": 2,
        "waiting": 3,
        "promised": 3,
        "lacking": 2,
    }[name] == actions
    assert [] == MADE


@every_version
async def test_a_changed_agent_is_found_to_diverge(version: str, tmp_path: Path) -> None:
    """With the call that was recorded."""
    path = store_of(version, "unfinished", tmp_path)

    async def changed(event: Input, ctx: Context) -> None:
        await ctx.durable(plain, event.input + 1)

    with pytest.raises(AssertionError, match=r"recorded .*typed\(1\) at root:0, now .*plain"):
        await assert_replays(agent_of("forms", changed), path)


async def left_over(path: Path) -> Counter[tuple[int, str]]:
    """Calls that have settled or were given up, by run."""
    found: Counter[tuple[int, str]] = Counter()
    async with SqliteReader(path) as reader:
        started: dict[tuple[int, int], ActionStarted] = {}
        for run, entry in await entries(reader):
            if isinstance(entry, ActionStarted):
                started[run, entry.action] = entry
            elif isinstance(entry, (CallSettled, CallAbandoned)):
                action = started[run, entry.action]
                key = (entry.branch, entry.position)
                found[run, call_id(action.event, action.name, key)] += 1
    return found


@every_version
@pytest.mark.parametrize(
    ("name", "agent", "expected"),
    [
        ("unfinished", "forms", FORMS),
        ("unfinished", "branches", BRANCHES),
        ("unfinished", "asks", [[{"number": 1}, 1]]),
        ("signed", "forms", FORMS),
    ],
)
async def test_an_unfinished_run_goes_on_to_its_end(
    version: str, name: str, agent: str, expected: list[Any], tmp_path: Path
) -> None:
    """With the same outputs, and what had settled is not made again."""
    path = store_of(version, name, tmp_path)
    before = await left_over(path)
    store = SqliteStore(path, synchronous="normal")
    worker = Worker(AGENTS[agent], store=store, settings=SETTINGS, codec=codec_of(name))

    async with worker:
        if agent == "asks":
            await worker.resolve(agent, rerun=True)
        outputs = await (await worker.submit(1, id=agent)).result()

    after = await left_over(path)
    assert expected == outputs
    assert 0 < len(MADE) < 25
    assert dict.fromkeys(before, 1) == {call: after[call] for call in before}
    assert {1} == set(after.values())


@every_version
async def test_a_run_that_waits_goes_on_when_it_is_signalled(
    version: str, tmp_path: Path
) -> None:
    """What was slept, timed out and decided before is not slept, timed out or decided anew."""
    path = store_of(version, "waiting", tmp_path)

    async with Worker(AGENTS["waits"], store=SqliteStore(path), settings=SETTINGS) as worker:
        waits, forked, still_waits = [
            await worker.submit(1, id=run_id) for run_id in ("waits", "forked", "still waits")
        ]
        await worker.signal("still waits", "go", 2)
        outputs = [await run.result() for run in (waits, forked, still_waits)]

    found = {"number": 2}, {"number": 3}
    of_sent = [[12, found[0], {"sent": 1}, found[1]]]
    assert [of_sent, of_sent, [[12, found[0], 2, found[1]]]] == outputs
    assert ["plain"] == MADE


@every_version
async def test_a_run_that_lacked_code_goes_on_by_itself(version: str, tmp_path: Path) -> None:
    """The class that it was parked for is there again."""
    path = store_of(version, "lacking", tmp_path)

    async with Worker(AGENTS["lacks"], store=SqliteStore(path), settings=SETTINGS) as worker:
        assert [[{"number": 1}, {"number": 2}]] == await (
            await worker.submit(1, id="lacks")
        ).result()
    assert ["plain"] == MADE


@every_version
async def test_unchanged_code_has_the_fingerprint_that_it_had(
    version: str, tmp_path: Path
) -> None:
    """Where it is taken otherwise, all runs of earlier releases seem to have other code."""
    async with SqliteReader(store_of(version, "lacking", tmp_path)) as reader:
        starts = [e for _, e in await entries(reader) if isinstance(e, ActionStarted)]
        replayed = [a async for a in replay(AGENTS["lacks"], reader)]

    assert {8} == {len(started.code) for started in starts}
    is_comparable = all(started.python == PYTHON for started in starts)
    expected = "none" if is_comparable else "unknown"
    assert [expected] * 2 == [action.code_change for action in replayed]


@every_version
async def test_a_run_that_waits_for_a_promise_goes_on_when_it_is_completed(
    version: str, tmp_path: Path
) -> None:
    """By the id that was handed out then; what it was completed with before is kept."""
    path = store_of(version, "promised", tmp_path)

    async with Worker(AGENTS["promises"], store=SqliteStore(path), settings=SETTINGS) as worker:
        runs = [await worker.submit(1, id=run_id) for run_id in ("paid", "forked", "unpaid")]
        assert not await worker.complete(KEPT, {"sum": 7})
        with pytest.raises(RunStateError, match="completed before, with something else"):
            await worker.complete(KEPT, {"sum": 8})
        await worker.complete(promise_id("unpaid", "0:act:root:1"), "paid")
        outputs = [await run.result() for run in runs]

    def of(run: str, second: str) -> list[Any]:
        number = 1 + len(promise_id(run, "0:act:root:0"))
        third = "TimeoutError: promise at root:2 was not completed in time"
        return [[number, {"sum": 7}, second, third, {"number": 3}]]

    declined = "RefusedError: declined"
    expected = of("paid", declined), of("paid", "paid after all"), of("unpaid", "paid")
    assert list(expected) == outputs
    assert ["plain"] == MADE
