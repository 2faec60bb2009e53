"""DBOS Transact on SQLite: `python dbos_peer.py W2 --in-flight 100 --folder DIR`.

Workflows are called and awaited in the process that runs them, so nothing polls. DBOS leaves
SQLite's journal mode and `synchronous` as they are; the file is put into WAL mode before it is
opened, which gains a fifth to a half over the rollback journal.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from contest import STEPS, began, main
from dbos import DBOS, SetWorkflowID

POLL_SECONDS = 0.05
UNFINISHED = ["PENDING", "ENQUEUED", "DELAYED"]
steps = {name: DBOS.step(name=name)(step) for name, step in STEPS.items()}


@DBOS.workflow()
async def sequence(workload: str, run: int, calls: int) -> int:
    """So many steps, one after the other."""
    began()
    step, value = steps[workload], 0
    for _ in range(calls):
        value = await step(run, value)
    return value


class Dbos:
    """DBOS in this process."""

    system = "DBOS"
    version = version("dbos")
    sync = "SQLite, journal_mode=WAL (set by us), synchronous=FULL (its default)"
    cannot: ClassVar[dict[str, str]] = {}
    includes = "workflow status row, one row for each step, status update; nothing polls"
    workload = ""

    @asynccontextmanager
    async def up(self, folder: Path, workload: str, _in_flight: int) -> AsyncGenerator[None]:
        """Launch, which recovers pending workflows."""
        self.workload = workload
        file = folder / "dbos.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        DBOS(
            config={
                "name": "contest",
                "system_database_url": f"sqlite:///{file}",
                "log_level": "ERROR",
            }
        )
        DBOS.launch()
        yield
        await asyncio.to_thread(DBOS.destroy)

    async def execute(self, run: int, calls: int) -> int:
        """A workflow whose id is the run's number."""
        with SetWorkflowID(str(run)):
            return await sequence(self.workload, run, calls)

    async def recover(self, runs: int, calls: int) -> None:
        """What was pending is recovered by `launch`; what never began is started."""
        known = {s.workflow_id for s in await DBOS.list_workflows_async(limit=runs)}
        missing = set(map(str, range(runs))) - known
        await asyncio.gather(*(self.execute(int(run), calls) for run in missing))
        # It has no event for this.
        while await DBOS.list_workflows_async(status=UNFINISHED, limit=1):  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main(Dbos())
