"""`durable-agents runs`: which runs a store holds."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import msgspec

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_store, positive
from durable_agents.cli._reasons import reason_of
from durable_agents.cli._show import printable, say, table
from durable_agents.cli._values import moment, shortened
from durable_agents.journal import RunStatus
from durable_agents.store import SqliteReader

__all__ = ["add_runs"]

_DESCRIPTION = """\
List the runs of a store, the newest first. The store is opened read-only, also while a worker
owns it. A run that has been accepted and has not ended is "accepted", whether or not it runs
at this moment.
"""
_HEADS = ("run", "agent", "key", "status", "reason")
_LONGEST_REASON = 60


class _ListedRun(msgspec.Struct, frozen=True):
    run: str
    agent: str
    key: str
    status: str
    reason: str
    """Why it failed, is parked or was cancelled."""


class _ListedPause(msgspec.Struct, frozen=True):
    agent: str
    key: str | None
    """None: whatever the key."""
    reason: str
    at: float
    """Seconds since 1970-01-01 UTC."""


class _Listing(msgspec.Struct, frozen=True):
    """What `runs --json` writes."""

    store: str
    counts: dict[str, int]
    """Runs of the whole store by status."""
    runs: list[_ListedRun]
    paused: list[_ListedPause]
    """What no further run starts of."""


def add_runs(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "runs", help="list the runs of a store", description=_DESCRIPTION
    )
    add_store(parser)
    names = [status.name.lower() for status in RunStatus]
    parser.add_argument(
        "--status", choices=names, metavar="S", help=f"only these: {', '.join(names)}"
    )
    parser.add_argument("--key", metavar="K", help="only runs submitted with this key")
    parser.add_argument(
        "--limit", type=positive, default=20, metavar="N", help="most runs (default: 20)"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    parser.set_defaults(run=_runs)


def _runs(arguments: argparse.Namespace) -> ExitCode:
    status = None if arguments.status is None else RunStatus[arguments.status.upper()]
    listing = asyncio.run(_listing(arguments.store, status, arguments.key, arguments.limit))
    if arguments.json:
        say(msgspec.json.encode(listing).decode())
        return ExitCode.DONE
    rows = [
        (r.run, r.agent, r.key, r.status, shortened(r.reason, _LONGEST_REASON))
        for r in listing.runs
    ]
    table(f"runs in {listing.store}, the newest first", _HEADS, rows)
    for pause in listing.paused:
        what = "all keys" if pause.key is None else f"key {pause.key}"
        text = f"paused since {moment(pause.at)}: agent {pause.agent}, {what}: {pause.reason}"
        say(printable(text))
    counts = [f"{count:,} {name}" for name, count in listing.counts.items()]
    say(f"{len(rows):,} of {sum(listing.counts.values()):,} runs: {', '.join(counts) or '-'}")
    return ExitCode.DONE


async def _listing(
    store: Path, status: RunStatus | None, key: str | None, limit: int
) -> _Listing:
    async with SqliteReader(store) as reader:
        counts = await reader.status_counts()
        runs: list[_ListedRun] = []
        for row in await reader.latest_runs(status=status, key=key, limit=limit):
            has_reason = row.status not in {RunStatus.ACCEPTED, RunStatus.COMPLETED}
            reason = await reason_of(reader, row.number) if has_reason else ""
            name = row.status.name.lower()
            runs.append(_ListedRun(row.run_id, row.agent, row.key, name, reason))
        named = {status.name.lower(): count for status, count in sorted(counts.items())}
        pauses = await reader.pauses()
        paused = [_ListedPause(p.agent, p.key, p.reason, p.at) for p in pauses]
        return _Listing(str(store), named, runs, paused)
