"""The oracles of power cuts find what is missing, and a call that runs again."""

import msgspec

from durable_agents.journal import RunStatus
from tests.crash.evidence import Record
from tests.crash.witness import Sighting
from tests.proof.recorded import MARKS, Mark
from tests.proof.told import Told, lost
from tests.proof.trace import Change


def marked(*marks: Mark) -> Told:
    """After the engine has told this."""
    told = Told()
    told.take_in(Change("c", 1, 0, MARKS.encode()))
    for mark in marks:
        told.take_in(Change("w", 1, 0, msgspec.json.encode(mark) + b"\n"))
    return told


def witnessed(*calls: tuple[str, list[str]]) -> Told:
    """After these calls have begun."""
    told = Told()
    told.take_in(Change("c", 1, 0, b"witness.jsonl"))
    for function, args in calls:
        seen = Sighting("run-0", "call", "key", function, args, "begin", 1, 0)
        told.take_in(Change("w", 1, 0, b"\n" + msgspec.json.encode(seen) + b"\n"))
    return told


def test_an_input_that_was_accepted_and_is_not_there_is_lost() -> None:
    """The first acknowledgement of all."""
    assert list(lost(marked(Mark(3)), Record(), {})) == ["run-3 was accepted, and is not there"]
    record = Record(statuses={"run-3": RunStatus.RUNNING})
    assert list(lost(marked(Mark(3)), record, {})) == []


def test_outputs_and_memory_that_were_told_and_are_not_there_are_lost() -> None:
    """They are safe before anybody hears of them."""
    told = marked(Mark(3, ["value"]))
    record = Record(outputs=[("run-3", "value")])

    assert 2 == len(list(lost(told, Record(), {})))
    assert ["1 runs of key-3 were done, and its memory says 0"] == list(lost(told, record, {}))
    assert [] == list(lost(told, record, {"key-3": 1}))


def test_a_result_that_was_handed_over_and_is_not_there_is_lost() -> None:
    """Another call was begun with it."""
    told = witnessed(("fetch", ["0"]), ("join", ["fetch(0)", "fetch_in_thread(0)"]))

    assert list(lost(told, Record(), {})) == [
        "fetch(0) was handed over, and is not there",
        "fetch_in_thread(0) was handed over, and is not there",
    ]


def test_a_call_that_begins_after_its_result_was_handed_over_is_repeated() -> None:
    """Within one life, too, such as after a failure of the disk."""
    join = ("join", ["fetch(0)", "fetch_in_thread(0)"])

    assert [] == witnessed(("fetch", ["0"]), ("fetch", ["0"]), join).repeated
    assert 1 == len(witnessed(("fetch", ["0"]), join, ("fetch", ["0"])).repeated)
