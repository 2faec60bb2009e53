"""The two-stage fan-out on durable_agents; run it alone, in an environment that has it.

    python fan_out_durable_agents.py [--json]

Each asyncio task of an action counts its own calls, so A's second call is A's second call
whenever it is made.
"""

import asyncio
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from workload import BRANCHES, Answers, conduct, search, summarize

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker

agent = Agent("fan-out", input=str)


@agent.action(InputEvent)
async def fan_out(_event: InputEvent[str], ctx: RunnerContext) -> None:
    """Two branches of two durable calls."""

    async def branch(name: str) -> str:
        found = await ctx.durable(search, name)
        return await ctx.durable(summarize, found)

    given = await asyncio.gather(*(branch(name) for name in BRANCHES))
    ctx.output(dict(zip(BRANCHES, given, strict=True)))


async def live(folder: Path) -> Answers:
    """The worker takes an unfinished run over as it starts; submit is idempotent by its id."""
    async with Worker(agent, store=SqliteStore(folder / "store.db")) as worker:
        run = await worker.submit("start", id="fan-out")
        (answers,) = await run.result()
    return answers


def our_version() -> str:
    """Of the installed package; a checkout on the path has none."""
    try:
        return version("durable-agents-asyncio")
    except PackageNotFoundError:
        return "checkout"


if __name__ == "__main__":
    conduct("durable_agents", our_version(), live)
