"""Timers of the loop that are set by the code of actions are known, and no others."""

import asyncio
from functools import partial

import pytest

from durable_agents.worker._timers import SetTimers, unwatch, watch


class Watcher:
    """Notes what it is told of."""

    def __init__(self) -> None:
        self.handles: list[asyncio.TimerHandle] = []

    def timer_set(self, handle: asyncio.TimerHandle) -> None:
        self.handles.append(handle)


async def test_all_who_watch_are_told_of_a_timer_until_they_do_not() -> None:
    """The loop's methods are its own again when the last one has gone."""
    loop = asyncio.get_running_loop()
    before = (loop.call_at, loop.call_later)
    first, second = Watcher(), Watcher()

    watch(loop, first)
    watch(loop, second)
    loop.call_at(loop.time() + 1, print).cancel()
    assert 1 == len(first.handles) == len(second.handles)
    unwatch(loop, first)
    loop.call_later(1, print).cancel()
    unwatch(loop, second)
    loop.call_later(1, print).cancel()

    assert 1 == len(first.handles)
    assert 1 < len(second.handles)
    assert before == (loop.call_at, loop.call_later)


async def test_a_timer_counts_while_it_is_to_come() -> None:
    """One that was cancelled or has fired calls nothing back any more."""
    loop = asyncio.get_running_loop()
    timers, fired = SetTimers(), asyncio.Event()
    assert not timers

    later, now = loop.call_later(60, print), loop.call_later(0, fired.set)
    timers.add(later)
    timers.add(now)
    await fired.wait()
    assert timers
    later.cancel()
    assert not timers


async def test_timers_that_are_over_are_forgotten() -> None:
    """An action may set any number of them, one after the other."""
    loop, timers = asyncio.get_running_loop(), SetTimers()
    for _ in range(1000):
        handle = loop.call_later(60, print)
        timers.add(handle)
        handle.cancel()

    assert len(timers._handles) < 100  # noqa: SLF001 - what is kept shows nowhere else


async def test_a_method_that_somebody_else_has_wrapped_since_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Theirs calls ours, which tells nobody any more."""
    loop, watcher = asyncio.get_running_loop(), Watcher()
    watch(loop, watcher)
    ours = loop.call_later
    monkeypatch.setattr(loop, "call_later", partial(ours))
    theirs = loop.call_later
    again = Watcher()
    unwatch(loop, watcher)
    watch(loop, again)
    unwatch(loop, again)

    assert theirs is loop.call_later
    loop.call_later(60, print).cancel()
    assert [] == watcher.handles == again.handles
