"""What a store and the witness say after a kill, and whether it is what was promised.

The store is read as a file, read-only, without the engine: opening it with the engine would
change it. Every check returns the breaches that it found, as text.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from durable_agents import Codec
from durable_agents.journal import (
    ActionStarted,
    CallAbandoned,
    CallsCleared,
    CallSettled,
    DeliveredOutOfOrder,
    Entry,
    RunFailed,
    RunParked,
    RunStatus,
    batch_of,
    decode_output,
    decode_row,
    place,
)
from tests.crash.scenarios import spelt
from tests.crash.witness import Sighting

Call: TypeAlias = tuple[str, str]
"""Run and call, as the witness names them."""

CODEC = Codec()


@dataclass(slots=True)
class Record:
    """What a store file holds."""

    statuses: dict[str, RunStatus] = field(default_factory=dict)
    """By run id, in the order of acceptance."""
    entries: list[tuple[str, Entry]] = field(default_factory=list)
    """Entries of all runs, each with its run id, in the order of the commits."""
    outputs: list[tuple[str, Any]] = field(default_factory=list)
    """Outputs of all runs, each with its run id, in the order of the commits."""
    last_seq: int = 0
    """Number of the newest row of the journal."""
    settled: dict[Call, CallSettled] = field(default_factory=dict)
    """Calls that have an outcome, in the order settled."""
    transactions: dict[Call, int] = field(default_factory=dict)
    """In which transaction a call settled."""
    settled_again: list[Call] = field(default_factory=list)
    """Calls that got an outcome and then another one."""
    given_up: set[Call] = field(default_factory=set)
    """Calls that their action gave up, settled or not."""
    _actions: dict[tuple[str, int], str] = field(default_factory=dict)

    def add(self, run_id: str, seq: int, entry: Entry) -> None:
        """Take one more entry in, from the row of this number."""
        self.last_seq = seq
        self.entries.append((run_id, entry))
        match entry:
            case ActionStarted():
                self._actions[run_id, entry.action] = f"{entry.event}:{entry.name}"
            case CallSettled():
                call = self._call(run_id, entry)
                self.settled_again += [call] if call in self.settled else []
                self.settled[call] = entry
                self.transactions[call] = batch_of(seq)
            case CallAbandoned():
                self.given_up.add(self._call(run_id, entry))
            case _:
                pass

    def outputs_of(self, run_id: str) -> list[Any]:
        """Outputs of one run."""
        return [value for owner, value in self.outputs if owner == run_id]

    def _call(self, run_id: str, entry: CallSettled | CallAbandoned) -> Call:
        action = self._actions[run_id, entry.action]
        return run_id, f"{action}:{place((entry.branch, entry.position))}"


def read(path: Path, record: Record | None = None) -> Record:
    """All that a store file holds; nothing where it was killed before there was a schema.

    Args:
        path: The file.
        record: What it held earlier; only what is new is read. None: nothing.
    """
    record = Record() if record is None else record
    with _undisturbed(path) as connection:
        if connection.execute(_HAS_SCHEMA).fetchone():
            _read_new(connection, str(path), record)
    return record


@contextmanager
def _undisturbed(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file, or to a copy of it where only a writer could read it.

    A kill within a transaction may leave a rollback journal, which the next one who opens the
    file has to play back.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            connection.execute(_HAS_SCHEMA)
        except sqlite3.OperationalError:
            pass
        else:
            connection.execute("BEGIN")  # others may write meanwhile: all as of one moment
            yield connection
            return
    with TemporaryDirectory() as folder:
        shutil.copy(f"{path}-journal", folder)
        with closing(sqlite3.connect(shutil.copy(path, folder))) as connection:
            yield connection


_HAS_SCHEMA = "SELECT 1 FROM sqlite_master WHERE name = 'outputs'"


def _read_new(connection: sqlite3.Connection, name: str, record: Record) -> None:
    run_ids: dict[int, str] = {}
    token = connection.execute("SELECT value FROM meta WHERE name = 'token'").fetchone()[0]
    for run, own_id, status in connection.execute("SELECT run, id, status FROM runs"):
        run_ids[run] = own_id or f"{token}-{run}"
        record.statuses[run_ids[run]] = RunStatus(status)
    query = "SELECT seq, run, body FROM journal WHERE seq > ? ORDER BY seq"
    for seq, run, body in connection.execute(query, (record.last_seq,)):
        for entry in decode_row(run, body, name):
            record.add(run_ids[run], seq, entry)
    query = "SELECT run, body FROM outputs ORDER BY position LIMIT -1 OFFSET ?"
    for run, body in connection.execute(query, (len(record.outputs),)):
        value = CODEC.decode(decode_output(run, body, name).payload)
        record.outputs.append((run_ids[run], value))


def value_of(entry: CallSettled) -> object:
    """What a call returned, or the first argument of what it raised."""
    if entry.failed:
        return CODEC.decode_failure(entry.payload).args[0]
    return CODEC.decode(entry.payload)


def used_values(record: Record) -> list[object]:
    """Values of the calls that settled and were not given up."""
    return [value_of(e) for call, e in record.settled.items() if call not in record.given_up]


def repeated(settled: Iterable[Call], later: Iterable[Sighting]) -> Iterator[str]:
    """Claim 1: what was settled at a kill never begins again."""
    known = set(settled)
    for sighting in later:
        if sighting.phase == "begin" and sighting.call in known:
            yield f"settled before the kill, and began again: {sighting}"


def swapped(seen: Iterable[Sighting], record: Record) -> Iterator[str]:
    """Claim 3: a result is that of the very call that it is on record for."""
    spellings = {s.call: spelt(s.function, *s.args) for s in seen if s.phase == "begin"}
    for call, entry in record.settled.items():
        if spellings.get(call) != value_of(entry):
            yield f"{call} was {spellings.get(call)} and has on record {value_of(entry)}"


def unlike(seen: Iterable[Sighting]) -> Iterator[str]:
    """A call is the same call in each life, for whoever provides the effect, too."""
    known: dict[Call, tuple[str, str]] = {}
    for one in seen:
        told = (spelt(one.function, *one.args), one.idempotency_key)
        if known.setdefault(one.call, told) != told:
            yield f"{one.call} was {known[one.call]} in one life and {told} in another"


def disturbed(record: Record) -> Iterator[str]:
    """Nothing but the crash happened: no divergence, no order given up, no failure."""
    unwanted = (CallsCleared, DeliveredOutOfOrder, RunFailed, RunParked)
    for run_id, entry in record.entries:
        if isinstance(entry, unwanted):
            yield f"run {run_id}: {entry}"
    for call in record.settled_again:
        yield f"{call} was settled twice"
    for run_id, status in record.statuses.items():
        if status is not RunStatus.COMPLETED:
            yield f"run {run_id} is {status.name}"
