"""All runs of a store, one after the other."""

from collections.abc import AsyncIterator
from typing import Protocol

from durable_agents.store._port import RunRow

__all__ = ["RunLister", "every_run"]

_PAGE = 1000


class RunLister(Protocol):
    """What lists runs: `SqliteReader` does, and so does every open `Store`."""

    async def runs(self, *, after: int, limit: int) -> list[RunRow]:
        """Runs by number, beginning behind `after`, `limit` at most."""
        ...


async def every_run(lister: RunLister) -> AsyncIterator[RunRow]:
    """All runs by number, read page by page as they are asked for.

    Raises:
        StoreError: They cannot be read.
    """
    after = 0
    while rows := await lister.runs(after=after, limit=_PAGE):
        for row in rows:
            yield row
        after = rows[-1].number
