"""What becomes of a run that an earlier process left unfinished."""

import pytest

from durable_agents.journal import RunState, RunStatus
from durable_agents.recovery import MAX_STARTS_WITHOUT_PROGRESS, Verdict, verdict_on


def left(status: RunStatus, starts: int = 0) -> RunState:
    return RunState(status=status, starts_without_progress=starts)


@pytest.mark.parametrize("status", [RunStatus.ACCEPTED, RunStatus.RUNNING, RunStatus.WAITING])
def test_an_open_run_goes_on(status: RunStatus) -> None:
    """Nothing speaks against it."""
    assert Verdict.GO_ON == verdict_on(left(status))


@pytest.mark.parametrize("starts", range(1, MAX_STARTS_WITHOUT_PROGRESS))
def test_a_run_that_got_nowhere_goes_on_apart_from_its_like(starts: int) -> None:
    """One of them may have killed the process; the others must not be given up for it."""
    assert Verdict.GO_ON_APART == verdict_on(left(RunStatus.RUNNING, starts))


def test_a_run_that_kills_its_processes_is_given_up() -> None:
    """It was started five times in a row without a new entry."""
    assert Verdict.GIVE_UP == verdict_on(left(RunStatus.RUNNING, MAX_STARTS_WITHOUT_PROGRESS))
    assert 5 == MAX_STARTS_WITHOUT_PROGRESS


@pytest.mark.parametrize(
    "status",
    [RunStatus.PARKED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED],
)
@pytest.mark.parametrize("starts", [0, MAX_STARTS_WITHOUT_PROGRESS])
def test_a_run_that_has_ended_or_waits_for_a_person_is_left_alone(
    status: RunStatus, starts: int
) -> None:
    """However often it was looked at."""
    assert Verdict.LEAVE == verdict_on(left(status, starts))
