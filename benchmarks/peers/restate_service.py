"""The service that the Restate server calls; served by hypercorn, in processes of its own."""

import restate
from contest import STEPS, began

service = restate.Service("contest")


@service.handler()
async def sequence(ctx: restate.Context, order: dict) -> int:
    """So many steps, one after the other."""
    began()
    step, run, value = STEPS[order["workload"]], order["run"], 0
    for _ in range(order["calls"]):
        value = await ctx.run_typed("step", step, restate.RunOptions(), run, value)
    return value


app = restate.app([service])
