"""An event loop that runs what is ready in an order of its own, and never waits for time.

A schedule must be one that can really happen, or what it breaks proves nothing. Three promises
of asyncio bind it:

- A pass of the loop runs all that is ready when it begins, nothing that becomes ready in it. So
  handles change places within a pass, never beyond it; what takes longer in reality (a call,
  a commit) takes a number of passes drawn by lot, see `Chance.passes`.
- `call_soon` is first in, first out. Whoever wakes two waiters knows who goes first: queues,
  locks and `gather` rely on it, and so may every action. So handles of one actor keep their
  order. An actor is one action run with all its tasks, each thing that a call or a commit
  waits for, the disk, or the worker.
- What belongs to different actors has no such promise: which of them is ready first depends on
  sockets, threads and disks. So handles of different actors are mixed at random.

Its clock stands still while anything is ready, and then jumps to the next timer: hours of
waiting cost nothing, and a timer fires when all else has come to rest.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random
from typing import Any

__all__ = ["Chance", "RandomLoop", "acting_as"]

_ACTOR: ContextVar[object] = ContextVar("actor", default=None)


@contextmanager
def acting_as(name: object) -> Iterator[None]:
    """What the block does, and tasks that it starts, is an actor's of this name."""
    token = _ACTOR.set(name)
    try:
        yield
    finally:
        _ACTOR.reset(token)


class Chance(Random):  # noqa: S311 - not a secret
    """All that is left to chance in one schedule, drawn from one seed."""

    ties = 0
    """Waits that were cancelled in the very pass in which they would have ended. The task
    learns of that one pass sooner than on replay, where nothing else wakes it."""

    async def passes(self, most: int) -> None:
        """As many passes of the loop as the lot says, often few; waits as for a socket."""
        loop = asyncio.get_running_loop()
        arrival = loop.create_future()

        def count(left: int) -> None:
            if left > 0:
                loop.call_soon(count, left - 1)
            elif not arrival.done():
                arrival.set_result(None)

        # What arrives is nobody's; who waits for it wakes in its place among its own.
        with acting_as(object()):
            count(self.randint(0, self.choice([0, 3, most])))
        try:
            await arrival
        except asyncio.CancelledError:
            self.ties += not arrival.cancelled()
            raise


class RandomLoop(asyncio.SelectorEventLoop):
    """A loop whose schedule is drawn by lot.

    Args:
        chance: Draws it.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance
        self._now = 0.0

    def time(self) -> float:
        """Seconds of waiting that were passed over; the machine's clock would leave no seed
        as it was."""
        return self._now

    def run_to_rest(self) -> None:
        """Run until nothing is ready; no time passes."""

        def look() -> None:
            if self._ready:
                self.call_soon(look)
            else:
                self.stop()

        self.call_soon(look)
        self.run_forever()

    def wait(self, most: float) -> None:
        """Let time pass until the next timer, if it is no more than so many seconds away."""
        due = self._due()
        if due and min(due) <= self._now + most:
            self._now = max(self._now, min(due))

    def _due(self) -> list[float]:
        """When the timers fire that are to come."""
        return [timer.when() for timer in self._scheduled if not timer.cancelled()]

    def _run_once(self) -> None:
        # Of those that were cancelled the first may come first, and nothing waits for them.
        if not self._ready and (due := self._due()):
            self._now = max(self._now, min(due))
        # Taken one by one: a thread may add a handle at any moment.
        ready = [self._ready.popleft() for _ in range(len(self._ready))]
        self._ready.extendleft(reversed(self._mixed(ready)))
        super()._run_once()  # type: ignore[misc]  # the one seam that asyncio has

    def _mixed(self, ready: list[asyncio.Handle]) -> list[asyncio.Handle]:
        """The same handles; those of one actor in their order."""
        actors = [_actor(handle) for handle in ready]
        waiting: dict[object, deque[asyncio.Handle]] = {}
        for actor, handle in zip(actors, ready, strict=True):
            waiting.setdefault(actor, deque()).append(handle)
        if len(waiting) > 1:
            self._chance.shuffle(actors)
        return [waiting[actor].popleft() for actor in actors]


def _actor(handle: asyncio.Handle) -> Any:  # noqa: ANN401
    context = handle._context  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public tells
    return context.get(_ACTOR)
