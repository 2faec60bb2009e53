"""What the decorator notes down, and what is checked of an action."""

# ruff: noqa: ANN401 - wrong declarations are the subject

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from typing import Any

import pytest

from durable_agents.actions import (
    Action,
    ActionDeclaration,
    action,
    combined,
    declarations_on,
    reference,
)
from durable_agents.context import RunnerContext
from durable_agents.errors import DefinitionError, DuplicateNameError, TriggerSyntaxError
from durable_agents.events import DynamicEvent, Event, InputEvent
from durable_agents.retry import RetryPolicy


class Scored(Event):
    score: int


async def handle(event: Event, ctx: RunnerContext) -> None:
    """An action that is well made."""


def handle_plainly(event: Event, ctx: RunnerContext) -> None:
    """An action that runs in a thread."""


def declared(fn: Any = handle, *triggers: Any, **parts: Any) -> ActionDeclaration:
    given: dict[str, Any] = {"name": "handle", "when": None, "config": {}, "retry": None}
    given |= {"triggers": triggers or (InputEvent,)} | parts
    return ActionDeclaration(fn=fn, **given)


def is_low(event: Scored) -> bool:
    return event.score < 3


@pytest.mark.rows("PL-03", "PL-15")
def test_the_decorator_notes_down_what_was_written_and_nothing_else() -> None:
    """Checking is the plan's; the function stays usable as itself."""
    policy = RetryPolicy(max_attempts=3)

    declare = action(" a ", InputEvent, "type ==", when=is_low, retry=policy, mode="strict")
    noted = declare(handle)

    assert noted is handle
    assert declarations_on(handle)[-1] == ActionDeclaration(
        name="handle",
        triggers=(" a ", InputEvent, "type =="),
        when=is_low,
        fn=handle,
        config={"mode": "strict"},
        retry=policy,
    )


@pytest.mark.rows("PL-06")
def test_the_decorator_goes_on_either_side_of_staticmethod() -> None:
    """Authors do not remember which; both work."""

    class Both:
        @action(InputEvent)
        @staticmethod
        def outside(event: Event, ctx: RunnerContext) -> None: ...

        @staticmethod
        @action(InputEvent)
        def inside(event: Event, ctx: RunnerContext) -> None: ...

    for name in ("outside", "inside"):
        [noted] = declarations_on(vars(Both)[name])
        assert (noted.name, noted.fn) == (name, getattr(Both, name))


def test_a_function_may_be_two_actions() -> None:
    """Each decorator declares one, the innermost first."""

    @action(Scored, name="second")
    @action(InputEvent, name="first")
    def both(event: Event, ctx: RunnerContext) -> None: ...

    assert [noted.name for noted in declarations_on(both)] == ["first", "second"]


@pytest.mark.parametrize(("fn", "is_async"), [(handle, True), (handle_plainly, False)])
def test_an_action_knows_what_fires_it_and_how_it_runs(
    fn: Callable[..., Any], *, is_async: bool
) -> None:
    """Triggers stay as written; the type names are what they come to."""
    made = Action.of(declared(fn, InputEvent, " Scored ", Scored, when=is_low, config={"a": 1}))

    assert made.triggers == (InputEvent, " Scored ", Scored)
    assert made.event_types == {"_input_event", "Scored"}
    assert made.condition is is_low
    assert made.config == {"a": 1}
    assert made.is_async is is_async


def test_the_configuration_of_an_action_is_read_only() -> None:
    """Runs would see each other's changes."""
    with pytest.raises(TypeError):
        Action.of(declared()).config["a"] = 1  # type: ignore[index]  # that is the test


class Methods:
    async def bound(self, event: Event, ctx: RunnerContext) -> None: ...

    @classmethod
    async def of_class(cls, event: Event, ctx: RunnerContext) -> None: ...


def named_otherwise(it: Event, /, context: RunnerContext) -> None: ...


@wraps(handle)
async def wrapped(*args: Any) -> None: ...


@pytest.mark.parametrize("fn", [Methods().bound, Methods.of_class, named_otherwise, wrapped])
def test_any_function_of_event_and_context_is_an_action(fn: Callable[..., Any]) -> None:
    """Methods count without their instance, wrappers as what they wrap."""
    assert Action.of(declared(fn)).fn == fn


def takes_event_only(event: Event) -> None: ...


def takes_three(event: Event, ctx: RunnerContext, more: int = 0) -> None: ...


def takes_keyword(event: Event, *, ctx: RunnerContext) -> None: ...


def takes_any(*args: Any) -> None: ...


def yields(event: Event, _: RunnerContext) -> Iterator[Event]:
    yield event


async def yields_later(event: Event, _: RunnerContext) -> AsyncIterator[Event]:
    yield event


@wraps(handle)
def wrapped_plainly(*args: Any) -> object: ...


