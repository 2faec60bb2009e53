"""What grows is found out, and what only wavers is not taken for it."""

import random
from collections.abc import Callable

import pytest

from tests.proof.trend import Series

SAMPLES = 90


def sampled(figure: Callable[[int], float], count: int = SAMPLES) -> Series:
    series = Series("figure", slack=5.0)
    for moment in range(count):
        series.add(moment, figure(moment))
    return series


@pytest.mark.parametrize("seed", range(20))
def test_a_figure_that_wavers_is_flat(seed: int) -> None:
    """A sample that stands out bends nothing."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    series = sampled(lambda moment: 100 + chance.gauss(0, 4) + 500 * (moment % 10 == 9))

    assert series.is_flat


def test_warming_up_is_free() -> None:
    """What is allocated once at first is no leak."""
    series = sampled(lambda moment: min(moment, SAMPLES // 3) * 10.0)

    assert series.is_flat
    assert 300.0 == series.median


@pytest.mark.parametrize("seed", range(20))
def test_a_figure_that_grows_slowly_is_found_out(seed: int) -> None:
    """By a tenth of what it is, over all samples, under as much noise."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    series = sampled(lambda moment: 100 + 10 * moment / SAMPLES + chance.gauss(0, 1))

    assert not series.is_flat
    assert "GROWS" in str(series)


def test_many_samples_take_no_more_room_than_few() -> None:
    """The program that measures must not grow itself; the slope stays what it is."""
    series = sampled(lambda moment: 100 + moment / 100, count=10_000)

    assert len(series.samples) <= 400
    assert not series.is_flat
    assert 199.99 == series.last


def test_a_figure_that_nobody_measured_is_flat() -> None:
    """There may be no life of which it is known."""
    series = Series("figure", slack=5.0)

    assert series.is_flat
    assert 0.0 == series.median
