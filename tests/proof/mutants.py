"""Break the engine in one way at a time, and see a layer of the proof find it out.

    python -m tests.proof.mutants                     all of them
    python -m tests.proof.mutants --only "sync off"   some

`mutants.toml` says of each mutant what it replaces in the engine, and by which command it is
killed. First every command has to pass on a copy of the project as it is: a layer that fails
anyway would kill everything. Then each mutant gets a copy of its own. It is killed if a check
fails there: a test that fails, or a violation of a claim that a layer's program leaves in its
verdict. A command that breaks off in another way kills nothing.

The exit status is 0 if no mutant was left uncaught.
"""

import argparse
import compileall
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec

from tests.crash.verdict import VERDICTS, Verdict, conclude

__all__ = [
    "PROJECT",
    "TABLE",
    "BrokenHarnessError",
    "Edit",
    "Mutant",
    "Outcome",
    "killed",
    "known",
    "main",
]

PROJECT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("mutants.toml")
_PARTS = ("durable_agents", "tests", "examples", "pyproject.toml", "README.md", "docs")
_MOST_SHOWN = 150
_PATIENCE = 120.0
"""Seconds until a command counts as one that hangs, and so kills nothing."""
_NO_CHECKS = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError")
"""What a test that fails so has come upon is no defect that somebody would ship."""


class BrokenHarnessError(Exception):
    """A mutant cannot be made, or a command comes to nothing: whatever it says is no proof."""


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A replacement in one file."""

    file: str
    """Path within the project."""
    old: str
    """Is there exactly once."""
    new: str


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One defect."""

    name: str
    claim: Literal["C1", "C2", "C3", "C4", "C5"]
    """Of docs/proof.md, that it breaks."""
    breaks: str
    """What it does, in a sentence."""
    layer: str = ""
    """Of docs/proof.md, that kills it; `unit tests` for the tests of a single room."""
    command: str = ""
    """What kills it: `pytest` or a module of ours, with arguments."""
    edit: tuple[Edit, ...] = ()
    awaits: str = ""
    """What has to be built before there is anything to break."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to."""

    found: str | None
    """The first thing that it found wrong; None: it found nothing."""
    seconds: float
    problem: str = ""
    """Why it came to no judgement."""


def known(path: Path = TABLE) -> list[Mutant]:
    """The mutants of a table."""
    table = tomllib.loads(path.read_text())
    return msgspec.convert(table["mutant"], list[Mutant])


@contextmanager
def _copy(mutant: Mutant | None = None) -> Generator[Path]:
    """The project in a folder of its own, with a mutant's edits made."""
    with TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for part in _PARTS:
            source = PROJECT / part
            if source.is_dir():
                left_out = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(source, copy / part, ignore=left_out)
            else:
                shutil.copy(source, copy / part)
        for edit in () if mutant is None else mutant.edit:
            _make(edit, copy)
        _check_is_what_is_imported(copy)
        yield copy


def _make(edit: Edit, copy: Path) -> None:
    path = copy / edit.file
    text = path.read_text()
    if (count := text.count(edit.old)) != 1:
        msg = f"{edit.file} has {count} times what is to be replaced: {edit.old!r}"
        raise BrokenHarnessError(msg)
    path.write_text(text.replace(edit.old, edit.new))


def _check_is_what_is_imported(copy: Path) -> None:
    """Refuse an engine that does not import, or that is imported from elsewhere."""
    if not compileall.compile_dir(copy / "durable_agents", quiet=1):
        msg = "it does not compile"
        raise BrokenHarnessError(msg)
    code = "import durable_agents.testing, durable_agents.cli; print(durable_agents.__file__)"
    said = _run(copy, "-c", code)
    if said.returncode or Path(said.stdout.strip()).parent != copy / "durable_agents":
        msg = f"it is not what is imported: {said.stdout}{said.stderr[-500:]}"
        raise BrokenHarnessError(msg)


def _run(copy: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # Nobody measures what is covered of a copy.
    outer = {name: v for name, v in os.environ.items() if not name.startswith("COV")}
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *arguments],
        cwd=copy,
        env=outer | {"PYTHONPATH": str(copy)} | environment,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )


def tried(command: str, copy: Path) -> Outcome:
    """What a command finds in a copy of the project.

    Args:
        command: See `Mutant.command`.
        copy: Where the project is.

    Raises:
        BrokenHarnessError: It came to no judgement.
    """
    module, *arguments = shlex.split(command)
    judge = _by_tests if module == "pytest" else _by_verdict
    started = time.monotonic()
    try:
        found = judge(copy, module, arguments)
    except subprocess.TimeoutExpired as error:
        msg = f"{command}: not done after {_PATIENCE:.0f} s"
        raise BrokenHarnessError(msg) from error
    return Outcome(found, time.monotonic() - started)


