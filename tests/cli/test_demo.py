"""`durable-agents demo`: what it finds, what it keeps, and how it ends."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from durable_agents.cli import main
from tests.cli._kit import (
    ENVIRONMENT,
    install,
    install_slow,
    lines,
    report,
    start,
    wait_for,
)

Capture = pytest.CaptureFixture[str]


def test_the_report_says_which_files_are_not_as_recorded(
    site: Path, store: Path, capsys: Capture
) -> None:
    """The files themselves are hashed; what RECORD gives no hash for is counted apart."""
    found = report(capsys, f"--environment={site}", f"--store={store}")

    alpha, beta = found["packages"]
    assert {
        "name": "alpha",
        "version": "1.0",
        "licence": {"name": "MIT", "licence_class": "permissive", "source": "expression"},
        "files": {
            "ok": 1,
            "missing": ["alpha/more.txt"],
            "changed": ["alpha/data.txt"],
            "unhashed": 2,
        },
    } == alpha
    assert ("Beta.Tools", "strong copyleft", 1) == (
        beta["name"],
        beta["licence"]["licence_class"],
        beta["files"]["ok"],
    )
    assert (str(store), 1, []) == (found["store"], found["audit"], found["failed"])


def test_the_table_lists_packages_and_what_is_wrong_with_them(
    site: Path, store: Path, capsys: Capture
) -> None:
    """A person sees one line for each package, and the paths that need a look."""
    code = main(["demo", "--quiet", f"--environment={site}", f"--store={store}"])

    title, heads, _, alpha, beta, missing, changed, summary = (
        capsys.readouterr().out.splitlines()
    )
    assert 0 == code
    assert f"audit 1, kept in {store}" == title
    assert ["name", "version", "licence", "class", "ok", "missing", "changed"] == heads.split()
    assert ["alpha", "1.0", "MIT", "permissive", "1", "1", "1"] == alpha.split()
    assert [
        "Beta.Tools",
        "1.0",
        "GPL-3.0-or-later",
        "strong",
        "copyleft",
        "1",
        "0",
        "0",
    ] == beta.split()
    assert ("alpha: missing: alpha/more.txt", "alpha: changed: alpha/data.txt") == (
        missing,
        changed,
    )
    assert "2 packages, 2 files as recorded, 1 missing, 1 changed" == summary


def test_many_files_are_hashed_in_groups(
    site: Path, store: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A record for each of a thousand files would be waste, one for all would risk all."""
    install(site, "gamma", {f"gamma/{n}.py": b"%d" % n for n in range(1000)})
    witness = tmp_path / "witness"

    found = report(capsys, f"--environment={site}", f"--store={store}", f"--witness={witness}")

    assert 1000 == found["packages"][-1]["files"]["ok"]
    hashed = [
        w for w in lines(witness) if w["function"] == "check_files" and "gamma" in w["run_id"]
    ]
    assert 32 == len({line["call_id"] for line in hashed})


