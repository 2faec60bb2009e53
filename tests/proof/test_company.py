"""Other programs lock, read and copy the file of a store while it is worked on."""

from pathlib import Path

import pytest

from tests.proof.company import VISITS, WAL_AFTERWARDS, Visit, keep_company

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.crash)])
@pytest.mark.parametrize("visit", VISITS)
def test_company_disturbs_nobody(tmp_path: Path, visit: Visit, shared: bool) -> None:
    """Every run ends, nothing is repeated or lost, and the log comes down again."""
    report = keep_company(tmp_path / "place", visit, shared=shared, span=1.0)

    assert [] == report.breaches
    assert report.runs > 0
    assert report.wal_after <= WAL_AFTERWARDS
    assert (visit in {"backup", "vacuum"}) == (report.copied > 0)
