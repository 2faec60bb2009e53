"""Carries out one durable call: asks the call log, runs the function, settles the record.

The rules are `journal`'s. Here are the orders that no crash and no cancellation may turn round:

1. Identity before anything: branch, position, function and digest are fixed when `ctx.durable` is
   called, not when it is awaited.
2. Record before result: a value reaches user code only after its record is safe.
3. Pending before effect, where a repetition must not happen in silence.
4. Abandoned before cancelled: the record that user code gave a call up is enqueued before the
   CancelledError leaves this file, so that nothing recorded later can exist without it.

`tests/crash` kills the process after each record; `tests/worker/test_durable_call.py` has one test
for each line of the decision table.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from hashlib import blake2b
from inspect import isawaitable
from typing import Any, NoReturn, Protocol

from durable_agents.errors import (
    CallFailedError,
    CallTimeoutError,
    DecodeError,
    DefinitionError,
    InDoubtError,
    NotExecuted,
    ReconcilerUnavailable,
    RetriesExhaustedError,
    SerializationError,
    StoreError,
)
from durable_agents.journal import (
    Abandoned,
    CallAbandoned,
    CallBegun,
    CallIdentity,
    CallKey,
    CallLog,
    CallRecord,
    CallRetried,
    CallsCleared,
    CallSettled,
    CallStatus,
    Diverged,
    DurableOptions,
    Entry,
    Replay,
    Resolution,
    Resume,
    identify,
    is_async,
    place,
    resolution,
)
from durable_agents.retry import RetryPolicy
from durable_agents.serialization import SCALARS, Payload
from durable_agents.worker._current import CURRENT_CALL, CallInfo
from durable_agents.worker._delivery import Delivery
from durable_agents.worker._lineage import ActionTasks, Branch
from durable_agents.worker._places import Places
from durable_agents.worker._services import Services

__all__ = ["DurableCalls"]

_ONCE = RetryPolicy()
_ASK_AGAIN = RetryPolicy(max_attempts=5)
"""How often a reconciler that cannot ask now is tried, where the call declares no policy."""


class Scope(Protocol):
    """What a durable call needs of its action run."""

    run_id: str
    number: int
    tasks: ActionTasks

    def record(self, entry: Entry) -> "asyncio.Future[int]":
        """Enqueue an entry of the action."""
        ...

    def park(self, reason: str) -> NoReturn:
        """Stop the run until a person decides."""
        ...

    def taint(self, error: BaseException) -> None:
        """An effect took place and is not on record: the action must not complete."""
        ...

    def warn(self, message: str) -> None:
        """Tell people."""
        ...

    @property
    def delivery(self) -> Delivery:
        """In which order outcomes reach the action's tasks."""
        ...

    @property
    def is_direct(self) -> bool:
        """Whether a committed outcome needs no ordering."""
        ...

    @property
    def is_aborted(self) -> bool:
        """Whether the worker ends this run here."""
        ...


class CallInProgress:
    """One durable call, from its identity to its outcome."""

    __slots__ = ("attempt", "branch", "identity", "key", "scope")

    def __init__(self, scope: Scope, branch: Branch, key: CallKey, identity: CallIdentity) -> None:
        self.scope = scope
        self.branch = branch
        self.key = key
        self.identity = identity
        self.attempt = 1

    @property
    def function_id(self) -> str:
        """What the journal calls the function."""
        return self.identity.spec.function_id

    def info(self) -> CallInfo:
        """What the function is told."""
        identity = self.identity
        state = blake2b(identity.digest, digest_size=16)
        call_id = f"{self.scope.number}:{place(self.key)}"
        for part in (self.scope.run_id, call_id, identity.spec.function_id):
            state.update(part.encode() + b"\0")
        return CallInfo(self.scope.run_id, call_id, self.attempt, state.hexdigest())

    def __call__(self) -> str:
        # The codec asks for this text only when it has to name the value in an error.
        return f"the result of {self.function_id} at {place(self.key)}"


