"""Outputs read by a cursor, inputs processed as a stream, and the one-call forms of both."""

# ruff: noqa: ANN401 - actions take an event of any type, whether they read it or not

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from durable_agents import (
    Agent,
    InputError,
    InputEvent,
    Output,
    RunFailedError,
    RunnerContext,
    Store,
    WorkerSettings,
    arun_agent,
    run_agent,
)
from tests.worker._kit import AT_ONCE, FakeClock, Gate, agent_of, life, passes


async def echo(event: InputEvent[Any], ctx: RunnerContext) -> None:
    """Each input twice, as two outputs."""
    ctx.output(event.input)
    ctx.output([event.input])


async def refuse_odd(event: InputEvent[int], ctx: RunnerContext) -> None:
    """Even inputs only."""
    if event.input % 2:
        msg = f"{event.input} is odd"
        raise ValueError(msg)
    ctx.output(event.input)


async def take(outputs: AsyncIterator[Output[Any]], count: int) -> list[Output[Any]]:
    """The next few outputs."""
    return [await anext(outputs) for _ in range(count)]


def values(outputs: list[Output[Any]]) -> list[Any]:
    return [output.value for output in outputs]


async def test_outputs_tell_where_they_come_from(store: Store) -> None:
    """Position, run, key, event and time."""
    async with life(agent_of(echo), store, clock=FakeClock(at=1000.0)) as worker:
        run = await worker.submit("a", key="k", id="run")
        await run.result()
        first, second = await worker.outputs_of(run)

    assert (1, 2) == (first.position, second.position)
    assert ("run", "k", "a") == (first.run_id, first.key, first.value)
    assert ("run/0#1", "run/0#2") == (first.event_id, second.event_id)
    assert first.created_at < second.created_at < 1010.0


