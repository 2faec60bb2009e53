"""Calls in doubt are treated as declared; a harness that could not tell would be worthless."""

from pathlib import Path

import pytest

from tests.proof.doubt import kill_in_doubt
from tests.proof.doubt_history import History
from tests.proof.doubt_workload import IN_DOUBT, NOT_EXECUTED


@pytest.mark.slow
def test_calls_in_doubt_are_treated_as_their_author_declared(tmp_path: Path) -> None:
    """Claim 4, by a few kills."""
    report = kill_in_doubt(tmp_path, kills=5)

    assert [] == report.breaches
    # A kill that finds no call in doubt does not count, and the work comes to its end.
    assert report.kills >= 2


@pytest.mark.slow
def test_an_engine_that_makes_every_call_again_is_found_out(tmp_path: Path) -> None:
    """The workload repeats what must not be repeated, and the checker sees it."""
    report = kill_in_doubt(tmp_path, kills=5, module="tests.proof.doubt_reckless")

    assert any("nobody had said that it may" in breach for breach in report.breaches)


@pytest.mark.parametrize(
    "history",
    [
        History("rerun", [0, 1], doubts=[0], settled_in=1, outcome="b", effects=["a", "b"]),
        History("fail", [0], doubts=[0], settled_in=1, outcome=IN_DOUBT, effects=["a"]),
        History(
            "ask",
            [0, 1],
            doubts=[0],
            parkings=["ask('1') is in doubt"],
            reruns=1,
            settled_in=1,
            outcome="a",
            effects=["a"],
        ),
        History(
            "lookup",
            [0],
            asked=[(1, "a")],
            doubts=[0],
            settled_in=1,
            outcome="found a",
            effects=["a"],
        ),
        History(
            "lookup",
            [0, 1],
            asked=[(1, NOT_EXECUTED)],
            doubts=[0],
            settled_in=1,
            outcome="a",
            effects=["a"],
        ),
        History("declined", [0], settled_in=0, outcome="a", effects=["a"]),
    ],
    ids=["made again", "failed", "decided", "found", "not executed", "undisturbed"],
)
def test_a_history_as_declared_is_none_to_complain_of(history: History) -> None:
    """Each of the ways."""
    assert [] == list(history.breaches())


@pytest.mark.parametrize(
    "history",
    [
        History("rerun", [0], doubts=[0], settled_in=1, outcome="a", effects=["a"]),
        History("fail", [0, 1], doubts=[0], settled_in=1, outcome=IN_DOUBT, effects=["a"]),
        History("fail", [0], doubts=[0], settled_in=1, outcome="a", effects=["a"]),
        History("ask", [0], doubts=[0], settled_in=1, outcome="a", effects=["a"]),
        History("lookup", [0, 1], doubts=[0], settled_in=1, outcome="a", effects=["a"]),
        History("lookup", [0], asked=[(0, "a")], settled_in=0, outcome="a", effects=["a"]),
        History(
            "lookup",
            [0],
            asked=[(1, "a")],
            doubts=[0],
            settled_in=1,
            outcome="found b",
            effects=["a"],
        ),
        History("unavailable", [0], settled_in=0, outcome="a", effects=["a", "a"]),
        History("lookup", [0]),
    ],
    ids=[
        "not made again",
        "made again",
        "not told",
        "not parked",
        "not asked",
        "asked without a doubt",
        "another answer",
        "two effects",
        "not settled",
    ],
)
def test_a_history_that_is_not_as_declared_is_told(history: History) -> None:
    """Each of the ways to go wrong."""
    assert [] != list(history.breaches())
