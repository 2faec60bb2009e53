"""What a run has come to, of a journal that may not be whole.

Each row has a checksum, and a row that is missing has none. Where the rows that are there
contradict each other, or the list of runs, a row is gone, and nothing is concluded from them.
"""

from collections.abc import Sequence
from typing import Protocol

from durable_agents.errors import StoreDamagedError
from durable_agents.journal import Entry, RunAccepted, RunState

__all__ = ["GONE", "acceptance_in", "name_of", "state_in", "state_of"]

GONE = "a row is gone; restore the store from a backup"


class _Journals(Protocol):
    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]: ...


def name_of(store: object) -> str:
    """What a store is called in an error: its path, if it has one."""
    return str(getattr(store, "path", store))


async def state_of(store: _Journals, number: int) -> tuple[RunAccepted, RunState]:
    """How a run was accepted, and what it has come to since.

    Args:
        store: Where it is kept; open.
        number: Its number.

    Raises:
        StoreDamagedError: A row of its journal is damaged, or gone.
        StoreError: It cannot be read.
    """
    return state_in(await store.journal(number), store, number)


def state_in(
    rows: Sequence[tuple[int, Sequence[Entry]]], store: object, number: int
) -> tuple[RunAccepted, RunState]:
    """The same of rows that were read; raises as `state_of` does."""
    name = name_of(store)
    accepted = acceptance_in(rows, number, name)
    try:
        return accepted, RunState.of(rows)
    except LookupError as error:
        problem = f"the journal of run number {number} is not whole, {error}: {GONE}"
        raise StoreDamagedError(name, problem) from error


def acceptance_in(
    rows: Sequence[tuple[int, Sequence[Entry]]], number: int, store: str
) -> RunAccepted:
    """The entry that every journal begins with.

    Args:
        rows: Of one run.
        number: The run's.
        store: Name of the store, for the error.

    Raises:
        StoreDamagedError: They begin with something else.
    """
    first = rows[0][1][0] if rows and rows[0][1] else None
    if isinstance(first, RunAccepted):
        return first
    problem = f"the journal of run number {number} does not begin with its acceptance: {GONE}"
    raise StoreDamagedError(store, problem)
