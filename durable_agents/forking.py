"""What a fork of a run begins with: a journal in, the beginning of another one out.

A fork is a run of its own that has gone the way of another one up to some call, and goes on
from there by itself: with the result that a person gave the call, or by making it again.

Theory of operation
===================

The journal is cut where the call settled: what stands before that is copied, what stands behind
it is left out, whatever branch or action it belongs to. A wait is cut where it began, so that
the fork waits anew.

Of what stands before the cut, that is left out which holds for the other run alone: how it came
to its end and back, how often it was tried, and calls and waits that had begun and not settled.
The fork has not begun them: nothing of its own is in doubt. A sleep that had begun goes on, for
nobody can tell whether it was over.

A promise that nothing follows is left out, too: the fork makes one of its own, with an id of
its own. What settled behind it may have been handed its id, and would diverge if that were
another one: then the promise keeps it. What comes by that id goes to the other run; the fork
takes what comes by one of its own, which `show` tells.

What is copied keeps the numbers of its rows, since they say which outcomes arrived together and
in what order (`RowCopied`). All rows that the fork adds later have higher ones.

Ids of events are made of the id of the run, and become what they would be, had the fork gone
all the way by itself. Random numbers in an action that is copied stay what they were, or the
replay would make other calls (`RunForked.seeds`).
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from durable_agents.errors import RunStateError
from durable_agents.journal import (
    PROMISE,
    SLEEP,
    ActionCompleted,
    ActionStarted,
    CallAbandoned,
    CallBegun,
    CallKey,
    CallResolved,
    CallRetried,
    CallsCleared,
    CallSettled,
    DeliveredOutOfOrder,
    Entry,
    PromiseMade,
    RowCopied,
    RunAccepted,
    RunForked,
    SentEvent,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    TimerSet,
    VersionMarked,
    call_id,
    is_cleared_by,
    is_promise,
    promise_name,
)
from durable_agents.serialization import Payload

__all__ = ["Edit", "Fork", "fork_of", "renamed"]

Recorded: TypeAlias = tuple[int, Entry]
"""Number of the row that an entry was recorded in at first, and the entry."""

_OfCall: TypeAlias = CallBegun | CallSettled | CallAbandoned | CallRetried | CallResolved
_OfWait: TypeAlias = TimerSet | TimerFired | SignalAwaited | SignalTaken | PromiseMade

_COPIED = (
    ActionStarted,
    ActionCompleted,
    CallSettled,
    CallAbandoned,
    CallsCleared,
    TimerFired,
    SignalReceived,
    SignalTaken,
    VersionMarked,
)
"""Copied wherever they stand before the cut."""
_MOST_NAMED = 20


class Edit(msgspec.Struct, frozen=True):
    """What a call came to in the fork, as a person says."""

    payload: Payload
    has_failed: bool = False
    """Whether the payload is an exception."""


class Fork(msgspec.Struct, frozen=True):
    """What a fork begins with."""

    accepted: RunAccepted
    """How the other run was accepted."""
    entries: list[Entry]
    """What follows the acceptance, in one row."""
    outputs: int = 0
    """How many of the other run's outputs the fork has sent, too."""


class _Call:
    """A call or a wait on record, as far as it has come."""

    def __init__(self, place: int, entry: _OfCall | _OfWait) -> None:
        self.first = entry
        self.first_at = place
        self.settled_at: int | None = None
        self.preview = "..."
        self.is_guarded = False

    @property
    def place(self) -> int | None:
        """Where the journal is cut; None: at its end."""
        return self.first_at if isinstance(self.first, _OfWait) else self.settled_at

    def add(self, place: int, entry: _OfCall | _OfWait) -> None:
        """Take one of its entries in."""
        self.preview = getattr(entry, "preview", self.preview)
        self.is_guarded |= isinstance(entry, CallBegun) or getattr(entry, "guarded", False)
        has_settled = isinstance(entry, CallSettled | CallAbandoned | TimerFired | SignalTaken)
        if has_settled and self.settled_at is None:
            self.settled_at = place


