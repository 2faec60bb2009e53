"""The persisted facts of a run.

What is on disk is API: a tag is never given to another entry, fields are only added at the end
and with a default, so that journals of every release stay readable (`tests/golden`).
"""

from typing import Literal, TypeAlias

import msgspec

from durable_agents.serialization import Payload

__all__ = [
    "ActionCompleted",
    "ActionFailed",
    "ActionStarted",
    "CallAbandoned",
    "CallBegun",
    "CallResolved",
    "CallRetried",
    "CallSettled",
    "CallsCleared",
    "CancelRequested",
    "DeliveredOutOfOrder",
    "Entry",
    "MemoryUpdate",
    "PromiseMade",
    "RowCopied",
    "RunAccepted",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunForked",
    "RunParked",
    "RunRetried",
    "RunTakenOver",
    "SentEvent",
    "SignalAwaited",
    "SignalReceived",
    "SignalTaken",
    "TimerFired",
    "TimerSet",
    "VersionMarked",
]


class MemoryUpdate(msgspec.Struct, frozen=True, array_like=True):
    """One change of one path of a memory."""

    path: str
    """Dotted path from the root of the memory."""
    kind: Literal["value", "object", "deleted"]
    """A value was set, an empty object was made, or the path and all below it were deleted."""
    payload: Payload | None = None
    """The encoded value; None unless `kind` is `"value"`."""


class SentEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event that an action sent: on to other actions, or out of the agent."""

    event_id: str
    payload: Payload
    at: float = 0.0
    """When it was sent; kept for outputs, other events take effect with their action."""


class RunAccepted(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """An input was taken in; it will run to its end."""

    run_id: str
    agent: str
    key: str
    input: Payload
    """The input value; or, with `is_event`, the event that was handed in for it."""
    at: float
    """Seconds since 1970-01-01 UTC, as in every other entry."""
    is_event: bool = False
    """Whether the input is an event of its own rather than the value of an `InputEvent`."""


class RunTakenOver(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A worker took up a run that an earlier one left unfinished."""

    worker: str
    at: float


