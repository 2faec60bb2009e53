"""From an agent as it is declared to a plan that can be trusted."""

# ruff: noqa: ANN401 - any type can be declared

import json
from typing import Any

import pytest

from durable_agents.actions import action
from durable_agents.agent import Agent, AgentPlan
from durable_agents.context import RunnerContext
from durable_agents.errors import DefinitionError, DuplicateNameError, TriggerSyntaxError
from durable_agents.events import DynamicEvent, Event, InputEvent, OutputEvent
from durable_agents.retry import RetryPolicy


class Scored(Event, tag="review.scored"):
    score: int


class ScoredAgain(Event, tag="review.scored"):
    """Goes by a name that is taken."""


class FalseInput(Event, tag="_input_event"):
    """Goes by a built-in name."""


async def handle(event: Event, ctx: RunnerContext) -> None: ...


def other(event: Event, ctx: RunnerContext) -> None: ...


def takes_event_only(event: Event) -> None: ...


wrong: Any = takes_event_only


def is_low(event: Scored) -> bool:
    return event.score < 3


class Reviews(Agent):
    @action(InputEvent)
    async def score(self, event: InputEvent[int], ctx: RunnerContext) -> None: ...

    @action(Scored, when=is_low, name="alarm")
    @staticmethod
    def alert(event: Scored, ctx: RunnerContext) -> None: ...


def fired(plan: AgentPlan, event: Event) -> list[str]:
    return [a.name for a in plan.actions_for(event)]


@pytest.mark.rows("PL-01")
def test_a_class_becomes_a_plan_under_its_name() -> None:
    """Actions in the order written, bound to the agent."""
    agent = Reviews()

    plan = AgentPlan.of(agent)

    assert plan.name == "Reviews"
    assert list(plan.actions) == ["score", "alarm"]
    assert plan.actions["score"].fn == agent.score
    assert plan.actions["alarm"].fn is Reviews.alert


@pytest.mark.rows("PL-02")
@pytest.mark.parametrize("name", ["registered_agent", ""])
def test_a_given_name_is_kept_even_when_empty(name: str) -> None:
    """Empty is a name, not the lack of one."""
    assert AgentPlan.of(Reviews(name)).name == name
    assert AgentPlan.of(Agent(name)).name == name


def test_an_agent_shows_its_name() -> None:
    """In a log it is told apart from others of its class."""
    assert repr(Reviews("a")) == "<Reviews 'a'>"


@pytest.mark.rows("PL-14")
def test_actions_added_to_an_agent_come_after_those_of_its_class() -> None:
    """The decorator hands the function back; `add_action` hands the agent back."""
    agent = Reviews()

    assert agent.action(Scored, mode="strict")(other) is other
    assert agent.add_action("last", InputEvent, handle) is agent
    assert agent.add_resource("client", object()) is agent

    plan = AgentPlan.of(agent)
    assert list(plan.actions) == ["score", "alarm", "other", "last"]
    assert plan.actions["other"].config == {"mode": "strict"}
    assert plan.actions["last"].config == {}


@pytest.mark.rows("PL-10")
def test_resources_are_found_by_name() -> None:
    """The very objects that were added."""
    client = object()

    assert AgentPlan.of(Agent("a").add_resource("client", client)).resources == {
        "client": client
    }


@pytest.mark.rows("OP-24")
def test_an_event_fires_the_actions_of_its_type_in_plan_order_each_once() -> None:
    """Several triggers of one action are OR-ed."""
    agent = Agent("a")
    agent.add_action("second", [Scored, InputEvent, "review.scored"], other)
    agent.add_action("first", "review.scored", handle)
    plan = AgentPlan.of(agent)

    assert fired(plan, InputEvent(1)) == ["second"]
    assert fired(plan, Scored(1)) == ["second", "first"]
    assert fired(plan, DynamicEvent("other")) == []


def test_dynamic_events_fire_what_typed_events_of_their_type_fire() -> None:
    """A program without our classes drives the same agent."""
    plan = AgentPlan.of(Reviews())

    assert fired(plan, DynamicEvent("_input_event", {"input": 1})) == ["score"]


@pytest.mark.parametrize(
    "event", [OutputEvent(1), DynamicEvent("_output_event", {"output": 1})]
)
def test_output_events_fire_nothing(event: Event) -> None:
    """They leave the agent."""
    assert fired(AgentPlan.of(Reviews()), event) == []


