"""Occurrences of events: whose the id is, and when it was."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import json
from typing import Any

import msgspec
import pytest

from durable_agents import (
    Event,
    EventRecord,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    Store,
)
from durable_agents.testing import ManualClock
from tests.worker._kit import Gate, agent_of, finish, interrupt


class Scored(Event):
    score: int


class Claimed(Event):
    """An event with an attribute that is called as the record's id is."""

    id: str


def record(event: Event) -> EventRecord:
    return EventRecord(
        id="run/2", type=event.type_name(), key="k", event=event, created_at=12.5
    )


@pytest.mark.rows("EV-05")
async def test_an_id_does_not_depend_on_what_the_event_says() -> None:
    """It comes from the run and the place; another payload leaves it."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> Event:
        return Scored(score=event.input)

    async def report(event: Scored, ctx: RunnerContext) -> None:
        ctx.output(ctx.trigger.id)

    agent = agent_of(act).add_action("report", Scored, report)

    ids = [await finish(agent, InMemoryStore(), value=value) for value in (1, 2)]

    assert ids[0] == ids[1]
    sent = record(Scored(score=1))
    assert msgspec.structs.replace(sent, event=Scored(score=2)).id == sent.id


@pytest.mark.rows("EV-07")
async def test_nobody_gives_an_occurrence_its_id_and_none_goes_without(
    memory: InMemoryStore,
) -> None:
    """Each event that is sent has one of its own; a record that lacks one is refused."""

    async def act(event: Any, ctx: RunnerContext) -> list[Event]:
        return [Scored(score=1), Scored(score=1)]

    async def report(event: Scored, ctx: RunnerContext) -> None:
        ctx.output(ctx.trigger.id)

    ids = await finish(agent_of(act).add_action("report", Scored, report), memory)

    assert len({*ids, "", "run/input"}) == 4
    members = json.loads(record(Scored(score=1)).to_json())
    for lacking in ({**members, "id": None}, {k: members[k] for k in members if k != "id"}):
        with pytest.raises(ValueError, match=r"not an event record: .*id"):
            EventRecord.from_json(json.dumps(lacking))


@pytest.mark.rows("EV-18")
def test_the_class_that_an_event_is_made_into_does_not_change_its_id() -> None:
    """Whatever it calls its attributes: the id is the record's."""
    sent = record(Claimed(id="another"))

    restored = EventRecord.from_json(sent.to_json(), Claimed)

    assert ("run/2", "another") == (restored.id, restored.get_attr("id"))
    assert restored == sent


@pytest.mark.rows("EV-20")
async def test_an_event_knows_when_its_input_was_taken_in(store: Store) -> None:
    """In seconds since 1970, by the clock of the worker; the same in each life."""
    gate, seen = Gate(), list[tuple[float, float]]()

    async def act(event: Any, ctx: RunnerContext) -> None:
        seen.append((ctx.trigger.created_at, ctx.now().timestamp()))
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate, clock=ManualClock(1_800_000_000.5))
    await finish(agent, store, clock=ManualClock(1_900_000_000.0))

    assert seen == [(1_800_000_000.5, 1_800_000_000.5)] * 2