def _by_tests(copy: Path, module: str, arguments: Sequence[str]) -> str | None:
    """The first test that failed, and how."""
    report = copy / "junit.xml"
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    said = _run(copy, "-m", module, *options, *arguments)
    is_judged = said.returncode in {0, 1} and report.exists()
    suite = ET.parse(report).find("testsuite") if is_judged else None  # noqa: S314 - our own
    if suite is None or suite.get("tests") == suite.get("skipped"):
        msg = f"no test was run: {said.stdout[-1000:]}{said.stderr[-1000:]}"
        raise BrokenHarnessError(msg)
    for case in suite.iter("testcase"):
        if (failure := case.find("failure")) is not None:
            what = failure.get("message", "").partition("\n")[0]
            if what.startswith(_NO_CHECKS):
                msg = f"{case.get('name')} did not fail by a check: {what}"
                raise BrokenHarnessError(msg)
            return f"{case.get('name')}: {what}"
    if said.returncode:
        msg = f"no test has failed by a check: {said.stdout[-1000:]}"
        raise BrokenHarnessError(msg)
    return None


def _by_verdict(copy: Path, module: str, arguments: Sequence[str]) -> str | None:
    """The last violation that a program of the proof shows."""
    report = copy / "verdicts"
    said = _run(copy, "-m", module, *arguments, **{VERDICTS: str(report)})
    lines = report.read_bytes().splitlines() if report.exists() else []
    verdicts = [msgspec.json.decode(line, type=Verdict) for line in lines]
    if any(verdict.violations and not verdict.must_fail for verdict in verdicts):
        return said.stdout.splitlines()[-1]
    if not verdicts or said.returncode:
        msg = f"no verdict: {said.stdout[-1000:]}{said.stderr[-1000:]}"
        raise BrokenHarnessError(msg)
    return None


def killed(mutant: Mutant) -> Outcome:
    """What the mutant's command finds in the project with the mutant in it."""
    try:
        with _copy(mutant) as copy:
            return tried(mutant.command, copy)
    except BrokenHarnessError as error:
        return Outcome(None, 0.0, str(error))


def _check_healthy(command: str) -> None:
    """Refuse a command that finds something wrong with the engine as it is."""
    with _copy() as copy:
        outcome = tried(command, copy)
    if outcome.found is not None:
        msg = f"{command} fails without any mutant: {outcome.found}"
        raise BrokenHarnessError(msg)


def try_all(mutants: Sequence[Mutant], jobs: int) -> list[Outcome]:
    """What becomes of each mutant, in this order.

    Args:
        mutants: Those that can be made today.
        jobs: How many are tried at the same time.

    Raises:
        BrokenHarnessError: A command does not pass without a mutant.
    """
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(_check_healthy, dict.fromkeys(mutant.command for mutant in mutants)))
        return list(pool.map(killed, mutants))


def _row(mutant: Mutant, outcome: Outcome) -> str:
    found = outcome.found or f"UNCAUGHT {outcome.problem}".rstrip()
    killer = mutant.layer if outcome.found else "-"
    name = f"{mutant.name:46}{mutant.claim:4}{killer:25}{outcome.seconds:6.1f} s"
    return f"{name}  {found[:_MOST_SHOWN]}\n{'':4}{mutant.breaks}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.mutants")
    parser.add_argument("--table", type=Path, default=TABLE, help="another table of mutants")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants (default all)")
    parser.add_argument("--jobs", type=int, default=2, help="at the same time (default 2)")
    options = parser.parse_args(arguments)
    mutants = known(options.table)
    if unknown := set(options.only or ()) - {mutant.name for mutant in mutants}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [m for m in mutants if options.only is None or m.name in options.only]
    started = time.monotonic()
    today = [mutant for mutant in chosen if not mutant.awaits]
    try:
        outcomes = try_all(today, options.jobs)
    except BrokenHarnessError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    rows = [_row(*row) for row in zip(today, outcomes, strict=True)]
    rows += [f"{m.name:46}{m.claim:4}not yet: {m.awaits}" for m in chosen if m.awaits]
    uncaught = [m.name for m, o in zip(today, outcomes, strict=True) if o.found is None]
    verdict = Verdict(
        layer="mutants",
        claims=tuple(sorted({mutant.claim for mutant in today})),
        tried=f"{len(today)} mutants, {len(today) - len(uncaught)} killed",
        violations=len(uncaught),
        seconds=time.monotonic() - started,
    )
    rows.append(f"\n{verdict.tried}, {len(chosen) - len(today)} not yet to be made")
    return conclude("\n".join(rows), [f"uncaught: {name}" for name in uncaught], verdict)


if __name__ == "__main__":
    sys.exit(main())
