"""The agents whose journals are kept in this folder; never changed once these are recorded.

Together they write every type of entry and every form of payload. Durable functions note down
that they were executed, since what had settled must not be again.
"""

# ruff: noqa: ANN401 - outputs of any type

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from durable_agents import Agent, Event, InputEvent, RetryPolicy, RunnerContext, durable
from durable_agents.serialization import Codec

SECRET = b"of the golden journals"
MADE: list[str] = []
"""Durable functions that were executed in this process, in order."""
VERSION = [2]
"""Of the code: some agents did other things in version 1."""

Input = InputEvent[Any]
Context = RunnerContext


@dataclass(frozen=True)
class Receipt:
    """What only the typed form can hold."""

    order: int
    lines: tuple[str, ...]


class Opaque:
    """What only a pickle can hold."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)

    def __reduce__(self) -> tuple[Any, ...]:
        return Opaque, (self._number,)


class RefusedError(Exception):
    """A failure of a class of ours."""


class Scored(Event, tag="golden.scored"):
    """An event between two actions."""

    score: int


class Leaving(Event, tag="golden.leaving"):
    """An event whose class is not there for a while."""

    score: int


async def plain(number: int) -> dict[str, int]:
    """A plain value."""
    MADE.append("plain")
    return {"number": number}


async def typed(number: int) -> Receipt:
    """A typed value."""
    MADE.append("typed")
    return Receipt(number, ("a", "b"))


async def opaque(number: int) -> Opaque:
    """A pickled value."""
    MADE.append("opaque")
    return Opaque(number)


async def refuse(number: int) -> int:
    """A failure."""
    MADE.append("refuse")
    msg = f"no {number}"
    raise RefusedError(msg) from KeyError(number)


async def large(number: int) -> bytes:
    """A value that is kept as a blob, and compressed."""
    MADE.append("large")
    return bytes([number]) * 20_000


async def talk(messages: list[str]) -> list[str]:
    """A list that grows: a chain."""
    MADE.append("talk")
    return [*messages, f"{len(messages)} " + "word " * 30]


async def handed(number: int, promise: str) -> int:
    """It takes the id of a promise along."""
    MADE.append("handed")
    return number + len(promise)


def threaded(number: int) -> int:
    """A plain function."""
    MADE.append("threaded")
    return -number


@durable(name="guarded", reconciler=lambda: 7)
async def guarded(number: int) -> int:
    """A call that begins on record, and is looked up when in doubt."""
    MADE.append("guarded")
    return number


@durable(name="asked", on_interrupt="ask")
async def asked(number: int) -> int:
    """A call that a person decides about."""
    MADE.append("asked")
    return number


@durable(name="slip", retry=RetryPolicy(max_attempts=2, initial=0.0, jitter=0.0))
async def slip(number: int) -> int:
    """It fails at the first attempt."""
    MADE.append("slip")
    if MADE.count("slip") % 2:
        raise OSError(number)
    return number


async def never() -> None:
    """It is given up."""
    MADE.append("never")
    await asyncio.Event().wait()


async def forms(event: Input, ctx: Context) -> Scored:
    """Every form of payload, one call after the other, and memory of both kinds."""
    number = event.input
    ctx.short_term_memory["seen"] = ctx.short_term_memory.get("seen", 0, type=int) + 1
    ctx.sensory_memory["receipt"] = await ctx.durable(typed, number)
    found: list[Any] = [await ctx.durable(fn, number) for fn in (plain, opaque, large)]
    try:
        await ctx.durable(refuse, number)
    except RefusedError as error:
        found.append([str(error), repr(error.__cause__)])
    messages: list[str] = []
    for _ in range(20):
        messages = await ctx.durable(talk, messages)
    ctx.output([found[0], found[1], len(found[2]), found[3], len(messages)])
    return Scored(score=number)


async def after(event: Scored, ctx: Context) -> None:
    """The second action: what the first one remembered, and a thread."""
    memory = ctx.sensory_memory["receipt"], ctx.short_term_memory["seen"]
    ctx.output([*memory, await ctx.durable(threaded, event.score)])


async def branches(event: Input, ctx: Context) -> None:
    """Branches, a retry, guarded calls, and a call that is given up."""

    async def branch(number: int) -> int:
        return await ctx.durable(guarded, await ctx.durable(slip, number))

    both = await asyncio.gather(*(branch(event.input + n) for n in (0,)), ctx.durable(plain, 9))
    giving_up = asyncio.ensure_future(ctx.durable(never))
    await ctx.durable(plain, 1)
    giving_up.cancel()
    await asyncio.wait([giving_up])
    ctx.output([*both, await ctx.durable(plain, 2)])


async def fails(event: Input, ctx: Context) -> None:
    """A run that fails for good, at the second attempt of its action."""
    await ctx.durable(refuse, event.input)


async def asks(event: Input, ctx: Context) -> None:
    """A run that is parked when its call is in doubt."""
    ctx.output([await ctx.durable(plain, event.input), await ctx.durable(asked, event.input)])


async def cancelled(event: Input, ctx: Context) -> None:
    """A run that is told to stop, and cleans up."""
    await ctx.durable(plain, event.input)
    try:
        await ctx.durable(never)
    finally:
        await ctx.durable(plain, 0)


async def clears(event: Input, ctx: Context) -> None:
    """The code changed while the run was open."""
    number = event.input if VERSION[0] == 1 else event.input + 1
    found = await ctx.durable(plain, number)
    ctx.output([found, await ctx.durable(plain, 0)])


async def overtakes(event: Input, ctx: Context) -> None:
    """Two branches; in version 2 one waits for the other, which had settled later."""
    other_is_done = asyncio.Event()

    async def one() -> dict[str, int]:
        if VERSION[0] == 2:
            await other_is_done.wait()
        return await ctx.durable(plain, event.input)

    async def other() -> dict[str, int]:
        found = await ctx.durable(plain, event.input + 1)
        other_is_done.set()
        return found

    both = await asyncio.gather(one(), other())
    ctx.output([*both, await ctx.durable(plain, 0)])


async def waits(event: Input, ctx: Context) -> None:
    """A version, sleeps, timeouts that fire and that do not, and a signal."""
    version = ctx.version("golden", 1, 2)
    await ctx.sleep(0.001)
    await asyncio.gather(ctx.sleep(0.001), ctx.durable(plain, event.input))
    try:
        async with ctx.timeout(0.001):
            await ctx.durable(never)
    except TimeoutError:
        version += 10
    async with ctx.timeout(3600):
        found = await ctx.durable(plain, 2)
    sent = await ctx.wait_for_signal("go")
    ctx.output([version, found, sent, await ctx.durable(plain, 3)])


async def lacks(event: Input, ctx: Context) -> Leaving:
    """A call, and an event of the class that goes away."""
    return Leaving(score=(await ctx.durable(plain, event.input))["number"])


async def lacks_later(event: Leaving, ctx: Context) -> None:
    """What waits for the class."""
    ctx.output([await ctx.durable(plain, event.score), await ctx.durable(plain, 2)])


async def promises(event: Input, ctx: Context) -> None:
    """Promises: one that is kept, one that is failed, one that is not completed in time."""
    kept, failed, late = (ctx.promise() for _ in range(3))
    number = await ctx.durable(handed, event.input, kept.id)
    found: list[Any] = [number, await kept.result()]
    for promise, timeout in ((failed, None), (late, 0.0)):
        try:
            found.append(await promise.result(timeout=timeout))
        except (RefusedError, TimeoutError) as error:
            found.append(f"{type(error).__name__}: {error}")
    ctx.output([*found, await ctx.durable(plain, 3)])


def agent_of(name: str, body: Callable[..., Coroutine[Any, Any, Any]], **options: Any) -> Agent:
    """An agent with one action that is fired by its inputs."""
    agent = Agent(name)
    agent.add_action("act", InputEvent, body, **options)
    return agent


def lacks_agent() -> Agent:
    """The one that lacks a class for a while."""
    agent = agent_of("lacks", lacks)
    agent.add_action("later", Leaving, lacks_later)
    return agent


def forms_agent() -> Agent:
    """The one with two actions."""
    agent = agent_of("forms", forms)
    agent.add_action("after", Scored, after)
    return agent


AGENTS = {
    "forms": forms_agent(),
    "branches": agent_of("branches", branches),
    "fails": agent_of(
        "fails", fails, retry=RetryPolicy(max_attempts=2, initial=0.0, jitter=0.0)
    ),
    "asks": agent_of("asks", asks),
    "cancelled": agent_of("cancelled", cancelled),
    "clears": agent_of("clears", clears),
    "overtakes": agent_of("overtakes", overtakes),
    "waits": agent_of("waits", waits),
    "lacks": lacks_agent(),
    "promises": agent_of("promises", promises),
}
CODECS = {
    "plain": Codec(),
    "signed": Codec(pickle="signed", secret=SECRET),
}
