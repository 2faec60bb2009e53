"""`durable-agents show`: what one run has done."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import msgspec

from durable_agents.cli._exit import ExitCode, UsageError
from durable_agents.cli._options import add_run_id, add_store
from durable_agents.cli._show import Row, printable, say, table
from durable_agents.cli._timeline import RunView, Step, view_of
from durable_agents.cli._values import shortened
from durable_agents.store import SqliteReader, state_of

__all__ = ["add_show"]

_DESCRIPTION = """\
Show what a run has done: its actions and durable calls in order, its outputs, and why it failed
or is parked. A call that was begun and has not settled is in doubt. The store is opened
read-only, also while a worker owns it; no code of the agent is loaded, and values of its
classes are shown as data.
"""
_HEADS = ("after", "what", "action", "place", "call", "status", "attempt", "took", "detail")
_NUMBERS = ("after", "attempt", "took")
_LONGEST = 60
_LONGEST_VALUE = 200


def add_show(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "show", help="show what one run has done", description=_DESCRIPTION
    )
    add_run_id(parser)
    add_store(parser)
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    parser.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> ExitCode:
    view = asyncio.run(_view(arguments.store, arguments.id_of_run))
    if arguments.json:
        say(msgspec.json.encode(view).decode())
        return ExitCode.DONE
    say(printable(f"run {view.run} of agent {view.agent}, key {view.key}: {view.status}"))
    if view.reason:
        say(printable(f"reason: {view.reason}"))
    say(f"input: {_value(view.input)}")
    table("", _HEADS, [_row(step, view) for step in view.steps], _NUMBERS)
    for number, output in enumerate(view.outputs, start=1):
        say(f"output {number}: {_value(output)}")
    return ExitCode.DONE


async def _view(store: Path, run_id: str) -> RunView:
    async with SqliteReader(store) as reader:
        row = await reader.find(run_id)
        if row is None:
            msg = f"there is no run {run_id!r} in {store}: `durable-agents runs` lists them"
            raise UsageError(msg)
        await state_of(reader, row.number)  # says so where its journal is not whole
        return view_of(
            row, await reader.journal(row.number), await reader.outputs_of(row.number)
        )


def _row(step: Step, view: RunView) -> Row:
    return (
        f"{step.at - view.accepted_at:.3f} s",
        step.what,
        step.action,
        step.place,
        shortened(step.call, _LONGEST),
        step.status,
        "" if step.attempt is None else str(step.attempt),
        "" if step.seconds is None else f"{step.seconds:.3f} s",
        shortened(step.detail, _LONGEST),
    )


def _value(raw: msgspec.Raw) -> str:
    return printable(shortened(bytes(raw).decode(), _LONGEST_VALUE))
