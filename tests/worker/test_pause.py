"""Pauses: no further run starts, of one key or at all, until a person says so."""

import asyncio
from pathlib import Path

import pytest

from durable_agents import InMemoryStore, InputEvent, RunnerContext, SqliteStore, Store
from durable_agents.clock import SystemClock
from durable_agents.store import Pause
from tests.worker._kit import Gate, agent_of, life


class Scene:
    """An action that notes down its inputs, and waits at a gate where the input is 0."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.gate = Gate()
        self.agent = agent_of(self.act)

    async def act(self, event: InputEvent[int], ctx: RunnerContext) -> None:  # noqa: ARG002 - actions take it
        self.seen.append(event.input)
        if event.input == 0:
            await self.gate.wait()


async def test_no_further_run_of_a_paused_key_starts(store: Store) -> None:
    """What is under way goes on, other keys do, and inputs are accepted."""
    scene = Scene()
    async with life(scene.agent, store) as worker:
        running = await worker.submit(0, key="k")
        await scene.gate.reached.wait()
        await worker.pause("k", reason="the shop is closed")
        held = await worker.submit(1, key="k")
        await (await worker.submit(2, key="other")).wait()
        scene.gate.open()
        await running.wait()
        await worker.drain()
        assert [0, 2] == scene.seen

        assert await worker.resume("k")
        await held.wait()
        assert not await worker.resume("k")
    assert [0, 2, 1] == scene.seen


async def test_a_pause_of_all_keys_holds_over_a_restart(store: Store) -> None:
    """A key that is paused itself stays so when the others go on."""
    scene = Scene()
    async with life(scene.agent, store) as worker:
        await worker.pause()
        await worker.pause("k")
        await worker.submit(1, key="k")
        await worker.submit(2, key="other")
        await worker.drain()
    async with life(scene.agent, store) as worker:
        await worker.drain()
        assert [] == scene.seen
        await worker.resume()
        await worker.drain()
        assert [2] == scene.seen
        await worker.resume("k")
        await worker.drain()
    assert [2, 1] == scene.seen


async def test_a_pause_of_another_agent_holds_nobody_here(memory: InMemoryStore) -> None:
    """A store may hold the runs of several."""
    scene = Scene()
    async with life(scene.agent, memory) as worker:
        await worker.pause_agent("other", None, "closed")
        await worker.submit(1)
        await worker.drain()
        assert [1] == scene.seen
        assert [("other", None)] == [(p.agent, p.key) for p in await memory.pauses()]
        assert await worker.resume_agent("other", None)
        assert [] == await memory.pauses()


@pytest.mark.parametrize(
    ("key", "reason", "error"),
    [(7, "", TypeError), ("\ud800", "", ValueError), ("k", "\ud800", ValueError)],
    ids=["no text", "no UTF-8", "reason"],
)
async def test_what_no_store_could_keep_is_refused(
    memory: InMemoryStore, key: str, reason: str, error: type[Exception]
) -> None:
    """Before anything is paused."""
    scene = Scene()
    async with life(scene.agent, memory) as worker:
        with pytest.raises(error):
            await worker.pause(key, reason=reason)
        assert [] == await memory.pauses()
        await worker.submit(1)
        await worker.drain()
    assert [1] == scene.seen


@pytest.mark.parametrize("key", [None, "k"])
async def test_workers_that_share_a_store_start_nothing_that_is_paused(
    tmp_path: Path, key: str | None
) -> None:
    """Whichever of them was told, or somebody beside them; then one of them goes on."""
    scene = Scene()
    here, there, beside = (SqliteStore(tmp_path / "a.db", shared=True) for _ in range(3))
    agent, clock = scene.agent, SystemClock()
    async with life(agent, here, clock=clock) as one, life(agent, there, clock=clock) as two:
        await one.pause(key)
        held = await two.submit(1, key="k")
        free = await one.submit(2, key="other")
        if key is not None:
            await free.wait()
        await asyncio.gather(one.drain(), two.drain())
        assert ([] if key is None else [2]) == scene.seen

        await beside.open("a person")
        assert [Pause("tested", key, "paused by a person", 0.0)] == [
            Pause(p.agent, p.key, p.reason, 0.0) for p in await beside.pauses()
        ]
        assert await beside.resume("tested", key)
        await beside.close()
        await held.wait()
        await free.wait()
    assert [1, 2] == sorted(scene.seen)