class ActionStarted(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """An action began; written with the first record of the action, never alone."""

    action: int
    """Number of the action run within the run, from 0; later entries refer to it."""
    event: int
    """Number of the event within the run: 0 is the input, the others in the order sent."""
    name: str
    """Name of the action in the plan."""
    short_term: dict[str, MemoryUpdate]
    """Short-term memory as the action saw it, by path, so that a replay reads the same."""
    python: str
    """Minor version of Python that ran it (`"3.11"`); another one may order tasks otherwise."""
    at: float
    code: bytes = b""
    """Fingerprint of the code that ran it; empty in journals of before it was recorded."""


class CallBegun(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """A guarded call is about to take effect: from here on it is in doubt until it settles."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    preview: str
    attempt: int
    at: float


class CallSettled(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """A call returned or raised; its outcome never changes again."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    preview: str
    """The arguments for people: bounded, not decodable."""
    failed: bool
    """Whether the payload is an exception."""
    payload: Payload
    attempt: int
    """The attempt that settled it, from 1."""
    guarded: bool
    """Whether the call must not be repeated in silence: it declared a reconciler, or an
    `on_interrupt` other than `"rerun"`."""
    at: float


class CallAbandoned(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The action's own code gave the call up (a timeout, a lost race): a fact, no value."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    preview: str
    guarded: bool
    at: float


class CallRetried(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """An attempt failed and another one follows: the budget holds over restarts."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    attempt: int
    error: Payload
    at: float


class CallsCleared(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The code changed: what is recorded from here on no longer counts.

    That is the records of the branch from `position` on, and those of the branches that it
    started later.
    """

    action: int
    branch: str
    position: int
    difference: str
    """What was recorded and what the code did instead, for people."""
    at: float


class DeliveredOutOfOrder(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A replay handed this outcome over before one that had been recorded earlier."""

    action: int
    branch: str
    position: int
    overtaken_branch: str
    overtaken_position: int
    at: float


class ActionCompleted(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """An action returned: its events, outputs and memory updates take effect together."""

    action: int
    event: int
    name: str
    events: list[SentEvent]
    """Events for other actions, in the order sent; outputs are kept beside the journal."""
    outputs: int
    """How many outputs it sent."""
    sensory: list[MemoryUpdate]
    short_term: list[MemoryUpdate]
    at: float


class ActionFailed(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """An attempt of an action raised and another one follows."""

    action: int
    attempt: int
    error: Payload
    at: float


class RunCompleted(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Every action of the run has completed."""

    at: float


class RunFailed(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """An action failed for good; the run is kept as a dead letter."""

    action: int
    """The action run that failed; -1 where none had started."""
    error: Payload
    at: float
    blocks_key: bool = False
    """Whether later inputs of the key wait until a person has decided."""


class RunParked(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """The run waits for a person."""

    reason: str
    at: float
    lacks_code: bool = False
    """Whether it goes on without one, too: when a worker starts that has the code for it."""


class RunCancelled(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """The run was given up by a person or by its parent."""

    reason: str
    at: float


class RunRetried(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """A person put the run back to work: what had not completed starts again."""

    at: float


class CallResolved(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """A person decided that a call in doubt is to be made again."""

    action: int
    branch: str
    position: int
    function: str
    digest: bytes
    at: float


class CancelRequested(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """The action was told to stop; a replay tells it at the same place among the outcomes."""

    action: int
    reason: str
    at: float


class TimerSet(msgspec.Struct, frozen=True, array_like=True, tag=19, gc=False):
    """A sleep or a timeout began."""

    action: int
    branch: str
    position: int
    function: str
    """Which of them: `SLEEP` or `TIMEOUT`."""
    preview: str
    due: float
    """When it fires, whatever happens until then; in seconds since 1970-01-01 UTC."""
    at: float


class TimerFired(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """A timer, or the timeout of a wait, fired while other tasks could have raced with it."""

    action: int
    branch: str
    position: int
    function: str
    name: str
    """Of a wait: the name of the signal that did not come; else empty."""
    at: float


class SignalAwaited(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """The action waits for a signal."""

    action: int
    branch: str
    position: int
    name: str
    preview: str
    """What is waited for, for people."""
    due: float | None
    """When it gives up; None: never."""
    at: float


class SignalReceived(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Somebody signalled the run, whether or not it waited for that."""

    name: str
    signal_id: str
    """Another one with this id is the same one; empty: it has none."""
    value: Payload
    at: float


class SignalTaken(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    """The action was given a signal; nobody else is given it any more."""

    action: int
    branch: str
    position: int
    name: str
    number: int
    """Which of the run's signals, from 0 in the order received."""
    at: float


class VersionMarked(msgspec.Struct, frozen=True, array_like=True, tag=24, gc=False):
    """Which version of a change the run follows, from its first question on; never alone."""

    action: int
    branch: str
    change: str
    version: int
    at: float


class RunForked(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """The run goes another way than the one that it was made of, from some call on."""

    run: str
    """Id of that run."""
    call: str
    """Id of that call; empty: from the beginning."""
    seeds: dict[int, str]
    """By number of a copied action: id of the run that started it, which random numbers in it
    depend on. A replay draws the same ones."""
    at: float


class RowCopied(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """What follows, up to the next of these, was recorded in another row of another run.

    It has no row of its own, so that a fork becomes durable at once with its acceptance, and it
    keeps its place among outcomes: which of them arrived together.
    """

    row: int
    """Number of that row in the store."""
    at: float


class PromiseMade(msgspec.Struct, frozen=True, array_like=True, tag=27, gc=False):
    """The action may hand the id of a promise out; who has it completes it by a signal."""

    action: int
    branch: str
    position: int
    run: str
    """The run that the id names, where it was made of that one; empty: its own."""
    at: float


Entry: TypeAlias = (
    RunAccepted
    | RunTakenOver
    | ActionStarted
    | CallBegun
    | CallSettled
    | CallAbandoned
    | CallRetried
    | CallsCleared
    | DeliveredOutOfOrder
    | ActionCompleted
    | ActionFailed
    | RunCompleted
    | RunFailed
    | RunParked
    | RunCancelled
    | RunRetried
    | CallResolved
    | CancelRequested
    | TimerSet
    | TimerFired
    | SignalAwaited
    | SignalReceived
    | SignalTaken
    | VersionMarked
    | RunForked
    | RowCopied
    | PromiseMade
)
