"""Completing a promise from outside: a signal that is there once, whoever sends it how often.

Whoever delivers over a network delivers twice. So the same outcome again is no error, even
when the run has ended meanwhile; another one is, since somebody takes a decision for taken
that was not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from durable_agents.clock import Clock
from durable_agents.errors import (
    InputError,
    PromiseFailedError,
    RunStateError,
    StoreUnavailableError,
)
from durable_agents.journal import SignalReceived, is_promise, promise_name, promise_of
from durable_agents.serialization import Codec, Payload
from durable_agents.store import Store, Write, name_of, state_of
from durable_agents.worker._decisions import find
from durable_agents.worker._promises import FAILURE

__all__ = ["Completion", "check_name", "complete", "completion_of"]

Send: TypeAlias = Callable[[str, SignalReceived, object], Awaitable[bool]]
"""Gives a run a signal; returns whether it was new."""


class Completion(NamedTuple):
    """What a promise is completed with."""

    run_id: str
    call: str
    received: SignalReceived
    value: object
    """For whoever checks that it fits."""


def completion_of(
    codec: Codec,
    clock: Clock,
    promise: str,
    value: object,
    error: Exception | str | None,
) -> Completion:
    """What completes a promise.

    Args:
        codec: The worker's.
        clock: Where the time comes from.
        promise: Its id.
        value: What it comes to.
        error: What waiting for it raises instead; text becomes a `PromiseFailedError`.

    Raises:
        InputError: There is no such id.
        TypeError: The error is neither an exception nor text.
        ValueError: Both a value and an error were given.
        EncodeError: The value cannot be recorded.
    """
    run_id, call = promise_of(promise)
    if error is None:
        payload = codec.encode(value, f"the value of promise {call}")
    else:
        payload = _failure_of(codec, call, value, error)
        value = FAILURE
    name = promise_name(call)
    received = SignalReceived(name, name, payload, clock.now())
    return Completion(run_id, call, received, value)


def _failure_of(codec: Codec, call: str, value: object, error: object) -> Payload:
    if value is not None:
        msg = "complete takes a value or error=, not both"
        raise ValueError(msg)
    if isinstance(error, str):
        error = PromiseFailedError(error)
    if not isinstance(error, Exception):
        msg = f"error= takes an Exception or a text, got {error!r}"
        raise TypeError(msg)
    return codec.encode_failure(error, f"the error of promise {call}")


async def complete(store: Store, codec: Codec, completion: Completion, send: Send) -> bool:
    """Complete a promise, by a signal or by what was signalled already.

    Args:
        store: Where its run is kept; open.
        codec: The worker's.
        completion: What to.
        send: Gives the run a signal.

    Returns:
        Whether it was completed by this; False where it had been by the same.

    Raises:
        RunStateError: It was completed with something else; or the run has ended, or another
            worker has it.
        UnknownRunError: The store has no such run.
        StoreError: It cannot be recorded.
    """
    run_id, call, received, value = completion
    refused: RunStateError | None = None
    try:
        if await send(run_id, received, value):
            return True
    except RunStateError as error:
        refused = error
    first = await _first(store, run_id, received.name)
    if first is None and refused is None:
        # It is on its way still: it is there, or has failed, when this is.
        number = (await find(store, run_id)).number
        await asyncio.shield(store.append(Write(number=number, entries=[])))
        first = await _first(store, run_id, received.name)
    if first is None:
        problem = f"promise {call} of run {run_id} could not be completed: try again"
        raise refused or StoreUnavailableError(name_of(store), problem)
    if not _is_same(codec, first, received.value):
        problem = f"its promise {call} was completed before, with something else: that stays"
        raise RunStateError(run_id, problem)
    return False


async def _first(store: Store, run_id: str, name: str) -> Payload | None:
    """What a promise was completed with, as far as that is durable; None: it was not."""
    _, state = await state_of(store, (await find(store, run_id)).number)
    return next((signal.value for signal in state.signals if signal.name == name), None)


def _is_same(codec: Codec, first: Payload, second: Payload) -> bool:
    if first == second:
        return True
    if first.is_failure != second.is_failure:
        return False
    try:
        if first.is_failure:
            # Their tracebacks say where they were handed in, and differ.
            one, other = codec.decode_failure(first), codec.decode_failure(second)
            return type(one) is type(other) and str(one) == str(other)
        return bool(codec.decode(first) == codec.decode(second))
    except Exception:  # noqa: BLE001 - values of any class, which may not be loaded here
        return False


def check_name(name: str) -> None:
    """Refuse a signal that would complete a promise past its id.

    Raises:
        InputError: It would.
    """
    if is_promise(name):
        problem = f"signal {name!r} is a promise's: complete it by its id"
        raise InputError(problem)
