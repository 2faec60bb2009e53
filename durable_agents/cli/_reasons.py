"""Why a run is where it is, in one line, as its journal has it."""

from durable_agents.errors import DecodeError
from durable_agents.journal import RunState
from durable_agents.serialization import Codec
from durable_agents.store import SqliteReader

__all__ = ["reason_in", "reason_of"]


async def reason_of(reader: SqliteReader, number: int, codec: Codec) -> str:
    """Why a run failed, is parked or was cancelled; nothing where it did none of these."""
    return reason_in(RunState.of(await reader.journal(number)), codec)


def reason_in(state: RunState, codec: Codec) -> str:
    """The same, of a journal that was read."""
    if state.error is None:
        return state.reason
    try:
        error = codec.decode_failure(state.error)
    except DecodeError as unreadable:
        return str(unreadable)
    return f"{type(error).__name__}: {error}"
