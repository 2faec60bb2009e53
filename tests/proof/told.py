"""What the engine had told its user at a point of a trace, and whether a store has it still."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.crash.evidence import Record, value_of
from tests.crash.scenarios import spelt
from tests.crash.witness import Sighting
from tests.crash.workload import WITNESS, id_of, key_of
from tests.proof.recorded import MARKS, Mark
from tests.proof.trace import Change

__all__ = ["Told", "lost"]

_decode_mark = msgspec.json.Decoder(Mark).decode
_decode_sighting = msgspec.json.Decoder(Sighting).decode


@dataclass(slots=True)
class Told:
    """Everything acknowledged so far: this must not be lost."""

    accepted: set[str] = field(default_factory=set)
    """Ids of runs."""
    results: set[str] = field(default_factory=set)
    """Values of calls that were handed over: other calls were begun with them."""
    outputs: dict[str, list[Any]] = field(default_factory=dict)
    """By run id."""
    completed: dict[str, int] = field(default_factory=dict)
    """How many runs of each key are done: their agent counts them in memory."""
    repeated: list[str] = field(default_factory=list)
    """Calls that began although their result had been handed over."""
    witnessed: list[bytes] = field(default_factory=list)
    """Lines of the witness."""
    _names: dict[int, str] = field(default_factory=dict)

    def take_in(self, change: Change) -> bool:
        """Take in what happened next; False if it happened to the store."""
        if change.kind == "c":
            self._names[change.inode] = change.name
        name = self._names.get(change.inode)
        if change.kind == "w" and name == WITNESS:
            self.witnessed.append(change.data)
            self._see(_decode_sighting(change.data))
        elif change.kind == "w" and name == MARKS:
            self._hear(_decode_mark(change.data))
        return name in {WITNESS, MARKS}

    def _see(self, sighting: Sighting) -> None:
        if sighting.phase == "end":
            return
        if spelt(sighting.function, *sighting.args) in self.results:
            self.repeated.append(f"its result was handed over, and it began again: {sighting}")
        if sighting.function == "join":
            self.results.update(sighting.args)

    def _hear(self, mark: Mark) -> None:
        if mark.outputs is None:
            self.accepted.add(id_of(mark.number))
            return
        self.outputs[id_of(mark.number)] = mark.outputs
        key = key_of(mark.number)
        self.completed[key] = self.completed.get(key, 0) + 1


def lost(told: Told, record: Record, counted: dict[str, int]) -> Iterator[str]:
    """What was acknowledged and is not in a store.

    Args:
        told: What was acknowledged.
        record: What the store's file holds.
        counted: What its memory says of each key.
    """
    for run_id in sorted(told.accepted - record.statuses.keys()):
        yield f"{run_id} was accepted, and is not there"
    for value in sorted(told.results - {str(value_of(e)) for e in record.settled.values()}):
        yield f"{value} was handed over, and is not there"
    outputs: dict[str, list[Any]] = {}
    for run_id, output in record.outputs:
        outputs.setdefault(run_id, []).append(output)
    for run_id, values in told.outputs.items():
        if outputs.get(run_id) != values:
            yield f"{run_id} put out {values}, and {outputs.get(run_id)} is there"
    for key, count in told.completed.items():
        if counted.get(key, 0) < count:
            yield f"{count} runs of {key} were done, and its memory says {counted.get(key, 0)}"
