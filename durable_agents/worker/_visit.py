"""A command for a store, whoever owns it."""

import asyncio
from typing import NamedTuple

from durable_agents.clock import SystemClock
from durable_agents.errors import StoreOwnedError, StoreUnavailableError
from durable_agents.serialization import Codec
from durable_agents.store import SqliteStore
from durable_agents.worker._commands import Command, execute_stored
from durable_agents.worker._control import ask_owner

__all__ = ["Executed", "carry_out"]


class Executed(NamedTuple):
    """What became of a command."""

    by_owner: bool
    """Whether a worker did it; otherwise the next worker will see it."""
    affected: int | None
    """Of some commands, how many runs it came to; see `execute`."""


async def carry_out(command: Command, store: SqliteStore, owner: str) -> Executed:
    """Have the worker that owns a store do something; do it here where none does it alone.

    Cancellation: it may be done all the same.

    Args:
        command: What to do.
        store: Where; not open, not shared. It is not made where it is missing.
        owner: Name of who does it, should a worker want the store meanwhile.

    Raises:
        DurableAgentsError: As the worker's own verb does.
        StoreError: The store cannot be reached; or its owner takes no commands.
    """
    path = await asyncio.to_thread(lambda: store.control_path)
    assert path is not None, "a store that is not shared has one"
    try:
        return Executed(by_owner=True, affected=await ask_owner(path, command))
    except ConnectionError:
        pass  # nobody listens, so most likely nobody owns it
    if not await asyncio.to_thread(store.path.exists):
        raise StoreUnavailableError(str(store.path), "there is no such file: check the path")
    try:
        await store.open(owner)
    except StoreOwnedError as owned:
        try:
            # A worker may have taken it just now.
            return Executed(by_owner=True, affected=await ask_owner(path, command))
        except ConnectionError:
            return await _share(command, store, owner, owned)
    return await _execute(command, store)


async def _share(
    command: Command, store: SqliteStore, owner: str, owned: StoreOwnedError
) -> Executed:
    """Decide beside the workers that share a file; one of them takes up what is to be run."""
    shared = SqliteStore(store.path, synchronous=store.synchronous, shared=True)
    try:
        await shared.open(owner)
    except StoreOwnedError:
        raise owned from None  # one worker owns it alone, and takes no commands
    return await _execute(command, shared)


async def _execute(command: Command, store: SqliteStore) -> Executed:
    try:
        affected = await execute_stored(store, command, Codec(), SystemClock())
        return Executed(by_owner=False, affected=affected)
    finally:
        await store.close()
