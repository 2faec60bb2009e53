"""What a fork begins with: which entries of a run it has, under which numbers."""

from collections.abc import Sequence
from typing import TypeAlias

import pytest

from durable_agents.errors import RunStateError
from durable_agents.forking import Edit, Fork, fork_of
from durable_agents.journal import (
    PROMISE,
    SLEEP,
    TIMEOUT,
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
    PromiseMade,
    RowCopied,
    RunAccepted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunForked,
    RunParked,
    RunRetried,
    RunState,
    RunTakenOver,
    SentEvent,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    TimerSet,
    promise_name,
)
from durable_agents.serialization import Payload

VALUE = Payload("plain", b"\x01")
OTHER = Payload("plain", b"\x02")
ERROR = Payload("failure", b"\x03")
DIGEST = b"00ff"
ACCEPTED = RunAccepted("run", "shop", "k", VALUE, 1.0)
STARTED = ActionStarted(0, 0, "act", {}, "3.11", 2.0)
ROOT = "0:act:root"


Rows: TypeAlias = list[Entry | Sequence[Entry]]


def begun(position: int = 0, branch: str = "") -> CallBegun:
    return CallBegun(0, branch, position, "pay", DIGEST, "7", 1, 3.0)


def settled(
    position: int = 0, branch: str = "", *, guarded: bool = False, action: int = 0
) -> CallSettled:
    name = (action, branch, position, "pay", DIGEST)
    return CallSettled(*name, "7", False, VALUE, 1, guarded, 4.0)


def abandoned(position: int = 0, branch: str = "") -> CallAbandoned:
    return CallAbandoned(0, branch, position, "pay", DIGEST, "7", False, 5.0)


def retried(position: int = 0) -> CallRetried:
    return CallRetried(0, "", position, "pay", DIGEST, 1, ERROR, 3.0)


def completed(action: int = 0, outputs: int = 0, *events: str) -> ActionCompleted:
    sent = [SentEvent(event, VALUE) for event in events]
    return ActionCompleted(action, action, ("act", "next")[action], sent, outputs, [], [], 6.0)


def awaited(position: int = 0, branch: str = "") -> SignalAwaited:
    return SignalAwaited(0, branch, position, "go", "'go'", None, 3.0)


def taken(position: int = 0, number: int = 0) -> SignalTaken:
    return SignalTaken(0, "", position, "go", number, 4.0)


def timer(position: int = 0, function: str = SLEEP, branch: str = "") -> TimerSet:
    return TimerSet(0, branch, position, function, "9 s", 12.0, 3.0)


def fired(position: int = 0, function: str = SLEEP) -> TimerFired:
    return TimerFired(0, "", position, function, "", 12.0)


RECEIVED = SignalReceived("go", "", VALUE, 3.5)


NAME = promise_name(f"{ROOT}:0")
COMPLETED = SignalReceived(NAME, NAME, VALUE, 3.5)
NOBODYS = SignalReceived(PROMISE, "", VALUE, 3.5)


def promised(
    position: int = 0, branch: str = "", run: str = "", action: int = 0
) -> PromiseMade:
    return PromiseMade(action, branch, position, run, 2.5)


def journal(*rows: Entry | Sequence[Entry]) -> list[tuple[int, list[Entry]]]:
    """Rows of one entry each, or of several, numbered 10, 20, ..."""
    lists = [list(row) if isinstance(row, Sequence) else [row] for row in rows]
    return [(0, [ACCEPTED]), *((10 * n, row) for n, row in enumerate(lists, start=1))]


def forked(*rows: Entry | Sequence[Entry], at: str | None, edit: Edit | None = None) -> Fork:
    return fork_of(journal(*rows), "fork", at, edit, 100.0)


def copied(fork: Fork) -> list[tuple[int, Entry]]:
    """What a fork has of the other run, each under the number that it had there."""
    first, *rest = fork.entries
    assert isinstance(first, RunForked)
    found: list[tuple[int, Entry]] = []
    row = 0
    for entry in rest:
        if isinstance(entry, RowCopied):
            assert 100.0 == entry.at
            row = entry.row
        else:
            found.append((row, entry))
    return found


def test_without_a_call_it_begins_at_the_beginning() -> None:
    """Nothing but the input is the other run's."""
    fork = forked([STARTED, settled()], completed(0, 1), at=None)

    assert Fork(ACCEPTED, [RunForked("run", "", {}, 100.0)], 0) == fork


def test_what_had_settled_before_the_call_is_copied_and_nothing_later() -> None:
    """By the order of the rows, whatever branch it is of; each keeps its number."""
    other = settled(0, "/0.a.0")
    fork = forked([STARTED, settled(0)], other, settled(1), settled(2), at=f"{ROOT}:1")

    assert [(10, STARTED), (10, settled(0)), (20, other)] == copied(fork)
    assert RunForked("run", f"{ROOT}:1", {0: "run"}, 100.0) == fork.entries[0]


