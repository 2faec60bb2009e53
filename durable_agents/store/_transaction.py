"""What one commit of the SQLite store writes: made ready on the loop, written in a thread."""

import sqlite3
from collections.abc import Callable, Mapping
from itertools import chain
from operator import itemgetter
from typing import TypeAlias

from durable_agents.journal import RunStatus, encode_blob, encode_cell
from durable_agents.serialization import Payload
from durable_agents.store._atomic import atomic
from durable_agents.store._many_rows import MANY, Row, for_all
from durable_agents.store._port import AcceptedRun, Write
from durable_agents.store._write_queue import Acceptance, QueuedWrite

__all__ = ["Known", "Transaction"]

Known: TypeAlias = dict[QueuedWrite, AcceptedRun]

_COMMIT_BYTES, _ROW_BYTES = 2 * 4096, 1024
"""What a commit, and each row of it, adds to the WAL beside the entries (measured): whole pages
are written, so that small commits come to forty times the bytes of their entries."""


class Transaction:
    """The rows of one commit.

    Args:
        sql: The statements, by name.
    """

    __slots__ = (
        "_accepted",
        "_accepted_once",
        "_beside",
        "_blobs",
        "_forgotten",
        "_memory",
        "_outputs",
        "_requeued",
        "_sql",
        "_statuses",
        "_waiting",
        "rows",
    )

    def __init__(self, sql: Mapping[str, str]) -> None:
        self._sql = sql
        self._accepted: list[Row] = []
        self._accepted_once: list[tuple[QueuedWrite, Row]] = []
        self._beside: list[tuple[QueuedWrite, list[Row], list[Row]]] = []
        """Blobs and outputs of those inputs that come with some, if they are taken in."""
        self.rows: list[tuple[int, int, bytes]] = []
        """Of the journals: number, number of the run, and entries. The writer appends them."""
        self._blobs: list[Row] = []
        self._statuses: list[Row] = []
        self._waiting: list[Row] = []
        self._requeued: list[Row] = []
        self._outputs: list[Row] = []
        self._memory: list[Row] = []
        self._forgotten: list[Row] = []

    @property
    def size(self) -> int:
        """Bytes that it adds to the WAL, about."""
        bodies = chain(
            map(itemgetter(2), chain(self.rows, self._blobs)),
            map(itemgetter(3), self._accepted),
            (row[4] for _, row in self._accepted_once),
        )
        sizes = list(map(len, bodies))
        return _COMMIT_BYTES + sum(sizes) + _ROW_BYTES * len(sizes)

    @property
    def changes_memory(self) -> bool:
        """Whether a path of some key's memory is written."""
        return bool(self._memory or self._forgotten)

    def accept(
        self, queued: QueuedWrite, acceptance: Acceptance, next_position: Callable[[], int]
    ) -> None:
        """Take an input in; `result` is what its caller is told if it is new."""
        run, number = acceptance.run, acceptance.number  # at first its turn is its number
        queued.result = acceptance.as_accepted()
        if run.run_id is None:
            self._accepted.append((number, run.agent, run.key, queued.body, number))
        else:
            row = (number, run.run_id, run.agent, acceptance.key, queued.body, number)
            self._accepted_once.append((queued, row))
        if run.entries:
            blobs = _as_rows(number, run.blobs or {})
            outputs = [(next_position(), number, encode_cell(number, e)) for e in run.outputs]
            self._beside.append((queued, blobs, outputs))

    def add_blobs(self, run: int, blobs: Mapping[bytes, Payload]) -> None:
        """Take in what the entries refer to."""
        self._blobs += _as_rows(run, blobs)

    def add_effects(self, write: Write, next_position: Callable[[], int]) -> None:
        """Take in what the entries change beside the journal.

        Raises:
            UnicodeEncodeError: A text cannot be written.
        """
        if write.status is RunStatus.WAITING:
            self._waiting.append((write.wake, write.number))
        elif write.status is not None:
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
                    self._forgotten.append((agent, key, path))
                else:
                    self._memory.append((agent, key, path, encode_cell(0, update)))

    def run(self, connection: sqlite3.Connection) -> Known:
        """Write everything, all or nothing; returns the runs whose ids were known already."""
        if self._is_one_statement:
            for_all(connection, self._sql["append"], self.rows)
            return {}
        with atomic(connection):
            return self.write(connection)

    @property
    def _is_one_statement(self) -> bool:
        """Whether it takes no more than one statement, which is a transaction by itself."""
        return len(self.rows) <= MANY and not (
            self._accepted
            or self._accepted_once
            or self._blobs
            or self._statuses
            or self._waiting
            or self._requeued
            or self._outputs
            or self._memory
            or self._forgotten
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
        for_all(connection, sql["accept"], self._accepted)
        if self._accepted_once:
            rows = [row for _, row in self._accepted_once]
            for_all(connection, sql["accept_once"], rows)
            new = set(for_all(connection, sql["runs_of"], [(row[0],) for row in rows]))
            for queued, row in self._accepted_once:
                if (row[0],) not in new:
                    known[queued] = self._found(connection, row)
        for queued, blobs, outputs in self._beside:
            if queued not in known:
                for_all(connection, sql["add_blob"], blobs)
                for_all(connection, sql["add_output"], outputs)
        for_all(connection, sql["append"], self.rows)
        for_all(connection, sql["add_blob"], self._blobs)
        for_all(connection, sql["set_status"], self._statuses)
        for_all(connection, sql["set_waiting"], self._waiting)
        for row in self._requeued:
            connection.execute(sql["requeue"], row)
            connection.execute(sql["set_meta"], ("last_run", str(row[0])))
        for_all(connection, sql["add_output"], self._outputs)
        if self._forgotten:  # few; many at once would walk through the table
            connection.executemany(sql["delete_memory"], self._forgotten)
        for_all(connection, sql["set_memory"], self._memory)
        return known

    def _found(self, connection: sqlite3.Connection, row: Row) -> AcceptedRun:
        """The run with the id that a row asks for, its own or an earlier one."""
        number, run_id, *_ = row
        found = connection.execute(self._sql["run_by_id"], (run_id,)).fetchone()
        return AcceptedRun(found[0], run_id, found[3], is_new=found[0] == number)

    def _is_in(self, connection: sqlite3.Connection) -> bool:
        if self.rows:
            last = connection.execute(self._sql["last_seq"]).fetchone()[0]
            return bool(last >= self.rows[-1][0])
        if self._accepted:
            number = self._accepted[-1][0]
            return bool(connection.execute(self._sql["run_exists"], (number,)).fetchone()[0])
        # An id that is there is as good as one that was committed just now.
        ids = [row[1] for _, row in self._accepted_once]
        return all(connection.execute(self._sql["run_by_id"], (i,)).fetchone() for i in ids)


def _as_rows(run: int, blobs: Mapping[bytes, Payload]) -> list[Row]:
    return [(run, name, encode_blob(run, name, payload)) for name, payload in blobs.items()]
