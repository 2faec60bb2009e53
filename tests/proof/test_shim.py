"""The shim records what a process does to its files, breaks it, and kills it, as it is told."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.evidence import Record, read
from tests.proof.faults import Deed, Faults, build, compiler
from tests.proof.trace import Change, decode_trace, encode_change

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(compiler() is None, reason="the shim needs Linux and a C compiler"),
]

WRITES = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for letter in b"abc":
    try:
        sys.stdout.write(f"{os.pwrite(file, bytes([letter]) * 4, 4 * (letter - 97))} ")
        os.fsync(file)
    except OSError as error:
        sys.stdout.write(f"{error.strerror} ")
    sys.stdout.flush()
os.ftruncate(file, 10)
os.rename(sys.argv[1], sys.argv[1] + ".new")
os.unlink(sys.argv[1] + ".new")
"""
COMMITS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = wal")
connection.execute("CREATE TABLE rows (number)")
for number in range(10):
    connection.execute("INSERT INTO rows VALUES (?)", (number,))
    print(number, flush=True)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built once."""
    return build(tmp_path_factory.mktemp("shim"))


def run(
    program: str, faults: Faults, shim: Path, expected_code: int = 0
) -> tuple[str, Sequence[str]]:
    """What a program printed, and what the shim said of the calls that it hit."""
    path = str(faults.folder / faults.file)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program, path],
        env=os.environ | faults.environment(shim),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected_code, done.stderr
    said = faults.said.read_text().splitlines() if faults.said and faults.said.exists() else []
    return done.stdout, said


def test_every_change_of_a_file_is_on_record(shim: Path, tmp_path: Path) -> None:
    """What is not on record cannot be taken away by a power cut."""
    folder, trace = tmp_path / "site", tmp_path / "trace"
    folder.mkdir()
    run(WRITES, Faults(folder=folder, trace=trace), shim)

    found = decode_trace(trace.read_bytes())
    inode = found[0].inode
    assert found == [
        Change("c", inode, 0, b"store.db"),
        Change("w", inode, 0, b"aaaa"),
        Change("s", inode, 2),
        Change("w", inode, 4, b"bbbb"),
        Change("s", inode, 4),
        Change("w", inode, 8, b"cccc"),
        Change("s", inode, 6),
        Change("t", inode, 10),
        Change("r", 0, 0, b"store.db\0store.db.new"),
        Change("u", 0, 0, b"store.db.new"),
    ]
    assert trace.read_bytes() == b"".join(map(encode_change, found))


def test_a_call_fails_as_often_as_it_is_told_to(shim: Path, tmp_path: Path) -> None:
    """The fault begins, and it ends."""
    faults = Faults(
        folder=tmp_path, call="write", at=2, count=1, do="enospc", said=tmp_path / "said"
    )

    assert run(WRITES, faults, shim) == (
        "4 No space left on device 4 ",
        ["2 write store.db"],
    )


def test_a_short_write_writes_half(shim: Path, tmp_path: Path) -> None:
    """The caller is told how much it was."""
    faults = Faults(folder=tmp_path, call="write", at=1, do="short")

    assert run(WRITES, faults, shim)[0] == "2 4 4 "


def test_a_sync_that_fails_is_on_record_as_failed(shim: Path, tmp_path: Path) -> None:
    """What it covered may be lost."""
    folder, trace = tmp_path / "site", tmp_path / "trace"
    folder.mkdir()
    faults = Faults(folder=folder, call="sync", at=1, do="eio", trace=trace)

    assert run(WRITES, faults, shim)[0].startswith("4 Input/output error 4 ")
    kinds = [change.kind for change in decode_trace(trace.read_bytes())]
    assert kinds[:4] == ["c", "w", "f", "w"]


@pytest.mark.parametrize(("do", "expected"), [("kill-before", 1), ("kill-after", 2)])
def test_a_kill_before_a_sync_and_one_after_it_differ_by_that_sync(
    shim: Path, tmp_path: Path, do: Deed, expected: int
) -> None:
    """The moment is the very call, not one nearby."""
    folder, trace = tmp_path / "site", tmp_path / "trace"
    folder.mkdir()
    faults = Faults(folder=folder, call="sync", at=2, do=do, trace=trace)
    run(WRITES, faults, shim, expected_code=-signal.SIGKILL)

    syncs = [c for c in decode_trace(trace.read_bytes()) if c.kind == "s"]
    assert expected == len(syncs)


def test_a_kill_inside_a_commit_leaves_what_was_committed(shim: Path, tmp_path: Path) -> None:
    """SQLite's calls go through the shim, and its rows come in whole commits."""
    faults = Faults(
        folder=tmp_path, call="write", at=28, do="kill-before", said=tmp_path / "said"
    )
    printed, said = run(COMMITS, faults, shim, expected_code=-signal.SIGKILL)

    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        found = [number for (number,) in connection.execute("SELECT number FROM rows")]
    assert found == list(range(len(found)))
    assert len(printed.split()) in {len(found), len(found) - 1}
    assert said == ["28 write store.db-wal"]
    assert 0 < len(found) < 10


def test_a_store_that_was_killed_while_it_was_made_is_read_as_empty(
    shim: Path, tmp_path: Path
) -> None:
    """Its first transaction has to be played back, and reading it changes nothing of it."""
    faults = Faults(folder=tmp_path, call="write", at=3, do="kill-after")
    run(COMMITS, faults, shim, expected_code=-signal.SIGKILL)
    before = (tmp_path / "store.db").read_bytes()

    assert Record() == read(tmp_path / "store.db")
    assert 4096 == len(before)
    assert before == (tmp_path / "store.db").read_bytes()
    assert (tmp_path / "store.db-journal").exists()


def test_files_elsewhere_are_left_alone(shim: Path, tmp_path: Path) -> None:
    """Witness and marks are on a healthy disk."""
    (tmp_path / "site").mkdir()
    faults = Faults(folder=tmp_path / "site", call="any", at=1, count=99, do="eio")
    elsewhere = WRITES.replace("sys.argv[1]", repr(str(tmp_path / "store.db")))

    assert run(elsewhere, faults, shim)[0] == "4 4 4 "
