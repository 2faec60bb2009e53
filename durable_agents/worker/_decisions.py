"""What people decide about runs: cancel, retry, resolve, fork, prune.

`recovery` says to which entries a decision comes; here they are written. This needs neither an
agent nor a worker, so that a command can decide while nothing runs. Where a worker owns the
store, its `Steering` sees to it that the dispatcher does what was decided.
"""

import asyncio
import math
import secrets
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from durable_agents import recovery
from durable_agents.clock import Clock
from durable_agents.errors import (
    CallFailedError,
    RunStateError,
    StoreConflictError,
    UnknownRunError,
)
from durable_agents.forking import Edit, fork_of, renamed
from durable_agents.journal import Entry, RunForked, RunState, RunStatus, SignalReceived
from durable_agents.serialization import Codec
from durable_agents.store import (
    NewRun,
    Retention,
    RunRow,
    Store,
    Write,
    state_in,
    state_of,
)

__all__ = [
    "UNSET",
    "Decide",
    "cancel",
    "check_fork",
    "edit",
    "find",
    "fork",
    "fork_id",
    "prune",
    "put_back",
    "resolution",
    "retention",
    "retry",
    "signal",
]

Decide: TypeAlias = Callable[[RunState, float], list[Entry]]
"""The entries that a decision comes to, from the run's state and the time."""


class _Unset:
    """No value was given; None is one."""


UNSET = _Unset()


async def cancel(store: Store, clock: Clock, run_id: str, reason: str) -> RunStatus:
    """End a run of which no action runs; returns what it had come to.

    Raises:
        UnknownRunError: The store has no such run.
        RunStateError: It completed, or was cancelled already, or another worker has it.
        StoreError: It cannot be written.
    """
    row = await find(store, run_id)
    _, state = await state_of(store, row.number)
    entries = recovery.cancelled(state, reason, clock.now())
    write = Write(
        number=row.number,
        entries=entries,
        status=RunStatus.CANCELLED,
        decided_on=row.status,
    )
    await _decided(store, row, write)
    return state.status


async def signal(store: Store, run_id: str, received: SignalReceived) -> bool:
    """Put a signal on record for a run of which no action runs; see `Worker.signal`.

    Raises:
        UnknownRunError: The store has no such run.
        RunStateError: It completed, or was cancelled; or another worker has it.
        StoreError: It cannot be written.
    """
    row = await find(store, run_id)
    _, state = await state_of(store, row.number)
    recovery.check_signal(state)
    if received.signal_id and any(s.signal_id == received.signal_id for s in state.signals):
        return False
    write = Write(number=row.number, entries=[received])
    if row.status is RunStatus.WAITING:
        write.status = RunStatus.ACCEPTED  # the next worker has it go on at once
    await _decided(store, row, write)
    return True


async def put_back(
    store: Store, clock: Clock, run_id: str, decide: Decide
) -> tuple[RunRow, Write]:
    """Put a run back to work that failed or is parked.

    A failed run goes to the end of the line of its key; one that kept its key goes on.

    Args:
        store: Where it is kept; open.
        clock: Where the time comes from.
        run_id: The run.
        decide: `retry()` or `resolution(...)`.

    Raises:
        UnknownRunError: The store has no such run.
        RunStateError: The decision does not go with what the run has come to, or another
            worker has the run.
        StoreError: It cannot be written.
    """
    row = await find(store, run_id)
    _, state = await state_of(store, row.number)
    write = Write(
        number=row.number,
        entries=decide(state, clock.now()),
        status=RunStatus.ACCEPTED,
        requeues=not state.status.waits_for_person,
        decided_on=row.status,
    )
    await _decided(store, row, write)
    return row, write


async def _decided(store: Store, row: RunRow, write: Write) -> None:
    try:
        await asyncio.shield(store.append(write))
    except StoreConflictError as error:
        # Refused as long as that worker has the run, and no longer.
        store.readmit(row.number)
        raise RunStateError(row.run_id, error.problem) from error


def retry(*, repeats_failed: bool = False) -> Decide:
    """The decision to put a failed or parked run back to work; see `Worker.retry`."""
    return partial(recovery.retried, repeats_failed=repeats_failed)


def resolution(
    codec: Codec,
    call: str | None,
    *,
    value: object = UNSET,
    error: BaseException | str | None = None,
    rerun: bool = False,
) -> Decide:
    """The decision about a call in doubt; see `Worker.resolve`.

    Raises:
        ValueError: Not exactly one of value, error and rerun was given.
        EncodeError: The value cannot be recorded.
    """
    if (value is not UNSET) + (error is not None) + rerun != 1:
        msg = "resolve takes exactly one of value=, error= and rerun=True"
        raise ValueError(msg)
    if rerun:
        return lambda state, now: recovery.rerun(state, call, now)
    decided = _outcome(codec, call, value, error, "resolved")
    payload, has_failed = decided.payload, decided.has_failed
    return lambda state, now: recovery.settled(state, call, payload, now, has_failed=has_failed)


