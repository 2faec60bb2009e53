"""Agents as their authors declare them, unchecked: `AgentPlan.of` finds what is wrong."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import Any, Self, TypeVar

from durable_agents.actions import (
    Action,
    ActionDeclaration,
    declarations_on,
    digest_of,
    own_name,
    undecorated,
)
from durable_agents.context import RunnerContext
from durable_agents.errors import DefinitionError
from durable_agents.events import Condition, Trigger
from durable_agents.retry import RetryPolicy
from durable_agents.schedule import Missed, ScheduleDeclaration, look_up

__all__ = ["Agent", "Declared", "declared", "fingerprint_of"]

ActionFunction = TypeVar("ActionFunction", bound=Callable[[Any, RunnerContext], object])


@dataclass(slots=True)
class Declared:
    """What the author of one agent has written."""

    name: str
    input_type: Any
    """What inputs are decoded into; None for nothing."""
    actions: list[ActionDeclaration] = field(default_factory=list[ActionDeclaration])
    """In the order written: those of the class first, then those added to the instance."""
    resources: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])
    schedules: list[ScheduleDeclaration] = field(default_factory=list[ScheduleDeclaration])


class Agent:
    """Actions, resources and the type of the inputs, under a name.

        agent = Agent("reviews", input=ProductReview)

        @agent.action(InputEvent)
        async def score(event: InputEvent[ProductReview], ctx: RunnerContext) -> None: ...

    Or as a class, whose methods are declared by `@action`; it is named after the class, and
    inherits no actions. Whatever is wrong with an agent is reported at once, when a worker is
    made of it: before anything runs.

    Args:
        name: Name of the agent; it is on disk with each run. Default: the name of the class.
        input: What raw inputs are decoded into: a dataclass, an msgspec struct, an attrs or a
            pydantic class, a built-in type or a union of these. Default: they stay as they are.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        input: type[Any] | UnionType | None = None,  # noqa: A002 - the public name
    ) -> None:
        self._declared = Declared(type(self).__name__ if name is None else name, input)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._declared.name!r}>"

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when what the agent does changes.

        They are made of its actions, in order: their names, triggers, conditions, retries and
        fingerprints; and of the type of its inputs. The same in every process and on every
        machine that runs this minor version of Python.

        Raises:
            DefinitionError: An action is wrongly declared; each problem is listed.
        """
        own, _ = declared(self)
        return fingerprint_of(own.input_type, [Action.of(one) for one in own.actions])

    def action(
        self,
        *triggers: Trigger,
        when: Condition | str | None = None,
        name: str | None = None,
        retry: RetryPolicy | None = None,
        **config: object,
    ) -> Callable[[ActionFunction], ActionFunction]:
        """Declare a function as an action of this agent; the function itself stays as it is.

        Args:
            *triggers: Event classes or event type names; any of them fires the action.
            when: A predicate taking the event, asked before the action is fired.
            name: Name of the action. Default: the name of the function.
            retry: When the action is started again after it raised; its settled calls are not
                repeated. Default: never.
            **config: What the action reads as `ctx.config`.
        """

        def declare(fn: ActionFunction) -> ActionFunction:
            chosen = own_name(undecorated(fn)) if name is None else name
            self.add_action(chosen, triggers, fn, when=when, retry=retry, **config)
            return fn

        return declare

    def add_action(
        self,
        name: str,
        triggers: Trigger | Sequence[Trigger],
        fn: Callable[[Any, RunnerContext], object],
        *,
        when: Condition | str | None = None,
        retry: RetryPolicy | None = None,
        **config: object,
    ) -> Self:
        """Add a function as an action: what `action` does, without a decorator.

        Args:
            name: Name of the action.
            triggers: Event classes or event type names; any of them fires the action.
            fn: Takes the event and the runner context.
            when: A predicate taking the event, asked before the action is fired.
            retry: When the action is started again after it raised. Default: never.
            **config: What the action reads as `ctx.config`.
        """
        declaration = ActionDeclaration(
            name=name,
            triggers=(triggers,) if isinstance(triggers, (str, type)) else tuple(triggers),
            when=when,
            fn=undecorated(fn),
            config=config,
            retry=retry,
        )
        self._declared.actions.append(declaration)
        return self

    def add_resource(self, name: str, resource: object) -> Self:
        """Add something that actions use by name: a model, a tool, a client."""
        self._declared.resources.append((name, resource))
        return self

    def schedule(  # noqa: PLR0913 - each says one thing, by name
        self,
        line: str,
        value: object,
        *,
        name: str,
        zone: str = "UTC",
        missed: Missed = "latest",
        key: str | None = None,
    ) -> Self:
        """Have workers submit an input at each moment of a cron line.

        A worker that is entered submits what is due, each moment once, over restarts and by
        however many workers share the store. The first moment is the first one after a worker
        of this agent saw the schedule. Needs the extra `cron`.

        Args:
            line: Minute, hour, day of month, month, day of week: `"0 9 * * MON"`. A sixth field
                in front is for seconds.
            value: The input: anything that can be submitted; or a function that makes it of the
                moment, an aware datetime. It is called on the event loop, and must not block.
            name: Of the schedule, unique in the agent; it is on disk, and in the ids of the
                runs: `schedule:<agent>:<name>:<moment>`.
            zone: The time zone whose clocks the line speaks of.
            missed: What becomes of moments at which no worker was up: `"latest"` (default)
                submits the newest one, `"all"` each of them in order, `"skip"` none. Less than
                a minute late is not missed.
            key: What the inputs are ordered by. Default: ordered with nobody.
        """
        declaration = ScheduleDeclaration(
            name=name,
            line=line,
            value=value,
            zone=zone,
            found_zone=look_up(zone),
            missed=missed,
            key=key,
        )
        self._declared.schedules.append(declaration)
        return self


def declared(agent: Agent) -> tuple[Declared, list[DefinitionError]]:
    """What the author of an agent has written, in its class and on the instance.

    Returns:
        The declarations, and what is wrong with the class itself.
    """
    own = vars(agent).get("_declared")
    if not isinstance(own, Declared):
        problem = f"{type(agent).__name__}.__init__ does not call super().__init__()"
        return Declared(type(agent).__name__, None), [DefinitionError(problem)]
    methods = [
        replace(declaration, fn=getattr(agent, attribute))
        for attribute, member in vars(type(agent)).items()
        for declaration in declarations_on(member)
    ]
    return replace(own, actions=[*methods, *own.actions]), list(_inherited(type(agent)))


def fingerprint_of(
    input_type: Any,  # noqa: ANN401 - any type can be declared
    actions: Iterable[Action],
) -> str:
    """The fingerprint of an agent with these actions; see `Agent.fingerprint`."""
    parts = [
        (a.name, sorted(a.event_types), a.condition, a.retry, a.fingerprint) for a in actions
    ]
    return digest_of(input_type, parts).hex()


def _inherited(cls: type[Agent]) -> list[DefinitionError]:
    """A problem for each action of a base class that the class does not declare anew."""
    return [
        DefinitionError(
            f"Inherited @action {declaration.name!r} of base agent {base.__name__}: actions "
            f"are not inherited; declare it in {cls.__name__}"
        )
        for base in cls.__mro__[1:]
        for attribute, member in vars(base).items()
        for declaration in declarations_on(member)
        if not declarations_on(vars(cls).get(attribute))
    ]
