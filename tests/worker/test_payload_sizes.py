"""Values of every size and shape go through a durable call, and come back after a crash."""

# ruff: noqa: ANN401, ARG001 - values of any type; actions take an event they do not read

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durable_agents import (
    EncodeError,
    InMemoryStore,
    PayloadTooLargeError,
    RunFailedError,
    RunnerContext,
    SerializationError,
    SqliteStore,
    Store,
)
from durable_agents.serialization import Codec
from tests.worker._kit import Gate, agent_of, finish, interrupt, life


def nested(depth: int) -> Any:
    """Lists within lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


async def crashed_and_finished(value: object, store: Store) -> Any:
    """What a second life gets for the result of a call that the first one made."""
    gate, made = Gate(), list[object]()

    async def make() -> Any:
        made.append(value)
        return value

    async def act(event: Any, ctx: RunnerContext) -> None:
        back = await ctx.durable(make)
        shown = len(back) if isinstance(back, bytes) else repr(back)
        ctx.output([type(back).__name__, shown])
        await gate.wait()

    agent = agent_of(act)
    await interrupt(agent, store, gate)
    outputs = await finish(agent, store)

    assert 1 == len(made)
    return outputs[0]


@pytest.mark.parametrize("size", [0, 1, 2_047, 2_049, 16_385, 1_000_000])
async def test_bytes_of_any_size_come_back(size: int, tmp_path: Path) -> None:
    """Below and above what is shared and what is compressed."""
    store = SqliteStore(tmp_path / "agents.db")

    assert ["bytes", size] == await crashed_and_finished(bytes(size), store)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        [math.nan, {"a": -math.inf}],
        "\ud800",
        {"\udfff": "a\x00b"},
        "\u202eright to left\u202c",
        nested(50),
        2**200,
        -0.0,
    ],
    ids=repr,
)
async def test_values_that_few_formats_hold_come_back(value: object) -> None:
    """Equal in type and text, live and after a crash."""
    store = InMemoryStore()

    assert [type(value).__name__, repr(value)] == await crashed_and_finished(value, store)


def cycle() -> Any:
    """A list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (cycle, EncodeError),
        (lambda: nested(5_000), EncodeError),
        (lambda: (number for number in range(3)), EncodeError),
        (lambda: memoryview(b"abc"), EncodeError),
        (lambda: b"x" * 70_000, PayloadTooLargeError),
    ],
    ids=["cycle", "too deep", "generator", "view", "too large"],
)
async def test_a_result_that_cannot_be_recorded_fails_the_run_and_is_not_made_again(
    make: Callable[[], Any], error: type[SerializationError]
) -> None:
    """G8: the effect took place, nothing earlier is lost, and nobody repeats it in silence."""
    effects: list[str] = []

    async def before() -> str:
        effects.append("before")
        return "kept"

    async def charge() -> Any:
        effects.append("charge")
        return make()

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(before)
        try:
            await ctx.durable(charge)
        except SerializationError:
            ctx.output("swallowed")

    store, agent = InMemoryStore(), agent_of(act)
    codec = Codec(max_bytes=65_536)
    for _ in range(2):
        async with life(agent, store, codec=codec) as worker:
            run = await worker.submit(1, key="key", id="run")
            with pytest.raises(RunFailedError) as failed:
                await run.result()

        assert isinstance(failed.value.__cause__, error)
        assert "charge" in str(failed.value.__cause__)
        assert ["before", "charge"] == effects


HUNDRED_MB = """
import asyncio, hashlib, json, os, resource, sys
from durable_agents import Agent, Codec, InputEvent, SqliteStore, Worker

agent = Agent("large", input=int)
MADE = []

async def make(size: int) -> bytes:
    MADE.append(size)
    return os.urandom(size)

async def stop() -> None:
    if sys.argv[2] == "crash":
        os._exit(9)

@agent.action(InputEvent)
async def act(event, ctx) -> None:
    value = await ctx.durable(make, event.input)
    with open(sys.argv[1] + ".digest", "a") as file:
        file.write(hashlib.sha256(value).hexdigest() + chr(10))
    await ctx.durable(stop)
    ctx.output(len(value))

async def main():
    store = SqliteStore(sys.argv[1])
    async with Worker(agent, store=store, codec=Codec(max_bytes=2**28)) as worker:
        outputs = await (await worker.submit(10**8, id="run")).result()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([outputs, len(MADE), peak]))

asyncio.run(main())
"""
_MOST_COPIES = 6


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_hundred_megabytes_come_back_after_a_crash(tmp_path: Path) -> None:
    """In a few copies at most, live and on replay."""
    path = str(tmp_path / "agents.db")

    def lives(how: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", HUNDRED_MB, path, how]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own

    first, second = lives("crash"), lives("finish")
    outputs, made, peak_kib = json.loads(second.stdout)

    assert 9 == first.returncode, first.stderr
    assert ([10**8], 0) == (outputs, made)
    assert 1 == len(set(Path(path + ".digest").read_text().split()))
    assert peak_kib * 1024 < _MOST_COPIES * 10**8
