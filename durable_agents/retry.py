"""When a durable call is tried again. Pure: attempt and error in, seconds to wait out."""

import msgspec

from durable_agents.errors import TerminalError

__all__ = ["RetryPolicy"]

# Bounded, so that attempt 5,000 does not overflow a float.
_MAX_FACTOR = 1000
_MAX_EXPONENT = 64


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a durable call is tried, and how long to wait in between.

    The wait before attempt n + 1 is `initial * factor ** (n - 1)`, at most `maximum`, made
    longer or shorter by up to the share `jitter`. Cancellation and `TerminalError` are never
    retried.

    Raises:
        ValueError: A figure is out of its range.
    """

    max_attempts: int = 1
    """Attempts in all, the first included; at least 1. Default 1: no retry."""
    initial: float = 1.0
    """Seconds before the second attempt, >= 0."""
    factor: float = 2.0
    """What each further wait is multiplied by, 1 to 1,000."""
    maximum: float = 60.0
    """The longest wait in seconds, jitter aside, >= 0."""
    jitter: float = 0.1
    """Largest share of a wait that is added or taken away, 0 to 1."""
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    """Classes of exceptions worth another attempt."""

    def __post_init__(self) -> None:
        """Refuse figures that no schedule can be made of."""
        if self.max_attempts < 1:
            msg = f"max_attempts is {self.max_attempts}, expected at least 1"
            raise ValueError(msg)
        # What is asked is what must hold, so that a NaN is refused, too.
        waits_fit = self.initial >= 0 and self.maximum >= 0 and 0 <= self.jitter <= 1
        if not (waits_fit and 1 <= self.factor <= _MAX_FACTOR):
            expected = f"initial, maximum >= 0, factor 1 to {_MAX_FACTOR}, jitter 0 to 1"
            msg = f"expected {expected}; got {self}"
            raise ValueError(msg)

    def wait_after(self, attempt: int, error: BaseException, chance: float) -> float | None:
        """Seconds to wait after a failed attempt, or None to give up.

        Args:
            attempt: The attempt that failed, counted from 1.
            error: What it raised.
            chance: A number in [0, 1) from the run's own seeded source, for the jitter.
        """
        if attempt >= self.max_attempts or isinstance(error, TerminalError):
            return None
        if not isinstance(error, Exception) or not isinstance(error, self.retry_on):
            return None
        exponent = min(attempt - 1, _MAX_EXPONENT)
        wait = min(self.initial * self.factor**exponent, self.maximum)
        return wait * (1 + self.jitter * (2 * chance - 1))
