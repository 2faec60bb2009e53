"""A bound on how many do something at once: first come, first served.

`asyncio.Semaphore` would do, were it not for two things that every durable call needs: taking a
free place without a coroutine, and a gate that lets nobody in any more while those inside
leave.
"""

import asyncio
from collections import deque
from contextlib import suppress

__all__ = ["Places"]


class Places:
    """Places to take and to give back.

    Args:
        count: How many there are, >= 1.
    """

    __slots__ = ("_calm", "_count", "_free", "_is_closed", "_waiters")

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._is_closed = False
        self._calm: asyncio.Future[None] | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def taken_count(self) -> int:
        """How many are taken."""
        return self._count - self._free

    @property
    def is_closed(self) -> bool:
        """Whether nobody is let in any more."""
        return self._is_closed

    def try_take(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self._free > 0 and not self._waiters and not self._is_closed:
            self._free -= 1
            return True
        return False

    async def take(self) -> None:
        """Wait for a place. Cancellation: none is taken."""
        if self.try_take():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give_back()  # it had been handed over already: pass it on
            else:
                with suppress(ValueError):  # `give_back` may have passed it over already
                    self._waiters.remove(waiter)
            raise

    def give_back(self) -> None:
        """Let the next one have the place."""
        if not self._is_closed:
            while self._waiters:
                waiter = self._waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    return
        self._free += 1
        if self._calm is not None and self._free == self._count and not self._calm.done():
            self._calm.set_result(None)

    def close(self) -> None:
        """Let nobody in any more; who waits, waits on."""
        self._is_closed = True

    async def wait_until_empty(self) -> None:
        """Wait until every place has been given back. One waiter at a time."""
        if self._free < self._count:
            self._calm = asyncio.get_running_loop().create_future()
            await self._calm
