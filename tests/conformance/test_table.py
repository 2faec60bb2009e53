"""What the conformance table says, given its rows and what the tests showed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance._table import (
    Evidence,
    Group,
    Outcome,
    Row,
    faults,
    read_groups,
    standing,
    summary,
)

pytestmark = pytest.mark.tools

ROOT = Path(__file__).parents[2]
SHOWN = Row("XY-01", "it holds")
DECIDED = Row("XY-02", "it is decided otherwise", not_applicable="the design says so")
LATER = Row("XY-03", "it comes later", later="a later subject")
PADDING = tuple(Row(f"XY-{number}", "it holds too") for number in range(10, 20))
TABLE = [Group("XY", "Some subject", (SHOWN, DECIDED, LATER, *PADDING))]
PADDED = Evidence("test_all", frozenset(row.id for row in PADDING), "passed")


def shows(*rows: str, outcome: Outcome = "passed") -> Evidence:
    """A test that is marked with rows."""
    return Evidence("test_it", frozenset(rows), outcome)


def test_a_row_stands_where_its_tests_and_its_reason_put_it() -> None:
    """Four standings; nothing is proved by a reason."""
    stands = [standing(row, [shows("XY-01")]) for row in (SHOWN, DECIDED, LATER, PADDING[0])]

    assert stands == ["proved", "not applicable", "due later", "open"]


@pytest.mark.parametrize("outcome", ["failed", "skipped"])
def test_a_row_is_open_while_one_of_its_tests_does_not_pass(outcome: Outcome) -> None:
    """A skipped test shows nothing, whatever another one shows."""
    assert standing(SHOWN, [shows("XY-01"), shows("XY-01", outcome=outcome)]) == "open"


def test_a_table_whose_due_rows_are_proved_has_no_fault() -> None:
    """Rows that are decided otherwise or come later need no test."""
    assert list(faults(TABLE, [shows("XY-01"), PADDED])) == []


@pytest.mark.parametrize(
    ("evidence", "fault"),
    [
        ((), "open: XY-01"),
        (
            (shows("XY-01"), shows("XY-01", outcome="skipped")),
            "test_it skipped: it is to show XY-01",
        ),
        ((shows("XY-01", "XY-99"),), "test_it names rows that the table lacks: XY-99"),
        ((shows("XY-01", "XY-02"),), "test_it shows rows that the table excuses: XY-02"),
        ((shows("XY-01", "XY-03"),), "test_it shows rows that the table excuses: XY-03"),
    ],
)
def test_a_fault_is_named_with_its_rows(evidence: tuple[Evidence, ...], fault: str) -> None:
    """Each of these fails the session."""
    assert fault in list(faults(TABLE, [PADDED, *evidence]))


def test_too_many_rows_decided_otherwise_are_a_fault() -> None:
    """A table that is mostly excuses would pass without a single test."""
    table = [Group("XY", "Some subject", (SHOWN, DECIDED))]

    assert list(faults(table, [shows("XY-01")])) == [
        "1 of 2 rows are not applicable: over 12%",
    ]


def test_the_summary_counts_each_standing_and_names_the_open_rows() -> None:
    """One line per group, and a total."""
    lines = [line.split() for line in summary(TABLE, [PADDED])]

    assert lines == [
        ["proved", "n/a", "later", "open"],
        ["XY", "Some", "subject", "10", "1", "1", "1", "XY-01"],
        ["total", "of", "13", "10", "1", "1", "1"],
    ]


@pytest.mark.parametrize(
    "row",
    [
        '[ZZ-01]\ntitle = "of another group"',
        '[XY-01]\nnot_applicable = "without a title"',
        '[XY-01]\ntitle = "a"\nreason = "an unknown field"',
        '[XY-01]\ntitle = "a"\nlater = "b"\nnot_applicable = "two reasons"',
    ],
)
def test_a_malformed_row_is_refused(row: str, tmp_path: Path) -> None:
    """A misspelt reason must not make a row due, nor a misspelt id hide one."""
    (tmp_path / "xy.toml").write_text(f'title = "Some subject"\n{row}\n')

    with pytest.raises(ValueError, match=r"a row of XY with a title"):
        read_groups(tmp_path)


def test_the_table_of_this_package_can_be_read() -> None:
    """Every group has a title and rows, and no row is in it twice."""
    groups = read_groups(Path(__file__).parent / "rows")
    ids = [row.id for group in groups for row in group.rows]

    assert all(group.title and group.rows for group in groups)
    assert len(ids) == len(set(ids))


MARKED = """
import pytest

@pytest.mark.rows("XY-01")
def test_shows_a_row():
    pass

@pytest.mark.rows("XY-02")
@pytest.mark.parametrize("number", [1, 2])
def test_shows_another(number):
    {body}

def test_unmarked():
    raise AssertionError
"""


def conformance(folder: Path, body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What pytest says of a small suite and a table of two rows."""
    (folder / "test_small.py").write_text(MARKED.format(body=body))
    (folder / "rows").mkdir()
    (folder / "rows" / "xy.toml").write_text(
        'title = "Some subject"\n[XY-01]\ntitle = "a"\n[XY-02]\ntitle = "b"\n'
    )
    (folder / "pytest.toml").write_text('[pytest]\nmarkers = ["rows(*ids): rows"]\n')
    return subprocess.run(  # noqa: S603 -- our own tests
        [sys.executable, "-m", "pytest", "-p", "tests.conformance.plugin", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("processes", [(), ("-n", "1")])
def test_a_session_runs_the_marked_tests_and_passes_when_all_rows_are_proved(
    tmp_path: Path, processes: tuple[str, ...]
) -> None:
    """In one process as in many; the unmarked test would fail."""
    ran = conformance(tmp_path, "pass", "--conformance=rows", *processes)

    assert (
        "total of 2                                         2     0      0     0" in ran.stdout
    )
    assert ran.returncode == pytest.ExitCode.OK


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("processes", [(), ("-n", "1")])
def test_a_session_fails_while_a_row_is_open(
    tmp_path: Path, processes: tuple[str, ...]
) -> None:
    """pytest itself has no objection to a skipped test; one of two parameters is enough."""
    body = "number == 1 or pytest.skip()"

    ran = conformance(tmp_path, body, "--conformance=rows", *processes)

    assert "test_small.py::test_shows_another[2] skipped: it is to show XY-02" in ran.stdout
    assert "open: XY-02" in ran.stdout
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.slow
def test_without_the_option_every_test_runs_and_no_table_is_shown(tmp_path: Path) -> None:
    """The plugin is loaded in every session of the suite."""
    ran = conformance(tmp_path, "pass")

    assert "1 failed, 3 passed" in ran.stdout
    assert "total of" not in ran.stdout
