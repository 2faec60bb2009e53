"""What fires an action: event types by class or by name, and a condition on the event.

Rule 1: everything is checked when the plan is built; what comes out of here cannot fail for
its form later. Rule 2: expressions have one place, `compile_condition`; until CEL is understood
there, a text that is not a type name is refused, never taken for one.

A text is a type name if it is made of words (letters, digits, `_`; the first does not begin
with a digit) joined by `.`, `-` or `:`: `review.scored`, `_input_event`, `a-b:c`. In quotes, as
`'order/created'`, it may hold anything but white space, quotes and backslashes. White space
around it does not count. `true`, `false` and `null` are expressions.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias, cast, get_origin

from durable_agents.errors import DefinitionError, TriggerSyntaxError
from durable_agents.events._event import (
    DynamicEvent,
    Event,
    OutputEvent,
    type_name_of_class,
)

__all__ = ["Condition", "Trigger", "compile_condition", "compile_trigger"]

Trigger: TypeAlias = type[Event] | str
"""An event class, or an event type name."""

# Any: the author's predicate takes the class that the triggers promise, which is narrower.
Condition: TypeAlias = Callable[[Any], bool]
"""Whether the action shall fire for this event. What it raises fails the run."""

_PLAIN_NAME = re.compile(r"[^\W\d]\w*(?:[.:-]\w+)*")
_QUOTED_NAME = re.compile(r"""(?P<quote>['"])(?P<name>[^\s'"\\]+)(?P=quote)""")
_NOT_NAMES = frozenset({"true", "false", "null"})


def compile_trigger(trigger: object) -> str:
    """Type name of the events that a trigger stands for.

    Args:
        trigger: What the author wrote; a `Trigger`, if all is well.

    Raises:
        TriggerSyntaxError: It is no trigger, or one that no event could ever fire.
    """
    if isinstance(trigger, str):
        name = _named_type(trigger)
    elif isinstance(trigger, type):
        name = _class_type(trigger)
    elif isinstance(origin := get_origin(trigger), type) and issubclass(origin, Event):
        msg = f"a trigger takes no type parameter, write {origin.__name__}"
        raise TriggerSyntaxError(msg)
    else:
        msg = f"a trigger must be an event class or a string, not {type(trigger).__name__}"
        raise TriggerSyntaxError(msg)
    if name == OutputEvent.type_name():
        msg = "output events leave the agent and are never matched against actions"
        raise TriggerSyntaxError(msg)
    return name


def compile_condition(when: object) -> Condition:
    """The predicate that decides whether an event fires the action.

    Args:
        when: What the author wrote: a predicate that takes the event.

    Raises:
        TriggerSyntaxError: It is not a predicate of one argument.
    """
    if isinstance(when, str):
        _compile_expression(when)
    if not callable(when) or isinstance(when, type):
        msg = f"a condition must be a predicate taking the event, not {_described(when)}"
        raise TriggerSyntaxError(msg)
    if inspect.iscoroutinefunction(when) or inspect.iscoroutinefunction(type(when).__call__):
        msg = "a condition must answer at once: make it a plain def, await inside the action"
        raise TriggerSyntaxError(msg)
    try:
        inspect.signature(when).bind(None)
    except TypeError as error:
        msg = f"a condition must take one argument, the event ({error})"
        raise TriggerSyntaxError(msg) from error
    except ValueError:
        pass  # some built-in callables do not show their signature
    return cast("Condition", when)  # that it answers with a bool is the author's word


def _compile_expression(source: str) -> NoReturn:
    if not source.strip():
        msg = "it is blank, expected an event class, an event type name or a predicate"
        raise TriggerSyntaxError(msg)
    msg = (
        f"{source.strip()!r} is not an event type name, and CEL expressions are not supported "
        "yet: pass a predicate, when=lambda event: ..."
    )
    raise TriggerSyntaxError(msg)


def _named_type(text: str) -> str:
    # str(): a member of `EventType` becomes the plain text it stands for.
    name = str(text).strip()
    if _PLAIN_NAME.fullmatch(name) and name not in _NOT_NAMES:
        return name
    if quoted := _QUOTED_NAME.fullmatch(name):
        return quoted["name"]
    _compile_expression(text)


def _class_type(cls: type) -> str:
    if not issubclass(cls, Event):
        msg = f"{cls.__name__} is not an event class; derive it from Event"
        raise TriggerSyntaxError(msg)
    if cls is Event or cls is DynamicEvent:
        msg = f"{cls.__name__} is no event type of its own, name the type that shall fire"
        raise TriggerSyntaxError(msg)
    if not cls.__struct_config__.frozen:
        msg = f"event class {cls.__name__} can be changed; remove frozen=False"
        raise TriggerSyntaxError(msg)
    try:
        return type_name_of_class(cls)
    except DefinitionError as error:
        raise TriggerSyntaxError(*error.problems) from error


def _described(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
