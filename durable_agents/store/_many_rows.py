"""One statement for many rows.

Each step of a statement gives the interpreter's lock away and has to get it back, which takes
up to 5 ms (`sys.getswitchinterval`) beside a loop that never rests: a thousand rows one by one
take seconds there, in which nothing else is committed. Also, four rows of one statement take as
long as three of their own.

Statements are few, so that all of them stay prepared: beyond `_EXACT` rows they come in some
sizes, and what is left over is filled up with NULL, which no statement of ours takes for a row.
A row too many takes 0.8 us, a row 1.3.
"""

import re
import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

__all__ = ["MANY", "Row", "for_all"]

Row: TypeAlias = tuple[Any, ...]

_EXACT = 32
_SIZES = (48, 64, 96, 128, 192, 256, 384, 512)
MANY = _SIZES[-1]
"""Most rows of one statement. To prepare one takes 1.5 ms, once; their values stay far below
SQLite's limit of 32,766."""

_VALUES = re.compile(r"VALUES (\([^()]*\))")


def for_all(connection: sqlite3.Connection, sql: str, rows: Sequence[Row]) -> list[Row]:
    """Execute a statement for all rows; returns what it finds.

    Args:
        connection: Where.
        sql: The statement for one row: `INSERT ... VALUES (...)`, or one with `(VALUES (...))`
            that finds nothing where the values are NULL.
        rows: The values, none of them NULL in the first column.
    """
    found: list[Row] = []
    for start in range(0, len(rows), MANY):
        some = rows[start : start + MANY]
        values = tuple(chain.from_iterable(some))
        count = len(some)
        if count > _EXACT:
            count = next(size for size in _SIZES if size >= count)
            values += (None,) * (len(some[0]) * (count - len(some)))
        found += connection.execute(_of_many(sql, count), values).fetchall()
    return found


@cache
def _of_many(sql: str, count: int) -> str:
    """The statement for one row, made one for several."""
    found = _VALUES.search(sql)
    assert found is not None, "the statement has a row of values"
    several = "VALUES " + ", ".join([found[1]] * count)
    if count > _EXACT and sql.startswith("INSERT"):
        several = f"SELECT * FROM ({several}) WHERE column1 IS NOT NULL"  # noqa: S608 - ours
    return sql[: found.start()] + several + sql[found.end() :]
