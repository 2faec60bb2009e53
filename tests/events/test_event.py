"""What an event is called, what it holds, and the envelope of its occurrence."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from durable_agents.errors import DefinitionError
from durable_agents.events import (
    DynamicEvent,
    Event,
    EventRecord,
    EventType,
    InputEvent,
    OutputEvent,
    attributes_of,
    type_name_of,
)


class ReviewScored(Event, tag="review.scored"):
    score: int
    note: str = ""


class Confirmed(Event):
    """Its fields go by names that the machinery uses."""

    type: str
    type_name: str  # type: ignore[assignment]  # that is the test
    get_attr: int  # type: ignore[assignment]  # that is the test


class Renamed(Event, rename="camel"):
    review_id: int


class Numbered(Event, tag=7):
    """Its tag is not text."""


def record(event: Event, **lineage: str) -> EventRecord:
    return EventRecord(
        id="run-1/2",
        type=type_name_of(event),
        key="k",
        event=event,
        created_at=12.5,
        **lineage,
    )


def test_a_class_is_called_by_its_name_unless_it_says_otherwise() -> None:
    """The type name is on disk, so an author can keep it while the class is renamed."""
    assert Renamed.type_name() == "Renamed"
    assert ReviewScored.type_name() == "review.scored"


@pytest.mark.rows("EV-19")
def test_built_in_events_have_the_type_names_of_flink_agents() -> None:
    """Other programs know them by these names."""
    assert InputEvent.type_name() == "_input_event"
    assert OutputEvent.type_name() == "_output_event"


@pytest.mark.rows("EV-21")
def test_built_in_type_names_can_be_listed_and_not_changed() -> None:
    """A constant that could be changed would reroute events."""
    assert {n: str(m) for n, m in EventType.__members__.items()} == {
        "InputEvent": "_input_event",
        "OutputEvent": "_output_event",
    }

    with pytest.raises(AttributeError):
        setattr(EventType, "InputEvent", "other")  # noqa: B010 -- refused by checkers, too
    with pytest.raises(TypeError):
        EventType.__members__["More"] = EventType.InputEvent  # type: ignore[index]  # that is the test


def test_a_dynamic_event_is_called_by_its_type_field() -> None:
    """It fires what a typed event of that name fires."""
    assert type_name_of(DynamicEvent("review.scored")) == "review.scored"
    assert type_name_of(ReviewScored(3)) == "review.scored"


def test_fields_may_have_any_name() -> None:
    """The machinery asks functions, so a field that hides a method hides nothing from it."""
    event = Confirmed(type="a", type_name="b", get_attr=3)

    assert type_name_of(event) == "Confirmed"
    assert dict(attributes_of(event)) == {"type": "a", "type_name": "b", "get_attr": 3}
    assert record(event).get_attr("type") == "a"


def test_a_tag_that_is_no_text_is_refused() -> None:
    """Nothing could name the type in a trigger."""
    with pytest.raises(DefinitionError, match=r"Numbered has the tag 7, expected a type name"):
        type_name_of(Numbered())


def test_a_dynamic_event_needs_a_type() -> None:
    """A blank one would fire nothing, in silence."""
    with pytest.raises(ValueError, match="is blank, expected a name"):
        DynamicEvent("  ")


@pytest.mark.rows("EV-06", "EV-03")
@pytest.mark.parametrize(
    ("thing", "field"),
    [(ReviewScored(1), "score"), (DynamicEvent("a"), "type"), (record(ReviewScored(1)), "id")],
)
def test_events_and_records_do_not_change(thing: object, field: str) -> None:
    """What has fired one action must be what fires the next."""
    with pytest.raises(AttributeError):
        setattr(thing, field, "other")


@pytest.mark.rows("EV-10")
@pytest.mark.parametrize("event", [DynamicEvent("a", {"score": 2}), ReviewScored(2)])
def test_an_attribute_is_read_by_name_or_is_none(event: Event) -> None:
    """Typed or not: a reader need not know the class."""
    assert event.get_attr("score") == 2
    assert event.get_attr("missing") is None


def test_the_view_of_the_attributes_is_read_only() -> None:
    """Writing to it would change an event that others see."""
    with pytest.raises(TypeError):
        attributes_of(DynamicEvent("a", {"score": 2}))["score"] = 3  # type: ignore[index]  # that is the test


@pytest.mark.rows("EV-16", "OP-25", "EV-22")
@pytest.mark.parametrize(
    ("event", "typed"),
    [
        (DynamicEvent("_input_event", {"input": 42}), InputEvent(42)),
        (DynamicEvent("_output_event", {"output": 84}), OutputEvent(84)),
        (DynamicEvent("review.scored", {"score": 2}), ReviewScored(2)),
        (DynamicEvent("Renamed", {"review_id": 1}), Renamed(1)),
        (DynamicEvent("Renamed", {"reviewId": 1}), Renamed(1)),
        (ReviewScored(2), ReviewScored(2)),
    ],
)
def test_a_dynamic_event_becomes_one_of_the_class_of_its_type(
    event: Event, typed: Event
) -> None:
    """Both shapes of an event are the same event, bare or in its record."""
    assert type(typed).from_event(event) == typed
    assert type(typed).from_event(record(event)) == typed


@pytest.mark.rows("EV-22")
@pytest.mark.parametrize(
    ("attributes", "problem"),
    [({}, "missing required field `score`"), ({"score": "x"}, r"Expected `int`.*`\$\.score`")],
)
def test_attributes_that_do_not_fit_the_class_are_refused(
    attributes: dict[str, Any], problem: str
) -> None:
    """The text names the field and what was expected."""
    with pytest.raises(ValueError, match=problem):
        ReviewScored.from_event(DynamicEvent("review.scored", attributes))


def test_an_event_of_another_type_is_refused() -> None:
    """Equal fields do not make it the same fact."""
    with pytest.raises(ValueError, match=r"'other' is not a ReviewScored \('review.scored'\)"):
        ReviewScored.from_event(DynamicEvent("other", {"score": 2}))


@pytest.mark.rows("EV-11", "EV-12")
def test_a_record_survives_json_with_its_lineage() -> None:
    """Other programs read the names of Flink Agents, in camel case only."""
    event = DynamicEvent("a", {"a": 1, "b": "two"})
    sent = record(event, upstream_event_id="run-1/0", upstream_action="score")

    text = sent.to_json()

    assert json.loads(text) == {
        "id": "run-1/2",
        "type": "a",
        "key": "k",
        "attributes": {"a": 1, "b": "two"},
        "upstreamEventId": "run-1/0",
        "upstreamActionName": "score",
        "createdAt": 12.5,
    }
    assert EventRecord.from_json(text) == sent


@pytest.mark.rows("EV-13")
def test_the_record_of_an_input_has_no_lineage_in_json() -> None:
    """Absent, not null: a reader tells a root by that."""
    assert (
        not {"upstreamEventId", "upstreamActionName"}
        & json.loads(record(InputEvent(1)).to_json()).keys()
    )


@pytest.mark.rows("EV-12", "EV-15", "EV-16")
def test_a_typed_record_survives_json_when_its_class_is_named() -> None:
    """Without the class it comes back dynamic: data alone loads no class."""
    sent = record(Renamed(4), upstream_event_id="e", upstream_action="a")

    assert json.loads(sent.to_json())["attributes"] == {"review_id": 4}
    assert EventRecord.from_json(sent.to_json(), Renamed) == sent
    assert EventRecord.from_json(sent.to_json()).event == DynamicEvent(
        "Renamed", {"review_id": 4}
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"id": "x"}', '{"a":' * 100_000])
def test_text_that_is_no_record_is_refused(text: str) -> None:
    """One kind of error, whatever is wrong with the text."""
    with pytest.raises(ValueError, match="not an event record"):
        EventRecord.from_json(text)


@pytest.mark.parametrize(
    ("value", "default", "shown"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), None, "2026-01-01T00:00:00Z"),
        (3j, str, "3j"),
        ({"rows": [{"row": 3j}, 4]}, str, {"rows": [{"row": "3j"}, 4]}),
    ],
)
@pytest.mark.rows("EV-23")
def test_json_says_what_it_can_and_asks_for_the_rest(
    value: object, default: Callable[[Any], object] | None, shown: object
) -> None:
    """Common types have a form of their own; the caller's is asked for others, at any depth."""
    text = record(DynamicEvent("a", {"at": value})).to_json(default)

    assert json.loads(text)["attributes"] == {"at": shown}


def test_an_attribute_that_json_cannot_say_is_a_type_error() -> None:
    """A `repr` in its place would be read as the value."""
    with pytest.raises(TypeError):
        record(DynamicEvent("a", {"at": 3j})).to_json()
