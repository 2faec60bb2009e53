"""Carries out durable calls: asks the call log, runs the function, settles the record.

The rules are `journal`'s. Here are the orders that no crash and no cancellation may turn round:

1. Identity before anything: branch, position, function and digest are fixed when `ctx.durable`
   is called, not when it is awaited.
2. Record before result: a value reaches user code only after its record is safe.
3. Pending before effect, where a repetition must not happen in silence (`_attempts.py`).
4. Abandoned before cancelled: the record that user code gave a call up is enqueued before the
   CancelledError leaves this file, so that nothing recorded later can exist without it.

`tests/crash` kills the process after each record; `tests/worker/test_durable_call.py` has a
test for each line of the decision table.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn

from durable_agents.errors import (
    DecodeError,
    DefinitionError,
    InDoubtError,
    SerializationError,
    StoreError,
)
from durable_agents.journal import (
    EMPTY_LOG,
    START,
    Abandoned,
    CallLog,
    CallRecord,
    CallSettled,
    CallStatus,
    Decision,
    Diverged,
    DurableOptions,
    Replay,
    Resolution,
    Resume,
    identify,
    resolution,
)
from durable_agents.serialization import SCALARS, Payload
from durable_agents.worker._attempts import NOT_EXECUTED, Attempts
from durable_agents.worker._call import CallInProgress, Failed, Outcome, Scope
from durable_agents.worker._current import CURRENT_CALL
from durable_agents.worker._lineage import Branch
from durable_agents.worker._replaying import Replaying
from durable_agents.worker._services import Services

__all__ = ["DurableCalls"]


class DurableCalls(Replaying):
    """The durable calls of one start of one action.

    Args:
        scope: The action run.
        log: What earlier starts left on record.
        services: The worker's.
    """

    __slots__ = ("_attempts",)

    def __init__(self, scope: Scope, log: CallLog, services: Services) -> None:
        super().__init__(scope, log, services)
        self._attempts = Attempts(scope, services)

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
        if not self._scope.codec.shows_arguments:
            identity.preview = "..."
        call = CallInProgress(self._scope, branch, (branch.path, position), identity)
        return self._perform(call)

    # Not cut into coroutines: one more for each call would take a hundredth of its time.
    async def _perform(  # noqa: C901, PLR0912, PLR0915
        self, call: CallInProgress
    ) -> Any:
        identity, scope, services = call.identity, self._scope, self._services
        spec = identity.spec
        if self._log is EMPTY_LOG:
            decision: Decision = START
        else:
            decision = self._log.next_call(
                call.key, spec.function_id, identity.digest, identity.preview
            )
            if type(decision) is Abandoned:
                await self._stay_abandoned(call.key, decision.record)
        try:
            if (
                decision is START
                and spec.is_direct
                and services.lease is None
                and services.at_end_of_record is None
                and services.calls.try_take()
            ):
                # Nothing to look up, to wait for or to write first: what `Attempts` does in
                # this case, without its coroutines.
                steps = services.lineage.current
                assert steps is not None, "a durable call is made by a task of an action"
                steps.call = call
                CURRENT_CALL.set(call)
                try:
                    outcome = await spec.fn(*identity.args, **identity.kwargs)
                except BaseException as error:
                    outcome = self._attempts.outcome_of(error)
                    if outcome is None:
                        raise
                finally:
                    steps.call = None
                    CURRENT_CALL.set(None)
                    services.calls.give_back()
            elif type(decision) is Replay:
                return await self._replay(call, decision.record)
            else:
                outcome = await self._execute(call, decision)
            payload, now, future = self._settle(call, outcome)
            if scope.is_direct:
                await future
            else:
                await scope.delivery.commit(call.key, future)
        except asyncio.CancelledError:
            self._abandon(
                call.key,
                spec.function_id,
                identity.digest,
                identity.preview,
                guarded=spec.is_guarded,
            )
            raise
        except StoreError as error:
            if type(decision) is not Replay:  # else it is what the function raised, once
                error.add_note(
                    f"{call()} could not be recorded; the run goes on from its last record "
                    "when the store is back"
                )
            raise
        call.branch.move_on(now)
        return outcome if type(outcome) in SCALARS else self._as_replayed(outcome, payload)

    def _as_replayed(self, outcome: Outcome, payload: Payload) -> Any:
        """What the caller gets live is what a replay would give: decoded anew."""
        codec = self._scope.codec
        if type(outcome) is Failed:
            traceback = outcome.error.__traceback__
            raise codec.decode_failure(payload).with_traceback(traceback)
        return codec.decode(payload)

    async def _execute(self, call: CallInProgress, decision: Decision) -> Outcome:
        """The outcome of a call that has none on record."""
        if type(decision) is Diverged:
            self._clear(call.key, decision)
        if self._services.at_end_of_record is not None:
            await self._services.at_end_of_record(f"{call.identity} at {call.place}")
        if type(decision) is Resume:
            return await self._resume(call, decision.record)
        return await self._attempts.run(call, 0)

    async def _replay(self, call: CallInProgress, record: CallRecord) -> Any:
        await self._scope.delivery.hand_over(call.key)
        call.branch.move_on(record.at)
        assert record.payload is not None, "a settled record has a payload"
        codec = self._scope.codec
        try:
            if record.status is CallStatus.SUCCEEDED:
                return codec.decode(record.payload)
            failure = codec.decode_failure(record.payload)
        except DecodeError as error:
            self._scope.taint(error)  # nothing may complete in place of a value that is there
            raise
        raise failure

    async def _resume(self, call: CallInProgress, record: CallRecord) -> Outcome:
        match resolution(record, call.options):
            case Resolution.FAIL:
                return Failed(InDoubtError(call.function_id, call.place))
            case Resolution.PARK:
                self._scope.park(f"{record} at {call.place} is in doubt; resolve it")
            case Resolution.RECONCILE:
                outcome = await self._attempts.reconcile(call)
                if outcome is not NOT_EXECUTED:
                    return outcome
            case Resolution.RUN:
                pass
        return await self._attempts.run(call, record.attempts)

    def _settle(
        self, call: CallInProgress, outcome: Outcome
    ) -> tuple[Payload, float, asyncio.Future[int]]:
        """Enqueue the record of an outcome.

        Returns:
            The outcome encoded for the caller, when it settled, and when that is on record.
        """
        scope = self._scope
        codec, has_failed = scope.codec, type(outcome) is Failed
        try:
            if has_failed:
                payload = recorded = codec.encode_failure(outcome.error, call)
            else:
                payload = codec.encode(outcome, call)
                recorded = payload if type(payload) is Payload else codec.shared(payload)
        except SerializationError as error:
            # The effect took place and is not on record: nothing may complete on top of it.
            scope.taint(error)
            raise
        identity = call.identity
        spec = identity.spec
        branch, position = call.key
        now = self._services.clock.now()
        future = scope.record(
            CallSettled(
                scope.number,
                branch,
                position,
                spec.function_id,
                identity.digest,
                identity.preview,
                has_failed,
                recorded,
                call.attempt,
                spec.is_guarded,
                now,
            )
        )
        return payload, now, future


def _raise(error: Exception) -> Coroutine[Any, Any, NoReturn]:
    async def fail() -> NoReturn:
        raise error

    return fail()
