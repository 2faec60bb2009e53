"""Why a run is where it is, in one line, as its journal has it."""

from durable_agents.cli._values import error_text
from durable_agents.journal import RunState
from durable_agents.store import SqliteReader, state_of

__all__ = ["reason_in", "reason_of"]


async def reason_of(reader: SqliteReader, number: int) -> str:
    """Why a run failed, is parked or was cancelled; nothing where it did none of these."""
    _, state = await state_of(reader, number)
    return reason_in(state)


def reason_in(state: RunState) -> str:
    """The same, of a journal that was read."""
    return state.reason if state.error is None else error_text(state.error)
