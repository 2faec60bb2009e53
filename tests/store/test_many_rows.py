"""One statement for many rows does what one statement for each row does."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from durable_agents.store._many_rows import MANY, for_all
from durable_agents.store._sqlite_file import INDEX_OF_SHARED
from durable_agents.store.sql import load_migrations, load_queries

QUERIES = load_queries()
MANY_AT_ONCE = sorted(name for name, sql in QUERIES.items() if "(VALUES (" in sql)
SIZES = [0, 1, 2, 31, 32, 33, 48, 49, 127, 500, MANY - 1, MANY, MANY + 1, 3 * MANY + 40]


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Our schema, in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.executescript("".join([*load_migrations(), INDEX_OF_SHARED]))
        yield made


def accepted(connection: sqlite3.Connection, count: int) -> list[tuple[int]]:
    """So many runs, numbered from 1."""
    runs = [(number, "agent", None, b"body", number) for number in range(1, count + 1)]
    for_all(connection, QUERIES["accept"], runs)
    return [(number,) for number in range(1, count + 1)]


@pytest.mark.parametrize("count", SIZES)
def test_all_rows_are_written_once_and_no_other(
    connection: sqlite3.Connection, count: int
) -> None:
    """However many are left over after the last full statement."""
    rows = [(seq, seq % 7, bytes([seq % 256])) for seq in range(1, count + 1)]

    for_all(connection, QUERIES["append"], rows)

    written = connection.execute("SELECT seq, run, body FROM journal ORDER BY seq").fetchall()
    assert rows == written


@pytest.mark.parametrize("count", SIZES)
def test_rows_are_changed_found_and_deleted_by_what_names_them(
    connection: sqlite3.Connection, count: int
) -> None:
    """Every second one, so that the others show what was not meant."""
    runs = accepted(connection, count)
    meant = runs[::2]

    for_all(connection, QUERIES["set_status"], [(10, 1.5, run) for (run,) in meant])
    ended = connection.execute("SELECT run FROM runs WHERE status = 10 AND ended = 1.5")
    assert meant == sorted(ended)

    for_all(connection, QUERIES["prune_runs"], meant)
    assert runs[1::2] == sorted(for_all(connection, QUERIES["runs_of"], runs))


def test_what_is_known_already_is_left_as_it_is(connection: sqlite3.Connection) -> None:
    """Among many that are new."""
    first = [(1, "same", "agent", "key", b"first", 1)]
    for_all(connection, QUERIES["accept_once"], first)
    others = [(n, f"id {n}", "agent", "key", b"new", n) for n in range(3, 100)]

    for_all(connection, QUERIES["accept_once"], [(2, "same", "agent", "k", b"2", 2), *others])

    found = connection.execute("SELECT accepted FROM runs WHERE id = 'same'").fetchall()
    assert [(b"first",)] == found
    assert (98,) == connection.execute("SELECT count(*) FROM runs").fetchone()


def test_what_is_there_is_replaced(connection: sqlite3.Connection) -> None:
    """A path of memory by its agent, key and path."""
    rows = [("agent", f"key {n}", "path", b"first") for n in range(60)]
    for_all(connection, QUERIES["set_memory"], rows)

    for_all(connection, QUERIES["set_memory"], [(*row[:3], b"second") for row in rows[1:]])

    cells = connection.execute("SELECT body FROM memory ORDER BY body").fetchall()
    assert [(b"first",)] + 59 * [(b"second",)] == cells


@pytest.mark.parametrize("name", MANY_AT_ONCE)
@pytest.mark.parametrize("count", [1, 40])
def test_nothing_walks_through_a_table_for_many_rows_either(
    connection: sqlite3.Connection, name: str, count: int
) -> None:
    """The plan may be another one where there is more than one row."""
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    width = QUERIES[name].partition("(VALUES (")[2].partition(")")[0].count("?")
    for_all(connection, QUERIES[name], [(0,) * width] * count)
    connection.set_trace_callback(None)

    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    tables = ("runs", "journal", "outputs", "blobs", "memory")
    assert [] == [line for line in plan if line.startswith(tuple(f"SCAN {t}" for t in tables))]
