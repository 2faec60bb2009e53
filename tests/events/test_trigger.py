"""What counts as a trigger and as a condition, case by case."""

from functools import partial

import pytest

from durable_agents.errors import TriggerSyntaxError
from durable_agents.events import (
    DynamicEvent,
    Event,
    EventType,
    InputEvent,
    OutputEvent,
    compile_condition,
    compile_trigger,
)


class Scored(Event, tag="review.scored"):
    score: int


class Unfrozen(Event, frozen=False):  # type: ignore[misc]  # that is the test
    """Could change between two actions."""


class Numbered(Event, tag=7):
    """Has no type name."""


@pytest.mark.parametrize(
    ("trigger", "type_name"),
    [
        (InputEvent, "_input_event"),
        (Scored, "review.scored"),
        (EventType.InputEvent, "_input_event"),
        ("Größe", "Größe"),
        ("review.scored", "review.scored"),
        ("  a-b:c ", "a-b:c"),
        ("v1.2", "v1.2"),
        ("'order-created.v1'", "order-created.v1"),
        ('"order-created.v1"', "order-created.v1"),
        ("'order/created'", "order/created"),
    ],
)
@pytest.mark.rows("TC-02")
def test_a_trigger_stands_for_one_type_name(trigger: object, type_name: str) -> None:
    """By class, by name, or by a name in quotes."""
    assert compile_trigger(trigger) == type_name
    assert type(compile_trigger(trigger)) is str


@pytest.mark.parametrize(
    "expression",
    [
        "score < 3",
        "type ==",
        "true",
        "false",
        "null",
        "42",
        "a..b",
        "''",
        "'order created'",
        "'a\\'b'",
        "'a\"",
    ],
)
@pytest.mark.rows("TC-06")
def test_a_text_that_is_no_type_name_is_an_expression(expression: str) -> None:
    """It is never taken for a name that would match nothing; the text says what to do."""
    with pytest.raises(TriggerSyntaxError, match=r"CEL .* not supported yet: .* when=lambda"):
        compile_trigger(expression)


@pytest.mark.parametrize("blank", ["", "  \n"])
@pytest.mark.rows("TC-07")
def test_a_blank_trigger_is_refused(blank: str) -> None:
    """A blank one could only be a mistake."""
    with pytest.raises(TriggerSyntaxError, match="blank"):
        compile_trigger(blank)
    with pytest.raises(TriggerSyntaxError, match="blank"):
        compile_condition(blank)


@pytest.mark.parametrize(
    ("trigger", "problem"),
    [
        (3, "must be an event class or a string, not int"),
        (None, "must be an event class or a string, not NoneType"),
        (list[int], "must be an event class or a string, not GenericAlias"),
        (int, "int is not an event class; derive it from Event"),
        (InputEvent[int], "takes no type parameter, write InputEvent"),
        (Event, "Event is no event type of its own"),
        (DynamicEvent, "DynamicEvent is no event type of its own"),
        (OutputEvent, "never matched against actions"),
        ("_output_event", "never matched against actions"),
        (Unfrozen, "Unfrozen can be changed; remove frozen=False"),
        (Numbered, "has the tag 7"),
    ],
)
def test_a_trigger_that_no_event_could_fire_is_refused(trigger: object, problem: str) -> None:
    """An action that never runs is found before anything does."""
    with pytest.raises(TriggerSyntaxError, match=problem):
        compile_trigger(trigger)


def exceeds(limit: int, event: Scored) -> bool:
    return event.score > limit


def test_a_predicate_is_a_condition() -> None:
    """Any callable that takes the event."""
    assert compile_condition(partial(exceeds, 2))(Scored(3)) is True
    assert compile_condition(lambda event: event.score > 5)(Scored(3)) is False


def test_a_callable_that_shows_no_signature_is_a_condition() -> None:
    """There is nothing to check it by; calling it will tell."""
    assert compile_condition(max) is max


async def later(event: Event) -> bool:
    return isinstance(event, Scored)


class Later:
    async def __call__(self, event: Event) -> bool:
        return await later(event)


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("score < 3", r"'score < 3' .* CEL expressions are not supported yet"),
        (3, "must be a predicate taking the event, not int"),
        (Scored, "must be a predicate taking the event, not the class Scored"),
        (later, "must answer at once"),
        (Later(), "must answer at once"),
        (lambda: True, r"must take one argument, the event \(too many"),
        (lambda a, b: a == b, r"must take one argument, the event \(missing"),
    ],
)
def test_what_is_not_a_predicate_of_the_event_is_refused(when: object, problem: str) -> None:
    """When the plan is built, not at the first event."""
    with pytest.raises(TriggerSyntaxError, match=problem):
        compile_condition(when)
