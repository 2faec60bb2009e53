"""The two-stage fan-out, defined once for every system.

One run, two branches side by side under plain `asyncio.gather`. Each branch makes two durable
calls, of the same two functions: `search(branch)`, then `summarize(found)`.

    life 1   B's search is quick, so B's summary is asked for third and A's fourth.
             The process dies by SIGKILL in the middle of A's summary, a third of a second
             after it began (at once with `--at-once`); B's settled long before.
    life 2   both searches are on record and come back at once, so A's summary is asked
             for third now. A system that counts calls in the order in which they are
             made finds B's summary on record under that number.

What happened is told from outside: every function appends to a witness file before and after
its effect, and the answers that each branch was given are compared with what it asked for.

Nothing but the standard library is imported here: each system runs in its own environment.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

BRANCHES = ("A", "B")
SEARCH_SECONDS = {"A": 1.5, "B": 0.1}
SUMMARY_SECONDS = 0.1
KILL_AFTER = 0.3
"""Seconds into A's summary: time to write down what was handed over before it was."""
LIFE_SECONDS = 120.0
"""A life that takes longer has hung."""

Answers = dict[str, str]
Live = Callable[[Path], Awaitable[Answers]]
"""One life: starts the run or recovers it, and returns what each branch was given."""


async def search(branch: str) -> str:
    """First stage of a branch."""
    witness("begin", "search", branch)
    await asyncio.sleep(SEARCH_SECONDS[branch])
    witness("end", "search", branch)
    return f"hits of {branch}"


async def summarize(found: str) -> str:
    """Second stage of a branch; the first life dies in A's."""
    branch = found.removeprefix("hits of ")
    witness("begin", "summarize", branch)
    if branch == "A" and life() == 1:
        await asyncio.sleep(0 if "--at-once" in sys.argv else KILL_AFTER)
        os.killpg(os.getpgrp(), signal.SIGKILL)
    await asyncio.sleep(SUMMARY_SECONDS)
    witness("end", "summarize", branch)
    return f"summary of {found}"


def life() -> int:
    """1 until the crash, then 2."""
    return int(os.environ["FAN_OUT_LIFE"])


def witness(phase: str, stage: str, branch: str) -> None:
    """Write down what happens, where no crash of the system can undo it."""
    line = f"{life()} {phase} {stage} {branch}\n"
    path = os.environ["FAN_OUT_FOLDER"] + "/witness"
    descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@dataclass(frozen=True)
class Report:
    """What one system did."""

    system: str
    version: str
    branch_a: str
    """What branch A was given as its summary."""
    branch_b: str
    executed_again: tuple[str, ...]
    """Calls that ended in the first life and were executed in the second too."""
    never_ended: tuple[str, ...]
    """Calls without an end in either life."""
    error: str = ""
    """Last line of what the second life complained of, if it failed."""

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.error:
            return "refused"
        given = (self.branch_a, self.branch_b)
        if given != ("summary of hits of A", "summary of hits of B"):
            return "WRONG, in silence"
        return "executes again" if self.executed_again else "right"


def conduct(system: str, version: str, live: Live) -> None:
    """Be one life, or run both in processes of their own and print a report.

    Args:
        system: Its name in the report.
        version: Its version.
        live: One life of it, with all that it needs: the whole process group is killed.
    """
    if "FAN_OUT_LIFE" in os.environ:
        folder = Path(os.environ["FAN_OUT_FOLDER"])
        Path(folder, "answers").write_text(json.dumps(asyncio.run(live(folder))))
        return
    with TemporaryDirectory() as scratch:
        first, second = (one_life(scratch, number) for number in (1, 2))
        report = judge(system, version, Path(scratch), first, second)
    if "--json" in sys.argv:
        print(json.dumps({**asdict(report), "verdict": report.verdict}))
    else:
        show(report)


def one_life(folder: str, number: int) -> subprocess.CompletedProcess[str]:
    """Run this very script again, as the life of that number."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, *sys.argv],
        env={**os.environ, "FAN_OUT_LIFE": str(number), "FAN_OUT_FOLDER": folder},
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=LIFE_SECONDS,
        check=False,
    )


Ended = subprocess.CompletedProcess[str]


def judge(system: str, version: str, folder: Path, first: Ended, second: Ended) -> Report:
    """Compare what was asked for with what came back."""
    lines = [
        line.split(maxsplit=1) for line in Path(folder, "witness").read_text().splitlines()
    ]
    before, after = ({what for number, what in lines if number == n} for n in "12")
    settled = {"end summarize B", "end search A", "end search B"}
    if first.returncode != -signal.SIGKILL or not settled <= before:
        sys.exit(f"the first life did not come to its crash:\n{first.stderr}")
    calls = [f"{stage} {branch}" for branch in BRANCHES for stage in ("search", "summarize")]
    ended = before | after
    failed = second.returncode != 0
    answers = {} if failed else json.loads(Path(folder, "answers").read_text())
    return Report(
        system,
        version,
        answers.get("A", "nothing"),
        answers.get("B", "nothing"),
        tuple(c for c in calls if f"end {c}" in before and f"begin {c}" in after),
        tuple(c for c in calls if f"end {c}" not in ended),
        second.stderr.strip().splitlines()[-1] if failed else "",
    )


def show(report: Report) -> None:
    """Print a report for a person."""
    print(f"{report.system} {report.version}: {report.verdict}")
    print(f"  branch A received: {report.branch_a}")
    print(f"  branch B received: {report.branch_b}")
    print(f"  had ended, executed again: {', '.join(report.executed_again) or 'none'}")
    print(f"  never executed to the end: {', '.join(report.never_ended) or 'none'}")
    if report.error:
        print(f"  error: {report.error}")
