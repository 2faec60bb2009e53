"""When a call is tried again, and after how long."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_agents.errors import TerminalError
from durable_agents.retry import RetryPolicy

ERROR = ConnectionError("gone")
EVEN = 0.5
"""The chance that neither lengthens nor shortens a wait."""


class Rejected(TerminalError):
    """The card was refused: no use in asking again."""


def test_nothing_is_retried_unless_declared() -> None:
    """A call with a side effect must not be repeated by default."""
    assert RetryPolicy().wait_after(1, ERROR, EVEN) is None


def test_waits_grow_up_to_the_longest() -> None:
    """From `initial`, by `factor`, to `maximum`."""
    policy = RetryPolicy(max_attempts=6, initial=1.0, factor=3.0, maximum=20.0)

    waits = [policy.wait_after(attempt, ERROR, EVEN) for attempt in range(1, 6)]

    assert [1.0, 3.0, 9.0, 20.0, 20.0] == waits


@pytest.mark.parametrize(("attempts", "expected"), [(3, None), (4, 4.0), (5, 4.0)])
def test_the_last_attempt_is_followed_by_none(attempts: int, expected: float | None) -> None:
    """The first attempt counts."""
    assert expected == RetryPolicy(max_attempts=attempts).wait_after(3, ERROR, EVEN)


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 1.5), (0.5, 2.0), (0.75, 2.25)])
def test_chance_moves_a_wait_by_its_share_at_most(chance: float, expected: float) -> None:
    """So that calls that failed together do not come back together."""
    policy = RetryPolicy(max_attempts=9, jitter=0.25)

    assert expected == policy.wait_after(2, ERROR, chance)


@pytest.mark.parametrize(
    "error",
    [TerminalError("no"), Rejected("no"), asyncio.CancelledError(), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_interrupts_and_terminal_errors_are_never_retried(error: BaseException) -> None:
    """Whatever was declared."""
    policy = RetryPolicy(max_attempts=9, retry_on=(BaseException,))

    assert policy.wait_after(1, error, EVEN) is None


def test_only_declared_errors_are_retried() -> None:
    """With their subclasses."""
    policy = RetryPolicy(max_attempts=9, retry_on=(OSError, KeyError))

    assert 1.0 == policy.wait_after(1, ERROR, EVEN)
    assert 1.0 == policy.wait_after(1, KeyError("k"), EVEN)
    assert policy.wait_after(1, ValueError("v"), EVEN) is None


@pytest.mark.parametrize(
    "figures",
    [
        {"max_attempts": 0},
        {"initial": -1.0},
        {"maximum": -1.0},
        {"factor": 0.5},
        {"factor": 1e5},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"initial": float("nan")},
        {"maximum": float("nan")},
        {"factor": float("nan")},
        {"jitter": float("nan")},
    ],
    ids=str,
)
def test_figures_that_make_no_schedule_are_refused(figures: dict[str, Any]) -> None:
    """At once, and not after the first failure."""
    with pytest.raises(ValueError, match="expected"):
        RetryPolicy(**figures)


policies = st.builds(
    RetryPolicy,
    max_attempts=st.just(10**6 + 1),
    initial=st.floats(0, 1e9),
    factor=st.floats(1, 1000),
    maximum=st.floats(0, 1e9),
    jitter=st.floats(0, 1),
)


@given(policy=policies, attempt=st.integers(1, 10**6), chance=st.floats(0, 1, exclude_max=True))
def test_every_wait_is_a_number_of_seconds_that_can_be_waited(
    policy: RetryPolicy, attempt: int, chance: float
) -> None:
    """However late the attempt and however steep the schedule."""
    wait = policy.wait_after(attempt, ERROR, chance)

    assert wait is not None
    assert 0 <= wait <= policy.maximum * (1 + policy.jitter)
