"""Forks: runs that have gone the way of another one up to some call."""

# ruff: noqa: ANN401 - actions take an event of any type, whether they read it or not

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durable_agents import (
    Agent,
    CallFailedError,
    Event,
    InMemoryStore,
    InputEvent,
    RunFailedError,
    RunnerContext,
    RunStateError,
    SqliteStore,
    Store,
    UnknownRunError,
    Worker,
    durable,
)
from durable_agents.journal import RunForked, RunStatus
from durable_agents.testing import assert_replays
from tests.worker._kit import AT_ONCE, Calls, FakeClock, Gate, agent_of, entries, life


class Rated(Event):
    """A product has got a score."""

    score: int


class Review:
    """Two actions: the first makes three calls, the second one more."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.agent = Agent("reviews", input=str)
        self.agent.add_action("rate", InputEvent, self.rate)
        self.agent.add_action("publish", Rated, self.publish)

    @durable(name="fetch")
    async def fetch(self, name: str) -> str:
        """The text."""
        self.made.append(f"fetch {name}")
        return f"text of {name}"

    @durable(name="score")
    async def score(self, text: str, token: str) -> int:
        """The model's score."""
        del token
        self.made.append(f"score {text}")
        return 1

    @durable(name="post")
    async def post(self, text: str) -> str:
        """Effects behind it."""
        self.made.append(f"post {text}")
        return text.upper()

    async def rate(self, event: InputEvent[str], ctx: RunnerContext) -> Event:
        text = await ctx.durable(self.fetch, event.input)
        score = await ctx.durable(self.score, text, str(ctx.uuid4()))
        ctx.output(f"{event.input}: {score}")
        ctx.short_term_memory.set("last", score)
        return Rated(score=score)

    async def publish(self, event: Rated, ctx: RunnerContext) -> None:
        ctx.output(await ctx.durable(self.post, f"score {event.score}"))


async def test_a_fork_repeats_nothing_that_had_settled_before_its_call(store: Store) -> None:
    """It goes its own way from there: with the result that it was given."""
    scene = Review()
    async with life(scene.agent, store) as worker:
        run = await worker.submit("tea", key="k", id="run")
        first = await run.result()
        fork = await worker.fork("run", "0:rate:root:1", value=5)

        assert ["tea: 5", "SCORE 5"] == await fork.result()
        assert ("k", True) == (fork.key, fork.is_new)
        assert ["tea: 1", "SCORE 1"] == first == await run.result()
    made = ["fetch tea", "score text of tea", "post score 1", "post score 5"]
    assert made == scene.made


async def test_x(store: Store) -> None:
    scene = Review()
    async with life(scene.agent, store) as worker:
        run = await worker.submit("tea", key="k", id="run")
        await run.result()
        fork = await worker.fork("run", "1:publish:root:0")
        assert ["tea: 1", "SCORE 1"] == await fork.result()
        await assert_replays(scene.agent, worker._store)
