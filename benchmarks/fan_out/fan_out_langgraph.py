"""The two-stage fan-out on LangGraph's functional API; run it alone, in its own environment.

    python fan_out_langgraph.py [--json]

SQLite saver, durability "sync". The id of a task is made of its name and of one counter per
entrypoint, in the order of the calls. The guide to durable execution asks that an entrypoint
take the same sequence of steps when it is resumed, and offers futures and `gather` for tasks
in parallel; nothing at run time notices when the sequence was another.
"""

import asyncio
from importlib.metadata import version
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.func import entrypoint, task
from workload import BRANCHES, Answers, conduct, life, search, summarize

THREAD = {"configurable": {"thread_id": "fan-out"}}
search_task = task(search)
summarize_task = task(summarize)


async def branch(name: str) -> str:
    """Two tasks in sequence."""
    return await summarize_task(await search_task(name))


async def live(folder: Path) -> Answers:
    """Invoking a thread without an input resumes it."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "langgraph.sqlite")) as saver:

        @entrypoint(checkpointer=saver)
        async def fan_out(_topic: str) -> Answers:
            given = await asyncio.gather(*(branch(name) for name in BRANCHES))
            return dict(zip(BRANCHES, given, strict=True))

        topic = "start" if life() == 1 else None
        return await fan_out.ainvoke(topic, THREAD, durability="sync")


if __name__ == "__main__":
    conduct("LangGraph", version("langgraph"), live)
