"""Schedules of scheduled actions: what they say, and when they are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.autoscaling.schedule import BadSchedule, parse

MONDAY = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


def due(text: str, after: datetime = MONDAY, zone: str = "UTC") -> datetime | None:
    return parse(text, ZoneInfo(zone)).next(after, MONDAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at(2026-11-02T09:00:00)", datetime(2026, 11, 2, 9)),
        ("at(2026-11-02T08:30:00)", None),
        ("rate(1 minute)", datetime(2026, 11, 2, 8, 31)),
        ("rate(2 days)", datetime(2026, 11, 4, 8, 30)),
        ("cron(0 18 ? * MON-FRI *)", datetime(2026, 11, 2, 18)),
        ("cron(0 8 ? * 2 *)", datetime(2026, 11, 9, 8)),  # Sunday is 1
        ("cron(0/15 8 * * ? *)", datetime(2026, 11, 2, 8, 45)),
        ("cron(15,45 * * * ? *)", datetime(2026, 11, 2, 8, 45)),
        ("cron(0 0 L * ? *)", datetime(2026, 11, 30)),
        ("cron(0 0 29 FEB ? *)", datetime(2028, 2, 29)),
        ("cron(0 0 1 1 ? 2020)", None),
    ],
)
def test_when_a_schedule_is_due(text: str, expected: datetime | None) -> None:
    assert due(text) == (None if expected is None else expected.replace(tzinfo=UTC))


def test_a_time_zone_moves_with_its_clocks() -> None:
    text, summer = "cron(0 9 * * ? *)", datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert due(text, summer - timedelta(days=1), "Europe/Berlin") == datetime(2026, 10, 24, 7, tzinfo=UTC)
    assert due(text, summer, "Europe/Berlin") == datetime(2026, 10, 25, 8, tzinfo=UTC)
    assert due("at(2026-11-02T09:00:00)", MONDAY - timedelta(days=1), "Europe/Berlin") == datetime(
        2026, 11, 2, 8, tzinfo=UTC
    )


def test_a_rate_counts_from_its_start() -> None:
    assert due("rate(5 minutes)", MONDAY + timedelta(minutes=12)) == MONDAY + timedelta(minutes=15)
    assert due("rate(5 minutes)", MONDAY + timedelta(minutes=15)) == MONDAY + timedelta(minutes=20)


@pytest.mark.parametrize(
    "text",
    [
        "every day",
        "rate(0 minutes)",
        "rate(2 minute)",
        "rate(5 weeks)",
        "at(tomorrow)",
        "cron(0 0 * * *)",
        "cron(0 0 * * * *)",
        "cron(0 0 ? * ? *)",
        "cron(60 0 * * ? *)",
        "cron(0 0 1W * ? *)",
        "cron(0 0 ? * 2#1 *)",
        "cron(? 0 * * ? *)",
        "cron(5-2 0 * * ? *)",
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(BadSchedule):
        parse(text)


@given(
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
    st.sets(st.integers(0, 23), min_size=1, max_size=3),
    st.sets(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(0, 60 * 24 * 365),
)
def test_the_next_time_is_the_first_that_fits(
    minutes: set[int], hours: set[int], weekdays: set[int], offset: int
) -> None:
    fields = [",".join(map(str, sorted(values))) for values in (minutes, hours, weekdays)]
    after = MONDAY + timedelta(minutes=offset)
    found = due(f"cron({fields[0]} {fields[1]} ? * {fields[2]} *)", after)
    assert found is not None
    moment = after + timedelta(minutes=1)
    while not (moment.minute in minutes and moment.hour in hours and moment.isoweekday() % 7 + 1 in weekdays):
        moment += timedelta(minutes=1)
    assert found == moment
