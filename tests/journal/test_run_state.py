"""What a journal adds up to, entry by entry."""

import pytest

from durable_agents.journal import (
    PROMISE,
    SIGNAL,
    SLEEP,
    TIMEOUT,
    ActionCompleted,
    ActionFailed,
    ActionStarted,
    ActionState,
    CallAbandoned,
    CallBegun,
    CallKey,
    CallRecord,
    CallRetried,
    CallsCleared,
    CallSettled,
    CallStatus,
    DeliveredOutOfOrder,
    Entry,
    EventState,
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
    RunState,
    RunStatus,
    RunTakenOver,
    SentEvent,
    SignalAwaited,
    SignalReceived,
    SignalTaken,
    TimerFired,
    TimerSet,
    VersionMarked,
)
from durable_agents.serialization import Payload

VALUE = Payload("plain", b"\x01")
ERROR = Payload("failure", b"\x02")
DIGEST = b"00ff"
ACCEPTED = RunAccepted("run-1", "shop", "k", VALUE, 1.0)
STARTED = ActionStarted(0, 0, "charge", {}, "3.11", 2.0)


def begun(position: int = 0, *, branch: str = "", attempt: int = 1) -> CallBegun:
    return CallBegun(0, branch, position, "shop:pay", DIGEST, "7", attempt, 3.0)


def settled(
    position: int = 0,
    *,
    branch: str = "",
    failed: bool = False,
    guarded: bool = False,
    digest: bytes = DIGEST,
) -> CallSettled:
    payload = ERROR if failed else VALUE
    return CallSettled(
        0, branch, position, "shop:pay", digest, "7", failed, payload, 1, guarded, 4.0
    )


def abandoned(position: int = 0, *, guarded: bool = False) -> CallAbandoned:
    return CallAbandoned(0, "", position, "shop:pay", DIGEST, "7", guarded, 5.0)


def fold(*entries: Entry) -> RunState:
    """One row for each entry, numbered from 100."""
    return RunState.of((100 + i, [entry]) for i, entry in enumerate(entries))


def action_of(*entries: Entry) -> ActionState:
    """The first action run after these entries of its own."""
    return fold(ACCEPTED, STARTED, *entries).actions[0, "charge"]


def record_of(*entries: Entry) -> CallRecord:
    return action_of(*entries).records["", 0]


def keys_of(*entries: Entry) -> list[CallKey]:
    return sorted(action_of(*entries).records)


def test_an_accepted_run_waits_for_its_turn() -> None:
    """Nothing of it has run."""
    state = fold(ACCEPTED)

    assert ACCEPTED == state.accepted
    assert RunStatus.ACCEPTED == state.status
    assert {} == state.actions


def test_a_started_action_remembers_what_it_saw() -> None:
    """A replay reads the same memory."""
    state = fold(ACCEPTED, STARTED)

    assert RunStatus.RUNNING == state.status
    assert STARTED == state.actions[0, "charge"].started
    assert not state.actions[0, "charge"].is_completed


@pytest.mark.rows("CR-04")
def test_a_begun_call_is_in_doubt() -> None:
    """It was about to take effect, and nothing is known of its end."""
    found = record_of(begun())

    expected = CallRecord(
        branch="",
        position=0,
        function="shop:pay",
        digest=DIGEST,
        preview="7",
        in_doubt=True,
        guarded=True,
        at=3.0,
    )
    assert expected == found
    assert not found.has_settled
    assert "shop:pay(7)" == str(found)


@pytest.mark.rows("CR-01", "CR-02")
@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("before", [[], [begun()]])
def test_a_settled_call_has_an_outcome(failed: bool, before: list[Entry]) -> None:
    """A value or an exception, and the place of its row for the order of delivery."""
    found = record_of(*before, settled(failed=failed, guarded=bool(before)))

    expected = CallRecord(
        branch="",
        position=0,
        function="shop:pay",
        digest=DIGEST,
        preview="7",
        status=CallStatus.FAILED if failed else CallStatus.SUCCEEDED,
        payload=ERROR if failed else VALUE,
        guarded=bool(before),
        seq=102 + len(before),
        at=4.0,
    )
    assert expected == found
    assert found.has_settled


