"""A loop that never rests gives the store's threads their turn."""

import asyncio
import pathlib
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from operator import attrgetter

import pytest

from durable_agents.store import _turns
from durable_agents.store._turns import Turns


class Timer:
    """What `call_later` gives."""

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """Time as a test has it: the share of it that the loop computes, and its rests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
        self.now = 100.0
        self.rests: list[tuple[float, float]] = []
        self._share = share
        self._timers: list[Timer] = []
        monkeypatch.setattr(_turns.time, "thread_time", lambda: self.now * share)
        monkeypatch.setattr(_turns, "_sleep", self._sleep)

    def time(self) -> float:
        return self.now

    def call_later(self, wait: float, callback: Callable[[], None]) -> object:
        timer = Timer(self.now + wait, callback)
        self._timers.append(timer)
        return timer

    def run(self, seconds: float) -> None:
        """Let so much time go by."""
        end = self.now + seconds
        while (due := [timer for timer in self._timers if timer.at <= end]) and (
            timer := min(due, key=attrgetter("at"))
        ):
            self._timers.remove(timer)
            self.now = max(self.now, timer.at)
            if not timer.is_cancelled:
                timer.callback()
        self.now = max(self.now, end)

    def _sleep(self, seconds: float) -> None:
        self.rests.append((round((self.now - 100) * 1e3, 1), seconds))
        self.now += seconds


def turns_of(loop: Loop) -> Turns:
    return Turns(loop)  # type: ignore[arg-type]  # as much of a loop as is asked for


def test_a_loop_that_computes_rests_soon_and_then_more_and_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that a small commit is done at once, and a slow disk does not hold the loop up."""
    loop = Loop(monkeypatch, share=1.0)

    with turns_of(loop):
        loop.run(0.1)

    times = [time for time, _ in loop.rests]
    assert (0.5, 0.0006) == loop.rests[0]
    assert {0.0003} == {rest for _, rest in loop.rests[1:]}
    gaps = [round(after - before, 1) for before, after in pairwise(times)]
    assert [1.1, 1.3, 2.3, 4.3, 5.3] == gaps[:5]
    assert {5.3} == set(gaps[5:])


def test_a_loop_that_waits_does_not_rest_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets go of the interpreter's lock while it waits for input."""
    loop = Loop(monkeypatch, share=0.4)

    with turns_of(loop):
        loop.run(0.1)

    assert [] == loop.rests


def test_work_that_is_done_soon_costs_the_loop_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it there is, one piece after the other."""
    loop = Loop(monkeypatch, share=1.0)

    turns = turns_of(loop)

    for _ in range(100):
        with turns:
            loop.run(0.0004)
    loop.run(0.1)

    assert [] == loop.rests


def test_the_loop_rests_once_for_all_work_that_overlaps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand runs that are taken over at once ask for a thousand reads at once."""
    loop = Loop(monkeypatch, share=1.0)
    turns = turns_of(loop)

    with ExitStack() as work:
        for _ in range(1000):
            work.enter_context(turns)
        loop.run(0.05)
    loop.run(0.05)

    assert 15 > len(loop.rests)


async def test_commits_beside_a_loop_that_never_rests_come_to_an_end() -> None:
    """Before, some took ten seconds, and a hundred of them were never seen to end."""
    turns = Turns(asyncio.get_running_loop())
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        computing = tasks.create_task(_compute())
        for _ in range(30):
            with turns:
                await asyncio.to_thread(_work)
        computing.cancel()


def _work() -> None:
    """Give the lock away and get it back, as a statement of SQLite does."""
    with pathlib.Path("/dev/null").open("wb", buffering=0) as nothing:
        nothing.writelines(b"x" for _ in range(5))


async def _compute() -> None:
    loop = asyncio.get_running_loop()
    while True:
        end = loop.time() + 0.001
        while loop.time() < end:
            pass
        await asyncio.sleep(0)
