"""Decisions about the runs of a living worker: on record, then done by its dispatcher."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from durable_agents import recovery
from durable_agents.errors import RunError
from durable_agents.journal import RunStatus, SignalReceived
from durable_agents.store import Pause, state_of
from durable_agents.worker._decisions import Decide, cancel, find, put_back, signal
from durable_agents.worker._dispatcher import Dispatcher
from durable_agents.worker._run import Ending
from durable_agents.worker._services import Services

__all__ = ["Steering"]

_CALL_BACK_SECONDS = 1.0

T = TypeVar("T")


class Steering:
    """Decisions about the runs of a worker, one at a time.

    Args:
        dispatcher: The worker's.
        services: The worker's.
        agent: Name of the worker's agent.
    """

    def __init__(self, dispatcher: Dispatcher, services: Services, agent: str) -> None:
        self._agent = agent
        self._dispatcher = dispatcher
        self._services = services
        self._lock = asyncio.Lock()
        self._decisions: set[asyncio.Task[Any]] = set()

    async def _to_the_end(self, decision: Coroutine[Any, Any, T]) -> T:
        """Take a decision, and see it through even where its caller is cancelled.

        What is on record by then has to be done here, too: a run that was put back to work
        would stand still until the next worker.
        """
        loop = asyncio.get_running_loop()
        task = self._services.lineage.outside(lambda: loop.create_task(decision))
        self._decisions.add(task)
        task.add_done_callback(self._decided)
        return await asyncio.shield(task)

    def _decided(self, task: asyncio.Task[Any]) -> None:
        self._decisions.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have gone

    async def cancel(self, run_id: str, reason: str) -> None:
        """See `Worker.cancel`."""
        await self._to_the_end(self._cancel(run_id, reason))

    async def _cancel(self, run_id: str, reason: str) -> None:
        dispatcher, services = self._dispatcher, self._services
        async with self._called_back(run_id) as number, self._lock:
            with dispatcher.holding_back(number):
                active = dispatcher.active.get(number)
                if active is None:
                    await cancel(services.store, services.clock, run_id, reason)
                    dispatcher.cancelled(number, reason)
                    return
            ending = await active.cancel(reason)
        if ending is not None and ending.status is not RunStatus.CANCELLED:
            raise RunError(run_id, f"it could not be cancelled any more: {_how(ending)}")

    async def signal(self, run_id: str, received: SignalReceived, value: object) -> bool:
        """See `Worker.signal`."""
        dispatcher, services = self._dispatcher, self._services
        async with self._called_back(run_id, received.name) as number, self._lock:
            with dispatcher.holding_back(number):
                active = dispatcher.active.get(number)
                if active is None:
                    return await signal(services.store, run_id, received)
            active.mailbox.check(received.name, value)
            durable = active.signal(received)
        if durable is None:
            return False
        await asyncio.shield(durable)
        if dispatcher.active.get(number) is not active:
            _, state = await state_of(services.store, number)
            recovery.check_signal(state)
        return True

    @asynccontextmanager
    async def _called_back(self, run_id: str, name: str | None = None) -> AsyncGenerator[int]:
        """While inside, a run that had left memory is there, where it can be told.

        It takes a moment until it has come to what it waits for, and no longer than that: it
        may be paused, or its code ignores that it has to stop. What is then put on record for
        it, it finds when it starts.

        Args:
            run_id: The run.
            name: Of the signals that it should wait for; None: of any, or for time.

        Yields:
            Its number.
        """
        row = await find(self._services.store, run_id)
        number, evictions = row.number, self._dispatcher.evictions
        with evictions.keeping(number):
            with suppress(TimeoutError):
                async with asyncio.timeout(_CALL_BACK_SECONDS):
                    was_away = await evictions.call_back(row)
                    active = self._dispatcher.active.get(number)
                    if was_away and active is not None:
                        await active.wait_until_it_waits(name)
            yield number

    async def pause(self, pause: Pause) -> None:
        """See `Worker.pause`."""
        await self._to_the_end(self._pause(pause))

    async def _pause(self, pause: Pause) -> None:
        async with self._lock:
            await self._services.store.pause(pause)
            self._take([pause])

    async def resume(self, agent: str, key: str | None) -> bool:
        """See `Worker.resume`."""
        return await self._to_the_end(self._resume(agent, key))

    async def _resume(self, agent: str, key: str | None) -> bool:
        async with self._lock:
            was_paused = await self._services.store.resume(agent, key)
            if agent == self._agent and self._services.store.claims is None:
                self._dispatcher.scheduler.unpause(key)
                self._dispatcher.dispatch()
        return was_paused

    async def take_pauses(self) -> None:
        """What was paused in an earlier life still is; before anything starts."""
        self._take(await self._services.store.pauses())

    def _take(self, pauses: Iterable[Pause]) -> None:
        if self._services.store.claims is not None:
            return  # such runs are not claimed: no worker has them
        for pause in pauses:
            if pause.agent == self._agent:
                self._dispatcher.scheduler.pause(pause.key)
        self._dispatcher.dispatch()

    async def put_back(self, run_id: str, decide: Decide) -> None:
        """See `Worker.retry` and `Worker.resolve`."""
        await self._to_the_end(self._put_back(run_id, decide))

    async def _put_back(self, run_id: str, decide: Decide) -> None:
        services = self._services
        async with self._lock:
            row, write = await put_back(services.store, services.clock, run_id, decide)
            self._dispatcher.put_back(row, write)


def _how(ending: Ending) -> str:
    return ending.reason or f"it is {ending.status.name.lower()}"
