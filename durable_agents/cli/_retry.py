"""`durable-agents retry`: put a failed or parked run back to work, or all that failed."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from durable_agents.cli._exit import ExitCode, UsageError
from durable_agents.cli._options import add_store, positive
from durable_agents.cli._reasons import reason_of
from durable_agents.cli._show import say, table
from durable_agents.cli._steer import STEERING, steer
from durable_agents.cli._values import shortened
from durable_agents.journal import RunStatus
from durable_agents.store import SqliteReader
from durable_agents.worker import RetryRun, RetryRuns

__all__ = ["add_retry"]

_DESCRIPTION = f"""\
Put a failed or parked run back to work: what had not completed starts again, and settled calls
are not repeated. A failed run goes to the end of the line of its key. With --all-failed, the
failed runs of the store are listed and put back, those that were accepted first before others.
{STEERING}"""
_HEADS = ("run", "agent", "key", "reason")
_LONGEST_REASON = 60
_RUNS_AT_ONCE = 500
"""In one command: a worker does other things in between."""


class _DeadLetter(NamedTuple):
    """A run that failed."""

    run: str
    agent: str
    key: str
    reason: str


def add_retry(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "retry", help="put a failed or parked run back to work", description=_DESCRIPTION
    )
    add = parser.add_argument
    add("id_of_run", nargs="?", metavar="RUN", help="id of the run")
    add_store(parser)
    add(
        "--repeat-failed",
        action="store_true",
        help="make those calls again whose failure ended the run: right after an outage "
        "(default: it is handed over again, which is right after a change of the code)",
    )
    add("--all-failed", action="store_true", help="all failed runs instead of one")
    add("--agent", metavar="A", help="of all failed runs, only those of this agent")
    add("--key", metavar="K", help="only those that were submitted with this key")
    add(
        "--error",
        metavar="TEXT",
        help="only those that have this text in their reason",
    )
    add("--limit", type=positive, metavar="N", help="only the first N of them")
    add("--dry-run", action="store_true", help="list them, and put none of them back")
    parser.set_defaults(run=_retry)


def _retry(arguments: argparse.Namespace) -> ExitCode:
    run = arguments.id_of_run
    choice = (arguments.agent, arguments.key, arguments.error, arguments.limit)
    if arguments.all_failed == (run is not None):
        msg = "say which: the id of a run, or --all-failed"
        raise UsageError(msg)
    if arguments.all_failed:
        return _retry_all(arguments)
    if arguments.dry_run or choice != (None,) * len(choice):
        msg = "--agent, --key, --error, --limit and --dry-run go with --all-failed"
        raise UsageError(msg)
    steer(
        arguments.store,
        RetryRun(run, arguments.repeat_failed),
        f"run {run} is put back to work",
    )
    return ExitCode.DONE


def _retry_all(arguments: argparse.Namespace) -> ExitCode:
    store, is_dry = arguments.store, arguments.dry_run
    found = asyncio.run(_dead_letters(store, arguments.agent, arguments.key, arguments.error))
    chosen = found[: arguments.limit]
    rows = [(*letter[:3], shortened(letter.reason, _LONGEST_REASON)) for letter in chosen]
    table(f"failed runs in {store}, the oldest first", _HEADS, rows)
    if is_dry:
        say(f"{len(chosen):,} of {len(found):,} failed runs would be put back to work")
        return ExitCode.DONE
    runs = [letter.run for letter in chosen]
    count = sum(
        steer(store, RetryRuns(some, arguments.repeat_failed), "").affected or 0
        for some in _some(runs)
    )
    say(f"{count:,} of {len(found):,} failed runs are put back to work")
    if count < len(runs):
        say(f"{len(runs) - count:,} had changed meanwhile, and stay as they are", sys.stderr)
    return ExitCode.DONE


def _some(runs: Sequence[str]) -> list[list[str]]:
    starts = range(0, len(runs), _RUNS_AT_ONCE)
    return [list(runs[start : start + _RUNS_AT_ONCE]) for start in starts]


async def _dead_letters(
    store: Path, agent: str | None, key: str | None, error: str | None
) -> list[_DeadLetter]:
    """Failed runs in the order in which they were accepted."""
    async with SqliteReader(store) as reader:
        rows = [
            row
            for status in (RunStatus.FAILED, RunStatus.BLOCKING)
            for row in await reader.latest_runs(status=status, key=key, limit=sys.maxsize)
            if agent in {None, row.agent}
        ]
        rows.sort(key=lambda row: row.number)
        letters = [
            _DeadLetter(row.run_id, row.agent, row.key, await reason_of(reader, row.number))
            for row in rows
        ]
    return [letter for letter in letters if error is None or error in letter.reason]
