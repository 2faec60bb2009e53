"""What one commit of the SQLite store writes: made ready on the loop, written in a thread."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

from durable_agents.journal import encode_blob, encode_cell
from durable_agents.serialization import Payload
from durable_agents.store._atomic import atomic
from durable_agents.store._port import AcceptedRun, Write
from durable_agents.store._write_queue import Acceptance, QueuedWrite

__all__ = ["Known", "Transaction"]

Row: TypeAlias = tuple[Any, ...]
Known: TypeAlias = dict[QueuedWrite, AcceptedRun]

_COMMIT_BYTES, _ROW_BYTES = 2 * 4096, 1024
"""What a commit, and each row of it, adds to the WAL beside the entries (measured): whole pages
are written, so that small commits come to forty times the bytes of their entries."""

_ROWS_PER_STATEMENT = 32
"""Most rows of which the rest of a table's is written at once."""
_MANY_ROWS = (128, _ROWS_PER_STATEMENT)
"""Rows of one statement, while there are so many. Their values stay below 999, which is as many
as every SQLite takes."""


class Transaction:
    """The rows of one commit.

    Args:
        sql: The statements, by name.
    """

    __slots__ = (
        "_accepted",
        "_accepted_once",
        "_blobs",
        "_memory",
        "_outputs",
        "_requeued",
        "_rows",
        "_sql",
        "_statuses",
        "size",
    )

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql
        self._accepted: list[Row] = []
        self._accepted_once: list[tuple[QueuedWrite, Row]] = []
        self._rows: list[Row] = []
        self._blobs: list[Row] = []
        self._statuses: list[Row] = []
        self._requeued: list[Row] = []
        self._outputs: list[Row] = []
        self._memory: list[tuple[str, Row]] = []
        self.size = _COMMIT_BYTES
        """Bytes that it adds to the WAL, about."""

    @property
    def changes_memory(self) -> bool:
        """Whether a path of some key's memory is written."""
        return bool(self._memory)

    def accept(self, queued: QueuedWrite, acceptance: Acceptance) -> None:
        """Take an input in; `result` is what its caller is told if it is new."""
        run, number = acceptance.run, acceptance.number  # at first its turn is its number
        queued.result = acceptance.as_accepted()
        self.size += len(queued.body) + _ROW_BYTES
        if run.run_id is None:
            self._accepted.append((number, run.agent, run.key, queued.body, number))
        else:
            row = (number, run.run_id, run.agent, acceptance.key, queued.body, number)
            self._accepted_once.append((queued, row))

    def append(self, seq: int, run: int, body: bytes) -> None:
        """Take a row of a run's journal in."""
        self._rows.append((seq, run, body))
        self.size += len(body) + _ROW_BYTES

    def add_blobs(self, run: int, blobs: Mapping[bytes, Payload]) -> None:
        """Take in what the entries refer to."""
        for name, payload in blobs.items():
            body = encode_blob(run, name, payload)
            self._blobs.append((run, name, body))
            self.size += len(body) + _ROW_BYTES

    def add_effects(self, write: Write, next_position: Callable[[], int]) -> None:
        """Take in what the entries change beside the journal.

        Raises:
            UnicodeEncodeError: A text cannot be written.
        """
        if write.status is not None:
            self._statuses.append((int(write.status), write.ended_at, write.number))
        if write.requeues:
            self._requeued.append((write.turn, write.number))
        for event in write.outputs:
            cell = encode_cell(write.number, event)
            self._outputs.append((next_position(), write.number, cell))
        if write.memory is not None:
            agent, key, changes = write.memory
            for path, update in changes.items():
                if update is None:
                    self._memory.append(("delete_memory", (agent, key, path)))
                else:
                    row = (agent, key, path, encode_cell(0, update))
                    self._memory.append(("set_memory", row))

    def run(self, connection: sqlite3.Connection) -> Known:
        """Write everything, all or nothing; returns the runs whose ids were known already."""
        if self._is_one_statement:
            _insert(connection, self._sql["append"], self._rows)
            return {}
        with atomic(connection):
            return self.write(connection)

    @property
    def _is_one_statement(self) -> bool:
        """Whether it takes no more than one statement, which is a transaction by itself."""
        return len(self._rows) <= _ROWS_PER_STATEMENT and not (
            self._accepted
            or self._accepted_once
            or self._blobs
            or self._statuses
            or self._requeued
            or self._outputs
            or self._memory
        )

    def recall(self, connection: sqlite3.Connection) -> Known | None:
        """What `run` would have returned, after a commit of which nobody knows the end.

        None where the file does not hold the transaction.
        """
        if not self._is_in(connection):
            return None
        return self.known(connection)

    def known(self, connection: sqlite3.Connection) -> Known:
        """Every input that came with an id, as the file has it."""
        return {queued: self._found(connection, row) for queued, row in self._accepted_once}

    def write(self, connection: sqlite3.Connection) -> Known:
        """Execute the statements, within a transaction that is somebody else's."""
        sql = self._sql
        known: Known = {}
        _insert(connection, sql["accept"], self._accepted)
        for queued, row in self._accepted_once:
            if connection.execute(sql["accept_once"], row).rowcount == 0:
                known[queued] = self._found(connection, row)
        _insert(connection, sql["append"], self._rows)
        _repeat(connection, sql["add_blob"], self._blobs)
        _repeat(connection, sql["set_status"], self._statuses)
        for row in self._requeued:
            connection.execute(sql["requeue"], row)
            connection.execute(sql["set_meta"], ("last_run", str(row[0])))
        _insert(connection, sql["add_output"], self._outputs)
        for name, row in self._memory:
            connection.execute(sql[name], row)
        return known

    def _found(self, connection: sqlite3.Connection, row: Row) -> AcceptedRun:
        """The run with the id that a row asks for, its own or an earlier one."""
        number, run_id, *_ = row
        found = connection.execute(self._sql["run_by_id"], (run_id,)).fetchone()
        return AcceptedRun(found[0], run_id, found[3], is_new=found[0] == number)

    def _is_in(self, connection: sqlite3.Connection) -> bool:
        if self._rows:
            last = connection.execute(self._sql["last_seq"]).fetchone()[0]
            return bool(last >= self._rows[-1][0])
        if self._accepted:
            number = self._accepted[-1][0]
            return bool(connection.execute(self._sql["run_exists"], (number,)).fetchone()[0])
        # An id that is there is as good as one that was committed just now.
        ids = [row[1] for _, row in self._accepted_once]
        return all(connection.execute(self._sql["run_by_id"], (i,)).fetchone() for i in ids)


def _repeat(connection: sqlite3.Connection, sql: str, rows: Sequence[Row]) -> None:
    """Execute a statement for each row; for none, do not even look at it."""
    if rows:
        connection.executemany(sql, rows)


def _insert(connection: sqlite3.Connection, sql: str, rows: Sequence[Row]) -> None:
    """Insert rows, several with each statement.

    A statement gives the interpreter's lock away and has to get it back, which takes up to 5 ms
    beside a busy loop. Also, four rows of one statement take as long as three of their own.
    """
    start = 0
    while start < len(rows):
        left = len(rows) - start
        # Few different statements, so that all of them stay prepared.
        count = next((many for many in _MANY_ROWS if many <= left), left)
        some = rows[start : start + count]
        connection.execute(_of_many(sql, count), tuple(chain.from_iterable(some)))
        start += count


@cache
def _of_many(sql: str, count: int) -> str:
    """The statement that inserts one row, made one of several."""
    head, values, row = sql.partition("VALUES ")
    return head + values + ", ".join([row] * count)
