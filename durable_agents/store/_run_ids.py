"""Ids that a store makes up for runs whose callers chose none: its token and a number."""

__all__ = ["RunIds"]

_MAX_DIGITS = 18
"""A longer number is none that a database could count to."""


class RunIds:
    """The made-up ids of one store.

    Args:
        token: Random name of the store.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    def of(self, number: int) -> str:
        """The made-up id of the run with this number."""
        return f"{self._token}-{number}"

    def number_of(self, run_id: str) -> int | None:
        """Number that a made-up run id stands for; None for an id that a caller chose."""
        token, _, digits = run_id.rpartition("-")
        if token != self._token or not digits.isdecimal() or len(digits) > _MAX_DIGITS:
            return None
        number = int(digits)
        return number if self.of(number) == run_id else None
