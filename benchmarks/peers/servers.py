"""Servers that a peer needs beside its Python process; standard library only."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["free_ports", "post", "running", "until"]

HOST = "127.0.0.1"
UP_SECONDS = 120.0
DOWN_SECONDS = 20.0
POLL_SECONDS = 0.05


def free_ports(folder: Path, count: int) -> list[int]:
    """Ports that are free now; of one folder always the same, for a restart to find."""
    kept = folder / "ports"
    if not kept.exists():
        sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
        kept.write_text(json.dumps([s.getsockname()[1] for s in sockets]))
        for each in sockets:
            each.close()
    return json.loads(kept.read_text())


@asynccontextmanager
async def running(
    *command: str | Path, log: Path, environment: dict[str, str] | None = None
) -> AsyncGenerator[None]:
    """A process, stopped at the end; what it prints goes to a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - once, before the clock starts
            [str(word) for word in command],
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def until(succeeds: Callable[[], object]) -> None:
    """Try until it does not raise OSError.

    Raises:
        OSError: It went on for two minutes.
    """
    for attempt in range(int(UP_SECONDS / POLL_SECONDS), -1, -1):
        try:
            await asyncio.to_thread(succeeds)
        except OSError:
            if not attempt:
                raise
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


def post(url: str, body: object) -> None:
    """Send JSON.

    Raises:
        OSError: No answer, or one that is an error.
    """
    request = urllib.request.Request(  # noqa: S310 - this machine
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=UP_SECONDS):  # noqa: S310
        pass
