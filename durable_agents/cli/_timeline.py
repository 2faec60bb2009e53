"""What a run has done, step by step, for people and programs."""

from collections.abc import Sequence

import msgspec

from durable_agents.cli._reasons import reason_in
from durable_agents.cli._values import error_text, moment, readable
from durable_agents.journal import (
    ActionCompleted,
    ActionStarted,
    CallAbandoned,
    CallBegun,
    CallResolved,
    CallRetried,
    CallsCleared,
    CallSettled,
    DeliveredOutOfOrder,
    Entry,
    PromiseMade,
    RowCopied,
    RunForked,
    RunState,
    RunTakenOver,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    TimerSet,
    VersionMarked,
    call_id,
    is_promise,
    place,
    promise_id,
)
from durable_agents.store import OutputRow, RunRow

__all__ = ["RunView", "Step", "view_of"]


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that happened."""

    at: float
    """Seconds since 1970-01-01 UTC."""
    what: str
    """`"call"`, `"wait"`, `"action started"`, `"run parked"` ..."""
    action: str = ""
    place: str = ""
    """Of a call: its branch and position."""
    call_id: str = ""
    call: str = ""
    """Of a call: the function and a preview of its arguments."""
    status: str = ""
    """Of a call: succeeded, failed, abandoned, retried, or in doubt. Of a wait: waits, signal
    taken, time is up, or abandoned; a sleep that nothing raced with still waits when it is
    over."""
    attempt: int | None = None
    seconds: float | None = None
    """Of a call whose beginning is on record: how long it took."""
    detail: str = ""
    """An error, a reason, what changed."""


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One run: what `show --json` writes."""

    run: str
    agent: str
    key: str
    status: str
    reason: str
    """Why it failed, is parked or was cancelled."""
    accepted_at: float
    input: msgspec.Raw
    steps: list[Step]
    outputs: list[msgspec.Raw]


def view_of(
    row: RunRow, journal: Sequence[tuple[int, Sequence[Entry]]], outputs: Sequence[OutputRow]
) -> RunView:
    """What is on record of a run.

    Args:
        row: The run.
        journal: Its rows, the acceptance first.
        outputs: Its outputs, in order.
    """
    state = RunState.of(journal)
    accepted = state.accepted
    assert accepted is not None, "the first row of a journal is the acceptance"
    timeline = _Timeline(row.run_id)
    for _, entries in journal:
        for entry in entries:
            timeline.add(entry)
    return RunView(
        run=row.run_id,
        agent=row.agent,
        key=row.key,
        status=row.status.name.lower(),
        reason=reason_in(state),
        accepted_at=accepted.at,
        input=readable(accepted.input),
        steps=timeline.steps,
        outputs=[readable(output.event.payload) for output in outputs],
    )


