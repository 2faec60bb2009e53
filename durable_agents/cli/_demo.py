"""`durable-agents demo`: audit the packages installed in this environment.

One run for each package, its id made of the audit, the package and the place where it lies: so
the same command over the same store shows a finished audit again without running anything, and
goes on with an unfinished one.
"""

import argparse
import asyncio
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from durable_agents.cli._audit import Audit, PackageReport
from durable_agents.cli._audit_runs import latest_audit, run_id_of
from durable_agents.cli._crash import CrashPlan, crash
from durable_agents.cli._environment import Disk, Installed, installed_in
from durable_agents.cli._exit import ExitCode, UsageError
from durable_agents.cli._options import positive
from durable_agents.cli._report import AuditReport, Failure, show_report
from durable_agents.cli._show import Progress, progress, say
from durable_agents.cli._witness import Watch, Witness, unwatched
from durable_agents.errors import RunError, RunFailedError, RunParkedError
from durable_agents.store import SqliteStore
from durable_agents.worker import Worker, WorkerSettings

__all__ = ["add_demo"]

_DESCRIPTION = """\
Audit the Python packages installed in the running environment: read their metadata, hash
their files against RECORD, classify their licences. One run for each package; every look at a
file is a durable call. The audit is kept in a store: kill the command at any moment, and the
same command goes on where it stopped. A finished audit is shown again without being run.
"""


