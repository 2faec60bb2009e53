"""What several commands read from the command line, and how."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from durable_agents.worker import WorkerSettings

__all__ = [
    "Bounds",
    "add_agent",
    "add_bounds",
    "add_run_id",
    "add_store",
    "add_target",
    "as_json",
    "named_count",
    "positive",
    "seconds",
]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a worker may do at the same time, as far as the command line says."""

    concurrency: int
    async_threads: int | None
    sync_threads: int | None
    limit: list[tuple[str, int]]

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Bounds":
        """Those of a command that declared them by `add_bounds`."""
        return cls(
            arguments.concurrency,
            arguments.async_threads,
            arguments.sync_threads,
            arguments.limit,
        )

    def settings(self, *, shutdown_grace_seconds: float) -> WorkerSettings:
        """Settings of a worker; what the command line does not say stays at its default."""
        threads: dict[str, Any] = {
            "num_async_threads": self.async_threads,
            "num_sync_threads": self.sync_threads,
        }
        return WorkerSettings(
            max_concurrent_runs=self.concurrency,
            limits=dict(self.limit),
            shutdown_grace_seconds=shutdown_grace_seconds,
            **{name: count for name, count in threads.items() if count is not None},
        )

    def words(self) -> list[str]:
        """The same as arguments of another command."""
        threads = {"async": self.async_threads, "sync": self.sync_threads}
        return [
            f"--concurrency={self.concurrency}",
            *(f"--{kind}-threads={n}" for kind, n in threads.items() if n is not None),
            *(f"--limit={name}={count}" for name, count in self.limit),
        ]


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


def add_agent(parser: argparse.ArgumentParser) -> None:
    """Declare what agent is run, over which inputs, in which order."""
    add_target(parser)
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="FILE", help="the inputs, JSON lines")
    add(
        "--key",
        metavar="FIELD",
        help="field that inputs are ordered by, dotted where it lies deeper: of one value, one "
        "run at a time, in the order of the lines (default: ordered with nobody)",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """Declare the argument that names an agent."""
    parser.add_argument(
        "agent",
        metavar="MODULE:AGENT",
        help="the agent: an import path or the path of a .py file, then the name of an Agent, "
        "of a subclass, or of a function that makes one",
    )


def add_bounds(parser: argparse.ArgumentParser, *, concurrency: int) -> None:
    """Declare the options that `Bounds` holds.

    Args:
        parser: Of the command.
        concurrency: Most runs at the same time where nothing else is said.
    """
    add = parser.add_argument
    add(
        "--concurrency",
        type=positive,
        default=concurrency,
        metavar="N",
        help="most runs at the same time (default: %(default)s)",
    )
    add(
        "--async-threads",
        type=positive,
        metavar="N",
        help="most durable calls in flight, num_async_threads of the settings (default: 256)",
    )
    add(
        "--sync-threads",
        type=positive,
        metavar="N",
        help="threads for durable functions that are plain def, num_sync_threads of the "
        "settings (default: twice the number of CPUs)",
    )
    add(
        "--limit",
        type=named_count,
        action="append",
        default=[],
        metavar="NAME=N",
        help="bound on calls in flight of functions that declare this limit; may be repeated",
    )


def add_store(parser: argparse.ArgumentParser) -> None:
    """Declare the option that names the store of a command that runs nothing."""
    parser.add_argument(
        "--store", type=Path, required=True, metavar="FILE", help="the store; must exist"
    )


def add_run_id(parser: argparse.ArgumentParser) -> None:
    """Declare the argument that names a run."""
    parser.add_argument("id_of_run", metavar="RUN", help="id of the run")


def as_json(text: str) -> object:
    """A value written as JSON, for argparse."""
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        msg = f"{text!r} is no JSON: {error}"
        raise argparse.ArgumentTypeError(msg) from error
    return value
