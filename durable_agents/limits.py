"""How many calls a service bears, found out while it is called. Pure: samples in, limit out.

The rule is a gradient limit, as in Netflix's concurrency-limits (`Gradient2Limit`) and Envoy's
adaptive concurrency filter. It works in rounds of as many samples as the limit admits. With
the mean latency of a round, and the baseline, what a call takes where nothing queues:

    gradient = min(1, tolerance * baseline / mean)
    limit   <- limit + smoothing * (gradient * limit + sqrt(limit) - limit)

While nothing queues the limit grows by a share of its square root; where latency rises it
settles at `tolerance` times what the service works on at once, and a square root more. Around
it:

- Slow start (RFC 5681, 3.1): until there is a first sign of a queue the limit doubles.
- An overload takes it down by a factor, at once (RFC 5681, 3.1; the factor of RFC 9438, 4.6).
- Calls that were in flight when the limit changed say nothing about the new one: as many
  samples are passed over. After an overload, further overloads are among them, so that one
  burst of refusals counts once (RFC 6582, 3.2).
- A limit that nothing reaches is not raised (RFC 7661).
- The baseline is the least mean of a round. It would stay so for ever where a service has
  become slower for good, so it is measured anew from time to time, as Envoy does its minRTT:
  for one round at a quarter of the limit. The first time is when the slow start ends.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AdaptiveLimit", "LimitRule"]

if TYPE_CHECKING:
    Overloads: TypeAlias = tuple[type[BaseException], ...] | Callable[[BaseException], bool]
else:
    # msgspec knows no such union, and would not read settings from a file for it.
    Overloads = Any

_INITIAL = 10
_FEWEST_SAMPLES = 10
"""Samples of a round at least: the mean of fewer is chance."""
_SMOOTHING = 0.5
_ROUNDS_PER_PROBE = 20
_PROBE_SHARE = 0.25


class AdaptiveLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that finds its own figure: `WorkerSettings(limits={"llm": AdaptiveLimit()})`.

    It grows while the latency of the calls holds, and shrinks when latency rises or a call
    fails of overload. What is running is never interrupted by it: a limit that shrank lets
    nobody in until enough have left.

    Raises:
        ValueError: A figure is out of its range.
        TypeError: `backs_off_on` is neither a tuple of exception classes nor a function.
    """

    minimum: int = 1
    """The least it shrinks to, >= 1."""
    maximum: int = 256
    """The most it grows to, >= `minimum`. Default: that of `WorkerSettings.num_async_threads`,
    which bounds it in any case."""
    initial: int | None = None
    """What a worker starts with, `minimum` to `maximum`. Default: 10, or the nearest bound."""
    tolerance: float = 1.5
    """Mean latency, as a multiple of what it is where nothing queues, from which on calls are
    taken to queue, >= 1. More suits calls that differ much in length; `math.inf` looks at
    overloads alone."""
    backoff: float = 0.7
    """What an overload multiplies the limit by, > 0 and < 1."""
    backs_off_on: Overloads = (TimeoutError,)
    """What is an overload: classes of exceptions, or a function that says so of one. It takes
    the place of the default, `TimeoutError`, which a declared `timeout` raises, too. Other
    failures are no samples: a call that fails at once says nothing about latency."""

    def __post_init__(self) -> None:
        """Refuse what no limit can be found with."""
        if not 1 <= self.minimum <= self.maximum:
            found = f"minimum is {self.minimum}, maximum {self.maximum}"
            msg = f"{found}; expected 1 <= minimum <= maximum"
            raise ValueError(msg)
        if self.initial is not None and not self.minimum <= self.initial <= self.maximum:
            msg = f"initial is {self.initial}, expected {self.minimum} to {self.maximum}"
            raise ValueError(msg)
        # What is asked is what must hold, so that a NaN is refused, too.
        if not self.tolerance >= 1:
            msg = f"tolerance is {self.tolerance}, expected >= 1"
            raise ValueError(msg)
        if not 0 < self.backoff < 1:
            msg = f"backoff is {self.backoff}, expected > 0 and < 1"
            raise ValueError(msg)
        _check_overloads(self.backs_off_on)

    def is_overload(self, error: BaseException) -> bool:
        """Whether an exception of a call says that the service has too much to do."""
        overloads = self.backs_off_on
        return overloads(error) if callable(overloads) else isinstance(error, overloads)