@pytest.mark.parametrize(
    ("fn", "problem"),
    [
        (
            takes_event_only,
            r"takes_event_only\) takes \(event: .*must take exactly \(event, ctx\)",
        ),
        (takes_three, r"must take exactly \(event, ctx\)"),
        (takes_keyword, r"must take exactly \(event, ctx\)"),
        (takes_any, r"must take exactly \(event, ctx\)"),
        (yields, "yields; an action returns"),
        (yields_later, "yields; an action returns"),
        (wrapped_plainly, "an async function inside a plain wrapper"),
        (partial(takes_three, more=1), r"\(functools:partial\) is a partial, not a function"),
        (Methods, "is a class, not a function"),
        (3, r"\(builtins:int\) is a int, not a function"),
    ],
)
@pytest.mark.rows("PL-04", "PL-16")
def test_what_cannot_be_called_with_event_and_context_is_no_action(
    fn: Any, problem: str
) -> None:
    """The text names the action, the function and the signature wanted."""
    with pytest.raises(DefinitionError, match=problem) as caught:
        Action.of(declared(fn))

    assert str(caught.value).startswith("action 'handle' (")


def takes_context_first(ctx: RunnerContext, event: Event) -> None: ...


def takes_a_value(event: int, ctx: RunnerContext) -> None: ...


def takes_a_float(event: Event, ctx: float) -> None: ...


def takes_scored(event: Scored, ctx: RunnerContext) -> None: ...


def takes_input(event: InputEvent[int], ctx: RunnerContext) -> None: ...


def takes_any_event(event: Event, ctx: Any) -> None: ...


def takes_either(event: Scored | InputEvent[int], ctx: "RunnerContext") -> None: ...


def takes_dynamic(event: DynamicEvent, ctx: object) -> None: ...


@pytest.mark.rows("PL-16")
@pytest.mark.parametrize(
    ("fn", "problem"),
    [
        (takes_context_first, "takes Event for its context; it must take"),
        (takes_a_value, "takes int for its event; it must take"),
        (takes_a_float, "takes float for its context; it must take"),
        (takes_scored, "is fired by InputEvent, and takes Scored"),
    ],
)
def test_a_parameter_of_another_type_is_found_before_anything_runs(
    fn: Any, problem: str
) -> None:
    """Swapped, a value in place of its event, or an event that never comes."""
    with pytest.raises(DefinitionError, match=problem):
        Action.of(declared(fn, InputEvent))


@pytest.mark.rows("PL-16")
@pytest.mark.parametrize("fn", [takes_input, takes_any_event, takes_either, takes_dynamic])
def test_a_parameter_may_name_the_class_a_base_or_several(fn: Any) -> None:
    """A generic class counts as itself, whatever it is of."""
    assert Action.of(declared(fn, InputEvent)).fn is fn


@pytest.mark.rows("PL-12")
def test_an_action_needs_a_trigger() -> None:
    """Without one it would never run."""
    with pytest.raises(DefinitionError, match="must have at least one trigger condition"):
        Action.of(declared(triggers=()))


def test_an_action_needs_a_name() -> None:
    """It is known on disk by its name."""
    with pytest.raises(DefinitionError, match="test_action:handle has a blank name"):
        Action.of(declared(name=" "))


@pytest.mark.rows("PL-12", "TM-28")
def test_a_wrong_trigger_is_named_by_place_and_source() -> None:
    """An action may have many."""
    with pytest.raises(TriggerSyntaxError) as caught:
        Action.of(declared(handle, InputEvent, "type =="))

    assert str(caught.value).startswith(
        "Invalid trigger condition #2 for action 'handle' from source \"type ==\": "
    )


@pytest.mark.rows("PL-15")
def test_all_that_is_wrong_with_an_action_is_reported_at_once() -> None:
    """Of one kind it is that error, of several the common one."""
    with pytest.raises(TriggerSyntaxError) as caught:
        Action.of(declared(handle, 3, "", when="score < 3"))
    assert [problem.partition(" for ")[0] for problem in caught.value.problems] == [
        "Invalid trigger condition #1",
        "Invalid trigger condition #2",
        "Invalid condition",
    ]

    with pytest.raises(DefinitionError) as several:
        Action.of(declared(takes_any, ""))
    assert type(several.value) is DefinitionError
    assert len(several.value.problems) == 2


def test_errors_of_one_kind_combine_to_that_kind() -> None:
    """An `except` clause for the precise class still matches."""
    one, two = DuplicateNameError("a"), DuplicateNameError("b")

    assert type(combined([one, two])) is DuplicateNameError
    assert combined([one, DefinitionError("c", "d")]).problems == ("a", "c", "d")


def test_a_reference_says_where_something_is_found() -> None:
    """Functions and classes by their own place, other objects by their class's."""
    assert reference(Methods().bound).endswith("test_action:Methods.bound")
    assert reference(Methods).endswith("test_action:Methods")
    assert reference(Methods()) == reference(Methods)
