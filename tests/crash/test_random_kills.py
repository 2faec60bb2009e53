"""A busy process is killed at random moments, and its work comes out as if it had not been."""

from pathlib import Path

import pytest

from tests.conftest import LOOPS
from tests.crash.random_kills import Report, kill_at_random


def shown(report: Report) -> str:
    """What was done, and the first things that are wrong with it."""
    return "\n".join([str(report), *report.breaches[:10]])


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("loop", LOOPS)
def test_kills_at_random_moments_repeat_lose_and_change_nothing(
    loop: str, tmp_path: Path
) -> None:
    """Nobody chooses the moment of a crash."""
    report = kill_at_random(tmp_path, runs=200, kills=10, loop=loop)

    assert [] == report.breaches, shown(report)
    assert report.kills == 10


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_kills_of_a_thousand_runs_repeat_lose_and_change_nothing(
    tmp_path: Path,
) -> None:
    """As long as there are runs to be hit, nobody has to choose the moment."""
    report = kill_at_random(tmp_path, runs=1000, kills=200)

    assert [] == report.breaches, shown(report)
    assert report.kills == 200
