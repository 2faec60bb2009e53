"""`durable-agents fork`: make a run that goes another way from some call on."""

import argparse
from typing import Any

import msgspec

from durable_agents.cli._exit import ExitCode, UsageError
from durable_agents.cli._options import add_run_id, add_store, as_json
from durable_agents.cli._show import say
from durable_agents.cli._steer import STEERING, steer
from durable_agents.worker import ForkRun, fork_id

__all__ = ["add_fork"]

_DESCRIPTION = f"""\
Make a run of another one: it has the same input and key, and on its record what had settled
before the call; the call is made again, or has the result that is given. The other run stays as
it is. `durable-agents show RUN --json` tells the ids of calls. Effects behind the call are
made once more.
{STEERING}"""


def add_fork(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "fork",
        help="make a run that goes another way from some call on",
        description=_DESCRIPTION,
    )
    add_run_id(parser)
    parser.add_argument(
        "call", nargs="?", metavar="CALL", help="id of the call (default: from the beginning)"
    )
    add_store(parser)
    outcome = parser.add_mutually_exclusive_group()
    outcome.add_argument(
        "--value",
        type=as_json,
        default=msgspec.UNSET,
        metavar="JSON",
        help="what the call returns in the new run (default: it is made again)",
    )
    outcome.add_argument("--error", metavar="TEXT", help="why the call fails in the new run")
    parser.add_argument(
        "--id", metavar="ID", help="id of the new run (default: one is made up)"
    )
    parser.set_defaults(run=_fork)


def _fork(arguments: argparse.Namespace) -> ExitCode:
    run, call = arguments.id_of_run, arguments.call
    has_outcome = arguments.value is not msgspec.UNSET or arguments.error is not None
    if call is None and has_outcome:
        msg = "say which call has this outcome: fork RUN CALL"
        raise UsageError(msg)
    new_id = fork_id(run) if arguments.id is None else arguments.id
    command = ForkRun(run, new_id, call, value=arguments.value, error=arguments.error)
    done = steer(arguments.store, command, "")
    told = "its worker has it" if done.by_owner else "the next worker takes it up"
    if not done.affected:
        told = "it was made before"
    say(f"run {new_id} is forked from run {run}: {told}")
    return ExitCode.DONE
