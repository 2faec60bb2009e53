"""Actions: functions that events fire, as they are declared and as they are checked.

Rule 1: a decorator only notes down what its author wrote, as it was written, and hands the
function back unchanged; nothing is registered anywhere. Rule 2: `Action.of` checks everything
that can be checked of one action and reports all of it at once, when the plan is built.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, UnionType
from typing import Any, TypeAlias, TypeVar, cast, get_origin

from durable_agents.actions._fingerprint import fingerprint_of
from durable_agents.context import RunnerContext
from durable_agents.errors import DefinitionError, TriggerSyntaxError
from durable_agents.events import (
    Condition,
    DynamicEvent,
    Event,
    Trigger,
    compile_condition,
    compile_trigger,
)
from durable_agents.retry import RetryPolicy

__all__ = [
    "Action",
    "ActionDeclaration",
    "action",
    "combined",
    "declarations_on",
    "own_name",
    "reference",
    "undecorated",
]

_DECLARATIONS = "__durable_agents_actions__"
_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}

_SAYS_NOTHING = (Any, inspect.Parameter.empty, UnionType)
"""Classes that stand for no class when a parameter is annotated by them."""

_Function: TypeAlias = (
    Callable[[Any, Any, RunnerContext], object] | Callable[[Any, RunnerContext], object]
)
# As text: `staticmethod` takes parameters for type checkers only.
Method = TypeVar("Method", bound="_Function | staticmethod[..., Any]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDeclaration:
    """What an author wrote about an action, unchecked."""

    name: str
    triggers: tuple[Trigger, ...]
    when: Condition | str | None
    fn: Callable[..., Any]
    config: Mapping[str, Any]
    retry: RetryPolicy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A function that events fire; checked, so that it can be called as `fn(event, ctx)`."""

    name: str
    """Unique in its agent; it is on disk, so renaming an action starts it anew in open runs."""
    triggers: tuple[Trigger, ...]
    """Event classes and type names as the author wrote them."""
    event_types: frozenset[str] = field(compare=False)
    """Type names of the events that fire it; what the triggers come to."""
    condition: Condition | None
    """What else must be true of the event; None for nothing. What it raises fails the run."""
    fn: Callable[[Any, RunnerContext], Any]
    config: Mapping[str, Any]
    """Read-only; what the action reads as `ctx.config`."""
    is_async: bool
    """Whether `fn` is a coroutine function; else it runs in a thread of its own."""
    retry: RetryPolicy | None
    """When a failed action is started again; None for never."""
    code: bytes
    """Its fingerprint as it is on record with each run: whether its code changed since."""

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when its code does; see `docs/upgrading.md`.

        The first eight are those of the function with its `config`, the others of the functions
        of the same program that it uses by name. The same in every process and on every machine
        that runs this minor version of Python.
        """
        return self.code.hex()

    @classmethod
    def of(cls, declaration: ActionDeclaration) -> "Action":
        """The action that a declaration describes.

        Raises:
            DefinitionError: Something about it is wrong; each problem is listed.
        """
        errors = [DefinitionError(problem) for problem in _problems_of_form(declaration)]
        event_types: set[str] = set()
        condition: Condition | None = None
        for ordinal, trigger in enumerate(declaration.triggers, start=1):
            try:
                event_types.add(compile_trigger(trigger))
            except TriggerSyntaxError as error:
                place = f"trigger condition #{ordinal}"
                errors.append(_placed(error, declaration, place, trigger))
        if declaration.when is not None:
            try:
                condition = compile_condition(declaration.when)
            except TriggerSyntaxError as error:
                errors.append(_placed(error, declaration, "condition", declaration.when))
        if errors:
            raise combined(errors)
        return cls(
            name=declaration.name,
            triggers=declaration.triggers,
            event_types=frozenset(event_types),
            condition=condition,
            fn=declaration.fn,
            config=MappingProxyType(dict(declaration.config)),
            is_async=inspect.iscoroutinefunction(declaration.fn),
            retry=declaration.retry,
            code=fingerprint_of(declaration.fn, declaration.config),
        )


def action(
    *triggers: Trigger,
    when: Condition | str | None = None,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    **config: object,
) -> Callable[[Method], Method]:
    """Declare a method of an agent class as an action; the method itself stays as it is.

    Whatever is wrong with it is reported when the plan of the agent is built.

    Args:
        *triggers: Event classes or event type names; any of them fires the action.
        when: A predicate taking the event, asked before the action is fired.
        name: Name of the action. Default: the name of the method.
        retry: When the action is started again after it raised; its settled calls are not
            repeated. Default: never.
        **config: What the action reads as `ctx.config`.
    """

    def declare(method: Method) -> Method:
        function = undecorated(method)
        declaration = ActionDeclaration(
            name=own_name(function) if name is None else name,
            triggers=triggers,
            when=when,
            fn=function,
            config=config,
            retry=retry,
        )
        setattr(function, _DECLARATIONS, (*declarations_on(function), declaration))
        return method

    return declare


def declarations_on(member: object) -> tuple[ActionDeclaration, ...]:
    """What `@action` noted down on a member of a class, `@staticmethod` around it or not."""
    noted: tuple[ActionDeclaration, ...] = getattr(undecorated(member), _DECLARATIONS, ())
    return noted


def undecorated(member: object) -> Callable[..., Any]:
    """The function inside a static or class method; anything else as it is."""
    is_wrapped = issubclass(type(member), (staticmethod, classmethod))
    function = getattr(member, "__func__", member) if is_wrapped else member
    return cast("Callable[..., Any]", function)  # `Action.of` refuses what is not


def reference(value: object) -> str:
    """Where something is found: `module:qualname`; its class where it has no such place."""
    named: Any = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"


def combined(errors: Sequence[DefinitionError]) -> DefinitionError:
    """One error with the problems of all; of their class where they share it.

    Args:
        errors: At least one.
    """
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else DefinitionError
    return kind(*(problem for error in errors for problem in error.problems))


def own_name(function: object) -> str:
    """What a function calls itself; for other objects, the name of their class."""
    return str(getattr(function, "__name__", type(function).__name__))


def _problems_of_form(declaration: ActionDeclaration) -> Iterator[str]:
    if not declaration.name.strip():
        yield f"the action {reference(declaration.fn)} has a blank name"
    if not declaration.triggers:
        yield f"action {declaration.name!r} must have at least one trigger condition"
    problem = _problem_of_function(declaration.fn) or _problem_of_types(declaration)
    if problem is not None:
        yield f"action {declaration.name!r} ({reference(declaration.fn)}) {problem}"


def _problem_of_function(fn: Callable[..., Any]) -> str | None:
    """What keeps it from being called as `fn(event, ctx)`, or None."""
    if not inspect.isfunction(fn) and not inspect.ismethod(fn):
        kind = "class" if isinstance(fn, type) else type(fn).__name__
        return f"is a {kind}, not a function; write a function that calls it"
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        return "yields; an action returns, and sends events by ctx.send"
    if not inspect.iscoroutinefunction(fn) and inspect.iscoroutinefunction(inspect.unwrap(fn)):
        return "is an async function inside a plain wrapper; make the wrapper async, too"
    signature = inspect.signature(fn)
    match [parameter.kind in _POSITIONAL for parameter in signature.parameters.values()]:
        case [True, True]:
            return None
        case _:
            return f"takes {signature}; it must take exactly (event, ctx)"


def _problem_of_types(declaration: ActionDeclaration) -> str | None:
    """What keeps its parameters from taking what it will be called with, or None.

    Only a parameter that names a class is judged: anything else may be right.
    """
    parameters = inspect.signature(declaration.fn).parameters.values()
    event, context = (_named_class(parameter) for parameter in parameters)
    if context is not None and not _are_related(context, RunnerContext):
        return f"takes {context.__name__} for its context; it must take (event, ctx)"
    if event is None:
        return None
    if not _are_related(event, Event):
        return f"takes {event.__name__} for its event; it must take (event, ctx)"
    for fired_by in (trigger for trigger in declaration.triggers if isinstance(trigger, type)):
        if not issubclass(fired_by, event) and event is not DynamicEvent:
            return f"is fired by {fired_by.__name__}, and takes {event.__name__}"
    return None


def _named_class(parameter: inspect.Parameter) -> type | None:
    # `InputEvent[int]` counts as `InputEvent`.
    named: Any = get_origin(parameter.annotation) or parameter.annotation
    is_class = isinstance(named, type) and not getattr(named, "_is_protocol", False)
    return cast("type", named) if is_class and named not in _SAYS_NOTHING else None


def _are_related(one: type, other: type) -> bool:
    return issubclass(one, other) or issubclass(other, one)


def _placed(
    error: TriggerSyntaxError, declaration: ActionDeclaration, place: str, source: object
) -> TriggerSyntaxError:
    """The same error, saying where it was found."""
    shown = f'"{source}"' if isinstance(source, str) else reference(source)
    return TriggerSyntaxError(
        f"Invalid {place} for action {declaration.name!r} from source {shown}: {error}"
    )
