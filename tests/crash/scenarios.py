"""Agents that race, wait and give up, each with a model of what it may decide.

Every value says where it came from: `second(a, first(a))`. So outputs show a swapped result,
and every decision: who arrived first, who won, what was given up. Latencies change with each
life of the process; a replay that raced anew would decide anew, and be caught.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn
from zlib import crc32

from durable_agents import Agent, InputEvent, RunnerContext, Worker
from tests.crash.witness import this_life, witnessed

Input = InputEvent[list[str]]
Context = RunnerContext

SHORT = 0.05
"""Seconds after which a call that hangs is given up."""
CLOSE = 0.2
"""Seconds after which a call that takes about as long is given up, if it is not in time."""
LONG = 3600.0


class RefusedError(Exception):
    """What a durable function raises, to be caught by its branch live and on replay."""


def spelt(function: str, *args: str) -> str:
    """The one value that a call of these functions can have."""
    return f"{function}({', '.join(args)})"


def chance(*of: object) -> int:
    """A number that differs from life to life, and is the same whenever asked in one."""
    return crc32(f"{this_life()} {of}".encode())


def latency(*of: object) -> float:
    """1 to 4 ms."""
    return 0.001 * (1 + chance(*of) % 4)


async def first(name: str) -> str:
    """The first stage of a branch."""
    with witnessed("first", name):
        await asyncio.sleep(latency(name))
    return spelt("first", name)


async def second(name: str, value: str) -> str:
    """The second stage, over the first one's result."""
    with witnessed("second", name, value):
        await asyncio.sleep(latency(name, value))
    return spelt("second", name, value)


def second_in_thread(name: str, value: str) -> str:
    """The second stage as a plain function."""
    with witnessed("second_in_thread", name, value):
        time.sleep(latency(name, value))
    return spelt("second_in_thread", name, value)


async def refuse(name: str, value: str) -> NoReturn:
    """A second stage that fails, for good and on record."""
    with witnessed("refuse", name, value):
        await asyncio.sleep(latency(name, value))
    raise RefusedError(spelt("refuse", name, value))


async def near_the_bound(name: str) -> str:
    """Takes about as long as it is given: now and then it is in time."""
    with witnessed("near_the_bound", name):
        await asyncio.sleep(CLOSE + 0.001 * (chance(name) % 7 - 3))
    return spelt("near_the_bound", name)


async def hang(name: str) -> str:
    """Takes longer than anybody waits."""
    with witnessed("hang", name):
        await asyncio.sleep(LONG)
    return spelt("hang", name)


async def two_stages(ctx: Context, name: str) -> str:
    """A branch of two calls; the third one of several fails, every other one is in a thread."""
    value = await ctx.durable(first, name)
    if name == "c":
        try:
            await ctx.durable(refuse, name, value)
        except RefusedError as error:
            return str(error)
    if name in "bd":
        return await ctx.durable(second_in_thread, name, value)
    return await ctx.durable(second, name, value)


async def fan_out_in_gather(event: Input, ctx: Context) -> None:
    """Branches of two calls each, under `gather`."""
    ctx.output(await asyncio.gather(*(two_stages(ctx, name) for name in event.input)))


