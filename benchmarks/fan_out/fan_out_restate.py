"""The two-stage fan-out on Restate; run it alone, in its own environment.

    python fan_out_restate.py [--json]

Restate's guide to concurrent tasks starts calls without awaiting them and joins their futures
by `restate.gather`, which takes futures of the SDK and no coroutines; two branches of two calls
are not among its forms. Written as plain asyncio, they run. Entries of the journal are numbered
in the order in which they are made; names are compared on replay, results go by number.
"""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path

import restate
from workload import BRANCHES, Answers, conduct, search, summarize

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "peers"))

from restate_peer import restate_up, server_version  # noqa: E402 - found only now

service = restate.Service("fan_out")


@service.handler()
async def fan_out(ctx: restate.Context, _topic: str) -> Answers:
    """Two branches of two durable calls."""

    async def branch(name: str) -> str:
        found = await ctx.run_typed("search", search, restate.RunOptions(), name)
        return await ctx.run_typed("summarize", summarize, restate.RunOptions(), found)

    given = await asyncio.gather(*(branch(name) for name in BRANCHES))
    return dict(zip(BRANCHES, given, strict=True))


app = restate.app([service])


async def live(folder: Path) -> Answers:
    """The server goes on by itself; a second request of the same key attaches to the first."""
    headers = {"idempotency-key": "fan-out"}
    async with restate_up(folder, "fan_out_restate:app", HERE) as client:
        request = client.post("/fan_out/fan_out", json="start", headers=headers)
        async with request as answer:
            return await answer.json()


if __name__ == "__main__":
    versions = f"server {server_version()}, SDK {version('restate-sdk')}"
    conduct("Restate", versions, live)
