"""`durable-agents demo --crash`: kill an audit half way, start it again, count what ran twice.

Three child processes run the same audit, each a plain `durable-agents demo`:

1. over a store that is thrown away, without a crash: its report is the one to be equal to, and
   the number of its calls says where half way is;
2. over the store that was asked for, until its durable functions have written half of their
   ends into the witness file; then SIGKILL;
3. over that store again, to the end.

What ran is counted from the witness file. What had settled is read from the store as the kill
left it: a call had settled if its outcome was on record. Those calls must not begin again; the
others were in flight, and running them again is right.
"""

import asyncio
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from durable_agents.cli._audit_runs import (
    audit_of,
    latest_audit,
    settled_calls,
    unfinished_count,
)
from durable_agents.cli._children import follow, running, terminating_children
from durable_agents.cli._exit import ExitCode, UsageError
from durable_agents.cli._report import AuditReport, show_report
from durable_agents.cli._show import progress, say, table
from durable_agents.cli._witness import Sighting, is_witness, read_witness
from durable_agents.errors import StoreUnavailableError
from durable_agents.store import SqliteStore

__all__ = ["CrashPlan", "Evidence", "crash"]

_SHARES = (1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8)
"""How far the audit is when it is killed. A very short one may be over before the signal gets
there: that was no crash, and it is tried again with an earlier one."""


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """What to kill, and what to leave behind."""

    store: Path
    witness: Path
    """Written anew; stays, so that the count can be checked by hand."""
    options: Sequence[str]
    """Of the command, for each child."""
    as_json: bool
    is_quiet: bool


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the crash did, in calls; a call is named by its run and its id in the run."""

    calls_without_crash: int
    unfinished_runs: int
    """Runs that had not ended when the process was killed."""
    begun_before: int
    """Calls that began before the kill."""
    settled_before: int
    """Calls whose outcome was on record when the process was killed."""
    in_flight: int
    """Calls that had begun and were not settled, whether or not their function had ended."""
    begun_after: int
    """Calls that began after the restart."""
    in_flight_again: int
    """Calls in flight at the kill that ran again, as they must."""
    settled_again: list[str]
    """Settled calls that ran again; there may be none."""
    settled_unseen: int
    """Settled calls that the witness never saw: if there are any, it proves nothing."""
    reports_equal: bool
    """Whether the report is the one of the audit without a crash."""

    @property
    def holds(self) -> bool:
        """Whether nothing settled ran twice and nothing was lost."""
        return not self.settled_again and not self.settled_unseen and self.reports_equal


class Outcome(msgspec.Struct, frozen=True):
    """What `--crash --json` writes."""

    crash: Evidence
    witness: str
    report: AuditReport


class _ChildFailedError(Exception):
    """A child ended otherwise than it should; why, it has said itself."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Killed:
    """What the kill left behind."""

    pid: int
    settled: set[tuple[str, str]]
    """Calls whose outcome was on record."""
    unfinished: int
    """Runs that had not ended."""


def crash(plan: CrashPlan) -> ExitCode:
    """Run the three audits and show what the crash did.

    Raises:
        StoreUnavailableError: The witness file cannot be written.
        UsageError: The audit is over before it can be killed, or the witness file is another
            file.
    """
    try:
        with TemporaryDirectory() as folder, terminating_children():
            outcome = _Crash(plan, Path(folder)).run()
    except _ChildFailedError as error:
        say(f"durable-agents: a child process ended with code {error.code}", sys.stderr)
        known = {int(code) for code in ExitCode}
        return ExitCode(error.code) if error.code in known else ExitCode.FAILED
    if plan.as_json:
        say(msgspec.json.encode(outcome).decode())
    else:
        show_report(outcome.report, as_json=False)
        say("")
        _show_evidence(outcome.crash, plan.witness)
    is_good = outcome.crash.holds and not outcome.report.failed
    return ExitCode.DONE if is_good else ExitCode.FAILED


