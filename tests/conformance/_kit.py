"""What the tests of the rows share."""

import asyncio
from collections.abc import Callable

__all__ = ["until"]


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until a condition holds; the test's own timeout is the bound."""
    while not holds():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)