def test_a_finished_audit_is_shown_again_without_being_run(
    site: Path, store: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The second time nothing is read: not even what has changed since."""
    arguments = f"--environment={site}", f"--store={store}", f"--witness={tmp_path / 'witness'}"
    first = report(capsys, *arguments)
    seen = lines(tmp_path / "witness")
    (site / "beta.py").unlink()

    assert first == report(capsys, *arguments)
    assert seen == lines(tmp_path / "witness")


def test_a_fresh_audit_looks_again_and_keeps_the_earlier_one(
    site: Path, store: Path, capsys: Capture
) -> None:
    """`--fresh` deletes nothing; the new audit is the one that is gone on with."""
    arguments = f"--environment={site}", f"--store={store}"
    report(capsys, *arguments)
    (site / "beta.py").unlink()

    second = report(capsys, *arguments, "--fresh")

    assert (2, ["beta.py"]) == (second["audit"], second["packages"][1]["files"]["missing"])
    assert second == report(capsys, *arguments)


def test_a_package_of_another_version_is_audited_anew(
    site: Path, store: Path, capsys: Capture
) -> None:
    """A store must not answer for a package with what was found in its predecessor."""
    arguments = f"--environment={site}", f"--store={store}"
    report(capsys, *arguments)
    for file in (folder := site / "alpha-1.0.dist-info").iterdir():
        file.unlink()
    folder.rmdir()
    install(site, "alpha", version="2.0")

    assert "2.0" == report(capsys, *arguments)["packages"][0]["version"]


def test_a_package_that_cannot_be_read_fails_alone(
    site: Path, store: Path, capsys: Capture
) -> None:
    """The others are reported, the exit code says that one is not."""
    (site / "broken-1.0.dist-info").mkdir()

    code = main(["demo", "--json", "--quiet", f"--environment={site}", f"--store={store}"])

    found = json.loads(capsys.readouterr().out)
    assert 1 == code
    assert ["alpha", "Beta.Tools"] == [package["name"] for package in found["packages"]]
    ((name, reason),) = [(failure["name"], failure["reason"]) for failure in found["failed"]]
    assert "broken" == name
    assert reason.startswith("FileNotFoundError")


def test_a_failed_package_is_named_below_the_table(
    site: Path, store: Path, capsys: Capture
) -> None:
    """On a second look too: a failed run stays failed until a fresh audit."""
    (site / "broken-1.0.dist-info").mkdir()
    arguments = ["demo", "--quiet", f"--environment={site}", f"--store={store}"]

    codes = main(arguments), main(arguments)

    shown = capsys.readouterr().out.splitlines()
    assert (1, 1) == codes
    assert 2 == sum(line.startswith("broken: failed: FileNotFoundError") for line in shown)
    assert shown[-1].endswith("1 failed (--fresh tries again)")


def test_a_package_without_a_record_has_no_files_to_compare(
    site: Path, store: Path, capsys: Capture
) -> None:
    """Nothing to compare with is another thing than nothing wrong."""
    (site / "alpha-1.0.dist-info" / "RECORD").unlink()

    assert (
        None
        is report(capsys, f"--environment={site}", f"--store={store}")["packages"][0]["files"]
    )


def test_a_pipe_in_place_of_a_file_is_a_change(
    site: Path, store: Path, capsys: Capture
) -> None:
    """Opening it would wait for a writer, for ever."""
    (site / "beta.py").unlink()
    os.mkfifo(site / "beta.py")

    found = report(capsys, f"--environment={site}", f"--store={store}")

    assert ["beta.py"] == found["packages"][1]["files"]["changed"]


def test_the_first_of_two_packages_of_one_name_counts(
    site: Path, store: Path, tmp_path: Path, capsys: Capture
) -> None:
    """As it does for an import."""
    other = tmp_path / "other"
    install(other, "beta_tools", version="9.0")

    found = report(
        capsys, f"--environment={site}", f"--environment={other}", f"--store={store}"
    )

    assert ["1.0", "1.0"] == [package["version"] for package in found["packages"]]


def test_what_pip_left_behind_is_no_package(site: Path, store: Path, capsys: Capture) -> None:
    """An interrupted uninstallation leaves folders whose name begins with a tilde."""
    (site / "~lpha-0.9.dist-info").mkdir()

    assert 2 == len(report(capsys, f"--environment={site}", f"--store={store}")["packages"])


def test_a_virtual_environment_is_found_by_its_root(
    site: Path, store: Path, tmp_path: Path, capsys: Capture
) -> None:
    """That is the path that people know."""
    inner = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    inner.parent.mkdir(parents=True)
    site.rename(inner)
    (tmp_path / "venv" / "pyvenv.cfg").touch()

    found = report(capsys, f"--environment={tmp_path / 'venv'}", f"--store={store}")

    assert 2 == len(found["packages"])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_running_environment_is_audited_where_none_is_named(
    store: Path, capsys: Capture
) -> None:
    """The README's first command has no options."""
    found = report(capsys, f"--store={store}")

    assert {"pytest", "msgspec"} <= {package["name"] for package in found["packages"]}


def test_progress_goes_to_standard_error(site: Path, store: Path, capsys: Capture) -> None:
    """So that standard output can be piped."""
    main(["demo", "--json", f"--environment={site}", f"--store={store}"])

    written, told = capsys.readouterr()
    assert "auditing packages: 2 of 2" == told.splitlines()[-1]
    assert json.loads(written)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--environment=nowhere"], "nowhere is not a folder"),
        (["--environment=."], "no packages are installed there"),
        (
            ["--environment=site", "--witness=nowhere/witness"],
            "nowhere/witness cannot be written",
        ),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """One line that names what is wrong, and the exit code for it."""
    install(tmp_path / "site", "alpha")
    monkeypatch.chdir(tmp_path)

    code = main(["demo", *arguments])

    told = capsys.readouterr().err
    assert 2 == code
    assert complaint in told
    assert 1 == len(told.splitlines())


@pytest.mark.parametrize(
    "arguments", [[], ["audit"], ["demo", "--at-once=0"], ["demo", "--no"]]
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], capsys: Capture) -> None:
    """As argparse has it."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 2 == ended.value.code
    assert "durable-agents" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help_ends_with_0(arguments: list[str], capsys: Capture) -> None:
    """And says something."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 0 == ended.value.code
    assert "usage: durable-agents" in capsys.readouterr().out