async def fan_out_in_task_group(event: Input, ctx: Context) -> None:
    """The same under `TaskGroup`."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(two_stages(ctx, name)) for name in event.input]
    ctx.output([task.result() for task in tasks])


async def fan_out_of_fan_outs(event: Input, ctx: Context) -> None:
    """Branches that start branches of their own when they have come so far."""

    async def fan_out(name: str) -> list[str]:
        value = await ctx.durable(first, name)
        leaves = (two_stages(ctx, name + leaf) for leaf in "xy")
        return [value, *await asyncio.gather(*leaves)]

    ctx.output(await asyncio.gather(*(fan_out(name) for name in event.input)))


async def as_they_complete(event: Input, ctx: Context) -> None:
    """Results in the order of their arrival, each followed by a call while others run on."""
    calls = [ctx.durable(first, name) for name in event.input]
    seen = [await ctx.durable(second, "root", await one) for one in asyncio.as_completed(calls)]
    ctx.output(seen)


async def branches_as_they_complete(event: Input, ctx: Context) -> None:
    """The same over coroutines; asyncio makes tasks of them in the order of addresses."""
    parts = [first_of(ctx, name) for name in event.input]
    seen = [await ctx.durable(second, "root", await one) for one in asyncio.as_completed(parts)]
    ctx.output(seen)


async def first_of(ctx: Context, name: str) -> str:
    """A branch of one call."""
    return await ctx.durable(first, name)


async def losers_cancelled(event: Input, ctx: Context) -> None:
    """The first one wins, the others are cancelled, and a call follows."""
    tasks = [asyncio.create_task(first_of(ctx, name)) for name in event.input]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    won = [task.result() for task in tasks if task in done]
    ctx.output([won, await ctx.durable(second, "root", won[0])])


async def losers_kept(event: Input, ctx: Context) -> None:
    """The first one wins, a call follows, and the others are awaited after it."""
    tasks = [asyncio.create_task(two_stages(ctx, name)) for name in event.input]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    won = [task.result() for task in tasks if task in done]
    after = await ctx.durable(second, "root", won[0])
    ctx.output([won, after, await asyncio.gather(*tasks)])


async def queue_of_one_consumer(event: Input, ctx: Context) -> None:
    """Several producers, one consumer: items come in the order in which they were made."""
    ctx.output(await produce_and_consume(event.input, ["x"], ctx))


async def queue_of_two_consumers(event: Input, ctx: Context) -> None:
    """Several producers, two consumers: who takes an item depends on who is idle."""
    ctx.output(await produce_and_consume(event.input, ["x", "y"], ctx))


async def produce_and_consume(
    producers: list[str], consumers: list[str], ctx: Context
) -> list[list[str]]:
    """Items in the order in which they were taken, each with what its consumer made of it."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    taken: list[list[str]] = []

    async def produce(name: str) -> None:
        for number in "12":
            queue.put_nowait(await ctx.durable(first, name + number))

    async def consume(name: str) -> None:
        while (item := await queue.get()) is not None:
            entry = [item]
            taken.append(entry)
            entry.append(await ctx.durable(second, name, item))

    async with asyncio.TaskGroup() as group:
        for name in consumers:
            group.create_task(consume(name))
        async with asyncio.TaskGroup() as inner:
            for name in producers:
                inner.create_task(produce(name))
        for _ in consumers:
            queue.put_nowait(None)
    return taken


async def timeouts(event: Input, ctx: Context) -> None:
    """Slow calls given up by `timeout` and by `wait_for`, beside quick ones that are not."""
    ctx.output(
        await asyncio.gather(
            within(ctx, SHORT, hang, event.input[0]),
            waited_for(ctx, SHORT, hang, event.input[1]),
            within(ctx, LONG, first, event.input[2]),
            waited_for(ctx, LONG, first, event.input[3]),
        )
    )


async def close_timeouts(event: Input, ctx: Context) -> None:
    """Timeouts that fire just before, or just after, the call would have settled."""
    ctx.output(
        await asyncio.gather(
            within(ctx, CLOSE, near_the_bound, event.input[0]),
            waited_for(ctx, CLOSE, near_the_bound, event.input[1]),
            within(ctx, CLOSE, near_the_bound, event.input[2]),
        )
    )


async def naps(event: Input, ctx: Context) -> None:
    """Branches that sleep before each of their stages, for other times in each life."""

    async def branch(name: str) -> str:
        await ctx.sleep(latency(name))
        found = await two_stages(ctx, name)
        await ctx.sleep(latency(name, found))
        return found

    await ctx.sleep(SHORT)
    ctx.output(await asyncio.gather(*(branch(name) for name in event.input)))


