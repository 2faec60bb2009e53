"""Agent plans: agents that have been checked, immutable, with an index from event to actions.

Rule 1: everything that can be checked is checked by `AgentPlan.of`, before anything runs, and
all problems are reported at once. Rule 2: what a plan answers depends on the event alone, so
that a replay fires the same actions in the same order.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from durable_agents.actions import Action, ActionDeclaration, combined, reference
from durable_agents.agent._agent import Agent, declared, fingerprint_of
from durable_agents.agent._input import check_input_type, decode
from durable_agents.errors import DefinitionError, DuplicateNameError, InputError
from durable_agents.events import (
    Event,
    EventType,
    InputEvent,
    compile_trigger,
    type_name_of,
)
from durable_agents.schedule import Schedule, ScheduleDeclaration

__all__ = ["AgentPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPlan:
    """An agent that has been checked: what it does about an event no longer changes."""

    name: str
    actions: Mapping[str, Action]
    """By name, in plan order: those of the class first, then as they were added."""
    input_type: Any
    """What raw inputs are decoded into; None leaves them as they are."""
    resources: Mapping[str, object]
    schedules: Mapping[str, Schedule]
    """By name, in the order written."""
    _routes: Mapping[str, tuple[Action, ...]] = field(repr=False, compare=False)
    """Actions by the type name of the events that fire them, each in plan order."""
    _conditional: frozenset[str] = field(repr=False, compare=False)
    """Type names where an action has a condition that must be asked."""

    @classmethod
    def of(cls, agent: Agent) -> "AgentPlan":
        """The plan of an agent.

        Raises:
            DefinitionError: Something is wrong with the agent; each problem is listed. It is
                the more precise subclass where all problems are of one kind.
        """
        own, errors = declared(agent)
        actions, action_errors = _checked(own.actions)
        errors += action_errors
        errors += _duplicates("actions", (declaration.name for declaration in own.actions))
        errors += _duplicates("resources", (name for name, _ in own.resources))
        errors += _duplicates("schedules", (schedule.name for schedule in own.schedules))
        errors += _shared_type_names(actions)
        schedules, schedule_errors = _checked_schedules(own.schedules)
        errors += schedule_errors
        errors += _unfit_inputs(own.input_type, schedules)
        if errors:
            raise combined(errors)
        routes = _routes(actions)
        return cls(
            name=own.name,
            actions=MappingProxyType({action.name: action for action in actions}),
            input_type=own.input_type,
            resources=MappingProxyType(dict(own.resources)),
            schedules=MappingProxyType({schedule.name: schedule for schedule in schedules}),
            _routes=routes,
            _conditional=frozenset(
                name for name, fired in routes.items() if any(a.condition for a in fired)
            ),
        )

    def actions_for(self, event: Event, type_name: str | None = None) -> tuple[Action, ...]:
        """Actions that the event fires, in plan order; each once. None for an output event.

        Args:
            event: What may fire them.
            type_name: Its type name, where the caller has it.

        Raises:
            Exception: What a condition raises; an event that cannot be judged fails its run.
        """
        type_name = type_name or type_name_of(event)
        fired = self._routes.get(type_name, ())
        if type_name not in self._conditional:
            return fired
        return tuple(a for a in fired if a.condition is None or a.condition(event))

    def decode_input(self, raw: object) -> Event:
        """The event that an input enters the agent as.

        Args:
            raw: An event, taken as it is; or a value, which becomes an `InputEvent`: an
                instance of the input type, or data such as JSON gives.

        Raises:
            InputError: It does not fit the input type, or it is an output event.
        """
        return _input_event(raw, self.input_type)

    @property
    def fingerprint(self) -> str:
        """What `Agent.fingerprint` was when the plan was made."""
        return fingerprint_of(self.input_type, self.actions.values())

    def to_json(self) -> str:
        """The plan for people and other programs: what was declared, nothing derived from it.

        Functions, types and objects appear as `module:qualname`, event classes by type name.
        """
        plan = {
            "name": self.name,
            "input": None if self.input_type is None else _shown(self.input_type),
            "actions": [_described(action) for action in self.actions.values()],
            "resources": {n: reference(type(r)) for n, r in self.resources.items()},
        }
        if self.schedules:
            plan["schedules"] = [_described_schedule(s) for s in self.schedules.values()]
        return msgspec.json.encode(plan, enc_hook=reference).decode()


def _checked(
    declarations: Iterable[ActionDeclaration],
) -> tuple[list[Action], list[DefinitionError]]:
    actions: list[Action] = []
    errors: list[DefinitionError] = []
    for declaration in declarations:
        try:
            actions.append(Action.of(declaration))
        except DefinitionError as error:
            errors.append(error)
    return actions, errors


def _checked_schedules(
    declarations: Iterable[ScheduleDeclaration],
) -> tuple[list[Schedule], list[DefinitionError]]:
    schedules: list[Schedule] = []
    errors: list[DefinitionError] = []
    for declaration in declarations:
        try:
            schedules.append(Schedule.of(declaration))
        except DefinitionError as error:
            errors.append(error)
    return schedules, errors


def _unfit_inputs(
    wanted: Any,  # noqa: ANN401 - any type can be declared
    schedules: Iterable[Schedule],
) -> Iterator[DefinitionError]:
    """A problem of the input type; or one for each schedule whose value does not fit it."""
    if wanted is not None:
        try:
            check_input_type(wanted)
        except DefinitionError as error:
            yield error
            return
    for schedule in schedules:
        if callable(schedule.value):
            continue  # nobody knows what it makes
        try:
            _input_event(schedule.value, wanted)
        except InputError as error:
            yield DefinitionError(f"schedule {schedule.name!r}: {error}")


def _input_event(
    raw: object,
    wanted: Any,  # noqa: ANN401 - any type can be declared
) -> Event:
    if isinstance(raw, Event):
        if type_name_of(raw) == EventType.OutputEvent:
            msg = "an output event leaves an agent; hand in its value, or another event"
            raise InputError(msg)
        return raw
    return InputEvent(input=raw if wanted is None else decode(raw, wanted))


def _duplicates(what: str, names: Iterable[str]) -> Iterator[DuplicateNameError]:
    for name, count in Counter(names).items():
        if count > 1:
            yield DuplicateNameError(f"{count} {what} are named {name!r}; rename all but one")


def _shared_type_names(actions: Iterable[Action]) -> Iterator[DuplicateNameError]:
    """A problem for each type name that several event classes go by: they would be mixed up."""
    classes: dict[str, dict[type[Event], None]] = {InputEvent.type_name(): {InputEvent: None}}
    for action in actions:
        for trigger in action.triggers:
            if isinstance(trigger, type):
                classes.setdefault(compile_trigger(trigger), {})[trigger] = None
    for type_name, known in classes.items():
        if len(known) > 1:
            listed = " and ".join(map(reference, known))
            yield DuplicateNameError(
                f"the event classes {listed} share the type name {type_name!r}; "
                'give one of them another: class ...(Event, tag="...")'
            )


def _routes(actions: Sequence[Action]) -> Mapping[str, tuple[Action, ...]]:
    routes: defaultdict[str, tuple[Action, ...]] = defaultdict(tuple)
    for action in actions:
        for type_name in action.event_types:
            routes[type_name] += (action,)
    return MappingProxyType(dict(routes))


def _described(action: Action) -> dict[str, object]:
    """An action as JSON says it; what it does not have is left out."""
    shown = {
        "name": action.name,
        "triggers": [t if isinstance(t, str) else compile_trigger(t) for t in action.triggers],
        "when": action.condition and reference(action.condition),
        "function": reference(action.fn),
        "config": dict(action.config),
        "retry": action.retry,
    }
    return {name: value for name, value in shown.items() if value not in (None, {})}


def _described_schedule(schedule: Schedule) -> dict[str, object]:
    """A schedule as JSON says it; its value may be anything, and is named by its type."""
    value = schedule.value
    shown = {
        "name": schedule.name,
        "line": schedule.line,
        "zone": str(schedule.zone),
        "missed": schedule.missed,
        "key": schedule.key,
        "value": reference(value if callable(value) else type(value)),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _shown(wanted: object) -> str:
    return reference(wanted) if isinstance(wanted, type) else repr(wanted)