def edit(
    codec: Codec,
    at: str | None,
    *,
    value: object = UNSET,
    error: BaseException | str | None = None,
) -> Edit | None:
    """What a person has the call come to from which a fork begins; None: it is made again.

    Raises:
        ValueError: Both a value and an error were given, or one of them and no call.
        EncodeError: The value cannot be recorded.
    """
    if value is UNSET and error is None:
        return None
    if at is None or (value is not UNSET and error is not None):
        msg = "fork takes value= or error= for the call that at= names, not both"
        raise ValueError(msg)
    return _outcome(codec, at, value, error, "edited")


def _outcome(
    codec: Codec, call: str | None, value: object, error: BaseException | str | None, verb: str
) -> Edit:
    what = f"the outcome of call {call}"
    if error is None:
        return Edit(codec.encode(value, what))
    if isinstance(error, str):
        error = CallFailedError(verb, error)
    return Edit(codec.encode_failure(error, what), has_failed=True)


def fork_id(run_id: str) -> str:
    """An id for a fork of a run."""
    return f"{run_id}:fork-{secrets.token_hex(4)}"


async def fork(  # noqa: PLR0913, PLR0917 - what is forked, from where, as what
    store: Store, clock: Clock, run_id: str, at: str | None, edited: Edit | None, new_id: str
) -> NewRun:
    """A run that has gone the way of another one up to some call, to be accepted.

    Args:
        store: Where the other run is kept; open.
        clock: Where the time comes from.
        run_id: The other run.
        at: Id of the call; None: from the beginning.
        edited: What the call came to; None: it is made again.
        new_id: Id of the new run.

    Raises:
        UnknownRunError: The store has no such run.
        RunStateError: It has no such call on record, or one that has no such result.
        StoreError: It cannot be read.
    """
    row = await find(store, run_id)
    rows = await store.journal(row.number)
    blobs, outputs = await store.blobs(row.number), await store.outputs_of(row.number)
    await find(store, run_id)  # it was not pruned meanwhile: all of it was read
    accepted, _ = state_in(rows, store, row.number)
    made = fork_of(rows, new_id, at, edited, clock.now())
    return NewRun(
        agent=accepted.agent,
        key=None if accepted.key == run_id else accepted.key,
        run_id=new_id,
        input=accepted.input,
        # What the actions saw of the time so far has to stay as it was.
        at=accepted.at,
        is_event=accepted.is_event,
        entries=made.entries,
        outputs=[renamed(o.event, f"{run_id}/", f"{new_id}/") for o in outputs[: made.outputs]],
        blobs=blobs,
    )


async def check_fork(store: Store, new: NewRun, number: int) -> None:
    """Make sure that the run of an id that was known is the fork that was asked for.

    Raises:
        RunStateError: It is another one.
        StoreError: It cannot be read.
    """
    _, state = await state_of(store, number)
    asked, found = new.entries[0], state.forked
    assert isinstance(asked, RunForked), "a fork begins with what it was made of"
    if found is None or (found.run, found.call) != (asked.run, asked.call):
        problem = "there is another run of this id, which is no such fork: choose another id"
        raise RunStateError(new.run_id or "", problem)


async def prune(store: Store, retention: Retention) -> int:
    """Forget runs that have ended, a few at a time; returns how many.

    Cancellation: what was forgotten by then stays so.

    Raises:
        StoreError: The store cannot be written.
    """
    total = 0
    while count := await store.prune(retention):
        total += count
    return total


def retention(
    now: float, older_than: float | None, keep: int | None, *, failed: bool
) -> Retention:
    """What `Worker.prune` keeps.

    Raises:
        ValueError: Neither an age nor a number was given, or one is negative.
    """
    if older_than is None and keep is None:
        msg = "prune takes older_than=, keep= or both: nothing is forgotten by default"
        raise ValueError(msg)
    if (older_than is not None and older_than < 0) or (keep is not None and keep < 0):
        msg = f"expected older_than >= 0 and keep >= 0, got {older_than}, {keep}"
        raise ValueError(msg)
    # A run that ends at this very moment has ended long enough ago for an age of 0.
    before = math.nextafter(now - (older_than or 0.0), math.inf)
    return Retention(before, keep or 0, failed)


async def find(store: Store, run_id: str) -> RunRow:
    """The run of this id, or UnknownRunError."""
    row = await store.find(run_id)
    if row is None:
        raise UnknownRunError(run_id)
    return row
