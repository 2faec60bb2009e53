"""Runs the function of a durable call: its places, its threads, its timeout, its retries.

What comes out is an outcome, a value or an exception, and nothing of it is on record yet. The
one thing that does not become an outcome is an interrupt: a cancellation from outside,
KeyboardInterrupt and SystemExit pass through.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable
from enum import Enum
from functools import partial
from inspect import isawaitable
from typing import Any, Final, Literal

from durable_agents.errors import (
    CallFailedError,
    CallTimeoutError,
    InDoubtError,
    NotExecuted,
    ReconcilerUnavailable,
    RetriesExhaustedError,
    RunAborted,
)
from durable_agents.journal import CallBegun, CallRetried, is_async
from durable_agents.retry import RetryPolicy
from durable_agents.worker._adaptive_places import AdaptivePlaces
from durable_agents.worker._call import CallInProgress, Failed, Outcome, Scope
from durable_agents.worker._current import CURRENT_CALL
from durable_agents.worker._lease import Lease
from durable_agents.worker._places import Places
from durable_agents.worker._services import Services

__all__ = ["INTERRUPTS", "NOT_EXECUTED", "Attempts"]

_LOST = "the run ended here, or another worker took it over, before the call began"
_ONCE = RetryPolicy()
_ASK_AGAIN = RetryPolicy(max_attempts=5)
"""How often a reconciler that cannot ask now is tried, where the call declares no policy."""


class _NotExecuted(Enum):
    TOKEN = 0


INTERRUPTS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, RunAborted)
"""What ends a process or a run from outside, and is never an outcome."""

NOT_EXECUTED: Final = _NotExecuted.TOKEN
"""The reconciler's answer that the call never took effect."""