class _Calls:
    """The calls and waits of a run that are on record.

    Args:
        recorded: What the run has on record, or the beginning of it.
    """

    def __init__(self, recorded: Sequence[Recorded]) -> None:
        self._actions: dict[int, tuple[int, str]] = {}
        self._calls: dict[tuple[int, CallKey], _Call] = {}
        for place, (_, entry) in enumerate(recorded):
            self._add(place, entry)

    def by_id(self) -> dict[str, _Call]:
        """By the id that people know them by."""
        return {
            call_id(*self._actions[action], key): call
            for (action, key), call in self._calls.items()
        }

    def has_settled(self, action: int, key: CallKey) -> bool:
        """Whether it came to something, if only to be given up."""
        call = self._calls.get((action, key))
        return call is not None and call.settled_at is not None

    def goes_on_behind(self, promise: PromiseMade) -> bool:
        """Whether something came to its end that may have been handed the promise's id."""
        return any(
            call.settled_at is not None and _is_behind(call.first, promise)
            for call in reversed(self._calls.values())
        )

    def name_of(self, promise: PromiseMade) -> str:
        """Name of the signal that completes a promise."""
        key = (promise.branch, promise.position)
        return promise_name(call_id(*self._actions[promise.action], key))

    def _add(self, place: int, entry: Entry) -> None:
        match entry:
            case ActionStarted():
                self._actions[entry.action] = (entry.event, entry.name)
            case ActionCompleted():
                for (action, _), call in self._calls.items():
                    if action == entry.action and call.settled_at is None:
                        call.settled_at = place
            case CallsCleared():
                cleared = (entry.branch, entry.position)
                for action, key in list(self._calls):
                    if action == entry.action and is_cleared_by(key, cleared):
                        del self._calls[action, key]
            case _ if isinstance(entry, _OfCall | _OfWait):
                name = (entry.action, (entry.branch, entry.position))
                self._calls.setdefault(name, _Call(place, entry)).add(place, entry)
            case _:
                pass


def fork_of(
    rows: Sequence[tuple[int, Sequence[Entry]]],
    run_id: str,
    at: str | None,
    edit: Edit | None,
    now: float,
) -> Fork:
    """What a fork of a run begins with.

    Args:
        rows: The run's journal, whole.
        run_id: Id of the fork.
        at: Id of the call from which on it goes its own way; None: from the beginning.
        edit: What that call came to; None: it is made again.
        now: The time.

    Raises:
        RunStateError: The run has no such call on record, or one that has no such result.
    """
    accepted = rows[0][1][0]
    assert isinstance(accepted, RunAccepted), "the first entry of a journal is the acceptance"
    origin = accepted.run_id
    if at is None:
        return Fork(accepted, [RunForked(origin, "", {}, now)])
    recorded = list(_recorded(rows))
    call = _found(recorded, origin, at)
    _check(call, edit, origin, at)
    edited = None if edit is None else call.first
    kept = _kept(recorded[: call.place], edited)
    if edit is not None:
        kept += _edited(call, edit, _row_of(call, recorded, kept), kept, now)
    kept = _without_idle(kept)
    entries: list[Entry] = [RunForked(origin, at, _seeds(recorded, kept, origin), now)]
    for row, copied in groupby(kept, key=itemgetter(0)):
        entries.append(RowCopied(row, now))
        entries += [_renamed(entry, origin, run_id) for _, entry in copied]
    outputs = sum(e.outputs for _, e in kept if isinstance(e, ActionCompleted))
    return Fork(accepted, entries, outputs)


def _recorded(rows: Sequence[tuple[int, Sequence[Entry]]]) -> Iterator[Recorded]:
    """All entries; those that were copied themselves under the numbers of their first rows."""
    copied = 0
    for number, entries in rows:
        for entry in entries:
            if isinstance(entry, RowCopied):
                copied = entry.row
            else:
                yield number or copied, entry


def _kept(before: Sequence[Recorded], edited: _OfCall | _OfWait | None) -> list[Recorded]:
    calls = _Calls(before)
    kept = [(row, entry) for row, entry in before if _is_kept(entry, calls, edited)]
    promises = {calls.name_of(e) for _, e in kept if isinstance(e, PromiseMade)}
    if isinstance(edited, SignalAwaited):
        promises.discard(edited.name)  # it is completed by what the person says
    return [(row, _without_outcome(entry, promises)) for row, entry in kept]


def _without_outcome(entry: Entry, promises: Collection[str]) -> Entry:
    """A signal that completed a promise of the other run alone, as one that nobody takes.

    It stays for the numbers of those that follow.
    """
    is_taken_by_none = (
        isinstance(entry, SignalReceived)
        and is_promise(entry.name)
        and entry.name not in promises
    )
    return replace(entry, name=PROMISE, signal_id="") if is_taken_by_none else entry


