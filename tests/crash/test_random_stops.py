"""Workers that share a file are killed and stopped at random, and their work comes out."""

from pathlib import Path

import pytest

from tests.crash.random_stops import Report, stop_at_random


def shown(report: Report) -> str:
    """What was done, and the first things that are wrong with it."""
    return "\n".join([str(report), *report.breaches[:10]])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_workers_killed_and_stopped_at_random_repeat_lose_and_change_nothing(
    tmp_path: Path,
) -> None:
    """Some are stopped past their lease, and some in the middle of a transaction."""
    report = stop_at_random(tmp_path, workers=2, runs=100, kills=3, stops=5)

    assert [] == report.breaches, shown(report)
    assert (3, 5) == (report.kills, report.stops)


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [2, 4])
def test_a_minute_of_kills_and_stops_repeats_loses_and_changes_nothing(
    workers: int, tmp_path: Path
) -> None:
    """As many moments as it takes to hit the unlikely ones."""
    report = stop_at_random(tmp_path, workers=workers, runs=800, kills=25, stops=30)

    assert [] == report.breaches, shown(report)
    assert (25, 30) == (report.kills, report.stops)
