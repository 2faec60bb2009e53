"""Whoever reads of a divergence at night is told first whether the code changed."""

from collections.abc import Callable
from typing import Any

import pytest

from durable_agents import (
    Agent,
    InMemoryStore,
    InputEvent,
    RunnerContext,
    WorkerSettings,
)
from durable_agents.actions import CodeChange
from durable_agents.agent import AgentPlan
from durable_agents.errors import RunParkedError
from durable_agents.journal import ActionStarted, CallsCleared, Entry
from durable_agents.store import Write
from durable_agents.testing import assert_replays
from durable_agents.worker import replay_runs
from tests.worker._kit import Calls, Gate, agent_of, entries, finish, interrupt

FAIL = WorkerSettings(shutdown_grace_seconds=0, on_divergence="fail")
CLEAR = WorkerSettings(shutdown_grace_seconds=0, on_divergence="clear")
CHANGED = "the code of action 'act' changed since this run began it"
UNCHANGED = (
    "the code of action 'act' is unchanged since this run began it: look for non-determinism"
)
USED = (
    "the code of action 'act' is unchanged since this run began it, that of functions it uses "
    "is not"
)

NEXT = [1]


async def first(ctx: RunnerContext, calls: Calls) -> object:
    """What an action does by another function."""
    return await ctx.durable(calls.echo, NEXT[0])


async def first_otherwise(ctx: RunnerContext, calls: Calls) -> object:
    """The same function in the next release."""
    return await ctx.durable(calls.echo, NEXT[0] + 1)


def release(calls: Calls, gate: Gate, *, louder: bool = False) -> Agent:
    """An agent that makes a call and waits; or the same with changed code."""
    if louder:

        async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            del event
            ctx.output(await ctx.durable(calls.echo, "loud"))

    else:

        async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
            del event
            value = await first(ctx, calls)
            await gate.wait()
            ctx.output(value)

    return agent_of(act)


def change_the_action(patch: pytest.MonkeyPatch) -> bool:
    """Another function takes its place."""
    del patch
    return True


def change_what_it_uses(patch: pytest.MonkeyPatch) -> bool:
    """Another function takes the place of one that it uses."""
    patch.setitem(globals(), "first", first_otherwise)
    return False


def change_the_world(patch: pytest.MonkeyPatch) -> bool:
    """What the action reads beside its calls is another value."""
    patch.setitem(globals(), "NEXT", [3])
    return False


@pytest.mark.parametrize(
    ("change", "told", "kind"),
    [
        (change_the_action, CHANGED, "function"),
        (change_what_it_uses, USED, "used"),
        (change_the_world, UNCHANGED, "none"),
    ],
)
async def test_a_divergence_says_whether_the_code_changed(  # noqa: PLR0913, PLR0917
    calls: Calls,
    gate: Gate,
    memory: InMemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], bool],
    told: str,
    kind: CodeChange,
) -> None:
    """In the reason of the parked run, and when somebody checks before it comes to that."""
    await interrupt(release(calls, gate), memory, gate, FAIL)
    changed = release(calls, gate, louder=change(monkeypatch))

    with pytest.raises(AssertionError, match=f"recorded .*; {told}$"):
        await assert_replays(changed, memory)
    assert [kind] == [
        a.code_change async for r in replay_runs(changed, memory) for a in r.actions
    ]
    with pytest.raises(RunParkedError, match=f"recorded .*; {told}$"):
        await finish(changed, memory, FAIL)


async def test_what_is_dropped_says_so_on_record(
    calls: Calls, gate: Gate, memory: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """For `show`, and for whoever reads the log."""
    await interrupt(release(calls, gate), memory, gate, CLEAR)

    assert ["loud"] == await finish(release(calls, gate, louder=True), memory, CLEAR)

    (cleared,) = [e for e in await entries(memory) if isinstance(e, CallsCleared)]
    assert cleared.difference.endswith(CHANGED)
    assert CHANGED in caplog.text


async def test_a_call_that_is_no_longer_made_says_so_too(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """As the action ends without having asked for it."""
    await interrupt(release(calls, gate), memory, gate, FAIL)

    async def act(event: InputEvent[int], ctx: RunnerContext) -> None:
        del event, ctx

    with pytest.raises(RunParkedError, match=f"1 recorded calls were not made: .*; {CHANGED}"):
        await finish(agent_of(act), memory, FAIL)


async def test_an_output_that_is_another_says_so_too(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """A check of runs that have ended finds more than a worker does."""
    gate.open()
    agent = release(calls, gate)
    await finish(agent, memory)
    NEXT[0] += 1
    try:
        with pytest.raises(AssertionError, match=UNCHANGED):
            await assert_replays(agent, memory)
    finally:
        NEXT[0] -= 1


async def test_the_start_of_an_action_has_its_fingerprint_on_record(
    calls: Calls, gate: Gate, memory: InMemoryStore
) -> None:
    """Eight bytes, with the first thing that the action records."""
    gate.open()
    agent = release(calls, gate)
    await finish(agent, memory)

    (started,) = [e for e in await entries(memory) if isinstance(e, ActionStarted)]
    assert AgentPlan.of(agent).actions["act"].code == started.code
    assert 8 == len(started.code)


async def test_a_journal_without_a_fingerprint_says_nothing_of_the_code(
    calls: Calls, gate: Gate
) -> None:
    """It was recorded before there were any; safe or not, it is replayed as ever."""
    memory = _Older()
    await interrupt(release(calls, gate), memory, gate, FAIL)
    agent, changed = release(calls, gate), release(calls, gate, louder=True)

    assert ["unknown"] == [
        a.code_change async for r in replay_runs(agent, memory) for a in r.actions
    ]
    with pytest.raises(
        RunParkedError, match=r"recorded echo\(1\) at root:0, now echo\('loud'\)$"
    ):
        await finish(changed, memory, FAIL)


class _Older(InMemoryStore):
    """A store as it was filled before fingerprints were recorded."""

    def append(self, write: Write) -> Any:  # noqa: ANN401 - as the store's
        write.entries[:] = [_older(entry) for entry in write.entries]
        return super().append(write)


def _older(entry: Entry) -> Entry:
    if not isinstance(entry, ActionStarted):
        return entry
    return ActionStarted(
        entry.action, entry.event, entry.name, entry.short_term, entry.python, entry.at
    )
