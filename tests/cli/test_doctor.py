"""`durable-agents doctor` finds whatever is damaged, names it, and changes nothing."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from durable_agents import Agent, Codec, InputEvent, RunnerContext, SqliteStore, Worker
from durable_agents.cli import main
from durable_agents.errors import StoreError
from durable_agents.journal import encode_row
from durable_agents.serialization import Payload
from durable_agents.store import NewRun, SqliteReader
from tests.golden.record import FOLDER, STORES, restore

PAGE = 4096
VERSION = max(path.name for path in FOLDER.iterdir() if list(path.glob("*.sql")))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with runs of every kind."""
    made = tmp_path / "agents.db"
    restore(FOLDER / VERSION / "finished.sql", made)
    return made


def doctor(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and report; an empty one where the store could not be opened."""
    code = main(["doctor", "--store", str(path), "--json"])
    written, complaint = capsys.readouterr()
    assert bool(written) != bool(complaint)
    return code, json.loads(written) if written else {}


def damage(path: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Runs and problems of a damaged store."""
    code, report = doctor(path, capsys)
    assert (3, False) == (code, report["is_healthy"])
    assert all("backup" in d["next_move"] for d in report["found"]["damage"])
    return [(d["run"], d["problem"]) for d in report["found"]["damage"]]


def change(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert 0 < connection.execute(statement, parameters).rowcount


def number_of(path: Path, run_id: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(
            "SELECT run FROM runs WHERE id = ?", (run_id,)
        ).fetchone()[0]
        return found


@pytest.mark.parametrize("name", STORES)
def test_stores_that_are_whole_are_healthy(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finished and unfinished runs, every form of value, signed ones, too."""
    path = tmp_path / "agents.db"
    restore(FOLDER / VERSION / f"{name}.sql", path)
    before = path.read_bytes()

    code, report = doctor(path, capsys)

    assert (0, True, []) == (code, report["is_healthy"], report["found"]["damage"])
    assert 0 < report["found"]["entries"]
    assert before == path.read_bytes()


def test_a_store_in_use_is_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While its worker owns it; with ids and keys that the store made up."""
    path = tmp_path / "agents.db"
    agent = Agent("used")

    @agent.action(InputEvent)
    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        ctx.short_term_memory["seen"] = event.input
        ctx.output(event.input)

    async def use() -> tuple[int, dict[str, Any]]:
        async with Worker(agent, store=SqliteStore(path)) as worker:
            for key in (None, "k"):
                await (await worker.submit(1, key=key)).wait()
            return await asyncio.to_thread(doctor, path, capsys)

    code, report = asyncio.run(use())

    assert (0, {"completed": 2}, "wal") == (
        code,
        report["found"]["runs"],
        report["found"]["file"]["journal_mode"],
    )


def test_the_table_tells_what_the_store_lies_on(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people."""
    path.chmod(0o640)

    code = main(["doctor", "--store", str(path)])

    written = capsys.readouterr().out
    facts = [line.split("  ")[0] for line in written.splitlines()[3:-1]]
    assert 0 == code
    assert [
        "package",
        "schema",
        "SQLite library",
        "journal mode",
        "journal mode if shared",
        "sync mode",
        "permissions",
        "owner",
        "file system",
        "free space",
        "size",
        "runs",
        "entries",
        "blobs",
        "outputs",
        "checked by checksum alone",
    ] == facts
    assert "0640 (others may read or write it: chmod 600)" in written
    assert "1 cancelled, 5 completed, 1 failed" in written
    assert "healthy: nothing is damaged" in written


def test_what_is_damaged_is_shown_with_what_to_do(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run by its id."""
    change(path, "UPDATE runs SET accepted = x'00' WHERE id = 'forms'")

    code = main(["doctor", "--store", str(path)])

    written = capsys.readouterr().out
    assert 3 == code
    assert "forms  store" in written
    assert "fails its checksum" in written
    assert "what to do: restore the store from a backup" in written


@pytest.mark.parametrize(
    ("statement", "run", "problem"),
    [
        ("UPDATE journal SET body = x'00' WHERE run = {} ", "forms", "fails its checksum"),
        ("UPDATE outputs SET body = x'00' WHERE run = {}", "forms", "fails its checksum"),
        ("UPDATE blobs SET body = x'00' WHERE run = {}", "forms", "fails its checksum"),
        ("UPDATE memory SET body = x'00'", "", "fails its checksum"),
        ("DELETE FROM blobs WHERE run = {}", "forms", "a value of CallSettled cannot be read"),
        ("DELETE FROM outputs WHERE run = {}", "forms", "its actions sent 2 outputs, 0 are"),
        ("DELETE FROM runs WHERE run = {}", "", "is gone, parts of it are left"),
        ("UPDATE runs SET key = 'k' WHERE run = {}", "forms", "accepted as another run"),
        ("UPDATE runs SET status = 11 WHERE run = {}", "forms", "its journal says completed"),
        (
            "UPDATE runs SET status = 77 WHERE run = {}",
            "",
            "listed as no worker does (status 77)",
        ),
        (
            "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal WHERE run = {})",
            "forms",
            "its journal says running: a row is gone",
        ),
        (
            "DELETE FROM journal WHERE seq = (SELECT min(seq) FROM journal WHERE run = {})",
            "forms",
            "an action that it does not know: a row is gone",
        ),
        ("DELETE FROM meta WHERE name = 'token' AND {}", "", "its name is missing"),
    ],
)
def test_each_kind_of_damage_is_named(
    statement: str, run: str, problem: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the run that it concerns, where it is one."""
    change(path, statement.format(number_of(path, "forms")))

    found = damage(path, capsys)

    assert [] != [text for named, text in found if problem in text and named.startswith(run)]
    assert {run} >= {
        named for named, _ in found if named and not named.startswith("memory")
    } - {named for named, text in found if "is gone, parts" in text}


def journal_row(path: Path, row: bytes) -> None:
    """Put a row behind the journal of the run "forms"."""
    number = number_of(path, "forms")
    change(path, "INSERT INTO journal SELECT max(seq) + 1, ?, ? FROM journal", number, row)


def test_an_entry_from_the_future_is_named(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is whole, and nobody here knows what it means."""
    entry: Any = msgspec.Raw(msgspec.msgpack.encode([99, "later", 1.0]))
    journal_row(path, encode_row(number_of(path, "forms"), [entry]))

    found = damage(path, capsys)

    assert ["forms"] == [run for run, _ in found]
    assert "is of a form that this version does not know" in found[0][1]


def test_a_value_of_an_unknown_codec_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One under a layer of a codec is only counted; of an unknown form there is none."""
    path = tmp_path / "agents.db"

    async def make() -> None:
        store = SqliteStore(path)
        await store.open("worker")
        plain = Codec().encode(1, "the input")
        for number, encoding in enumerate(["plain+mine", "hologram", "plain+zlib"]):
            payload = Payload(encoding, plain.data)
            await store.accept(NewRun("agent", None, f"r{number}", payload, 0.0))
        await store.close()

    asyncio.run(make())

    code, report = doctor(path, capsys)

    problems = {d["run"]: d["problem"] for d in report["found"]["damage"]}
    assert (3, 1) == (code, report["found"]["sealed"])
    assert {"r1", "r2"} == problems.keys()
    assert "no version of this package knows this form" in problems["r1"]
    assert "plain+zlib" in problems["r2"]


def contents(path: Path) -> object:
    """All that can be read of a store; None where any of it is refused."""

    async def read() -> object:
        async with SqliteReader(path) as reader:
            rows = await reader.runs(after=0, limit=99)
            return [
                (
                    row.run_id,
                    row.agent,
                    row.key,
                    row.status,
                    await reader.journal(row.number),
                    await reader.blobs(row.number),
                    [output.event for output in await reader.outputs_of(row.number)],
                )
                for row in rows
            ]

    try:
        return asyncio.run(read())
    except (StoreError, ValueError, TypeError):
        return None


@pytest.mark.parametrize("bit", [0x80, 0x01])
@pytest.mark.parametrize("offset", [3, 7, 614, 1500, 4000])
def test_a_flipped_bit_is_found_or_changes_nothing(
    offset: int, bit: int, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every page: never another value in the place of the one that was written."""
    whole, before = path.read_bytes(), contents(path)
    undetected: list[int] = []
    for page in range(len(whole) // PAGE):
        flipped = bytearray(whole)
        flipped[page * PAGE + offset] ^= bit
        path.write_bytes(flipped)
        code, _ = doctor(path, capsys)
        if code == 0 and contents(path) != before:
            undetected.append(page)

    assert [] == undetected
    assert 20 < len(whole) // PAGE


@pytest.mark.parametrize("left", [0, 100, PAGE, 5 * PAGE, 20 * PAGE + 7])
def test_a_file_that_was_cut_off_is_damaged(
    left: int, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As by a copy that was not finished."""
    path.write_bytes(path.read_bytes()[:left])

    assert 3 == main(["doctor", "--store", str(path)])
    capsys.readouterr()


def test_a_store_that_is_not_there_is_a_store_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not made."""
    assert (3, {}) == doctor(tmp_path / "none.db", capsys)
    assert [] == list(tmp_path.iterdir())
