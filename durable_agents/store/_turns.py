"""Gives threads of the store their turn beside a loop that never rests.

A thread that wants the interpreter's lock waits for 5 ms (`sys.getswitchinterval`) and then
demands it. If the lock is let go meanwhile, be it for a microsecond, the thread is woken, comes
too late, and waits anew; nothing is demanded. A loop lets go of it in each pass, when it looks
for input. So passes of a millisecond, one after the other, keep a thread from its turn for
seconds: `benchmarks.latency.commit busy` saw 12 s for one commit, 0.4 ms beside an idle loop.

What helps is real rest. While threads of ours have work and the loop computes, the loop sleeps
now and then: soon and about as long as a small commit takes, then more and more seldom, since
what takes long waits for the disk and not for us. However many pieces of work there are at
once, the loop rests for all of them together.
"""

import asyncio
import select
import time
from types import TracebackType

__all__ = ["Turns"]

_PATIENCE, _LAST_LOOK = 0.0005, 0.005
"""Seconds: before the first rest, and most that there is between two of them."""
_FIRST_REST, _REST = 0.0006, 0.0003
"""Seconds. A thread takes 50 us to wake, a commit of one row 300 to be on a fast disk."""
_BUSY = 0.5
"""A loop that computes for more than this share of its time is one that does not rest."""


class Turns:
    """`with turns:` while a thread has a piece of work; pieces may overlap.

    Args:
        loop: The running one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at_work = 0
        self._pause, self._rest = _PATIENCE, _FIRST_REST
        self._looked_at = self._computed = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._at_work += 1
        if self._at_work == 1:
            self._pause, self._rest = _PATIENCE, _FIRST_REST
            self._look_again(_PATIENCE)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._at_work -= 1
        if not self._at_work and self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        computed = time.thread_time() - self._computed
        if computed > _BUSY * (self._loop.time() - self._looked_at):
            _sleep(self._rest)
            self._rest = _REST
        self._look_again(self._pause)
        self._pause = min(2 * self._pause, _LAST_LOOK)

    def _look_again(self, wait: float) -> None:
        self._looked_at, self._computed = self._loop.time(), time.thread_time()
        self._timer = self._loop.call_later(wait, self._look)


def _sleep(seconds: float) -> None:
    # What watches loops for blocking calls takes `time.sleep` for a mistake; this is meant.
    select.select([], [], [], seconds)