def add_demo(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="audit the packages installed here; with --crash, survive a SIGKILL",
        description=_DESCRIPTION,
    )
    add = parser.add_argument
    add(
        "--store",
        type=Path,
        default=Path("durable-agents-demo.db"),
        metavar="FILE",
        help="where the audit is kept; made if it is missing (default: %(default)s)",
    )
    add(
        "--environment",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="audit the packages in this site-packages folder or virtual environment instead "
        "of the running one; may be given several times",
    )
    add(
        "--fresh", action="store_true", help="start a new audit; earlier ones stay in the store"
    )
    add("--json", action="store_true", help="write the report as one JSON object, for programs")
    add("--quiet", action="store_true", help="show no progress")
    add(
        "--at-once",
        type=positive,
        metavar="N",
        help="most durable calls at the same time (default: twice the number of CPUs)",
    )
    add(
        "--witness",
        type=Path,
        metavar="FILE",
        help="a file to which each durable function appends a line when it begins and ends",
    )
    add(
        "--crash",
        action="store_true",
        help="run a new audit in a child process, kill it with SIGKILL half way, start it "
        "again, and show from the witness file what ran twice",
    )
    parser.set_defaults(run=_run)


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options, as they were parsed."""

    store: Path
    environment: list[Path] | None
    fresh: bool
    json: bool
    quiet: bool
    at_once: int | None
    witness: Path | None
    crash: bool


def _run(arguments: argparse.Namespace) -> ExitCode:
    options = Options(**{
        field.name: getattr(arguments, field.name) for field in fields(Options)
    })
    packages = installed_in(_folders(options.environment))
    if not packages:
        msg = "no packages are installed there: choose another --environment"
        raise UsageError(msg)
    return crash(_crash_plan(options)) if options.crash else _audit(options, packages)


def _audit(options: Options, packages: Sequence[Installed]) -> ExitCode:
    demo = _Demo(options, packages, _watch(options.witness))
    report = asyncio.run(demo.audit())
    if report is None:
        say(
            f"interrupted: {demo.done} of {len(packages)} packages are audited; "
            f"`{_same_command(options)}` goes on where it stopped",
            sys.stderr,
        )
        return ExitCode.INTERRUPTED
    show_report(report, as_json=options.json)
    return ExitCode.FAILED if report.failed else ExitCode.DONE


def _folders(environments: Sequence[Path] | None) -> list[Path]:
    """Where to look for packages.

    Raises:
        UsageError: A folder that was asked for is none.
    """
    if environments is None:
        return [Path(entry) for entry in sys.path]
    for path in environments:
        if not path.is_dir():
            msg = f"--environment {path} is not a folder"
            raise UsageError(msg)
    return [folder for path in environments for folder in _site_packages(path)]


def _site_packages(environment: Path) -> list[Path]:
    """Where a virtual environment keeps its packages; any other folder is meant itself."""
    if not (environment / "pyvenv.cfg").is_file():
        return [environment]
    return sorted(environment.glob("lib/python*/site-packages"))


def _crash_plan(options: Options) -> CrashPlan:
    passed_on = [f"--environment={path}" for path in options.environment or []]
    if options.at_once is not None:
        passed_on.append(f"--at-once={options.at_once}")
    witness = options.witness or Path(f"{options.store}.witness")
    return CrashPlan(options.store, witness, passed_on, options.json, options.quiet)


def _watch(path: Path | None) -> Watch:
    if path is None:
        return unwatched
    try:
        return Witness(path).watch
    except OSError as error:
        msg = f"--witness {path} cannot be written: {error.strerror}"
        raise UsageError(msg) from error


def _same_command(options: Options) -> str:
    """How to go on: the command without what would start anew."""
    words = ["durable-agents", "demo", "--store", str(options.store)]
    for path in options.environment or []:
        words += ["--environment", str(path)]
    return shlex.join(words)


class _Demo:
    """One audit of some packages over one store."""

    def __init__(self, options: Options, packages: Sequence[Installed], watch: Watch) -> None:
        self.done = 0
        self._options = options
        self._store = SqliteStore(options.store)
        self._packages = packages
        self._watch = watch

    async def audit(self) -> AuditReport | None:
        """Run the audit to its end; None where it was interrupted.

        Raises:
            StoreError: The store cannot be opened, or fails.
        """
        agent = Audit(Disk(self._watch))
        async with Worker(agent, store=self._store, settings=self._settings()) as worker:
            latest = await latest_audit(self._store)
            audit = latest + 1 if self._options.fresh or latest == 0 else latest
            with (
                worker.stopping_on_signals(),
                progress(
                    "auditing packages", len(self._packages), is_quiet=self._options.quiet
                ) as show,
            ):
                results = await self._all(worker, audit, show)
        reports = [r for r in results if isinstance(r, PackageReport)]
        failures = [r for r in results if isinstance(r, Failure)]
        if len(reports) + len(failures) < len(self._packages):
            return None
        return AuditReport(str(self._options.store), audit, reports, failures)

    def _settings(self) -> WorkerSettings:
        at_once = self._options.at_once or WorkerSettings().num_sync_threads
        # Every call runs in a thread: one that waits for a thread is not in flight, so that an
        # interrupted audit need not wait for it.
        return WorkerSettings(num_async_threads=at_once, num_sync_threads=at_once)

    async def _all(
        self, worker: Worker, audit: int, show: Progress
    ) -> list[PackageReport | Failure | None]:
        async def one(package: Installed) -> PackageReport | Failure | None:
            result = await _audit_one(worker, audit, package)
            self.done += result is not None
            show(self.done)
            return result

        try:
            async with asyncio.TaskGroup() as tasks:
                results = [tasks.create_task(one(package)) for package in self._packages]
        except ExceptionGroup as group:
            # One says it all: each is the same error of the same store.
            raise group.exceptions[0] from None
        return [result.result() for result in results]


async def _audit_one(
    worker: Worker, audit: int, package: Installed
) -> PackageReport | Failure | None:
    """Have one package audited, now or in an earlier process; None where it was interrupted."""
    try:
        run = await worker.submit(package, key=package.name, id=run_id_of(audit, package))
        (report,) = await run.result()
    except (RunFailedError, RunParkedError) as error:
        return Failure(package.name, error.reason)
    except RunError:
        return None
    assert isinstance(report, PackageReport), "the agent has one output"
    return report