class _Timeline:
    """Steps of a run, entry by entry."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self.steps: list[Step] = []
        self._actions: dict[int, tuple[int, str]] = {}
        """Event number and name of each action run."""
        self._begun: dict[tuple[int, str, int], Step] = {}
        """Calls that have begun on record and not settled."""

    def add(self, entry: Entry) -> None:
        """Take the next entry in."""
        match entry:
            case CallBegun() | CallSettled() | CallAbandoned() | CallRetried():
                self._add_call(entry)
            case TimerSet() | TimerFired() | SignalAwaited() | SignalTaken():
                self._add_wait(entry)
            case ActionStarted() | ActionCompleted():
                self._add_action(entry)
            case CallResolved():
                begun = self._begun.pop((entry.action, entry.branch, entry.position), None)
                if begun is not None:
                    begun.status = "made again"
                self._add_other(entry)
            case RunForked():
                whence = f"before {entry.call}" if entry.call else "at its beginning"
                forked = f"from run {entry.run}, {whence}"
                self.steps.append(Step(at=entry.at, what="run forked", detail=forked))
            case PromiseMade():
                self._add_promise(entry)
            case RowCopied():
                pass  # for programs: which outcomes arrived together
            case _:
                self._add_other(entry)

    def _add_call(self, entry: CallBegun | CallSettled | CallAbandoned | CallRetried) -> None:
        key = (entry.action, entry.branch, entry.position)
        step = self._begun.pop(key, None)
        if step is None:
            step = self._call_step(entry)
            self.steps.append(step)
        elif not isinstance(entry, CallBegun):
            step.seconds = entry.at - step.at
        match entry:
            case CallBegun():
                step.status, step.attempt = "in doubt", entry.attempt
                self._begun[key] = step
            case CallSettled():
                step.status, step.attempt = "succeeded", entry.attempt
                if entry.failed:
                    step.status, step.detail = "failed", error_text(entry.payload)
            case CallRetried():
                step.status, step.attempt = "retried", entry.attempt
                step.detail = error_text(entry.error)
            case _:
                step.status = "abandoned"

    def _call_step(self, entry: CallBegun | CallSettled | CallAbandoned | CallRetried) -> Step:
        event, action = self._actions.get(entry.action, (0, ""))
        key = (entry.branch, entry.position)
        preview = "..." if isinstance(entry, CallRetried) else entry.preview
        return Step(
            at=entry.at,
            what="call",
            action=action,
            place=place(key),
            call_id=call_id(event, action, key),
            call=f"{entry.function}({preview})",
        )

    def _add_wait(self, entry: TimerSet | TimerFired | SignalAwaited | SignalTaken) -> None:
        key = (entry.action, entry.branch, entry.position)
        if isinstance(entry, TimerFired | SignalTaken):
            step = self._begun.pop(key, None)
            if step is not None:
                step.status = "signal taken" if isinstance(entry, SignalTaken) else "time is up"
                step.seconds = entry.at - step.at
            return
        event, action = self._actions.get(entry.action, (0, ""))
        name = entry.name if isinstance(entry, SignalAwaited) else entry.function
        call = entry.preview if is_promise(name) else f"{name}({entry.preview})"
        self._begun[key] = step = Step(
            at=entry.at,
            what="wait",
            action=action,
            place=place(key[1:]),
            call_id=call_id(event, action, key[1:]),
            call=call,
            status="waits",
            detail="" if entry.due is None else f"until {moment(entry.due)}",
        )
        self.steps.append(step)

    def _add_promise(self, entry: PromiseMade) -> None:
        event, action = self._actions.get(entry.action, (0, ""))
        key = (entry.branch, entry.position)
        call = call_id(event, action, key)
        step = Step(at=entry.at, what="promise made", action=action, place=place(key))
        # Of this run, whichever run's its action hands out: that one is forked from.
        step.call_id, step.detail = call, promise_id(self._run_id, call)
        self.steps.append(step)

    def _add_action(self, entry: ActionStarted | ActionCompleted) -> None:
        self._actions[entry.action] = (entry.event, entry.name)
        if isinstance(entry, ActionStarted):
            code = f"code {entry.code.hex()}" if entry.code else ""
            step = Step(at=entry.at, what="action started", action=entry.name, detail=code)
        else:
            sent = f"{len(entry.events)} events, {entry.outputs} outputs"
            step = Step(at=entry.at, what="action completed", action=entry.name, detail=sent)
        self.steps.append(step)

    def _add_other(self, entry: Entry) -> None:
        step = Step(at=entry.at, what=_words(entry), detail=_detail(entry))
        number = getattr(entry, "action", None)
        if number is not None:
            _, step.action = self._actions.get(number, (0, ""))
        position = getattr(entry, "position", None)
        if position is not None:
            step.place = place((getattr(entry, "branch", ""), position))
        self.steps.append(step)


def _words(entry: Entry) -> str:
    """The name of an entry's class, in words."""
    name = type(entry).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _detail(entry: Entry) -> str:
    match entry:
        case RunTakenOver():
            return f"by {entry.worker}"
        case CallsCleared():
            return entry.difference
        case SignalReceived():
            return entry.name
        case VersionMarked():
            return f"version {entry.version} of {entry.change!r}"
        case DeliveredOutOfOrder():
            overtaken = (entry.overtaken_branch, entry.overtaken_position)
            return f"before {place(overtaken)}"
        case _:
            error = getattr(entry, "error", None)
            return getattr(entry, "reason", "") if error is None else error_text(error)
