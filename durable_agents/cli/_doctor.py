"""`durable-agents doctor`: whether a store is whole, and what it lies on."""

import argparse
import pwd
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_store
from durable_agents.cli._show import Row, say, table
from durable_agents.store import Damage, Examination, examine

__all__ = ["add_doctor"]

_DESCRIPTION = """\
Look at everything in a store, and say what is damaged and what to do. The store is opened
read-only, also while a worker owns it; nothing is repaired. No code of the agent is loaded:
pickles and sealed values are checked by their checksums alone. Exit code 0: healthy, 3:
damaged.
"""
_PACKAGE = "durable-agents-asyncio"
_MOST_SHOWN = 50
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_KIB = 1024


class _Report(msgspec.Struct, frozen=True):
    """What `doctor --json` writes."""

    store: str
    package: str
    """Version of this package."""
    is_healthy: bool
    found: Examination


def add_doctor(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor", help="check everything in a store", description=_DESCRIPTION
    )
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> ExitCode:
    found = examine(arguments.store)
    report = _Report(str(arguments.store), _version(), not found.damage, found)
    if arguments.json:
        say(msgspec.json.encode(report).decode())
    else:
        _show(report)
    return ExitCode.DONE if report.is_healthy else ExitCode.STORE


def _show(report: _Report) -> None:
    found = report.found
    table(f"{report.store}", ("fact", "value"), _facts(report))
    if not found.damage:
        say("healthy: nothing is damaged")
        return
    rows = [(d.run or "-", d.problem) for d in found.damage[:_MOST_SHOWN]]
    table("damaged", ("run", "problem"), rows)
    if len(found.damage) > _MOST_SHOWN:
        say(f"... and {len(found.damage) - _MOST_SHOWN:,} more (--json lists all)")
    for move in _moves(found.damage):
        say(f"what to do: {move}")


def _facts(report: _Report) -> list[Row]:
    found, file = report.found, report.found.file
    private = "private" if file.is_private else "others may read or write it: chmod 600"
    runs = ", ".join(f"{count:,} {name}" for name, count in sorted(found.runs.items()))
    return [
        ("package", report.package),
        ("schema", str(file.schema)),
        ("SQLite library", file.sqlite),
        ("journal mode", file.journal_mode),
        ("journal mode if shared", f"{file.shared_journal_mode}: {file.shared_reason}"),
        ("sync mode", "not kept in the file: full, unless its worker says normal"),
        ("permissions", f"{file.mode} ({private})"),
        ("owner", _user(file.owner)),
        ("file system", file.file_system or "unknown"),
        ("free space", _size(file.free_bytes)),
        ("size", f"{_size(file.file_bytes)}, write-ahead log {_size(file.wal_bytes)}"),
        ("runs", runs or "none"),
        ("entries", f"{found.entries:,}"),
        ("blobs", f"{found.blobs:,}"),
        ("outputs", f"{found.outputs:,}"),
        ("checked by checksum alone", f"{found.sealed:,} values"),
    ]


def _moves(damage: list[Damage]) -> list[str]:
    return list(dict.fromkeys(d.next_move for d in damage))


def _version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "not installed"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _size(count: int) -> str:
    size, unit = float(count), 0
    while size >= _KIB and unit < len(_UNITS) - 1:
        size, unit = size / _KIB, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
