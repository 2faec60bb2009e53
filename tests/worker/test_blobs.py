"""Large values of a run: on record once, equal after a crash, and gone with their run only."""

# ruff: noqa: ANN401, ARG001 - actions take an event of any type, whether they read it or not

import asyncio
import sqlite3
from contextlib import closing
from itertools import count
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import pytest

from durable_agents import (
    Agent,
    Codec,
    DecodeError,
    EncodeError,
    Event,
    InMemoryStore,
    InputEvent,
    RetryPolicy,
    RunError,
    RunFailedError,
    RunnerContext,
    RunParkedError,
    SqliteStore,
    Store,
    durable,
)
from durable_agents.journal import ActionStarted, CallSettled
from durable_agents.serialization import Blobs
from durable_agents.store import Retention
from durable_agents.testing import CrashingStore
from tests.worker._kit import AT_ONCE, Calls, Gate, agent_of, entries, finish, interrupt, life

TURNS = 12
Message = dict[str, Any]


class Talked(Event):
    """A conversation goes on to the next action."""

    history: list[Message]


async def answer(history: list[Message]) -> list[Message]:
    """The conversation and a new message, as a model's client returns it."""
    return [*history, message(len(history))]


def message(turn: int) -> Message:
    """1,800 characters that compression makes little of."""
    return {"role": "assistant", "content": Random(turn).randbytes(900).hex()}  # noqa: S311


def conversation(turns: int) -> list[Message]:
    """What `turns` answers come to."""
    return [message(turn) for turn in range(turns)]


def talker() -> Agent:
    """A conversation that goes through calls, events, both memories and an output."""
    agent = Agent("talker")

    @agent.action(InputEvent)
    async def talk(event: InputEvent[Any], ctx: RunnerContext) -> Talked:
        history: list[Message] = []
        for _ in range(TURNS):
            history = await ctx.durable(answer, history)
        ctx.sensory_memory.set("history", history)
        ctx.short_term_memory.set("history", history)
        return Talked(history=history)

    @agent.action(Talked)
    async def go_on(event: Talked, ctx: RunnerContext) -> None:
        assert event.history == ctx.sensory_memory.get("history")
        history = await ctx.durable(answer, ctx.short_term_memory.get("history"))
        ctx.short_term_memory.set("history", history)
        ctx.output(history)

    return agent


async def crashed(agent: Agent, store: Store, after: int) -> bool:
    """End a life of the worker when so many of its writes are durable; False: it got done."""
    crash = asyncio.Event()
    crashing = CrashingStore(store, after=after, crash=crash.set, one_by_one=True)
    async with life(agent, crashing) as worker:

        async def work() -> None:
            run = await worker.submit(1, key="key", id="run")
            await run.result()

        tasks = {asyncio.ensure_future(work()), asyncio.ensure_future(crash.wait())}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return crashing.has_crashed


@pytest.mark.slow
async def test_everything_comes_back_equal_after_a_crash_at_any_write() -> None:
    """What an entry refers to became durable with it, not later."""
    for after in count(1):
        store = InMemoryStore()
        has_crashed = await crashed(talker(), store, after)

        assert [conversation(TURNS + 1)] == await finish(talker(), store)
        if not has_crashed:
            break
    assert after > TURNS


@pytest.mark.slow
async def test_everything_comes_back_equal_after_a_crash_at_each_write() -> None:
    """Each life goes on from the blobs of those before."""
    store = InMemoryStore()

    lives = 0
    while await crashed(talker(), store, 2):
        lives += 1

    assert lives > TURNS // 2
    assert [conversation(TURNS + 1)] == await finish(talker(), store)


def sizes(path: Path) -> dict[str, int]:
    """Bytes in the bodies of each table."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT total(length(body)) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("journal", "blobs", "memory", "outputs")
        }


async def test_a_conversation_is_on_record_once(tmp_path: Path) -> None:
    """Calls, an event, two memories: beside it there are the memory's cell and the output."""
    path = tmp_path / "agents.db"

    await finish(talker(), SqliteStore(path))

    own = sum(len(one["content"]) for one in conversation(TURNS + 1))
    found = sizes(path)
    assert found["blobs"] < 1.2 * own
    assert found["journal"] < (TURNS + 10) * 600
    assert found["memory"] < 1.1 * own


async def test_what_outlives_a_run_stands_alone(tmp_path: Path) -> None:
    """Memory of the key and outputs can be read when the run is gone, and its blobs with it."""
    store = SqliteStore(tmp_path / "agents.db")
    await finish(talker(), store)

    await store.open("reader")
    outputs = await store.outputs(after=0, limit=10)
    assert {} != await store.blobs(1)
    assert 1 == await store.prune(Retention(ended_before=inf, keep=0, failed=True))
    assert {} == await store.blobs(1)
    (cell,) = [c for c in (await store.memory("talker", "key")).values() if c.payload]
    (row,) = outputs
    await store.close()

    assert cell.payload is not None
    assert conversation(TURNS + 1) == Codec().decode(cell.payload)
    assert conversation(TURNS + 1) == Codec().decode(row.event.payload)


