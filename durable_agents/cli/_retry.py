"""`durable-agents retry`: put a failed or parked run back to work."""

import argparse
from typing import Any

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_run_id, add_store
from durable_agents.cli._steer import STEERING, steer
from durable_agents.worker import RetryRun

__all__ = ["add_retry"]

_DESCRIPTION = f"""\
Put a failed or parked run back to work: what had not completed starts again, and settled calls
are not repeated. A failed run goes to the end of the line of its key.
{STEERING}"""


def add_retry(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "retry", help="put a failed or parked run back to work", description=_DESCRIPTION
    )
    add_run_id(parser)
    add_store(parser)
    parser.add_argument(
        "--repeat-failed",
        action="store_true",
        help="make those calls again whose failure ended the run: right after an outage "
        "(default: it is handed over again, which is right after a change of the code)",
    )
    parser.set_defaults(run=_retry)


def _retry(arguments: argparse.Namespace) -> ExitCode:
    command = RetryRun(arguments.id_of_run, arguments.repeat_failed)
    steer(arguments.store, command, f"run {command.run} is put back to work")
    return ExitCode.DONE
