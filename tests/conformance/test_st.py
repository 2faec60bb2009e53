"""Divergence, as the states of a key see it."""

from typing import Any

import pytest

from durable_agents import InputEvent, RunnerContext, Store, WorkerSettings
from tests.worker._kit import Calls, Gate, agent_of, finish, interrupt, life

CLEAR = WorkerSettings(shutdown_grace_seconds=0, on_divergence="clear")


@pytest.mark.rows("ST-02", "ST-03", "GAP-16")
@pytest.mark.parametrize("change", ["a function without a record", "other arguments"])
async def test_a_divergence_drops_what_followed_and_nothing_else(
    store: Store, change: str
) -> None:
    """Not what came before it, nor what another run or another key has on record."""
    calls, gate, has_changed = Calls(), Gate(), [False]

    async def act(event: InputEvent[str], ctx: RunnerContext) -> None:
        values = [await ctx.durable(calls.echo, f"{event.input} 1")]
        if has_changed[0] and event.input == "run":
            second: Any = calls.echo if change == "other arguments" else calls.double
            values.append(await ctx.durable(second, 2))
        else:
            values.append(await ctx.durable(calls.echo, f"{event.input} 2"))
        values += [await ctx.durable(calls.echo, f"{event.input} {n}") for n in (3, 4)]
        if event.input != "earlier":
            await gate.wait()
        ctx.output(values)

    agent = agent_of(act)
    async with life(agent, store, CLEAR) as worker:
        await (await worker.submit("earlier", key="key", id="earlier")).result()
        await worker.submit("other", key="other", id="other")
        await gate.reached.wait()
        gate.reached.clear()
    await interrupt(agent, store, gate, CLEAR, value="run")
    before = calls.made.copy()
    has_changed[0] = True

    [values] = await finish(agent, store, CLEAR, value="run")
    async with life(agent, store, CLEAR) as worker:
        kept = [await worker.submit("", id=name) for name in ("earlier", "other")]
        results = [await run.result() for run in kept]

    assert values == ["run 1", 4 if change.startswith("a function") else 2, "run 3", "run 4"]
    assert calls.made[len(before) :] == [2, "run 3", "run 4"]
    assert results == [[[f"{name} {n}" for n in range(1, 5)]] for name in ("earlier", "other")]