async def test_a_snapshot_of_memory_shares_what_the_run_has_already() -> None:
    """And a person can read it with the blobs of the run."""
    store = InMemoryStore()
    await finish(talker(), store)

    (_, started) = [e for e in await entries(store) if isinstance(e, ActionStarted)]
    await store.open("reader")
    codec = Codec().for_run(Blobs(await store.blobs(1)))
    await store.close()

    payload = started.short_term["history"].payload
    assert payload is not None
    assert len(payload.data) < 100
    assert conversation(TURNS) == codec.decode(payload)


async def test_an_action_that_is_tried_again_reads_what_it_recorded() -> None:
    """In the same process, where the blobs are known by name only."""
    attempts = []

    async def act(event: Any, ctx: RunnerContext) -> None:
        history = await ctx.durable(answer, conversation(20))
        attempts.append(history)
        if len(attempts) < 3:
            raise ValueError
        ctx.output(await ctx.durable(answer, history))

    agent = agent_of(act, retry=RetryPolicy(max_attempts=3))

    assert [conversation(22)] == await finish(agent)
    assert [conversation(21)] * 3 == attempts


class Odd:
    """Nothing but a pickle can hold it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]


SIGNED = Codec(pickle="signed", secret=b"one")


class Odds:
    """Makes odd values, and counts them."""

    def __init__(self) -> None:
        self.made = 0

    @durable(name="make")
    async def make(self, text: str) -> Odd:
        self.made += 1
        return Odd(text)


async def keep_odd(store: Store, codec: Codec, text: str) -> tuple[Agent, Odds]:
    """A run that has an odd value on record, and waits."""
    odds, gate = Odds(), Gate()

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(odds.make, text)
        await gate.wait()
        ctx.output(value.text)

    agent = agent_of(act)
    await interrupt(agent, store, gate, codec=codec)
    return agent, odds


@pytest.mark.parametrize("text", ["small", "large" * 1_000])
@pytest.mark.parametrize("codec", [Codec(), SIGNED], ids=["allow", "signed"])
async def test_pickles_come_back_where_they_are_allowed(
    codec: Codec, text: str, tmp_path: Path
) -> None:
    """From the disk, in a later life, without a second call."""
    store = SqliteStore(tmp_path / "agents.db")
    agent, odds = await keep_odd(store, codec, text)

    assert [text] == await finish(agent, store, codec=codec)
    assert 1 == odds.made


@pytest.mark.parametrize("text", ["small", "large" * 1_000])
@pytest.mark.parametrize(
    ("reader", "error", "problem"),
    [
        (Codec(pickle="refuse", secret=b"one"), RunFailedError, 'pickle="refuse"'),
        (
            Codec(pickle="signed", secret=b"two"),
            RunParkedError,
            "its input cannot be read: .*not signed with this codec's secret",
        ),
        (Codec(), RunParkedError, "its input cannot be read: .*it is signed"),
    ],
    ids=["refuse", "another secret", "no secret"],
)
async def test_pickles_are_not_read_where_they_are_not_allowed(
    reader: Codec, error: type[RunError], problem: str, text: str, tmp_path: Path
) -> None:
    """The run says why it does not go on; nothing is called a second time in place of it."""
    store = SqliteStore(tmp_path / "agents.db")
    agent, odds = await keep_odd(store, SIGNED, text)

    with pytest.raises(error, match=problem) as raised:
        await finish(agent, store, codec=reader)

    is_failed = error is RunFailedError
    assert is_failed == isinstance(raised.value.__cause__, DecodeError)
    assert 1 == odds.made


async def test_a_value_that_needs_a_pickle_is_not_recorded_where_they_are_refused(
    tmp_path: Path,
) -> None:
    """The call says so, and its run does not complete."""

    async def act(event: Any, ctx: RunnerContext) -> None:
        await ctx.durable(Odds().make, "x")

    store = SqliteStore(tmp_path / "agents.db")
    with pytest.raises(RunFailedError) as raised:
        await finish(agent_of(act), store, codec=Codec(pickle="refuse"))

    assert isinstance(raised.value.__cause__, EncodeError)


@pytest.mark.parametrize("text", ["small", "large" * 1_000])
async def test_an_unsigned_store_is_not_read_by_who_has_a_secret(
    text: str, tmp_path: Path
) -> None:
    """What anybody could have written is not unpickled; who has none goes on with it."""
    store = SqliteStore(tmp_path / "agents.db")
    agent, odds = await keep_odd(store, Codec(), text)

    with pytest.raises(RunParkedError, match="not signed with this codec's secret"):
        await finish(agent, store, codec=SIGNED)
    assert [text] == await finish(agent, store)
    assert 1 == odds.made


async def test_a_damaged_blob_leaves_the_run_to_a_person(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, and nothing is decided without it."""
    store = SqliteStore(tmp_path / "agents.db")
    agent, odds = await keep_odd(store, Codec(), "large" * 1_000)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        ((name,),) = connection.execute("SELECT hash FROM blobs").fetchall()
        connection.execute("UPDATE blobs SET body = CAST(x'00' || body AS BLOB)")

    async with life(agent, store) as worker:
        await worker.drain()

    assert f"blob {name.hex()} of run number 1 fails its checksum" in caplog.text
    assert 1 == odds.made


