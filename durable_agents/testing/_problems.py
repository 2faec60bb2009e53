"""How a check of the testing kit fails."""

from collections.abc import Sequence

__all__ = ["fail_for"]

_MOST_SHOWN = 20


def fail_for(problems: Sequence[str]) -> None:
    """Fail where there are any.

    Raises:
        AssertionError: There are; the first twenty are named, and how many there are in all.
    """
    if problems:
        more = "" if len(problems) <= _MOST_SHOWN else f"\n... and {len(problems)} in all"
        raise AssertionError("\n".join(problems[:_MOST_SHOWN]) + more)
