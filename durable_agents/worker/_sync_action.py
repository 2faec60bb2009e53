"""Actions that are plain `def`: each in a daemon thread of its own.

Not in the loop's default executor, which is everybody's; not in the pool that serves durable
functions either: an action waits for those, and one pool for both comes to a standstill.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from typing import Any, Protocol

from durable_agents.errors import RunAborted
from durable_agents.worker._lineage import Branch
from durable_agents.worker._services import Services
from durable_agents.worker._threads import settle

__all__ = ["action_thread_branch", "call_from_thread", "run_in_thread"]

_ACTION_THREAD: ContextVar[tuple[Branch, int] | None] = ContextVar(
    "action_thread", default=None
)


def action_thread_branch() -> Branch | None:
    """The root branch of the action whose thread this is; None in every other thread."""
    found = _ACTION_THREAD.get()
    # A context can be copied into another thread; the branch stays with the action's own.
    return None if found is None or found[1] != threading.get_ident() else found[0]


async def run_in_thread(action: Callable[[], Any], branch: Branch, name: str) -> Any:
    """Run a plain action to its end.

    Cancellation: the thread is left to itself; its next use of the context ends it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def serve() -> None:
        _ACTION_THREAD.set((branch, threading.get_ident()))
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = action(), None
        except BaseException as error:  # noqa: BLE001 - handed to the action run
            outcome = None, error
        try:
            loop.call_soon_threadsafe(settle, future, *outcome)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    # While the thread works, the task that waits for it makes no durable call of its own.
    branch.tasks.live -= 1
    try:
        threading.Thread(target=context.run, args=(serve,), name=name, daemon=True).start()
        return await future
    finally:
        branch.tasks.live += 1


class Caller(Protocol):
    """What a call from a thread needs of its action run."""

    services: Services

    @property
    def is_aborted(self) -> bool:
        """Whether the run ends here by no decision of its own code."""
        ...


def call_from_thread(
    call: Coroutine[Any, Any, Any],
    branch: Branch,
    caller: Caller,
    loop: asyncio.AbstractEventLoop,
) -> Any:
    """Make a durable call on the loop and block this thread until its outcome is on disk.

    Raises:
        RunAborted: The worker ended the run meanwhile.
    """
    outcome: Future[Any] = Future()

    def start() -> None:
        if caller.is_aborted:
            call.close()
            outcome.cancel()
            return
        lineage = caller.services.lineage
        task = lineage.start(call, branch, loop.create_task, "durable_sync")
        branch.tasks.take_in(task)
        task.add_done_callback(finish)

    def finish(task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            outcome.cancel()
        elif (error := task.exception()) is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(task.result())

    try:
        loop.call_soon_threadsafe(start)
    except RuntimeError as error:
        call.close()
        reason = "the event loop is closed"
        raise RunAborted(reason) from error
    try:
        return outcome.result()
    except FutureCancelledError as error:
        reason = "the worker ended the run"
        raise RunAborted(reason) from error
