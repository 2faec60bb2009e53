"""Decisions about runs as data: what a person asks of a worker from another process."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import msgspec

from durable_agents.clock import Clock
from durable_agents.errors import RunStateError, UnknownRunError
from durable_agents.journal import SignalReceived
from durable_agents.serialization import Codec
from durable_agents.store import Pause, Store
from durable_agents.worker._completion import check_name, complete, completion_of
from durable_agents.worker._decisions import (
    UNSET,
    Decide,
    cancel,
    check_fork,
    edit,
    fork,
    prune,
    put_back,
    resolution,
    retention,
    retry,
    signal,
)
from durable_agents.worker._verbs import RunVerbs

__all__ = [
    "CancelRun",
    "Command",
    "CompletePromise",
    "ForkRun",
    "PauseAgent",
    "PruneRuns",
    "ResolveCall",
    "ResumeAgent",
    "RetryRun",
    "RetryRuns",
    "SignalRun",
    "execute",
    "execute_stored",
]


class CancelRun(msgspec.Struct, frozen=True, tag="cancel", forbid_unknown_fields=True):
    """Give a run up."""

    run: str
    reason: str


class RetryRun(msgspec.Struct, frozen=True, tag="retry", forbid_unknown_fields=True):
    """Put a failed or parked run back to work."""

    run: str
    repeat_failed: bool = False
    """Make those calls again whose failure ended their branch."""


class RetryRuns(msgspec.Struct, frozen=True, tag="retry-runs", forbid_unknown_fields=True):
    """Put failed runs back to work, one after the other; those that changed meanwhile stay."""

    runs: list[str]
    repeat_failed: bool = False
    """As of `RetryRun`."""


class SignalRun(msgspec.Struct, frozen=True, tag="signal", forbid_unknown_fields=True):
    """Send a value to a run."""

    run: str
    name: str
    value: Any = None
    """Data that JSON can hold."""
    id: str | None = None


class CompletePromise(msgspec.Struct, frozen=True, tag="complete", forbid_unknown_fields=True):
    """Give a promise what it waits for, or fail it."""

    promise: str
    """Its id."""
    value: Any = None
    """Data that JSON can hold."""
    error: str | None = None
    """Why it fails."""


class ResolveCall(msgspec.Struct, frozen=True, tag="resolve", forbid_unknown_fields=True):
    """Say what became of a call in doubt: exactly one of value, error and rerun."""

    run: str
    call: str | None = None
    """Id of the call; None: the only one in doubt."""
    value: Any = msgspec.UNSET
    """What it returned: data that JSON can hold."""
    error: str | None = None
    """Why it failed."""
    rerun: bool = False
    """It did not take effect: make it again."""


class ForkRun(msgspec.Struct, frozen=True, tag="fork", forbid_unknown_fields=True):
    """Make a run of another one, which goes its own way from some call on."""

    run: str
    id: str
    """Of the new run."""
    call: str | None = None
    """Id of the call; None: from the beginning."""
    value: Any = msgspec.UNSET
    """What it returns in the new run: data that JSON can hold."""
    error: str | None = None
    """Why it fails there."""


class PauseAgent(msgspec.Struct, frozen=True, tag="pause", forbid_unknown_fields=True):
    """Let no further run start of an agent, or of one key of it."""

    agent: str
    reason: str
    key: str | None = None
    """None: whatever the key."""


class ResumeAgent(msgspec.Struct, frozen=True, tag="resume", forbid_unknown_fields=True):
    """Forget a pause."""

    agent: str
    key: str | None = None


class PruneRuns(msgspec.Struct, frozen=True, tag="prune", forbid_unknown_fields=True):
    """Delete ended runs."""

    older_than: float | None = None
    """Only those that ended so many seconds ago."""
    keep: int | None = None
    """All but the latest so many."""
    failed: bool = False
    """Failed ones, too."""


Command: TypeAlias = (
    CancelRun
    | RetryRun
    | RetryRuns
    | SignalRun
    | CompletePromise
    | ResolveCall
    | ForkRun
    | PauseAgent
    | ResumeAgent
    | PruneRuns
)


async def execute(worker: RunVerbs, command: Command) -> int | None:
    """Have a worker do it.

    Returns:
        Of `PruneRuns`, how many runs were forgotten; of `RetryRuns`, how many go on; of
        `SignalRun`, `CompletePromise` and `ForkRun`, 1 where it was a new one; of
        `ResumeAgent`, 1 where there was a pause.

    Raises:
        DurableAgentsError: As the worker's own verb does.
        ValueError: The command contradicts itself.
    """
    match command:
        case CancelRun(run, reason):
            await worker.cancel(run, reason)
        case RetryRun(run, repeat_failed):
            await worker.retry(run, repeat_failed=repeat_failed)
        case RetryRuns(runs, repeat_failed):
            return await _each(runs, partial(worker.retry, repeat_failed=repeat_failed))
        case SignalRun() | CompletePromise():
            return int(await _signal(worker, command))
        case ResolveCall(run, call, value, error, is_rerun):
            value = UNSET if value is msgspec.UNSET else value
            await worker.resolve(run, call, value=value, error=error, rerun=is_rerun)
        case ForkRun(run, new_id, call, value, error):
            value = UNSET if value is msgspec.UNSET else value
            forked = await worker.fork(run, call, value=value, error=error, id=new_id)
            return int(forked.is_new)
        case PauseAgent(agent, reason, key):
            await worker.pause_agent(agent, key, reason)
        case ResumeAgent(agent, key):
            return int(await worker.resume_agent(agent, key))
        case PruneRuns(older_than, keep, failed):
            return await worker.prune(older_than=older_than, keep=keep, failed=failed)
    return None


async def _signal(worker: RunVerbs, command: SignalRun | CompletePromise) -> bool:
    """Whether it was a new one."""
    if isinstance(command, CompletePromise):
        promise, value, error = command.promise, command.value, command.error
        return await worker.complete(promise, value, error=error)
    return await worker.signal(command.run, command.name, command.value, id=command.id)


async def execute_stored(
    store: Store, command: Command, codec: Codec, clock: Clock
) -> int | None:
    """The same over a store that no worker owns; the next worker sees what was decided.

    Raises:
        DurableAgentsError: As the worker's own verb does.
        ValueError: The command contradicts itself.
    """
    match command:
        case CancelRun(run, reason):
            await cancel(store, clock, run, reason)
        case RetryRun(run, repeat_failed):
            await put_back(store, clock, run, retry(repeats_failed=repeat_failed))
        case RetryRuns(runs, repeat_failed):
            decide = retry(repeats_failed=repeat_failed)
            return await _each(runs, partial(put_back, store, clock, decide=decide))
        case SignalRun() | CompletePromise():
            return int(await _signal_stored(store, command, codec, clock))
        case ResolveCall():
            await put_back(store, clock, command.run, _decision(command, codec))
        case ForkRun():
            return int(await _fork(store, command, codec, clock))
        case PauseAgent(agent, reason, key):
            await store.pause(Pause(agent, key, reason, clock.now()))
        case ResumeAgent(agent, key):
            return int(await store.resume(agent, key))
        case PruneRuns(older_than, keep, failed):
            return await prune(store, retention(clock.now(), older_than, keep, failed=failed))
    return None


async def _signal_stored(
    store: Store, command: SignalRun | CompletePromise, codec: Codec, clock: Clock
) -> bool:
    """Whether it was a new one."""

    async def send(run: str, received: SignalReceived, _: object) -> bool:
        return await signal(store, run, received)

    if isinstance(command, CompletePromise):
        promise, value, error = command.promise, command.value, command.error
        completion = completion_of(codec, clock, promise, value, error)
        # What is there already is only looked at: that runs no code.
        return await complete(store, Codec(pickle="refuse"), completion, send)
    check_name(command.name)
    payload = codec.encode(command.value, f"signal {command.name!r}")
    received = SignalReceived(command.name, command.id or "", payload, clock.now())
    return await signal(store, command.run, received)


async def _each(runs: list[str], put_to_work: Callable[[str], Awaitable[object]]) -> int:
    """Do it to each run, as far as it can be done; returns to how many."""
    count = 0
    for run in runs:
        try:
            await put_to_work(run)
        except (RunStateError, UnknownRunError):
            continue  # it was put back, cancelled or pruned since it was listed
        count += 1
    return count


def _decision(command: ResolveCall, codec: Codec) -> Decide:
    value = UNSET if command.value is msgspec.UNSET else command.value
    return resolution(
        codec, command.call, value=value, error=command.error, rerun=command.rerun
    )


async def _fork(store: Store, command: ForkRun, codec: Codec, clock: Clock) -> bool:
    """Whether there was no such fork before."""
    value = UNSET if command.value is msgspec.UNSET else command.value
    edited = edit(codec, command.call, value=value, error=command.error)
    new = await fork(store, clock, command.run, command.call, edited, command.id)
    accepted = await asyncio.shield(store.accept(new))
    if not accepted.is_new:
        await check_fork(store, new, accepted.number)
    return accepted.is_new
