"""LangGraph with its SQLite saver: `python langgraph_peer.py W2 --in-flight 100 --folder DIR`.

Functional API, `AsyncSqliteSaver`, durability "sync". That mode waits for the checkpoint
between steps of the graph; the result of a task inside an entrypoint is written in the
background, so its `await` returns before it is on disk.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from contest import STEPS, began, main
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.func import entrypoint, task


class LangGraph:
    """LangGraph in this process."""

    system = "LangGraph"
    version = version("langgraph")
    sync = (
        'durability="sync"; SQLite, journal_mode=WAL, synchronous=FULL (its defaults); '
        "a task's await returns before its result is on disk"
    )
    cannot: ClassVar[dict[str, str]] = {}
    includes = "checkpoints at start and end, one row of writes for each task"
    graph: Any = None

    @asynccontextmanager
    async def up(self, folder: Path, workload: str, _in_flight: int) -> AsyncGenerator[None]:
        """Open the saver and build the entrypoint around the workload's task."""
        step = task(STEPS[workload])
        async with AsyncSqliteSaver.from_conn_string(str(folder / "langgraph.sqlite")) as saver:

            @entrypoint(checkpointer=saver)
            async def sequence(order: tuple[int, int]) -> int:
                began()
                run, calls = order
                value = 0
                for _ in range(calls):
                    value = await step(run, value)
                return value

            self.graph = sequence
            yield

    async def execute(self, run: int, calls: int) -> int:
        """A thread whose id is the run's number."""
        return await self.graph.ainvoke((run, calls), thread(run), durability="sync")

    async def recover(self, runs: int, calls: int) -> None:
        """It has no list of its runs: the caller looks at each, and resumes or starts it."""

        async def see_to(run: int) -> None:
            state = await self.graph.aget_state(thread(run))
            if state.created_at is None:
                await self.execute(run, calls)
            elif state.next:
                await self.graph.ainvoke(None, thread(run), durability="sync")

        await asyncio.gather(*map(see_to, range(runs)))


def thread(run: int) -> dict[str, Any]:
    """Configuration of a run."""
    return {"configurable": {"thread_id": str(run)}}


if __name__ == "__main__":
    main(LangGraph())