async def promises(event: Input, ctx: Context) -> None:
    """Branches that begin something and wait for somebody else to finish it."""

    async def branch(name: str) -> str:
        promise = ctx.promise(str)
        begun = await ctx.durable(first, name)
        HANDED[name] = promise.id
        try:
            told = await promise.result()
        except RefusedError as error:
            told = str(error)
        return await ctx.durable(second, name, f"{begun}, {told}")

    ctx.output(await asyncio.gather(*(branch(name) for name in event.input)))


HANDED: dict[str, str] = {}
"""By name of a branch, the id that somebody else was handed in this life."""


async def finish(worker: Worker, names: str) -> None:
    """Finish what was begun, and fail every other; in each life, and twice in each."""

    async def finish_one(number: int, name: str) -> None:
        await asyncio.sleep(latency("finish", name))
        while name not in HANDED:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        told = spelt("told", name)
        for _ in range(2):
            if number % 2:
                await worker.complete(HANDED[name], error=RefusedError(told))
            else:
                await worker.complete(HANDED[name], told)

    await asyncio.gather(*(finish_one(*each) for each in enumerate(names)))


async def recorded_timeouts(event: Input, ctx: Context) -> None:
    """Slow calls given up by `ctx.timeout`, beside quick ones that are not."""
    given_up = (given_time(ctx, SHORT, hang, name) for name in event.input[:2])
    in_time = (given_time(ctx, LONG, first, name) for name in event.input[2:])
    ctx.output(await asyncio.gather(*given_up, *in_time))


async def recorded_close_timeouts(event: Input, ctx: Context) -> None:
    """The same where the call would have settled just before, or just after."""
    slow = (given_time(ctx, CLOSE, near_the_bound, name) for name in event.input)
    ctx.output(await asyncio.gather(*slow))


Slow = Callable[[str], Coroutine[Any, Any, str]]


async def within(ctx: Context, seconds: float, slow: Slow, name: str) -> str:
    """A slow call under `timeout`, or a fallback; then one more call over the result."""
    try:
        async with asyncio.timeout(seconds):
            value = await ctx.durable(slow, name)
    except TimeoutError:
        value = await ctx.durable(first, f"not {name}")
    return await ctx.durable(second, name, value)


async def given_time(ctx: Context, seconds: float, slow: Slow, name: str) -> str:
    """The same by `ctx.timeout`."""
    try:
        async with ctx.timeout(seconds):
            value = await ctx.durable(slow, name)
    except TimeoutError:
        value = await ctx.durable(first, f"not {name}")
    return await ctx.durable(second, name, value)


async def waited_for(ctx: Context, seconds: float, slow: Slow, name: str) -> str:
    """The same by `wait_for`."""
    try:
        value = await asyncio.wait_for(ctx.durable(slow, name), seconds)
    except TimeoutError:
        value = await ctx.durable(first, f"not {name}")
    return await ctx.durable(second, name, value)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is on record of the calls that the decisions of a scenario hang on."""

    settled: list[str]
    """Their values, in the order in which they settled."""
    at_first: set[str]
    """Those that settled in the first transaction: they arrive at once."""
    given_up: set[str]
    """Those that the action had given up before they reached it."""


Model = Callable[[list[str], Facts], object]
"""What an agent puts out, given its input and the facts."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """An agent, its input, and what its outputs must be."""

    action: Callable[[Input, Context], Coroutine[Any, Any, None]]
    names: str
    """The input: one name per letter."""
    deciding: tuple[str, ...]
    """The functions whose calls the decisions hang on."""
    model: Model
    shown: Callable[[Any], object] = lambda output: output
    """The part of the output that the model speaks of."""
    is_timed: bool = False
    """Whether the time decides. A decision whose record is not safe when the kill comes is made
    anew, perhaps another one, and another call in that place follows from it."""

    meanwhile: Callable[[Worker, str], Coroutine[Any, Any, None]] | None = None
    """What somebody outside does in each life, given the names."""

    @property
    def name(self) -> str:
        """The action's."""
        return f"{self.action.__name__}_{len(self.names)}"

    def agent(self) -> Agent:
        """The agent, under the scenario's name."""
        return Agent(self.name, input=list[str]).add_action("decide", InputEvent, self.action)