def test_a_result_takes_the_place_of_the_one_that_was_there() -> None:
    """Of the same call, with what its author declared about it."""
    rows: Rows = [[STARTED, settled(0)], begun(1), settled(1, guarded=True), settled(2)]

    fork = forked(*rows, at=f"{ROOT}:1", edit=Edit(OTHER))

    name = (0, "", 1, "pay", DIGEST, "7")
    edited = CallSettled(*name, False, OTHER, 1, True, 100.0)
    assert (30, edited) == copied(fork)[-1]
    failed = forked(*rows, at=f"{ROOT}:1", edit=Edit(ERROR, has_failed=True))
    edited = CallSettled(*name, True, ERROR, 1, True, 100.0)
    assert (30, edited) == copied(failed)[-1]


def test_a_result_of_a_call_that_had_none_comes_behind_all_that_is_copied() -> None:
    """And before all that the fork records; also where nothing is copied."""
    fork = forked([STARTED, settled(0)], begun(1), at=f"{ROOT}:1", edit=Edit(OTHER))
    alone = forked([STARTED, begun(0)], at=f"{ROOT}:0", edit=Edit(OTHER))
    tried = forked([STARTED, retried(0)], at=f"{ROOT}:0", edit=Edit(OTHER))

    name = (0, "", 1, "pay", DIGEST, "7")
    assert (11, CallSettled(*name, False, OTHER, 1, True, 100.0)) == copied(fork)[-1]
    assert [10, 11] == [row for row, _ in copied(alone)]
    name = (0, "", 0, "pay", DIGEST, "...")
    assert (11, CallSettled(*name, False, OTHER, 1, False, 100.0)) == copied(tried)[-1]


def test_an_action_of_which_nothing_is_left_starts_anew() -> None:
    """With the memory that is there now, and random numbers of its own."""
    fork = forked([STARTED, settled(0)], settled(1), at=f"{ROOT}:0")

    assert [RunForked("run", f"{ROOT}:0", {}, 100.0)] == fork.entries


def test_nothing_of_the_fork_is_in_doubt() -> None:
    """Calls and waits that had begun and not come to anything have not begun there."""
    rows: Rows = [
        [STARTED, begun(0, "/0.a.0")],
        CallRetried(0, "/0.a.1", 0, "pay", DIGEST, 1, ERROR, 3.0),
        CallResolved(0, "/0.a.0", 0, "pay", DIGEST, 3.0),
        awaited(0, "/0.a.2"),
        timer(0, TIMEOUT, "/0.a.3"),
        settled(0),
    ]

    assert [] == copied(forked(*rows, at=f"{ROOT}:0"))


def test_how_calls_that_settled_came_to_it_is_copied() -> None:
    """It is on the record of the call."""
    rows: Rows = [
        [STARTED, begun(0)],
        retried(0),
        CallResolved(0, "", 0, "pay", DIGEST, 3.0),
        settled(0),
        begun(1),
        abandoned(1),
        timer(2, TIMEOUT),
        fired(2, TIMEOUT),
        awaited(3),
        RECEIVED,
        taken(3),
        CallsCleared(0, "/9.z.0", 0, "", 7.0),
        DeliveredOutOfOrder(0, "", 1, "", 0, 8.0),
    ]
    fork = forked(*rows, settled(4), at=f"{ROOT}:4")

    expected = [entry for _, row in journal(*rows)[1:] for entry in row]
    assert expected == [entry for _, entry in copied(fork)]


def test_a_sleep_that_had_begun_goes_on() -> None:
    """It may be over long since: a sleep alone leaves no other trace."""
    fork = forked([STARTED, timer(0)], settled(1), at=f"{ROOT}:1")

    assert [(10, STARTED), (10, timer(0))] == copied(fork)


@pytest.mark.parametrize(
    "entry",
    [
        RunTakenOver("w", 4.0),
        ActionFailed(0, 1, ERROR, 4.0),
        RunFailed(0, ERROR, 4.0),
        RunParked("", 4.0),
        RunRetried(4.0),
        CancelRequested(0, "", 4.0),
        RunCancelled("", 4.0),
        pytest.param(DeliveredOutOfOrder(0, "", 0, "", 1, 4.0), id="of a call that is kept"),
        pytest.param(DeliveredOutOfOrder(0, "", 1, "", 0, 4.0), id="of one that is not"),
    ],
    ids=lambda entry: type(entry).__name__,
)
def test_what_holds_for_the_other_run_alone_is_not_copied(entry: Entry) -> None:
    """How it came to its end and back."""
    fork = forked([STARTED, settled(0)], entry, settled(1), at=f"{ROOT}:1")

    assert [(10, STARTED), (10, settled(0))] == copied(fork)


