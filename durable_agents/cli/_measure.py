"""One point of `durable-agents bench`: an agent over a file of inputs, timed."""

import asyncio
import logging
import math
import resource
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import msgspec

from durable_agents.agent import Agent, AgentPlan
from durable_agents.cli._feed import Feed
from durable_agents.cli._garbage import collecting_seldom
from durable_agents.cli._lines import InputLines
from durable_agents.cli._tally import RunReport, Tally
from durable_agents.journal import CallSettled, RunStatus
from durable_agents.store import SqliteReader, SqliteStore, every_run
from durable_agents.worker import Worker, WorkerSettings

__all__ = ["Measurement", "measure", "percentile"]

_TICK = 0.005
"""Seconds between two looks at how late the loop is."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass over the inputs came to. Durations are seconds."""

    seconds: float
    """From the first submit to the last end; without start-up and shutdown."""
    completed: int
    errors: int
    """Runs that failed, are parked, were cancelled or wait behind a parked one."""
    refused: int
    """Lines that no run could be made of."""
    calls: int
    """Durable calls that settled, those that failed included."""
    runs_per_second: float
    """Completed runs only: to fail fast is no throughput."""
    calls_per_second: float
    latency_p50: float
    """Of runs that came to an end: from their submit on, so that a wait for a turn counts."""
    latency_p95: float
    latency_p99: float
    loop_lag_p99: float
    """How late a timer was on the event loop."""
    loop_lag_max: float
    peak_memory: int
    """Most resident memory of the process, bytes."""
    problem: str
    """Why the first run that did not complete, or line that was refused, did not; if any."""


def measure(
    agent: Agent, lines: InputLines, settings: WorkerSettings, folder: Path
) -> Measurement:
    """Run an agent over every line, in a store that is thrown away. Its calls are really made.

    What the agent prints goes to standard error. Cancellation by a signal ends it at once.

    Args:
        agent: The agent.
        lines: Its inputs.
        settings: Of the worker; as many runs are submitted at a time as may be running.
        folder: Where the store lies meanwhile; its disk is a part of what is measured.

    Raises:
        StoreError: The store cannot be opened, or fails.
    """
    with (
        TemporaryDirectory(prefix=".durable-agents-bench-", dir=folder) as temporary,
        redirect_stdout(sys.stderr),
        _errors_only(),
    ):
        return asyncio.run(_pass(agent, lines, settings, Path(temporary, "bench.db")))


async def _pass(
    agent: Agent, lines: InputLines, settings: WorkerSettings, store: Path
) -> Measurement:
    tally = _TimedTally(RunReport(input=lines.name, store=str(store), output=None))
    reader = SqliteReader(store)
    async with AsyncExitStack() as closing:
        worker = Worker(agent, store=SqliteStore(store), settings=settings)
        await closing.enter_async_context(worker)
        await closing.enter_async_context(reader)
        feed = Feed(
            worker,
            reader,
            AgentPlan.of(agent).name,
            lines,
            None,
            tally=tally,
            show=lambda _done: None,
            most=settings.max_concurrent_runs,
        )
        with collecting_seldom(), _Lateness() as lateness:
            began = time.perf_counter()
            await feed.work()
            seconds = time.perf_counter() - began
        # Before the journals are read, which takes memory, too.
        peak = await asyncio.to_thread(_peak_memory)
        calls = await _settled_calls(reader)
        return _summary(tally, lateness.seen, seconds, calls, peak)


def _summary(
    tally: "_TimedTally", lateness: Sequence[float], seconds: float, calls: int, peak: int
) -> Measurement:
    report = tally.report
    reasons = [
        *(f"run {r.run}: {r.reason}" for r in (*report.failed_runs, *report.parked_runs)),
        *(f"line {r.line}: refused: {r.problem}" for r in report.refused_lines),
    ]
    return Measurement(
        seconds=seconds,
        completed=report.completed,
        errors=report.lines - report.completed - report.refused,
        refused=report.refused,
        calls=calls,
        runs_per_second=report.completed / seconds,
        calls_per_second=calls / seconds,
        latency_p50=percentile(tally.latencies, 50),
        latency_p95=percentile(tally.latencies, 95),
        latency_p99=percentile(tally.latencies, 99),
        loop_lag_p99=percentile(lateness, 99),
        loop_lag_max=max(lateness),
        peak_memory=peak,
        problem=next(iter(reasons), ""),
    )


def percentile(figures: Sequence[float], percent: int) -> float:
    """The smallest of the figures that so many percent of them do not exceed; 0 of none."""
    if not figures:
        return 0.0
    rank = math.ceil(len(figures) * percent / 100)
    return sorted(figures)[max(rank, 1) - 1]


async def _settled_calls(reader: SqliteReader) -> int:
    """How many there are in the store: counting them meanwhile would cost what is measured."""
    count = 0
    async for run in every_run(reader):
        for _, entries in await reader.journal(run.number):
            count += sum(isinstance(entry, CallSettled) for entry in entries)
    return count


def _peak_memory() -> int:
    # What `getrusage` says includes, on Linux, the process that we were forked from.
    status = Path("/proc/self/status")
    if status.exists():
        facts = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in facts:
            return 1024 * int(facts["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class _TimedTally(Tally):
    """Knows how long each run took from its submit to its end."""

    def __init__(self, report: RunReport) -> None:
        super().__init__(report)
        self.latencies: list[float] = []
        self._begun: dict[str, float] = {}

    def begin(self, run_id: str) -> None:
        self._begun[run_id] = time.perf_counter()

    def end(self, run_id: str, status: RunStatus, reason: str = "") -> None:
        super().end(run_id, status, reason)
        began = self._begun.pop(run_id)
        if not status.is_open:
            self.latencies.append(time.perf_counter() - began)


class _Lateness:
    """While inside, writes down how late a timer of the running loop is, in seconds."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._set()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        # The last timer may be overdue, too; and there is always one to tell of.
        self.seen.append(max(0.0, self._loop.time() - self._due))

    def _set(self) -> None:
        self._due = self._loop.time() + _TICK
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self.seen.append(max(0.0, self._loop.time() - self._due))
        self._set()


@contextmanager
def _errors_only() -> Generator[None]:
    """While inside, a run that fails is counted and not told of: there may be thousands."""
    logger = logging.getLogger("durable_agents")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
