"""The package as its users see it: both checkers must accept every line and infer these types.

Nothing here runs; `nox -s types` reads it.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, assert_type

from durable_agents import (
    AdaptiveLimit,
    Agent,
    Event,
    InMemoryStore,
    InputEvent,
    Output,
    OutputEvent,
    Promise,
    RetryPolicy,
    Run,
    RunnerContext,
    SqliteStore,
    Worker,
    WorkerSettings,
    action,
    current_call,
    durable,
    run_agent,
)


@dataclass
class Order:
    """What comes in."""

    number: int


@dataclass
class Receipt:
    """What a charge gives."""

    total: float


class Charged(Event):
    """An event of our own."""

    receipt: Receipt


def lookup(order: Order) -> Receipt:
    """A reconciler."""
    return Receipt(order.number)


@durable(
    name="charge-card",
    retry=RetryPolicy(max_attempts=3),
    timeout=30.0,
    reconciler=lookup,
    on_interrupt="rerun",
    limit="payments",
)
async def charge(order: Order, *, currency: str = "EUR") -> Receipt:
    """Declared with every option."""
    assert_type(current_call().idempotency_key, str)
    assert_type(current_call().attempt, int)
    return Receipt(order.number * len(currency))


@durable()
def weigh(order: Order) -> int:
    """Declared without options, and not a coroutine."""
    return order.number


async def fetch(url: str) -> bytes:
    """Not declared at all."""
    return url.encode()


agent = Agent("shop", input=Order)


@agent.action(InputEvent)
async def pay(event: InputEvent[Order], ctx: RunnerContext) -> Charged:
    """An action in function style that returns its event."""
    receipt = await ctx.durable(charge, event.input, currency="USD")
    assert_type(receipt, Receipt)
    assert_type(await ctx.durable(weigh, event.input), int)
    assert_type(await ctx.options(timeout=5.0, name="probe").durable(fetch, "x"), bytes)
    assert_type(ctx.version("two-quotes", 1, 2), int)
    promise = ctx.promise(Receipt)
    assert_type((promise, promise.id), tuple[Promise[Receipt], str])
    assert_type(await ctx.promise(type=int).result(timeout=1.0), int)
    paid = await asyncio.gather(promise.result(), ctx.promise(Receipt).result())
    assert_type(paid, tuple[Receipt, Receipt])
    assert_type(await ctx.promise().result(), Any)
    two = await asyncio.gather(ctx.durable(weigh, event.input), ctx.durable(weigh, event.input))
    assert_type(two, tuple[int, int])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ctx.durable(fetch, "x"))
    assert_type(task.result(), bytes)
    return Charged(receipt=receipt)


@agent.action(Charged, when=lambda event: event.receipt.total > 0)
async def report(event: Charged, ctx: RunnerContext) -> None:
    """A predicate gets the event with its type."""
    ctx.short_term_memory.set("orders.last", event.receipt.total)
    assert_type(ctx.short_term_memory.get("orders.last", 0.0, float), float)
    ctx.send(OutputEvent(output=event.receipt))


@agent.action("review.scored")
def tally(event: Event, ctx: RunnerContext) -> None:
    """A plain function, fired by a type name, in a thread of its own."""
    assert_type(ctx.durable_sync(weigh, Order(1)), int)
    assert_type(ctx.durable_sync(fetch, event.type_name()), bytes)


class Shop(Agent):
    """The same, as a class."""

    @action(InputEvent)
    async def pay(self, event: InputEvent[Order], ctx: RunnerContext) -> None:
        """An action in class style."""
        ctx.output(await ctx.durable(charge, event.input))


async def main() -> None:
    """How a program runs its agents."""
    overloads = AdaptiveLimit(backs_off_on=lambda error: "429" in str(error))
    fixed = {"payments": 4}
    WorkerSettings(limits=fixed)
    settings = WorkerSettings(
        max_concurrent_runs=10,
        limits={**fixed, "llm": overloads, "mail": AdaptiveLimit(backs_off_on=(OSError,))},
    )
    async with Worker(agent, store=SqliteStore("agents.db"), settings=settings) as worker:
        run = await worker.submit(Order(7), key="order-7", id="once")
        for output in await run.result():
            print(output)
    async with Worker(agent, store=InMemoryStore()):
        pass


async def steer() -> None:
    """Verbs about runs, and the streams of a worker."""
    async with Worker(agent, store=InMemoryStore()) as worker:
        await worker.cancel("order-7", "by hand")
        await worker.retry("order-7", repeat_failed=True)
        await worker.resolve("order-7", "0:pay:root:0", value=None)
        await worker.resolve("order-7", error=ValueError("declined"))
        assert_type(await worker.fork("order-7", "0:pay:root:0", value=None), Run)
        assert_type(await worker.fork("order-7", at="0:pay:root:0", error="no", id="x"), Run)
        assert_type(await worker.complete("promise-a-x", Receipt(1.0)), bool)
        assert_type(await worker.complete("promise-a-x", error="declined"), bool)
        await worker.complete("promise-a-x", error=ValueError("declined"))
        await worker.pause("order-7", reason="closed")
        assert_type(await worker.resume("order-7"), bool)
        assert_type(await worker.prune(older_than=60.0, keep=10), int)
        async for output in worker.outputs("report"):
            assert_type(output, Output[Any])
            await output.ack()
        async for output in worker.process([Order(1)], key=lambda order: str(order.number)):
            assert_type(output.position, int)


def run_it() -> None:
    """For scripts."""
    assert_type(agent.fingerprint, str)
    assert_type(run_agent(agent, [Order(1)], store=SqliteStore("agents.db")), list[Any])
