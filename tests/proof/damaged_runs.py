"""A small store with runs in every state, and what each of them must come to, or be refused."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_agents import (
    Agent,
    DurableAgentsError,
    InputEvent,
    Run,
    RunnerContext,
    RunParkedError,
    SqliteStore,
    StoreError,
    Worker,
    WorkerSettings,
    durable,
)

__all__ = ["COMPLETED", "PARKED", "UNFINISHED", "Found", "expected", "look", "make"]

COMPLETED, PARKED, UNFINISHED = range(8), range(8, 10), range(10, 14)
_ALL = [*COMPLETED, *PARKED, *UNFINISHED]
_SETTINGS = WorkerSettings(shutdown_grace_seconds=0, store_retry_seconds=0.01)
_PATIENCE = 5.0


class _Stage:
    """What is different when the store is made: some calls do not end, and all are noted."""

    def __init__(self) -> None:
        self.is_making = False
        self.waiting = 0
        self.all_wait = asyncio.Event()
        self.made: list[str] = []

    async def hang(self) -> None:
        """Wait for the end of the process, as far as the store is concerned."""
        self.waiting += 1
        if self.waiting == len(PARKED) + len(UNFINISHED):
            self.all_wait.set()
        await asyncio.Event().wait()


_stage = _Stage()


@dataclass
class Report:
    """A typed value."""

    number: int
    pages: tuple[str, ...]


async def write(number: int) -> Report:
    """A call that settles."""
    _stage.made.append(f"write {number}")
    return Report(number, ("first", "second", "word " * 300 * (number % 3)))


async def extend(pages: list[str]) -> list[str]:
    """A list that grows."""
    _stage.made.append(f"extend {pages[0]}")
    return [*pages, "page " * 40]


@durable(name="post", on_interrupt="ask")
async def post(number: int) -> str:
    """A call that is in doubt when the store has been made."""
    if _stage.is_making and number in PARKED:
        await _stage.hang()
    return f"posted {number}"


async def wait(number: int) -> str:
    """A call that is made again when the store has been made."""
    if _stage.is_making and number in UNFINISHED:
        await _stage.hang()
    return f"waited {number}"


agent = Agent("damaged", input=int)


@agent.action(InputEvent)
async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
    """Calls of all kinds, large values and memory."""
    number = event.input
    report = await ctx.durable(write, number)
    pages = [f"title of {number}"]
    for _ in range(6):
        pages = await ctx.durable(extend, pages)
    posted, waited = await ctx.durable(post, number), await ctx.durable(wait, number)
    ctx.short_term_memory.set("count", 1 + ctx.short_term_memory.get("count", 0, type=int))
    ctx.output([number, report.number, len("".join(report.pages)), len(pages)])
    ctx.output([posted, waited])


def id_of(number: int) -> str:
    """Id of the run of an input."""
    return f"run-{number}"


def expected(number: int) -> list[Any]:
    """What a run has to put out."""
    size = len("firstsecond") + len("word ") * 300 * (number % 3)
    return [[number, number, size, 7], [f"posted {number}", f"waited {number}"]]


async def _submit(worker: Worker, number: int) -> Run:
    return await worker.submit(number, key=f"key-{number}", id=id_of(number))


async def make(path: Path) -> None:
    """Make the store; it is left as by a worker that was stopped."""
    _stage.is_making = True
    _stage.waiting = 0
    _stage.all_wait = asyncio.Event()
    try:
        async with Worker(agent, store=SqliteStore(path), settings=_SETTINGS) as worker:
            runs = [await _submit(worker, number) for number in _ALL]
            for number in COMPLETED:
                await runs[number].result()
            await _stage.all_wait.wait()
        # The next one parks what is in doubt.
        async with Worker(agent, store=SqliteStore(path), settings=_SETTINGS) as worker:
            for number in PARKED:
                with suppress(RunParkedError):
                    await (await _submit(worker, number)).result()
    finally:
        _stage.is_making = False


@dataclass(slots=True)
class Found:
    """What a worker makes of a store, damaged or not."""

    refused: str
    """Why it did not open; empty where it did."""
    results: dict[int, Any]
    """Outputs of each run, or the error that its user got."""
    again: list[str]
    """Calls that were made although they had settled."""


async def look(path: Path) -> Found:
    """Have a worker take up a store, and ask it for every run.

    Raises:
        Exception: Of whatever class; one that is none of ours is a bug.
    """
    _stage.made.clear()
    results: dict[int, Any] = {}
    try:
        async with (
            asyncio.timeout(_PATIENCE),
            Worker(agent, store=SqliteStore(path), settings=_SETTINGS) as worker,
        ):
            for number in _ALL:
                results[number] = await _ask(worker, number)
    except StoreError as error:
        return Found(str(error) or repr(error), results, list(_stage.made))
    return Found("", results, list(_stage.made))


async def _ask(worker: Worker, number: int) -> Any:  # noqa: ANN401 - outputs
    try:
        return await (await _submit(worker, number)).result()
    except DurableAgentsError as error:
        return error
