"""The state of an action run, as a fold over the entries of its journal."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

from typing import Any

import pytest

from durable_agents import Codec, Event, RunnerContext, Store
from durable_agents.journal import (
    ActionCompleted,
    ActionStarted,
    ActionState,
    CallRecord,
    CallsCleared,
    CallSettled,
    CallStatus,
    Entry,
    MemoryUpdate,
    Replay,
    RunAccepted,
    RunState,
    SentEvent,
    Start,
)
from durable_agents.serialization import Payload
from tests.conformance._journals import opened, state_between
from tests.worker._kit import Calls, agent_of, finish

INPUT, VALUE = Payload("plain", b"\x01"), Payload("plain", b"\x02")
ACCEPTED = RunAccepted("run", "shop", "key", INPUT, 1.0)
STARTED = ActionStarted(0, 0, "charge", {}, "3.11", 2.0)
COMPLETED = ActionCompleted(
    0,
    0,
    "charge",
    [SentEvent("run/0#0", VALUE)],
    1,
    [MemoryUpdate("seen", "value", VALUE)],
    [MemoryUpdate("total", "value", VALUE)],
    4.0,
)


def settled(position: int) -> CallSettled:
    function = f"func{position}"
    return CallSettled(
        0, "", position, function, b"digest", "", failed=False, payload=VALUE, attempt=1,
        guarded=False, at=3.0,
    )  # fmt: skip


def state_of(*entries: Entry) -> RunState:
    return RunState.of((100 + n, [e]) for n, e in enumerate((ACCEPTED, STARTED, *entries)))


def action_of(*entries: Entry) -> ActionState:
    return state_of(*entries).actions[0, "charge"]


def functions(action: ActionState) -> list[str]:
    return [record.function for record in action.records.values()]


@pytest.mark.rows("AS-01")
def test_a_run_that_has_begun_holds_its_input_and_nothing_else() -> None:
    """There is nothing to replay, to apply or to send."""
    state = state_of()

    assert state.accepted is not None
    assert state.accepted.input == INPUT
    assert (state.events, state.sensory) == ([], [])
    action = action_of()
    assert action.started == STARTED
    assert (action.records, action.is_completed) == ({}, False)


@pytest.mark.rows("AS-02")
def test_a_state_holds_all_that_happened() -> None:
    """Calls while the action runs, its effects once it has completed."""
    running, done = action_of(settled(0), settled(1)), state_of(settled(0), COMPLETED)

    assert functions(running) == ["func0", "func1"]
    assert [each.event for each in done.events] == COMPLETED.events
    assert done.sensory == COMPLETED.sensory
    assert done.actions[0, "charge"].is_completed


@pytest.mark.rows("AS-03")
def test_calls_are_kept_in_the_order_in_which_they_were_added() -> None:
    """Each at its own place."""
    assert functions(action_of(settled(0))) == ["func0"]
    assert functions(action_of(settled(0), settled(1))) == ["func0", "func1"]


@pytest.mark.rows("AS-05")
@pytest.mark.parametrize("position", [-1, 1, 100])
def test_a_place_without_a_record_is_empty_and_no_error(position: int) -> None:
    """The call that is made there simply starts."""
    log = action_of(settled(0)).call_log()

    assert not log.has_outcome(("", position))
    assert log.next_call(("", position), "func0", b"digest", "") == Start()
    assert not action_of().call_log().has_outcome(("", position))
    assert action_of(settled(0)).call_log().has_outcome(("", 0))


@pytest.mark.rows("AS-06", "AS-07", "AS-09")
@pytest.mark.parametrize(
    ("place", "left"),
    [(0, []), (2, ["func0", "func1"]), (4, ["func0", "func1", "func2", "func3"])],
)
def test_calls_are_dropped_from_a_place_on(place: int, left: list[str]) -> None:
    """All of them from the first place on."""
    action = action_of(*map(settled, range(4)), CallsCleared(0, "", place, "changed", 4.0))

    assert functions(action) == left


class Noted(Event, frozen=True):
    pass


@pytest.mark.rows("AS-10", "AS-15")
async def test_completion_keeps_what_takes_effect_and_forgets_the_calls(store: Store) -> None:
    """Two calls, then one update of each memory, one event and one output."""
    calls = Calls()

    async def act(event: Any, ctx: RunnerContext) -> Event:
        ctx.sensory_memory.set("seen", await ctx.durable(calls.double, 1))
        ctx.short_term_memory.set("total", await ctx.durable(calls.double, 2))
        ctx.output("done")
        return Noted()

    assert await finish(agent_of(act), store) == ["done"]

    state = await state_between(store)
    [action] = state.actions.values()
    assert (action.is_completed, action.records) == (True, {})
    async with opened(store):
        short_term = await store.memory("tested", "key")
        outputs = await store.outputs_of(1)
    decode = Codec().decode
    assert {u.path: decode(u.payload) for u in state.sensory if u.payload} == {"seen": 2}
    assert {p: decode(u.payload) for p, u in short_term.items() if u.payload} == {"total": 4}
    assert [decode(row.event.payload) for row in outputs] == ["done"]
    assert [decode(each.event.payload) for each in state.events] == [Noted()]


@pytest.mark.rows("AS-13")
def test_a_printed_state_says_how_far_it_has_come() -> None:
    """For whoever looks at it in a debugger."""
    shown = repr(action_of(settled(0), COMPLETED))

    assert "records={}" in shown
    assert "is_completed=True" in shown


@pytest.mark.rows("AS-16")
def test_a_recovered_state_knows_its_calls_by_place() -> None:
    """Two are replayed, the third one starts."""
    log = action_of(settled(0), settled(1)).call_log()

    decisions = [log.next_call(("", n), f"func{n}", b"digest", "") for n in range(3)]

    expected = [
        CallRecord(
            branch="",
            position=n,
            function=f"func{n}",
            digest=b"digest",
            status=CallStatus.SUCCEEDED,
            payload=VALUE,
            seq=102 + n,
            at=3.0,
        )
        for n in range(2)
    ]
    assert decisions == [*map(Replay, expected), Start()]
