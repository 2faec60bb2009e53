"""Which moments of a schedule are due. Pure: what was done last and the time in, moments out.

Rule 1: a moment is a whole second since 1970-01-01 UTC, and known by it: what the clock on the
wall shows comes twice in the night in which it is set back. Rule 2: what is due depends on the
last moment that was dealt with and on the time alone; a worker that was down, asleep or late
makes no difference beyond that. Rule 3: what lies on the disk is looked up when a schedule is
written (`look_up`), not when it is checked or asked, for that happens in the event loop: its
zone, and `cronsim`, which says what a cron line stands for and comes with the extra `cron`.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from importlib import import_module
from itertools import islice, takewhile
from typing import Literal, NamedTuple, TypeAlias, cast, get_args
from zoneinfo import ZoneInfo

from durable_agents.errors import DefinitionError

__all__ = [
    "LATE_SECONDS",
    "MOST_AT_ONCE",
    "Due",
    "Missed",
    "Schedule",
    "ScheduleDeclaration",
    "look_up",
]

Missed: TypeAlias = Literal["latest", "all", "skip"]

LATE_SECONDS = 60
"""How late a moment may be dealt with and is not missed: a restart, a clock that was set."""

MOST_AT_ONCE = 1000
"""Moments that `Schedule.due` names in one answer."""

_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
_FIRST_WINDOW, _WIDER = 60, 8
_ANY_DAY = datetime(2020, 1, 1, tzinfo=UTC)
_NO_PACKAGE = "cron lines need the package cronsim: pip install 'durable-agents-asyncio[cron]'"


class Due(NamedTuple):
    """What a schedule asks for now."""

    moments: tuple[int, ...]
    """To be submitted, in order."""
    up_to: int
    """The last moment that is dealt with then, submitted or passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDeclaration:
    """What an author wrote about a schedule, unchecked."""

    name: str
    line: str
    value: object
    zone: str
    found_zone: tzinfo | None
    """What `look_up` found."""
    missed: Missed
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Moments at which an input is submitted; checked."""

    name: str
    """Unique in its agent; on disk, so that a renamed schedule begins anew."""
    line: str
    value: object
    """The input, or a function that makes it of the moment."""
    zone: tzinfo
    missed: Missed
    key: str | None

    @classmethod
    def of(cls, declaration: ScheduleDeclaration) -> "Schedule":
        """The schedule that a declaration describes.

        Raises:
            DefinitionError: Something about it is wrong; each problem is listed.
        """
        zone = declaration.found_zone
        problems = list(_problems(declaration))
        if problems or zone is None:
            raise DefinitionError(*(f"schedule {declaration.name!r}: {p}" for p in problems))
        return cls(
            name=declaration.name,
            line=declaration.line,
            value=declaration.value,
            zone=zone,
            missed=declaration.missed,
            key=declaration.key,
        )

    def due(self, last: int, now: float) -> Due:
        """What is to be submitted by now.

        Args:
            last: The last moment that was dealt with.
            now: The time.

        Returns:
            At most `MOST_AT_ONCE` moments: whoever has dealt with them asks again.
        """
        if self.missed == "all":
            moments = tuple(islice(self._between(last, now), MOST_AT_ONCE))
            return Due(moments, moments[-1] if moments else last)
        newest = self._newest(last, now)
        if newest is None:
            return Due((), last)
        is_missed = now - newest > LATE_SECONDS
        return Due(() if is_missed and self.missed == "skip" else (newest,), newest)

    def next_after(self, moment: float) -> int | None:
        """The first moment after a time; None where there is none in the next fifty years."""
        return next(self._after(moment), None)

    def at(self, moment: int) -> datetime:
        """A moment as the clocks of the schedule's zone show it."""
        return datetime.fromtimestamp(moment, self.zone)

    def run_id(self, agent: str, moment: int) -> str:
        """Id of the run that a moment causes: however often it is submitted, it is one run.

        Args:
            agent: Name of the agent; others of the store may have a schedule of this name.
            moment: The moment.
        """
        # Ids of agents "a:b" and "a" differ whatever their schedules are called.
        owner = agent.replace("%", "%25").replace(":", "%3A")
        return f"schedule:{owner}:{self.name}:{self.at(moment).isoformat()}"

    def earlier_run_id(self, moment: int) -> str:
        """Id that the run was given while ids did not name their agent."""
        return f"schedule:{self.name}:{self.at(moment).isoformat()}"

    def value_at(self, moment: int) -> object:
        """The input of a moment; raises what the author's function raises."""
        if not callable(self.value):
            return self.value
        make = cast("Callable[[datetime], object]", self.value)
        return make(self.at(moment))

    def _between(self, last: float, now: float) -> Iterator[int]:
        return takewhile(lambda moment: moment <= now, self._after(last))

    def _newest(self, last: int, now: float) -> int | None:
        # Looked for from now on back, in wider and wider windows: there may be millions.
        window = _FIRST_WINDOW
        while True:
            start = max(last, now - window)
            newest = None
            for moment in self._between(start, now):
                newest = moment
            if newest is not None or start == last:
                return newest
            window *= _WIDER

    def _after(self, moment: float) -> Iterator[int]:
        for found in _moments(self.line, datetime.fromtimestamp(int(moment), self.zone)):
            # In the hour that comes twice, what lies behind may be found once more.
            if (at := int(found.timestamp())) > moment:
                yield at