def no_folder(path: Path) -> Path:
    """A store in a folder that is missing."""
    return path / "missing" / "audit.db"


def no_place(_path: Path) -> Path:
    """A store where nobody may make a file, not even root."""
    return Path("/proc/audit.db")


def no_file(path: Path) -> Path:
    """A folder where the store should be."""
    (path / "audit.db").mkdir()
    return path / "audit.db"


def no_database(path: Path) -> Path:
    """A text file."""
    (path / "audit.db").write_text("This is a letter and no store of any kind.")
    return path / "audit.db"


def another_database(path: Path) -> Path:
    """A database of somebody else."""
    with sqlite3.connect(path / "audit.db") as connection:
        connection.execute("CREATE TABLE letters (body TEXT)")
    connection.close()
    return path / "audit.db"


def newer_store(path: Path) -> Path:
    """A store that a later version of the package wrote."""
    store = used_store(path)
    with sqlite3.connect(store) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    return store


def damaged_store(path: Path) -> Path:
    """A store in which something else stands than was written."""
    store = used_store(path)
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE runs SET accepted = zeroblob(length(accepted))")
    connection.close()
    return store


def used_store(path: Path) -> Path:
    """A store that holds a finished audit."""
    store = path / "audit.db"
    assert 0 == main([
        "demo",
        "--quiet",
        f"--environment={path / 'site-packages'}",
        f"--store={store}",
    ])
    return store


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (no_folder, "No such file or directory"),
        (no_place, "cannot be made"),
        (no_file, "Is a directory"),
        (no_database, "not an SQLite database"),
        (another_database, "a database of another program"),
        (newer_store, "its schema has version 99"),
        (damaged_store, "fails its checksum"),
    ],
)
def test_a_store_that_cannot_be_used_is_left_as_it_is(
    make: Callable[[Path], Path], complaint: str, site: Path, tmp_path: Path, capsys: Capture
) -> None:
    """One line, the exit code for it, and not a byte of somebody's file is changed."""
    store = make(tmp_path)
    before = store.read_bytes() if store.is_file() else None
    capsys.readouterr()

    code = main(["demo", "--quiet", f"--environment={site}", f"--store={store}"])

    written, told = capsys.readouterr()
    assert (3, "") == (code, written)
    assert told.startswith(f"durable-agents: store {store}: ")
    assert complaint in told
    assert 1 == len(told.splitlines())
    assert before == (store.read_bytes() if store.is_file() else None)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_store_that_a_living_worker_owns_is_refused(
    tmp_path: Path, store: Path, capsys: Capture
) -> None:
    """The second worker is told who owns it, and the first one is not disturbed."""
    site, witness = tmp_path / "slow-packages", tmp_path / "witness"
    install_slow(site)
    arguments = ["demo", f"--environment={site}", f"--store={store}", "--at-once=1", "--quiet"]

    with start(*arguments, f"--witness={witness}") as owner:
        wait_for(owner, witness, "check_files")
        code = main(arguments)

    assert (3, 0) == (code, owner.returncode)
    assert f"audit (process {owner.pid})" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_audit_goes_on_where_it_stopped(
    number: signal.Signals, tmp_path: Path, store: Path, capsys: Capture
) -> None:
    """What had ended is on record; what had not begun is begun by the next process."""
    site, witness = tmp_path / "slow-packages", tmp_path / "witness"
    install_slow(site)
    arguments = [
        f"--environment={site}",
        f"--store={store}",
        "--at-once=1",
        f"--witness={witness}",
    ]
    with start("demo", "--quiet", "--json", *arguments) as process:
        wait_for(process, witness, "check_files")
        process.send_signal(number)
        written, told = process.communicate()
    ended = [line["call_id"] for line in lines(witness) if line["phase"] == "end"]

    assert (130, "") == (process.returncode, written)
    assert told.startswith(
        "interrupted: 0 of 1 packages are audited; `durable-agents demo --store "
    )
    assert 8 == report(capsys, *arguments)["packages"][0]["files"]["ok"]
    begun = [line["call_id"] for line in lines(witness) if line["phase"] == "begin"]
    assert 10 == len(begun) == len(set(begun))
    assert ended == begun[: len(ended)]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_reader_who_leaves_early_is_no_error(site: Path, store: Path) -> None:
    """`durable-agents demo | head -1` ends without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(  # noqa: S603 -- our own command
        [
            sys.executable,
            "-m",
            "durable_agents",
            "demo",
            "--quiet",
            f"--environment={site}",
            f"--store={store}",
        ],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        check=False,
    )
    os.close(writer)

    assert (0, b"") == (done.returncode, done.stderr)
