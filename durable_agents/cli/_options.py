"""What several commands read from the command line, and how."""

import argparse
from pathlib import Path

__all__ = ["add_run_id", "add_store", "named_count", "positive", "seconds"]


def positive(text: str) -> int:
    """A whole number from 1 on.

    Raises:
        ValueError: It is none.
    """
    number = int(text)
    if number < 1:
        msg = f"{number} is less than 1"
        raise ValueError(msg)
    return number


def named_count(text: str) -> tuple[str, int]:
    """A name and a whole number from 1 on, as in `payments=5`.

    Raises:
        ValueError: It is something else.
    """
    name, equals, count = text.partition("=")
    if not (name and equals):
        msg = f"{text!r} is not NAME=N"
        raise ValueError(msg)
    return name, positive(count)


def seconds(text: str) -> float:
    """A number of seconds, not negative.

    Raises:
        ValueError: It is none.
    """
    number = float(text)
    if not number >= 0:
        msg = f"{text} is less than 0"
        raise ValueError(msg)
    return number


def add_store(parser: argparse.ArgumentParser) -> None:
    """Declare the option that names the store of a command that runs nothing."""
    parser.add_argument(
        "--store", type=Path, required=True, metavar="FILE", help="the store; must exist"
    )


def add_run_id(parser: argparse.ArgumentParser) -> None:
    """Declare the argument that names a run."""
    parser.add_argument("id_of_run", metavar="RUN", help="id of the run")