@pytest.mark.rows("GAP-15")
def test_failed_attempts_are_counted_over_restarts() -> None:
    """The call is pending and in no doubt until the next attempt begins."""
    retried = CallRetried(0, "", 0, "shop:pay", DIGEST, 2, ERROR, 6.0)

    found = record_of(begun(), retried)
    again = record_of(begun(), retried, begun(attempt=3))

    assert (2, False, CallStatus.PENDING) == (found.attempts, found.in_doubt, found.status)
    assert (2, True, CallStatus.PENDING) == (again.attempts, again.in_doubt, again.status)


def test_a_plain_call_may_be_retried_without_having_begun_on_record() -> None:
    """Its first entry tells of a failed attempt."""
    found = record_of(CallRetried(0, "", 0, "shop:pay", DIGEST, 1, ERROR, 6.0))

    assert (1, False, False) == (found.attempts, found.in_doubt, found.guarded)


@pytest.mark.parametrize("before", [[], [begun()], [settled(guarded=True)]])
def test_giving_a_call_up_overrides_what_was_recorded(before: list[Entry]) -> None:
    """The action never saw the outcome, so neither does a replay."""
    found = record_of(*before, abandoned(guarded=True))

    assert CallStatus.ABANDONED == found.status
    assert found.payload is None
    assert found.guarded
    assert not found.has_settled


def test_another_call_at_the_same_place_has_a_record_of_its_own() -> None:
    """Nothing of the earlier one is left in it."""
    found = record_of(begun(), settled(digest=b"ffff"))

    assert (b"ffff", False, 103) == (found.digest, found.guarded, found.seq)


@pytest.mark.rows("AS-07", "AS-09")
def test_a_clear_drops_later_calls_and_children_started_later() -> None:
    """Earlier ones stay, whenever they settled."""
    entries: list[Entry] = [
        settled(0),
        settled(1),
        settled(9, branch="/1.f.0"),
        settled(0, branch="/2.f.0"),
        CallsCleared(0, "", 1, "changed", 7.0),
    ]

    assert [("", 0), ("/1.f.0", 9)] == keys_of(*entries)
    assert [("", 0), ("", 1), ("/1.f.0", 9)] == keys_of(*entries, settled(1))


def test_overtakings_are_kept_for_the_next_replay() -> None:
    """In the order in which they happened."""
    found = action_of(
        settled(0), settled(1), settled(2), DeliveredOutOfOrder(0, "", 2, "", 0, 7.0)
    )

    assert ((("", 2), ("", 0)),) == found.overtakings
    assert [[("", 2)], [("", 0), ("", 1)]] == found.call_log().batches()


@pytest.mark.parametrize(("position", "expected"), [(0, 0), (2, 0), (3, 1)])
def test_a_clear_drops_the_overtakings_of_what_it_drops(position: int, expected: int) -> None:
    """A call that is made anew has overtaken nobody, and nobody overtook it."""
    overtaking = DeliveredOutOfOrder(0, "", 2, "", 0, 7.0)

    found = action_of(
        *(settled(i) for i in range(4)),
        overtaking,
        CallsCleared(0, "", position, "changed", 8.0),
        *(settled(i) for i in range(position, 4)),
    )

    assert expected == len(found.overtakings)


def test_a_log_of_the_records_is_fresh_each_time() -> None:
    """Each start of the action asks its own."""
    action = action_of(settled())

    action.call_log().clear(("", 0))

    assert action.call_log().has_outcome(("", 0))


@pytest.mark.rows("AS-10", "AS-15")
def test_a_completed_action_takes_effect_and_forgets_its_calls() -> None:
    """Its events and memory updates count from here on; nothing replays it any more."""
    sent, update = SentEvent("e-1", VALUE), MemoryUpdate("a", "value", VALUE)
    completed = ActionCompleted(0, 0, "charge", [sent], 1, [update], [], 9.0)

    state = fold(ACCEPTED, STARTED, settled(), completed)

    action = state.actions[0, "charge"]
    assert action.is_completed
    assert {} == action.records
    assert [EventState(sent, 0, "charge", 9.0)] == state.events
    assert [update] == state.sensory


