"""`durable-agents resolve`: say what became of a call in doubt."""

import argparse
from typing import Any

import msgspec

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_run_id, add_store, as_json
from durable_agents.cli._steer import STEERING, steer
from durable_agents.worker import ResolveCall

__all__ = ["add_resolve"]

_DESCRIPTION = f"""\
Say what became of a call in doubt; its parked run then goes on. `durable-agents show RUN` tells
which calls are in doubt.
{STEERING}"""


def add_resolve(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "resolve", help="say what became of a call in doubt", description=_DESCRIPTION
    )
    add_run_id(parser)
    parser.add_argument(
        "call",
        nargs="?",
        metavar="CALL",
        help="id of the call (default: the only one in doubt)",
    )
    add_store(parser)
    outcome = parser.add_mutually_exclusive_group(required=True)
    outcome.add_argument(
        "--value",
        type=as_json,
        default=msgspec.UNSET,
        metavar="JSON",
        help="it took effect, and this is what it returned",
    )
    outcome.add_argument("--error", metavar="TEXT", help="it failed, and this is why")
    outcome.add_argument(
        "--rerun", action="store_true", help="it did not take effect: make it again"
    )
    parser.set_defaults(run=_resolve)


def _resolve(arguments: argparse.Namespace) -> ExitCode:
    command = ResolveCall(
        arguments.id_of_run,
        arguments.call,
        value=arguments.value,
        error=arguments.error,
        rerun=arguments.rerun,
    )
    steer(arguments.store, command, f"run {command.run} goes on")
    return ExitCode.DONE