def _check_overloads(given: Any) -> None:  # noqa: ANN401 - what authors hand over
    if isinstance(given, tuple):
        is_fit = all(map(_is_exception_class, cast("tuple[object, ...]", given)))
    else:
        # A class can be called as well, and would say yes to every error.
        is_fit = callable(given) and not isinstance(given, type)
    if not is_fit:
        expected = "a tuple of exception classes or a function of one exception"
        msg = f"backs_off_on is {given!r}, expected {expected}"
        raise TypeError(msg)


def _is_exception_class(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


@dataclass(slots=True)
class _Round:
    """The samples since the limit was last looked at."""

    size: int
    """Samples that it takes."""
    earlier: int = 0
    """Calls of before that are to be passed over first."""
    has_backed_off: bool = False
    """Whether an overload began it."""
    count: int = 0
    total: float = 0.0
    """Seconds that the calls took together."""
    peak: int = 0
    """Most calls in flight."""


class LimitRule:
    """The limit as it stands after the samples so far.

    Args:
        settings: Its bounds, and how it moves between them.
    """

    __slots__ = (
        "_baseline",
        "_estimate",
        "_is_probing",
        "_is_starting",
        "_round",
        "_rounds",
        "_settings",
    )

    def __init__(self, settings: AdaptiveLimit) -> None:
        self._settings = settings
        first = _INITIAL if settings.initial is None else settings.initial
        self._estimate = self._within_bounds(first)
        self._baseline = math.inf
        self._is_starting = True
        self._is_probing = False
        self._rounds = 0
        self._round = _Round(self._round_size)

    @property
    def limit(self) -> int:
        """How many calls may be in flight."""
        if self._is_probing:
            return max(self._settings.minimum, int(self._estimate * _PROBE_SHARE))
        return int(self._estimate)

    def observe(self, in_flight: int, latency: float, *, is_overload: bool) -> int:
        """Take in one call that has ended.

        Args:
            in_flight: Calls that were in flight as it ended, itself included.
            latency: Seconds that it took, >= 0; of no matter where it was an overload.
            is_overload: Whether it failed because the service has too much to do.

        Returns:
            The limit from now on.
        """
        now = self._round
        if is_overload and not (now.has_backed_off and now.earlier > 0):
            self._is_starting = self._is_probing = False
            self._estimate = self._within_bounds(self._estimate * self._settings.backoff)
            self._round = _Round(self._round_size, in_flight - 1, has_backed_off=True)
        elif now.earlier > 0:
            now.earlier -= 1
        else:
            now.count += 1
            now.total += latency
            now.peak = max(now.peak, in_flight)
            if now.count == now.size:
                self._end_round(now.total / now.count, now.peak)
                self._round = _Round(self._round_size, in_flight - 1)
        return self.limit

    def _end_round(self, mean: float, peak: int) -> None:
        if self._is_probing:
            self._is_probing = False
            self._baseline = mean
            return
        self._baseline = min(self._baseline, mean)
        if peak >= self.limit:
            self._move(mean)

    def _move(self, mean: float) -> None:
        """Follow the latency of a round in which the limit was reached."""
        bearable = self._settings.tolerance * self._baseline
        is_queueing = mean > bearable
        # Slow start may have begun above what the service bears: its baseline is not trusted.
        is_start_over = self._is_starting and is_queueing
        self._is_starting = self._is_starting and not is_queueing
        estimate = self._estimate
        if self._is_starting:
            aim = 2 * estimate
        else:
            gradient = bearable / mean if is_queueing else 1.0
            aim = estimate + _SMOOTHING * (gradient * estimate + math.sqrt(estimate) - estimate)
        self._estimate = self._within_bounds(aim)
        self._rounds += 1
        is_due = self._rounds % _ROUNDS_PER_PROBE == 0
        self._is_probing = (is_start_over or is_due) and math.isfinite(bearable)

    @property
    def _round_size(self) -> int:
        return max(_FEWEST_SAMPLES, self.limit)

    def _within_bounds(self, estimate: float) -> float:
        return float(min(max(estimate, self._settings.minimum), self._settings.maximum))