def test_an_action_without_a_durable_call_is_known_from_its_end() -> None:
    """Its start is never written alone."""
    state = fold(ACCEPTED, ActionCompleted(3, 0, "note", [], 0, [], [], 9.0))

    assert ActionState(3, 0, "note", is_completed=True) == state.actions[0, "note"]
    assert RunStatus.RUNNING == state.status


def test_entries_find_their_action_by_its_number() -> None:
    """Several actions may be on record at once."""
    other = ActionStarted(1, 0, "notify", {}, "3.11", 2.0)
    state = fold(ACCEPTED, STARTED, other, settled(), ActionFailed(1, 2, ERROR, 5.0))

    assert [("", 0)] == list(state.actions[0, "charge"].records)
    assert 2 == state.actions[0, "notify"].failed_attempts
    assert 0 == state.actions[0, "charge"].failed_attempts


@pytest.mark.parametrize(
    ("entry", "status", "reason", "error"),
    [
        (RunCompleted(9.0), RunStatus.COMPLETED, "", None),
        (RunFailed(0, ERROR, 9.0), RunStatus.FAILED, "", ERROR),
        (RunParked("in doubt", 9.0), RunStatus.PARKED, "in doubt", None),
        (RunCancelled("by hand", 9.0), RunStatus.CANCELLED, "by hand", None),
    ],
)
def test_a_run_ends_as_its_last_entry_says(
    entry: Entry, status: RunStatus, reason: str, error: Payload | None
) -> None:
    """With the reason or the error for people."""
    state = fold(ACCEPTED, STARTED, entry)

    assert (status, reason, error) == (state.status, state.reason, state.error)


@pytest.mark.parametrize("ending", [RunFailed(0, ERROR, 9.0), RunParked("in doubt", 9.0)])
def test_a_run_that_is_put_back_to_work_keeps_what_had_settled(ending: Entry) -> None:
    """Only its ending is forgotten."""
    state = fold(ACCEPTED, STARTED, settled(), ending, RunRetried(10.0))

    assert (RunStatus.ACCEPTED, "", None) == (state.status, state.reason, state.error)
    assert [("", 0)] == list(state.actions[0, "charge"].records)


def test_a_run_that_lacks_code_does_so_until_it_goes_on() -> None:
    """It may be parked for another reason later."""
    lacks = RunParked("the class is gone", 9.0, lacks_code=True)

    assert fold(ACCEPTED, STARTED, lacks).lacks_code
    assert not fold(ACCEPTED, STARTED, lacks, RunRetried(10.0)).lacks_code
    assert not fold(ACCEPTED, STARTED, lacks, RunParked("in doubt", 10.0)).lacks_code
    assert not fold(ACCEPTED, STARTED).lacks_code


def test_starts_are_counted_until_something_new_is_on_record() -> None:
    """A call that kills its process would kill the next one, too."""
    over = RunTakenOver("worker", 3.0)

    assert 0 == fold(ACCEPTED).starts_without_progress
    assert 3 == fold(ACCEPTED, over, over, over).starts_without_progress
    assert 1 == fold(ACCEPTED, over, over, STARTED, over).starts_without_progress


def test_entries_of_one_row_share_its_number() -> None:
    """They became durable together."""
    state = RunState.of([(0, [ACCEPTED]), (100, [STARTED, settled(0), settled(1)])])

    assert {100} == {r.seq for r in state.actions[0, "charge"].records.values()}


def test_open_runs_are_those_that_have_not_ended() -> None:
    """A parked one still waits for a person, and so does a failed one that blocks its key."""
    is_open = [status for status in RunStatus if status.is_open]

    ended = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}
    assert set(RunStatus) - ended == set(is_open)


def test_a_journal_that_lost_the_start_of_an_action_is_not_fold() -> None:
    """What it says of the action cannot be placed."""
    with pytest.raises(LookupError, match="an action that it does not know"):
        RunState.of([(0, [ACCEPTED]), (1, [settled()])])


def taken(number: int = 0, position: int = 0) -> SignalTaken:
    return SignalTaken(0, "", position, "go", number, 6.0)


