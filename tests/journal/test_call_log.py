"""What one call sees, history by history."""

import pytest

from durable_agents.journal import (
    BATCH_BITS,
    PROMISE,
    Abandoned,
    CallKey,
    CallLog,
    CallRecord,
    CallStatus,
    Diverged,
    DivergencePolicy,
    DurableOptions,
    OnInterrupt,
    Replay,
    Resolution,
    Resume,
    Start,
    call_id,
    is_cleared_by,
    place,
    resolution,
)
from durable_agents.serialization import Payload

CHARGE = ("shop:charge", b"00ff", "100")
REFUND = ("shop:refund", b"00ff", "100")
CHARGE_MORE = ("shop:charge", b"ffff", "200")
REFUND_MORE = ("shop:refund", b"ffff", "200")

PENDING, SUCCEEDED = CallStatus.PENDING, CallStatus.SUCCEEDED
FAILED, ABANDONED = CallStatus.FAILED, CallStatus.ABANDONED


def record(
    position: int = 0,
    status: CallStatus = SUCCEEDED,
    *,
    branch: str = "",
    guarded: bool = False,
    seq: int = 0,
) -> CallRecord:
    return CallRecord(
        branch=branch,
        position=position,
        function=CHARGE[0],
        digest=CHARGE[1],
        preview=CHARGE[2],
        status=status,
        payload=Payload("plain", b""),
        guarded=guarded,
        seq=seq,
    )


def committed(batch: int, index: int = 0) -> int:
    """Number of a row, by its transaction and its place in there."""
    return (batch << BATCH_BITS) + index


@pytest.mark.rows("DC-01", "DC-03")
def test_a_call_without_a_record_starts() -> None:
    """In an empty log, and behind the last record."""
    assert isinstance(CallLog().next_call(("", 0), *CHARGE), Start)
    assert isinstance(CallLog([record(0)]).next_call(("", 1), *CHARGE), Start)
    assert isinstance(CallLog([record(0)]).next_call(("/0.f.0", 0), *CHARGE), Start)


@pytest.mark.rows("DC-02", "DC-08", "CR-06")
@pytest.mark.parametrize("status", [SUCCEEDED, FAILED])
def test_a_call_with_an_outcome_is_replayed(status: CallStatus) -> None:
    """A recorded failure is an outcome like any other."""
    settled = record(0, status)

    assert Replay(settled) == CallLog([settled]).next_call(("", 0), *CHARGE)


def test_a_call_that_was_abandoned_is_abandoned_again() -> None:
    """It never completed, and the action went on without it."""
    given_up = record(0, ABANDONED)

    assert Abandoned(given_up) == CallLog([given_up]).next_call(("", 0), *CHARGE)


@pytest.mark.rows("GAP-01", "CR-04")
def test_a_call_that_has_not_settled_is_resumed() -> None:
    """A pending record is never a result."""
    begun = record(0, PENDING)

    assert Resume(begun) == CallLog([begun]).next_call(("", 0), *CHARGE)


@pytest.mark.rows("CR-06", "DC-04")
@pytest.mark.parametrize("status", list(CallStatus))
@pytest.mark.parametrize("now", [REFUND, CHARGE_MORE, REFUND_MORE])
def test_another_call_at_a_recorded_place_diverges(
    status: CallStatus, now: tuple[str, bytes, str]
) -> None:
    """Whatever became of the recorded one."""
    found = record(0, status)

    decision = CallLog([found]).next_call(("", 0), *now)

    difference = f"recorded shop:charge(100) at root:0, now {now[0]}({now[2]})"
    assert Diverged(found, (found,), difference) == decision


@pytest.mark.rows("DC-07")
def test_each_recorded_call_is_handed_out_at_its_own_place() -> None:
    """Whatever the order in which branches ask."""
    first, second, child = record(0), record(1), record(0, branch="/1.f.0")
    log = CallLog([first, second, child])

    assert Replay(child) == log.next_call(("/1.f.0", 0), *CHARGE)
    assert Replay(first) == log.next_call(("", 0), *CHARGE)
    assert Replay(second) == log.next_call(("", 1), *CHARGE)
    assert isinstance(log.next_call(("", 2), *CHARGE), Start)


def test_a_log_replays_until_every_record_has_been_asked_for() -> None:
    """The logger is quiet until then."""
    log = CallLog([record(0), record(1, ABANDONED), record(2, PENDING)])
    assert not log.is_empty
    assert log.is_replaying

    log.next_call(("", 0), *CHARGE)
    log.next_call(("", 2), *CHARGE)

    assert not log.is_replaying


