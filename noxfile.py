"""One session per promise. `nox` alone runs what a pull request must pass."""

import os
import shutil
import sys
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import NamedTuple

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tests"))

from _interpreters import installed  # noqa: E402 -- found only now

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
# A Python that uv brought along would pass for one that is installed.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"

PROJECT = nox.project.load_toml("pyproject.toml")
DISTRIBUTION = PROJECT["project"]["name"]
MINORS = nox.project.python_versions(PROJECT)
PYTHONS = installed(MINORS, os.environ)
OLDEST = next(iter(PYTHONS), None)
COVERAGE = ROOT / ".nox" / "measured"
CLOSING_LINES = ROOT / ".nox" / "closing-lines.txt"
TYPED = ["durable_agents", "tests/typing"]

# Rooms below the edges are decided without I/O, so nothing excuses a branch without a test.
DECIDING_ROOMS = [
    "errors",
    "clock",
    "events",
    "serialization",
    "retry",
    "limits",
    "journal",
    "forking",
    "recovery",
    "schedule",
    "scheduler",
]

nox.options.sessions = [
    "lint",
    "types",
    "architecture",
    *(f"tests-{minor}" for minor in PYTHONS),
    "examples",
    "coverage",
    "versions",
]


class Counts(NamedTuple):
    """What one run of the test suite came to."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


RAN: dict[str, Counts] = {}
"""Test runs of this very call of nox, by minor version: an old report proves nothing."""


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint and spelling: what a machine can judge alone."""
    session.install("-e", ".[dev]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("typos")


@nox.session
def types(session: nox.Session) -> None:
    """The package and a user's view of it (tests/typing), strict under both checkers."""
    session.install("-e", ".[dev]")
    session.run("mypy", *TYPED)
    session.run("basedpyright", *TYPED)
    session.run("basedpyright", "--ignoreexternal", "--verifytypes", "durable_agents")


@nox.session
def architecture(session: nox.Session) -> None:
    """Floors, sans-io rooms, no cycles, and a door for every room."""
    session.install("-e", ".[dev]")
    session.run("lint-imports")


def tests(session: nox.Session, minor: str) -> None:
    """The suite against the built package; the oldest Python measures coverage, too.

    It alone also runs the tests of our own tools, which only have to work somewhere.
    """
    install_package(session)
    report = Path(session.create_tmp(), "junit.xml")
    report.unlink(missing_ok=True)
    is_oldest = minor == OLDEST
    if is_oldest:
        shutil.rmtree(COVERAGE, ignore_errors=True)
        (COVERAGE / minor).mkdir(parents=True)
    try:
        pytest(
            session,
            *("-n", "auto", "-m", "not crash" if is_oldest else "not crash and not tools"),
            *("--ignore=tests/examples", f"--junitxml={report}"),
            coverage_data=COVERAGE / minor / "data" if is_oldest else None,
        )
    finally:
        if report.exists():
            RAN[minor] = counts(report)


for minor, interpreter in PYTHONS.items():
    # The path, not the version: nox would look the version up again, in its own way.
    run_tests = partial(tests, minor=minor)
    run_tests.__doc__ = f"The suite against the built package, on Python {interpreter.version}."
    nox.session(python=interpreter.path, name=f"tests-{minor}", tags=["tests"])(run_tests)


@nox.session
def examples(session: nox.Session) -> None:
    """Run the blocks of README and docs, and every example, exactly as a reader would."""
    install_package(session)
    pytest(session, "-n", "auto", "tests/examples")


@nox.session
def conformance(session: nox.Session) -> None:
    """Every row of the conformance table is shown by a test, or says why not."""
    install_package(session)
    table = ROOT / "tests" / "conformance" / "rows"
    pytest(session, "-n", "auto", "-m", "not crash", f"--conformance={table}")


@nox.session
def coverage(session: nox.Session) -> None:
    """Branches that the oldest Python covered: all of the deciding rooms, 95% elsewhere."""
    session.install("-e", ".[dev]")
    session.env["COVERAGE_FILE"] = str(COVERAGE / "data")
    # In a folder of their own: `report` would take the parts away, and could not be repeated.
    parts = str(COVERAGE / str(OLDEST))
    session.run("coverage", "combine", "--quiet", "--keep", parts)
    session.run("coverage", "report", "--fail-under=95")
    deciding = ",".join(f"*/{room}.py,*/{room}/*" for room in DECIDING_ROOMS)
    session.run("coverage", "report", f"--include={deciding}", "--fail-under=100")


@nox.session(venv_backend="none")
def versions(session: nox.Session) -> None:
    """Name the Pythons that ran the tests; one that is installed and did not is a failure."""
    lines = [f"Python {closing_line(minor)}" for minor in MINORS]
    total = Counts(*(sum(column) for column in zip(*RAN.values(), strict=True)))
    CLOSING_LINES.write_text("\n".join([*lines, str(total), ""]))
    sys.stdout.write(CLOSING_LINES.read_text())
    sys.stdout.flush()
    if total.failed or not total.passed or set(RAN) != set(PYTHONS):
        session.error("each installed Python must run the tests, and each test must pass")


@nox.session
def crash(session: nox.Session) -> None:
    """Kill real processes at every journal entry and at random moments; takes minutes."""
    install_package(session)
    pytest(session, "-m", "crash", "--timeout=0")


@nox.session
def proof(session: nox.Session) -> None:
    """The quick form of all layers of the proof, and their table; `-- --full` for the rest."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.proof", *session.posargs)


@nox.session
def crash_points(session: nox.Session) -> None:
    """Crash before and after each commit, in process; `-- --points 10000` says how often."""
    prove(session, "crash_points")


@nox.session
def kills(session: nox.Session) -> None:
    """Kill a process inside its commits; `-- --kills 500` says how often."""
    prove(session, "kills")


@nox.session
def shared_kills(session: nox.Session) -> None:
    """The same to workers that share a store, while the others go on; `-- --kills 200`."""
    prove(session, "shared_kills")


@nox.session
def power(session: nox.Session) -> None:
    """Cut the power, on paper, and open what is left; `-- --images 2000` says how often."""
    prove(session, "power")


@nox.session
def disk(session: nox.Session) -> None:
    """Let the disk fail under a worker, and recover; `-- --rounds 40` says how often."""
    prove(session, "disk_faults")


@nox.session
def full_disk(session: nox.Session) -> None:
    """Fill the disk under a worker, fail while a store is opened; `-- --rounds 12`."""
    prove(session, "full_disk")


@nox.session
def doubt(session: nox.Session) -> None:
    """Kill processes in the middle of calls that must not be repeated; `-- --kills 200`."""
    prove(session, "doubt")


@nox.session
def company(session: nox.Session) -> None:
    """Let other programs lock, read and copy a store under load; `-- --seconds 120`."""
    prove(session, "company")


@nox.session
def damage(session: nox.Session) -> None:
    """Flip bits of a store and see what comes of each; `-- --flips 1000`."""
    prove(session, "damage")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed every decoder what nobody wrote; `-- --seconds 120`. With atheris, if installed."""
    prove(session, "fuzz")


@nox.session
def soak(session: nox.Session) -> None:
    """Keep a thousand runs alive under kills and faults; after `--` the minutes (60)."""
    prove(session, "soak")


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the engine in every way listed, and see some layer of the proof notice."""
    prove(session, "mutants")


@nox.session
def model(session: nox.Session) -> None:
    """Walk random runs through crashes, recoveries, cancels; after `--` how many (2000)."""
    install_package(session)
    examples = session.posargs[0] if session.posargs else "2000"
    files = sorted(str(path) for path in (ROOT / "tests" / "proof").glob("test_model*.py"))
    environment = {"PYTHONSAFEPATH": "1", "MODEL_EXAMPLES": examples}
    session.run("python", "-m", "pytest", *files, env=environment)


@nox.session
def schedules(session: nox.Session) -> None:
    """Replay runs under other schedules; after `--` the program's arguments: `--seeds 2000`."""
    prove(session, "schedules")


@nox.session
def lowest(session: nox.Session) -> None:
    """The suite against the oldest releases that pyproject.toml admits."""
    session.install("--resolution", "lowest-direct", ".[dev]")
    pytest(session, "-n", "auto", "-m", "not crash")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; arguments after `--` go to `python -m benchmarks`."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def fan_out(session: nox.Session) -> None:
    """Two branches and a crash, on us and on others, each in an environment of its own."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "benchmarks.fan_out", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Measure other systems beside us; needs PyPI, and npm for one of them."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "benchmarks.peers", *session.posargs)


def prove(session: nox.Session, layer: str) -> None:
    """Run a program of the proof; arguments after `--` are its own. See docs/proof.md."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", f"tests.proof.{layer}", *session.posargs)


