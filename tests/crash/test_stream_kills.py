"""A command that is killed at random moments leaves the output of one that was not."""

from pathlib import Path

import pytest

from tests.crash.stream_kills import kill_the_stream

SAMPLE = Path(__file__).parent.parent.parent / "examples" / "data" / "reviews_sample.jsonl"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_stream_that_is_killed_leaves_the_same_lines(tmp_path: Path) -> None:
    """In another order, maybe, but each of them once; no settled call is made again."""
    report = kill_the_stream(SAMPLE, tmp_path, kills=3, latency=0.03)

    assert [] == report.breaches
    assert (3, 20, 20) == (report.kills, report.lines, report.settled)


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_a_long_stream_that_is_killed_ten_times_leaves_the_same_lines(
    seed: int, tmp_path: Path
) -> None:
    """Two thousand reviews of four products: each waits for its turn behind hundreds."""
    source = tmp_path / "reviews.jsonl"
    lines = SAMPLE.read_text().splitlines(keepends=True)
    source.write_text("".join(lines * 100))

    report = kill_the_stream(source, tmp_path, kills=10, seed=seed)

    assert [] == report.breaches
    assert (10, 2000, 2000) == (report.kills, report.lines, report.settled)
