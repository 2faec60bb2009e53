"""All that an action may touch: the runner context, as its author sees it.

Rule 1: this file promises, the worker keeps the promises. Rule 2: whatever is handed out here
comes out the same when the action runs again after a crash; what cannot (the outside world) has
to go through a durable call.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from logging import Logger, LoggerAdapter
from random import Random
from typing import Any, Generic, ParamSpec, TypeVar, overload
from uuid import UUID

import msgspec

from durable_agents.events import Event, EventRecord
from durable_agents.journal import OnInterrupt
from durable_agents.memory import MemoryObject
from durable_agents.retry import RetryPolicy

__all__ = ["Approval", "CallOptions", "Promise", "RunnerContext"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person decided; see `RunnerContext.approve`."""

    approved: bool
    comment: str = ""
    """For the action, or for whoever reads its record."""


class Promise(ABC, Generic[R_co]):
    """Something begun here and finished by somebody else; made by `RunnerContext.promise`.

    It is completed once: by the first `Worker.complete`, or `durable-agents complete`, that
    comes with its id.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def id(self) -> str:
        """What completes it: text for a URL, the same in every life of the run.

        It names the run and the place of the promise there, and is no secret: who knows the id
        of the run can work it out. Check who may complete it where completions come in.
        """

    @abstractmethod
    def result(self, *, timeout: float | None = None) -> Coroutine[Any, Any, R_co]:
        """Wait for what it is completed with: a durable wait, as for a signal.

        May be waited for more than once, and by several tasks: each gets the same.

        Cancellation: if the action's own code gives the wait up, that is recorded. The promise
        can still be completed.

        Args:
            timeout: Seconds, >= 0, counted over restarts. Default: waits for ever.

        Raises:
            Exception: What it was failed with; `PromiseFailedError` where that was a text.
            TimeoutError: It was not completed in time; recorded, so that a replay raises it,
                too. The promise can still be completed, and waited for again.
            InputError: What it was completed with, before anyone could tell, does not fit.
            ValueError: `timeout` is negative or not finite.
        """


class CallOptions(ABC):
    """Durable calls under options of their own; made by `RunnerContext.options`."""

    @overload
    @abstractmethod
    def durable(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    @abstractmethod
    def durable(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @abstractmethod
    def durable(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Call as `RunnerContext.durable` does, under these options."""

    @overload
    @abstractmethod
    def durable_sync(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    @abstractmethod
    def durable_sync(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @abstractmethod
    def durable_sync(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call as `RunnerContext.durable_sync` does, under these options."""


class RunnerContext(ABC):
    """All that an action may touch, handed to it as its second argument.

    An action may be started many times: after a crash, after a failure, after a new deployment.
    Each start gets a fresh context, and sees through it what the first one saw. It belongs to
    the action and to the asyncio tasks that the action starts, until the action ends.

    Every method and property, save those that only tell something (`trigger`, `key`, `run_id`,
    `config`, `is_replaying`, `logger`), raises:

    - `ForbiddenInDurableCallError` inside a durable function, whose body a replay skips;
    - `OutsideActionError` in a task or thread that does not descend from the action, or after
      the action has ended: nothing ever runs non-durably in silence;
    - `RunAborted` once the worker has stopped the run. Let it pass.
    """

    @overload
    @abstractmethod
    def durable(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    @abstractmethod
    def durable(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @abstractmethod
    def durable(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Call `fn(*args, **kwargs)` such that its outcome survives a crash.

        Durable on return: what is returned or raised here is on disk. When the action runs
        again, a settled call is not executed; its outcome is handed back, equal, type included.
        A call that was begun and not settled when the process died runs again, unless its
        options say otherwise. The call is known by its place among the calls of its task, by
        the function and by its arguments, as they are when `durable` is called, not when it is
        awaited.

        Calls may overlap: `asyncio.gather`, `TaskGroup` and anyio's task groups are fine.

        Cancellation: if the action's own code gives the call up (a timeout, a lost race), that
        is recorded, and the call is given up on every replay. If the worker stops the run,
        nothing is recorded and the call counts as interrupted.

        Args:
            fn: `async def`: runs on the event loop. `def`: runs in a thread. Any callable with
                a stable name; give others one by `options(name=...)` or `@durable(name=...)`.
            *args: Positional arguments. They must have a stable form; changing them afterwards
                changes no record.
            **kwargs: Keyword arguments, as `args`.

        Returns:
            A coroutine for the function's result: a decoded copy, live as on replay.

        Raises:
            Exception: What `fn` raised, live or recorded; `CallFailedError` in its place where
                its class is gone.
            CallTimeoutError: The call took longer than its declared timeout.
            InDoubtError: The call was interrupted and is declared `on_interrupt="fail"`.
            RetriesExhaustedError: Earlier lives of the process used up the attempts.
            EncodeError: An argument has no stable form, or the result cannot be recorded. The
                action must not go on as if the call had not happened.
            PayloadTooLargeError: The result is larger than the store accepts.
            UnsupportedCallableError: `fn` has no stable name.
            StoreError: The result could not be made durable; the run goes no further here.
        """

    @overload
    @abstractmethod
    def durable_sync(
        self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    @abstractmethod
    def durable_sync(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @abstractmethod
    def durable_sync(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `fn(*args, **kwargs)` as `durable` does, from a plain `def` action.

        Blocks the action's own thread until the outcome is on disk; guarantees and errors are
        those of `durable`.

        Args:
            fn: `async def`: runs on the event loop. `def`: runs in a thread.
            *args: Positional arguments.
            **kwargs: Keyword arguments.

        Raises:
            OutsideActionError: Called on the event loop; use `await ctx.durable(...)` there.
        """

    @abstractmethod
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
        """Options for single calls: `await ctx.options(timeout=5.0).durable(fetch, url)`.

        They go before those that the function declares by `@durable`; None leaves the declared
        one.

        Args:
            name: Id of the function in the journal instead of `module:qualname`.
            retry: When a failed attempt is followed by another one.
            timeout: Seconds for each attempt, > 0.
            reconciler: Asks the outside whether an interrupted call took effect. Called with
                the call's arguments or with none; returns or raises the outcome, or raises
                `NotExecuted`.
            on_interrupt: For a call in doubt without a reconciler: `"rerun"` runs it again,
                `"fail"` raises `InDoubtError`, `"ask"` parks the run until a person decides.
            limit: Name of a limit of the worker that each call takes a place of.
            key: Text that stands for the arguments where they have no stable form.

        Raises:
            TypeError: The reconciler is not callable.
            ValueError: The timeout is not positive, or `on_interrupt` is none of the three.
        """

    @abstractmethod
    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Sleep, over restarts: what is left of it is slept by the next process.

        Costs one record, however long it is. When it is over is fixed by the wall clock when it
        begins, and is on record; a clock that is set differently meanwhile moves it.

        Cancellation: if the action's own code gives it up, that is recorded.

        Args:
            seconds: How long, >= 0 and finite.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """

    @abstractmethod
    def sleep_until(self, moment: datetime) -> Coroutine[Any, Any, None]:
        """Sleep until a moment, as `sleep` does; one that has passed is over at once.

        Args:
            moment: Aware of its time zone.

        Raises:
            ValueError: It has no time zone.
        """

    @abstractmethod
    def timeout(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Give a block so much time, counted over restarts: `async with ctx.timeout(60): ...`.

        As `asyncio.timeout`, but durable: when the time is up is fixed when the block is
        entered, and that it was is on record, so that a replay ends the block at the same place
        and waits for nothing.

        Args:
            seconds: How long, >= 0 and finite.

        Raises:
            TimeoutError: From the block: its time was up.
            ValueError: `seconds` is negative or not finite.
        """

    @overload
    @abstractmethod
    def wait_for_signal(
        self, name: str, *, type: type[R], timeout: float | None = None
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    @abstractmethod
    def wait_for_signal(
        self, name: str, *, type: None = None, timeout: float | None = None
    ) -> Coroutine[Any, Any, Any]: ...
    @abstractmethod
    def wait_for_signal(
        self,
        name: str,
        *,
        type: Any = None,  # noqa: A002 - the public name
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Wait for a signal: what `Worker.signal` or `durable-agents signal` sends to this run.

        A signal may come before anyone waits for it; each is given to one wait, in the order
        received. Waiting survives restarts, and so does what was received.

        Cancellation: if the action's own code gives the wait up, that is recorded, and a signal
        that it was about to be given goes to the next who waits.

        Args:
            name: Of the signal.
            type: What its value has to be, or is made into, as an input is. Default: as sent.
            timeout: Seconds, >= 0, counted over restarts. Default: waits for ever.

        Returns:
            The value that was sent.

        Raises:
            TimeoutError: None came in time; recorded, so that a replay raises it, too.
            InputError: What came, before anyone could tell, is no such value.
            ValueError: `timeout` is negative or not finite.
        """

    @abstractmethod
    def approve(
        self, question: str, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, Approval]:
        """Wait for a person to decide; `show` has the question, and the name to answer by.

        The answer is the signal `approval:PLACE`, where the place is that of this call:
        `durable-agents signal STORE RUN approval:root:2 '{"approved": true}'`.

        Args:
            question: What the person is asked.
            timeout: Seconds, >= 0, counted over restarts. Default: waits for ever.

        Returns:
            What was decided. A rejection is an answer, too, and raises nothing.

        Raises:
            TimeoutError: Nobody answered in time.
            ValueError: `timeout` is negative or not finite.
        """

    @overload
    @abstractmethod
    def promise(self, type: type[R]) -> Promise[R]: ...
    @overload
    @abstractmethod
    def promise(self, type: None = None) -> Promise[Any]: ...
    @abstractmethod
    def promise(self, type: Any = None) -> Promise[Any]:  # noqa: A002 - the public name
        """Begin something that somebody outside finishes, in whatever process, hours later.

        Hand its `id` to whoever does, in a durable call (a payment provider's job, the link in
        a mail), and await its `result`. It has its place among the durable calls of its task:
        a replay finds it, with the same id and with what it was completed with meanwhile.

        Args:
            type: What it has to be completed with, or what that is made into, as an input is.
                Default: as it was sent.

        Returns:
            The promise. That it was made is on record before anything that is recorded later.

        Raises:
            OutsideActionError: It is made in a plain `def` action, which cannot await it.
        """

    @abstractmethod
    def version(self, change: str, old: int, new: int) -> int:
        """Which version of a change of the action's code this run follows.

        Guard a change of what an action does with it, while runs are open that were begun
        before: `if ctx.version("two-quotes", 1, 2) == 1: ...old way... else: ...new way...`.
        A run that may have come by this place before the change was made follows `old`: there
        is something on record that it has not asked for yet. Any other one follows `new`. The
        first question of a run decides for the whole run, and is on record; the answer is the
        same on every replay, in every branch, and in code that knows newer versions.

        It takes no place among the durable calls.

        Args:
            change: Name of the change, for good.
            old: The oldest version that the code still supports.
            new: The newest one, >= `old`.

        Returns:
            What is on record, within `old` and `new`. A run that follows a version that is no
            longer supported is parked; it loses nothing.

        Raises:
            TypeError: `change` is no text, or a version is no whole number.
            ValueError: `change` is empty, or `old` is above `new`, or one of them is beyond 64
                bits.
        """

    @abstractmethod
    def send(self, event: Event) -> None:
        """Send an event to the actions of this agent.

        Buffered: it becomes durable, and fires actions, when this action completes; an action
        that fails has sent nothing. Events are dealt with in the order sent. An `OutputEvent`
        leaves the agent, as by `output`.

        Args:
            event: Changing what it holds afterwards changes nothing.

        Raises:
            EncodeError: The event cannot be recorded; the error names the part in the way.
            TypeError: It is not an event.
            ValueError: It is the very event that fired this action.
        """

    @abstractmethod
    def output(self, value: object) -> None:
        """Hand a value out of the agent: the same as sending `OutputEvent(value)`.

        Buffered: it becomes visible when this action completes, exactly once.

        Raises:
            EncodeError: The value cannot be recorded; the error names the part in the way.
        """

    @property
    @abstractmethod
    def sensory_memory(self) -> MemoryObject:
        """Memory of this run, shared by its actions and gone with it.

        Writes are buffered and committed when the action completes.
        """

    @property
    @abstractmethod
    def short_term_memory(self) -> MemoryObject:
        """Memory of this key, shared by its runs, one after the other.

        Read as of the start of the action. Writes are buffered and committed when the action
        completes.
        """

    @property
    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """What the action was declared with: `@agent.action(..., mode="strict")`."""

    @property
    @abstractmethod
    def trigger(self) -> EventRecord:
        """The occurrence that fired this action, with its id and lineage."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Key of the input; runs of one key go one at a time, in order."""

    @property
    @abstractmethod
    def run_id(self) -> str:
        """Id of the run: everything that one input causes."""

    @property
    @abstractmethod
    def is_replaying(self) -> bool:
        """Whether the next durable call of this task has a recorded outcome."""

    @abstractmethod
    def now(self) -> datetime:
        """The time, in UTC and aware, such that a replay is told the same.

        It is the time of the newest record handed to this task, or of the trigger where there
        is none: it stands still between durable calls.
        """

    @property
    @abstractmethod
    def random(self) -> Random:
        """Chance that comes out the same on every replay: seeded by run, action and task."""

    @abstractmethod
    def uuid4(self) -> UUID:
        """A random UUID (version 4) that comes out the same on every replay."""

    @property
    @abstractmethod
    def logger(self) -> LoggerAdapter[Logger]:
        """Logger that knows run, key and action, and is quiet while replaying."""
