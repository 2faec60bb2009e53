"""`durable-agents prune`: forget runs that have ended."""

import argparse
import re
from typing import Any

from durable_agents.cli._exit import ExitCode, UsageError
from durable_agents.cli._options import add_store
from durable_agents.cli._show import say
from durable_agents.cli._steer import STEERING, steer
from durable_agents.worker import PruneRuns

__all__ = ["add_prune"]

_DESCRIPTION = f"""\
Forget runs that have ended, with their journals and outputs. Their ids are forgotten, too: an
input file that is run again over the store has its pruned lines run again. Outputs that a named
consumer has not acknowledged keep their runs.
{STEERING}"""
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")


def add_prune(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "prune", help="forget runs that have ended", description=_DESCRIPTION
    )
    add_store(parser)
    parser.add_argument(
        "--older-than",
        type=_duration,
        metavar="DURATION",
        help="only runs that ended so long ago: 90s, 30m, 12h, 7d, 2w",
    )
    parser.add_argument(
        "--keep", type=_count, metavar="N", help="keep the N newest of them, however old"
    )
    parser.add_argument(
        "--failed",
        action="store_true",
        help="forget failed runs, too (default: they wait for a person)",
    )
    parser.set_defaults(run=_prune)


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no duration such as 90s, 30m, 12h, 7d or 2w"
        raise argparse.ArgumentTypeError(msg)
    return float(match[1]) * _SECONDS[match[2]]


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        msg = f"{number} is less than 0"
        raise ValueError(msg)
    return number


def _prune(arguments: argparse.Namespace) -> ExitCode:
    if arguments.older_than is None and arguments.keep is None:
        msg = "say what to keep: --older-than DURATION, --keep N, or both"
        raise UsageError(msg)
    command = PruneRuns(arguments.older_than, arguments.keep, arguments.failed)
    done = steer(arguments.store, command, "")
    say(f"{done.affected or 0:,} runs forgotten")
    return ExitCode.DONE