class DurableCalls:
    """The durable calls of one start of one action.

    Args:
        scope: The action run.
        log: What earlier starts left on record.
        services: The worker's.
    """

    __slots__ = ("_log", "_scope", "_services")

    def __init__(self, scope: Scope, log: CallLog, services: Services) -> None:
        self._scope = scope
        self._log = log
        self._services = services

    def make(
        self,
        branch: Branch,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: DurableOptions | None,
    ) -> Coroutine[Any, Any, Any]:
        """A coroutine for one call; its identity is fixed now.

        Whatever is wrong with the call surfaces where the coroutine is awaited.
        """
        position = branch.next_position
        branch.next_position = position + 1
        try:
            identity = identify(fn, args, kwargs, options)
        except (SerializationError, DefinitionError, TypeError) as error:
            return _raise(error)
        call = CallInProgress(self._scope, branch, (branch.path, position), identity)
        return self._perform(call)

    async def _perform(self, call: CallInProgress) -> Any:
        identity = call.identity
        spec = identity.spec
        decision = self._log.next_call(
            call.key, spec.function_id, identity.digest, identity.preview
        )
        if type(decision) is Abandoned:
            await _never()
        try:
            if type(decision) is Replay:
                return await self._replay(call, decision.record)
            if type(decision) is Resume:
                failed, value = await self._resume(call, decision.record)
            else:
                if type(decision) is Diverged:
                    self._clear(call, decision)
                # Most calls are plain `async def`: no coroutines in between, for speed.
                if spec.is_plain and spec.is_async:
                    calls = self._services.calls
                    if not calls.try_take():
                        await calls.take()
                    try:
                        failed, value = await self._outcome(call, None)
                    finally:
                        calls.give_back()
                else:
                    failed, value = await self._attempts(call, 0)
            payload = self._encoded(call, failed, value)
            settlement = self._settlement(call, failed, payload)
            future = self._scope.record(settlement)
            try:
                if self._scope.is_direct:
                    await future
                else:
                    await self._scope.delivery.commit(call.key, future)
            except StoreError as error:
                _name_call(call, error)
                raise
        except asyncio.CancelledError:
            self._abandon(call)
            raise
        call.branch.time = settlement.at
        # What the caller gets live is what a replay would give: exact scalars as they are,
        # everything else decoded anew.
        codec = self._services.codec
        if failed:
            raise codec.decode_failure(payload).with_traceback(value.__traceback__)
        return value if type(value) in SCALARS else codec.decode(payload)

    async def _replay(self, call: CallInProgress, record: CallRecord) -> Any:
        await self._scope.delivery.hand_over(call.key)
        call.branch.time = max(call.branch.time, record.at)
        assert record.payload is not None, "a settled record has a payload"
        codec = self._services.codec
        try:
            if record.status is CallStatus.SUCCEEDED:
                return codec.decode(record.payload)
            failure = codec.decode_failure(record.payload)
        except DecodeError as error:
            self._scope.taint(error)  # nothing may complete in place of a value that is there
            raise
        raise failure

    async def _resume(self, call: CallInProgress, record: CallRecord) -> tuple[bool, Any]:
        match resolution(record, call.identity.spec.options):
            case Resolution.FAIL:
                return True, InDoubtError(call.function_id, place(call.key))
            case Resolution.PARK:
                self._scope.park(f"{record} at {place(call.key)} is in doubt; resolve it")
            case Resolution.RECONCILE:
                outcome = await self._reconcile(call)
            case Resolution.RUN:
                outcome = None
        return await self._attempts(call, record.attempts) if outcome is None else outcome

    def _clear(self, call: CallInProgress, diverged: Diverged) -> None:
        policy = self._services.settings.on_divergence
        if diverged.must_park(policy):
            self._scope.park(f"the code no longer repeats its calls: {diverged.difference}")
        self._scope.warn(f"dropped {len(diverged.dropped)} records: {diverged.difference}")
        branch, position = call.key
        now = self._services.clock.now()
        # Enqueued before any later settlement; a crash in between finds both or neither.
        self._scope.record(
            CallsCleared(self._scope.number, branch, position, diverged.difference, now)
        )
        self._log.clear(call.key)
        self._scope.delivery.release()

    def _abandon(self, call: CallInProgress) -> None:
        if self._scope.is_aborted:
            return  # the worker's doing is no fact about the call
        branch, position = call.key
        identity = call.identity
        self._scope.record(
            CallAbandoned(
                self._scope.number,
                branch,
                position,
                identity.spec.function_id,
                identity.digest,
                identity.preview,
                identity.spec.options.is_guarded,
                self._services.clock.now(),
            )
        )

    async def _attempts(self, call: CallInProgress, made: int) -> tuple[bool, Any]:
        """Try until an attempt succeeds or the policy gives up."""
        options = call.identity.spec.options
        policy = options.retry or _ONCE
        function = call.function_id
        if made >= policy.max_attempts:
            return True, RetriesExhaustedError(function, made)
        while True:
            made += 1
            call.attempt = made
            failed, value = await self._attempt(call)
            if not failed:
                return False, value
            if options.is_guarded and isinstance(value, CallTimeoutError):
                return await self._after_timeout(call, value)
            wait = policy.wait_after(made, value, self._chance(call))
            if wait is None:
                if made > 1:
                    value.add_note(f"durable call {function}: attempt {made} was the last one")
                return True, value
            await self._record_retry(call, value)
            await self._services.clock.sleep(wait)

    async def _attempt(self, call: CallInProgress) -> tuple[bool, Any]:
        """Run the function once; returns whether it failed, and its value or exception."""
        spec = call.identity.spec
        options = spec.options
        calls = self._services.calls
        if options.limit is not None:
            return await self._attempt_within(self._services.limit(options.limit), call)
        if not calls.try_take():
            await calls.take()
        if not spec.is_async:
            return await self._attempt_in_thread(call, calls.give_back)
        try:
            if options.is_guarded:
                await self._begin(call)
            return await self._run(call, options.timeout)
        finally:
            calls.give_back()

    async def _attempt_within(self, limit: Places, call: CallInProgress) -> tuple[bool, Any]:
        """The same under a limit by name; taken first, so that who waits for it blocks nobody."""
        await limit.take()
        calls = self._services.calls
        try:
            await calls.take()
        except BaseException:
            limit.give_back()
            raise

        def leave() -> None:
            calls.give_back()
            limit.give_back()

        if not call.identity.spec.is_async:
            return await self._attempt_in_thread(call, leave)
        try:
            if call.identity.spec.options.is_guarded:
                await self._begin(call)
            return await self._run(call, call.identity.spec.options.timeout)
        finally:
            leave()

    async def _attempt_in_thread(
        self, call: CallInProgress, leave: Callable[[], None]
    ) -> tuple[bool, Any]:
        """A plain function keeps its places until it returns, whoever still waits for it."""
        identity = call.identity
        if identity.spec.options.is_guarded:
            try:
                await self._begin(call)
            except BaseException:
                leave()
                raise
        context = contextvars.copy_context()
        context.run(CURRENT_CALL.set, call)
        function = partial(identity.spec.fn, *identity.args, **identity.kwargs)
        future = self._services.threads.run(function, context, leave)
        return await self._run(call, identity.spec.options.timeout, future)

    async def _run(
        self,
        call: CallInProgress,
        timeout: float | None,
        future: "asyncio.Future[Any] | None" = None,
    ) -> tuple[bool, Any]:
        if timeout is None:
            return await self._outcome(call, future)
        try:
            async with asyncio.timeout(timeout) as bound:
                return await self._outcome(call, future)
        except TimeoutError:
            if not bound.expired():
                raise
        return True, CallTimeoutError(call.function_id, timeout)

    async def _outcome(
        self, call: CallInProgress, future: "asyncio.Future[Any] | None"
    ) -> tuple[bool, Any]:
        identity = call.identity
        CURRENT_CALL.set(call)
        try:
            awaitable = (
                identity.spec.fn(*identity.args, **identity.kwargs) if future is None else future
            )
            value = await awaitable
            if isawaitable(value):
                # A plain wrapper around an async function: what it returned runs on the loop.
                value = await value
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the call's outcome
            return True, error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._scope.is_aborted or (task is not None and task.cancelling()):
                raise
            # Nobody cancelled us: the function did it to itself, and would hang a replay.
            return True, _own_cancellation(error)
        finally:
            CURRENT_CALL.set(None)
        return False, value

    async def _begin(self, call: CallInProgress) -> None:
        branch, position = call.key
        identity = call.identity
        await self._recorded(
            call,
            CallBegun(
                self._scope.number,
                branch,
                position,
                identity.spec.function_id,
                identity.digest,
                identity.preview,
                call.attempt,
                self._services.clock.now(),
            ),
        )

    async def _record_retry(self, call: CallInProgress, error: BaseException) -> None:
        branch, position = call.key
        identity = call.identity
        await self._recorded(
            call,
            CallRetried(
                self._scope.number,
                branch,
                position,
                identity.spec.function_id,
                identity.digest,
                call.attempt,
                self._encoded(call, True, error),
                self._services.clock.now(),
            ),
        )

    async def _recorded(self, call: CallInProgress, entry: Entry) -> None:
        try:
            await self._scope.record(entry)
        except StoreError as error:
            _name_call(call, error)
            raise

    async def _after_timeout(
        self, call: CallInProgress, timeout: CallTimeoutError
    ) -> tuple[bool, Any]:
        """A guarded call that timed out is in doubt: it is treated so, not retried blindly."""
        options = call.identity.spec.options
        where = place(call.key)
        if options.reconciler is not None:
            outcome = await self._reconcile(call)
            return (True, timeout) if outcome is None else outcome
        if options.on_interrupt == "ask":
            self._scope.park(f"{call.identity} at {where} is in doubt: {timeout}")
        in_doubt = InDoubtError(call.function_id, where)
        in_doubt.__cause__ = timeout
        return True, in_doubt

    async def _reconcile(self, call: CallInProgress) -> tuple[bool, Any] | None:
        """Ask whether the call took effect: its outcome, or None where it did not."""
        options = call.identity.spec.options
        policy = options.retry or _ASK_AGAIN
        attempt = 0
        while True:
            attempt += 1
            failed, value = await self._ask_reconciler(call)
            if not failed:
                return False, value
            if isinstance(value, NotExecuted):
                return None
            if not isinstance(value, ReconcilerUnavailable):
                return True, value
            wait = policy.wait_after(attempt, value, self._chance(call))
            if wait is None:
                # Never recorded: the call stays in doubt, and a retry of the run asks again.
                self._scope.taint(value)
                raise value
            await self._services.clock.sleep(wait)

    async def _ask_reconciler(self, call: CallInProgress) -> tuple[bool, Any]:
        identity = call.identity
        reconciler = identity.spec.options.reconciler
        assert reconciler is not None, "the decision was made by its presence"
        if identity.spec.reconciler_takes_arguments:
            reconciler = partial(reconciler, *identity.args, **identity.kwargs)
        context = contextvars.copy_context()
        context.run(CURRENT_CALL.set, call)
        CURRENT_CALL.set(call)
        try:
            if is_async(reconciler):
                return False, await reconciler()
            return False, await self._services.threads.run(reconciler, context, _nothing)
        except Exception as error:  # noqa: BLE001 - its failure is an answer, too
            return True, error
        finally:
            CURRENT_CALL.set(None)

    def _settlement(self, call: CallInProgress, failed: bool, payload: Payload) -> CallSettled:
        identity = call.identity
        spec = identity.spec
        branch, position = call.key
        return CallSettled(
            self._scope.number,
            branch,
            position,
            spec.function_id,
            identity.digest,
            identity.preview,
            failed,
            payload,
            call.attempt,
            spec.options.is_guarded,
            self._services.clock.now(),
        )

    def _encoded(self, call: CallInProgress, failed: bool, value: Any) -> Payload:
        codec = self._services.codec
        try:
            return codec.encode_failure(value, call) if failed else codec.encode(value, call)
        except SerializationError as error:
            # The effect took place and is not on record: nothing may complete on top of it.
            self._scope.taint(error)
            raise

    def _chance(self, call: CallInProgress) -> float:
        """A number for the jitter that takes nothing from the user's own seeded source."""
        seed = f"{call.branch.seed}{place(call.key)}#{call.attempt}"
        return random.Random(seed).random()  # noqa: S311 - not a secret


def _raise(error: Exception) -> Coroutine[Any, Any, NoReturn]:
    async def fail() -> NoReturn:
        raise error

    return fail()


async def _never() -> NoReturn:
    """Wait for the cancellation that ended this call the first time."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody settles this future")


def _nothing() -> None:
    """A reconciler takes no place of the pool."""


def _name_call(call: CallInProgress, error: StoreError) -> None:
    error.add_note(
        f"{call()} could not be recorded; the run goes on from its last record when the store "
        "is back"
    )


def _own_cancellation(error: asyncio.CancelledError) -> CallFailedError:
    text = "the function cancelled itself"
    failure = CallFailedError("asyncio.exceptions.CancelledError", text)
    failure.__cause__ = error
    return failure
