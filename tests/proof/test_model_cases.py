"""Cases that no tree grows and no other test has, each with a replay.

The other cases that the model is asked about by name are in `tests/worker/test_delivery.py`;
`docs/proof-model.md` says which.
"""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
from collections.abc import Sequence
from typing import Any

from durable_agents import InMemoryStore, RunnerContext, WorkerSettings
from durable_agents.journal import CallAbandoned, CallsCleared, CallSettled, DeliveredOutOfOrder
from tests.worker._kit import Calls, Gate, agent_of, entries, finish, interrupt


class HeldStore(InMemoryStore):
    """A store whose transactions wait for the test, from a certain moment on."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.released.set()

    async def _commit(self, batch: Sequence[Any]) -> None:
        await self.released.wait()
        await super()._commit(batch)


async def test_a_call_that_settles_just_after_its_timeout_fired_stays_given_up() -> None:
    """It had returned, and its record was on its way to the disk: the fallback counts."""
    store, calls, gate = HeldStore(), Calls(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        store.released.clear()
        try:
            async with asyncio.timeout(0.001):
                value = await ctx.durable(calls.double, 1)
        except TimeoutError:
            store.released.set()
            value = await ctx.durable(calls.double, 2)
        store.released.set()
        await gate.wait()
        ctx.output(value)

    agent = agent_of(act)
    await interrupt(agent, store, gate)

    assert [4] == await finish(agent, store)
    assert [1, 2] == calls.made
    settled = [e for e in await entries(store) if isinstance(e, CallSettled | CallAbandoned)]
    assert [CallSettled, CallAbandoned, CallSettled] == [type(entry) for entry in settled]


async def test_a_clear_while_branches_wait_on_each_other_holds_nobody_up() -> None:
    """One branch lost its records, the other waits for it: its own records still count."""
    store, calls, gate = InMemoryStore(), Calls(), Gate()
    version = 1

    async def act(event: Any, ctx: RunnerContext) -> None:
        is_ready, is_answered = asyncio.Event(), asyncio.Event()

        async def ask() -> str:
            await ctx.durable(calls.echo, "ask")
            is_ready.set()
            await is_answered.wait()
            return str(await ctx.durable(calls.echo, "use the answer"))

        async def answer() -> str:
            await is_ready.wait()
            await ctx.durable(calls.echo, f"answer, version {version}")
            is_answered.set()
            return str(await ctx.durable(calls.echo, "close"))

        values = await asyncio.gather(ask(), answer())
        await gate.wait()
        ctx.output(values)

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    version = 2
    settings = WorkerSettings(shutdown_grace_seconds=0, on_divergence="clear")
    async with asyncio.timeout(10):  # a third of the wait for an outcome in order
        outputs = await finish(agent, store, settings)

    assert [["use the answer", "close"]] == outputs
    first_life = {"ask", "answer, version 1", "use the answer", "close"}
    assert first_life == set(calls.made[:4])
    assert ["answer, version 2", "close"] == calls.made[4:]
    kinds = {type(entry) for entry in await entries(store)}
    assert CallsCleared in kinds
    assert DeliveredOutOfOrder not in kinds
