"""What a store and the witness say after a kill, and whether it is what was promised.

The store is read as a file, read-only, without the engine: opening it with the engine would change
it. Every check returns the breaches that it found, as text.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from durable_agents import Codec
from durable_agents.journal import (
    CallAbandoned,
    CallsCleared,
    CallSettled,
    DeliveredOutOfOrder,
    Entry,
    RunFailed,
    RunParked,
    RunStatus,
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

    def settled(self) -> dict[Call, CallSettled]:
        """Calls that have an outcome which their action did not give up, in order."""
        settled: dict[Call, CallSettled] = {}
        for run_id, entry in self.entries:
            if isinstance(entry, CallSettled):
                settled[run_id, call_id(entry)] = entry
            elif isinstance(entry, CallAbandoned):
                settled.pop((run_id, call_id(entry)), None)
        return settled

    def outputs_of(self, run_id: str) -> list[Any]:
        """Outputs of one run."""
        return [value for owner, value in self.outputs if owner == run_id]


def read(path: Path) -> Record:
    """All that a store file holds; nothing where it was killed before there was a schema."""
    record = Record()
    # No wait and no write: what a killed process left is read as it is.
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        if not connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'outputs'"
        ).fetchone():
            return record
        run_ids: dict[int, str] = {}
        token = connection.execute("SELECT value FROM meta WHERE name = 'token'").fetchone()[0]
        for run, own_id, status in connection.execute("SELECT run, id, status FROM runs"):
            run_ids[run] = own_id or f"{token}-{run}"
            record.statuses[run_ids[run]] = RunStatus(status)
        rows = connection.execute("SELECT run, body FROM journal ORDER BY seq")
        for run, body in rows:
            record.entries += [(run_ids[run], e) for e in decode_row(run, body, str(path))]
        rows = connection.execute("SELECT run, body FROM outputs ORDER BY position")
        for run, body in rows:
            payload = decode_output(run, body, str(path)).payload
            record.outputs.append((run_ids[run], CODEC.decode(payload)))
    return record


def call_id(entry: CallSettled | CallAbandoned) -> str:
    """The id under which the function of a call knows it."""
    return f"{entry.action}:{place((entry.branch, entry.position))}"


def value_of(entry: CallSettled) -> Any:
    """What a call returned, or the first argument of what it raised."""
    if entry.failed:
        return CODEC.decode_failure(entry.payload).args[0]
    return CODEC.decode(entry.payload)


def repeated(settled: Iterable[Call], later: Iterable[Sighting]) -> Iterator[str]:
    """Claim 1: what was settled at a kill never begins again."""
    known = set(settled)
    for sighting in later:
        if sighting.phase == "begin" and sighting.call in known:
            yield f"settled before the kill, and began again: {sighting}"


def swapped(seen: Iterable[Sighting], record: Record) -> Iterator[str]:
    """Claim 3: a call is the same in each life, and its result is its own."""
    spellings: defaultdict[Call, set[str]] = defaultdict(set)
    keys: defaultdict[Call, set[str]] = defaultdict(set)
    for sighting in seen:
        spellings[sighting.call].add(spelt(sighting.function, *sighting.args))
        keys[sighting.call].add(sighting.idempotency_key)
    for call, spelling in spellings.items():
        if len(spelling) > 1 or len(keys[call]) > 1:
            yield f"{call} was not the same call in each life: {spelling}, {keys[call]}"
    for call, entry in record.settled().items():
        if spellings[call] != {value_of(entry)}:
            yield f"{call} was {spellings[call]} and has on record {value_of(entry)}"


def disturbed(record: Record) -> Iterator[str]:
    """Nothing but the crash happened: no divergence, no order given up, no failure."""
    unwanted = (CallsCleared, DeliveredOutOfOrder, RunFailed, RunParked)
    for run_id, entry in record.entries:
        if isinstance(entry, unwanted):
            yield f"run {run_id}: {entry}"
    for run_id, status in record.statuses.items():
        if status is not RunStatus.COMPLETED:
            yield f"run {run_id} is {status.name}"