def test_completed_actions_are_copied_with_the_outputs_they_sent() -> None:
    """Events go by the ids that they would have, had the fork sent them."""
    second = ActionStarted(1, 1, "next", {}, "3.11", 7.0)
    rows: Rows = [
        [STARTED, settled(0)],
        completed(0, 2, "run/0#1", "run/0/1.a#2"),
        [second, settled(0, action=1)],
        settled(1, action=1),
        [completed(1, 3), RunCompleted(9.0)],
    ]
    fork = forked(*rows, at="1:next:root:1")

    assert 2 == fork.outputs
    assert RunForked("run", "1:next:root:1", {0: "run", 1: "run"}, 100.0) == fork.entries[0]
    assert completed(0, 2, "fork/0#1", "fork/0/1.a#2") == copied(fork)[2][1]


def test_a_call_that_never_settled_ends_with_its_action() -> None:
    """What came after the action is left out, and its completion."""
    second = ActionStarted(1, 1, "next", {}, "3.11", 7.0)
    rows: Rows = [
        [STARTED, begun(0, "/0.a.0"), settled(1)],
        completed(0, 1, "run/0#1"),
        [second, settled(0, action=1)],
        completed(1),
    ]
    fork = forked(*rows, at="0:act:root/0.a.0:0")

    assert [(10, STARTED), (10, settled(1))] == copied(fork)


def test_a_call_that_was_cleared_counts_as_it_was_made_anew() -> None:
    """The journal is cut where it settled last; a call that was not made anew is none."""
    cleared = CallsCleared(0, "", 1, "changed", 5.0)
    rows: Rows = [
        [STARTED, settled(0)],
        settled(1),
        settled(2),
        cleared,
        settled(1),
        settled(2),
    ]

    fork = forked(*rows, at=f"{ROOT}:1")

    assert [10, 10, 20, 30, 40] == [row for row, _ in copied(fork)]
    assert (20, settled(1)) == copied(fork)[2]
    with pytest.raises(RunStateError, match="no call '0:act:root:2' on record"):
        forked(*rows[:5], at=f"{ROOT}:2")


def test_a_clear_of_another_action_clears_nothing_here() -> None:
    """Places are those of one action."""
    second = ActionStarted(1, 1, "next", {}, "3.11", 7.0)
    cleared = CallsCleared(1, "", 0, "changed", 5.0)
    fork = forked([STARTED, settled(0)], [second, cleared], at=f"{ROOT}:0")

    assert [] == copied(fork)


def test_a_wait_is_cut_where_it_began() -> None:
    """The fork waits anew; a signal that had come before is there for it."""
    rows: Rows = [[STARTED, settled(0)], RECEIVED, awaited(1), RECEIVED, taken(1), settled(2)]

    fork = forked(*rows, at=f"{ROOT}:1")

    assert [(10, STARTED), (10, settled(0)), (20, RECEIVED)] == copied(fork)


def test_a_wait_for_a_signal_may_be_given_one() -> None:
    """It is taken by that wait and nobody else; earlier ones stay for others."""
    rows: Rows = [[STARTED, settled(0)], RECEIVED, awaited(1), RECEIVED, taken(1)]

    fork = forked(*rows, at=f"{ROOT}:1", edit=Edit(OTHER))

    came = SignalReceived("go", "", OTHER, 100.0)
    given = SignalTaken(0, "", 1, "go", 1, 100.0)
    assert [(50, awaited(1)), (50, came), (50, given)] == copied(fork)[-3:]
    state = RunState.of([(0, [ACCEPTED, *fork.entries])])
    record = state.actions[0, "act"].records["", 1]
    assert (OTHER, 50, "'go'") == (record.payload, record.seq, record.preview)


@pytest.mark.parametrize(
    ("wait", "edit", "problem"),
    [
        (timer(1), Edit(OTHER), "is a sleep or a timeout: it has no result to edit"),
        (awaited(1), Edit(ERROR, has_failed=True), "takes a value, no error"),
        (promised(1), Edit(OTHER), "makes a promise: edit the wait for its result"),
    ],
)
def test_a_result_that_a_wait_cannot_have_is_refused(
    wait: Entry, edit: Edit, problem: str
) -> None:
    """The error says why; without a result it may be forked."""
    with pytest.raises(RunStateError, match=problem):
        forked([STARTED, settled(0)], wait, at=f"{ROOT}:1", edit=edit)

    assert [10, 10] == [
        row for row, _ in copied(forked([STARTED, settled(0)], wait, at=f"{ROOT}:1"))
    ]


