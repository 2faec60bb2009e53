"""SIGINT and SIGTERM: the first one stops gracefully, the second one at once."""

import asyncio
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

from durable_agents.cli._exit import ExitCode
from durable_agents.cli._show import say
from durable_agents.worker import Worker

__all__ = ["stopping"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(worker: Worker) -> Generator[None]:
    """While inside, signals stop a worker; main thread only.

    The second one ends the process where it is: what has settled is in the store.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if worker.is_stopping:
            os._exit(ExitCode.INTERRUPTED)
        say("stopping: calls under way may finish; once more stops at once", sys.stderr)
        worker.request_stop()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
