"""The SQL beside the code: all of it is used, and none of it walks through a whole table."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from durable_agents import store
from durable_agents.store._sqlite_file import INDEX_OF_SHARED
from durable_agents.store.sql import load_migrations, load_queries

QUERIES = load_queries()
SCHEMA = "".join([*load_migrations(), INDEX_OF_SHARED])
SOURCE = "".join(
    path.read_text(encoding="utf-8") for path in Path(store.__file__).parent.glob("*.py")
)
USES = re.compile(r'(?:sql\[|_select\(\s*|_runs\(\s*|_rows\(\s*)"(\w+)"')


def plan(query: str) -> list[str]:
    """How SQLite would go about a query."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        parameters = ["x"] * query.count("?")
        rows = connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall()
    return [row[3] for row in rows]


def test_every_named_query_is_used_and_every_used_name_exists() -> None:
    """A typing error would show at the first use only, and a leftover never."""
    assert sorted(QUERIES) == sorted(set(USES.findall(SOURCE)))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_one_statement(name: str) -> None:
    """With its comment left out."""
    assert sqlite3.complete_statement(QUERIES[name] + ";")
    assert ";" not in QUERIES[name]
    assert not QUERIES[name].startswith("--")


AT_OPEN = {"meta", "has_claims", "orphan", "wake_all"}
SMALL = {"last_numbers", "workers"}
FOR_PEOPLE = {"newest_prunable", "latest_runs", "status_counts", "all_memory", "strays"}


@pytest.mark.parametrize("name", sorted(QUERIES.keys() - AT_OPEN - SMALL - FOR_PEOPLE))
def test_no_query_walks_through_a_table_or_sorts_one(name: str) -> None:
    """The cost of a call does not grow with the number of runs in the store.

    `newest_prunable` walks from the newest run on, past those that are kept.
    """
    given = {"SCAN CONSTANT ROW", "SCAN new"}  # the values that it is called with
    steps = [line for line in plan(QUERIES[name]) if line not in given]

    assert [] == [line for line in steps if line.startswith(("SCAN", "USE TEMP"))]