def test_a_condition_decides_whether_its_action_is_fired() -> None:
    """The others of the type are not asked."""
    agent = Reviews().add_action("always", Scored, handle)
    plan = AgentPlan.of(agent)

    assert fired(plan, Scored(2)) == ["alarm", "always"]
    assert fired(plan, Scored(3)) == ["always"]


def test_what_a_condition_raises_is_not_swallowed() -> None:
    """An event that cannot be judged must not be skipped in silence."""
    with pytest.raises(AttributeError, match="score"):
        AgentPlan.of(Reviews()).actions_for(DynamicEvent("review.scored"))


@pytest.mark.rows("PL-14")
def test_names_are_given_once() -> None:
    """Actions and resources are known by name."""
    agent = Agent("a").add_resource("r", 1).add_resource("r", 2)
    agent.add_action("x", InputEvent, handle).add_action("x", Scored, other)

    with pytest.raises(DuplicateNameError) as caught:
        AgentPlan.of(agent)

    assert caught.value.problems == (
        "2 actions are named 'x'; rename all but one",
        "2 resources are named 'r'; rename all but one",
    )


@pytest.mark.parametrize(
    ("first", "second", "type_name"),
    [(Scored, ScoredAgain, "review.scored"), ("x", FalseInput, "_input_event")],
)
def test_event_classes_that_share_a_type_name_are_refused(
    first: type[Event] | str, second: type[Event], type_name: str
) -> None:
    """Each would fire the other's actions."""
    agent = Agent("a").add_action("x", [first, second], handle)

    with pytest.raises(DuplicateNameError, match=f"share the type name '{type_name}'"):
        AgentPlan.of(agent)


@pytest.mark.rows("PL-07")
def test_actions_are_not_inherited() -> None:
    """The text names the action, the base and what to do."""

    class Child(Reviews):
        @action(InputEvent)
        async def score(self, event: InputEvent[int], ctx: RunnerContext) -> None: ...

    with pytest.raises(DefinitionError) as caught:
        AgentPlan.of(Child())

    assert str(caught.value) == (
        "Inherited @action 'alarm' of base agent Reviews: actions are not inherited; "
        "declare it in Child"
    )


def test_an_agent_that_skips_the_base_initializer_is_told_so() -> None:
    """Rather than an AttributeError from our inside."""

    class Careless(Agent):
        def __init__(self) -> None:
            """Forgets the base."""

    with pytest.raises(DefinitionError, match=r"Careless.__init__ does not call super"):
        AgentPlan.of(Careless())


def test_all_problems_of_an_agent_are_reported_at_once() -> None:
    """One round of mending, not five."""
    agent = Agent("a", input=int | Scored | Reviews)
    agent.add_action("one", "type ==", handle)
    agent.add_action("two", InputEvent, wrong)
    agent.add_action("two", Scored, handle)

    with pytest.raises(DefinitionError) as caught:
        AgentPlan.of(agent)

    assert type(caught.value) is DefinitionError
    one, two, named, given = caught.value.problems
    assert "action 'one'" in one
    assert "action 'two'" in two
    assert named == "2 actions are named 'two'; rename all but one"
    assert "is not a type that inputs can be decoded into" in given


@pytest.mark.parametrize("line", ["0 9 * * MOM", "nonsense"])
def test_problems_of_schedules_are_reported_with_all_others(line: str) -> None:
    """A wrong line, a name given twice, a value that does not fit."""
    agent = Agent("a", input=int).add_action("two", InputEvent, wrong)
    agent.schedule(line, 1, name="weekly").schedule("0 9 * * *", 2, name="weekly")
    agent.schedule("0 9 * * *", "three", name="daily")
    agent.schedule("0 9 * * *", OutputEvent(4), name="nightly")

    with pytest.raises(DefinitionError) as caught:
        AgentPlan.of(agent)

    two, twice, typo, unfit, output = caught.value.problems
    assert "action 'two'" in two
    assert "2 schedules are named 'weekly'; rename all but one" == twice
    assert typo.startswith(f"schedule 'weekly': cron line {line!r}: ")
    assert unfit == ("schedule 'daily': the input does not fit int: Expected `int`, got `str`")
    assert "schedule 'nightly': an output event leaves an agent" in output


