"""What becomes of a run that stands still: its state in, a verdict or entries out.

Two kinds of run stand still: those that an earlier process left unfinished, and those that a
person decides about (`retry`, `resolve`, `cancel`). The decisions need neither the agent's code
nor a worker, so that a command can take them while nothing runs.

A call that kills its process (a segfault, the out-of-memory killer) would otherwise kill each
process that takes the run over. So every take-over is counted, and a run that was started
several times in a row without a single new entry is given up as a dead letter, with everything
it has on record.

Whoever runs beside such a run dies with it, and must not be given up for it. So a run that was
started once without a new entry is under suspicion: such runs start one at a time, the next one
when the one before has recorded something or has run for a while. `tests/crash` kills a worker
faster than most of its runs get anywhere, and none of them may be given up.
"""

from collections.abc import Iterator
from enum import Enum
from itertools import chain

from durable_agents.errors import RunStateError
from durable_agents.journal import (
    ActionState,
    CallKey,
    CallRecord,
    CallResolved,
    CallsCleared,
    CallSettled,
    CallStatus,
    Entry,
    RunCancelled,
    RunRetried,
    RunState,
    RunStatus,
    call_id,
)
from durable_agents.serialization import Payload

__all__ = [
    "MAX_STARTS_WITHOUT_PROGRESS",
    "PROBATION_SECONDS",
    "Verdict",
    "cancelled",
    "rerun",
    "retried",
    "settled",
    "verdict_on",
]

MAX_STARTS_WITHOUT_PROGRESS = 5
PROBATION_SECONDS = 1.0
"""How long a run under suspicion is kept apart from its like, if it records nothing sooner."""


class Verdict(Enum):
    """What becomes of a run that is found in the store."""

    GO_ON = "go on"
    GO_ON_APART = "go on apart from others under suspicion"
    GIVE_UP = "give up"
    LEAVE = "leave"


def verdict_on(state: RunState) -> Verdict:
    """Decide about one run that a process left.

    Args:
        state: What its journal adds up to.
    """
    if not state.status.is_open or state.status.waits_for_person:
        return Verdict.LEAVE
    if state.starts_without_progress >= MAX_STARTS_WITHOUT_PROGRESS:
        return Verdict.GIVE_UP
    return Verdict.GO_ON_APART if state.starts_without_progress else Verdict.GO_ON


def retried(state: RunState, now: float, *, repeats_failed: bool = False) -> list[Entry]:
    """Entries that put a failed or parked run back to work.

    Args:
        state: What the run has come to.
        now: The time.
        repeats_failed: Make those calls again that failed and that no later call of their
            branch followed: their failure is what ended the branch. Otherwise a replay hands
            the recorded failure over again.

    Raises:
        RunStateError: The run is neither failed nor parked.
    """
    if state.status is not RunStatus.FAILED and not state.status.waits_for_person:
        raise _unfit(state, "failed or parked runs are retried")
    entries: list[Entry] = []
    if repeats_failed:
        for action, record in _calls_left(state):
            if record.status is CallStatus.FAILED and _is_last_of_branch(action, record.key):
                reason = f"{record} failed and is repeated: the run was retried"
                entries.append(CallsCleared(action.number, *record.key, reason, now))
    return [*entries, RunRetried(now)]


def settled(
    state: RunState, call: str | None, payload: Payload, now: float, *, has_failed: bool
) -> list[Entry]:
    """Entries that give a call in doubt the outcome that a person found out.

    Args:
        state: What the run has come to.
        call: Id of the call, as `CallInfo.call_id` has it; None: the only one in doubt.
        payload: The outcome: a value, or a failure.
        now: The time.
        has_failed: Whether the payload is an exception.

    Raises:
        RunStateError: The run is not parked, or no such call of it is in doubt.
    """
    action, record = _call_in_doubt(state, call)
    outcome = CallSettled(
        action.number,
        *record.key,
        record.function,
        record.digest,
        record.preview,
        has_failed,
        payload,
        record.attempts + 1,
        record.guarded,
        now,
    )
    return [outcome, RunRetried(now)]


def rerun(state: RunState, call: str | None, now: float) -> list[Entry]:
    """Entries that have a call in doubt made again; see `settled`."""
    action, record = _call_in_doubt(state, call)
    number, function, digest = action.number, record.function, record.digest
    return [CallResolved(number, *record.key, function, digest, now), RunRetried(now)]


def check_signal(state: RunState) -> None:
    """Make sure that a signal can still be taken.

    Raises:
        RunStateError: The run completed, or was cancelled.
    """
    if state.status in {RunStatus.COMPLETED, RunStatus.CANCELLED}:
        raise _unfit(state, "runs that have not ended take signals")


def cancelled(state: RunState, reason: str, now: float) -> list[Entry]:
    """Entries that end a run of which no action runs: one that waits, is parked or failed.

    Raises:
        RunStateError: The run completed, or was cancelled already.
    """
    if state.status in {RunStatus.COMPLETED, RunStatus.CANCELLED}:
        raise _unfit(state, "runs that have not completed are cancelled")
    return [RunCancelled(reason, now)]


def _call_in_doubt(state: RunState, call: str | None) -> tuple[ActionState, CallRecord]:
    if state.status is not RunStatus.PARKED:
        raise _unfit(state, "calls of parked runs are resolved")
    doubtful = {
        call_id(action.event, action.name, record.key): (action, record)
        for action, record in _calls_left(state)
        if record.in_doubt and record.status is CallStatus.PENDING
    }
    if call is None and len(doubtful) == 1:
        return next(iter(doubtful.values()))
    if call is not None and call in doubtful:
        return doubtful[call]
    found = ", ".join(sorted(doubtful)) or "none"
    asked = "which call is meant must be said" if call is None else f"call {call} is not"
    raise RunStateError(_run_id(state), f"{asked}; calls in doubt: {found}")


def _calls_left(state: RunState) -> Iterator[tuple[ActionState, CallRecord]]:
    """Calls of the actions that have not completed."""
    left = (action for action in state.actions.values() if not action.is_completed)
    return chain.from_iterable(
        ((action, record) for record in action.records.values()) for action in left
    )


def _is_last_of_branch(action: ActionState, key: CallKey) -> bool:
    branch, position = key
    return all(b != branch or p <= position for b, p in action.records)


def _unfit(state: RunState, rule: str) -> RunStateError:
    return RunStateError(_run_id(state), f"it is {state.status.name.lower()}; only {rule}")


def _run_id(state: RunState) -> str:
    return "" if state.accepted is None else state.accepted.run_id
