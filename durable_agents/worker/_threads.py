"""Threads for durable functions that are plain `def`.

They are daemons of our own: a function that never returns must not keep the process from
ending, and the loop's default executor is everybody's. Threads start when they are needed and
stay.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from itertools import count
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

__all__ = ["DaemonThreads", "settle"]

T = TypeVar("T")

_POOLS = count(1)
"""Numbers the pools of this process, so that no two threads go by one name."""


class _Job:
    """One function to run, and whom to tell."""

    __slots__ = ("context", "function", "future", "on_end")

    def __init__(
        self,
        function: Callable[[], Any],
        context: Context,
        future: asyncio.Future[Any],
        on_end: Callable[[], None],
    ) -> None:
        self.function = function
        self.context = context
        self.future = future
        self.on_end = on_end


class DaemonThreads:
    """A bounded set of threads on which functions run, first come, first served.

    Args:
        size: Most threads, >= 1.
        name: Prefix of the threads' names: `<name>-<pool>-thread-<thread>`, the pools of the
            process numbered from 1, and the threads of each.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = f"{name}-{next(_POOLS)}"
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._started = 0
        self._busy = 0
        self.loop = asyncio.get_running_loop()

    def run(
        self, function: Callable[[], T], context: Context, on_end: Callable[[], None]
    ) -> asyncio.Future[T]:
        """Run a function in a thread.

        Cancelling the future does not stop the function: it keeps its thread until it returns,
        and its late outcome is dropped.

        Args:
            function: What to run.
            context: The context that it runs in.
            on_end: Called on the loop when the function has returned, whoever still waits.
        """
        future: asyncio.Future[T] = self.loop.create_future()
        self._busy += 1
        if self._busy > self._started and self._started < self._size:
            self._started += 1
            name = f"{self._name}-thread-{self._started}"
            Thread(target=self._serve, name=name, daemon=True).start()
        self._jobs.put(_Job(function, context, future, on_end))
        return future

    def close(self) -> None:
        """Let idle threads end; busy ones end after their function, or with the process."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = job.context.run(job.function), None
            except BaseException as error:  # noqa: BLE001 - handed to the waiter
                outcome = None, error
            try:
                self.loop.call_soon_threadsafe(self._end, job, *outcome)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
            del job, outcome

    def _end(self, job: _Job, value: Any, error: BaseException | None) -> None:
        self._busy -= 1
        job.on_end()
        settle(job.future, value, error)


def settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    """Give a future what its function came to; nothing, if nobody waits any more."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):
        # A future refuses it: it would end the coroutine that awaits.
        wrapped = RuntimeError("a function raised StopIteration")
        wrapped.__cause__ = error
        future.set_exception(wrapped)
    else:
        future.set_exception(error)
