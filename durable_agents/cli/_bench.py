"""`durable-agents bench`: an agent over a file of inputs, at rising limits.

Each point is a process of its own over a store of its own, so that no point finds what another
one has warmed up or left behind. The child is a plain `durable-agents bench --in-process` with
a sweep of one value, and its report is read from what it writes.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from durable_agents.cli._agents import load_agent
from durable_agents.cli._bench_report import BenchReport, report_of, show_bench_report
from durable_agents.cli._chart import chart_of
from durable_agents.cli._children import running, terminating_children
from durable_agents.cli._exit import ExitCode, OutputError, UsageError
from durable_agents.cli._lines import InputLines
from durable_agents.cli._measure import Measurement, measure
from durable_agents.cli._options import Bounds, add_agent, add_bounds, positive
from durable_agents.cli._show import progress, say
from durable_agents.cli._sweep import Sweep, parse_sweep
from durable_agents.worker import WorkerSettings

__all__ = ["add_bench"]

_SYNCHRONOUS = "full"

_DESCRIPTION = """\
Measure which limit suits an agent: run it over a file of inputs at rising values of one limit,
and show throughput, latencies and the knee, the smallest value within 5 % of the best.

THE AGENT'S CALLS ARE REALLY MADE, once for each line, each value and each repetition: models
are asked and paid for, mails are sent. Take an input of some hundred lines and services that
may be called.

Each point is a process of its own with a store of its own, which is thrown away. What the agent
prints goes to standard error.
"""

_EPILOG = """\
what is swept:
  num_async_threads     most durable calls in flight
  num_sync_threads      threads for durable functions that are plain def
  max_concurrent_runs   most runs at the same time
  limits.NAME           bound on calls in flight of functions that declare limit=NAME

what is shown, for each value: completed runs and settled calls a second; the time from the
submit of a run to its end, as many runs being submitted at a time as may be running; how late a
timer is on the event loop; the most resident memory; runs that did not complete.

exit codes: 0 all runs completed; 1 some did not, or some lines were refused; 2 usage or
definition error; 3 a store or the chart cannot be written; 130 interrupted
"""


def add_bench(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="run an agent at rising limits, to choose one; its calls are really made",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_agent(parser)
    add = parser.add_argument
    add(
        "--sweep",
        required=True,
        metavar="NAME=VALUES",
        help="the limit and its values: FIRST..LAST doubles from one to the other, as in "
        "num_async_threads=1..1024; or a list, as in limits.llm=5,10,20",
    )
    add_bounds(parser, concurrency=1000)
    add(
        "--repeat",
        type=positive,
        default=1,
        metavar="N",
        help="passes for each value, of which the median counts (default: %(default)s)",
    )
    add(
        "--folder",
        type=Path,
        default=Path(),
        help="where the stores lie while they are needed; take the disk that your store will "
        "be on (default: the current folder)",
    )
    add("--chart", type=Path, metavar="FILE", help="write a chart, as SVG")
    add("--json", action="store_true", help="write the report as one JSON object, for programs")
    add("--quiet", action="store_true", help="show no progress")
    add(
        "--in-process",
        action="store_true",
        help="measure one value in this very process, for profilers and debuggers",
    )
    parser.set_defaults(run=_run)


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options, as they were parsed."""

    agent: str
    input: Path
    key: str | None
    sweep: Sweep
    bounds: Bounds
    repeat: int
    folder: Path
    chart: Path | None
    json: bool
    quiet: bool
    in_process: bool

    def settings(self, value: int) -> WorkerSettings:
        """How the worker is to work at one value."""
        # There is nothing to go on with after an interrupt, so nothing to wait for.
        return self.sweep.settings(self.bounds.settings(shutdown_grace_seconds=0.0), value)

    def point(self, value: int, folder: Path) -> list[str]:
        """The command that measures one value; what it leaves lies in a folder."""
        key = [] if self.key is None else [f"--key={self.key}"]
        return [
            "bench",
            f"--input={self.input}",
            *key,
            *self.bounds.words(),
            f"--sweep={self.sweep.at(value)}",
            f"--folder={folder}",
            "--in-process",
            "--json",
            "--quiet",
            "--",
            self.agent,
        ]