def test_an_empty_log_replays_nothing() -> None:
    """The first start of an action."""
    assert CallLog().is_empty
    assert not CallLog().is_replaying


@pytest.mark.rows("GAP-37")
def test_records_that_nobody_asked_for_are_named_in_order() -> None:
    """The action lost some of its calls; one that it had given up is not missed."""
    records = [record(2), record(1, PENDING), record(3, ABANDONED), record(0)]
    log = CallLog(records)

    log.next_call(("", 0), *CHARGE)

    assert [records[1], records[0]] == log.never_asked()


def test_a_diverged_call_has_not_been_asked_for() -> None:
    """What is recorded there is still owed."""
    log = CallLog([record(0)])

    log.next_call(("", 0), *REFUND)

    assert log.is_replaying


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], False),
        ([record(0)], False),
        ([record(0), record(1)], True),
        ([record(0), record(1, ABANDONED)], True),
        ([record(0), record(0, branch="/1.f.0")], True),
        ([record(0, branch="/0.f.0")], True),
    ],
)
def test_a_place_was_passed_if_anything_is_left_that_does_not_lie_before_it(
    records: list[CallRecord], expected: bool
) -> None:
    """In whichever branch: several of them may come by it."""
    assert expected == CallLog(records).may_have_passed(("", 1))


def test_what_was_asked_for_lies_before_every_place() -> None:
    """Another branch has come so far again, and has not come by here."""
    log = CallLog([record(0, branch="/0.f.0")])

    log.next_call(("/0.f.0", 0), *CHARGE)

    assert not log.may_have_passed(("", 0))


@pytest.mark.rows("DC-04", "AS-07", "AS-09", "GAP-16")
def test_a_clear_drops_what_came_after_and_nothing_else() -> None:
    """Later calls of the branch and of the branches that it started later."""
    kept = [record(0), record(9, branch="/0.f.0"), record(9, branch="/1.f.0")]
    dropped = [
        record(1),
        record(2, PENDING),
        record(0, branch="/2.f.0"),
        record(0, branch="/2.f.0/0.g.0"),
    ]
    log = CallLog([*kept, *dropped])

    decision = log.next_call(("", 1), *REFUND)
    assert isinstance(decision, Diverged)
    log.clear(("", 1))

    assert tuple(dropped) == decision.dropped
    assert kept == [log.next_call(r.key, *CHARGE).record for r in kept]  # type: ignore[union-attr]  # each is a Replay
    assert [] == log.never_asked()
    assert all(isinstance(log.next_call(r.key, *REFUND), Start) for r in dropped)


@pytest.mark.parametrize(
    ("key", "cleared", "expected"),
    [
        (("", 3), ("", 3), True),
        (("", 4), ("", 3), True),
        (("", 2), ("", 3), False),
        (("/3.f.0", 0), ("", 3), False),
        (("/4.f.0", 0), ("", 3), True),
        (("/10.f.0", 0), ("", 9), True),
        (("/10.f.0", 0), ("", 10), False),
        (("/4.a.b/c.d.0", 0), ("", 3), True),
        (("", 9), ("/1.f.0", 0), False),
        (("/1.f.1", 9), ("/1.f.0", 0), False),
        (("/1.f.0/2.g.0", 0), ("/1.f.0", 1), True),
        (("/1.f.0/2.g.0", 0), ("/1.f.0", 2), False),
        (("/1.f.01/2.g.0", 0), ("/1.f.0", 0), False),
    ],
)
def test_a_child_that_was_started_earlier_outlives_a_clear(
    key: CallKey, cleared: CallKey, expected: bool
) -> None:
    """A child's name begins with the number of calls that its parent had made by then."""
    assert expected == is_cleared_by(key, cleared)


@pytest.mark.parametrize(
    ("policy", "guarded", "parks"),
    [
        ("clear", False, False),
        ("clear", True, False),
        ("protect", False, False),
        ("protect", True, True),
        ("fail", False, True),
        ("fail", True, True),
    ],
)
def test_a_divergence_parks_the_run_to_repeat_no_payment(
    policy: DivergencePolicy, guarded: bool, parks: bool
) -> None:
    """`"protect"` looks at every record that a clear would drop."""
    log = CallLog([record(0), record(1, guarded=guarded)])

    decision = log.next_call(("", 0), *REFUND)

    assert isinstance(decision, Diverged)
    assert parks == decision.must_park(policy)


