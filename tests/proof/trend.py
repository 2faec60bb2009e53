"""Whether a figure that is measured again and again stays where it is.

A figure is flat if the line that fits its last two thirds best does not rise by more than a
bound from their beginning to their end. The line is the median of the slopes between all pairs
of samples (Theil and Sen), so that what stands out now and then does not bend it. What comes
before is warming up, and free.
"""

from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

__all__ = ["HEADING", "Series"]

_MOST_KEPT = 400


@dataclass(slots=True)
class Series:
    """Samples of one figure.

    Args:
        name: What is measured, for people.
        slack: By how much it may rise, in its own unit.
        share: By which share of its median it may rise, if that is more.
        unit: What it is shown in: so many of its own make one.
    """

    name: str
    slack: float
    share: float = 0.05
    unit: float = 1.0
    samples: list[tuple[float, float]] = field(default_factory=list)
    """Moment and figure, in order; of very many, every second one is forgotten."""
    last: float = 0.0
    _every: int = 1
    _seen: int = 0

    def add(self, moment: float, figure: float) -> None:
        """Take one more sample in."""
        self.last = figure
        if self._seen % self._every == 0:
            self.samples.append((moment, figure))
        self._seen += 1
        if len(self.samples) > _MOST_KEPT:
            del self.samples[1::2]
            self._every *= 2

    @property
    def median(self) -> float:
        """The figure in the middle of the last two thirds; 0 without samples."""
        return median(figure for _, figure in self._late) if self.samples else 0.0

    @property
    def rise(self) -> float:
        """By how much the line rises over the last two thirds; below 0 where it falls."""
        late = self._late
        slopes = [
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for earlier, later in combinations(late, 2)
            if later[0] > earlier[0]
        ]
        return median(slopes) * (late[-1][0] - late[0][0]) if slopes else 0.0

    @property
    def bound(self) -> float:
        """By how much it may rise."""
        return max(self.slack, self.share * self.median)

    @property
    def is_flat(self) -> bool:
        """Whether it stays where it is."""
        return self.rise <= self.bound

    @property
    def _late(self) -> list[tuple[float, float]]:
        return self.samples[len(self.samples) // 3 :]

    def __str__(self) -> str:
        first = self.samples[0][1] if self.samples else 0.0
        figures = (first, self.median, self.last, self.rise, self.bound)
        cells = "".join(f"{figure / self.unit:>10.1f}" for figure in figures)
        return f"{self.name:36}{self._seen:>8}{cells}  {'flat' if self.is_flat else 'GROWS'}"


HEADING = f"{'':36}{'samples':>8}" + "".join(
    f"{name:>10}" for name in ("first", "median", "last", "rise", "bound")
)
