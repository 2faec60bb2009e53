"""What a process with slots is seen to do and told, checked as it comes, and then forgotten.

However long the process works, no more is kept than what is known of the runs that are alive:
the driver of a soak must not grow itself.

    C1  no call begins again whose result was handed over (another call was begun with it), and
        none of a run that is done
    C2  what was accepted is known when it is submitted again, and done in the end
    C3  the outputs are those that the calls of this very run lead to, each call by its own
        value
    C5  no run ends otherwise than by being done
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from tests.crash.scenarios import spelt
from tests.crash.witness import Sighting
from tests.crash.workload import expected_output
from tests.proof.endless import Told

__all__ = ["Audit", "Tail"]

T = TypeVar("T")

_MOST_KEPT = 20


class Tail(Generic[T]):
    """A file of JSON lines that another process appends to.

    Args:
        path: The file; may be missing as yet.
        kind: What a line holds.
    """

    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path = path
        self._decode = msgspec.json.Decoder(kind).decode
        self._offset = 0

    def new(self) -> list[T]:
        """Whole lines that have come since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        # A kill may leave a piece of a line, which the next process ends by a new one.
        return [self._decode(line) for line in whole.splitlines() if line.endswith(b"}")]


@dataclass(slots=True)
class Audit:
    """Of the slots of one part.

    Args:
        part: Which.
        parts: How many there are.
        turns: How many runs of each slot are done.
    """

    part: int
    parts: int
    turns: list[int]
    done: int = 0
    begun: int = 0
    """Calls."""
    ended: int = 0
    """Calls whose effect was done."""
    refused: int = 0
    """How often the store failed somebody who submitted, or waited."""
    lost: int = 0
    """Runs that went on with another worker."""
    breach_count: int = 0
    breaches: list[str] = field(default_factory=list)
    """The first ones."""
    _accepted: set[int] = field(default_factory=set)
    _handed_over: dict[int, set[str]] = field(default_factory=dict)

    @property
    def unfinished(self) -> int:
        """Runs that were accepted and are not done."""
        return len(self._accepted)

    @property
    def kept(self) -> int:
        """Runs of which anything is kept, beside those that are unfinished."""
        return len(self._handed_over)

    def owns(self, sighting: Sighting) -> bool:
        """Whether a run is one of this part."""
        return _number(sighting) % self.parts == self.part

    def take_in(self, seen: Sequence[Sighting], told: Sequence[Told]) -> None:
        """What happened since the last time; who reads the witness last misses nothing."""
        for sighting in seen:
            self._complain(*self._see(sighting))
        for one in told:
            self._complain(*self._hear(one))

    def conclude(self) -> None:
        """All has come to its end: nothing that was accepted is left."""
        for slot in sorted(self._accepted):
            self._complain(f"slot {slot} never came to the end of turn {self.turns[slot]}")

    def _see(self, sighting: Sighting) -> Iterator[str]:
        number = _number(sighting)
        turn, slot = divmod(number // self.parts, len(self.turns))
        if sighting.phase == "end":
            self.ended += 1
            return
        self.begun += 1
        known = self._handed_over.setdefault(number, set())
        if turn < self.turns[slot]:
            yield f"its run was done, and it began again: {sighting}"
        if spelt(sighting.function, *sighting.args) in known:
            yield f"its result was handed over, and it began again: {sighting}"
        if sighting.function == "join":
            known.update(sighting.args)

    def _hear(self, told: Told) -> Iterator[str]:
        slot, turn = told.slot, told.turn
        if turn != self.turns[slot]:
            yield f"turn {self.turns[slot]} of its slot was due: {told}"
        match told.what:
            case "accepted":
                if slot in self._accepted:
                    yield f"it was accepted before, and is not known any more: {told}"
                self._accepted.add(slot)
            case "known":
                self._accepted.add(slot)
            case "refused":
                self.refused += 1
            case "lost":
                self.lost += 1
            case "failed":
                yield f"it was not done: {told}"
                self._finish(slot)
            case "done":
                yield from self._check(told)
                self._finish(slot)

    def _check(self, told: Told) -> Iterator[str]:
        number = (told.turn * len(self.turns) + told.slot) * self.parts + self.part
        _, _, value = expected_output(number)
        if told.outputs != [[number, told.turn + 1, value]]:
            yield f"run {number} of turn {told.turn} put out {told.outputs}"
        self._handed_over.pop(number, None)
        self.done += 1

    def _finish(self, slot: int) -> None:
        self._accepted.discard(slot)
        self.turns[slot] += 1

    def _complain(self, *breaches: str) -> None:
        self.breach_count += len(breaches)
        self.breaches += breaches[: _MOST_KEPT - len(self.breaches)]


def _number(sighting: Sighting) -> int:
    return int(sighting.run_id.removeprefix("run-"))
