"""The reference model takes what can be, and names what cannot."""

import pytest

from tests.proof.model_reference import CANCELLED, Outcome, Seen, failed, returned, wrong
from tests.proof.model_tree import Kind, Node, answer, feed

CALL, RAISE, REFUSED = Node(Kind.CALL), Node(Kind.RAISE), Node(Kind.REFUSED_CALL)
FIRST, SECOND = answer("run/0", feed()), answer("run/1", feed())


def tree(kind: Kind, *parts: Node) -> Node:
    """A fork."""
    return Node(kind, parts)


def both(root: Outcome) -> Seen:
    """Two calls that returned what they have to, and what became of the node above them."""
    return {(0,): returned(FIRST), (1,): returned(SECOND), (): root}


TAKEN = [
    [i, part, answer(f"run/ takes {i}", feed(part))]
    for i, part in enumerate([["returned", FIRST], ["returned", SECOND]])
]


@pytest.mark.parametrize(
    ("node", "seen"),
    [
        (tree(Kind.GATHER, CALL, CALL), both(returned([FIRST, SECOND]))),
        (tree(Kind.TASK_GROUP, CALL, CALL), both(returned([FIRST, SECOND]))),
        (tree(Kind.RACE, CALL, CALL), both(returned([[1, ["returned", SECOND]]]))),
        (tree(Kind.AS_COMPLETED, CALL, CALL), both(returned(TAKEN))),
        (tree(Kind.QUEUE, CALL, CALL), both(returned(TAKEN[::-1]))),
        (tree(Kind.GATHER, CALL, REFUSED), {(1,): failed([SECOND]), (): failed([SECOND])}),
        (tree(Kind.TASK_GROUP, CALL, CALL), {(0,): CANCELLED}),
    ],
)
def test_what_can_be_is_taken(node: Node, seen: Seen) -> None:
    """Whoever wins a race, the rest follows from it."""
    assert [] == wrong("run", node, seen, ["run/0", "run/1"] if () in seen else [])


@pytest.mark.parametrize(
    ("node", "seen"),
    [
        (CALL, {(): returned("another")}),
        (tree(Kind.GATHER, CALL, CALL), both(returned([SECOND, FIRST]))),
        (tree(Kind.GATHER, CALL, CALL), {(): returned([FIRST, SECOND])}),
        (tree(Kind.TASK_GROUP, CALL, CALL), both(failed([]))),
        (tree(Kind.RACE, CALL, CALL), both(returned([]))),
        (tree(Kind.RACE, CALL, CALL), both(returned([[0, ["returned", SECOND]]]))),
        (tree(Kind.AS_COMPLETED, CALL, CALL), both(returned([TAKEN[0], TAKEN[0]]))),
        (tree(Kind.QUEUE, CALL, CALL), both(returned(TAKEN[:1]))),
        (tree(Kind.CAUGHT, RAISE), {(0,): failed([FIRST]), (): failed([FIRST])}),
        (CALL, {(): CANCELLED}),
        (CALL, {(5,): returned(FIRST)}),
    ],
)
def test_what_cannot_be_is_named(node: Node, seen: Seen) -> None:
    """Swapped, doubled, missing, made up."""
    assert 1 == len(wrong("run", node, seen, []))


def test_a_call_behind_a_failure_must_not_be_made() -> None:
    """A sequence ends where it fails."""
    seen: Seen = {(0,): failed([FIRST])}

    found = wrong("run", tree(Kind.SEQUENCE, REFUSED, CALL), seen, ["run/0", "run/1"])

    assert ["run/1 was called and must not be"] == found


def test_a_run_is_cancelled_only_if_somebody_asked() -> None:
    """Else an interrupt would have become an outcome."""
    assert [] == wrong("run", CALL, {(): CANCELLED}, [], may_be_cancelled=True)
    assert 1 == len(wrong("run", CALL, {(): CANCELLED}, []))
