"""Whether an action only waits, and until when."""

import asyncio

import pytest

from durable_agents.worker._present_waits import PresentWait, PresentWaits


def waits(*paths: str, due: float | None = None) -> PresentWaits:
    """One wait in each branch."""
    present = PresentWaits()
    for path in paths:
        present.add(PresentWait(path, due, None))
    return present


@pytest.mark.parametrize(
    ("waiting", "tasks", "covers"),
    [
        (("",), ("",), True),
        (("/0.0.a",), ("", "/0.0.a"), True),
        (("/0.0.a", "/0.1.a/0.0.b"), ("", "/0.0.a", "/0.1.a", "/0.1.a/0.0.b"), True),
        (("/0.0.a",), ("", "/0.0.a", "/0.1.a"), False),
        (("/0.0.ab",), ("/0.0.a",), False),
        (("/0.0.a-b", "/0.0.a/0.0.b"), ("/0.0.a",), True),
        ((), ("",), False),
    ],
)
def test_each_task_waits_or_has_one_below_it_that_does(
    waiting: tuple[str, ...], tasks: tuple[str, ...], *, covers: bool
) -> None:
    """A name that begins like another one is no branch below it."""
    assert covers == waits(*waiting).cover(tasks)


def test_what_is_due_first_counts_waits_and_timeouts() -> None:
    """Neither, for one that only a signal wakes."""
    timeout = object()
    present = waits("", due=5.0)
    present.set_deadline(timeout, 3.0)
    assert 3.0 == present.due
    present.set_deadline(timeout, None)
    assert 5.0 == present.due
    assert waits("").due is None


async def test_a_wait_is_over_as_soon_as_its_signal_is_there() -> None:
    """Whether or not its task has made a step since."""
    coming: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    present, wait = PresentWaits(), PresentWait("", None, coming)
    present.add(wait)
    assert not present.has_come
    coming.set_result(1)
    assert present.has_come
    present.remove(wait)
    assert not present
