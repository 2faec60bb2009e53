"""What an audit came to, for programs and for people."""

import msgspec

from durable_agents.cli._audit import PackageReport
from durable_agents.cli._environment import FileCheck
from durable_agents.cli._show import Row, say, table

__all__ = ["AuditReport", "Failure", "show_report"]

_HEADS = ("name", "version", "licence", "class", "ok", "missing", "changed")
_NUMBERS = ("ok", "missing", "changed")
_LONGEST_LICENCE = 40
_MOST_PATHS = 10


class Failure(msgspec.Struct, frozen=True):
    """A package whose run failed; the run is kept in the store with its error."""

    name: str
    reason: str


class AuditReport(msgspec.Struct, frozen=True):
    """One audit: what `--json` writes."""

    store: str
    audit: int
    """Number of the audit in its store."""
    packages: list[PackageReport]
    """By name of the package."""
    failed: list[Failure]


def show_report(report: AuditReport, *, as_json: bool) -> None:
    """Write a report to standard output."""
    if as_json:
        say(msgspec.json.encode(report).decode())
        return
    title = f"audit {report.audit}, kept in {report.store}"
    table(title, _HEADS, [_row(package) for package in report.packages], _NUMBERS)
    for package in report.packages:
        if package.files is not None:
            _list(f"{package.name}: missing", package.files.missing)
            _list(f"{package.name}: changed", package.files.changed)
    for failure in report.failed:
        say(f"{failure.name}: failed: {failure.reason}")
    say(_summary(report))


def _row(package: PackageReport) -> Row:
    return (
        package.name,
        package.version,
        _shortened(package.licence.name),
        package.licence.licence_class.value,
        *_counts(package.files),
    )


def _counts(files: FileCheck | None) -> Row:
    if files is None:
        return ("-", "-", "-")
    return (str(files.ok), str(len(files.missing)), str(len(files.changed)))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LICENCE else f"{line[: _LONGEST_LICENCE - 3]}..."


def _list(what: str, paths: list[str]) -> None:
    for path in paths[:_MOST_PATHS]:
        say(f"{what}: {path}")
    if len(paths) > _MOST_PATHS:
        say(f"{what}: and {len(paths) - _MOST_PATHS} more")


def _summary(report: AuditReport) -> str:
    checks = [package.files for package in report.packages if package.files is not None]
    files = FileCheck.sum(checks)
    parts = [
        f"{len(report.packages)} packages",
        f"{files.ok:,} files as recorded",
        f"{len(files.missing)} missing",
        f"{len(files.changed)} changed",
    ]
    if report.failed:
        parts.append(f"{len(report.failed)} failed (--fresh tries again)")
    return ", ".join(parts)
