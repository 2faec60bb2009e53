"""Which moments of a schedule are due: by cron line, zone, last moment, time and policy."""

# ruff: noqa: ANN401, ARG005 -- declarations of any kind, functions that are only looked at

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_agents.errors import DefinitionError
from durable_agents.schedule import (
    LATE_SECONDS,
    MOST_AT_ONCE,
    Due,
    Schedule,
    ScheduleDeclaration,
    look_up,
)

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = int(datetime(2026, 11, 23, 9, tzinfo=BERLIN).timestamp())
DAY = 86_400


def declaration(line: Any = "0 9 * * *", **fields: Any) -> ScheduleDeclaration:
    defaults: dict[str, Any] = {
        "name": "daily",
        "value": None,
        "zone": "Europe/Berlin",
        "missed": "latest",
        "key": None,
    }
    given = defaults | fields
    return ScheduleDeclaration(line=line, found_zone=look_up(given["zone"]), **given)


def schedule(line: str = "0 9 * * *", **fields: Any) -> Schedule:
    return Schedule.of(declaration(line, **fields))


def problems(line: Any = "0 9 * * *", **fields: Any) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        Schedule.of(declaration(line, **fields))
    return caught.value.problems


def following(line: str, start: str, count: int, zone: str = "Europe/Berlin") -> list[str]:
    """The next moments after one that is given in UTC."""
    asked = schedule(line, zone=zone)
    last = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
    found: list[str] = []
    for _ in range(count):
        moment = asked.next_after(last)
        assert moment is not None
        found.append(asked.at(moment).isoformat())
        last = moment
    return found


def test_the_moments_of_a_line_are_those_of_its_zone() -> None:
    """Nine in Berlin, in winter and in summer."""
    assert [
        "2026-03-23T09:00:00+01:00",
        "2026-03-30T09:00:00+02:00",
    ] == following("0 9 * * MON", "2026-03-20", 2)


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC"])
def test_a_line_with_six_fields_begins_with_seconds(zone: str) -> None:
    """For what cannot wait for a minute."""
    assert [
        "2026-03-20T00:00:30+00:00",
        "2026-03-20T00:01:00+00:00",
    ] == following("*/30 * * * * *", "2026-03-20", 2, zone)


def test_a_time_that_the_clocks_leave_out_comes_when_they_have_been_set() -> None:
    """On the day on which Berlin has no half past two; and not twice with what comes anyway."""
    assert [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ] == following("30 2 * * *", "2026-03-27T12:00", 3)
    assert [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ] == following("0 2,3 * * *", "2026-03-29T00:00", 2)


def test_a_time_that_the_clocks_show_twice_comes_the_first_time() -> None:
    """On the day on which Berlin has half past two twice; wherever the question comes from."""
    night = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]

    assert night == following("30 2 * * *", "2026-10-24T12:00", 2)
    assert night[1:] == following("30 2 * * *", "2026-10-25T00:40", 1)
    # Ten past two for the second time, when half past two has been.
    assert night[1:] == following("30 2 * * *", "2026-10-25T01:10", 1)


def test_every_hour_comes_every_hour_whatever_the_clocks_show() -> None:
    """Each of the hours of one name has an id of its own."""
    hours = following("0 * * * *", "2026-10-24T23:30", 4)

    assert [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
        "2026-10-25T04:00:00+01:00",
    ] == hours


def test_a_moment_names_its_run() -> None:
    """The same in every process: what it was submitted under once is not accepted again."""
    asked = schedule("0 9 * * MON", name="weekly")

    assert "schedule:shop:weekly:2026-11-23T09:00:00+01:00" == asked.run_id("shop", MONDAY)
    assert "schedule:weekly:2026-11-23T09:00:00+01:00" == asked.earlier_run_id(MONDAY)


def test_no_two_schedules_of_a_store_name_the_same_run() -> None:
    """Whatever is in the names of agents and schedules."""
    names = ["a", "b", "a:b", "b:a", "a%3Ab", ":", "%", "%3A", "%253A"]
    ids = {schedule(name=n).run_id(agent, MONDAY) for agent in names for n in names}

    assert len(names) ** 2 == len(ids)


