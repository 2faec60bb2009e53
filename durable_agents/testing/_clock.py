"""Time that passes when a test says so."""

import asyncio
from bisect import insort

__all__ = ["ManualClock"]


class ManualClock:
    """A `Clock` that stands still until `advance` is called.

    Args:
        now: Wall-clock time at first, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        # Not near `now`: a test that mixes the two up is noticed.
        self._monotonic = 1_000.0
        self._boots = 1
        self._slept = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def sleeping_count(self) -> int:
        """How many wait for the time to pass."""
        return len(self._sleepers)

    def now(self) -> float:
        """Wall-clock time in seconds since 1970-01-01 UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that have been advanced by, from some fixed moment."""
        return self._monotonic

    def boot_id(self) -> str:
        """Another one after each `reboot`."""
        return f"boot {self._boots}"

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by `seconds` (>= 0) or more.

        Cancellation: leaves nothing behind.
        """
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._slept += 1
        wake_up = asyncio.get_running_loop().create_future()
        # The number keeps those who wake at one moment in the order in which they fell asleep.
        sleeper = (self._monotonic + seconds, self._slept, wake_up)
        insort(self._sleepers, sleeper)
        try:
            await wake_up
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake those who have slept long enough, the earliest first.

        They run when the caller next awaits something; one that goes to sleep again counts from
        the time that it is then.

        Args:
            seconds: How much, >= 0.

        Raises:
            ValueError: `seconds` is negative; the wall clock alone can go back, by `jump`.
        """
        if seconds < 0:
            msg = (
                f"time goes on by {seconds} seconds, expected >= 0; use jump for the wall clock"
            )
            raise ValueError(msg)
        self._now += seconds
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, wake_up = self._sleepers.pop(0)
            if not wake_up.done():
                wake_up.set_result(None)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back, as an administrator would: nobody wakes."""
        self._now += seconds

    def reboot(self) -> None:
        """Start the machine anew: `monotonic` counts from the beginning, nobody wakes."""
        self._boots += 1
        self._monotonic = 0.0
