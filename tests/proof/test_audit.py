"""The audit of a soak finds out what is wrong, and forgets what is over."""

import sys
from pathlib import Path
from typing import Literal

from tests.crash.scenarios import spelt
from tests.crash.witness import Sighting
from tests.crash.workload import expected_output, joins_of
from tests.proof.audit import Audit, Tail
from tests.proof.endless import Told

SLOTS = 4


def audit() -> Audit:
    return Audit(0, 1, [0] * SLOTS)


def sighting(function: str, *args: str, number: int = 0) -> Sighting:
    return seen_as("begin", function, *args, number=number)


def seen_as(
    phase: Literal["begin", "end"], function: str, *args: str, number: int = 0
) -> Sighting:
    return Sighting(f"run-{number}", "call", "", function, list(args), phase, 1, 1)


def calls(number: int) -> list[Sighting]:
    """What is seen of a run from its beginning to its end."""
    name = str(number)
    left, right = spelt("fetch", name), spelt("fetch_in_thread", name)
    seen = [
        sighting(function, name, number=number) for function in ("fetch", "fetch_in_thread")
    ]
    for _ in range(joins_of(number)):
        seen.append(sighting("join", left, right, number=number))
        left = spelt("join", left, right)
    return seen


def done(number: int, *, turn: int | None = None) -> Told:
    due, slot = divmod(number, SLOTS)
    value = expected_output(number)[2]
    return Told(slot, due if turn is None else turn, "done", [[number, due + 1, value]])


def accepted(number: int) -> Told:
    turn, slot = divmod(number, SLOTS)
    return Told(slot, turn, "accepted")


def test_what_is_as_promised_is_no_breach_and_is_forgotten() -> None:
    """However many runs there are, what is kept of them is what is alive."""
    one = audit()
    sizes: set[int] = set()
    for number in range(40):
        one.take_in(calls(number), [accepted(number), done(number)])
        sizes.add(one.kept + one.unfinished)
    one.conclude()

    assert [] == one.breaches
    assert [10] * SLOTS == one.turns
    assert 40 == one.done
    assert {0} == sizes


def test_a_call_that_begins_again_after_its_result_was_handed_over_is_found_out() -> None:
    """Claim 1: another call was begun with it, so it had settled."""
    one = audit()
    one.take_in(calls(0)[:3], [accepted(0)])
    one.take_in(calls(0)[2:3], [])
    assert [] == one.breaches  # that one may have been interrupted
    one.take_in(calls(0)[:1], [])

    assert "its result was handed over" in one.breaches[0]


def test_a_call_of_a_run_that_was_done_is_found_out() -> None:
    """Claim 1, for the calls whose results went into no other one."""
    one = audit()
    one.take_in(calls(0), [accepted(0), done(0)])
    one.take_in(calls(0)[-1:], [])

    assert "its run was done" in one.breaches[0]


def test_an_input_that_is_not_known_any_more_is_found_out() -> None:
    """Claim 2: it had been acknowledged, and was taken for a new one."""
    one = audit()
    one.take_in([], [accepted(0), Told(0, 0, "known")])
    assert [] == one.breaches
    one.take_in([], [accepted(0)])

    assert "not known any more" in one.breaches[0]


def test_a_run_that_never_ends_is_found_out() -> None:
    """Claims 2 and 5."""
    one = audit()
    one.take_in(calls(1), [accepted(1)])
    one.conclude()

    assert ["slot 1 never came to the end of turn 0"] == one.breaches


def test_a_result_of_another_call_is_found_out() -> None:
    """Claim 3: each value says what made it."""
    one = audit()
    outputs = [[0, 1, expected_output(1)[2]]]
    one.take_in(calls(0), [accepted(0), Told(0, 0, "done", outputs)])

    assert "run 0 of turn 0 put out" in one.breaches[0]


def test_a_run_that_failed_is_found_out() -> None:
    """Claim 5: nothing was declared that may fail."""
    one = audit()
    one.take_in([], [accepted(0), Told(0, 0, "failed", reason="RunFailedError()")])

    assert "it was not done" in one.breaches[0]


def test_breaches_are_counted_and_the_first_ones_kept() -> None:
    """An engine that is all wrong must not fill the driver's memory."""
    one = audit()
    one.take_in([], [done(0, turn=7)] * 1000)

    assert one.breach_count >= 1000
    assert len(one.breaches) == 20
    assert sys.getsizeof(one.breaches) < 1000


def test_a_tail_hands_each_whole_line_over_once(tmp_path: Path) -> None:
    """A line that is being written is left for later; a torn one is nobody's."""
    path = tmp_path / "told.jsonl"
    tail = Tail(path, Told)
    assert [] == tail.new()
    line = b'{"slot":1,"turn":2,"what":"accepted"}'
    path.write_bytes(line + b"\n" + line[:9])
    assert [Told(1, 2, "accepted")] == tail.new()
    path.write_bytes(line + b"\n" + line[:9] + b"\n" + line + b"\n")

    assert [Told(1, 2, "accepted")] == tail.new()
    assert [] == tail.new()
