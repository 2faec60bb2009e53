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


class _Wrapped:
    """A loop whose methods are wrapped."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.watchers: list[Watcher] = []
        self.before = {name: vars(loop).get(name) for name in _METHODS}
        self.methods: dict[str, Callable[..., asyncio.TimerHandle]] = {
            name: partial(_set_timer, self.watchers, getattr(loop, name)) for name in _METHODS
        }


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Wrapped] = WeakKeyDictionary()


def watch(loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
    """Tell a watcher of each timer that is set on a loop."""
    wrapped = _loops.get(loop)
    if wrapped is None:
        wrapped = _loops[loop] = _Wrapped(loop)
        for name, method in wrapped.methods.items():
            setattr(loop, name, method)
    wrapped.watchers.append(watcher)


def unwatch(loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
    """Tell a watcher no more.

    Where somebody has wrapped a method once more since, ours stays and tells nobody.
    """
    wrapped = _loops[loop]
    wrapped.watchers.remove(watcher)
    if wrapped.watchers:
        return
    del _loops[loop]
    for name, method in wrapped.methods.items():
        if vars(loop).get(name) is not method:
            continue
        if wrapped.before[name] is None:
            delattr(loop, name)
        else:
            setattr(loop, name, wrapped.before[name])


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
