"""An agent over a list of inputs, in one call: for scripts and notebooks."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from durable_agents.agent import Agent
from durable_agents.store import Store
from durable_agents.worker._worker import Worker

__all__ = ["arun_agent", "run_agent"]

T = TypeVar("T")


def run_agent(
    agent: Agent,
    inputs: Iterable[T],
    *,
    key: Callable[[T], str | None] | None = None,
    store: Store | None = None,
) -> list[Any]:
    """Run an agent over some inputs, to the end.

    Args:
        agent: What to run.
        inputs: Values or events, submitted in order, with back-pressure.
        key: Says of each input what it is ordered by. Default: ordered with nobody.
        store: Where facts are kept. Default: in memory, which survives no crash.

    Returns:
        The output values of all runs, in the order in which the runs ended.

    Raises:
        ExceptionGroup: Some runs did not complete, or inputs did not fit; raised when all have
            ended. See `Worker.process`.
        DefinitionError: Something is wrong with the agent.
        StoreError: The store cannot do what was asked.
        RuntimeError: An event loop runs in this thread: await `arun_agent(...)`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(arun_agent(agent, inputs, key=key, store=store))
    msg = "an event loop runs in this thread: await arun_agent(...) instead"
    raise RuntimeError(msg)


async def arun_agent(
    agent: Agent,
    inputs: Iterable[T],
    *,
    key: Callable[[T], str | None] | None = None,
    store: Store | None = None,
) -> list[Any]:
    """Run an agent over some inputs, to the end; see `run_agent`.

    Cancellation: the worker stops gracefully; over a store that stays, the accepted inputs go
    on with the next worker.
    """
    async with Worker(agent, store=store) as worker:
        return [output.value async for output in worker.process(inputs, key=key)]
