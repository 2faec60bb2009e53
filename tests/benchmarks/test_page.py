"""What the pages show of benchmarks is what the results in the repository come to."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tools

ROOT = Path(__file__).parent.parent.parent
PAGE, README = Path("docs/performance.md"), Path("README.md")
CIRCUMSTANCES = {
    "commit": "0123456789abcdef",
    "python": "3.11.7",
    "sqlite": "3.40.1",
    "machine": "Linux, 2 cores",
}
SUSPENDED = {
    "workload": "W4",
    "size": "100 runs suspended",
    "settings": "",
    "figure": "bytes a run",
    "against": "a task",
    "ours": [7000.0, 6000.0],
    "theirs": [1000.0, 1000.0],
    "ratios": [7.0, 6.0],
}


def page(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """The command that writes pages, or checks them."""
    return subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-m", "benchmarks.page", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def race(system: str, number: int, seconds: float, bare: float | None = None) -> dict[str, Any]:
    """A line of W5 or, with a bare figure, of W2."""
    size = {"workload": "W2", "asked": 1000} if bare else {"workload": "W5", "asked": None}
    figures = {"seconds": seconds, "calls_per_second": 1000 / seconds, "bare": bare}
    counts = {"executed_again": 0, "in_doubt_executed_again": 0, "load": 0.5, "round": number}
    about = {"system": system, "version": "1", "sync": "each commit", "includes": "all"}
    return {**size, **figures, **counts, **about}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Both pages, as they are, in a folder without results."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for file in (PAGE, README):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def suspend(checkout: Path) -> None:
    """Leave results of one workload of ours."""
    about = {"load": 0.0, "synchronous": "full", "pairs": 2, "scale": 1.0}
    record = {**CIRCUMSTANCES, **about, "results": [SUSPENDED]}
    (checkout / "benchmarks/results/benchmarks.json").write_text(json.dumps(record))


def compete(checkout: Path, *lines: dict[str, Any]) -> None:
    """Leave results of peers."""
    record = {**CIRCUMSTANCES, "lines": lines}
    (checkout / "benchmarks/results/peers.json").write_text(json.dumps(record))


def rows(file: Path) -> list[str]:
    """Rows of the tables that are made, their heads included."""
    made = file.read_text().partition("<!-- made by")[2].partition("<!-- made until")[0]
    return [line for line in made.splitlines() if line.startswith("|") and "---" not in line]


def test_the_pages_are_what_the_results_in_the_repository_come_to() -> None:
    """Nobody edits a figure by hand, and nobody forgets to write the pages anew."""
    done = page("--check")

    assert ("", 0) == (done.stderr, done.returncode)


def test_a_file_with_one_workload_makes_a_page_with_one(checkout: Path) -> None:
    """Measuring all of them takes long; what was not measured leaves its rows out."""
    suspend(checkout)

    page("--root", checkout)

    row = (
        "| 100 runs suspended |  | bytes a run | a task | 6,500 | 1,000 | 6.50 | 6.00 | 7.00 |"
    )
    assert row == rows(checkout / PAGE)[1]
    assert ["| 100 runs suspended: bytes a run | 6,500 | a task: 1,000 (6.50) |"] == rows(
        checkout / README
    )[1:]


def test_without_results_nothing_is_between_the_marks(checkout: Path) -> None:
    """A page of a project that has measured nothing says nothing."""
    done = page("--root", checkout)

    assert ("", 0) == (done.stderr, done.returncode)
    assert [] == rows(checkout / PAGE) + rows(checkout / README)


def test_a_ratio_is_of_figures_of_the_same_round(checkout: Path) -> None:
    """Rounds differ by more than systems do, and a system may have failed in one."""
    failed = {"system": "other", "workload": "W5", "failed": "lost", "round": 0, "asked": None}
    ours = [
        race("durable_agents", number, seconds) for number, seconds in enumerate((1, 50, 3))
    ]
    compete(checkout, *ours, failed, race("other", 1, 100.0), race("other", 2, 6.0))

    page("--root", checkout)

    [_, row] = rows(checkout / README)
    assert row.endswith("| 3.00 | 53.00 (0.50) | - |")


def test_bare_group_commit_is_of_the_round_of_ours(checkout: Path) -> None:
    """What it came to beside another system says nothing about us."""
    compete(checkout, race("other", 0, 4, bare=7), race("durable_agents", 0, 2, bare=1000))

    page("--root", checkout)

    [_, row] = rows(checkout / README)
    assert row.endswith("| 500 | 250 (2.00) | bare group commit: 1,000 (0.50) |")


def test_each_table_links_a_chart_that_is_there(checkout: Path) -> None:
    """Charts are drawn by the same command."""
    suspend(checkout)
    compete(checkout, race("durable_agents", 0, 2, bare=1000))

    page("--root", checkout)

    links = [line for line in (checkout / PAGE).read_text().splitlines() if "[Chart]" in line]
    names = [line.removeprefix("[Chart](").removesuffix(")") for line in links]
    assert [True, True] == [(checkout / "docs" / name).exists() for name in names]


@pytest.mark.parametrize(
    "file", [PAGE, README, Path("benchmarks/results/benchmarks-W4.svg")], ids=str
)
def test_a_changed_figure_is_found(checkout: Path, file: Path) -> None:
    """Each made file is named, and left as it is."""
    suspend(checkout)
    page("--root", checkout)
    right = (checkout / file).read_text()
    (checkout / file).write_text(right.replace("6.50", "5.50"))
    assert right != (wrong := (checkout / file).read_text())

    done = page("--check", "--root", checkout)

    assert 1 == done.returncode
    assert f"not what the results come to: {file};" in done.stderr
    assert wrong == (checkout / file).read_text()


def test_text_around_the_marks_stays(checkout: Path) -> None:
    """It is written by hand."""
    suspend(checkout)
    (checkout / PAGE).write_text(f"before\n{(checkout / PAGE).read_text()}after\n")

    page("--root", checkout)

    text = (checkout / PAGE).read_text()
    assert (True, True) == (text.startswith("before\n# "), text.endswith("\nafter\n"))


def test_a_page_without_marks_is_refused(checkout: Path) -> None:
    """Nothing says where the tables belong."""
    (checkout / PAGE).write_text("# Performance\n")

    done = page("--root", checkout)

    assert 1 == done.returncode
    assert f"{checkout / PAGE} lacks a mark" in done.stderr
