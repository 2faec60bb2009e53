"""Rows that are gone have no checksum that could fail: what is left must not be believed."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from durable_agents import RunnerContext, SqliteStore
from durable_agents.errors import RunParkedError, StoreDamagedError
from tests.worker._kit import Calls, agent_of, life

CALLS = Calls()


async def act(event: Any, ctx: RunnerContext) -> None:  # noqa: ANN401 - whatever fires it
    """Two calls, two outputs."""
    number = await ctx.durable(CALLS.double, event.input)
    ctx.output(await ctx.durable(CALLS.double, number))
    ctx.output("done")


AGENT = agent_of(act)


async def made(path: Path) -> None:
    """A store with one completed run."""
    async with life(AGENT, SqliteStore(path)) as worker:
        run = await worker.submit(1, key="key", id="run")

        assert [4, "done"] == await run.result()


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def result(path: Path) -> list[Any]:
    """What the run is said to have put out."""
    async with asyncio.timeout(5), life(AGENT, SqliteStore(path)) as worker:
        run = await worker.submit(1, key="key", id="run")
        return await run.result()


LAST_OUTPUT = "DELETE FROM outputs WHERE position = (SELECT max(position) FROM outputs)"
LAST_ROW = "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)"
FIRST_ROW = "DELETE FROM journal WHERE seq = (SELECT min(seq) FROM journal)"
OPEN = "UPDATE runs SET status = 0"


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        ([LAST_OUTPUT], "put out 2 values, 1 are here: a row is gone"),
        (["DELETE FROM outputs"], "put out 2 values, 0 are here: a row is gone"),
        ([LAST_ROW], "run run is listed as completed, its journal goes on: a row is gone"),
        ([LAST_ROW, "UPDATE runs SET status = 3"], "listed as parked, its journal goes on"),
        (["UPDATE runs SET status = 9"], r"listed as no worker does \(status 9\)"),
    ],
    ids=["one output", "all outputs", "the end", "the parking", "no status"],
)
async def test_what_is_not_whole_is_no_result(
    tmp_path: Path, statements: list[str], problem: str
) -> None:
    """Neither fewer outputs nor an endless wait."""
    path = tmp_path / "agents.db"
    await made(path)
    await asyncio.to_thread(change, path, *statements)

    with pytest.raises(StoreDamagedError, match=problem):
        await result(path)


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        ([FIRST_ROW, OPEN], "speaks of an action that it does not know: a row is gone"),
        ([OPEN, "UPDATE runs SET accepted = x''"], "fails its checksum"),
    ],
    ids=["the start of the action", "the acceptance"],
)
async def test_a_run_whose_journal_is_not_whole_is_quarantined(
    tmp_path: Path, statements: list[str], problem: str
) -> None:
    """It waits for a person, and the worker goes on with the others."""
    path = tmp_path / "agents.db"
    await made(path)
    await asyncio.to_thread(change, path, *statements)

    with pytest.raises((RunParkedError, StoreDamagedError), match=problem):
        await result(path)
    async with life(AGENT, SqliteStore(path)) as worker:
        assert [8, "done"] == await (await worker.submit(2, key="other")).result()
