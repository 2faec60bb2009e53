"""`durable-agents signal`: send a value to a run that waits for it, now or later."""

import argparse
from typing import Any

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_run_id, add_store, as_json
from durable_agents.cli._show import say
from durable_agents.cli._steer import STEERING, steer
from durable_agents.worker import SignalRun

__all__ = ["add_signal"]

_DESCRIPTION = f"""\
Send a value to a run, for an action of it that waits for a signal of that name; `durable-agents
show RUN` tells what it waits for. A signal may come before anyone waits for it.
{STEERING}"""


def add_signal(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "signal", help="send a value to a run that waits for it", description=_DESCRIPTION
    )
    add_run_id(parser)
    parser.add_argument("name", metavar="NAME", help="of the signal")
    parser.add_argument(
        "value", nargs="?", type=as_json, metavar="JSON", help="what is sent (default: null)"
    )
    parser.add_argument(
        "--id", metavar="ID", help="a second signal of the run with this id is the same signal"
    )
    add_store(parser)
    parser.set_defaults(run=_signal)


def _signal(arguments: argparse.Namespace) -> ExitCode:
    run, name = arguments.id_of_run, arguments.name
    command = SignalRun(run, name, arguments.value, arguments.id)
    done = steer(arguments.store, command, "")
    told = "its worker has it" if done.by_owner else "the next worker takes it up"
    if not done.affected:
        told = "one of this id was sent already"
    say(f"signal {name} for run {run}: {told}")
    return ExitCode.DONE
