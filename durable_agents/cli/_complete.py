"""`durable-agents complete`: finish from outside what an action has begun."""

import argparse
from typing import Any

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_store, as_json
from durable_agents.cli._show import say
from durable_agents.cli._steer import STEERING, steer
from durable_agents.journal import promise_of
from durable_agents.worker import CompletePromise

__all__ = ["add_complete"]

_DESCRIPTION = f"""\
Complete a promise of an action, by its id: give it the value that the action waits for, or fail
it. The first completion counts; the same once more changes nothing, another one is refused.
`durable-agents show RUN` has the ids of the promises that a run has made.
{STEERING}"""


def add_complete(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "complete",
        help="finish from outside what an action waits for",
        description=_DESCRIPTION,
    )
    parser.add_argument("promise", metavar="PROMISE", help="id of the promise")
    add_store(parser)
    outcome = parser.add_mutually_exclusive_group()
    outcome.add_argument(
        "--value", type=as_json, metavar="JSON", help="what it comes to (default: null)"
    )
    outcome.add_argument("--error", metavar="TEXT", help="it fails, and this is why")
    parser.set_defaults(run=_complete)


def _complete(arguments: argparse.Namespace) -> ExitCode:
    run, call = promise_of(arguments.promise)
    command = CompletePromise(arguments.promise, arguments.value, arguments.error)
    done = steer(arguments.store, command, "")
    told = "its worker has it" if done.by_owner else "the next worker takes it up"
    if not done.affected:
        told = "it was completed so before"
    say(f"promise {call} of run {run}: {told}")
    return ExitCode.DONE
