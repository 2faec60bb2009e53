"""Rows of the SQLite file as the port's own records."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from durable_agents.errors import StoreDamagedError
from durable_agents.journal import RunStatus, decode_output
from durable_agents.store._port import OutputRow, RunRow
from durable_agents.store._run_ids import RunIds

__all__ = ["Row", "as_moment", "as_outputs", "as_runs", "moment_name"]

Row: TypeAlias = tuple[Any, ...]

_STATUSES = frozenset(RunStatus)
_RESTORE = "restore the store from a backup"


def as_runs(rows: Iterable[Row], ids: RunIds, store: str) -> list[RunRow]:
    """Runs of rows with the columns run, id, agent, key, status, turn.

    Raises:
        StoreDamagedError: A row is none that a worker writes.
    """
    return [_as_run(row, ids, store) for row in rows]


def _as_run(row: Row, ids: RunIds, store: str) -> RunRow:
    number, caller_id, agent, key, status, turn = row
    run_id = ids.of(number) if caller_id is None else caller_id
    key = run_id if key is None else key
    if status not in _STATUSES or not (type(run_id) is type(agent) is type(key) is str):
        problem = (
            f"run number {number} is listed as no worker does (status {status}): {_RESTORE}"
        )
        raise StoreDamagedError(store, problem)
    return RunRow(number, run_id, agent, key, RunStatus(status), turn)


def as_outputs(rows: Iterable[Row], ids: RunIds, store: str) -> list[OutputRow]:
    """Outputs of rows with the columns position, run, id, key, body.

    Raises:
        StoreDamagedError: A row fails its checksum.
    """
    return [
        OutputRow(
            position,
            number,
            run_id,
            run_id if key is None else key,
            decode_output(number, body, store),
        )
        for position, number, caller_id, key, body in rows
        for run_id in [ids.of(number) if caller_id is None else caller_id]
    ]


def moment_name(agent: str, schedule: str) -> str:
    """Name of the fact about the store that says how far a schedule has come."""
    return f"moment {msgspec.json.encode([agent, schedule]).decode()}"


def as_moment(row: Row, schedule: str, store: str) -> int:
    """The moment of a row with the column value.

    Raises:
        StoreDamagedError: It is none that a worker writes.
    """
    try:
        return int(row[0])
    except ValueError as error:
        problem = f"schedule {schedule!r} has come to {row[0]!r}, no moment: {_RESTORE}"
        raise StoreDamagedError(store, problem) from error
