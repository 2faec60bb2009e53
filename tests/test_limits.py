"""How many calls a service bears: found, kept, and given up again."""

# ruff: noqa: ANN401, S311 - options and mistakes of any type; latencies are no secret

import heapq
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_agents.errors import CallTimeoutError
from durable_agents.limits import AdaptiveLimit, LimitRule


class RateLimited(Exception):
    """What a service answers that has enough."""

    status = 429


class Service:
    """Works on `capacity` calls at once, in order; callers keep as many in flight as they may.

    Args:
        settings: The limit under test.
        capacity: Calls that it works on at once.
        seconds: What the next call takes.
        refuses_from: Calls in flight from which on it refuses further ones at once.
    """

    def __init__(
        self,
        settings: AdaptiveLimit,
        capacity: int,
        seconds: Callable[[], float] = lambda: 1.0,
        refuses_from: float = math.inf,
    ) -> None:
        self.rule = LimitRule(settings)
        self.seconds = seconds
        self.refused_count = 0
        self._refuses_from = refuses_from
        self._now = 0.0
        self._free_at = [0.0] * capacity
        self._in_flight: list[tuple[float, float, bool]] = []

    def limits(self, count: int) -> list[int]:
        """The limit after each of the next calls that end."""
        return [self._end_one() for _ in range(count)]

    def _end_one(self) -> int:
        while len(self._in_flight) < self.rule.limit:
            self._begin()
        in_flight = len(self._in_flight)
        self._now, began, is_refused = heapq.heappop(self._in_flight)
        self.refused_count += is_refused
        return self.rule.observe(in_flight, self._now - began, is_overload=is_refused)

    def _begin(self) -> None:
        is_refused = len(self._in_flight) >= self._refuses_from
        if is_refused:
            end = self._now
        else:
            end = max(self._now, heapq.heappop(self._free_at)) + self.seconds()
            heapq.heappush(self._free_at, end)
        heapq.heappush(self._in_flight, (end, self._now, is_refused))


def rule_at(limit: int, **options: Any) -> LimitRule:
    """A rule that stands at a limit."""
    return LimitRule(AdaptiveLimit(initial=limit, **options))


def ended(
    rule: LimitRule, count: int, latency: float = 1.0, in_flight: int | None = None
) -> int:
    """The limit after calls that ended well, by default as many in flight as may be."""
    for _ in range(count):
        now = rule.limit if in_flight is None else in_flight
        rule.observe(now, latency, is_overload=False)
    return rule.limit


# --- a service with a queue -------------------------------------------------------------------


@pytest.mark.parametrize(("initial", "samples"), [(None, 10), (1, 70), (20, 0), (40, 0)])
def test_the_capacity_is_reached_within_tens_of_samples(
    initial: int | None, samples: int
) -> None:
    """By doubling, from wherever it starts."""
    service = Service(AdaptiveLimit(initial=initial), capacity=20)

    assert service.rule.limit >= 20 or max(service.limits(samples)) >= 20


@pytest.mark.parametrize("capacity", [5, 20, 100])
def test_the_limit_stays_near_the_capacity_once_it_is_found(capacity: int) -> None:
    """Never far above it, and below it for as long as the baseline is measured, no longer."""
    service = Service(AdaptiveLimit(), capacity)
    service.limits(30 * capacity)

    limits = service.limits(5000)

    assert max(limits) <= 2 * capacity + 5
    assert min(limits) >= capacity // 4
    assert 0.9 < sum(limit >= capacity for limit in limits) / len(limits)


@pytest.mark.parametrize("initial", [50, 200])
def test_a_start_far_above_the_capacity_is_corrected(initial: int) -> None:
    """Although no call was ever seen that did not queue."""
    service = Service(AdaptiveLimit(initial=initial), capacity=5)
    service.limits(20_000)

    assert max(service.limits(2000)) <= 15


def test_latencies_that_vary_do_not_keep_the_limit_down() -> None:
    """A standard deviation as large as the mean: answers of a model, short and long."""
    chance = random.Random(5)
    service = Service(AdaptiveLimit(), 20, seconds=lambda: chance.expovariate(1.0))
    service.limits(2000)

    limits = service.limits(10_000)

    assert 20 < sum(limits) / len(limits) < 70


def test_a_service_that_became_slower_for_good_is_used_fully_again() -> None:
    """What it takes where nothing queues is measured anew."""
    service = Service(AdaptiveLimit(), capacity=50)
    service.limits(2000)
    service.seconds = lambda: 4.0

    slowed = service.limits(5000)

    assert min(slowed) < 25
    assert max(slowed[-1000:]) >= 50


def test_a_service_that_refuses_is_asked_for_little_more_than_it_takes() -> None:
    """Up to the bound, down by a factor, up again; one refusal in fifty at most."""
    chance = random.Random(5)
    service = Service(AdaptiveLimit(), 1000, lambda: chance.uniform(0.5, 1.5), refuses_from=30)
    service.limits(500)
    service.refused_count = 0

    limits = service.limits(5000)

    assert max(limits) <= 30 + math.isqrt(30)
    assert service.refused_count <= 100


# --- single steps -----------------------------------------------------------------------------


def test_an_overload_takes_the_limit_down_by_the_declared_factor() -> None:
    """At once, without waiting for the round to end."""
    rule = rule_at(100, backoff=0.6)

    assert 60 == rule.observe(1, 0.0, is_overload=True)
    assert 36 == rule.observe(1, 0.0, is_overload=True)


