"""The reference model: what each node of a tree may have come to, given what its parts came to.

It knows nothing of tasks, loops and journals. Races are open (any part may win), and what
follows from a race is not: the value of a node is a function of those of its parts. So the
model takes what was seen of a run, and names each node that cannot have come to that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tests.proof.model_tree import Feed, Kind, Node, Path, answer, feed, nodes, spelt

__all__ = ["CANCELLED", "Outcome", "Seen", "failed", "returned", "wrong"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a node came to."""

    how: Literal["returned", "raised", "cancelled"]
    what: Any = None
    """The value; of errors the texts of all of them, in order."""

    @property
    def noted(self) -> list[Any]:
        """As part of another value."""
        return [self.how, self.what]


CANCELLED = Outcome("cancelled")

Seen: TypeAlias = Mapping[Path, Outcome]
"""The nodes that have come to something."""


def returned(value: Any) -> Outcome:  # noqa: ANN401 - whatever it is
    """It returned a value."""
    return Outcome("returned", value)


def failed(texts: Iterable[str]) -> Outcome:
    """It raised an error, or a group of them."""
    return Outcome("raised", sorted(texts))


def wrong(
    run: str, tree: Node, seen: Seen, calls: Iterable[str], *, may_be_cancelled: bool = False
) -> list[str]:
    """What cannot be: nodes with the wrong outcome, calls that must not have been made.

    Args:
        run: Name of the run.
        tree: What its action does.
        seen: What became of nodes, in one life of it.
        calls: Names of the calls that were executed, in that life or before.
        may_be_cancelled: Whether somebody asked for that.
    """
    model = _Model(run, seen, may_be_cancelled)
    model.see(tree, (), feed())
    for name in set(calls) - model.allowed:
        model.breaches.append(f"{name} was called and must not be")
    for path in seen.keys() - {path for path, _ in nodes(tree)}:
        model.breaches.append(f"{path} is not part of the tree")
    return model.breaches


class _Model:
    """Goes through a tree once."""

    def __init__(self, run: str, seen: Seen, may_be_cancelled: bool) -> None:
        self.breaches: list[str] = []
        self.allowed: set[str] = set()
        self._run = run
        self._seen = seen
        self._may_be_cancelled = may_be_cancelled

    def see(self, node: Node, path: Path, given: Feed) -> None:
        """Check a node that may have begun, and all that may have begun in it."""
        given_to_parts = [given] * len(node.parts)
        match node.kind:
            case Kind.SEQUENCE:
                given_to_parts = list(self._in_turn(path, given, len(node.parts)))
            case Kind.CALL | Kind.REFUSED_CALL:
                self.allowed.add(spelt(self._run, path))
            case Kind.UPGRADED:
                self.allowed |= {spelt(self._run, path, f" {release}") for release in (1, 2)}
            case Kind.TIMEOUT:
                instead = spelt(self._run, path, " instead")
                self.allowed |= {spelt(self._run, path, " hangs"), instead}
                given_to_parts = [feed(given, answer(instead, given))]
            case Kind.RECORDED_TIMEOUT:
                self.allowed.add(spelt(self._run, path, " hangs"))
            case Kind.AS_COMPLETED | Kind.QUEUE:
                self.allowed |= {
                    spelt(self._run, path, f" takes {index}")
                    for index in range(len(node.parts))
                    if (*path, index) in self._seen
                }
            case _:
                pass
        for index, given_to_part in enumerate(given_to_parts):
            self.see(node.parts[index], (*path, index), given_to_part)
        outcome = self._seen.get(path)
        if outcome is not None and outcome not in self._possible(node, path, given, outcome):
            self.breaches.append(f"{node.kind.name} at {path} came to {outcome}")

    def _in_turn(self, path: Path, given: Feed, count: int) -> Iterator[Feed]:
        """What each part of a sequence is given, as far as it can have come."""
        for index in range(count):
            yield given
            outcome = self._seen.get((*path, index))
            if outcome is None or outcome.how != "returned":
                return
            given = feed(given, outcome.what)

    def _possible(self, node: Node, path: Path, given: Feed, outcome: Outcome) -> list[Outcome]:
        """What the node can have come to; where nothing is left to chance, one thing."""
        if outcome == CANCELLED:
            return [CANCELLED] if path or self._may_be_cancelled else []
        name = spelt(self._run, path)
        if node.kind is Kind.UPGRADED:
            return [returned(answer(f"{name} {release}", given)) for release in (1, 2)]
        alone = {
            Kind.CALL: returned(answer(name, given)),
            Kind.REFUSED_CALL: failed([answer(name, given)]),
            Kind.RAISE: failed([answer(name, given)]),
            Kind.IDLE: returned(None),
            Kind.NAP: returned(None),
            Kind.SIGNAL: returned(answer(name, feed())),  # its sender does not know the feed
        }
        if node.kind in alone:
            return [alone[node.kind]]
        parts = [self._seen.get((*path, index)) for index in range(len(node.parts))]
        return _OF_MANY[node.kind](parts, outcome, name)


