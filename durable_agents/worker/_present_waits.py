"""What the tasks of an action wait for at this moment, and until when."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable

import msgspec

__all__ = ["PresentWait", "PresentWaits"]


class PresentWait(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A task that waits for time or a signal."""

    path: str
    """Of its branch."""
    due: float | None
    """When the wait is over whatever comes; None: never."""
    coming: asyncio.Future[int] | None
    """Done when what it waits for has come."""


class PresentWaits:
    """The waits of one start of one action, and the timeouts around them."""

    __slots__ = ("_deadlines", "_waits")

    def __init__(self) -> None:
        self._waits: dict[PresentWait, None] = {}
        self._deadlines: dict[object, float] = {}

    def __bool__(self) -> bool:
        return bool(self._waits)

    def add(self, wait: PresentWait) -> None:
        """A task has begun to wait."""
        self._waits[wait] = None

    def remove(self, wait: PresentWait) -> None:
        """It does not wait any more."""
        del self._waits[wait]

    def set_deadline(self, timeout: object, due: float | None) -> None:
        """A timeout fires then; None: it does not any more."""
        if due is None:
            self._deadlines.pop(timeout, None)
        else:
            self._deadlines[timeout] = due

    @property
    def due(self) -> float | None:
        """When the first wait or timeout is over, whatever signals come; None: never."""
        dues = [wait.due for wait in self._waits if wait.due is not None]
        return min([*dues, *self._deadlines.values()], default=None)

    @property
    def has_come(self) -> bool:
        """Whether what some task waits for is there, and it has not noticed yet."""
        return any(wait.coming is not None and wait.coming.done() for wait in self._waits)

    def cover(self, paths: Iterable[str]) -> bool:
        """Whether each of these branches waits, or has one below it that does."""
        waiting = sorted(wait.path for wait in self._waits)
        return all(_is_above_one_of(path, waiting) for path in paths)


def _is_above_one_of(path: str, waiting: list[str]) -> bool:
    """Whether a branch is one of those that wait, or above one; they are sorted."""
    at = bisect_left(waiting, path)
    if at < len(waiting) and waiting[at] == path:
        return True
    below = f"{path}/"
    at = bisect_left(waiting, below)
    return at < len(waiting) and waiting[at].startswith(below)
