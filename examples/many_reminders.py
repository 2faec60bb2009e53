"""A thousand customers wait for a reminder in a week; memory holds ten of them.

Each run sleeps, on record, and leaves memory. One of the customers pays meanwhile: a signal
finds its run wherever it is. A `ManualClock` lets the week pass at once.

Run it:

    python examples/many_reminders.py

What you will see:

    day 0: 10 runs in memory, 990 in the store
    day 3: customer-500 paid, and is not reminded
    day 7: 999 reminded
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import (
    Agent,
    InputEvent,
    RunnerContext,
    SqliteStore,
    Worker,
    WorkerSettings,
    durable,
)
from durable_agents.testing import ManualClock

DAY = 86_400.0
CUSTOMERS, IN_MEMORY = 1_000, 10

reminded: list[str] = []
agent = Agent("reminders", input=str)


@durable(name="send")
async def send(customer: str) -> None:
    """Imagine an e-mail."""
    reminded.append(customer)


@agent.action(InputEvent)
async def remind(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Wait for the payment, for a week."""
    try:
        await ctx.wait_for_signal("paid", timeout=7 * DAY)
    except TimeoutError:
        await ctx.durable(send, event.input)
        ctx.output("reminded")
    else:
        ctx.output("paid, and is not reminded")


async def main(folder: str) -> None:
    """A week."""
    clock = ManualClock()
    settings = WorkerSettings(max_resident_runs=IN_MEMORY)
    store = SqliteStore(Path(folder, "reminders.db"))
    async with Worker(agent, store=store, settings=settings, clock=clock) as worker:
        names = [f"customer-{number}" for number in range(CUSTOMERS)]
        runs = await asyncio.gather(*(worker.submit(name, id=name) for name in names))
        while worker.statistics().evicted < CUSTOMERS - IN_MEMORY:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        now = worker.statistics()
        print(f"day 0: {now.running} runs in memory, {now.evicted} in the store")

        clock.advance(3 * DAY)
        await worker.signal("customer-500", "paid")
        print("day 3: customer-500", (await runs[500].result())[0])

        clock.advance(4 * DAY)
        await worker.drain()
        print(f"day 7: {len(reminded)} reminded")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(folder))
