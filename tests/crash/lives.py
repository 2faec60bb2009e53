"""The lives of one store: processes that are killed, and one that comes to the end."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from tests.crash.child import RUN_ID, Life
from tests.crash.evidence import (
    Call,
    Record,
    disturbed,
    read,
    repeated,
    swapped,
    unlike,
    used_values,
    value_of,
)
from tests.crash.nursery import Nursery
from tests.crash.scenarios import SCENARIOS, Facts
from tests.crash.witness import Sighting, sightings

__all__ = ["Lives"]

KILLED = -9


class Lives:
    """One store, worked on by one process after the other.

    Args:
        before: The life before the first one: what to run, where and how. Latencies depend on
            its number. Its folder is made.
        nurseries: Where they are started, in turn.
    """

    def __init__(self, before: Life, nurseries: Sequence[Nursery]) -> None:
        Path(before.folder).mkdir(parents=True)
        self.breaches: list[str] = []
        """What is not as it was promised."""
        self.life = before
        self._nurseries = nurseries
        self._settled: set[Call] = set()
        self._used: set[Call] = set()

    def live(self, after: int | None) -> bool:
        """One more life; returns whether it was killed, after that many writes."""
        life = self.life = msgspec.structs.replace(
            self.life, number=self.life.number + 1, after=after
        )
        status = self._nurseries[life.number % len(self._nurseries)].live(life)
        seen = sightings(life.witness)
        self.breaches += repeated(self._settled, (s for s in seen if s.life == life.number))
        if said := life.said.read_text():
            self.breaches.append(f"life {life.number} said: {said}")
        record = read(life.store)
        if not SCENARIOS[life.scenario].is_timed:
            # Timers of asyncio run anew in each life. Two that fire within a moment of each
            # other may change places, and with them what was given up for one of them.
            self.breaches += taken_back(self._used, record)
        self._settled = set(record.settled)
        self._used = set(used(record, seen))
        if status == 0:
            self._conclude(record)
        elif status != KILLED:
            self.breaches.append(f"life {life.number} ended by itself, with status {status}")
        return status == KILLED

    def _conclude(self, record: Record) -> None:
        """The work is done: it is the work that was to be done."""
        self.breaches += disturbed(record)
        seen = sightings(self.life.witness)
        self.breaches += swapped(seen, record)
        if not SCENARIOS[self.life.scenario].is_timed:
            self.breaches += unlike(seen)
        self.breaches += misdecided(self.life.scenario, record)
        told = msgspec.json.decode(self.life.result.read_bytes())["outputs"]
        if told != record.outputs_of(RUN_ID):
            self.breaches.append(f"told {told}, on record {record.outputs}")


def used(record: Record, seen: Iterable[Sighting]) -> Iterator[Call]:
    """Calls whose values other calls were begun with: they had been handed over."""
    arguments = {argument for sighting in seen for argument in sighting.args}
    for call, entry in record.settled.items():
        if value_of(entry) in arguments and call not in record.given_up:
            yield call


def taken_back(handed_over: Iterable[Call], record: Record) -> Iterator[str]:
    """What had been handed over before the kill is not given up after it."""
    for call in handed_over:
        if call in record.given_up:
            yield f"{call} had been handed over before the kill, and was given up after it"


def misdecided(name: str, record: Record) -> Iterator[str]:
    """The outputs follow from the record: same decisions, same values, each of them once."""
    scenario = SCENARIOS[name]
    deciding = {
        call: str(value_of(entry))
        for call, entry in record.settled.items()
        if entry.function.rpartition(":")[2] in scenario.deciding
    }
    first = min((record.transactions[call] for call in deciding), default=None)
    facts = Facts(
        settled=list(deciding.values()),
        at_first={deciding[c] for c in deciding if record.transactions[c] == first},
        given_up={deciding[c] for c in deciding if c in record.given_up},
    )
    outputs = record.outputs_of(RUN_ID)
    expected = [scenario.model(list(scenario.names), facts)]
    if expected != [scenario.shown(output) for output in outputs]:
        yield f"with {facts} the outputs are {outputs}, expected {expected}"
    values = {str(value) for value in used_values(record)}
    texts = list(_texts(outputs))
    for value in values:
        if not any(value in text for text in texts):
            yield f"{value} is on record, and not in the outputs {outputs}"
    for text in texts:
        if text not in values:
            yield f"{text} is in the outputs, and not on record"


def _texts(output: object) -> Iterator[str]:
    if isinstance(output, list):
        for part in output:
            yield from _texts(part)
    else:
        yield str(output)
