"""Power cuts find nothing wrong with the engine, and much with one that does not sync."""

from pathlib import Path

import pytest

from tests.proof.faults import build, compiler
from tests.proof.power import cut_power, record
from tests.proof.recorded import Mode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(compiler() is None, reason="the shim needs Linux and a C compiler"),
]


@pytest.mark.parametrize(
    ("mode", "loses"), [("full", False), ("shared", False), ("normal", True), ("off", True)]
)
def test_what_a_power_cut_takes_is_what_the_way_of_syncing_admits(
    tmp_path: Path, mode: Mode, loses: bool
) -> None:
    """A harness that finds nothing wrong without a sync proves nothing with one."""
    recording = record(tmp_path / mode, build(tmp_path), runs=5, mode=mode)
    report = cut_power(recording, tmp_path, images=20)

    assert report.is_as_promised, report.examples
    assert loses == (report.losing > 0)
    assert 20 == report.images
