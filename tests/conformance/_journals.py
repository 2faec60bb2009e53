"""What the tests of the table read from a store: at any moment, and between two lives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from durable_agents import Store
from durable_agents.journal import (
    ActionState,
    CallAbandoned,
    CallBegun,
    CallRetried,
    CallsCleared,
    CallSettled,
    Entry,
    RunState,
)

__all__ = ["call_entries", "entries_now", "only_action", "opened", "state_between"]

RUN = 1
"""Number of the first run of a store."""
_OF_CALLS = (CallBegun, CallSettled, CallRetried, CallAbandoned, CallsCleared)


async def entries_now(store: Store, number: int = RUN) -> list[Entry]:
    """The journal of a run as it is durable at this moment; the store is open."""
    return [entry for _, row in await store.journal(number) for entry in row]


async def call_entries(store: Store, number: int = RUN) -> list[Entry]:
    """Those of the entries that tell of calls."""
    return [e for e in await entries_now(store, number) if isinstance(e, _OF_CALLS)]


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    """A store, opened between two lives of its worker."""
    await store.open("a reader")
    try:
        yield store
    finally:
        await store.close()


async def state_between(store: Store, number: int = RUN) -> RunState:
    """What a run has come to, read between two lives."""
    async with opened(store):
        return RunState.of(await store.journal(number))


async def only_action(store: Store, number: int = RUN) -> ActionState:
    """The one action run of a run, read between two lives."""
    (action,) = (await state_between(store, number)).actions.values()
    return action
