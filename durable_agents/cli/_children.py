"""`durable-agents demo` in processes of its own, watched through the witness file."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from durable_agents.cli._audit_runs import audit_of
from durable_agents.cli._show import Progress
from durable_agents.cli._witness import read_witness

__all__ = ["follow", "running", "terminating_children"]

_LOOK_EVERY = 0.002
"""Seconds between two looks at the witness file."""


@contextmanager
def running(arguments: Sequence[str], output: Path) -> Generator[subprocess.Popen[bytes]]:
    """A child that runs `durable-agents`; stopped gracefully on the way out.

    Args:
        arguments: Of the command line.
        output: File for its standard output; its standard error is ours.
    """
    # The child finds the same packages as we do, and nothing that lies in the current folder.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "durable_agents", *arguments]
    with (
        output.open("wb") as file,
        subprocess.Popen(command, stdout=file, env=environment) as process,  # noqa: S603 - ourselves
    ):
        try:
            yield process
        finally:
            process.terminate()


def follow(
    process: subprocess.Popen[bytes], witness: Path, show: Progress, kill_after: int | None
) -> int:
    """Wait for a child, and kill it half way if asked to.

    Args:
        process: The child.
        witness: File in which its durable functions write down when they end; must exist.
        show: Told how many have ended.
        kill_after: How many have to end before the child is killed by SIGKILL; None: it lives.

    Returns:
        The exit code; `-signal.SIGKILL` where the kill got there in time.
    """
    ended: Counter[int] = Counter()
    torn = b""
    with witness.open("rb") as file:
        while process.poll() is None:
            whole, newline, torn = (torn + file.read()).rpartition(b"\n")
            sightings = read_witness(whole + newline)
            ended.update(audit_of(s.run_id) for s in sightings if s.phase == "end")
            # An interrupted earlier audit may be finished on the way: that is not our half.
            done = ended[max(ended, default=0)]
            if kill_after is not None and done >= kill_after:
                process.kill()
            show(done)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY)
    return process.wait()


@contextmanager
def terminating_children() -> Generator[None]:
    """While inside, SIGTERM unwinds the stack as Ctrl-C does: a child must not outlive us."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