def look_up(zone: object) -> tzinfo | None:
    """The time zone of this name, None where there is none; loads what reads cron lines."""
    with suppress(ImportError):  # told with all other problems, by `Schedule.of`
        import_module("cronsim")
    if zone == "UTC":
        return UTC  # needs no list of zones
    try:
        return ZoneInfo(cast("str", zone))
    # What it says to no name, to the name of a folder, to a path and to what is no text.
    except (KeyError, OSError, ValueError, TypeError, AttributeError):
        return None


def _moments(line: str, start: datetime) -> Iterator[datetime]:
    from cronsim import CronSim  # noqa: PLC0415 - an extra

    return CronSim(line, start)


def _problems(declaration: ScheduleDeclaration) -> Iterator[str]:
    name, key, missed = declaration.name, declaration.key, declaration.missed
    if not _is_text(name) or not name.strip():
        yield "the name must be a text that is not blank"
    if key is not None and not _is_text(key):
        yield f"key is {key!r}, expected a text or None"
    if missed not in get_args(Missed):
        yield f"missed is {missed!r}, expected 'latest', 'all' or 'skip'"
    if declaration.found_zone is None:
        yield (
            f"there is no time zone {declaration.zone!r}: write one such as 'Europe/Berlin'; "
            "where the system has no list of zones, pip install tzdata"
        )
    problem = _problem_of_value(declaration.value)
    if problem is not None:
        yield problem
    for what in _problems_of_line(declaration.line):
        yield f"cron line {declaration.line!r}: {what}"


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _problem_of_value(value: object) -> str | None:
    """What keeps a function from making an input of a moment, or None."""
    if not callable(value):
        return None
    if inspect.iscoroutinefunction(value):
        return "its function is async; write a plain one, and await in the action"
    try:
        signature = inspect.signature(value)
    except ValueError:
        return None  # one of Python's own that does not say
    try:
        signature.bind(_ANY_DAY)
    except TypeError:
        return f"its function takes {signature}; it must take the moment, a datetime"
    return None


def _problems_of_line(line: object) -> Iterator[str]:
    """What is wrong with a cron line, field by field."""
    if not isinstance(line, str):
        yield f"it is {type(line).__name__}, expected str"
        return
    try:
        from cronsim import CronSimError  # noqa: PLC0415 - an extra
    except ImportError:
        yield _NO_PACKAGE
        return
    given = line.split()
    names = _FIELDS[-len(given) :]
    if len(given) not in {len(_FIELDS) - 1, len(_FIELDS)}:
        yield f"it has {len(given)} fields, expected five ({', '.join(_FIELDS[1:])}), or six"
        return
    are_good = True
    for index, (name, text) in enumerate(zip(names, given, strict=True)):
        alone = ["*"] * len(given)
        alone[index] = text
        try:
            _moments(" ".join(alone), _ANY_DAY)
        except CronSimError:
            are_good = False
            yield f"{text!r} is no {name}"
    if are_good and not _ever_comes(line, CronSimError):
        yield "there is no such day"


def _ever_comes(line: str, refused: type[Exception]) -> bool:
    try:
        return next(_moments(line, _ANY_DAY), None) is not None
    except refused:
        return False
