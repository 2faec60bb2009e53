"""Decides, for each durable call of an action run, whether to replay or to execute.

Rule 1: every rule of replay lives in this file. Rule 2: this file does no I/O and reads no
clock, so that a test can walk through any history of crashes in microseconds.

Theory of operation
===================

An action is a coroutine that may be started many times: after a crash, after a failure, after a
new deployment. Each start gets a fresh `CallLog` over the records that earlier starts left, and
asks it once per durable call. A call is known by its branch and its position in that branch;
function id and digest say whether the code still makes the same call there.

    recorded there?  same call?  status              decision
    ---------------  ----------  ------------------  ------------------------------------------
    no               -           -                   Start     execute
    yes              yes         succeeded, failed   Replay    hand the outcome over
    yes              yes         abandoned           Abandoned never completes, as it did not
    yes              yes         pending             Resume    attempts were made, none settled
    yes              no          any                 Diverged  clear, or park the run

What a `Resume` leads to depends on what was declared and on whether the last attempt is in
doubt; see `resolution`.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Literal, TypeAlias

import msgspec

from durable_agents.journal._options import DurableOptions
from durable_agents.journal._rows import batch_of
from durable_agents.journal._waits import PROMISE
from durable_agents.serialization import Payload

__all__ = [
    "CANCELLATION",
    "EMPTY_LOG",
    "START",
    "Abandoned",
    "CallKey",
    "CallLog",
    "CallRecord",
    "CallStatus",
    "Decision",
    "Diverged",
    "DivergencePolicy",
    "Replay",
    "Resolution",
    "Resume",
    "Start",
    "call_id",
    "is_cleared_by",
    "must_park",
    "place",
    "resolution",
]

CallKey: TypeAlias = tuple[str, int]
"""Branch and position."""
DivergencePolicy: TypeAlias = Literal["protect", "clear", "fail"]

CANCELLATION: CallKey = ("", -1)
"""Stands among the outcomes for the moment when the action was told to stop."""

BRANCH_SEPARATOR = "/"
COUNT_SEPARATOR = "."


class CallStatus(Enum):
    """How far a call has come."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"


class CallRecord(msgspec.Struct, kw_only=True):
    """What the journal knows of one call; the fold over the entries fills it in."""

    branch: str
    position: int
    function: str
    digest: bytes
    preview: str = ""
    status: CallStatus = CallStatus.PENDING
    payload: Payload | None = None
    attempts: int = 0
    """Attempts that ended without settling the call."""
    in_doubt: bool = False
    """Whether an attempt was begun on record and nothing is known of its end."""
    guarded: bool = False
    seq: int = 0
    """Place in the store of the entry that settled it; gives the order of delivery. 0: none
    did, for that is the place of the run's input."""
    at: float = 0.0
    due: float | None = None
    """Of a timer or a wait: when it fires; None: never, or it is a call."""
    signal: int | None = None
    """Of a wait: which of the run's signals it was given."""

    @property
    def key(self) -> CallKey:
        """Branch and position."""
        return (self.branch, self.position)

    @property
    def has_settled(self) -> bool:
        """Whether there is an outcome to hand over."""
        return self.status in {CallStatus.SUCCEEDED, CallStatus.FAILED}

    @property
    def has_turn(self) -> bool:
        """Whether the call has a turn among those that are handed over.

        So has one that settled and was given up: perhaps in the very pass in which its outcome
        was on its way, and then a replay that left it out would take one pass more to tell its
        task. A pass decides races.
        """
        return self.has_settled or (self.status is CallStatus.ABANDONED and self.seq > 0)

    def __str__(self) -> str:
        return f"{self.function}({self.preview})"


class Start(msgspec.Struct, frozen=True):
    """Nothing is recorded there."""


class Replay(msgspec.Struct, frozen=True):
    """The call has an outcome."""

    record: CallRecord


class Abandoned(msgspec.Struct, frozen=True):
    """The action gave this call up, and will again."""

    record: CallRecord


class Resume(msgspec.Struct, frozen=True):
    """The call was attempted and has not settled."""

    record: CallRecord


class Diverged(msgspec.Struct, frozen=True):
    """The code makes another call here than the one on record."""

    record: CallRecord
    dropped: tuple[CallRecord, ...]
    """What a clear would drop: this record and all later ones of the branch, and those of the
    branches that it started later."""
    difference: str
    """What was recorded and what the code does now, for people."""

    def must_park(self, policy: DivergencePolicy) -> bool:
        """Whether a person has to decide; see `must_park`."""
        return must_park(policy, self.dropped)


Decision: TypeAlias = Start | Replay | Abandoned | Resume | Diverged

START = Start()
"""The decision about every call that is made for the first time."""


class Resolution(Enum):
    """What becomes of a call that was attempted and has not settled."""

    RUN = "run"
    RECONCILE = "reconcile"
    FAIL = "fail"
    PARK = "park"


def resolution(record: CallRecord, options: DurableOptions) -> Resolution:
    """What a `Resume` leads to.

    Args:
        record: The record that was found.
        options: What the code declares today.
    """
    if not record.in_doubt:
        return Resolution.RUN
    if options.reconciler is not None:
        return Resolution.RECONCILE
    if options.on_interrupt == "fail":
        return Resolution.FAIL
    return Resolution.PARK if options.on_interrupt == "ask" else Resolution.RUN


