"""What people see: lines, a progress bar, tables.

With rich (the extra `cli`) and on a terminal they are drawn; anywhere else they are plain text,
so that a pipe gets no control characters and no column is cut. Rich is imported where it is
used: a program that is told `--json` needs none of it.
"""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TextIO, TypeAlias

__all__ = ["Progress", "Row", "printable", "progress", "say", "table"]

Progress: TypeAlias = Callable[[int], None]
"""Told how much is done by now."""

Row: TypeAlias = Sequence[str]

_LINES_OF_PROGRESS = 10


def say(text: str, to: TextIO | None = None) -> None:
    """Write a line, to standard output unless told otherwise."""
    stream = sys.stdout if to is None else to
    stream.write(f"{text}\n")
    stream.flush()


def printable(text: str) -> str:
    """A text that does nothing to a terminal: what is recorded may hold any character."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def progress(
    what: str, total: int | None, *, is_quiet: bool
) -> AbstractContextManager[Progress]:
    """Show on standard error how far something is, while inside.

    Args:
        what: What is being done, in a few words.
        total: How much there is to do; None where nobody knows yet.
        is_quiet: Show nothing.
    """
    if is_quiet:
        return nullcontext(lambda _done: None)
    if find_spec("rich") is not None and sys.stderr.isatty():
        return _bar(what, total)
    return _lines(what, total)


@contextmanager
def _bar(what: str, total: int | None) -> Generator[Progress]:
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as RichProgress  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def _lines(what: str, total: int | None) -> Generator[Progress]:
    """A line at each tenth of the way."""
    say(f"{what} ...", sys.stderr)
    shown = 0

    def show(done: int) -> None:
        nonlocal shown
        tenth = min(_LINES_OF_PROGRESS * done // total, _LINES_OF_PROGRESS) if total else 0
        if tenth > shown:
            shown = tenth
            say(f"{what}: {done} of {total}", sys.stderr)

    yield show


def table(title: str, heads: Row, rows: Sequence[Row], right: Sequence[str] = ()) -> None:
    """Show rows under their heads on standard output.

    Args:
        title: Line above the table.
        heads: Names of the columns.
        rows: Cells as text, one for each column.
        right: Heads of the columns that are aligned to the right.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    if find_spec("rich") is not None and sys.stdout.isatty():
        _draw(title, heads, shown, right)
    else:
        _write(title, heads, shown, right)


def _draw(title: str, heads: Row, rows: Sequence[Row], right: Sequence[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(title=title, title_justify="left")
    for head in heads:
        drawn.add_column(head, justify="right" if head in right else "left")
    for row in rows:
        # As Text: a name such as "[red]" is a name, not markup.
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def _write(title: str, heads: Row, rows: Sequence[Row], right: Sequence[str]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    say(title)
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        ]
        say("  ".join(cells).rstrip())
