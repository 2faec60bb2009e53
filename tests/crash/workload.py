"""A thousand runs on fifty keys, worked on by a process that is killed at any moment.

Each input causes a chain of two actions. The first one makes two calls at once, one of them in
a thread, and counts the runs of its key in short-term memory; the second one makes nine to
eleven more, one after the other. Every value says where it came from.

So many that a process gets somewhere before it is killed: a run whose first call is hit five
times in a row is given up, as it should be (`recovery`), and with 20 calls to a process instead
of 60 that came about by chance in one round of 200 kills out of three.
"""

import asyncio
import faulthandler
import os
import time
from collections.abc import Iterable
from pathlib import Path

from durable_agents import (
    Agent,
    Event,
    InputEvent,
    RunnerContext,
    SqliteStore,
    Worker,
    WorkerSettings,
)
from tests.crash import witness
from tests.crash.child import LONGEST_LIFE, loop_factory
from tests.crash.scenarios import latency, spelt
from tests.crash.witness import witnessed

STORE = "store.db"
ACKNOWLEDGED = "acknowledged.txt"
WITNESS = "witness.jsonl"
WHOLE = " acknowledged"
"""Ends a line of the log; a kill may leave a piece of one."""

KEYS = 50
JOINS = 9
"""Calls of the second action, at least."""
OUTSTANDING = 100
"""Inputs submitted and not done, at most: kills hit submissions all the way through."""


class Gathered(Event):
    """The first action is done."""

    number: int
    parts: list[str]


async def fetch(name: str) -> str:
    """An asynchronous call."""
    with witnessed("fetch", name):
        await asyncio.sleep(latency(name))
    return spelt("fetch", name)


def fetch_in_thread(name: str) -> str:
    """The same as a plain function."""
    with witnessed("fetch_in_thread", name):
        time.sleep(latency(name))
    return spelt("fetch_in_thread", name)


async def join(left: str, right: str) -> str:
    """A call over the results of others."""
    with witnessed("join", left, right):
        await asyncio.sleep(latency(left, right))
    return spelt("join", left, right)


agent = Agent("workload", input=int)


@agent.action(InputEvent)
async def gather_parts(event: InputEvent[int], ctx: RunnerContext) -> Gathered:
    """Two calls at once; one more run of this key."""
    name = str(event.input)
    parts = await asyncio.gather(ctx.durable(fetch, name), ctx.durable(fetch_in_thread, name))
    ctx.short_term_memory.set("runs", 1 + ctx.short_term_memory.get("runs", 0, type=int))
    return Gathered(number=event.input, parts=list(parts))


@agent.action(Gathered)
async def join_parts(event: Gathered, ctx: RunnerContext) -> None:
    """A chain of calls, one after the other; the run's place among those of its key."""
    value = event.parts[0]
    for _ in range(joins_of(event.number)):
        value = await ctx.durable(join, value, event.parts[1])
    ctx.output([event.number, ctx.short_term_memory.get("runs", type=int), value])


def key_of(number: int) -> str:
    """Key of an input."""
    return f"key-{number % KEYS}"


def id_of(number: int) -> str:
    """Id of the run that an input causes."""
    return f"run-{number}"


def calls_of(number: int) -> int:
    """How many durable calls an input causes."""
    return 2 + joins_of(number)


def joins_of(number: int) -> int:
    """How many of them the second action makes."""
    return JOINS + number % 3


def expected_output(number: int) -> list[object]:
    """What an input has to lead to, whatever happens to the process."""
    value, other = spelt("fetch", str(number)), spelt("fetch_in_thread", str(number))
    for _ in range(joins_of(number)):
        value = spelt("join", value, other)
    return [number, 1 + number // KEYS, value]


def acknowledged_in(folder: Path) -> list[str]:
    """Ids of the runs whose submitters were told that they were accepted."""
    lines = (folder / ACKNOWLEDGED).read_text().splitlines()
    return [line.removesuffix(WHOLE) for line in lines if line.endswith(WHOLE)]


async def work(store: Path, log: int, numbers: Iterable[int]) -> None:
    """Submit inputs in order, keep a log of what was acknowledged, and see all of it done.

    Args:
        store: The store's file.
        log: Descriptor of the log.
        numbers: The inputs.
    """
    places = asyncio.Semaphore(OUTSTANDING)

    async def submit(number: int) -> None:
        try:
            run = await worker.submit(number, key=key_of(number), id=id_of(number))
            os.write(log, f"\n{run.id}{WHOLE}\n".encode())
            await run.result()
        finally:
            places.release()

    settings = WorkerSettings(shutdown_grace_seconds=1.0)
    async with Worker(agent, store=SqliteStore(store), settings=settings) as worker:
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                await places.acquire()
                group.create_task(submit(number))
        await worker.drain()


def main(folder: str, runs: str, loop: str, life: str) -> None:
    """Be one of the processes that work on it.

    Args:
        folder: Where everything is kept.
        runs: How many inputs there are.
        loop: The kind of event loop.
        life: How many processes came before.
    """
    os.environ[witness.FILE] = str(Path(folder, WITNESS))
    os.environ[witness.LIFE] = life
    faulthandler.dump_traceback_later(LONGEST_LIFE, exit=True)
    log = os.open(Path(folder, ACKNOWLEDGED), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    known = set(acknowledged_in(Path(folder)))
    numbers = [number for number in range(int(runs)) if id_of(number) not in known]
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(work(Path(folder, STORE), log, numbers))
