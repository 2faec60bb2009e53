"""One commit to a file that several workers write: everything is looked up, then written.

Within one transaction, in this order: is this worker still registered, what are the last
numbers in the file, which writes are for runs of its own; then the writes; then what has ended
is given back, and what there is room for is claimed. Others see all of it or nothing.
"""

import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from durable_agents.errors import StoreConflictError, StoreError
from durable_agents.journal import BATCH_BITS, RunStatus
from durable_agents.store._atomic import atomic
from durable_agents.store._claims import Beat, ClaimedRun, Pulse
from durable_agents.store._membership import BeatWrite, Found, Membership, SharedQueue, register
from durable_agents.store._pauses import as_pauses
from durable_agents.store._port import AcceptedRun, Write
from durable_agents.store._transaction import Known, Transaction
from durable_agents.store._write_queue import Acceptance, QueuedWrite

__all__ = ["SharedTransaction"]

Row: TypeAlias = tuple[Any, ...]

_MAX_LOOKED_AT = 512
"""Keys that one transaction looks at when it claims; the next one goes on behind them."""
_LEFT = 0
"""In the place of a worker's number: the one who had the run died, or was struck out."""


class SharedTransaction:
    """The rows of one commit of one worker among several.

    Args:
        sql: The statements, by name.
        batch: What to write.
        membership: This worker.
        queue: Numbers inputs.
    """

    def __init__(
        self,
        sql: Mapping[str, str],
        batch: Sequence[QueuedWrite],
        membership: Membership,
        queue: SharedQueue,
    ) -> None:
        self.refused: dict[QueuedWrite, StoreError] = {}
        """Writes that were left out, since another worker has their run."""
        self._sql = sql
        self._batch = batch
        self._membership = membership
        self._queue = queue
        self._found = membership.find()
        self._rows = Transaction(sql)
        self._last_row: Row | None = None
        self._last_input: Row | None = None
        self._holds_memory = False
        self._position = 0
        self._may_claim = False
        self._paused: set[tuple[str, str | None]] = set()
        """Agents and keys of which nothing is claimed."""

    @property
    def size(self) -> int:
        """Bytes of the entries."""
        return self._rows.size

    @property
    def changes_memory(self) -> bool:
        """Whether any memory is kept, of whichever worker."""
        return self._holds_memory or self._rows.changes_memory

    @property
    def found(self) -> Found:
        """What it found out, once it is committed."""
        return self._found

    def run(self, connection: sqlite3.Connection) -> Known:
        """Write everything, all or nothing; returns the runs whose ids were known already."""
        with atomic(connection):
            return self._write(connection)

    def recall(self, connection: sqlite3.Connection) -> Known | None:
        """What `run` would have returned, after a commit of which nobody knows the end.

        Others write, too: that a number is taken says nothing. The very row has to be there.
        """
        if self._last_row is not None:
            question, row = self._sql["row_is_there"], self._last_row
        elif self._last_input is not None:
            question, row = self._sql["input_is_there"], self._last_input
        else:
            return None
        if not connection.execute(question, row).fetchone()[0]:
            return None
        known = self._rows.known(connection)
        return {queued: accepted for queued, accepted in known.items() if not accepted.is_new}

    def _write(self, connection: sqlite3.Connection) -> Known:
        self._check_in(connection)
        self._number_all(connection)
        known = self._rows.write(connection)
        self._give_back(connection)
        self._paused = self._find_paused(connection)
        self._claim_accepted(connection, known)
        beats = [(q, q.write.beat) for q in self._batch if isinstance(q.write, BeatWrite)]
        if beats:
            self._beat(connection, beats[-1][1])
        has_all = True
        if beats or self._may_claim:
            has_all = self._claim_more(connection, sys.maxsize if beats else _MAX_LOOKED_AT)
        self._found.is_hungry = not has_all
        for queued, _ in beats:
            is_idle = has_all and not self._is_worked_on(connection)
            queued.result = Pulse(self._found.expires or 0.0, is_idle)
        return known

    def _check_in(self, connection: sqlite3.Connection) -> None:
        """Find out whether this worker was struck out; then it is registered anew."""
        found, sql = self._found, self._sql
        if not connection.execute(sql["is_registered"], (found.epoch,)).fetchone()[0]:
            found.is_struck_out = True
            # Late from the start: it holds nothing for good before it has beaten again.
            found.epoch = register(connection, sql, self._membership, found)
        elif self._membership.is_unsure:
            rows = connection.execute(sql["held"], (found.epoch,))
            held = {run for (run,) in rows}
            strays = [(None, run) for run in held - self._membership.mine]
            connection.executemany(sql["claim"], strays)
            found.given_back |= self._membership.mine - held

    def _number_all(self, connection: sqlite3.Connection) -> None:
        """Give every write its number, and leave out those that another worker forbids."""
        row = connection.execute(self._sql["last_numbers"]).fetchone()
        number, last_seq, self._position, holds_memory = row
        self._holds_memory = bool(holds_memory)
        seq = ((last_seq >> BATCH_BITS) + 1) << BATCH_BITS
        for queued in self._batch:
            write = queued.write
            if isinstance(write, Acceptance):
                number += 1
                queued.body = self._queue.number(write, number)
                self._rows.accept(queued, write, self._next_position)
                self._last_input = (number, queued.body)
            elif isinstance(write, BeatWrite):
                continue
            elif self._is_refused(connection, write):
                self.refused[queued] = self._conflict(connection, queued.number)
            else:
                seq += 1
                queued.result = seq
                if write.requeues:
                    number += 1
                    write.turn = number
                self._rows.rows.append((seq, queued.number, queued.body))
                if write.blobs is not None:
                    self._rows.add_blobs(queued.number, write.blobs)
                self._last_row = (seq, queued.number, queued.body)
                self._rows.add_effects(write, self._next_position)
                if write.status is not None:
                    self._may_claim = True
                    if not _is_active(write.status):
                        self._found.ended.add(queued.number)

    def _conflict(self, connection: sqlite3.Connection, number: int) -> StoreConflictError:
        row = connection.execute(self._sql["name_of_holder"], (number,)).fetchone()
        what = "has changed hands or state meanwhile: look again"
        if row is not None:
            what = f"belongs to {row[0]}, which alone may change it: decide there"
        problem = f"run number {number} {what}"
        return StoreConflictError(str(self._membership.path), problem)

    def _next_position(self) -> int:
        self._position += 1
        return self._position

    def _is_refused(self, connection: sqlite3.Connection, write: Write) -> bool:
        found = self._found
        # By when it was enqueued: the run may have been lost since, even ended elsewhere.
        if write.epoch not in {None, found.epoch}:
            return True
        if write.number in self._membership.mine and write.number not in found.given_back:
            return found.is_struck_out
        # Of no worker in particular, as it waits, is parked or has ended: anybody may write.
        row = connection.execute(self._sql["holder"], (write.number,)).fetchone()
        if row is None:
            return False
        holder, status = row
        has_changed = write.decided_on is not None and write.decided_on != status
        return has_changed or holder not in {None, _LEFT, found.epoch}

    def _give_back(self, connection: sqlite3.Connection) -> None:
        """What has ended or is parked is nobody's."""
        rows = [(None, number) for number in self._found.ended]
        connection.executemany(self._sql["claim"], rows)

    @property
    def _room(self) -> int:
        found = self._found
        gone = found.ended | found.given_back
        held = 0 if found.is_struck_out else len(self._membership.mine - gone)
        return found.capacity - held - len(found.accepted) - len(found.claimed)

    def _claim_accepted(self, connection: sqlite3.Connection, known: Known) -> None:
        """Keep the inputs whose turn it is for this worker, while it has room."""
        room = self._room
        accepted = self._found.accepted
        for queued in self._batch:
            write = queued.write
            if not isinstance(write, Acceptance) or queued in known:
                continue
            is_claimed = len(accepted) < room and self._is_first(connection, write)
            if is_claimed:
                connection.execute(self._sql["claim"], (self._found.epoch, write.number))
                accepted.add(write.number)
            queued.result = AcceptedRun(
                write.number, write.run_id, write.key, is_new=True, is_claimed=is_claimed
            )

    def _is_first(self, connection: sqlite3.Connection, write: Acceptance) -> bool:
        if self._is_paused(write.run.agent, write.key):
            return False
        row = (write.run.agent, write.key, write.number)
        has_earlier = self._sql["has_earlier"]
        return write.run.key is None or not connection.execute(has_earlier, row).fetchone()[0]

    def _beat(self, connection: sqlite3.Connection, beat: Beat) -> None:
        found, sql = self._found, self._sql
        found.agent, found.capacity = beat.agent, beat.capacity
        expires = beat.now + beat.lease_seconds
        # Not with each beat: a renewal is a write, and every write is news to all others.
        is_due = found.expires is None or found.expires < expires - beat.lease_seconds / 3
        if is_due or found.boot != beat.boot:
            connection.execute(sql["renew"], (beat.boot, expires, found.epoch))
            found.expires, found.boot = expires, beat.boot
        for peer in self._membership.peers(connection):
            if self._membership.must_go(peer, beat):
                connection.execute(sql["hand_on"], (_LEFT, peer.epoch))
                connection.execute(sql["strike_out"], (peer.epoch,))
                found.struck_out.append(peer)

    def _claim_more(self, connection: sqlite3.Connection, most_keys: int) -> bool:
        """Claim what there is room for; False where more may be there that there is room for.

        Keys take turns: the search goes on behind the key that it came to last. Runs without a
        key stand in a line of their own, which gets half of the places where both wait.
        """
        if self._found.is_struck_out:
            return False  # what was lost has to end here first
        if self._is_paused(self._found.agent, None):
            return True
        room = self._room
        if room <= 0:
            return True
        alone = self._alone(connection, room)
        room_of_keys = max(room - len(alone), (room + 1) // 2)
        of_keys, has_all = self._of_keys(connection, room_of_keys, most_keys)
        for run in (*of_keys, *alone[: room - len(of_keys)]):
            connection.execute(self._sql["claim"], (self._found.epoch, run.number))
            self._found.claimed.append(run)
        return has_all or self._room == 0

    def _alone(self, connection: sqlite3.Connection, room: int) -> list[ClaimedRun]:
        lost = self._membership.lost
        query = self._sql["claimable_without_key"]
        rows = connection.execute(query, (self._found.agent, room + len(lost))).fetchall()
        return [
            ClaimedRun(number, self._queue.run_id(number), turn, was_left=worker == _LEFT)
            for number, worker, turn in rows
            if number not in lost
        ][:room]

    def _of_keys(
        self, connection: sqlite3.Connection, room: int, most_keys: int
    ) -> tuple[list[ClaimedRun], bool]:
        """Runs whose turn it is in their key, and whether all keys were looked at for them."""
        found, lost, agent = self._found, self._membership.lost, self._found.agent
        first = cursor = found.cursor
        has_wrapped = not first
        claimed: list[ClaimedRun] = []
        has_all = False
        while not has_all and len(claimed) < room and most_keys > 0:
            most_keys -= 1
            row = self._next_key(connection, cursor)
            if row is not None and not (has_wrapped and first and row[1] >= first):
                number, key, status, worker, turn = row
                cursor = f"{key}\0"  # nothing sorts between a key and this
                is_free = not (worker or number in lost or self._is_paused(agent, key))
                if is_free and _is_active(RunStatus(status)):
                    claimed.append(ClaimedRun(number, key, turn, was_left=worker == _LEFT))
            elif has_wrapped:
                has_all = True
            else:
                cursor, has_wrapped = "", True
        found.cursor = cursor
        return claimed, has_all

    def _next_key(self, connection: sqlite3.Connection, cursor: str) -> Row | None:
        row: Row | None = connection.execute(
            self._sql["first_of_key"], (self._found.agent, cursor)
        ).fetchone()
        return row

    def _find_paused(self, connection: sqlite3.Connection) -> set[tuple[str, str | None]]:
        path = str(self._membership.path)
        pauses = as_pauses(connection.execute(self._sql["pauses"]), path)
        return {(pause.agent, pause.key) for pause in pauses}

    def _is_paused(self, agent: str, key: str | None) -> bool:
        return (agent, None) in self._paused or (agent, key) in self._paused

    def _is_worked_on(self, connection: sqlite3.Connection) -> bool:
        question = self._sql["is_worked_on"]
        return bool(connection.execute(question, (self._found.agent,)).fetchone()[0])


def _is_active(status: RunStatus) -> bool:
    return status.is_open and not status.waits_for_person