def test_what_was_in_flight_at_an_overload_counts_no_more() -> None:
    """A burst of refusals is one overload."""
    rule = rule_at(100, backoff=0.5)

    answers = [rule.observe(n, 0.0, is_overload=True) for n in range(100, 0, -1)]

    assert [50] * 100 == answers
    assert 25 == rule.observe(50, 0.0, is_overload=True)


def test_a_limit_that_was_never_reached_is_not_raised() -> None:
    """Nothing is known about what it would have admitted."""
    rule = rule_at(10)

    assert 10 == ended(rule, 1000, in_flight=9)


def test_after_the_first_sign_of_a_queue_the_limit_grows_by_its_root() -> None:
    """Half of it in a round."""
    rule = rule_at(100, backoff=0.64)
    rule.observe(1, 0.0, is_overload=True)

    assert 64 == ended(rule, 63)
    assert 68 == ended(rule, 1)


def test_the_baseline_is_measured_at_a_quarter_of_the_limit() -> None:
    """For one round in twenty; then the limit is what it was."""
    rule = rule_at(40, maximum=40)
    for _ in range(20):
        assert 40 == rule.limit
        ended(rule, 40, in_flight=40)
        if rule.limit == 40:
            ended(rule, 39, in_flight=40)

    assert 10 == rule.limit
    assert 10 == ended(rule, 39 + 9, in_flight=10)
    assert 40 == ended(rule, 1)


def test_an_overload_ends_the_measuring_of_the_baseline() -> None:
    """The limit is what it was, times the factor."""
    rule = rule_at(40, maximum=40, backoff=0.5)
    ended(rule, 20 * 40 + 19 * 39, in_flight=40)
    ended(rule, 39)

    assert 10 == rule.limit
    assert 20 == rule.observe(10, 1.0, is_overload=True)


def test_without_a_bound_on_latency_overloads_alone_count() -> None:
    """Neither is a queue noticed nor a baseline measured."""
    service = Service(AdaptiveLimit(tolerance=math.inf, maximum=500), capacity=5)

    limits = service.limits(30_000)

    assert limits == sorted(limits)
    assert 500 == limits[-1]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [({}, 10), ({"maximum": 4}, 4), ({"minimum": 16}, 16), ({"initial": 7}, 7)],
    ids=str,
)
def test_the_start_is_ten_or_the_nearest_bound(bounds: dict[str, Any], expected: int) -> None:
    """Unless it is declared."""
    assert expected == LimitRule(AdaptiveLimit(**bounds)).limit


# --- settings ---------------------------------------------------------------------------------


def test_timeouts_are_overloads_by_default_and_nothing_else() -> None:
    """Ours included."""
    limit = AdaptiveLimit()

    assert limit.is_overload(CallTimeoutError("fn", 1.0))
    assert limit.is_overload(TimeoutError())
    assert not limit.is_overload(RateLimited())


@pytest.mark.parametrize(
    "overloads",
    [(RateLimited,), lambda error: getattr(error, "status", None) == 429],
    ids=["classes", "function"],
)
def test_what_is_an_overload_can_be_declared(overloads: Any) -> None:
    """In place of the default."""
    limit = AdaptiveLimit(backs_off_on=overloads)

    assert limit.is_overload(RateLimited())
    assert not limit.is_overload(TimeoutError())


@pytest.mark.parametrize(
    "figures",
    [
        {"minimum": 0},
        {"minimum": 5, "maximum": 4},
        {"initial": 0},
        {"initial": 257},
        {"tolerance": 0.9},
        {"tolerance": math.nan},
        {"backoff": 0.0},
        {"backoff": 1.0},
        {"backoff": math.nan},
    ],
    ids=str,
)
def test_figures_that_make_no_limit_are_refused(figures: dict[str, Any]) -> None:
    """At once, with what was expected."""
    with pytest.raises(ValueError, match=rf"{next(iter(figures))} is .*expected"):
        AdaptiveLimit(**figures)


@pytest.mark.parametrize("overloads", [RateLimited, (429,), [RateLimited], 429, (int,)])
def test_what_cannot_tell_an_overload_is_refused(overloads: Any) -> None:
    """A bare class, too: it could be called, and would say yes to everything."""
    with pytest.raises(TypeError, match=r"backs_off_on is .*expected a tuple of exception"):
        AdaptiveLimit(backs_off_on=overloads)


# --- whatever happens -------------------------------------------------------------------------


@st.composite
def settings(draw: st.DrawFn) -> AdaptiveLimit:
    """Any settings that are accepted."""
    minimum, initial, maximum = sorted(draw(st.tuples(*[st.integers(1, 1000)] * 3)))
    return AdaptiveLimit(
        minimum=minimum,
        initial=draw(st.sampled_from([None, initial])),
        maximum=maximum,
        tolerance=draw(st.floats(1, math.inf)),
        backoff=draw(st.floats(0, 1, exclude_min=True, exclude_max=True)),
    )


samples = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.integers(1, 2000),
        st.floats(0, allow_infinity=False),
        st.booleans(),
    ),
    max_size=40,
)


@given(limit=settings(), samples=samples)
def test_the_limit_never_leaves_its_bounds(
    limit: AdaptiveLimit, samples: list[tuple[int, int, float, bool]]
) -> None:
    """Whatever the latencies, the calls in flight and the failures."""
    rule = LimitRule(limit)
    for count, in_flight, latency, is_overload in samples:
        for _ in range(count):
            answer = rule.observe(in_flight, latency, is_overload=is_overload)

            assert limit.minimum <= answer <= limit.maximum
            assert rule.limit == answer
