"""A transaction of the SQLite stores: all that is written in it, or nothing."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress

__all__ = ["atomic"]


@contextmanager
def atomic(connection: sqlite3.Connection) -> Generator[None]:
    """Write in one transaction: committed at the end, rolled back on whatever is raised.

    Nobody else writes meanwhile: the file is taken at once, not with the first statement.

    Args:
        connection: One in autocommit mode.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # What was raised first says more than why nothing is left to be rolled back.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
