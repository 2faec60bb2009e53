"""A worker that shares a store with others, as a process of its own.

It takes its inputs in, sees them through to their end, wherever they run, and one more after
that; then it waits until nobody has anything left to do.
"""

import asyncio
import faulthandler
import os
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import msgspec

from durable_agents import (
    Agent,
    InputEvent,
    RunError,
    RunnerContext,
    SqliteStore,
    Worker,
    WorkerSettings,
    durable,
)
from tests.crash import witness
from tests.crash.evidence import read
from tests.crash.nursery import python
from tests.crash.witness import Sighting, witnessed

CALLS = 4
"""Calls of one run, one after the other."""
SECONDS = 0.03
"""How long a call takes."""
LONGEST_PAUSE = 0.2
"""How long a run waits before each call, at most."""
AFTERWARDS = "afterwards"

Process: TypeAlias = "subprocess.Popen[bytes]"

agent = Agent("sharing")


@durable(name="step")
async def step(run_id: str, number: int) -> str:
    with witnessed("step", run_id, number):
        await asyncio.sleep(SECONDS)
    return f"{run_id}:{number}"


@agent.action(InputEvent)
async def walk(event: InputEvent[str], ctx: RunnerContext) -> None:
    steps: list[str] = []
    for number in range(CALLS):
        # Nothing records this wait, so a process may be stopped where no call is in flight:
        # what it goes on with is a call that another one may have made since.
        await asyncio.sleep(ctx.random.uniform(0, LONGEST_PAUSE))
        steps.append(await ctx.durable(step, event.input, number))
    ctx.output(steps)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one of the processes is to do."""

    folder: str
    number: int
    runs: list[tuple[str, str]]
    """Key and id of each input."""
    lease_seconds: float

    @property
    def store(self) -> Path:
        return Path(self.folder, "store.db")

    @property
    def witness(self) -> Path:
        return Path(self.folder, "witness.jsonl")

    @property
    def result(self) -> Path:
        return Path(self.folder, f"part-{self.number}.json")

    @property
    def said(self) -> Path:
        return Path(self.folder, f"part-{self.number}.txt")


class Result(msgspec.Struct):
    """What a process was told."""

    outputs: dict[str, list[list[str]]]
    lost: list[str]
    """Runs that ended here, since another worker had taken them over."""


async def take_part(part: Part) -> Result:
    settings = WorkerSettings(lease_seconds=part.lease_seconds, max_concurrent_runs=4)
    store = SqliteStore(part.store, shared=True)
    result = Result({}, [])
    async with Worker(agent, store=store, settings=settings) as worker:

        async def see_through(key: str, run_id: str) -> None:
            run = await worker.submit(run_id, key=key, id=run_id)
            try:
                result.outputs[run_id] = await run.result()
            except RunError:
                result.lost.append(run_id)
                again = await worker.submit(run_id, key=key, id=run_id)
                result.outputs[run_id] = await again.result()

        await asyncio.gather(*(see_through(key, run_id) for key, run_id in part.runs))
        await see_through(AFTERWARDS, f"{AFTERWARDS}-{part.number}")
        await worker.drain()
    return result


def main(text: str) -> None:
    """Be that process."""
    part = msgspec.json.decode(text, type=Part)
    os.environ[witness.FILE] = str(part.witness)
    os.environ[witness.LIFE] = str(part.number)
    faulthandler.dump_traceback_later(60, exit=True)
    part.result.write_bytes(msgspec.json.encode(asyncio.run(take_part(part))))


def start(part: Part, environment: Mapping[str, str] | None = None) -> Process:
    """Start a process that takes part, with these variables besides."""
    with part.said.open("wb") as said:
        return subprocess.Popen(  # noqa: S603 - our own program
            python("tests.crash.sharing", msgspec.json.encode(part).decode()),
            stderr=said,
            env=os.environ | (environment or {}),
        )


def is_locked(store: Path) -> bool:
    """Whether somebody is in the middle of a transaction."""
    with closing(sqlite3.connect(store, timeout=0.01, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def began(seen: list[Sighting], which: Callable[[Sighting], object]) -> dict[object, int]:
    """How often what has begun, in the order of the first time."""
    counts: dict[object, int] = {}
    for sighting in seen:
        if sighting.phase == "begin":
            name = which(sighting)
            counts[name] = counts.get(name, 0) + 1
    return counts


def in_flight(seen: list[Sighting], life: int) -> set[tuple[str, str]]:
    """Calls that a process has begun, and of which nobody has seen the end."""
    mine = sorted((s.call, s.phase) for s in seen if s.life == life)
    ended = {call for call, phase in mine if phase == "end"}
    return {call for call, _ in groupby(mine, key=lambda pair: pair[0]) if call not in ended}


def pausing(seen: list[Sighting], part: Part) -> set[str]:
    """Runs in which a process waits to make the next call; the last one is on record."""
    last = {s.run_id: s for s in seen if s.life == part.number}
    ended = [s for s in last.values() if s.phase == "end" and s.args[1] < CALLS - 1]
    if not ended:
        return set()
    settled = read(part.store).settled
    return {s.run_id for s in ended if s.call in settled}
