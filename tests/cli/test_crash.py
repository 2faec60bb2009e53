"""`durable-agents demo --crash`: a real process is killed, and what that did is counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from durable_agents.cli import main
from tests.cli._kit import install, lines

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def large_site(site: Path) -> Path:
    """Enough to do, so that half way is a place."""
    for name in ("gamma", "delta", "epsilon"):
        install(site, name, {f"{name}/{n}.py": b"%d" % n for n in range(1000)})
    return site


def crash(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """What `demo --crash --json` writes where all goes well."""
    code = main(["demo", "--crash", "--json", "--quiet", "--at-once=2", *arguments])
    written, told = capsys.readouterr()

    assert (0, "") == (code, told)
    found: dict[str, Any] = json.loads(written)
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_kill_half_way_repeats_no_settled_call_and_changes_no_report(
    large_site: Path, store: Path, capsys: Capture
) -> None:
    """What the command says of the crash adds up, and is what its witness file shows."""
    outcome = crash(capsys, f"--environment={large_site}", f"--store={store}")

    evidence = outcome["crash"]
    assert ([], 0, True) == (
        evidence["settled_again"],
        evidence["settled_unseen"],
        evidence["reports_equal"],
    )
    assert 0 < evidence["settled_before"] < evidence["calls_without_crash"]
    assert evidence["begun_before"] == evidence["settled_before"] + evidence["in_flight"]
    assert (
        evidence["calls_without_crash"] == evidence["settled_before"] + evidence["begun_after"]
    )
    assert evidence["in_flight"] == evidence["in_flight_again"] == repeated(outcome["witness"])
    assert 5 == len(outcome["report"]["packages"])


def repeated(witness: str) -> int:
    """How many calls the witness saw begin twice, in two processes."""
    seen = {
        (line["run_id"], line["call_id"], line["idempotency_key"], line["pid"])
        for line in lines(Path(witness))
    }
    assert 2 == len({pid for *_, pid in seen})
    times = Counter((run, call, key) for run, call, key, _ in seen)
    return sum(count > 1 for count in times.values())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_table_of_the_crash_says_what_ran_twice(
    large_site: Path, store: Path, capsys: Capture
) -> None:
    """A person reads the verdict in the last line and the zero above it."""
    code = main([
        "demo",
        "--crash",
        f"--environment={large_site}",
        f"--store={store}",
        "--at-once=2",
    ])

    written, told = capsys.readouterr()
    *_, twice, verdict = written.splitlines()
    assert 0 == code
    assert ["-", "settled", "calls", "executed", "twice", "0"] == twice.split()
    assert "the report is equal to the one without a crash" == verdict
    assert "2 of 3: to be killed half way ..." in told.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_crash_over_the_same_store_is_an_audit_of_its_own(
    large_site: Path, store: Path, capsys: Capture
) -> None:
    """The command can be tried again and again; nothing has to be deleted in between."""
    arguments = f"--environment={large_site}", f"--store={store}"
    first = crash(capsys, *arguments)

    second = crash(capsys, *arguments)

    assert second["report"]["audit"] > first["report"]["audit"]
    assert second["report"]["packages"] == first["report"]["packages"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_store_error_in_a_child_is_our_exit_code(
    site: Path, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The child says what is wrong with the store."""
    store.write_text("This is a letter and no store of any kind.")

    code = main(["demo", "--crash", "--quiet", f"--environment={site}", f"--store={store}"])

    assert 3 == code
    assert "not an SQLite database" in capfd.readouterr().err


def test_a_witness_file_that_cannot_be_made_is_a_store_error(
    site: Path, tmp_path: Path, capsys: Capture
) -> None:
    """It lies beside the store, so it is the store's folder that is wrong."""
    store = tmp_path / "missing" / "audit.db"

    code = main(["demo", "--crash", f"--environment={site}", f"--store={store}"])

    assert 3 == code
    assert "its witness file cannot be written" in capsys.readouterr().err


def test_a_file_that_is_no_witness_file_is_not_overwritten(
    site: Path, store: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A slip of the keyboard must not cost a file."""
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Ada,\n")
    arguments = [f"--environment={site}", f"--store={store}", f"--witness={letter}"]

    code = main(["demo", "--crash", *arguments])

    assert (2, "Dear Ada,\n") == (code, letter.read_text())
    assert "would be overwritten" in capsys.readouterr().err
