"""Time stands still, and passes when it is told to."""

import asyncio

import pytest

from durable_agents import Clock, SystemClock
from durable_agents.testing import ManualClock


async def asleep(
    clock: ManualClock, *naps: float
) -> tuple[list[float], asyncio.Future[list[None]]]:
    """Tasks that sleep for so long; the list gets each nap when it is over."""
    woken: list[float] = []

    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    task = asyncio.ensure_future(asyncio.gather(*(nap(seconds) for seconds in naps)))
    await passes()
    return woken, task


async def passes() -> None:
    """Let whatever is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_it_is_a_clock() -> None:
    """Whoever takes a clock takes this one; the type checker says so, too."""
    clocks: list[Clock] = [SystemClock(), ManualClock(now=5.0)]
    clock = clocks[1]

    assert 5.0 == clock.now()
    assert clock.monotonic() == clock.monotonic()


def test_advancing_moves_both_clocks() -> None:
    """Time passes for the wall and for durations alike."""
    clock = ManualClock(now=100.0)
    before = clock.monotonic()

    clock.advance(2.5)

    assert (102.5, 2.5) == (clock.now(), clock.monotonic() - before)


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    """Not in the order in which they fell asleep."""
    clock = ManualClock()
    woken, task = await asleep(clock, 3.0, 1.0, 2.0)

    clock.advance(3.0)
    await task

    assert [1.0, 2.0, 3.0] == woken


async def test_sleepers_of_one_moment_wake_in_the_order_in_which_they_fell_asleep() -> None:
    """As on a real loop; a test must not depend on a heap's mood."""
    clock = ManualClock()
    order: list[str] = []

    async def nap(name: str) -> None:
        await clock.sleep(1.0)
        order.append(name)

    task = asyncio.ensure_future(asyncio.gather(*(nap(name) for name in "abcde")))
    await passes()
    clock.advance(1.0)
    await task

    assert list("abcde") == order


async def test_nobody_wakes_too_early() -> None:
    """A sleep takes at least as long as it says."""
    clock = ManualClock()
    woken, task = await asleep(clock, 1.0, 2.0)

    clock.advance(1.5)
    await passes()

    assert ([1.0], 1) == (woken, clock.sleeping_count)
    clock.advance(0.5)
    await task


async def test_no_time_at_all_is_one_pass_of_the_loop() -> None:
    """Otherwise a loop around `sleep(0)` would never let anybody in."""
    await ManualClock().sleep(0)


async def test_a_cancelled_sleeper_leaves_nothing_behind() -> None:
    """Nor does it stop the others."""
    clock = ManualClock()
    _, cancelled = await asleep(clock, 1.0)
    woken, task = await asleep(clock, 1.0)

    cancelled.cancel()
    await passes()

    assert 1 == clock.sleeping_count
    clock.advance(1.0)
    await task
    assert [1.0] == woken


async def test_a_sleeper_cancelled_as_it_wakes_is_no_trouble() -> None:
    """The wake-up is dropped, and the next advance does not trip over it."""
    clock = ManualClock()
    woken, task = await asleep(clock, 1.0)

    task.cancel()
    clock.advance(1.0)
    clock.advance(1.0)
    await passes()

    assert ([], 0) == (woken, clock.sleeping_count)


async def test_the_wall_clock_can_jump_and_nobody_wakes() -> None:
    """As when an administrator sets it, forward or back."""
    clock = ManualClock(now=100.0)
    _, task = await asleep(clock, 1.0)
    before = clock.monotonic()

    clock.jump(-50.0)
    clock.jump(1000.0)
    await passes()

    assert (1050.0, before, 1) == (clock.now(), clock.monotonic(), clock.sleeping_count)
    clock.advance(1.0)
    await task


def test_time_does_not_go_backwards() -> None:
    """A negative advance is a mistake in the test."""
    with pytest.raises(ValueError, match="use jump"):
        ManualClock().advance(-1.0)


def test_a_restart_of_the_machine_counts_anew_under_another_id() -> None:
    """Times of before say nothing afterwards."""
    clock = ManualClock()
    before = clock.boot_id()
    clock.reboot()

    assert 0.0 == clock.monotonic()
    assert before != clock.boot_id()
