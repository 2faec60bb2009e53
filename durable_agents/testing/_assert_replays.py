"""Whether today's code still repeats what is on record."""

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from durable_agents.agent import Agent
from durable_agents.clock import Clock
from durable_agents.serialization import Codec
from durable_agents.store import SqliteReader
from durable_agents.testing._problems import fail_for
from durable_agents.worker import RecordReader, WorkerSettings, replay

__all__ = ["ReplayReport", "assert_replays"]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What `assert_replays` replayed."""

    runs: int
    """Runs of the agent that have recorded calls."""
    actions: int
    """Actions of theirs that have; each was replayed."""


async def assert_replays(  # noqa: PLR0913 - of what a worker is made, and what is replayed
    agent: Agent,
    store: str | os.PathLike[str] | RecordReader,
    *,
    open_only: bool = False,
    settings: WorkerSettings | None = None,
    codec: Codec | None = None,
    clock: Clock | None = None,
    patience_seconds: float = 5.0,
) -> ReplayReport:
    """Replay recorded runs of an agent against its code of today.

    Nothing is executed and nothing is written, so that a copy of a store in use will do as well
    as the store itself. Each action that has recorded calls is started over its record; what it
    asks for is handed over. One that had completed must complete again, with the same events,
    outputs and memory; another one must ask for all that is recorded of it. The input and the
    events of an open run must be readable.

    Cancellation: leaves nothing behind.

    Args:
        agent: The code of today. Runs of other agents are passed over.
        store: Path of an SQLite store, which is opened read-only; or a store that is open, or
            an `InMemoryStore`.
        open_only: Pass over runs that have ended, and actions that have completed: they are
            never replayed by a worker.
        settings: Limits and sizes of the worker that recorded them.
        codec: How values became bytes; one with the same secret.
        clock: Where the time comes from.
        patience_seconds: How long an action is waited for that neither asks for what is
            recorded nor comes to an end, > 0.

    Returns:
        How much was replayed.

    Raises:
        AssertionError: Some actions would diverge; each is named, with what was recorded and
            what the code does now, the first twenty.
        DefinitionError: Something is wrong with the agent.
        StoreError: The store cannot be read.
    """
    async with AsyncExitStack() as stack:
        if isinstance(store, (str, os.PathLike)):
            store = await stack.enter_async_context(SqliteReader(store))
        all_replayed = [
            replayed
            async for replayed in replay(
                agent,
                store,
                open_only=open_only,
                settings=settings,
                codec=codec,
                clock=clock,
                patience_seconds=patience_seconds,
            )
        ]
    fail_for([
        f"{replayed}: {replayed.difference}"
        for replayed in all_replayed
        if replayed.difference is not None
    ])
    return ReplayReport(len({replayed.run_id for replayed in all_replayed}), len(all_replayed))
