"""The state of an action run, to bytes and back."""

import pytest

from durable_agents.journal import (
    ActionCompleted,
    ActionStarted,
    CallBegun,
    CallSettled,
    CallStatus,
    Entry,
    MemoryUpdate,
    Replay,
    Resume,
    RunState,
    SentEvent,
    decode_row,
    encode_row,
)
from durable_agents.serialization import Payload

VALUE = Payload("plain", b"\x2a")
SENSORY = MemoryUpdate("a", "value", VALUE)
SHORT_TERM = MemoryUpdate("b.c", "value", VALUE)
SENT = SentEvent("run/act/root/0", VALUE)
STARTED = ActionStarted(0, 0, "act", {}, "3.11", 1.0)
RUN = 7


def begun(position: int) -> CallBegun:
    return CallBegun(0, "", position, "shop:pay", b"%d" % position, "7", 1, 2.0)


def settled(position: int) -> CallSettled:
    digest = b"%d" % position
    return CallSettled(0, "", position, "shop:pay", digest, "7", False, VALUE, 1, True, 3.0)


def completed(*events: SentEvent, outputs: int = 0) -> ActionCompleted:
    return ActionCompleted(0, 0, "act", [*events], outputs, [SENSORY], [SHORT_TERM], 4.0)


def restored(*entries: Entry) -> RunState:
    """What a run comes to by these entries, each in a row that was written and read."""
    rows = [encode_row(RUN, [entry]) for entry in entries]
    return RunState.of((seq, decode_row(RUN, row, "store")) for seq, row in enumerate(rows))


@pytest.mark.rows("SE-02")
def test_a_state_without_its_start_keeps_one_update_of_each_memory() -> None:
    """An action that made no call has nothing on record but its end."""
    written = completed()

    state = restored(written)

    action = state.actions[0, "act"]
    assert action.started is None
    assert [SENSORY] == state.sensory
    assert [] == state.events
    [read] = decode_row(RUN, encode_row(RUN, [written]), "store")
    assert isinstance(read, ActionCompleted)
    assert ([SENSORY], [SHORT_TERM], [], 0) == (
        read.sensory,
        read.short_term,
        read.events,
        read.outputs,
    )


@pytest.mark.rows("SE-05")
def test_a_pending_call_is_pending_and_has_no_outcome() -> None:
    """Neither a value nor an error."""
    action = restored(STARTED, begun(0)).actions[0, "act"]

    record = action.records["", 0]
    assert CallStatus.PENDING == record.status
    assert record.payload is None
    assert isinstance(action.call_log().next_call(("", 0), "shop:pay", b"0", "7"), Resume)


@pytest.mark.rows("SE-06")
def test_a_completed_action_keeps_what_it_sent_and_wrote_and_no_calls() -> None:
    """Nobody asks for its calls again."""
    state = restored(STARTED, settled(0), settled(1), completed(SENT, outputs=2))

    action = state.actions[0, "act"]
    assert action.is_completed
    assert {} == action.records
    assert [SENSORY] == state.sensory
    assert [SENT] == [sent.event for sent in state.events]


@pytest.mark.rows("SE-07")
def test_an_action_in_progress_finds_each_of_its_calls_again() -> None:
    """By place, function and digest."""
    action = restored(STARTED, settled(0), settled(1)).actions[0, "act"]

    assert not action.is_completed
    log = action.call_log()
    for position in range(2):
        decision = log.next_call(("", position), "shop:pay", b"%d" % position, "7")
        assert isinstance(decision, Replay)
        assert VALUE == decision.record.payload
