"""Forgetting runs that have ended, a few at a time: nobody waits long for the writer."""

import sqlite3
from collections.abc import Mapping

from durable_agents.store._atomic import atomic
from durable_agents.store._many_rows import for_all
from durable_agents.store._port import Retention

__all__ = ["RUNS_PER_PRUNE", "prune_some"]

RUNS_PER_PRUNE = 500
"""Runs forgotten in one transaction."""


def prune_some(
    connection: sqlite3.Connection, sql: Mapping[str, str], retention: Retention
) -> int:
    """Forget the oldest runs that may be forgotten, in one transaction.

    Args:
        connection: The writing one.
        sql: The statements, by name.
        retention: What is kept.

    Returns:
        How many were forgotten; none are left to forget where it is below `RUNS_PER_PRUNE`.
    """
    with atomic(connection):
        runs = _prunable(connection, sql, retention)
        if runs:
            _keep_numbers(connection, sql)
            for_all(connection, sql["prune_journal"], runs)
            for_all(connection, sql["prune_blobs"], runs)
            for_all(connection, sql["prune_outputs"], runs)
            for_all(connection, sql["prune_runs"], runs)
    return len(runs)


def _prunable(
    connection: sqlite3.Connection, sql: Mapping[str, str], retention: Retention
) -> list[tuple[int]]:
    newest = connection.execute(sql["newest_prunable"], (retention.keep,)).fetchone()
    if newest is None:
        return []
    parameters = (retention.failed, retention.ended_before, newest[0], RUNS_PER_PRUNE)
    return connection.execute(sql["prunable"], parameters).fetchall()


def _keep_numbers(connection: sqlite3.Connection, sql: Mapping[str, str]) -> None:
    """Numbers that were given out are never given out again: ids are made of them."""
    run, _, position, _ = connection.execute(sql["last_numbers"]).fetchone()
    connection.execute(sql["set_meta"], ("last_run", str(run)))
    connection.execute(sql["set_meta"], ("last_position", str(position)))