def test_only_what_can_be_replayed_counts_as_an_outcome() -> None:
    """A pending call has none; one that was given up has none to wait for."""
    log = CallLog([record(0), record(1, FAILED), record(2, PENDING), record(3, ABANDONED)])

    found = [position for position in range(5) if log.has_outcome(("", position))]

    assert [0, 1, 3] == found


def test_a_promise_on_record_is_replayed_though_it_never_settles() -> None:
    """That it was made is all there is to it."""
    made = CallRecord(branch="", position=0, function=PROMISE, digest=b"")
    log = CallLog([made])

    assert log.has_outcome(("", 0))
    assert [made] == log.never_asked()
    assert Resume(made) == log.next_call(("", 0), PROMISE, b"", "")
    assert [] == log.batches()


def test_outcomes_are_handed_over_as_they_were_committed() -> None:
    """One batch for each transaction, in the order of settling."""
    log = CallLog([
        record(0, seq=committed(2, 1)),
        record(1, FAILED, seq=committed(2)),
        record(2, seq=committed(1)),
        record(3, PENDING),
        record(4, ABANDONED),
    ])

    assert [[("", 2)], [("", 1), ("", 0)]] == log.batches()


def test_a_call_that_settled_and_was_given_up_keeps_its_turn() -> None:
    """It may have been given up in the pass in which its outcome was on its way."""
    log = CallLog([record(0, seq=committed(1)), record(1, ABANDONED, seq=committed(1, 1))])

    assert [[("", 0), ("", 1)]] == log.batches()


def overtaken(*overtakings: tuple[int, int]) -> list[list[int]]:
    """Positions batch by batch: 0 and 1 in one transaction, then 2, then 3."""
    records = [
        record(0),
        record(1, seq=1),
        record(2, seq=committed(1)),
        record(3, seq=committed(2)),
    ]
    log = CallLog(records, [(("", a), ("", b)) for a, b in overtakings])
    return [[position for _, position in batch] for batch in log.batches()]


@pytest.mark.parametrize(
    ("overtakings", "expected"),
    [
        ([], [[0, 1], [2], [3]]),
        ([(3, 2)], [[0, 1], [3], [2]]),
        ([(3, 1)], [[3], [0, 1], [2]]),
        ([(1, 0)], [[1], [0], [2], [3]]),
        ([(3, 2), (2, 3)], [[0, 1], [2], [3]]),
        ([(2, 3)], [[0, 1], [2], [3]]),
        ([(3, 9)], [[0, 1], [2], [3]]),
        ([(9, 3)], [[0, 1], [2], [3]]),
    ],
)
def test_an_outcome_that_overtook_another_comes_first_from_then_on(
    overtakings: list[tuple[int, int]], expected: list[list[int]]
) -> None:
    """The next replay must decide the race as the last one did."""
    assert expected == overtaken(*overtakings)


@pytest.mark.parametrize(
    ("in_doubt", "reconciler", "on_interrupt", "expected"),
    [
        (False, True, "ask", Resolution.RUN),
        (True, True, None, Resolution.RECONCILE),
        (True, True, "ask", Resolution.RECONCILE),
        (True, False, None, Resolution.RUN),
        (True, False, "rerun", Resolution.RUN),
        (True, False, "fail", Resolution.FAIL),
        (True, False, "ask", Resolution.PARK),
    ],
)
def test_what_was_declared_decides_about_a_call_in_doubt(
    in_doubt: bool,
    reconciler: bool,
    on_interrupt: OnInterrupt | None,
    expected: Resolution,
) -> None:
    """A reconciler goes first; an attempt that is known to have failed is in no doubt."""
    found = record(0, PENDING)
    found.in_doubt = in_doubt
    options = DurableOptions(
        reconciler=(lambda: None) if reconciler else None, on_interrupt=on_interrupt
    )

    assert expected == resolution(found, options)


def test_a_place_reads_as_a_path() -> None:
    """People see it in messages."""
    assert "root:0" == place(("", 0))
    assert "root/2.fetch.0:1" == place(("/2.fetch.0", 1))
    assert "3:charge:root/2.fetch.0:1" == call_id(3, "charge", ("/2.fetch.0", 1))


def test_a_branch_is_followed_up_to_its_last_record() -> None:
    """By its own records alone, in whatever order they settled, until they are cleared."""
    log = CallLog([record(3), record(0), record(1, branch="/0.f.0"), record(2)])

    assert [log.is_followed(("", position)) for position in range(5)] == [1, 1, 1, 0, 0]
    assert log.is_followed(("/0.f.0", 0))
    assert not log.is_followed(("/9.g.0", 0))

    log.clear(("", 2))

    assert [log.is_followed(("", position)) for position in range(3)] == [0, 0, 0]