@pytest.mark.parametrize("missed", ["latest", "all", "skip"])
def test_nothing_is_due_before_its_moment(missed: str) -> None:
    """And nothing that was dealt with."""
    asked = schedule(missed=missed)

    assert Due((), MONDAY - DAY) == asked.due(MONDAY - DAY, MONDAY - 0.1)
    assert Due((), MONDAY) == asked.due(MONDAY, MONDAY + 0.5)
    # The wall clock was set back.
    assert Due((), MONDAY) == asked.due(MONDAY, MONDAY - 3 * DAY)


@pytest.mark.parametrize("missed", ["latest", "all", "skip"])
@pytest.mark.parametrize("late", [0, 0.5, LATE_SECONDS])
def test_a_moment_is_due_when_it_has_come(missed: str, late: float) -> None:
    """A little late is not missed."""
    asked = schedule(missed=missed)

    assert Due((MONDAY,), MONDAY) == asked.due(MONDAY - DAY, MONDAY + late)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("all", (0, 1, 2)), ("latest", (2,)), ("skip", ())],
)
def test_what_was_missed_is_dealt_with_as_declared(
    missed: str, expected: tuple[int, ...]
) -> None:
    """In order; and what is not submitted is behind us all the same."""
    asked = schedule(missed=missed)

    due = asked.due(MONDAY - DAY, MONDAY + 2 * DAY + 3600)

    assert Due(tuple(MONDAY + n * DAY for n in expected), MONDAY + 2 * DAY) == due


def test_a_moment_that_has_just_come_is_not_skipped_with_those_that_were_missed() -> None:
    """A worker that starts at nine serves the moment of nine."""
    asked = schedule(missed="skip")

    assert Due((MONDAY + DAY,), MONDAY + DAY) == asked.due(MONDAY - DAY, MONDAY + DAY + 1)


def test_many_missed_moments_come_in_portions() -> None:
    """A year of minutes must not hold the loop up."""
    asked = schedule("* * * * *", missed="all")

    first = asked.due(MONDAY, MONDAY + 365 * DAY)
    second = asked.due(first.up_to, MONDAY + 365 * DAY)

    assert MOST_AT_ONCE == len(first.moments)
    assert first.moments[-1] == first.up_to
    assert tuple(range(first.up_to + 60, first.up_to + 60_001, 60)) == second.moments


def test_a_line_that_stands_for_no_day_has_no_next_moment() -> None:
    """Fifty years without one are taken for never; such a line is refused, see below."""
    never = Schedule(
        name="never", line="0 0 */8 * MON#5", value=1, zone=UTC, missed="all", key=None
    )

    assert never.next_after(MONDAY) is None
    assert Due((), MONDAY) == never.due(MONDAY, MONDAY + 1000 * DAY)


def test_the_value_of_a_moment_is_as_it_was_given_or_made_of_the_moment() -> None:
    """An aware datetime, in the zone of the schedule."""
    assert {"a": 1} == schedule(value={"a": 1}).value_at(MONDAY)
    assert "2026-11-23T09:00:00+01:00" == schedule(value=datetime.isoformat).value_at(MONDAY)


lines = st.sampled_from([
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "*/20 1-3 * * *",
    "0 9 * * MON",
    "15 2,3 25-31 3,10 *",
    "*/20 * * * * *",
])
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
transitions = st.sampled_from([
    datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 4, 4, 12, tzinfo=UTC),
    datetime(2026, 10, 3, 12, tzinfo=UTC),
])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    line=lines,
    zone=zones,
    around=transitions,
    last=st.integers(0, 12 * 3600),
    length=st.integers(0, 36 * 3600),
)
def test_the_latest_moment_is_the_last_of_all(
    line: str, zone: str, around: datetime, last: int, length: int
) -> None:
    """However it is looked for, and however the clocks are set meanwhile."""
    begin = int((around - timedelta(hours=6)).timestamp()) + last
    now = begin + length
    every = schedule(line, zone=zone, missed="all")
    latest = schedule(line, zone=zone)
    moments: list[int] = []
    while (due := every.due(moments[-1] if moments else begin, now)).moments:
        moments += due.moments

    assert all(earlier < later for earlier, later in pairwise([begin, *moments]))
    assert tuple(moments[-1:]) == latest.due(begin, now).moments


