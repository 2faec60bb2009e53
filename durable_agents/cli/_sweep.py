"""What `durable-agents bench --sweep` asks for: one limit, at rising values."""

from dataclasses import dataclass

import msgspec

from durable_agents.cli._exit import UsageError
from durable_agents.worker import WorkerSettings

__all__ = ["Sweep", "parse_sweep"]

_FIGURES = ("num_async_threads", "num_sync_threads", "max_concurrent_runs")
_NAMED = "limits."
_FORMS = "NAME=FIRST..LAST (doubling), NAME=N,N,... or NAME=N"


@dataclass(frozen=True, slots=True)
class Sweep:
    """One limit and the values that are tried."""

    name: str
    """A figure of `WorkerSettings`, or `limits.` and the name of a limit."""
    values: tuple[int, ...]
    """At least one, each >= 1, rising."""

    def settings(self, others: WorkerSettings, value: int) -> WorkerSettings:
        """The settings of one point: the limit at this value, all else as it was."""
        if self.name.startswith(_NAMED):
            limits = {**others.limits, self.name.removeprefix(_NAMED): value}
            return msgspec.structs.replace(others, limits=limits)
        return msgspec.structs.replace(others, **{self.name: value})

    def at(self, value: int) -> str:
        """The sweep that consists of this value alone, as text."""
        return f"{self.name}={value}"


def parse_sweep(text: str) -> Sweep:
    """Read a sweep.

    Args:
        text: `NAME=FIRST..LAST`, which doubles from the first to the last, both included;
            `NAME=N,N,...`; or `NAME=N`.

    Raises:
        UsageError: It is something else, or there is no such limit.
    """
    name, equals, values = text.partition("=")
    if not equals:
        msg = f"--sweep {text!r}: expected {_FORMS}"
        raise UsageError(msg)
    if name not in _FIGURES and name.removeprefix(_NAMED) in {"", name}:
        msg = (
            f"--sweep {text!r}: there is no limit {name!r}; expected {', '.join(_FIGURES)} or "
            f"{_NAMED}NAME for the functions that declare limit=NAME"
        )
        raise UsageError(msg)
    return Sweep(name, _values(text, values))


def _values(text: str, values: str) -> tuple[int, ...]:
    first, dots, last = values.partition("..")
    if not dots:
        listed = [_value(text, value) for value in values.split(",")]
        return tuple(sorted(set(listed)))
    low, high = _value(text, first), _value(text, last)
    if low > high:
        msg = f"--sweep {text!r}: {low} is more than {high}; the first value is the lowest"
        raise UsageError(msg)
    doubled = [low]
    while 2 * doubled[-1] < high:
        doubled.append(2 * doubled[-1])
    return tuple(dict.fromkeys([*doubled, high]))


def _value(text: str, value: str) -> int:
    # Other digits than these, blanks and underscores would be a slip of the keyboard.
    if not (value.isascii() and value.isdecimal() and int(value) >= 1):
        msg = f"--sweep {text!r}: {value!r} is no whole number from 1 on; expected {_FORMS}"
        raise UsageError(msg)
    return int(value)
