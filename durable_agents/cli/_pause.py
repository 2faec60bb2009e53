"""`durable-agents pause` and `resume`: whether further runs of an agent start."""

import argparse
from typing import Any

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_store
from durable_agents.cli._show import printable, say
from durable_agents.cli._steer import STEERING, steer
from durable_agents.worker import PauseAgent, ResumeAgent

__all__ = ["add_pause", "add_resume"]

_PAUSE = f"""\
Let no further run of an agent start, or none of one key. Runs that are under way go on, inputs
are accepted and wait. It holds over restarts; `durable-agents runs` lists what is paused.
{STEERING}"""
_RESUME = f"""\
Let runs start again that `pause` held back. Without a key, keys that are paused themselves stay
so.
{STEERING}"""


def add_pause(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "pause", help="let no further run of an agent or a key start", description=_PAUSE
    )
    _add_what(parser)
    parser.add_argument(
        "--reason",
        type=_text,
        default="paused by a person",
        metavar="TEXT",
        help="kept with the pause",
    )
    parser.set_defaults(run=_pause)


def add_resume(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options; see `add_pause`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "resume", help="let runs start again that were paused", description=_RESUME
    )
    _add_what(parser)
    parser.set_defaults(run=_resume)


def _add_what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("agent", type=_text, metavar="AGENT", help="name of the agent, as `runs` has it")
    add("--key", type=_text, metavar="K", help="only runs of this key (default: all)")
    add_store(parser)


def _text(text: str) -> str:
    text.encode()  # or argparse says that it is invalid
    return text


def _what(arguments: argparse.Namespace) -> str:
    key = arguments.key
    return f"agent {arguments.agent}" + ("" if key is None else f", key {key},")


def _pause(arguments: argparse.Namespace) -> ExitCode:
    command = PauseAgent(arguments.agent, arguments.reason, arguments.key)
    steer(arguments.store, command, "")
    say(printable(f"{_what(arguments)} is paused: {command.reason}"))
    return ExitCode.DONE


def _resume(arguments: argparse.Namespace) -> ExitCode:
    done = steer(arguments.store, ResumeAgent(arguments.agent, arguments.key), "")
    told = "goes on" if done.affected else "was not paused"
    say(printable(f"{_what(arguments)} {told}"))
    return ExitCode.DONE