class CallLog:
    """What one action run has on record, asked once per call.

    Args:
        records: What earlier starts of the action left, one per call.
        overtakings: Outcomes that an earlier replay handed over out of order, each with the one
            that it overtook.
        cancelled_at: Number of the row that told the action to stop; None where none did.
    """

    def __init__(
        self,
        records: Iterable[CallRecord] = (),
        overtakings: Iterable[tuple[CallKey, CallKey]] = (),
        cancelled_at: int | None = None,
    ) -> None:
        self._records = {r.key: r for r in records}
        self._overtakings = tuple(overtakings)
        self._ends: dict[str, int] | None = None
        """Last position on record of each branch; None: nobody has asked."""
        self._cancelled_at = cancelled_at
        self._not_asked = set(self._records)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on record."""
        return not self._records and self._cancelled_at is None

    @property
    def is_replaying(self) -> bool:
        """Whether recorded outcomes are left that the action has not asked for."""
        return bool(self.never_asked())

    def has_outcome(self, key: CallKey) -> bool:
        """Whether the call at this place would be replayed; a promise has nothing to settle."""
        record = self._records.get(key)
        return record is not None and (
            record.status is not CallStatus.PENDING or record.function == PROMISE
        )

    def next_call(self, key: CallKey, function: str, digest: bytes, preview: str) -> Decision:
        """Decide one durable call.

        Args:
            key: Branch and position of the call.
            function: Id of the function that the code calls now.
            digest: Digest of its arguments.
            preview: Its arguments for people.
        """
        # A first start has no records: one look-up, no allocation.
        if not self._records:
            return START
        record = self._records.get(key)
        if record is None:
            return START
        if record.function != function or record.digest != digest:
            now = f"{function}({preview})"
            difference = f"recorded {record} at {place(key)}, now {now}"
            return Diverged(record, tuple(self._from(key)), difference)
        self._not_asked.discard(key)
        if record.status is CallStatus.PENDING:
            return Resume(record)
        if record.status is CallStatus.ABANDONED:
            return Abandoned(record)
        return Replay(record)

    def clear(self, key: CallKey) -> None:
        """Forget the record at `key` and all that a divergence there makes worthless."""
        self._ends = None
        for record in list(self._from(key)):
            del self._records[record.key]
            self._not_asked.discard(record.key)

    def is_followed(self, key: CallKey) -> bool:
        """Whether the branch has gone on behind this place in an earlier start."""
        branch, position = key
        if self._ends is None:
            # Sorted, the last position of a branch is the one that stays.
            self._ends = dict(sorted(self._records))
        return self._ends.get(branch, -1) > position

    def may_have_passed(self, key: CallKey) -> bool:
        """Whether an earlier start may have gone on behind a place, in whichever branch.

        Several branches may come by the same line of code. So all that is on record and has not
        been asked for counts, save what the branch itself had asked for before.

        Args:
            key: The branch, and the position of the next call that it makes.
        """
        branch, position = key
        return any(b != branch or p >= position for b, p in self._not_asked)

    def never_asked(self) -> list[CallRecord]:
        """Records that the action, now at its end, did not ask for: it lost these calls."""
        left = [self._records[key] for key in sorted(self._not_asked)]
        return [record for record in left if _is_owed(record)]

    def batches(self) -> list[list[CallKey]]:
        """Settled calls in the order they were handed over, one batch per transaction."""
        due = [(r.seq, r.key) for r in self._records.values() if r.has_turn]
        if self._cancelled_at is not None:
            due.append((self._cancelled_at, CANCELLATION))
        batches: dict[int, list[CallKey]] = {}
        for seq, key in sorted(due):
            batches.setdefault(batch_of(seq), []).append(key)
        ordered = list(batches.values())
        for key, blocked in self._overtakings:
            _overtake(ordered, key, blocked)
        return [batch for batch in ordered if batch]

    def _from(self, key: CallKey) -> Iterator[CallRecord]:
        return (r for r in self._records.values() if is_cleared_by(r.key, key))


EMPTY_LOG = CallLog()
"""The cursor of every first start: nothing is on record, and nothing can be cleared."""


def must_park(policy: DivergencePolicy, lost: Iterable[CallRecord]) -> bool:
    """Whether a person has to decide about records that no longer count.

    Because of the policy, or to repeat no payment.
    """
    return policy == "fail" or (policy == "protect" and any(r.guarded for r in lost))


def place(key: CallKey) -> str:
    """Where a call stands in its action, for people: `root:0`, `root/2.0.fetch:1`."""
    branch, position = key
    return f"root{branch}:{position}"


def call_id(event: int, action: str, key: CallKey) -> str:
    """What a call is known by within its run, in every life: `0:charge:root:2`.

    Args:
        event: Number of the event within the run.
        action: Name of the action that the event fired.
        key: Branch and position of the call.
    """
    return f"{event}:{action}:{place(key)}"


def is_cleared_by(key: CallKey, cleared: CallKey) -> bool:
    """Whether a divergence at `cleared` makes the record at `key` worthless.

    So are the later calls of the branch, and those of the branches that it started later: a
    child's name begins with the number of calls that its parent had made by then.
    """
    branch, position = key
    parent, first = cleared
    if branch == parent:
        return position >= first
    prefix = parent + BRANCH_SEPARATOR
    if not branch.startswith(prefix):
        return False
    calls_before, _, _ = branch[len(prefix) :].partition(COUNT_SEPARATOR)
    return int(calls_before) > first


def _is_owed(record: CallRecord) -> bool:
    return record.status is not CallStatus.ABANDONED


def _overtake(batches: list[list[CallKey]], key: CallKey, blocked: CallKey) -> None:
    """Put `key` in a batch of its own, before the one that holds `blocked`."""
    index = _index_of(batches, blocked)
    source = _index_of(batches, key)
    # One of them may have been abandoned in a later start: then nobody overtakes anybody.
    if index is None or source is None:
        return
    batches[source].remove(key)
    batches.insert(index, [key])


def _index_of(batches: list[list[CallKey]], key: CallKey) -> int | None:
    return next((i for i, batch in enumerate(batches) if key in batch), None)
