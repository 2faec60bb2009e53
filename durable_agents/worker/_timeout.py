"""Durable timeouts: a block of an action that is given so much time, counted over restarts.

As `asyncio.timeout`, with its moment on record: when it fires, that is recorded and has its
turn among the outcomes of calls, so that a replay cancels the block at the same place and waits
for nothing. A block that ends in time is recorded, too, or a replay that comes too late would
cut it short.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType

from durable_agents.journal import (
    TIMEOUT,
    Abandoned,
    CallKey,
    CallLog,
    Diverged,
    Replay,
    Resume,
    TimerFired,
    TimerSet,
)
from durable_agents.worker._lineage import ActionTasks, Branch
from durable_agents.worker._replaying import Replaying
from durable_agents.worker._services import Services
from durable_agents.worker._waits import WaitingScope, until

__all__ = ["Timeout"]


class Timeout(Replaying):
    """See `RunnerContext.timeout`.

    Args:
        scope: The action run.
        log: What earlier starts left on record.
        services: The worker's.
        enter: The branch of the task that enters it, which must be one of the action.
        seconds: How long the block may take.
    """

    __slots__ = (
        "_branch",
        "_cancelling",
        "_enter",
        "_expiry",
        "_has_fired",
        "_is_open",
        "_key",
        "_preview",
        "_run",
        "_seconds",
        "_task",
    )

    def __init__(
        self,
        scope: WaitingScope,
        log: CallLog,
        services: Services,
        enter: Callable[[], Branch],
        seconds: float,
    ) -> None:
        super().__init__(scope, log, services)
        self._run = scope
        self._enter = enter
        self._seconds = seconds
        self._preview = f"{seconds:g} s"
        self._expiry: asyncio.Task[None] | None = None
        self._has_fired = False
        self._is_open = False

    async def __aenter__(self) -> None:
        branch = self._branch = self._enter()
        task = asyncio.current_task()
        assert task is not None, "a branch is a task's"
        self._task, self._cancelling = task, task.cancelling()
        self._key: CallKey = (branch.path, branch.next_position)
        branch.next_position += 1
        self._is_open = True
        # It may race with what the block does, as another task would.
        self._tasks.live += 1
        decision = self._log.next_call(self._key, TIMEOUT, b"", self._preview)
        if isinstance(decision, Abandoned):
            if decision.record.has_turn:
                self._scope.delivery.expect(self._key, _do_nothing)
        elif isinstance(decision, Replay):
            self._scope.delivery.expect(self._key, self._fire)
        else:
            if isinstance(decision, Diverged):
                self._clear(self._key, decision)
            due = decision.record.due if isinstance(decision, Resume) else None
            self._arm(self._set() if due is None else due)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        self._tasks.live -= 1
        self._run.set_deadline(self, None)
        if self._has_fired:
            is_ours = self._task.uncancel() <= self._cancelling
            if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError from error
            return
        self._scope.delivery.forget(self._key)
        if self._expiry is not None:
            self._expiry.cancel()
            self._abandon(self._key, TIMEOUT, b"", self._preview)

    @property
    def _tasks(self) -> ActionTasks:
        return self._branch.tasks

    def _set(self) -> float:
        """Record the timer; returns when it fires."""
        now = self._services.clock.now()
        due = now + self._seconds
        branch, position = self._key
        # Not waited for: what the block records cannot be on record without it.
        self._scope.record(
            TimerSet(self._scope.number, branch, position, TIMEOUT, self._preview, due, now)
        )
        return due

    def _arm(self, due: float) -> None:
        self._run.set_deadline(self, due)
        expire = self._expire(due)
        self._expiry = self._services.lineage.outside(
            lambda: asyncio.get_running_loop().create_task(expire, name="durable timeout")
        )

    async def _expire(self, due: float) -> None:
        clock = self._services.clock
        await until(clock, due)
        branch, position = self._key
        number = self._scope.number
        future = self._scope.record(
            TimerFired(number, branch, position, TIMEOUT, "", clock.now())
        )
        self._scope.delivery.expect(self._key, self._fire, future)

    def _fire(self) -> None:
        if self._is_open:
            self._has_fired = True
            self._task.cancel()


def _do_nothing() -> None:
    """A timer that was left before its turn came has none of its own."""
