"""Short-term memory over the runs of a key."""

import pytest

from durable_agents import InputEvent, RunnerContext, Store
from tests.worker._kit import agent_of, life


@pytest.mark.rows("ME-20")
async def test_a_counter_in_memory_adds_up_over_the_runs_of_its_key(store: Store) -> None:
    """Over a restart, too; other keys count for themselves."""

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        total = event.input + ctx.short_term_memory.get("total", 0)
        ctx.short_term_memory.set("total", total)
        ctx.output(total)

    agent = agent_of(act)
    totals: dict[str, list[int]] = {"a": [], "b": []}
    for values in ([1, 2], [3]):
        async with life(agent, store) as worker:
            runs = [await worker.submit(n, key=key) for n in values for key in "ab"]
            runs.append(await worker.submit(100, key="b"))
            for run in runs:
                [total] = await run.result()
                totals[run.key].append(total)

    assert totals == {"a": [1, 3, 6], "b": [1, 3, 103, 106, 206]}
