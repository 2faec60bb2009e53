"""A journal as a person reads it: each entry in its place, each call with what became of it."""

from typing import Any

import pytest

from durable_agents.cli._timeline import RunView, Step, view_of
from durable_agents.journal import (
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
    RunAccepted,
    RunCancelled,
    RunFailed,
    RunParked,
    RunRetried,
    RunStatus,
    RunTakenOver,
    VersionMarked,
)
from durable_agents.serialization import Codec, Payload
from durable_agents.store import RunRow
from tests.cli._job import Job

CODEC = Codec()
ERROR = CODEC.encode_failure(ValueError("no"), "an error")
ACCEPTED = RunAccepted("a", "shop", "k", CODEC.encode(1, "input"), 10.0)
STARTED = ActionStarted(0, 0, "sell", {}, "3.11", 11.0)
BEGUN = CallBegun(0, "/x", 2, "pay", b"d", "5", 1, 12.0)
RETRIED = CallRetried(0, "/x", 2, "pay", b"d", 1, ERROR, 13.0)


def settled(at: float, *, failed: bool = False) -> CallSettled:
    payload = ERROR if failed else CODEC.encode(5, "value")
    return CallSettled(0, "/x", 2, "pay", b"d", "5", failed, payload, 2, True, at)


def view(*entries: Entry, status: RunStatus = RunStatus.ACCEPTED) -> RunView:
    journal = [(seq, [entry]) for seq, entry in enumerate((ACCEPTED, *entries))]
    return view_of(RunRow(1, "a", "shop", "k", status, 1), journal, [])


def calls(*entries: Entry) -> list[Step]:
    return [step for step in view(STARTED, *entries).steps if step.what == "call"]


@pytest.mark.parametrize(
    ("entries", "status", "attempt", "seconds", "detail"),
    [
        ([BEGUN], "in doubt", 1, None, ""),
        ([BEGUN, settled(14.5)], "succeeded", 2, 2.5, ""),
        ([settled(14.5)], "succeeded", 2, None, ""),
        ([BEGUN, settled(13.0, failed=True)], "failed", 2, 1.0, "ValueError: no"),
        ([BEGUN, RETRIED], "retried", 1, 1.0, "ValueError: no"),
        ([RETRIED], "retried", 1, None, "ValueError: no"),
        ([BEGUN, CallBegun(0, "/x", 2, "pay", b"d", "5", 2, 15.0)], "in doubt", 2, None, ""),
        (
            [CallAbandoned(0, "/x", 2, "pay", b"d", "5", False, 13.0)],
            "abandoned",
            None,
            None,
            "",
        ),
        ([BEGUN, CallResolved(0, "/x", 2, "pay", b"d", 14.0)], "made again", 1, None, ""),
    ],
)
def test_a_call_is_one_step_with_what_became_of_it(
    entries: list[Entry], status: str, attempt: int, seconds: float | None, detail: str
) -> None:
    """Its beginning and its end together, where both are on record."""
    (step,) = calls(*entries)

    assert (status, attempt, seconds, detail) == (
        step.status,
        step.attempt,
        step.seconds,
        step.detail,
    )
    assert ("sell", "root/x:2", "0:sell:root/x:2") == (step.action, step.place, step.call_id)


def test_each_attempt_is_a_step() -> None:
    """So that a person sees how often it was tried."""
    steps = calls(BEGUN, RETRIED, BEGUN, settled(14.0))

    assert ["retried", "succeeded"] == [step.status for step in steps]


@pytest.mark.parametrize(
    ("entry", "what", "detail"),
    [
        (RunTakenOver("worker 2", 12.0), "run taken over", "by worker 2"),
        (ActionFailed(0, 1, ERROR, 12.0), "action failed", "ValueError: no"),
        (CallsCleared(0, "/x", 2, "pay became buy", 12.0), "calls cleared", "pay became buy"),
        (
            DeliveredOutOfOrder(0, "/x", 2, "", 0, 12.0),
            "delivered out of order",
            "before root:0",
        ),
        (CancelRequested(0, "enough", 12.0), "cancel requested", "enough"),
        (
            VersionMarked(0, "", "two-quotes", 1, 12.0),
            "version marked",
            "version 1 of 'two-quotes'",
        ),
        (RunFailed(0, ERROR, 12.0), "run failed", "ValueError: no"),
        (RunParked("ask", 12.0), "run parked", "ask"),
        (RunCancelled("enough", 12.0), "run cancelled", "enough"),
        (RunRetried(12.0), "run retried", ""),
        (
            ActionStarted(0, 0, "sell", {}, "3.11", 12.0, b"\1\2\3\4\5\6\7\10"),
            "action started",
            "code 0102030405060708",
        ),
        (
            ActionCompleted(0, 0, "sell", [], 2, [], [], 12.0),
            "action completed",
            "0 events, 2 outputs",
        ),
    ],
)
def test_any_other_entry_is_a_step_of_its_own(entry: Entry, what: str, detail: str) -> None:
    """Named in words, with its reason or error."""
    found = view(STARTED, entry).steps[-1]

    assert (12.0, what, detail) == (found.at, found.what, found.detail)


def test_a_value_that_cannot_be_read_says_what_it_is() -> None:
    """Nothing is unpickled to be shown, and damage does not hide the rest."""
    odd: Any = Payload("pickle", b"?")
    journal: list[tuple[int, list[Entry]]] = [
        (0, [RunAccepted("a", "shop", "k", odd, 10.0)]),
        (1, [RunFailed(-1, odd, 12.0)]),
    ]

    found = view_of(RunRow(1, "a", "shop", "k", RunStatus.FAILED, 1), journal, [])

    assert b'"(pickle, 1 bytes, which only its code can read)"' == bytes(found.input)
    assert "its encoding is none of an exception's" in found.reason


def test_what_is_recorded_does_nothing_to_a_terminal(job: Job) -> None:
    """Keys and texts come from outside."""
    job.give({"product": "\x1b[31mred", "amount": 1})
    job.run()
    (run,) = [line["run"] for line in job.outputs()]

    for command in (["runs"], ["show", run]):
        assert 0 == job.command(*command, f"--store={job.store}")
        assert "\\x1b[31mred" in job.written
        assert "\x1b" not in job.written
