"""What a run has come to: a pure fold over its journal.

A store only appends rows and reads them; all that they mean is worked out here, entry by entry,
in the order of the store. `apply` handles each type of entry; an unknown one does not get this
far, since it fails to decode.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec

from durable_agents.journal._call_log import (
    EMPTY_LOG,
    CallKey,
    CallLog,
    CallRecord,
    CallStatus,
    is_cleared_by,
)
from durable_agents.journal._entries import (
    ActionCompleted,
    ActionFailed,
    ActionStarted,
    CallAbandoned,
    CallBegun,
    CallResolved,
    CallRetried,
    CallsCleared,
    CallSettled,
    CancelRequested,
    DeliveredOutOfOrder,
    Entry,
    MemoryUpdate,
    PromiseMade,
    RowCopied,
    RunAccepted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunForked,
    RunParked,
    RunRetried,
    RunTakenOver,
    SentEvent,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    TimerSet,
    VersionMarked,
)
from durable_agents.journal._waits import PROMISE, SIGNAL, SLEEP
from durable_agents.serialization import Payload

__all__ = ["ActionState", "EventState", "RunState", "RunStatus"]


class RunStatus(IntEnum):
    """State of a run; those below `COMPLETED` are open. The numbers are on disk."""

    ACCEPTED = 0
    RUNNING = 1
    WAITING = 2
    PARKED = 3
    BLOCKING = 4
    """Failed, and later inputs of its key wait until a person has decided."""
    COMPLETED = 10
    FAILED = 11
    CANCELLED = 12

    @property
    def is_open(self) -> bool:
        """Whether later inputs of the key wait for it."""
        return self < _FIRST_THAT_ENDED

    @property
    def waits_for_person(self) -> bool:
        """Whether the run goes on only when a person has decided."""
        return self in _WAITING_FOR_PERSON


# Looked up once: asking the class for a member takes longer than comparing it.
_FIRST_THAT_ENDED = RunStatus.COMPLETED
_WAITING_FOR_PERSON = frozenset({RunStatus.PARKED, RunStatus.BLOCKING})


@dataclass(frozen=True, slots=True)
class EventState:
    """An event that a completed action sent."""

    event: SentEvent
    upstream_event: int
    """Number of the event that fired the sending action."""
    upstream_action: str
    at: float


class SignalState(msgspec.Struct):
    """A signal that the run was given."""

    name: str
    signal_id: str
    value: Payload
    is_taken: bool = False


class ActionState(msgspec.Struct):
    """What one action run has on record."""

    number: int
    """Number of the action run within the run, from 0."""
    event: int
    """Number of the event that fired it: 0 is the input."""
    name: str
    started: ActionStarted | None = None
    records: dict[CallKey, CallRecord] = msgspec.field(default_factory=dict)
    overtakings: tuple[tuple[CallKey, CallKey], ...] = ()
    failed_attempts: int = 0
    is_completed: bool = False
    cancelled_at: int | None = None
    """Number of the row that told the action to stop; None where none did."""
    seed: str | None = None
    """Id of the run that started it, which random numbers depend on; None: its own run."""

    def call_log(self) -> CallLog:
        """A fresh cursor over the records, for one start of the action."""
        if not self.records and self.cancelled_at is None:
            return EMPTY_LOG
        return CallLog(self.records.values(), self.overtakings, self.cancelled_at)

    def record(
        self, entry: CallBegun | CallSettled | CallAbandoned | CallRetried | CallResolved
    ) -> CallRecord:
        """The record that an entry speaks of, made where it is new."""
        key = (entry.branch, entry.position)
        record = self.record_at(key, entry.function, entry.digest)
        record.at = entry.at
        return record

    def record_at(self, key: CallKey, function: str, digest: bytes) -> CallRecord:
        """The record of a call or a wait, made where it is new."""
        record = self.records.get(key)
        if record is None or record.function != function or record.digest != digest:
            branch, position = key
            record = CallRecord(
                branch=branch, position=position, function=function, digest=digest
            )
            self.records[key] = record
        return record


@dataclass(slots=True)
class RunState:
    """What one run has come to."""

    accepted: RunAccepted | None = None
    status: RunStatus = RunStatus.ACCEPTED
    reason: str = ""
    """Why the run is parked or cancelled, for people."""
    lacks_code: bool = False
    """Whether it is parked for want of code alone."""
    error: Payload | None = None
    """What failed the run."""
    cancel_reason: str | None = None
    """Why the run was told to stop, while it has not ended; None where nobody did."""
    events: list[EventState] = field(default_factory=list)
    """Events sent by completed actions; the first is event 1 of the run."""
    actions: dict[tuple[int, str], ActionState] = field(default_factory=dict)
    """Action runs by event number and action name."""
    sensory: list[MemoryUpdate] = field(default_factory=list)
    output_count: int = 0
    """Outputs of completed actions."""
    signals: list[SignalState] = field(default_factory=list)
    """In the order received; taken ones stay, so that their numbers do."""
    versions: dict[str, int] = field(default_factory=dict)
    """By change, which version of it the run follows."""
    marked_by: dict[str, int] = field(default_factory=dict)
    """By change, the number of the action that asked for it first."""
    starts_without_progress: int = 0
    """Times that a worker took the run over since its last other entry, unless it rested."""
    is_resting: bool = False
    """Whether the newest entry says that it waits: then it is not what ended a process."""
    forked: RunForked | None = None
    """What the run was made of, if it was made of another one."""
    _copied_row: int = 0
    """Where what is read of the first row was recorded at first; 0: there."""

    @classmethod
    def of(cls, rows: Iterable[tuple[int, Sequence[Entry]]]) -> "RunState":
        """Fold rows, each its number in the store and its entries, in order.

        Raises:
            LookupError: They speak of an action that they do not begin: one is missing.
        """
        state = cls()
        for seq, entries in rows:
            for entry in entries:
                state.apply(seq, entry)
        return state

    def apply(self, seq: int, entry: Entry) -> None:
        """Take one more entry in.

        Args:
            seq: Number of the entry's row in the store.
            entry: The next entry of the run.
        """
        seq = seq or self._copied_row
        match entry:
            case RunTakenOver() | VersionMarked() | RowCopied():
                self._note(entry)
                return
            case RunForked():
                self.forked = entry
            case RunAccepted():
                self.accepted = entry
            case CancelRequested():
                self._numbered(entry.action).cancelled_at = seq
                self.cancel_reason = entry.reason
            case ActionStarted() | ActionCompleted() | ActionFailed():
                self._apply_to_actions(entry)
            case RunCompleted() | RunFailed() | RunParked() | RunCancelled() | RunRetried():
                self._apply_to_run(entry)
            case PromiseMade():
                key = (entry.branch, entry.position)
                record = self._numbered(entry.action).record_at(key, PROMISE, b"")
                record.preview, record.at = entry.run, entry.at
            case TimerSet() | TimerFired() | SignalAwaited() | SignalReceived() | SignalTaken():
                self._apply_to_waits(seq, entry)
            case _:
                self._apply_to_calls(seq, entry)
        self.starts_without_progress = 0
        # What runs within a timeout may end a process.
        self.is_resting = isinstance(entry, SignalAwaited | SignalReceived) or (
            isinstance(entry, TimerSet) and entry.function == SLEEP
        )

    def _note(self, entry: RunTakenOver | VersionMarked | RowCopied) -> None:
        """Take in what says nothing of whether the run gets on."""
        match entry:
            case RunTakenOver():
                self.starts_without_progress += not self.is_resting
            case VersionMarked():
                # It travels with another entry.
                self.versions.setdefault(entry.change, entry.version)
                self.marked_by.setdefault(entry.change, entry.action)
            case _:
                self._copied_row = entry.row

    def _apply_to_actions(self, entry: ActionStarted | ActionCompleted | ActionFailed) -> None:
        if isinstance(entry, ActionFailed):
            self._numbered(entry.action).failed_attempts = entry.attempt
            return
        key = (entry.event, entry.name)
        seed = None if self.forked is None else self.forked.seeds.get(entry.action)
        action = self.actions.setdefault(key, ActionState(entry.action, *key, seed=seed))
        self.status = RunStatus.RUNNING
        if isinstance(entry, ActionStarted):
            action.started = entry
            return
        action.is_completed = True
        action.records.clear()
        self.events += [EventState(e, entry.event, entry.name, entry.at) for e in entry.events]
        self.sensory += entry.sensory
        self.output_count += entry.outputs

    def _apply_to_run(
        self, entry: RunCompleted | RunFailed | RunParked | RunCancelled | RunRetried
    ) -> None:
        match entry:
            case RunCompleted():
                self.status = RunStatus.COMPLETED
            case RunFailed():
                blocks = entry.blocks_key
                self.status = RunStatus.BLOCKING if blocks else RunStatus.FAILED
                self.error = entry.error
            case RunParked():
                self.status, self.reason = RunStatus.PARKED, entry.reason
                self.lacks_code = entry.lacks_code
            case RunCancelled():
                self.status, self.reason = RunStatus.CANCELLED, entry.reason
            case _:
                self.status, self.error, self.reason = RunStatus.ACCEPTED, None, ""
                self.lacks_code = False
                for action in self.actions.values():
                    action.failed_attempts = 0

    def _apply_to_waits(
        self,
        seq: int,
        entry: TimerSet | TimerFired | SignalAwaited | SignalReceived | SignalTaken,
    ) -> None:
        if isinstance(entry, SignalReceived):
            self.signals.append(SignalState(entry.name, entry.signal_id, entry.value))
            return
        function = entry.function if isinstance(entry, TimerSet | TimerFired) else SIGNAL
        name = "" if isinstance(entry, TimerSet) else entry.name
        key = (entry.branch, entry.position)
        record = self._numbered(entry.action).record_at(key, function, name.encode())
        record.at = entry.at
        if isinstance(entry, TimerSet | SignalAwaited):
            record.due, record.preview = entry.due, entry.preview
            return
        record.status, record.seq = CallStatus.SUCCEEDED, seq
        if isinstance(entry, SignalTaken):
            signal = self.signals[entry.number]
            signal.is_taken = True
            record.signal, record.payload = entry.number, signal.value

    def _give_back(self, record: CallRecord) -> None:
        """A signal that was given to nobody in the end is there for the next who waits."""
        if record.signal is not None:
            self.signals[record.signal].is_taken = False
            record.signal = None

    def _apply_to_calls(
        self,
        seq: int,
        entry: CallBegun
        | CallSettled
        | CallAbandoned
        | CallRetried
        | CallResolved
        | CallsCleared
        | DeliveredOutOfOrder,
    ) -> None:
        action = self._numbered(entry.action)
        match entry:
            case CallsCleared():
                cleared = (entry.branch, entry.position)
                for key in [k for k in action.records if is_cleared_by(k, cleared)]:
                    self._give_back(action.records.pop(key))
                # A call that is made anew at such a place has overtaken nobody.
                action.overtakings = tuple(
                    pair
                    for pair in action.overtakings
                    if not any(is_cleared_by(key, cleared) for key in pair)
                )
            case DeliveredOutOfOrder():
                overtaken = (entry.overtaken_branch, entry.overtaken_position)
                action.overtakings += (((entry.branch, entry.position), overtaken),)
            case _:
                record = action.record(entry)
                if isinstance(entry, CallAbandoned):
                    self._give_back(record)
                _apply_to_call(record, seq, entry)

    def _numbered(self, number: int) -> ActionState:
        # From the end: what is written about is nearly always the action that began last.
        for action in reversed(self.actions.values()):
            if action.number == number:
                return action
        msg = "it speaks of an action that it does not know"
        raise LookupError(msg)


def _apply_to_call(
    record: CallRecord,
    seq: int,
    entry: CallBegun | CallSettled | CallAbandoned | CallRetried | CallResolved,
) -> None:
    match entry:
        case CallBegun():
            record.preview = entry.preview
            record.in_doubt = record.guarded = True
        case CallRetried():
            record.attempts, record.in_doubt = entry.attempt, False
        case CallResolved():
            record.in_doubt = False
        case CallSettled():
            record.status = CallStatus.FAILED if entry.failed else CallStatus.SUCCEEDED
            record.payload, record.preview, record.seq = entry.payload, entry.preview, seq
            record.guarded, record.in_doubt = entry.guarded, False
        case _:
            # It also overrides a settlement that had been committed and not yet handed over.
            record.status, record.preview = CallStatus.ABANDONED, entry.preview
            record.guarded, record.payload = entry.guarded, None