class Attempts:
    """How the durable calls of one action run their functions.

    Args:
        scope: The action run.
        services: The worker's.
    """

    __slots__ = ("_scope", "_services")

    def __init__(self, scope: Scope, services: Services) -> None:
        self._scope = scope
        self._services = services

    async def run(self, call: CallInProgress, made: int) -> Outcome:
        """Try until an attempt succeeds or the policy gives up.

        Args:
            call: The call.
            made: Attempts that are on record.
        """
        policy = call.options.retry or _ONCE
        if made >= policy.max_attempts:
            return Failed(RetriesExhaustedError(call.function_id, made))
        while True:
            made += 1
            call.attempt = made
            outcome = await self._attempt(call)
            if type(outcome) is not Failed:
                return outcome
            error = outcome.error
            if call.options.is_guarded and isinstance(error, CallTimeoutError):
                return await self._after_timeout(call, error)
            wait = policy.wait_after(made, error, self._chance(call))
            if wait is None:
                if made > 1:
                    error.add_note(f"durable call {call.function_id}: {made} attempts failed")
                return outcome
            await self._record_retry(call, error)
            await self._services.clock.sleep(wait)

    async def reconcile(self, call: CallInProgress) -> Outcome | Literal[_NotExecuted.TOKEN]:
        """Ask whether an interrupted call took effect.

        Returns:
            The call's outcome, or `NOT_EXECUTED`.

        Raises:
            ReconcilerUnavailable: It cannot be asked, however often. Nothing is recorded: the
                call stays in doubt, and the next start of the action asks again.
        """
        policy = call.options.retry or _ASK_AGAIN
        attempt = 0
        while True:
            attempt += 1
            outcome = await self._ask_reconciler(call)
            if type(outcome) is not Failed:
                return outcome
            if isinstance(outcome.error, NotExecuted):
                return NOT_EXECUTED
            if not isinstance(outcome.error, ReconcilerUnavailable):
                return outcome
            wait = policy.wait_after(attempt, outcome.error, self._chance(call))
            if wait is None:
                self._scope.taint(outcome.error)
                raise outcome.error
            await self._services.clock.sleep(wait)

    async def _attempt(self, call: CallInProgress) -> Outcome:
        """One attempt, once there is a place for it in its limit and in the pool."""
        calls = self._services.calls
        if call.options.limit is None:
            await calls.take()
            return await self._attempt_in_place(call, calls.give_back)
        # The limit first: who waits for it keeps nobody else out of the pool.
        limit = self._services.limit(call.options.limit)
        await limit.take()
        try:
            await calls.take()
        except BaseException:
            limit.give_back()
            raise
        adaptive = limit if isinstance(limit, AdaptivePlaces) else None
        return await self._attempt_in_place(call, partial(_leave, calls, limit), adaptive)

    async def _attempt_in_place(
        self,
        call: CallInProgress,
        leave: Callable[[], None],
        adaptive: AdaptivePlaces | None = None,
    ) -> Outcome:
        future = None
        try:
            if call.options.is_guarded:
                await self._record_begin(call)
            # Last: nothing is waited for between this and the beginning of the call.
            if self._services.lease is not None:
                await self._make_sure(self._services.lease)
            if not call.identity.spec.is_async:
                future = self._start_thread(call, leave)
            if adaptive is None:
                return await self._bounded_outcome(call, future)
            return await self._observed_outcome(call, future, adaptive)
        finally:
            # A plain function keeps its places until it returns, whoever still waits for it.
            if future is None:
                leave()

    async def _make_sure(self, lease: Lease) -> None:
        """No call begins in a run that another worker may have taken over."""
        if lease.is_valid:
            return
        is_sure = False
        while not is_sure and not self._scope.is_aborted:
            is_sure = await lease.confirm()
        if self._scope.is_aborted:
            raise RunAborted(_LOST)

    def _start_thread(
        self, call: CallInProgress, leave: Callable[[], None]
    ) -> asyncio.Future[Any]:
        identity = call.identity
        context = contextvars.copy_context()
        context.run(CURRENT_CALL.set, call)
        function = partial(identity.spec.fn, *identity.args, **identity.kwargs)
        if self._services.lease is not None:
            function = partial(self._begin_in_thread, self._services.lease, function)
        return self._services.threads.run(function, context, leave)

    def _begin_in_thread(self, lease: Lease, function: Callable[[], Any]) -> Any:
        """Call a function for which its thread may have had no time until now."""
        if not lease.is_valid:
            sure = self._make_sure(lease)
            asyncio.run_coroutine_threadsafe(sure, self._services.threads.loop).result()
        if self._scope.is_aborted:
            raise RunAborted(_LOST)
        return function()

    async def _observed_outcome(
        self,
        call: CallInProgress,
        future: "asyncio.Future[Any] | None",
        adaptive: AdaptivePlaces,
    ) -> Outcome:
        """The outcome of an attempt, told to the limit that it counts for."""
        clock = self._services.clock
        began = clock.monotonic()
        outcome = await self._bounded_outcome(call, future)
        error = outcome.error if type(outcome) is Failed else None
        try:
            adaptive.observe(clock.monotonic() - began, error)
        except Exception as wrong:  # noqa: BLE001 - what the author's function raises
            # The call has had its effect: its outcome stands, whatever becomes of the limit.
            self._scope.warn(f"backs_off_on of limit {call.options.limit!r} raised {wrong!r}")
        return outcome

    async def _bounded_outcome(
        self, call: CallInProgress, future: "asyncio.Future[Any] | None"
    ) -> Outcome:
        seconds = call.options.timeout
        if seconds is None:
            return await self.outcome(call, future)
        bound = asyncio.timeout(seconds)
        try:
            async with bound:
                return await self.outcome(call, future)
        except TimeoutError:
            if not bound.expired():
                raise
        return Failed(CallTimeoutError(call.function_id, seconds))

    async def outcome(
        self, call: CallInProgress, future: "asyncio.Future[Any] | None"
    ) -> Outcome:
        """Run the function once, in a place that was taken for it.

        Args:
            call: The call.
            future: What its thread comes to; None: an `async def`, run here on the loop.
        """
        identity = call.identity
        # The task knows for itself; the context is for what the function starts.
        steps = self._services.lineage.current
        assert steps is not None, "a durable call is made by a task of an action"
        steps.call = call
        CURRENT_CALL.set(call)
        try:
            if future is None:
                value = await identity.spec.fn(*identity.args, **identity.kwargs)
            else:
                value = await future
                if isawaitable(value):
                    # A plain wrapper around an async function: what it gave runs on the loop.
                    value = await value
        except BaseException as error:
            value = self.outcome_of(error)
            if value is None:
                raise
        finally:
            steps.call = None
            CURRENT_CALL.set(None)
        return value

    def outcome_of(self, error: BaseException) -> Failed | None:
        """What a call came to whose function raised this; None: its end comes from outside."""
        if isinstance(error, INTERRUPTS):
            return None
        if not isinstance(error, asyncio.CancelledError):
            return Failed(error)
        task = asyncio.current_task()
        if self._scope.is_aborted or (task is not None and task.cancelling()):
            return None
        # Nobody cancelled us: the function did it to itself, and would hang a replay.
        return Failed(_own_cancellation(error))

    async def _after_timeout(self, call: CallInProgress, expired: CallTimeoutError) -> Outcome:
        """A guarded call that timed out is in doubt: treated so, not retried blindly."""
        if call.options.reconciler is not None:
            outcome = await self.reconcile(call)
            return Failed(expired) if outcome is NOT_EXECUTED else outcome
        if call.options.on_interrupt == "ask":
            self._scope.park(f"{call.identity} at {call.place} is in doubt: {expired}")
        in_doubt = InDoubtError(call.function_id, call.place)
        in_doubt.__cause__ = expired
        return Failed(in_doubt)

    async def _ask_reconciler(self, call: CallInProgress) -> Outcome:
        identity = call.identity
        reconciler = identity.spec.options.reconciler
        assert reconciler is not None, "the decision was made by its presence"
        if identity.spec.reconciler_takes_arguments:
            reconciler = partial(reconciler, *identity.args, **identity.kwargs)
        steps = self._services.lineage.current
        assert steps is not None, "a durable call is made by a task of an action"
        steps.call = call
        CURRENT_CALL.set(call)
        try:
            if is_async(reconciler):
                return await reconciler()
            context = contextvars.copy_context()
            return await self._services.threads.run(reconciler, context, _leave_nothing)
        except Exception as error:  # noqa: BLE001 - its failure is an answer, too
            return Failed(error)
        finally:
            steps.call = None
            CURRENT_CALL.set(None)

    async def _record_begin(self, call: CallInProgress) -> None:
        branch, position = call.key
        identity = call.identity
        begun = CallBegun(
            self._scope.number,
            branch,
            position,
            call.function_id,
            identity.digest,
            identity.preview,
            call.attempt,
            self._services.clock.now(),
        )
        await self._scope.record(begun)

    async def _record_retry(self, call: CallInProgress, error: BaseException) -> None:
        branch, position = call.key
        retried = CallRetried(
            self._scope.number,
            branch,
            position,
            call.function_id,
            call.identity.digest,
            call.attempt,
            self._services.codec.encode_failure(error, call),
            self._services.clock.now(),
        )
        await self._scope.record(retried)

    def _chance(self, call: CallInProgress) -> float:
        """A number for the jitter that takes nothing from the author's own seeded source."""
        seed = f"{call.branch.seed}{call.place}#{call.attempt}"
        return random.Random(seed).random()  # noqa: S311 - not a secret


def _leave(calls: Places, limit: Places) -> None:
    calls.give_back()
    limit.give_back()


def _leave_nothing() -> None:
    """A reconciler takes no place of the pool."""


def _own_cancellation(error: asyncio.CancelledError) -> CallFailedError:
    text = "the function cancelled itself"
    failure = CallFailedError("asyncio.exceptions.CancelledError", text)
    failure.__cause__ = error
    return failure