def install_package(session: nox.Session) -> None:
    """Build the package and install it as a user would; the checkout stays out of sight."""
    # uv keeps a wheel for as long as pyproject.toml stays the same, whatever the code does.
    rebuild = ["--reinstall-package", DISTRIBUTION] if session.venv_backend == "uv" else []
    session.install(*rebuild, ".[dev]")


def pytest(session: nox.Session, *arguments: str, coverage_data: Path | None = None) -> None:
    """Run the tests without the current folder on sys.path, in children too."""
    environment = {"PYTHONSAFEPATH": "1"}
    command = ["-m", "pytest"]
    if coverage_data is not None:
        environment["COVERAGE_FILE"] = str(coverage_data)
        command = ["-m", "coverage", "run", f"--rcfile={ROOT / 'pyproject.toml'}", *command]
    session.run("python", *command, *arguments, *session.posargs, env=environment)


def counts(report: Path) -> Counts:
    """Read the figures of a JUnit report."""
    suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 -- written by our own pytest
    if suite is None:
        return Counts(0, 1, 0)
    figure = {
        name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    }
    failed, skipped = figure["failures"] + figure["errors"], figure["skipped"]
    return Counts(figure["tests"] - failed - skipped, failed, skipped)


def closing_line(minor: str) -> str:
    """What became of one supported Python."""
    if minor not in PYTHONS:
        return f"{minor}: not installed"
    outcome = RAN.get(minor, "installed and skipped")
    return f"{PYTHONS[minor].version}: {outcome}"
