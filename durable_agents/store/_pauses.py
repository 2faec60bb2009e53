"""Pauses as rows of the SQLite file: facts about the store, told apart from others by name."""

from collections.abc import Iterable

import msgspec

from durable_agents.errors import StoreDamagedError
from durable_agents.store._port import Pause
from durable_agents.store._rows import Row

__all__ = ["as_fact", "as_pauses", "fact_name", "in_order"]

_MARK = "paused"  # on disk; no other fact has a name that is JSON
_encode = msgspec.json.Encoder().encode
_decode_name = msgspec.json.Decoder(tuple[str, str, str | None]).decode
_decode_value = msgspec.json.Decoder(tuple[str, float]).decode


def in_order(pause: Pause) -> tuple[str, bool, str]:
    """By what pauses are sorted: agents by name, each before its keys."""
    return pause.agent, pause.key is not None, pause.key or ""


def fact_name(agent: str, key: str | None) -> str:
    """What the fact is called that a key, or a whole agent, is paused."""
    return _encode((_MARK, agent, key)).decode()


def as_fact(pause: Pause) -> tuple[str, str]:
    """Name and value of a fact."""
    return fact_name(pause.agent, pause.key), _encode((pause.reason, pause.at)).decode()


def as_pauses(rows: Iterable[Row], store: str) -> list[Pause]:
    """The pauses that facts of the file tell of.

    Raises:
        StoreDamagedError: One is none that a worker writes.
    """
    try:
        return sorted((_as_pause(name, value) for name, value in rows), key=in_order)
    except (msgspec.MsgspecError, TypeError, UnicodeError) as error:
        problem = f"a pause cannot be read ({error}): restore the store from a backup"
        raise StoreDamagedError(store, problem) from error


def _as_pause(name: str, value: str) -> Pause:
    _, agent, key = _decode_name(name)
    reason, at = _decode_value(value)
    return Pause(agent, key, reason, at)
