"""A store that is worked on through kills and faults does not grow; nor does its worker."""

import sys
from pathlib import Path

import pytest

from tests.proof.soak import soak

pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="measures are read from Linux's /proc"),
]


def test_a_short_soak_finds_nothing_wrong(tmp_path: Path) -> None:
    """Kills and faults, and then a life that sees everything to its end."""
    report = soak(tmp_path, seconds=18.0, live=40, keep=80, young=3.0, seed=3)

    assert [] == report.breaches
    assert report.kills >= 1
    assert report.least_live > 0
    assert report.runs > report.live


def test_a_store_that_keeps_everything_is_found_to_grow(tmp_path: Path) -> None:
    """A soak that never finds a leak proves nothing, and a leak takes a while to show."""
    report = soak(tmp_path, seconds=60.0, live=40, keep=10**9)

    assert report.within_life["store"].rise > 0
    assert any("store file" in breach for breach in report.breaches), str(report)