def test_values_of_schedules_are_not_judged_by_a_type_that_is_none() -> None:
    """The type is the problem."""
    agent = Agent("a", input=int | Scored | Reviews).schedule("0 9 * * *", "x", name="daily")

    with pytest.raises(DefinitionError) as caught:
        AgentPlan.of(agent)

    assert 1 == len(caught.value.problems)


def test_a_plan_has_the_schedules_of_its_agent() -> None:
    """In the order written; what makes an input of the moment is asked when it comes."""

    class Reports(Agent):
        def __init__(self) -> None:
            super().__init__(input=int)
            self.schedule("0 9 * * *", 7, name="daily", zone="Europe/Berlin", key="k")

    agent = Reports()
    assert agent.schedule("0 0 1 * *", str, name="monthly", missed="all") is agent

    plan = AgentPlan.of(agent)

    assert ["daily", "monthly"] == list(plan.schedules)
    assert [7, str] == [schedule.value for schedule in plan.schedules.values()]
    assert [
        {
            "name": "daily",
            "line": "0 9 * * *",
            "zone": "Europe/Berlin",
            "missed": "latest",
            "key": "k",
            "value": "builtins:int",
        },
        {
            "name": "monthly",
            "line": "0 0 1 * *",
            "zone": "UTC",
            "missed": "all",
            "value": "builtins:str",
        },
    ] == json.loads(plan.to_json())["schedules"]


@pytest.mark.rows("TM-28")
def test_a_mended_agent_is_accepted() -> None:
    """A failed plan leaves nothing behind."""
    with pytest.raises(TriggerSyntaxError, match=r"condition #1 for action 'handle'.*type =="):
        AgentPlan.of(Agent("a").add_action("handle", "type ==", handle))

    assert AgentPlan.of(Agent("a").add_action("handle", "type", handle)).actions


@pytest.mark.parametrize("field", ["name", "actions", "_routes"])
def test_a_plan_does_not_change(field: str) -> None:
    """Runs that are open rely on it."""
    plan = AgentPlan.of(Reviews())

    with pytest.raises(AttributeError):
        setattr(plan, field, "other")
    with pytest.raises(TypeError):
        plan.actions["more"] = plan.actions["score"]  # type: ignore[index]  # that is the test


@pytest.mark.rows("PL-08", "TC-20")
def test_a_plan_in_json_holds_what_was_declared_and_nothing_derived() -> None:
    """Event classes by type name, functions by place, defaults left out."""
    agent = Reviews("shop", input=int).add_resource("low", Scored(1))
    config: dict[str, Any] = {"limit": [1, 2], "by": is_low}
    agent.add_action("more", [" a ", Scored], handle, retry=RetryPolicy(), **config)

    shown = json.loads(AgentPlan.of(agent).to_json())

    module = __name__
    assert shown.pop("actions")[:2] == [
        {"name": "score", "triggers": ["_input_event"], "function": f"{module}:Reviews.score"},
        {
            "name": "alarm",
            "triggers": ["review.scored"],
            "when": f"{module}:is_low",
            "function": f"{module}:Reviews.alert",
        },
    ]
    assert shown == {
        "name": "shop",
        "input": "builtins:int",
        "resources": {"low": f"{module}:Scored"},
    }
    [more] = json.loads(AgentPlan.of(agent).to_json())["actions"][2:]
    assert more["triggers"] == [" a ", "review.scored"]
    assert more["config"] == {"limit": [1, 2], "by": f"{module}:is_low"}
    assert more["retry"]["retry_on"] == ["builtins:Exception"]


@pytest.mark.parametrize(("given", "shown"), [(None, None), (list[int], "list[int]")])
def test_the_input_type_is_shown_in_json(given: Any, shown: str | None) -> None:
    """A generic type has no place of its own."""
    assert json.loads(AgentPlan.of(Agent("a", input=given)).to_json())["input"] == shown


@pytest.mark.rows("PL-09")
def test_decorated_and_added_actions_make_the_same_plan() -> None:
    """Two ways to write one thing."""
    decorated, added = Agent("a"), Agent("a")
    decorated.action(Scored, "x", when=is_low, mode="strict")(handle)
    added.add_action("handle", [Scored, "x"], handle, when=is_low, mode="strict")

    assert AgentPlan.of(decorated).to_json() == AgentPlan.of(added).to_json()
    assert AgentPlan.of(decorated) == AgentPlan.of(added)
