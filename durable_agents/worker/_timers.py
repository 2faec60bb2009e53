"""Timers that the code of actions sets on the event loop, and that no journal knows of.

A run with such a timer (`asyncio.timeout` around a durable wait) has to stay in memory: out of
it, nothing would fire. A loop tells nobody of its timers, so its two public methods that set
them are wrapped while a worker is open, whatever loop it is.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

__all__ = ["SetTimers", "unwatch", "watch"]

_METHODS = ("call_at", "call_later")
_FEWEST_KEPT = 32


class SetTimers:
    """The timers that one action has set, as far as they are still to come."""

    __slots__ = ("_handles", "_look_at")

    def __init__(self) -> None:
        self._handles: list[asyncio.TimerHandle] = []
        self._look_at = _FEWEST_KEPT

    def __bool__(self) -> bool:
        now = asyncio.get_running_loop().time()
        self._handles = [h for h in self._handles if not h.cancelled() and h.when() > now]
        return bool(self._handles)

    def add(self, handle: asyncio.TimerHandle) -> None:
        """Another one was set."""
        if len(self._handles) >= self._look_at:
            self._look_at = _FEWEST_KEPT + 2 * len(self._handles) if self else _FEWEST_KEPT
        self._handles.append(handle)


class Watcher(Protocol):
    """Who has to know of timers."""

    def timer_set(self, handle: asyncio.TimerHandle) -> None:
        """A timer was set, by whichever code."""
        ...


_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Watcher]] = WeakKeyDictionary()


def watch(loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
    """Tell a watcher of each timer that is set on a loop."""
    watchers = _watchers.setdefault(loop, [])
    watchers.append(watcher)
    if len(watchers) == 1:
        for name in _METHODS:
            setattr(loop, name, partial(_set_timer, watchers, getattr(loop, name)))


def unwatch(loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
    """Tell a watcher no more.

    Where somebody has wrapped a method once more since, ours stays and tells nobody.
    """
    watchers = _watchers[loop]
    watchers.remove(watcher)
    if watchers:
        return
    del _watchers[loop]
    for name in _METHODS:
        ours = vars(loop).get(name)
        if isinstance(ours, partial) and ours.func is _set_timer:
            delattr(loop, name)


def _set_timer(
    watchers: list[Watcher],
    before: Callable[..., asyncio.TimerHandle],
    when: float,
    callback: Callable[..., object],
    *args: Any,
    context: Context | None = None,
) -> asyncio.TimerHandle:
    handle = before(when, callback, *args, context=context)
    for watcher in watchers:
        watcher.timer_set(handle)
    return handle
