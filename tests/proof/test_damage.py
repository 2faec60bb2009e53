"""Flipped bits and full disks, a few of each."""

from pathlib import Path

import pytest

from tests.proof.damage import flip_bits, outcome_of
from tests.proof.damaged_runs import Found, expected
from tests.proof.faults import compiler
from tests.proof.full_disk import FullReport, fail_openings, fill_disks


@pytest.mark.slow
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Never another value, never an error that is none of ours."""
    report = flip_bits(tmp_path, flips=50)

    assert [] == report.breaches
    assert 50 == report.outcomes.total()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_work_goes_on_when_a_full_disk_has_space_again(tmp_path: Path) -> None:
    """Nothing that was acknowledged is lost, and runs say why they stand still."""
    report = FullReport()
    fill_disks(tmp_path, report, rounds=2, seed=0)

    assert [] == report.breaches
    assert report.waits > 0


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.skipif(compiler() is None, reason="the shim needs Linux and a C compiler")
def test_a_store_whose_opening_failed_works_on_after_a_second_start(tmp_path: Path) -> None:
    """And what the first start said is an error of ours."""
    report = FullReport()
    fail_openings(tmp_path, report, openings=3, seed=0)

    assert [] == report.breaches


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (Found("why", {}, []), "refused at open"),
        (Found("", {0: expected(0)}, []), "untouched"),
        (Found("", {0: []}, []), "wrong"),
        (Found("", {0: None}, []), "wrong"),
        (Found("", {8: expected(8)}, []), "wrong"),
        (Found("", {0: expected(0)}, ["write 0"]), "wrong"),
    ],
    ids=["refused", "as it was", "fewer", "None", "not parked", "made again"],
)
def test_what_a_worker_makes_of_a_store_is_judged(found: Found, outcome: str) -> None:
    """A harness that takes anything for right proves nothing."""
    assert outcome == outcome_of(found)[0]
