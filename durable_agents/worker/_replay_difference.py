"""What is on record of an action, beside what its replay would write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from durable_agents.journal import (
    ActionCompleted,
    ActionFailed,
    ActionStarted,
    Entry,
    MemoryUpdate,
    RunFailed,
    RunParked,
    SentEvent,
)
from durable_agents.serialization import Codec, Payload
from durable_agents.store import Write

__all__ = ["RecordedAction", "difference"]


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """What is on record of one action, up to the moment before it completed."""

    started: ActionStarted
    rows: list[tuple[int, list[Entry]]]
    end: ActionCompleted | RunFailed | None
    """How it came out; None where it has not, or where its end is nothing to compare with."""


def difference(
    run_id: str,
    record: RecordedAction,
    write: Write,
    outputs: Sequence[SentEvent],
    codec: Codec,
) -> str | None:
    """In what the write of a replayed action differs from what is on record; None: in nothing.

    Args:
        run_id: Id of the run.
        record: What is on record of the action.
        write: What the replay would have written.
        outputs: Those of the run that are on record.
        codec: The one that is bound to the replayed run.
    """
    end = record.end
    for entry in write.entries:
        match entry:
            case RunParked():
                return entry.reason
            case ActionCompleted() if entry.action != record.started.action:
                return f"action {entry.name!r} runs now in place of {record.started.name!r}"
            case ActionCompleted() if isinstance(end, ActionCompleted):
                own = _of_action(outputs, f"{run_id}/{entry.action}")
                was, now = _effects(end, own, codec), _effects(entry, write.outputs, codec)
                return _first_change(was, now)
            case ActionCompleted() if end is not None:
                return "it failed when it was recorded, and completes now"
            case RunFailed() | ActionFailed():
                return _failure(end, _error_text(entry.error, codec), codec)
            case _:
                pass
    return None


def _effects(
    completed: ActionCompleted, outputs: Sequence[SentEvent], codec: Codec
) -> dict[str, object]:
    """All that an action did, by a name for each part."""
    return {
        "events": _sent(completed.events, codec),
        "outputs": _sent(outputs, codec),
        "sensory memory": _memory(completed.sensory, codec),
        "short-term memory": _memory(completed.short_term, codec),
    }


def _first_change(was: dict[str, object], now: dict[str, object]) -> str | None:
    changes = (
        f"{what} were {was[what]}, now {now[what]}" for what in was if was[what] != now[what]
    )
    return next(changes, None)


def _failure(end: ActionCompleted | RunFailed | None, now: str, codec: Codec) -> str | None:
    if isinstance(end, RunFailed):
        was = _error_text(end.error, codec)
        return None if was == now else f"it failed with {was}, now with {now}"
    if end is None and not now.startswith(("DecodeError", "StoreDamagedError")):
        return None  # nobody knows yet how it comes out
    return f"it fails now: {now}"


def _of_action(outputs: Sequence[SentEvent], prefix: str) -> list[SentEvent]:
    return [o for o in outputs if o.event_id.startswith((f"{prefix}#", f"{prefix}/"))]


def _sent(events: Sequence[SentEvent], codec: Codec) -> dict[str, Any]:
    return {event.event_id: codec.decode(event.payload) for event in events}


def _memory(updates: Sequence[MemoryUpdate], codec: Codec) -> list[tuple[str, str, Any]]:
    return [
        (u.path, u.kind, None if u.payload is None else codec.decode(u.payload))
        for u in updates
    ]


def _error_text(payload: Payload, codec: Codec) -> str:
    error = codec.decode_failure(payload)
    return f"{type(error).__name__}: {error}"