def _run(arguments: argparse.Namespace) -> ExitCode:
    arguments.bounds = Bounds.of(arguments)
    arguments.sweep = parse_sweep(arguments.sweep)
    options = Options(**{
        field.name: getattr(arguments, field.name) for field in fields(Options)
    })
    lines = InputLines(options.input, options.key)
    _check(options, lines)
    passes = _here(options, lines) if options.in_process else _in_children(options, lines)
    if isinstance(passes, ExitCode):
        return passes
    report = report_of(
        passes,
        agent=options.agent,
        input=lines.name,
        limit=options.sweep.name,
        synchronous=_SYNCHRONOUS,
        python=platform.python_version(),
        cpus=os.cpu_count(),
    )
    show_bench_report(report, as_json=options.json)
    if options.chart is not None:
        _write_chart(options.chart, report)
    return ExitCode.DONE if report.is_good else ExitCode.FAILED


def _check(options: Options, lines: InputLines) -> None:
    """Refuse what would come to nothing, before a call is made."""
    if not lines.count:
        msg = f"--input {options.input} has no lines: there is nothing to measure"
        raise UsageError(msg)
    if options.in_process and (len(options.sweep.values) > 1 or options.repeat > 1):
        example = options.sweep.at(max(options.sweep.values))
        msg = f"--in-process measures one value once: take --sweep {example}, no --repeat"
        raise UsageError(msg)
    if not (options.folder.is_dir() and os.access(options.folder, os.W_OK)):
        msg = f"--folder {options.folder} is no folder that can be written to; take another one"
        raise UsageError(msg)
    if options.chart is not None and not options.chart.absolute().parent.is_dir():
        msg = f"--chart {options.chart}: there is no folder {options.chart.parent}; make it"
        raise UsageError(msg)


def _here(options: Options, lines: InputLines) -> list[tuple[int, Measurement]]:
    (value,) = options.sweep.values
    agent = load_agent(options.agent)
    return [(value, measure(agent, lines, options.settings(value), options.folder))]


def _in_children(
    options: Options, lines: InputLines
) -> list[tuple[int, Measurement]] | ExitCode:
    """Measure each value; the exit code of a child that could not."""
    # The whole sweep again and again: what disturbs the machine meanwhile hits all values.
    values = options.sweep.values * options.repeat
    say(_warning(options, lines), sys.stderr)
    passes: list[tuple[int, Measurement]] = []
    with (
        TemporaryDirectory(prefix=".durable-agents-bench-", dir=options.folder) as folder,
        terminating_children(),
        progress("measuring", len(values), is_quiet=options.quiet) as show,
    ):
        for value in values:
            found = _in_child(options.point(value, Path(folder)), Path(folder, "report.json"))
            if isinstance(found, ExitCode):
                return found
            passes.append((value, found))
            show(len(passes))
    return passes


def _in_child(arguments: Sequence[str], output: Path) -> Measurement | ExitCode:
    with running(arguments, output) as process:
        code = process.wait()
    if code not in {ExitCode.DONE, ExitCode.FAILED}:
        known = {int(number) for number in ExitCode}
        if code in known:
            return ExitCode(code)  # why, it has said itself
        say(f"durable-agents: the process of a point ended with code {code}", sys.stderr)
        return ExitCode.FAILED
    # A library of the agent's may have written around Python's standard output.
    report = output.read_bytes().splitlines()[-1]
    return msgspec.json.decode(report, type=BenchReport).points[0].median


def _warning(options: Options, lines: InputLines) -> str:
    values, repeat = len(options.sweep.values), options.repeat
    return (
        f"the calls of {options.agent} are really made: {lines.count:,} lines x {values} "
        f"values x {repeat} = {lines.count * values * repeat:,} runs"
    )


def _write_chart(path: Path, report: BenchReport) -> None:
    try:
        path.write_text(chart_of(report), encoding="utf-8")
    except OSError as error:
        msg = f"the chart cannot be written to {path}: {error.strerror}; take another path"
        raise OutputError(msg) from error
