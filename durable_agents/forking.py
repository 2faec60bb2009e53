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

What is copied keeps the numbers of its rows, since they say which outcomes arrived together and
in what order (`RowCopied`). All rows that the fork adds later have higher ones.

Ids of events are made of the id of the run, and become what they would be, had the fork gone
all the way by itself. Random numbers in an action that is copied stay what they were, or the
replay would make other calls (`RunForked.seeds`).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from durable_agents.errors import RunStateError
from durable_agents.journal import (
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
)
from durable_agents.serialization import Payload

__all__ = ["Edit", "Fork", "fork_of", "renamed"]

Recorded: TypeAlias = tuple[int, Entry]
"""Number of the row that an entry was recorded in at first, and the entry."""

_OfCall: TypeAlias = CallBegun | CallSettled | CallAbandoned | CallRetried | CallResolved
_OfWait: TypeAlias = TimerSet | TimerFired | SignalAwaited | SignalTaken

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
    kept = _kept(recorded[: call.place])
    if edit is not None:
        kept += _edited(call, edit, _row_of(call, recorded, kept), kept, now)
    kept = _without_idle(kept)
    entries: list[Entry] = [RunForked(origin, at, _seeds(recorded, kept, origin), now)]
    for row, copied in groupby(kept, key=itemgetter(0)):
        entries.append(RowCopied(row, now))
        entries += [_renamed(entry, f"{origin}/", f"{run_id}/") for _, entry in copied]
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


def _kept(before: Sequence[Recorded]) -> list[Recorded]:
    calls = _Calls(before)
    return [(row, entry) for row, entry in before if _is_kept(entry, calls)]


def _is_kept(entry: Entry, calls: _Calls) -> bool:
    match entry:
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
    if isinstance(call.first, SignalAwaited) and edit.has_failed:
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
        received = SignalReceived(first.name, "", edit.payload, now)
        return [
            (row, first),
            (row, received),
            (row, SignalTaken(*name, first.name, count, now)),
        ]
    assert not isinstance(first, TimerSet | TimerFired | SignalTaken), "these take no result"
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
    if not isinstance(entry, ActionCompleted):
        return entry
    return replace(entry, events=[renamed(event, old, new) for event in entry.events])


def renamed(event: SentEvent, old: str, new: str) -> SentEvent:
    """An event of a run as one of another run.

    Args:
        event: The event.
        old: What its id begins with.
        new: What the id begins with instead.
    """
    return replace(event, event_id=new + event.event_id.removeprefix(old))
