"""The runner context as an action holds it: a thin front of its action run."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from durable_agents.context import Approval, CallOptions, Promise, RunnerContext
from durable_agents.errors import OutsideActionError
from durable_agents.events import Event, EventRecord, OutputEvent
from durable_agents.journal import DurableOptions, OnInterrupt, place
from durable_agents.memory import MemoryObject
from durable_agents.retry import RetryPolicy
from durable_agents.worker._action_run import ActionRun
from durable_agents.worker._durable_call import DurableCalls
from durable_agents.worker._promises import Promises
from durable_agents.worker._sync_action import action_thread_branch, call_from_thread
from durable_agents.worker._timeout import Timeout
from durable_agents.worker._versions import check_versions, version_of
from durable_agents.worker._waits import APPROVAL, Waits, as_signal, check_seconds

__all__ = ["ActionContext"]


class ActionContext(RunnerContext):
    """See `RunnerContext`; one per start of an action."""

    def __init__(self, action_run: ActionRun) -> None:
        self._run = action_run
        self._calls = DurableCalls(action_run, action_run.log, action_run.services)
        self._waits_made: Waits | None = None
        self._promises_made: Promises | None = None
        self._logger: _QuietLogger | None = None

    def durable(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        return self._calls.make(self._run.branch("durable"), fn, args, kwargs, None)

    def durable_sync(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return _call_from_thread(self._run, self._calls, fn, args, kwargs, None)

    def options(  # noqa: PLR0913 - each is one documented option of a call
        self,
        *,
        name: str | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        reconciler: Callable[..., object] | None = None,
        on_interrupt: OnInterrupt | None = None,
        limit: str | None = None,
        key: str | None = None,
    ) -> CallOptions:
        return _Options(
            self._run,
            self._calls,
            DurableOptions(
                name=name,
                retry=retry,
                timeout=timeout,
                reconciler=reconciler,
                on_interrupt=on_interrupt,
                limit=limit,
                key=key,
            ),
        )

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        branch = self._run.branch("sleep")
        check_seconds("sleep", seconds)
        return self._waits.sleep(branch, lambda now: now + seconds, f"{seconds:g} s")

    def sleep_until(self, moment: datetime) -> Coroutine[Any, Any, None]:
        branch = self._run.branch("sleep_until")
        if moment.tzinfo is None:
            msg = f"sleep_until takes an aware datetime, got {moment!r}: say its time zone"
            raise ValueError(msg)
        due = moment.timestamp()
        return self._waits.sleep(branch, lambda _: due, f"until {moment.isoformat()}")

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[None]:
        check_seconds("timeout", seconds)
        run = self._run
        enter = partial(run.branch, "timeout")
        return Timeout(run, run.log, run.services, enter, seconds)

    def wait_for_signal(
        self,
        name: str,
        *,
        type: Any = None,  # noqa: A002 - the public name
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, Any]:
        branch = self._run.branch("wait_for_signal")
        if timeout is not None:
            check_seconds("wait_for_signal", timeout)
        fits = partial(as_signal, name, type)
        return self._waits.signal(branch, name, timeout, fits, repr(name))

    def approve(
        self, question: str, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, Approval]:
        branch = self._run.branch("approve")
        if timeout is not None:
            check_seconds("approve", timeout)
        name = f"{APPROVAL}:{place((branch.path, branch.next_position))}"
        fits = partial(as_signal, name, Approval)
        return self._waits.signal(branch, name, timeout, fits, question)

    def promise(self, type: Any = None) -> Promise[Any]:  # noqa: A002 - the public name
        if self._promises_made is None:
            run = self._run
            self._promises_made = Promises(run, run.log, run.services, self._waits)
        return self._promises_made.make(type)

    def version(self, change: str, old: int, new: int) -> int:
        branch = self._run.branch("version")
        check_versions(change, old, new)
        return version_of(self._run, branch, change, old, new)

    def send(self, event: Event) -> None:
        self._run.send(event)

    def output(self, value: object) -> None:
        self._run.send(OutputEvent(output=value))

    @property
    def _waits(self) -> Waits:
        if self._waits_made is None:
            run = self._run
            self._waits_made = Waits(run, run.log, run.services)
        return self._waits_made

    @property
    def sensory_memory(self) -> MemoryObject:
        return self._run.sensory.root

    @property
    def short_term_memory(self) -> MemoryObject:
        return self._run.short_term.root

    @property
    def config(self) -> Mapping[str, Any]:
        return self._run.action.config

    @property
    def trigger(self) -> EventRecord:
        return self._run.trigger

    @property
    def key(self) -> str:
        return self._run.run.key

    @property
    def run_id(self) -> str:
        return self._run.run_id

    @property
    def is_replaying(self) -> bool:
        return self._run.is_replaying

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._run.branch("now").time, UTC)

    @property
    def random(self) -> Random:
        return self._run.branch("random").random

    def uuid4(self) -> UUID:
        return UUID(int=self.random.getrandbits(128), version=4)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        if self._logger is None:
            self._logger = _QuietLogger(self, self._run.action.name)
        return self._logger


class _Options(CallOptions):
    """Durable calls under options of their own."""

    def __init__(
        self, action_run: ActionRun, calls: DurableCalls, options: DurableOptions
    ) -> None:
        self._run = action_run
        self._calls = calls
        self._options = options

    def durable(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        branch = self._run.branch("durable")
        return self._calls.make(branch, fn, args, kwargs, self._options)

    def durable_sync(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return _call_from_thread(self._run, self._calls, fn, args, kwargs, self._options)


def _call_from_thread(  # noqa: PLR0913, PLR0917 - what a call is made of
    run: ActionRun,
    calls: DurableCalls,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: DurableOptions | None,
) -> Any:
    """Make a durable call from the thread of a plain `def` action."""
    branch = run.branch("durable_sync")
    if action_thread_branch() is not branch:
        hint = "it is for plain `def` actions; on the loop, await ctx.durable(...)"
        verb = "durable_sync"
        raise OutsideActionError(verb, hint)
    call = calls.make(branch, fn, args, kwargs, options)
    return call_from_thread(call, branch, run, run.services.threads.loop)


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Names run, key and action, and says nothing that was said in an earlier life."""

    def __init__(self, context: ActionContext, action: str) -> None:
        self._context = context
        names = {"run_id": context.run_id, "key": context.key, "action": action}
        super().__init__(logging.getLogger("durable_agents.action"), names)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        return not self._context.is_replaying and super().isEnabledFor(level)
