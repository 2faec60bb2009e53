"""What a raw input becomes, type by type."""

# ruff: noqa: ANN401 - any type can be declared

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from durable_agents.agent import Agent, AgentPlan
from durable_agents.errors import DefinitionError, InputError
from durable_agents.events import DynamicEvent, Event, InputEvent, OutputEvent


@dataclass
class Review:
    text: str
    score: int


class Struct(msgspec.Struct):
    at: datetime


@attrs.define
class Attrs:
    text: str


class Model(pydantic.BaseModel):
    text: str
    tags: list[int] = []


class Typed(TypedDict):
    text: str


class Opaque:
    """A class that nothing knows how to decode."""


class LikePydantic:
    @classmethod
    def model_validate(cls, raw: object) -> "LikePydantic":
        msg = f"no {raw}"
        raise ValueError(msg)


def decoded(raw: object, given: Any = None) -> Event:
    return AgentPlan.of(Agent("a", input=given)).decode_input(raw)


@pytest.mark.parametrize(
    ("given", "raw", "value"),
    [
        (None, 42, 42),
        (None, {"a": [1]}, {"a": [1]}),
        (int, 42, 42),
        (float, 42, 42.0),
        (Review, {"text": "a", "score": 1}, Review("a", 1)),
        (Struct, {"at": "2026-01-01T00:00:00Z"}, Struct(datetime(2026, 1, 1, tzinfo=UTC))),
        (Attrs, {"text": "a"}, Attrs("a")),
        (Model, {"text": "a"}, Model(text="a")),
        (list[Model], [{"text": "a"}], [Model(text="a")]),
        (Typed, {"text": "a"}, {"text": "a"}),
        (Review | None, None, None),
    ],
)
@pytest.mark.rows("OP-23")
def test_data_becomes_an_input_event_of_the_declared_type(
    given: Any, raw: object, value: object
) -> None:
    """Such as a line of JSON gives."""
    assert decoded(raw, given) == InputEvent(value)


@pytest.mark.parametrize("value", [Review("a", 1), Attrs("a"), Model(text="a"), Opaque()])
def test_an_instance_of_the_declared_type_is_taken_as_it_is(value: object) -> None:
    """Its own class has made it."""
    event = decoded(value, type(value))

    assert isinstance(event, InputEvent)
    assert event.input is value


@pytest.mark.parametrize("event", [InputEvent(42), DynamicEvent("review.scored")])
def test_an_event_enters_as_it_is(event: Event) -> None:
    """Whoever makes events knows what they mean."""
    assert decoded(event, Review) is event


@pytest.mark.parametrize("event", [OutputEvent(1), DynamicEvent("_output_event")])
def test_an_output_event_is_no_input(event: Event) -> None:
    """It would fire nothing."""
    with pytest.raises(InputError, match="an output event leaves an agent"):
        decoded(event)


@pytest.mark.parametrize(
    ("given", "raw", "problem"),
    [
        (Review, {"text": "a"}, "does not fit Review: .*missing required field `score`"),
        (Review, {"text": "a", "score": "x"}, r"Expected `int`, got `str` - at `\$.score`"),
        (Review, 3, r"does not fit Review: Expected `object`, got `int`"),
        (list[int], [1, "x"], r"does not fit list\[int\]: .* at `\$\[1\]`"),
        (Model, {"tags": ["x"]}, r"Field required - at `text`; .*integer.* - at `tags.0`"),
        (list[Model], [{}], r"Field required - at `text` - at `\$\[0\]`"),
        (Model, 3, r"valid dictionary or instance of Model"),
        (Typed, {}, "missing required field `text`"),
        (Opaque, {}, "does not fit Opaque: Expected `Opaque`, got `dict`"),
        (LikePydantic, 3, "does not fit LikePydantic: no 3"),
    ],
)
def test_data_that_does_not_fit_is_refused(given: Any, raw: object, problem: str) -> None:
    """With the field's path and what was expected there."""
    with pytest.raises(InputError, match=problem):
        decoded(raw, given)


@pytest.mark.parametrize("given", [int | Opaque, 42, "Review"])
def test_a_type_that_nothing_can_be_decoded_into_is_found_before_anything_runs(
    given: Any,
) -> None:
    """Not at the first input."""
    with pytest.raises(DefinitionError, match="not a type that inputs can be decoded into"):
        AgentPlan.of(Agent("a", input=given))
