"""The rows of the conformance table, and what a run of the tests says about each.

One file per group, `rows/<group>.toml`: the title of the group, then a table per row with its
title and, where no test is to show it, the reason:

    title = "Identity of a durable call"

    [ID-01]
    title = "a function is named by its module and qualified name"

    [ID-99]
    title = "..."
    not_applicable = "the decision of the design that says otherwise"

    [ID-100]
    title = "..."
    later = "the subject that the row comes with"
"""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

__all__ = [
    "Evidence",
    "Group",
    "Outcome",
    "Row",
    "Standing",
    "faults",
    "read_groups",
    "standing",
    "summary",
]

Standing: TypeAlias = Literal["proved", "not applicable", "due later", "open"]
Outcome: TypeAlias = Literal["passed", "failed", "skipped"]

MOST_NOT_APPLICABLE = 0.12
"""Share of the rows that the design may decide otherwise before the table says little."""


@dataclass(frozen=True)
class Row:
    """One behaviour that is to hold."""

    id: str
    title: str
    not_applicable: str = ""
    """Why no test is to show it; empty for a row that must be shown."""
    later: str = ""
    """The subject that brings it; empty for a row that is due."""


@dataclass(frozen=True)
class Group:
    """Rows about one subject."""

    prefix: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Evidence:
    """A test that is marked with rows, and how it ended."""

    test: str
    rows: frozenset[str]
    outcome: Outcome


def read_groups(folder: Path) -> list[Group]:
    """Read every group, in the order of their prefixes.

    Raises:
        ValueError: A row has another prefix than its file, no title, an unknown field or two
            reasons not to be shown.
    """
    return [_read_group(path) for path in sorted(folder.glob("*.toml"))]


def _read_group(path: Path) -> Group:
    prefix = path.stem.upper()
    content = tomllib.loads(path.read_text())
    title = content.pop("title")
    return Group(prefix, title, tuple(_row(prefix, *item) for item in content.items()))


def _row(prefix: str, name: str, fields: dict[str, str]) -> Row:
    fits = name.startswith(f"{prefix}-") and fields.get("title")
    known = fields.keys() <= {"title", "not_applicable", "later"}
    if not fits or not known or {"not_applicable", "later"} <= fields.keys():
        message = (
            f"{name}: a row of {prefix} with a title and at most one of not_applicable, later"
        )
        raise ValueError(message)
    return Row(name, **fields)


def standing(row: Row, evidence: Iterable[Evidence]) -> Standing:
    """Say where a row stands; one test that did not pass leaves it open."""
    outcomes = {each.outcome for each in evidence if row.id in each.rows}
    if outcomes:
        return "proved" if outcomes == {"passed"} else "open"
    if row.not_applicable:
        return "not applicable"
    return "due later" if row.later else "open"


def faults(groups: Sequence[Group], evidence: Sequence[Evidence]) -> Iterator[str]:
    """Name everything that keeps the table from holding, one sentence each."""
    rows = [row for group in groups for row in group.rows]
    known = {row.id for row in rows}
    excused = {row.id for row in rows if row.not_applicable or row.later}
    for each in evidence:
        if each.outcome != "passed":
            yield f"{each.test} {each.outcome}: it is to show {_listed(each.rows)}"
        if unknown := each.rows - known:
            yield f"{each.test} names rows that the table lacks: {_listed(unknown)}"
        if both := each.rows & excused:
            yield f"{each.test} shows rows that the table excuses: {_listed(both)}"
    if still_open := [row.id for row in rows if standing(row, evidence) == "open"]:
        yield f"open: {_listed(still_open)}"
    decided = sum(bool(row.not_applicable) for row in rows)
    if decided > MOST_NOT_APPLICABLE * len(rows):
        most = f"{MOST_NOT_APPLICABLE:.0%}"
        yield f"{decided} of {len(rows)} rows are not applicable: over {most}"


def summary(groups: Sequence[Group], evidence: Sequence[Evidence]) -> Iterator[str]:
    """Lines of a table: per group and in total, how many rows stand where."""
    yield f"{'':<44}{'proved':>8}{'n/a':>6}{'later':>7}{'open':>6}"
    total = dict.fromkeys(get_args(Standing), 0)
    for group in groups:
        standings = {row.id: standing(row, evidence) for row in group.rows}
        counts = {each: list(standings.values()).count(each) for each in total}
        still_open = _listed(id_ for id_, each in standings.items() if each == "open")
        yield f"{_counted(f'{group.prefix:<5}{group.title}', counts)}  {still_open}".rstrip()
        total = {each: total[each] + count for each, count in counts.items()}
    yield _counted(f"total of {sum(total.values())}", total)


def _counted(name: str, counts: dict[str, int]) -> str:
    widths = zip(counts.values(), (8, 6, 7, 6), strict=True)
    return f"{name:<44}" + "".join(f"{count:>{width}}" for count, width in widths)


def _listed(rows: Iterable[str]) -> str:
    return ", ".join(sorted(rows))
