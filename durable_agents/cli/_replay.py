"""`durable-agents replay --check`: whether today's code can go on with the runs of a store."""

import argparse
import asyncio
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import msgspec

from durable_agents.actions import CodeChange
from durable_agents.agent import Agent, AgentPlan
from durable_agents.cli._agents import load_agent
from durable_agents.cli._exit import ExitCode
from durable_agents.cli._options import add_store, add_target, positive
from durable_agents.cli._show import printable, progress, say, table
from durable_agents.store import SqliteReader, every_run
from durable_agents.worker import ReplayedRun, Safety, replay_runs

__all__ = ["add_replay"]

_DESCRIPTION = """\
Replay the open runs of a store against today's code, before that takes over. The store is
opened read-only, also while a worker owns it. Each action that has begun and not completed is
started over its record; durable calls are handed their outcomes, and none is made. What an
action does outside of them it does here, too; what it prints goes to standard error. Exit code
0: all are safe, 1: some would diverge, or their code is gone.
"""
_MEANINGS: dict[Safety, str] = {
    "safe": "the code repeats what is on record",
    "diverges": "the code does something else than what is on record",
    "gone": "the code lacks an action that has begun, or cannot read an event",
}
_NEXT_MOVES: dict[Safety, str] = {
    "diverges": 'guard the change by `ctx.version("its name", 1, 2)`, so that such runs go the '
    "old way; or let them end before the new code takes over",
    "gone": "keep the action or the class in the code until such runs have ended, or cancel "
    "them: a worker parks them until one starts that has it",
}
_MOST_SHOWN = 50


class _Action(msgspec.Struct, frozen=True):
    action: str
    """Empty where the run cannot be lined up: its input or an event cannot be read."""
    event: int
    """Number of the event within the run that fired it: 0 is the input."""
    safety: Safety
    difference: str | None
    """What was recorded and what the code does now; None where that is the same."""
    code_change: CodeChange
    """What became of its code: `"none"`, `"function"`, `"used"` (functions that it uses), or
    `"unknown"`."""


class _Run(msgspec.Struct, frozen=True):
    run: str
    key: str
    status: str
    safety: Safety
    actions: list[_Action]


class _Report(msgspec.Struct, frozen=True):
    """What `replay --check --json` writes."""

    store: str
    agent: str
    counts: dict[Safety, int]
    runs: list[_Run]
    fingerprint: str
    """Of the agent as it is today."""
    fingerprints: dict[str, str]
    """Of its actions, by name."""
    others: dict[str, int]
    """Runs of other agents, by agent: they were not looked at."""

    @property
    def is_safe(self) -> bool:
        """Whether the code can take over."""
        return self.counts["safe"] == len(self.runs)


def add_replay(commands: Any) -> None:  # noqa: ANN401 - argparse keeps the type to itself
    """Declare the command and its options.

    Args:
        commands: What `add_subparsers` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "replay",
        help="check that today's code can go on with open runs",
        description=_DESCRIPTION,
    )
    add_target(parser)
    add_store(parser)
    add = parser.add_argument
    add(
        "--check",
        action="store_true",
        required=True,
        help="only look; there is nothing else yet",
    )
    add(
        "--all",
        action="store_true",
        help="runs that have ended and actions that have completed, too: as they did",
    )
    add(
        "--patience",
        type=positive,
        default=5,
        metavar="SECONDS",
        help="how long an action is waited for that neither asks for what is recorded nor ends "
        "(default: 5)",
    )
    add("--json", action="store_true", help="write one JSON object")
    add("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> ExitCode:
    agent = load_agent(arguments.agent)
    with redirect_stdout(sys.stderr):
        report = asyncio.run(
            _report(
                agent,
                arguments.store,
                open_only=not arguments.all,
                patience_seconds=arguments.patience,
                is_quiet=arguments.quiet,
            )
        )
    if arguments.json:
        say(msgspec.json.encode(report).decode())
    else:
        _show(report)
    return ExitCode.DONE if report.is_safe else ExitCode.FAILED


async def _report(
    agent: Agent, store: Path, *, open_only: bool, patience_seconds: float, is_quiet: bool
) -> _Report:
    plan = AgentPlan.of(agent)
    name = plan.name
    runs: list[_Run] = []
    async with SqliteReader(store) as reader:
        listed = Counter[str]()
        async for row in every_run(reader):
            listed[row.agent] += row.status.is_open or not open_only
        total = listed.pop(name, 0)
        replayed = replay_runs(
            agent, reader, open_only=open_only, patience_seconds=patience_seconds
        )
        with progress("replaying", total, is_quiet=is_quiet) as show:
            async for run in replayed:
                runs.append(_as_told(run))
                show(len(runs))
    found = Counter(run.safety for run in runs)
    counts: dict[Safety, int] = {safety: found[safety] for safety in _MEANINGS}
    prints = {action.name: action.fingerprint for action in plan.actions.values()}
    return _Report(
        str(store), name, counts, runs, plan.fingerprint, prints, others=dict(+listed)
    )


def _as_told(run: ReplayedRun) -> _Run:
    actions = [
        _Action(a.action, a.event, a.safety, a.difference, a.code_change) for a in run.actions
    ]
    return _Run(run.run_id, run.key, run.status.name.lower(), run.safety, actions)


def _show(report: _Report) -> None:
    rows = [(s, str(report.counts[s]), meaning) for s, meaning in _MEANINGS.items()]
    title = f"runs of agent {report.agent} in {report.store}, replayed against today's code"
    table(printable(title), ("safety", "runs", "meaning"), rows, ("runs",))
    prints = ", ".join(f"{name} {digits}" for name, digits in report.fingerprints.items())
    say(printable(f"fingerprint of the code: {report.fingerprint}; actions: {prints}"))
    for name, count in sorted(report.others.items()):
        say(printable(f"not looked at: {count:,} runs of agent {name}"))
    unsafe = [run for run in report.runs if run.safety != "safe"]
    for run in unsafe[:_MOST_SHOWN]:
        say(printable(f"run {run.run}, key {run.key} ({run.status}): {run.safety}"))
        for action in run.actions:
            if action.difference is not None:
                where = f"action {action.action}: " if action.action else ""
                say(printable(f"  {where}{action.difference}"))
    if len(unsafe) > _MOST_SHOWN:
        say(f"... and {len(unsafe) - _MOST_SHOWN:,} more (--json lists all)")
    for safety, move in _NEXT_MOVES.items():
        if report.counts[safety]:
            say(f"what to do where it says {safety!r}: {move}")
