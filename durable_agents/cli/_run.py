"""`durable-agents run`: an agent over a file of inputs, from where it stopped to the end."""

import argparse
import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from durable_agents.agent import Agent, AgentPlan
from durable_agents.cli._agents import load_agent
from durable_agents.cli._exit import ExitCode, UsageError
from durable_agents.cli._feed import Feed
from durable_agents.cli._garbage import collecting_seldom
from durable_agents.cli._lines import InputLines
from durable_agents.cli._options import Bounds, add_agent, add_bounds, seconds
from durable_agents.cli._output_file import OutputFile
from durable_agents.cli._show import progress, say
from durable_agents.cli._stopping import stopping
from durable_agents.cli._tally import RunReport, Tally, show_run_report
from durable_agents.serialization import Codec
from durable_agents.store import RunRow, SqliteReader, SqliteStore, StoreFacts
from durable_agents.worker import Worker

__all__ = ["add_run"]

_SUBMITTED_PER_PLACE = 10
"""Inputs ahead of those that run, so that a busy key seldom keeps others from running."""

_DESCRIPTION = """\
Run an agent over a file of JSON lines, one run for each line. Kill the command at any moment:
the same command goes on where it stopped, and no call that had settled is made again.

A line's run has the id NAME:LINE:DIGEST, made of the input file's name, the number of the line
and a digest of its text; or, with --id, the value of that field. A line whose run has ended is
skipped. A line that was changed since is a new input, and is reported. A line that is no JSON,
that does not fit the agent's input type, or that lacks a field is refused with its number and
the field; the other lines go on.
"""

_EPILOG = """\
The output file has one line for each output of the runs of this input file (with --id: of all
runs of the agent), in the order of their commits:

  {"run": run id, "key": key, "event_id": id of the output within its run, "value": value}

All of it is the same in every life, so that a run that was killed and resumed leaves the same
lines as one that was not, though maybe in another order. After a crash the file is compared
with the store, a torn last line is cut off, and what is missing is added: each output is there
once. A file that is not the output of this store is refused and stays as it is.

exit codes: 0 all runs completed; 1 some failed, are parked or wait behind a parked one, or some
lines were refused (they are listed); 2 usage or definition error; 3 the store or the output
file cannot be used; 130 interrupted (the same command goes on where it stopped)
"""


def add_run(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run an agent over a file of inputs; again, to go on where it stopped",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_files(parser)
    _add_settings(parser)
    parser.add_argument(
        "--json", action="store_true", help="write the report as one JSON object, for programs"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run)


def _add_files(parser: argparse.ArgumentParser) -> None:
    add_agent(parser)
    add = parser.add_argument
    add("--store", type=Path, required=True, metavar="FILE", help="made if it is missing")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="where outputs are written as JSON lines (default: they stay in the store)",
    )
    add("--id", metavar="FIELD", help="field whose value is the run id, distinct in the store")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add_bounds(parser, concurrency=100)
    add = parser.add_argument
    add(
        "--sync",
        choices=("full", "normal"),
        default="full",
        help="full survives a power cut, normal the death of the process (default: full)",
    )
    add(
        "--grace",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="what calls under way get to finish when interrupted (default: %(default)g)",
    )


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options, as they were parsed."""

    agent: str
    input: Path
    key: str | None
    store: Path
    output: Path | None
    id: str | None
    bounds: Bounds
    sync: Literal["full", "normal"]
    grace: float
    json: bool
    quiet: bool

    def same_command(self) -> str:
        """How to go on."""
        words = ["durable-agents", "run", self.agent, "--input", str(self.input)]
        given = {"key": self.key, "store": self.store, "output": self.output, "id": self.id}
        for name, value in given.items():
            if value is not None:
                words += [f"--{name}", str(value)]
        words += self.bounds.words()
        return shlex.join(words)


def _run(arguments: argparse.Namespace) -> ExitCode:
    arguments.bounds = Bounds.of(arguments)
    options = Options(**{
        field.name: getattr(arguments, field.name) for field in fields(Options)
    })
    _check_paths(options)
    agent = load_agent(options.agent)
    lines = InputLines(options.input, options.key, options.id)
    report = asyncio.run(_Command(options, agent, lines).run())
    show_run_report(report, as_json=options.json)
    if not report.is_finished:
        told = f"interrupted; `{options.same_command()}` goes on where it stopped"
        say(told, sys.stderr)
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if report.is_good else ExitCode.FAILED


def _check_paths(options: Options) -> None:
    """Refuse one file in two roles: the one would be written over the other."""
    roles = {"--input": options.input, "--store": options.store, "--output": options.output}
    seen: dict[Path, str] = {}
    for role, path in roles.items():
        if path is None:
            continue
        other = seen.setdefault(path.resolve(), role)
        if other != role:
            msg = f"{role} and {other} are the same file, {path}"
            raise UsageError(msg)


class _Command:
    """One run of the command."""

    def __init__(self, options: Options, agent: Agent, lines: InputLines) -> None:
        self._options = options
        self._agent = agent
        self._lines = lines
        self._codec = Codec()
        self._agent_name = AgentPlan.of(agent).name
        self._reader = SqliteReader(options.store)

    async def run(self) -> RunReport:
        """Deal with every line, or with those before an interrupt.

        Raises:
            OutputError: The output file cannot be written any more.
            StoreError: The store cannot be opened, or fails.
            UsageError: The output file is not one of this store.
        """
        options = self._options
        output = None if options.output is None else str(options.output)
        report = RunReport(input=self._lines.name, store=str(options.store), output=output)
        async with AsyncExitStack() as closing:
            file = self._output_file()
            if file is not None:
                closing.push_async_callback(file.close)
            store = _CheckedStore(options, lambda: self._open(closing, file))
            settings = options.bounds.settings(shutdown_grace_seconds=options.grace)
            worker = await closing.enter_async_context(
                Worker(self._agent, store=store, settings=settings, codec=self._codec)
            )
            closing.push_async_callback(self._reader.close)  # before the store's own end
            with (
                collecting_seldom(),
                stopping(worker),
                progress("running", self._lines.count, is_quiet=options.quiet) as show,
            ):
                await Feed(
                    worker,
                    self._reader,
                    self._agent_name,
                    self._lines,
                    file,
                    tally=Tally(report),
                    show=show,
                    most=_SUBMITTED_PER_PLACE * options.bounds.concurrency,
                ).work()
        return report

    def _output_file(self) -> OutputFile | None:
        path = self._options.output
        if path is None:
            return None
        return OutputFile(path, self._reader, self._codec, self._wants)

    def _wants(self, run: RunRow) -> bool:
        if run.agent != self._agent_name:
            return False
        return not self._lines.has_own_ids or self._lines.holds(run.run_id)

    async def _open(self, closing: AsyncExitStack, file: OutputFile | None) -> None:
        """Open what needs the store to be there, before anything runs."""
        await closing.enter_async_context(self._reader)
        if file is not None:
            await file.open()


class _CheckedStore(SqliteStore):
    """A store that opens only if a check holds: a worker starts runs as soon as it is open."""

    def __init__(self, options: Options, check: Callable[[], Awaitable[None]]) -> None:
        super().__init__(options.store, synchronous=options.sync)
        self._check = check

    async def open(self, owner: str) -> StoreFacts:
        facts = await super().open(owner)
        try:
            await self._check()
        except BaseException:
            await self.close()
            raise
        return facts
