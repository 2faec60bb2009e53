"""Places whose number follows from what the calls in them came to."""

from durable_agents.limits import AdaptiveLimit, LimitRule
from durable_agents.worker._places import Places

__all__ = ["AdaptivePlaces"]


class AdaptivePlaces(Places):
    """Places to take and to give back, as many as an adaptive limit admits.

    Nobody is sent away when there are fewer: places that are given back are then gone, until
    the rest is within the limit again.

    Args:
        settings: The limit.
    """

    __slots__ = ("_rule", "_settings")

    def __init__(self, settings: AdaptiveLimit) -> None:
        self._settings = settings
        self._rule = LimitRule(settings)
        super().__init__(self._rule.limit)

    def give_back(self) -> None:
        """Let the next one have the place, unless it is one too many."""
        if self._free < 0:
            self._free += 1
        else:
            super().give_back()

    def observe(self, latency: float, error: BaseException | None) -> None:
        """Take in what a call came to that still holds its place.

        Args:
            latency: Seconds that it took.
            error: What it raised; None: it returned.
        """
        is_overload = error is not None and self._settings.is_overload(error)
        if error is not None and not is_overload:
            return
        count = self._rule.observe(self.taken_count, latency, is_overload=is_overload)
        self._free += count - self._count
        self._count = count
        while self._free > 0 and self._waiters and not self._is_closed:
            self._free -= 1
            self.give_back()