def test_a_typo_in_a_line_is_named_field_by_field() -> None:
    """With the line, and every wrong field at once."""
    assert (
        "schedule 'daily': cron line '0 25 * * MOM': '25' is no hour",
        "schedule 'daily': cron line '0 25 * * MOM': 'MOM' is no day of week",
    ) == problems("0 25 * * MOM")
    assert ("schedule 'daily': cron line '61 0 9 * * MON': '61' is no second",) == problems(
        "61 0 9 * * MON"
    )


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 */8 * MON#5"])
def test_a_line_that_stands_for_no_day_is_refused(line: str) -> None:
    """Each field is right, and there is no thirtieth of February."""
    assert (f"schedule 'daily': cron line {line!r}: there is no such day",) == problems(line)


def test_a_line_that_stands_for_a_rare_day_is_accepted() -> None:
    """A leap year in which February begins on a Monday: every twenty-eight years."""
    assert ["2044-02-29T00:00:00+01:00"] == following("0 0 * 2 MON#5", "2026-11-22", 1)


@pytest.mark.parametrize(("line", "count"), [("", 0), ("@daily", 1), ("0 0 9 * * MON 2026", 7)])
def test_a_line_of_another_length_is_refused(line: str, count: int) -> None:
    """The text says which fields there are."""
    (problem,) = problems(line)

    expected = "expected five (minute, hour, day of month, month, day of week), or six"
    assert f"schedule 'daily': cron line {line!r}: it has {count} fields, {expected}" == problem


def test_all_problems_of_a_schedule_are_reported_at_once() -> None:
    """One round of mending."""

    async def make(moment: datetime) -> str:
        return str(moment)

    name, key, missed, zone, value, line = problems(
        5, name=" ", key=7, missed="none", zone="Europe/Berlinn", value=make
    )

    assert "schedule ' ': the name must be a text that is not blank" == name
    assert key.endswith("key is 7, expected a text or None")
    assert missed.endswith("missed is 'none', expected 'latest', 'all' or 'skip'")
    assert "there is no time zone 'Europe/Berlinn': write one such as 'Europe/Berlin'" in zone
    assert value.endswith("its function is async; write a plain one, and await in the action")
    assert line.endswith("cron line 5: it is int, expected str")


@pytest.mark.parametrize("zone", ["", "Europe", "../etc/passwd", "nul\0", None, 1])
def test_what_is_no_time_zone_is_refused(zone: Any) -> None:
    """Whatever the list of zones says to it."""
    (problem,) = problems(zone=zone)

    assert f"there is no time zone {zone!r}" in problem


def test_a_name_that_cannot_be_written_is_refused() -> None:
    """It goes into ids on disk."""
    assert "the name must be a text" in problems(name="\ud800")[0]
    assert "the name must be a text" in problems(name="")[0]


@pytest.mark.parametrize(
    ("make", "is_good"),
    [
        (lambda: None, False),
        (lambda moment, zone: None, False),
        (lambda moment, *, zone: None, False),
        (lambda moment, zone=None: None, True),
        (partial(lambda zone, moment: None, "z"), True),
        (str, True),
        (max, True),
    ],
    ids=["nothing", "two", "keyword", "default", "partial", "class", "silent"],
)
def test_a_function_that_does_not_take_the_moment_is_refused(make: Any, is_good: bool) -> None:
    """Before the first moment comes."""
    if is_good:
        assert make is schedule(value=make).value
    else:
        assert "it must take the moment, a datetime" in problems(value=make)[0]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core has no need of it."""
    monkeypatch.setitem(sys.modules, "cronsim", None)

    assert "pip install 'durable-agents-asyncio[cron]'" in problems()[0]