def test_a_call_that_is_not_there_is_refused_and_those_that_are_there_are_named() -> None:
    """Up to twenty of them."""
    with pytest.raises(RunStateError, match=r"no call 'x' on record; calls: none$"):
        forked(at="x")
    with pytest.raises(RunStateError, match=f"calls: {ROOT}:0, {ROOT}:1$"):
        forked([STARTED, settled(0)], settled(1), at="x")
    many = [settled(n) for n in range(22)]
    with pytest.raises(RunStateError, match=f"{ROOT}:19 and 2 more$"):
        forked([STARTED, *many], at="x")


def test_a_fork_of_a_fork_has_all_of_it_under_the_first_numbers() -> None:
    """Its random numbers are those of the run in which an action started."""
    first = forked([STARTED, settled(0)], settled(1), settled(2), at=f"{ROOT}:2")
    accepted = RunAccepted("fork", "shop", "k", VALUE, 1.0)
    rows: list[tuple[int, list[Entry]]] = [
        (0, [accepted, *first.entries]),
        (70, [settled(2)]),
        (80, [completed(0, 1, "fork/0#1")]),
    ]
    second = ActionStarted(1, 1, "next", {}, "3.11", 7.0)
    rows += [(90, [second, settled(0, action=1)]), (100, [settled(1, action=1)])]

    fork = fork_of(rows, "again", "1:next:root:1", None, 100.0)

    assert RunForked("fork", "1:next:root:1", {0: "run", 1: "fork"}, 100.0) == fork.entries[0]
    assert [10, 10, 20, 70, 80, 90, 90] == [row for row, _ in copied(fork)]
    assert completed(0, 1, "again/0#1") == copied(fork)[4][1]


def test_a_promise_that_nothing_followed_is_made_anew() -> None:
    """With an id of its own; what the other one was completed with stays as nobody's."""
    rows: Rows = [[STARTED, promised(0)], COMPLETED, RECEIVED, settled(1), settled(2)]

    fork = forked(*rows, at=f"{ROOT}:1")
    itself = forked(*rows, at=f"{ROOT}:0")

    assert [(20, NOBODYS), (30, RECEIVED)] == copied(fork)
    assert [] == copied(itself)


@pytest.mark.parametrize(
    "behind", [settled(1), settled(0, "/1.a.0"), abandoned(3), [awaited(1), RECEIVED, taken(1)]]
)
def test_a_promise_whose_id_may_have_been_used_keeps_it(
    behind: Entry | Sequence[Entry],
) -> None:
    """What was recorded with it is repeated with it, in forks of forks, too."""
    rows: Rows = [[STARTED, promised(0), promised(9, run="older")], COMPLETED, behind]
    rows = [*rows, settled(10), settled(11)]

    found = [entry for _, entry in copied(forked(*rows, at=f"{ROOT}:11"))]

    assert [STARTED, promised(0, run="run"), promised(9, run="older"), COMPLETED] == found[:4]


@pytest.mark.parametrize(
    "beside", [settled(0), settled(0, "/0.a.0"), settled(5, action=1), begun(2)]
)
def test_what_was_there_before_a_promise_or_beside_it_was_not_handed_its_id(
    beside: Entry,
) -> None:
    """Nor was what has not come to its end, and is begun anew."""
    second = ActionStarted(1, 1, "next", {}, "3.11", 7.0)
    rows: Rows = [STARTED, second, promised(1), beside, settled(2)]

    found = [entry for _, entry in copied(forked(*rows, at=f"{ROOT}:2"))]

    assert promised(1, run="run") not in found


@pytest.mark.parametrize("has_failed", [False, True])
def test_an_edited_call_may_have_been_handed_the_id_of_a_promise(*, has_failed: bool) -> None:
    """Its record names its arguments."""
    rows: Rows = [[STARTED, promised(0)], settled(1), settled(2)]

    fork = forked(*rows, at=f"{ROOT}:1", edit=Edit(OTHER, has_failed))

    assert (10, promised(0, run="run")) == copied(fork)[1]


@pytest.mark.parametrize("edit", [Edit(OTHER), Edit(ERROR, has_failed=True)])
def test_a_wait_for_a_promise_may_be_given_a_result_or_an_error(edit: Edit) -> None:
    """It counts as the completion of the fork's promise, whatever came before."""
    wait = SignalAwaited(0, "", 1, NAME, "promise at root:0", None, 3.0)
    rows: Rows = [[STARTED, promised(0)], COMPLETED, wait]

    fork = forked(*rows, at=f"{ROOT}:1", edit=edit)

    found = [entry for _, entry in copied(fork)]
    came = SignalReceived(NAME, NAME, edit.payload, 100.0)
    given = SignalTaken(0, "", 1, NAME, 1, 100.0)
    assert [STARTED, promised(0, run="run"), NOBODYS, wait, came, given] == found