def _is_kept(entry: Entry, calls: _Calls, edited: _OfCall | _OfWait | None) -> bool:
    match entry:
        case PromiseMade():
            is_edited_behind = edited is not None and _is_behind(edited, entry)
            return is_edited_behind or calls.goes_on_behind(entry)
        case CallBegun() | CallRetried() | CallResolved() | SignalAwaited():
            return calls.has_settled(entry.action, (entry.branch, entry.position))
        case TimerSet():
            key = (entry.branch, entry.position)
            return entry.function == SLEEP or calls.has_settled(entry.action, key)
        case DeliveredOutOfOrder():
            pair = (
                (entry.branch, entry.position),
                (entry.overtaken_branch, entry.overtaken_position),
            )
            return all(calls.has_settled(entry.action, key) for key in pair)
        case _:
            return isinstance(entry, _COPIED)


def _is_behind(later: _OfCall | _OfWait, promise: PromiseMade) -> bool:
    key, made = (later.branch, later.position), (promise.branch, promise.position)
    return later.action == promise.action and key != made and is_cleared_by(key, made)


def _found(recorded: Sequence[Recorded], origin: str, at: str) -> _Call:
    calls = _Calls(recorded).by_id()
    if at in calls:
        return calls[at]
    names = list(calls)[:_MOST_NAMED]
    found = ", ".join(names) or "none"
    if len(calls) > len(names):
        found += f" and {len(calls) - len(names):,} more"
    raise RunStateError(origin, f"it has no call {at!r} on record; calls: {found}")


def _check(call: _Call, edit: Edit | None, origin: str, at: str) -> None:
    if edit is None:
        return
    if isinstance(call.first, TimerSet):
        raise RunStateError(origin, f"{at} is a sleep or a timeout: it has no result to edit")
    if isinstance(call.first, PromiseMade):
        raise RunStateError(origin, f"{at} makes a promise: edit the wait for its result")
    takes_error = isinstance(call.first, SignalAwaited) and is_promise(call.first.name)
    if isinstance(call.first, SignalAwaited) and edit.has_failed and not takes_error:
        raise RunStateError(origin, f"{at} waits for a signal: it takes a value, no error")


def _row_of(call: _Call, recorded: Sequence[Recorded], kept: Sequence[Recorded]) -> int:
    """Where the call's own outcome stood; if it had none, with the last that was there."""
    if call.settled_at is not None:
        return recorded[call.settled_at][0]
    return 1 + max((row for row, _ in kept), default=0)


def _edited(
    call: _Call, edit: Edit, row: int, kept: Sequence[Recorded], now: float
) -> list[Recorded]:
    """What the call came to, as the fork has it on record."""
    first = call.first
    name = (first.action, first.branch, first.position)
    if isinstance(first, SignalAwaited):
        count = sum(isinstance(entry, SignalReceived) for _, entry in kept)
        signal_id = first.name if is_promise(first.name) else ""
        received = SignalReceived(first.name, signal_id, edit.payload, now)
        return [
            (row, first),
            (row, received),
            (row, SignalTaken(*name, first.name, count, now)),
        ]
    assert isinstance(first, _OfCall), "others take no result"
    settled = CallSettled(
        *name,
        first.function,
        first.digest,
        call.preview,
        edit.has_failed,
        edit.payload,
        1,
        call.is_guarded,
        now,
    )
    return [(row, settled)]


def _without_idle(kept: Sequence[Recorded]) -> list[Recorded]:
    """Without the starts of actions that have nothing else on record: they start anew."""
    busy = {getattr(e, "action", None) for _, e in kept if not isinstance(e, ActionStarted)}
    return [(n, e) for n, e in kept if not isinstance(e, ActionStarted) or e.action in busy]


def _seeds(
    recorded: Sequence[Recorded], kept: Sequence[Recorded], origin: str
) -> dict[int, str]:
    """By number of each action that is copied: the run that started it."""
    earlier = {
        action: run
        for _, entry in recorded
        if isinstance(entry, RunForked)
        for action, run in entry.seeds.items()
    }
    started = (e.action for _, e in kept if isinstance(e, ActionStarted))
    return {action: earlier.get(action, origin) for action in started}


def _renamed(entry: Entry, old: str, new: str) -> Entry:
    """An entry of a run as it would be in another one: ids of events begin with the run's."""
    match entry:
        case ActionCompleted():
            events = [renamed(event, f"{old}/", f"{new}/") for event in entry.events]
            return replace(entry, events=events)
        case PromiseMade():
            return replace(entry, run=entry.run or old)
        case _:
            return entry


def renamed(event: SentEvent, old: str, new: str) -> SentEvent:
    """An event of a run as one of another run.

    Args:
        event: The event.
        old: What its id begins with.
        new: What the id begins with instead.
    """
    return replace(event, event_id=new + event.event_id.removeprefix(old))
