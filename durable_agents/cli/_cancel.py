"""`durable-agents cancel`: give a run up."""

import argparse
from typing import Any

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_run_id, add_store
from durable_agents.cli._steer import STEERING, steer
from durable_agents.worker import CancelRun

__all__ = ["add_cancel"]

_DESCRIPTION = f"""\
Give a run up. An action that runs is told to stop, and may clean up; a run that waits, is
parked or failed ends at once. What completed stays.
{STEERING}"""


def add_cancel(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "cancel", help="give a run up", description=_DESCRIPTION
    )
    add_run_id(parser)
    add_store(parser)
    parser.add_argument(
        "--reason", default="cancelled by a person", metavar="TEXT", help="kept with the run"
    )
    parser.set_defaults(run=_cancel)


def _cancel(arguments: argparse.Namespace) -> ExitCode:
    command = CancelRun(arguments.id_of_run, arguments.reason)
    steer(arguments.store, command, f"run {command.run} is to be cancelled")
    return ExitCode.DONE
