"""How a crash is judged: what the witness saw, held against what had settled."""

from typing import Literal

import pytest

from durable_agents.cli._crash import Evidence, Killed, weigh
from durable_agents.cli._witness import Sighting

KILLED, NEXT = 100, 101


def sighting(pid: int, call: str, phase: Literal["begin", "end"] = "begin") -> Sighting:
    """What a function of run `r` saw."""
    return Sighting(pid, "check", "r", call, f"key of {call}", phase)


def judged(*sightings: Sighting, settled: set[str], reports_equal: bool = True) -> Evidence:
    """The verdict over a crash that left these calls settled."""
    killed = Killed(KILLED, {("r", call) for call in settled}, unfinished=1)
    return weigh(sightings, killed, 3, reports_equal=reports_equal)


def test_a_call_in_flight_may_run_again() -> None:
    """It had ended, but its outcome was not on record: nobody has seen it."""
    evidence = judged(
        sighting(KILLED, "a"),
        sighting(KILLED, "a", "end"),
        sighting(KILLED, "b"),
        sighting(KILLED, "b", "end"),
        sighting(NEXT, "b"),
        sighting(NEXT, "c"),
        settled={"a"},
    )

    assert evidence.holds
    assert (2, 1, 1) == (evidence.begun_before, evidence.settled_before, evidence.in_flight)
    assert (2, 1, []) == (
        evidence.begun_after,
        evidence.in_flight_again,
        evidence.settled_again,
    )


def test_a_settled_call_that_runs_again_is_named() -> None:
    """This is what must never be; a count that could not show it would be worth nothing."""
    evidence = judged(sighting(KILLED, "a"), sighting(NEXT, "a"), settled={"a"})

    assert not evidence.holds
    assert ["r a"] == evidence.settled_again


def test_another_report_is_no_success() -> None:
    """Nothing ran twice, but something was lost."""
    assert not judged(sighting(KILLED, "a"), settled={"a"}, reports_equal=False).holds


@pytest.mark.parametrize("settled", [{"b"}, {"a", "b"}])
def test_a_settled_call_that_the_witness_never_saw_spoils_the_proof(settled: set[str]) -> None:
    """If store and witness name calls differently, they agree on nothing running twice."""
    evidence = judged(sighting(KILLED, "a"), sighting(NEXT, "c"), settled=settled)

    assert not evidence.holds
    assert 1 == evidence.settled_unseen