def branches(names: list[str], _: Facts) -> object:
    """Whatever came first, a branch has its own results."""
    return [last_stage(name) for name in names]


def told_to_branches(names: list[str], _: Facts) -> object:
    """Whoever finished first, and in whichever life, a branch is told its own."""
    return [
        spelt("second", name, f"{spelt('first', name)}, {spelt('told', name)}")
        for name in names
    ]


def branches_of_branches(names: list[str], _: Facts) -> object:
    """The same, one level further down."""
    return [
        [spelt("first", name), *(last_stage(name + leaf) for leaf in "xy")] for name in names
    ]


def last_stage(name: str) -> str:
    """The end of `two_stages`."""
    function = {"b": "second_in_thread", "c": "refuse", "d": "second_in_thread"}
    return spelt(function.get(name, "second"), name, spelt("first", name))


def arrivals(_: list[str], facts: Facts) -> object:
    """The order of the results is the order in which they were settled."""
    return [spelt("second", "root", value) for value in facts.settled]


def winner(names: list[str], facts: Facts) -> object:
    """Those that settled first, and nobody else."""
    won = [value for name in names if (value := spelt("first", name)) in facts.at_first]
    return [won, spelt("second", "root", won[0])]


def winner_and_all(names: list[str], facts: Facts) -> object:
    """Those that settled first won; the others arrived."""
    values = [last_stage(name) for name in names]
    won = [value for value in values if value in facts.at_first]
    return [won, spelt("second", "root", won[0]), values]


def order_of_items(_: list[str], facts: Facts) -> object:
    """Items are taken in the order in which they were made."""
    return facts.settled


def given_up(names: list[str], _: Facts) -> object:
    """The first two have to fall back, the others do not."""
    values = [spelt("first", f"not {name}") for name in names[:2]]
    values += [spelt("first", name) for name in names[2:]]
    return [spelt("second", *pair) for pair in zip(names, values, strict=True)]


def given_up_or_not(names: list[str], facts: Facts) -> object:
    """What settled was used, what did not, or too late, was replaced."""
    used = set(facts.settled) - facts.given_up
    in_time = {name: spelt("near_the_bound", name) for name in names}
    values = [
        in_time[name] if in_time[name] in used else spelt("first", f"not {name}")
        for name in names
    ]
    return [spelt("second", *pair) for pair in zip(names, values, strict=True)]


def items(output: Iterable[list[str]]) -> list[str]:
    """What was taken, whoever took it."""
    return [item for item, _ in output]


SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario(fan_out_in_gather, "ab", ("first",), branches),
        Scenario(fan_out_in_gather, "abcde", ("first",), branches),
        Scenario(fan_out_in_task_group, "ab", ("first",), branches),
        Scenario(fan_out_in_task_group, "abcde", ("first",), branches),
        Scenario(fan_out_of_fan_outs, "abc", ("first",), branches_of_branches),
        Scenario(as_they_complete, "abcd", ("first",), arrivals),
        Scenario(branches_as_they_complete, "abcd", ("first",), arrivals),
        Scenario(losers_cancelled, "abc", ("first",), winner),
        Scenario(losers_kept, "abd", ("second", "second_in_thread"), winner_and_all),
        Scenario(queue_of_one_consumer, "abc", ("first",), order_of_items, items),
        Scenario(queue_of_two_consumers, "abc", ("first",), order_of_items, items),
        Scenario(timeouts, "abcd", ("first",), given_up),
        Scenario(naps, "abc", ("first",), branches),
        Scenario(promises, "ab", ("first",), told_to_branches, meanwhile=finish),
        Scenario(recorded_timeouts, "abcd", ("first",), given_up),
        Scenario(
            recorded_close_timeouts, "ab", ("near_the_bound",), given_up_or_not, is_timed=True
        ),
        Scenario(close_timeouts, "abc", ("near_the_bound",), given_up_or_not, is_timed=True),
    ]
}
