"""Change the code of runs that are under way: ask what would happen, guard the change, go on.

An order is priced, then waits for its payment. Meanwhile the code is changed: the price is now
another call. `replay --check` tells that the order would not repeat its record. Guarded by
`ctx.version` the change is safe: the order keeps its price, a later one gets the new one.

Run it:

    python examples/upgrade_in_flight.py

What you will see:

    release 1: order-1 waits
    release 2, unguarded: diverges
      recorded price('tea') at root:0, now price_with_discount('tea')
      the code of action 'sell' changed since this run began it
    release 2, guarded: safe
    release 2: order-1 paid 10, order-2 paid 9
    called: price('tea'), price_with_discount('nut')
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, durable

called: list[str] = []
priced = asyncio.Event()


@durable(name="price")
async def price(product: str) -> int:
    """Imagine a service."""
    called.append(f"price({product!r})")
    return 10


@durable(name="price_with_discount")
async def price_with_discount(product: str) -> int:
    """Imagine another one."""
    called.append(f"price_with_discount({product!r})")
    return 9


async def pay(ctx: RunnerContext, amount: int) -> None:
    """The rest, the same in every release."""
    priced.set()
    await ctx.wait_for_signal("payment")
    ctx.output(f"{ctx.run_id} paid {amount}")


# In your repository these are one function, at three commits.
async def sell_1(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Release 1."""
    await pay(ctx, await ctx.durable(price, event.input))


async def sell_2(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Release 2, as if no run were under way."""
    await pay(ctx, await ctx.durable(price_with_discount, event.input))


async def sell_2_guarded(event: InputEvent[str], ctx: RunnerContext) -> None:
    """Release 2: a run that was priced before stays with its price."""
    price_now = price if ctx.version("discounts", 1, 2) == 1 else price_with_discount
    await pay(ctx, await ctx.durable(price_now, event.input))


release_1, unguarded, guarded = (Agent("shop", input=str) for _ in range(3))
release_1.add_action("sell", InputEvent, sell_1)
unguarded.add_action("sell", InputEvent, sell_2)
guarded.add_action("sell", InputEvent, sell_2_guarded)


def check(name: str, store: Path) -> None:
    """What a person types before the new release takes over."""
    words = ["replay", "--check", f"{__file__}:{name}", "--json", "--quiet", f"--store={store}"]
    command = [sys.executable, "-m", "durable_agents", *words]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    (run,) = json.loads(done.stdout)["runs"]
    print(f"release 2, {name}: {run['safety']}")
    for action in run["actions"]:
        if action["difference"] is not None:
            print("  " + action["difference"].partition("calls: ")[2].replace("; ", "\n  "))


async def live_1(store: Path) -> None:
    """The old release accepts an order, and is stopped while it waits."""
    async with Worker(release_1, store=SqliteStore(store)) as worker:
        await worker.submit("tea", id="order-1")
        await priced.wait()
        print("release 1: order-1 waits")


async def live_2(store: Path) -> None:
    """The new one takes over, and accepts another order."""
    async with Worker(guarded, store=SqliteStore(store)) as worker:
        orders = {"order-1": "tea", "order-2": "nut"}
        runs = [await worker.submit(product, id=name) for name, product in orders.items()]
        for run in runs:
            await worker.signal(run.id, "payment")
        print("release 2:", ", ".join([(await run.result())[0] for run in runs]))


def main(folder: str) -> None:
    """Both releases over one store."""
    asyncio.run(live_1(store := Path(folder, "shop.db")))
    for name in ("unguarded", "guarded"):
        check(name, store)
    asyncio.run(live_2(store))
    print("called:", ", ".join(called))


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(folder)