class _Crash:
    """The three audits.

    Args:
        plan: What to kill.
        folder: For what is thrown away.
    """

    def __init__(self, plan: CrashPlan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._output = folder / "report.json"

    def run(self) -> Outcome:
        """Run them, one after the other."""
        plan = self._plan
        _make_empty(plan.witness)
        witness = self._folder / "without-crash.witness"
        _make_empty(witness)
        undisturbed = self._to_the_end(
            "1 of 3: without a crash", self._folder / "without-crash.db", witness, None
        )
        expected = len(begun(read_witness(witness.read_bytes())))
        killed = self._kill_half_way(expected)
        report = self._to_the_end("3 of 3: started again", plan.store, plan.witness, expected)
        sightings = read_witness(plan.witness.read_bytes())
        evidence = weigh(
            [s for s in sightings if audit_of(s.run_id) == report.audit],
            killed,
            expected,
            reports_equal=_is_equal(report, undisturbed),
        )
        return Outcome(evidence, str(plan.witness), report)

    def _to_the_end(
        self, name: str, store: Path, witness: Path, expected: int | None
    ) -> AuditReport:
        _, code = self._audit(name, store, witness, expected)
        if code not in {ExitCode.DONE, ExitCode.FAILED}:
            raise _ChildFailedError(code)
        return msgspec.json.decode(self._output.read_bytes(), type=AuditReport)

    def _kill_half_way(self, expected: int) -> Killed:
        plan = self._plan
        for share in _SHARES:
            _make_empty(plan.witness)
            name = "2 of 3: to be killed half way"
            pid, code = self._audit(
                name,
                plan.store,
                plan.witness,
                expected,
                kill_after=max(1, int(expected * share)),
            )
            if code == -signal.SIGKILL:
                killed = self._left_behind(pid)
                if killed.unfinished:
                    return killed
            elif code not in {ExitCode.DONE, ExitCode.FAILED}:
                raise _ChildFailedError(code)
        msg = "the audit is over before it can be killed: choose a larger --environment"
        raise UsageError(msg)

    def _audit(
        self,
        name: str,
        store: Path,
        witness: Path,
        expected: int | None,
        kill_after: int | None = None,
    ) -> tuple[int, int]:
        """One child from start to end; returns its process id and its exit code."""
        arguments = ["demo", f"--store={store}", f"--witness={witness}", "--json", "--quiet"]
        if kill_after is not None:
            arguments.append("--fresh")
        with (
            progress(name, expected, is_quiet=self._plan.is_quiet) as show,
            running([*arguments, *self._plan.options], self._output) as process,
        ):
            return process.pid, follow(process, witness, show, kill_after)

    def _left_behind(self, pid: int) -> Killed:
        """Read a copy of the store: opening it would mark it as closed in good order."""
        with TemporaryDirectory(dir=self._folder) as folder:
            copy = Path(folder, "store.db")
            for suffix in ("", "-wal"):
                original = Path(f"{self._plan.store}{suffix}")
                if original.exists():
                    shutil.copyfile(original, f"{copy}{suffix}")
            return asyncio.run(_read(SqliteStore(copy), pid))


async def _read(store: SqliteStore, pid: int) -> Killed:
    await store.open("durable-agents demo --crash")
    try:
        audit = await latest_audit(store)
        settled = await settled_calls(store, audit)
        return Killed(pid, settled, await unfinished_count(store, audit))
    finally:
        await store.close()


def begun(sightings: Sequence[Sighting]) -> list[tuple[str, str]]:
    """The calls that began, in order, each as often as it did."""
    return [sighting.call for sighting in sightings if sighting.phase == "begin"]


def weigh(
    sightings: Sequence[Sighting], killed: Killed, expected: int, *, reports_equal: bool
) -> Evidence:
    """What the witness saw, held against what had settled.

    Args:
        sightings: Of the killed process and of the one after it.
        killed: What the kill left behind.
        expected: Calls of the audit without a crash.
        reports_equal: Whether both audits came to the same report.
    """
    before = begun([s for s in sightings if s.pid == killed.pid])
    after = begun([s for s in sightings if s.pid != killed.pid])
    in_flight = set(before) - killed.settled
    return Evidence(
        calls_without_crash=expected,
        unfinished_runs=killed.unfinished,
        begun_before=len(before),
        settled_before=len(killed.settled),
        in_flight=len(in_flight),
        begun_after=len(after),
        in_flight_again=len(in_flight & set(after)),
        settled_again=[" ".join(call) for call in sorted(killed.settled & set(after))],
        settled_unseen=len(killed.settled - set(before)),
        reports_equal=reports_equal,
    )


def _is_equal(report: AuditReport, other: AuditReport) -> bool:
    return (report.packages, report.failed) == (other.packages, other.failed)


def _make_empty(witness: Path) -> None:
    try:
        if witness.exists() and not is_witness(witness.read_bytes()):
            msg = f"{witness} is in the way: it is no witness file, and it would be overwritten"
            raise UsageError(msg)
        witness.write_bytes(b"")
    except OSError as error:
        problem = f"its witness file cannot be written: {error.strerror}; take another path"
        raise StoreUnavailableError(str(witness), problem) from error


def _show_evidence(evidence: Evidence, witness: Path) -> None:
    rows = [
        ("calls of the audit without a crash", str(evidence.calls_without_crash)),
        ("killed by SIGKILL: calls that had begun", str(evidence.begun_before)),
        ("- settled: their outcome was on record", str(evidence.settled_before)),
        ("- in flight", str(evidence.in_flight)),
        ("- runs that had not ended", str(evidence.unfinished_runs)),
        ("started again: calls that began", str(evidence.begun_after)),
        ("- in flight at the kill, run again", str(evidence.in_flight_again)),
        ("- settled calls executed twice", str(len(evidence.settled_again))),
    ]
    table(f"crash, counted from {witness}", ("what", "count"), rows, ("count",))
    for call in evidence.settled_again:
        say(f"executed twice: {call}")
    if evidence.settled_unseen:
        say(f"{evidence.settled_unseen} settled calls are unknown to the witness")
    equality = "equal to" if evidence.reports_equal else "NOT EQUAL to"
    say(f"the report is {equality} the one without a crash")