RECEIVED = SignalReceived("go", "", VALUE, 5.0)
AWAITED = SignalAwaited(0, "", 0, "go", "'go'", 9.0, 4.0)
GIVEN_UP = CallAbandoned(0, "", 0, SIGNAL, b"go", "'go'", False, 7.0)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([RECEIVED], [False]),
        ([AWAITED, RECEIVED, taken()], [True]),
        ([RECEIVED, AWAITED, taken(), GIVEN_UP], [False]),
        ([RECEIVED, AWAITED, taken(), CallsCleared(0, "", 0, "", 7.0)], [False]),
        ([RECEIVED, RECEIVED, AWAITED, taken(), taken(1, 1)], [True, True]),
    ],
)
def test_a_signal_is_one_waits_until_that_gives_it_up(
    entries: list[Entry], expected: list[bool]
) -> None:
    """Then the next one is given it."""
    state = fold(STARTED, *entries)

    assert expected == [signal.is_taken for signal in state.signals]


def test_a_promise_has_a_place_and_never_settles() -> None:
    """What it is completed with is given to those who wait for it, at places of their own."""
    made = PromiseMade(0, "", 1, "run-0", 7.0)
    state = fold(STARTED, SignalAwaited(0, "", 0, "go", "'go'", None, 4.0), made)

    record = state.actions[0, "charge"].records["", 1]
    assert (CallStatus.PENDING, PROMISE, b"", "run-0", 7.0) == (
        record.status,
        record.function,
        record.digest,
        record.preview,
        record.at,
    )
    assert not state.is_resting


def test_a_wait_that_timed_out_has_settled_without_a_value() -> None:
    """That is how a replay tells it from one that was given a signal."""
    fired = TimerFired(0, "", 0, SIGNAL, "go", 9.0)
    record = fold(STARTED, AWAITED, fired).actions[0, "charge"].records["", 0]

    assert (CallStatus.SUCCEEDED, None, 9.0) == (record.status, record.payload, record.due)


def test_a_run_rests_while_its_newest_entry_is_that_it_waits() -> None:
    """Then it is not what ended a process, and such starts are not counted."""
    timer = TimerSet(0, "", 1, TIMEOUT, "60 s", 9.0, 4.0)
    nap = TimerSet(0, "", 2, SLEEP, "60 s", 9.0, 4.0)
    over = RunTakenOver("w", 10.0)

    assert 0 == fold(STARTED, AWAITED, over, over).starts_without_progress
    assert 0 == fold(STARTED, nap, over).starts_without_progress
    assert 1 == fold(STARTED, timer, over).starts_without_progress
    assert 1 == fold(STARTED, nap, settled(3), over).starts_without_progress


def test_the_first_mark_of_a_change_counts() -> None:
    """It decides for the whole run, and says nothing of whether the run gets on."""
    one, other = VersionMarked(0, "", "a", 1, 3.0), VersionMarked(0, "", "b", 2, 3.0)
    again = VersionMarked(0, "/1.f", "a", 2, 4.0)
    over = RunTakenOver("w", 5.0)

    state = fold(STARTED, one, other, again)
    assert ({"a": 1, "b": 2}, {"a": 0, "b": 0}) == (state.versions, state.marked_by)
    assert 2 == fold(STARTED, over, one, over).starts_without_progress


def test_what_a_fork_has_copied_keeps_the_numbers_of_its_rows() -> None:
    """They say which outcomes arrived together; its own ones come after them."""
    forked = RunForked("other", "0:charge:root:1", {0: "first"}, 9.0)
    begin = [ACCEPTED, forked, RowCopied(70, 9.0), STARTED, settled(0), RowCopied(80, 9.0)]
    state = RunState.of([(0, [*begin, settled(1)]), (100, [settled(2)])])

    action = state.actions[0, "charge"]
    assert [70, 80, 100] == [record.seq for record in action.records.values()]
    assert (forked, "first") == (state.forked, action.seed)


def test_an_action_that_is_not_copied_has_the_random_numbers_of_its_own_run() -> None:
    """Whether or not its run is a fork."""
    assert fold(STARTED).actions[0, "charge"].seed is None
    forked = RunForked("other", "0:other:root:1", {1: "other"}, 9.0)
    assert fold(forked, STARTED).actions[0, "charge"].seed is None
