"""What became of calls that kills left in doubt, told from outside the engine.

A `History` is kept for each call: in which lives it began, when its reconciler was asked and
what it said, after which kills it was in doubt, how it settled. `breaches` compares it with
what the call's author declared.

In doubt is a guarded call whose beginning is on record and whose outcome is not, and any other
call that the witness saw begin and that has no outcome on record.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from durable_agents.journal import CallBegun, CallResolved, CallSettled, RunParked, place
from tests.crash.evidence import Call, Record, value_of
from tests.crash.witness import Sighting
from tests.proof.doubt_workload import (
    ASKED,
    IN_DOUBT,
    NOT_EXECUTED,
    UNAVAILABLE,
    Effect,
    Kind,
    Telling,
    kinds_of,
)

__all__ = ["Histories", "History"]

_GUARDED = {"fail", "ask", "lookup", "lookup_thread", "declined", "unavailable"}
_RECONCILED = _GUARDED - {"fail", "ask"}


@dataclass(slots=True)
class History:
    """One call from outside."""

    kind: Kind
    begins: list[int] = field(default_factory=list)
    """Lives in which its function began, in order."""
    asked: list[tuple[int, str]] = field(default_factory=list)
    """Lives in which its reconciler was asked, and what that said."""
    doubts: list[int] = field(default_factory=list)
    """Lives whose end left it in doubt."""
    parkings: list[str] = field(default_factory=list)
    """Reasons with which its run was parked."""
    reruns: int = 0
    """How often a person decided that it be made again."""
    settled_in: int | None = None
    outcome: str = ""
    effects: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    """Idempotency keys under which it was seen."""

    @property
    def treatment(self) -> str:
        """What became of the doubt, for the table."""
        if self.kind == "fail":
            return "failed with InDoubtError"
        if self.kind == "ask":
            return "parked, then decided by a person"
        if self.kind not in _RECONCILED:
            return "made again"
        answers = {answer for _, answer in self.asked} - {UNAVAILABLE}
        found = "not executed, made again" if answers == {NOT_EXECUTED} else "outcome found"
        waited = " after a dead letter" if self.kind == "unavailable" else ""
        return f"reconciler: {found}{waited}"

    def breaches(self) -> Iterator[str]:
        """In what it was not treated as declared."""
        if self.settled_in is None:
            yield "it never settled"
            return
        if len(self.keys) > 1:
            yield f"it went by {len(self.keys)} idempotency keys"
        if self.kind not in _GUARDED:
            yield from self._run_again()
            return
        if len(self.effects) > 1:
            yield f"it may take effect once, and did {len(self.effects)} times"
        if not self.doubts:
            yield from self._undisturbed()
        elif self.kind == "fail":
            yield from self._failed()
        elif self.kind == "ask":
            yield from self._decided()
        else:
            yield from self._reconciled()

    def _run_again(self) -> Iterator[str]:
        expected = [*self.doubts, self.settled_in]
        if self.begins != expected:
            yield f"it is made again after each kill: lives {expected}, found {self.begins}"
        if self.outcome not in self.effects:
            yield f"its outcome {self.outcome!r} is none of its effects"

    def _undisturbed(self) -> Iterator[str]:
        if self.begins != [self.settled_in] or self.asked or self.parkings:
            yield f"no kill hit it, and it was treated as if one had: {self}"
        if [self.outcome] != self.effects:
            yield f"no kill hit it, its outcome is {self.outcome!r}, not {self.effects}"

    def _failed(self) -> Iterator[str]:
        if self.begins not in ([], self.doubts[:1]):
            yield f"it was in doubt after life {self.doubts[0]}, and began in {self.begins}"
        if self.outcome != IN_DOUBT:
            yield f"its action was to hear that it is in doubt, and heard {self.outcome!r}"

    def _decided(self) -> Iterator[str]:
        if not self.parkings or not all("ask(" in reason for reason in self.parkings):
            yield f"its run is parked with a reason that names it, found {self.parkings}"
        if len(self.begins) > 1 + self.reruns:
            yield f"{self.reruns} reruns were decided, and it began in {self.begins}"
        told = f"told {self.effects[0]}" if self.effects else ""
        if self.outcome not in {told, *self.effects}:
            yield f"its outcome is {self.outcome!r}, its effects {self.effects}"

    def _reconciled(self) -> Iterator[str]:
        for life, answer in self.asked:
            if life - 1 not in self.doubts:
                yield f"it was not in doubt in life {life}, and its reconciler was asked"
            if answer not in {NOT_EXECUTED, UNAVAILABLE, *self.effects}:
                yield f"its reconciler said {answer!r}"
        counts = Counter(life for life, answer in self.asked if answer != UNAVAILABLE)
        if counts and max(counts.values()) > 1:
            yield f"it has one answer for each life, and was asked again: {self.asked}"
        for life in self.begins:
            if life - 1 in self.doubts and (life, NOT_EXECUTED) not in self.asked:
                yield f"it began in life {life}, and nobody had said that it may"
        yield from self._as_answered()

    def _as_answered(self) -> Iterator[str]:
        found = {f"found {value}" for value in self.effects}
        was_in_doubt = self.settled_in is not None and self.settled_in - 1 in self.doubts
        if not was_in_doubt or (self.settled_in, NOT_EXECUTED) in self.asked:
            found = set(self.effects)
        if self.outcome not in found:
            yield f"its outcome is {self.outcome!r}, expected one of {sorted(found)}"


class Histories:
    """The histories of all calls of some runs.

    Args:
        ids: Their ids, by number.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.calls: dict[Call, History] = {
            (run_id, f"0:act:root:{position}"): History(kind)
            for number, run_id in enumerate(ids)
            for position, kind in enumerate(kinds_of(number))
        }
        self._pending: dict[Call, None] = {}
        self._entries = 0

    def end_of_life(self, life: int, seen: Iterable[Sighting], record: Record) -> list[Call]:
        """Take in what one process did, and what it left.

        Args:
            life: Its number.
            seen: What the witness saw of it.
            record: What the store holds now.

        Returns:
            The calls that are in doubt now.
        """
        begun: dict[Call, None] = {}
        for sighting in seen:
            history = self.calls[sighting.call]
            history.keys.add(sighting.idempotency_key)
            if sighting.phase == "begin" and sighting.function == ASKED:
                history.asked.append((life, str(sighting.args[1])))
            elif sighting.phase == "begin":
                history.begins.append(life)
                begun[sighting.call] = None
        self._read(life, record)
        doubtful = [
            call
            for call in {**self._pending, **begun}
            if self.calls[call].settled_in is None
            and (call in self._pending or self.calls[call].kind not in _GUARDED)
        ]
        for call in doubtful:
            self.calls[call].doubts.append(life)
        return doubtful

    def _read(self, life: int, record: Record) -> None:
        """Take in the entries that are new."""
        new, self._entries = record.entries[self._entries :], len(record.entries)
        for run_id, entry in new:
            match entry:
                case CallBegun():
                    self._pending[_call(run_id, entry)] = None
                case CallResolved():
                    self.calls[_call(run_id, entry)].reruns += 1
                    self._pending.pop(_call(run_id, entry), None)
                case CallSettled():
                    call = _call(run_id, entry)
                    self._pending.pop(call, None)
                    self.calls[call].settled_in = life
                    value = str(value_of(entry))
                    in_doubt = self.calls[call].kind == "fail" and entry.failed
                    self.calls[call].outcome = IN_DOUBT if in_doubt else value
                case RunParked():
                    for call in [c for c in self._pending if c[0] == run_id]:
                        self.calls[call].parkings.append(entry.reason)
                case _:
                    pass

    def take_effects(self, effects: Iterable[Effect]) -> None:
        """Take in what the outside world knows."""
        for effect in effects:
            self.calls[effect.run_id, effect.call_id].effects.append(effect.value)

    def breaches(self) -> Iterator[str]:
        """What was not as declared."""
        for call, history in self.calls.items():
            for breach in history.breaches():
                yield f"{call} {history.kind}: {breach}"

    def unreported(self, tellings: Iterable[Telling]) -> Iterator[str]:
        """Calls in doubt of which the people concerned were not told."""
        told = {(t.run_id, t.what): t.text for t in tellings}
        for (run_id, call_id), history in self.calls.items():
            if not history.doubts:
                continue
            parked, failed = told.get((run_id, "parked")), told.get((run_id, "failed"))
            if history.kind == "ask" and (parked is None or "in doubt" not in parked):
                yield f"{run_id} {call_id} is in doubt, and a person was told {parked}"
            if history.kind == "unavailable" and not str(failed).startswith("Reconciler"):
                yield f"{run_id} {call_id} cannot be looked up; a person was told {failed}"


def _call(run_id: str, entry: CallBegun | CallResolved | CallSettled) -> Call:
    return run_id, f"0:act:{place((entry.branch, entry.position))}"
