"""Rows of the SQLite file as the port's own records."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from durable_agents.journal import RunStatus, decode_output
from durable_agents.store._port import OutputRow, RunRow
from durable_agents.store._run_ids import RunIds

__all__ = ["Row", "as_outputs", "as_runs"]

Row: TypeAlias = tuple[Any, ...]


def as_runs(rows: Iterable[Row], ids: RunIds) -> list[RunRow]:
    """Runs of rows with the columns run, id, agent, key, status, turn."""
    return [
        RunRow(number, run_id, agent, run_id if key is None else key, RunStatus(status), turn)
        for number, caller_id, agent, key, status, turn in rows
        for run_id in [ids.of(number) if caller_id is None else caller_id]
    ]


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
