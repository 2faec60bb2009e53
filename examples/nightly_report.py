"""A report for each night: by the clock, over a restart, and for the night that was missed.

Nobody has to stay up: `ManualClock` lets days pass at once. A first worker serves three nights
and stops. The fourth passes with no worker up. The second worker over the same store submits
it first, since `missed="all"` says so, then serves the fifth in time. No night has two reports,
and each report knows which night it is about, however late it is made.

Run it:

    python examples/nightly_report.py

What you will see:

    worker 1 starts on Monday at 12:00
      Tuesday at 02:00: sales of 2026-11-23
      Wednesday at 02:00: sales of 2026-11-24
      Thursday at 02:00: sales of 2026-11-25
    worker 1 stopped, the last run is schedule:reports:nightly:2026-11-26T02:00:00+01:00
    worker 2 starts on Friday at 12:00
      Friday at 02:00: sales of 2026-11-26
      Saturday at 02:00: sales of 2026-11-27
    worker 2 stopped, the last run is schedule:reports:nightly:2026-11-28T02:00:00+01:00
"""

import asyncio
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import msgspec

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker
from durable_agents.testing import ManualClock

DAY = 86_400
BERLIN = ZoneInfo("Europe/Berlin")


class Night(msgspec.Struct, frozen=True):
    """What a report is about."""

    comes: datetime
    day: date


def night(moment: datetime) -> Night:
    """At two in the morning, the day that has just ended."""
    return Night(moment, (moment - timedelta(days=1)).date())


agent = Agent("reports", input=Night)
agent.schedule("0 2 * * *", night, name="nightly", zone="Europe/Berlin", missed="all", key="n")


async def sales_of(day: date) -> str:
    """Imagine a long query."""
    return f"sales of {day}"


@agent.action(InputEvent)
async def report(event: InputEvent[Night], ctx: RunnerContext) -> None:
    """Made once, whatever happens to the process meanwhile."""
    text = await ctx.durable(sales_of, event.input.day)
    ctx.output(f"{event.input.comes:%A at %H:%M}: {text}")


async def live(name: str, store: SqliteStore, clock: ManualClock, *, days: int) -> None:
    """One life of a worker, in which so many days pass at once; prints what it made."""
    print(f"{name} starts on {datetime.fromtimestamp(clock.now(), BERLIN):%A at %H:%M}")
    async with Worker(agent, store=store, clock=clock) as worker:
        await everything_due(clock)
        clock.advance(days * DAY)
        await everything_due(clock)
        await worker.drain()
        # The next morning is not waited for: the worker stops when the last report is read.
        today = datetime.fromtimestamp(clock.now(), BERLIN).date()
        async for output in worker.outputs("reader"):
            print(f"  {output.value}")
            await output.ack()
            if output.run_id.startswith(f"schedule:reports:nightly:{today}"):
                break
    print(f"{name} stopped, the last run is {output.run_id}")


async def everything_due(clock: ManualClock) -> None:
    """Wait until all inputs that are due have been submitted, and the worker waits again."""
    while not clock.sleeping_count:  # noqa: ASYNC110 - what it waits for tells nobody
        await asyncio.sleep(0)


async def main(folder: str) -> None:
    """Two workers, one after the other, and a night in between."""
    store = SqliteStore(Path(folder, "reports.db"))
    clock = ManualClock(datetime(2026, 11, 23, 12, tzinfo=BERLIN).timestamp())
    await live("worker 1", store, clock, days=3)
    clock.advance(DAY)
    await live("worker 2", store, clock, days=1)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