class Silent(Codec):
    """Shows nobody what a call was made with."""

    shows_arguments = False


async def test_a_codec_can_keep_arguments_out_of_the_journal() -> None:
    """They are for people alone: a replay does without."""
    store, gate, calls = InMemoryStore(), Gate(), Calls()

    async def act(event: Any, ctx: RunnerContext) -> None:
        value = await ctx.durable(calls.echo, "confidential")
        await gate.wait()
        ctx.output(value)

    await interrupt(agent_of(act), store, gate, codec=Silent())
    outputs = await finish(agent_of(act), store, codec=Silent())

    assert (["confidential"], ["confidential"]) == (outputs, calls.made)
    (settled,) = [e for e in await entries(store) if isinstance(e, CallSettled)]
    assert "..." == settled.preview


class Sealing(Codec):
    """Seals as long as it is told to."""

    def __init__(self) -> None:
        super().__init__(compress_above=None)
        self.refused: list[str] = []

    def seal(self, encoding: str, data: bytes) -> tuple[str, bytes]:
        if encoding in self.refused:
            msg = "the key is away"
            raise OSError(msg)
        return super().seal(encoding, data)


@pytest.mark.parametrize("refused", ["plain", "chain", "plain+shared"])
async def test_a_call_whose_result_cannot_be_sealed_does_not_count_as_made(
    refused: str,
) -> None:
    """Even where the action's code goes on: the run does not complete without its record."""
    codec = Sealing()

    async def act(event: Any, ctx: RunnerContext) -> None:
        codec.refused.append(refused)
        value = [] if refused == "plain" else conversation(20)
        try:
            await ctx.durable(answer, value[:20]) if value else await ctx.durable(len, "x")
        except EncodeError:
            ctx.logger.info("it does not matter")

    with pytest.raises(RunFailedError, match="the key is away"):
        await finish(agent_of(act), codec=codec)


async def test_a_snapshot_that_cannot_be_sealed_fails_its_run() -> None:
    """The first call of the action would lack what the action saw."""
    store, codec = InMemoryStore(), Sealing()

    async def remember(event: Any, ctx: RunnerContext) -> None:
        if event.input == 1:
            ctx.short_term_memory.set("history", conversation(20))
            return
        codec.refused.append("plain+shared")
        try:
            await ctx.durable(len, "x")
        except EncodeError:
            ctx.output("it does not matter")

    agent = agent_of(remember)
    async with life(agent, store, AT_ONCE, codec=codec) as worker:
        await (await worker.submit(1, key="key")).result()
        with pytest.raises(RunFailedError, match="the key is away"):
            await (await worker.submit(2, key="key")).result()


async def test_a_settled_result_on_record_is_a_reference() -> None:
    """What a person is shown is found with `Codec.for_run`."""
    store = InMemoryStore()
    await finish(talker(), store)

    settled = [e for e in await entries(store) if isinstance(e, CallSettled)]

    assert {"plain", "plain+shared"} == {entry.payload.encoding for entry in settled}


async def test_a_run_keeps_its_blobs_when_later_ones_are_forgotten(tmp_path: Path) -> None:
    """Who refers to a blob is its own run, whatever else holds the same content."""
    gate = Gate()

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        history = await ctx.durable(answer, conversation(20))
        if event.input == 1:
            await gate.wait()
        ctx.output(history)

    agent, store = agent_of(act), SqliteStore(tmp_path / "store.db")
    async with life(agent, store, AT_ONCE) as worker:
        await worker.submit(1, key="key", id="run")
        await gate.reached.wait()
        await (await worker.submit(2, key="other")).result()
        assert 1 == await worker.prune(keep=0)
    gate.open()

    assert [conversation(21)] == await finish(agent, store)
