"""The two-stage fan-out on DBOS Transact with SQLite; run it alone, in its own environment.

    python fan_out_dbos.py [--child-workflows] [--json]

DBOS numbers the steps of a workflow by one counter, in the order in which they start. Its
guide to async workflows allows concurrent steps that start in a fixed order, names sequences
of steps under one `gather` as not deterministic, and advises a child workflow for each; that
is the form of `--child-workflows`. Nothing at run time tells the two apart: the recorded name
of a step is compared on replay, its arguments are not.
"""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path

from dbos import DBOS, SetWorkflowID
from workload import BRANCHES, Answers, conduct, life, search, summarize

RUN = "fan-out"
search_step = DBOS.step()(search)
summarize_step = DBOS.step()(summarize)


async def branch(name: str) -> str:
    """Two steps in sequence."""
    return await summarize_step(await search_step(name))


branch_workflow = DBOS.workflow()(branch)


@DBOS.workflow()
async def fan_out() -> Answers:
    """Two branches of two steps, plainly gathered."""
    given = await asyncio.gather(*(branch(name) for name in BRANCHES))
    return dict(zip(BRANCHES, given, strict=True))


@DBOS.workflow()
async def fan_out_to_children() -> Answers:
    """Two branches, each a workflow of its own, started in a fixed order."""
    handles = [await DBOS.start_workflow_async(branch_workflow, name) for name in BRANCHES]
    given = [await handle.get_result() for handle in handles]
    return dict(zip(BRANCHES, given, strict=True))


async def live(folder: Path) -> Answers:
    """`launch` recovers what was pending."""
    DBOS(
        config={
            "name": "fan-out",
            "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    if life() == 1:
        workflow = fan_out_to_children if "--child-workflows" in sys.argv else fan_out
        with SetWorkflowID(RUN):
            await DBOS.start_workflow_async(workflow)
    handle = await DBOS.retrieve_workflow_async(RUN)
    answers = await handle.get_result()
    DBOS.destroy()
    return answers


if __name__ == "__main__":
    form = "DBOS, child workflows" if "--child-workflows" in sys.argv else "DBOS"
    conduct(form, version("dbos"), live)