async def test_a_reader_without_a_name_begins_now(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there before is not its business; what comes, comes in order of position."""
    has_begun = asyncio.Event()
    ask_store = store.last_position

    async def last_position() -> int:
        position = await ask_store()
        has_begun.set()
        return position

    monkeypatch.setattr(store, "last_position", last_position)
    async with life(agent_of(echo), store) as worker:
        await (await worker.submit("old")).result()
        reading = asyncio.ensure_future(take(worker.outputs(), 4))
        await has_begun.wait()
        await (await worker.submit("new")).result()
        await (await worker.submit("newer")).result()

        assert ["new", ["new"], "newer", ["newer"]] == values(await reading)


async def test_a_reader_may_say_where_it_begins(store: Store) -> None:
    """Behind the position that it names."""
    async with life(agent_of(echo), store) as worker:
        await (await worker.submit("a")).result()

        assert [["a"]] == values(await take(worker.outputs(after=1), 1))


async def test_a_named_consumer_goes_on_behind_what_it_acknowledged(store: Store) -> None:
    """In the next life, too; what it had seen and not acknowledged comes again."""
    async with life(agent_of(echo), store) as worker:
        await (await worker.submit("a")).result()
        first, _ = await take(worker.outputs("report"), 2)
        await first.ack()
    async with life(agent_of(echo), store) as worker:
        outputs = worker.outputs("report")

        assert [["a"]] == values(await take(outputs, 1))
        assert ["a"] == values(await take(worker.outputs("another"), 1))


async def test_an_earlier_acknowledgement_takes_nothing_back(store: Store) -> None:
    """Acknowledged once, acknowledged for good."""
    async with life(agent_of(echo), store) as worker:
        await (await worker.submit("a")).result()
        first, second = await take(worker.outputs("report"), 2)
        await second.ack()
        await first.ack()

        assert 2 == await store.acknowledged("report")


async def test_only_a_named_consumer_acknowledges(store: Store) -> None:
    """The error says how to become one."""
    async with life(agent_of(echo), store) as worker:
        run = await worker.submit("a")
        await run.result()
        (output, _) = await worker.outputs_of(run)

        with pytest.raises(RuntimeError, match=r'use `outputs\(consumer="..."\)`'):
            await output.ack()


async def test_the_outputs_end_with_the_worker(store: Store) -> None:
    """When everything that was committed has been handed over."""
    seen: list[Any] = []

    async def read(outputs: AsyncIterator[Output[Any]]) -> None:
        seen.extend([output.value async for output in outputs])

    async with life(agent_of(echo), store) as worker:
        reading = asyncio.ensure_future(read(worker.outputs("report")))
        await (await worker.submit("a")).result()
        worker.request_stop()
        await reading

    assert ["a", ["a"]] == seen


async def test_a_stream_of_inputs_gives_the_outputs_of_all(store: Store) -> None:
    """Of plain iterables and asynchronous ones; those of a run stay together."""

    async def inputs() -> AsyncIterator[str]:
        for name in "abc":
            await asyncio.sleep(0)
            yield name

    async with life(agent_of(echo), store) as worker:
        plain = [output.value async for output in worker.process("abc", key=str)]
        streamed = [output.value async for output in worker.process(inputs())]

    assert ["a", "b", "c"] == sorted(value for value in plain if isinstance(value, str))
    assert sorted(plain, key=str) == sorted(streamed, key=str)


async def test_inputs_are_taken_as_there_is_room(store: Store) -> None:
    """A slow reader stops the stream rather than filling the store."""
    taken: list[int] = []

    def inputs() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    settings = WorkerSettings(shutdown_grace_seconds=0, max_concurrent_runs=3)
    async with life(agent_of(echo), store, settings) as worker:
        outputs = worker.process(inputs())
        await anext(outputs)
        await worker.drain()
        await passes(100)

        assert len(taken) <= 3 + 2
        await outputs.aclose()


async def test_the_same_ids_again_run_nothing_again(store: Store) -> None:
    """The outputs come all the same."""
    ran: list[Any] = []

    async def act(event: InputEvent[Any], ctx: RunnerContext) -> None:
        ran.append(event.input)
        ctx.output(event.input)

    for _ in range(2):
        async with life(agent_of(act), store) as worker:
            found = [output.value async for output in worker.process("ab", id=str)]
            assert ["a", "b"] == sorted(found)
    assert ["a", "b"] == sorted(ran)


async def test_failures_are_told_together_at_the_end(store: Store) -> None:
    """One bad input stops no other."""
    agent = Agent("tested", input=int)
    agent.add_action("act", InputEvent, refuse_odd)
    found: list[int] = []

    async def read() -> None:
        async with life(agent, store) as worker:
            async for output in worker.process([0, 1, "x", 3, 4]):
                found.append(output.value)  # noqa: PERF401 - what came before the end counts

    with pytest.raises(ExceptionGroup, match="3 of 5 inputs did not complete") as caught:
        await read()

    assert [0, 4] == sorted(found)
    kinds = sorted(type(error).__name__ for error in caught.value.exceptions)
    assert [InputError.__name__, *2 * [RunFailedError.__name__]] == kinds


async def test_leaving_the_loop_early_leaves_what_was_accepted(store: Store) -> None:
    """It runs to its end, and nothing more is submitted."""
    gate = Gate()
    ran: list[int] = []

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        if event.input:
            await gate.wait()
        ran.append(event.input)
        ctx.output(event.input)

    async with life(agent_of(act), store, AT_ONCE) as worker:
        outputs = worker.process(iter(range(3)))
        await anext(outputs)
        await gate.reached.wait()
        await outputs.aclose()
        gate.open()
        await worker.drain()

    assert 0 in ran
    assert len(ran) > 1


def test_an_agent_runs_over_a_list_in_one_call() -> None:
    """The outputs of all its runs."""
    outputs = run_agent(agent_of(echo), ["a", "b"], key=str)

    assert ["a", "b"] == sorted(value for value in outputs if isinstance(value, str))
    assert 4 == len(outputs)


async def test_a_loop_that_runs_already_is_not_blocked(store: Store) -> None:
    """The error names the coroutine."""
    with pytest.raises(RuntimeError, match="await arun_agent"):
        run_agent(agent_of(echo), ["a"], store=store)

    assert ["a", ["a"]] == await arun_agent(agent_of(echo), ["a"], store=store, key=str)
