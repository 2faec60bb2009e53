"""What `durable-agents run` has to tell at its end."""

from typing import TypeVar

import msgspec

from durable_agents.cli._lines import RefusedLine
from durable_agents.cli._show import printable, say, table
from durable_agents.journal import RunStatus

T = TypeVar("T")

__all__ = ["ChangedLine", "EndedRun", "RunReport", "Tally", "show_run_report"]

_MOST_KEPT = 1000
"""Of each list: a file may have millions of lines, and all of them may be bad."""
_MOST_SHOWN = 20


class EndedRun(msgspec.Struct, frozen=True):
    """A run that did not complete, and why."""

    run: str
    reason: str


class ChangedLine(msgspec.Struct, frozen=True):
    """A line that was another one when the file was read before."""

    line: int
    earlier_run: str
    """The run of what stood there; it stays as it is."""


class RunReport(msgspec.Struct, kw_only=True):
    """What `--json` writes. Of each list the first 1,000 are kept; the counts count all."""

    input: str
    store: str
    output: str | None
    is_finished: bool = False
    """Whether every line was dealt with; False where the command was interrupted."""
    lines: int = 0
    """Lines that are not empty, as far as they were dealt with."""
    completed: int = 0
    completed_before: int = 0
    """Of the completed ones, those that an earlier command had finished."""
    failed: int = 0
    parked: int = 0
    cancelled: int = 0
    waiting: int = 0
    """Runs that wait behind a parked run of their key."""
    refused: int = 0
    changed: int = 0
    failed_runs: list[EndedRun] = msgspec.field(default_factory=list[EndedRun])
    parked_runs: list[EndedRun] = msgspec.field(default_factory=list[EndedRun])
    refused_lines: list[RefusedLine] = msgspec.field(default_factory=list[RefusedLine])
    changed_lines: list[ChangedLine] = msgspec.field(default_factory=list[ChangedLine])

    @property
    def is_good(self) -> bool:
        """Whether nothing is left for a person to look at."""
        return not (self.failed or self.parked or self.waiting or self.refused)


class Tally:
    """Counts while the lines are worked on.

    Args:
        report: What is filled in.
    """

    def __init__(self, report: RunReport) -> None:
        self.report = report

    def refuse(self, line: RefusedLine) -> None:
        """A line cannot be submitted."""
        report = self.report
        report.lines += 1
        report.refused += 1
        _keep(report.refused_lines, line)

    def change(self, line: ChangedLine) -> None:
        """A line was another one before."""
        self.report.changed += 1
        _keep(self.report.changed_lines, line)

    def begin(self, run_id: str) -> None:
        """A line's input is about to be submitted; who takes the time does it here."""

    def end(self, run_id: str, status: RunStatus, reason: str = "") -> None:
        """A run has come to its end, or to where it waits for a person."""
        report = self.report
        report.lines += 1
        match status:
            case RunStatus.COMPLETED:
                report.completed += 1
            case RunStatus.FAILED:
                report.failed += 1
                _keep(report.failed_runs, EndedRun(run_id, reason))
            case RunStatus.PARKED:
                report.parked += 1
                _keep(report.parked_runs, EndedRun(run_id, reason))
            case RunStatus.CANCELLED:
                report.cancelled += 1
            case _:
                report.waiting += 1

    @property
    def needs_reasons(self) -> bool:
        """Whether another run that did not complete would still be listed."""
        report = self.report
        return min(len(report.failed_runs), len(report.parked_runs)) < _MOST_KEPT


def _keep(kept: list[T], one: T) -> None:
    if len(kept) < _MOST_KEPT:
        kept.append(one)


def show_run_report(report: RunReport, *, as_json: bool) -> None:
    """Write a report to standard output."""
    if as_json:
        say(msgspec.json.encode(report).decode())
        return
    counts = {
        "completed": report.completed,
        "of them earlier": report.completed_before,
        "failed": report.failed,
        "parked": report.parked,
        "waiting behind a parked run": report.waiting,
        "cancelled": report.cancelled,
        "refused": report.refused,
        "changed since": report.changed,
    }
    always = {"completed", "failed", "refused"}
    rows = [(name, f"{n:,}") for name, n in counts.items() if n or name in always]
    table(f"{report.input}, kept in {report.store}", ("runs", "lines"), rows, ("lines",))
    _list(
        [f"line {r.line}: refused: {r.problem}" for r in report.refused_lines], report.refused
    )
    _list([f"{r.run}: failed: {r.reason}" for r in report.failed_runs], report.failed)
    _list([f"{r.run}: parked: {r.reason}" for r in report.parked_runs], report.parked)
    changed = [
        f"line {c.line}: the same input file changed since: it was run {c.earlier_run}, and is "
        "a new input now"
        for c in report.changed_lines
    ]
    _list(changed, report.changed)


def _list(lines: list[str], count: int) -> None:
    for line in lines[:_MOST_SHOWN]:
        say(printable(line))
    if count > _MOST_SHOWN:
        say(f"... and {count - _MOST_SHOWN:,} more (--json lists the first {_MOST_KEPT:,})")
