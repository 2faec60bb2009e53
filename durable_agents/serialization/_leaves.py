"""Values of the standard library that hold no others: how each becomes plain data and back.

A tag is on disk: it is never given to another form. What `put` is handed may be forged, so it
checks the types of what it passes on; any exception of its says that the payload is malformed.
"""

# ruff: noqa: ANN401 - the border where values are of any type

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, NamedTuple
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import msgspec

from durable_agents.serialization._plain import is_encodable_text

__all__ = ["LEAVES", "PUT_LEAF", "Leaf", "expect"]


class Leaf(NamedTuple):
    """One type, by its exact class, and its form on disk."""

    tag: int
    kind: type
    take: Callable[[Any], Any]
    """Plain data of a value. LookupError: this one value has no form; the text says why."""
    put: Callable[[Any], Any]
    """The value of plain data."""


def expect(body: Any, *kinds: type) -> Any:
    """The body itself, where it is of one of the kinds.

    Raises:
        ValueError: It is not; the payload is malformed.
    """
    if type(body) not in kinds:
        msg = f"a part of it is a {type(body).__name__}"
        raise ValueError(msg)
    return body


def _listed(body: Any, kind: type, count: int) -> list[Any]:
    if len(expect(body, list)) != count or set(map(type, body)) != {kind}:
        msg = f"a part of it is not {count} values of type {kind.__name__}"
        raise ValueError(msg)
    return list(body)


def _take_text(text: str) -> str | bytes:
    return text if is_encodable_text(text) else text.encode("utf-8", "surrogatepass")


def _put_text(body: Any) -> str:
    if type(expect(body, str, bytes)) is bytes:
        return str(body, "utf-8", "surrogatepass")
    return str(body)


def _take_int(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def _put_int(body: Any) -> int:
    return int.from_bytes(expect(body, bytes), "little", signed=True)


def _take_zone(zone: tzinfo | None) -> Any:
    if zone is None:
        return None
    if type(zone) is timezone:
        reduced: Any = (
            zone.__reduce__()
        )  # nothing else tells a name that was given from one made
        offset, *name = reduced[1]
        return [*_take_timedelta(offset), *name]
    if type(zone) is ZoneInfo and type(zone.key) is str:
        return zone.key
    msg = f"its time zone is a {type(zone).__qualname__}, not a timezone or a ZoneInfo"
    raise LookupError(msg)


def _put_zone(body: Any) -> tzinfo | None:
    if body is None:
        return None
    if type(body) is str:
        # Where the system has no zone database, zoneinfo reads its `tzdata` package: data only.
        return ZoneInfo(body)
    *offset, last = expect(body, list)
    if type(last) is str:
        return timezone(_put_timedelta(offset), last)
    return timezone(_put_timedelta(body))


def _take_date(day: date) -> list[int]:
    return [day.year, day.month, day.day]


def _take_clock(moment: datetime | time) -> list[int]:
    return [moment.hour, moment.minute, moment.second, moment.microsecond]


def _take_time(moment: time) -> list[Any]:
    return [_take_clock(moment), moment.fold, _take_zone(moment.tzinfo)]


def _put_time(body: Any) -> time:
    clock, fold, zone = expect(body, list)
    hour, minute, second, microsecond = _listed(clock, int, 4)
    return time(hour, minute, second, microsecond, _put_zone(zone), fold=expect(fold, int))


def _take_datetime(moment: datetime) -> list[Any]:
    numbers = _take_date(moment) + _take_clock(moment)
    return [numbers, moment.fold, _take_zone(moment.tzinfo)]


def _put_datetime(body: Any) -> datetime:
    numbers, fold, zone = expect(body, list)
    *day, hour, minute, second, microsecond = _listed(numbers, int, 7)
    clock = time(hour, minute, second, microsecond, _put_zone(zone), fold=expect(fold, int))
    return datetime.combine(date(*day), clock)


def _take_timedelta(span: timedelta) -> list[int]:
    return [span.days, span.seconds, span.microseconds]


def _put_timedelta(body: Any) -> timedelta:
    return timedelta(*_listed(body, int, 3))


def _put_date(body: Any) -> date:
    return date(*_listed(body, int, 3))


def _take_uuid(uuid: UUID) -> list[Any]:
    return [uuid.bytes, uuid.is_safe.value]


def _put_uuid(body: Any) -> UUID:
    number, safety = expect(body, list)
    return UUID(bytes=expect(number, bytes), is_safe=SafeUUID(safety))


def _take_fraction(number: Fraction) -> str:
    return f"{number.numerator:x}/{number.denominator:x}"


def _put_fraction(body: Any) -> Fraction:
    above, _, below = expect(body, str).partition("/")
    return Fraction(int(above, 16), int(below, 16))


def _put_bytearray(body: Any) -> bytearray:
    return bytearray(expect(body, bytes))


def _put_decimal(body: Any) -> Decimal:
    return Decimal(expect(body, str))


def _take_path(path: PurePath) -> str | bytes:
    return _take_text(str(path))


def _put_path(kind: type[PurePath]) -> Callable[[Any], PurePath]:
    def put(body: Any) -> PurePath:
        return kind(_put_text(body))

    return put


def _take_unset(_: msgspec.UnsetType) -> None:
    return None


def _put_unset(_: Any) -> msgspec.UnsetType:
    return msgspec.UNSET


_FORMS = (
    Leaf(1, int, _take_int, _put_int),  # beyond 64 bits
    Leaf(2, str, _take_text, _put_text),  # with lone surrogates
    Leaf(3, bytearray, bytes, _put_bytearray),
    Leaf(5, date, _take_date, _put_date),
    Leaf(6, time, _take_time, _put_time),
    Leaf(7, datetime, _take_datetime, _put_datetime),
    Leaf(8, timedelta, _take_timedelta, _put_timedelta),
    Leaf(9, timezone, _take_zone, _put_zone),
    Leaf(10, ZoneInfo, _take_zone, _put_zone),
    Leaf(11, Decimal, str, _put_decimal),
    Leaf(12, UUID, _take_uuid, _put_uuid),
    Leaf(13, PurePosixPath, _take_path, _put_path(PurePosixPath)),
    Leaf(14, PureWindowsPath, _take_path, _put_path(PureWindowsPath)),
    Leaf(15, PosixPath, _take_path, _put_path(PosixPath)),
    Leaf(16, WindowsPath, _take_path, _put_path(WindowsPath)),
    Leaf(17, msgspec.UnsetType, _take_unset, _put_unset),
    Leaf(18, Fraction, _take_fraction, _put_fraction),
)

LEAVES: dict[type, Leaf] = {leaf.kind: leaf for leaf in _FORMS}
"""The forms by exact class."""

PUT_LEAF: dict[int, Callable[[Any], Any]] = {leaf.tag: leaf.put for leaf in _FORMS}
"""How the value of a tag is put together."""