Parts: TypeAlias = list[Outcome | None]


def _texts(parts: Parts) -> Iterator[list[str]]:
    return (part.what for part in parts if part is not None and part.how == "raised")


def _all_returned(parts: Parts) -> list[Outcome]:
    if not all(part is not None and part.how == "returned" for part in parts):
        return []
    return [returned([part.what for part in parts if part is not None])]


def _same(parts: Parts, _: Outcome, __: str) -> list[Outcome]:
    """What its part came to."""
    return [part for part in parts if part is not None]


def _caught(parts: Parts, _: Outcome, __: str) -> list[Outcome]:
    """The same, and never an error."""
    return [returned(part.noted) for part in parts if part is not None]


def _sequence(parts: Parts, _: Outcome, __: str) -> list[Outcome]:
    """All, or the error of the one that ended it."""
    begun = [part for part in parts if part is not None]
    return _all_returned(parts) or [failed(texts) for texts in _texts([*begun[-1:]])]


def _gather(parts: Parts, _: Outcome, __: str) -> list[Outcome]:
    """All, or any one of the errors."""
    return _all_returned(parts) or [failed(texts) for texts in _texts(parts)]


def _task_group(parts: Parts, _: Outcome, __: str) -> list[Outcome]:
    """All, or the errors together."""
    everything = [text for texts in _texts(parts) for text in texts]
    return _all_returned(parts) or ([failed(everything)] if everything else [])


def _race(parts: Parts, outcome: Outcome, _: str) -> list[Outcome]:
    """Any that have ended may have won, at least one."""
    if outcome.how != "returned" or not outcome.what:
        return []
    won = {index for index, _ in outcome.what}
    ended = [(i, p) for i, p in enumerate(parts) if p is not None and p.how != "cancelled"]
    return [returned([[i, part.noted] for i, part in ended if i in won])]


def _arrivals(parts: Parts, outcome: Outcome, name: str) -> list[Outcome]:
    """All of them, in any order, each with the call that followed."""
    if outcome.how != "returned" or any(part is None for part in parts):
        return []
    order = [index for index, *_ in outcome.what]
    if sorted(order) != list(range(len(parts))):
        return []
    told = [(i, part.noted) for i in order if (part := parts[i]) is not None]
    return [returned([[i, n, answer(f"{name} takes {i}", feed(n))] for i, n in told])]


def _cancelled(parts: Parts, _: Outcome, __: str) -> list[Outcome]:
    """Whatever the first one had come to when the second one had ended."""
    first, second = parts
    if second is None or second.how == "cancelled":
        return []
    # A part that was cancelled before its first step has come to nothing.
    return [returned([(first or CANCELLED).noted, second.noted])]


_OF_MANY: dict[Kind, Callable[[Parts, Outcome, str], list[Outcome]]] = {
    Kind.TIMEOUT: _same,
    Kind.RECORDED_TIMEOUT: _same,
    Kind.CAUGHT: _caught,
    Kind.SEQUENCE: _sequence,
    Kind.GATHER: _gather,
    Kind.TASK_GROUP: _task_group,
    Kind.RACE: _race,
    Kind.AS_COMPLETED: _arrivals,
    Kind.QUEUE: _arrivals,
    Kind.CANCEL: _cancelled,
}
