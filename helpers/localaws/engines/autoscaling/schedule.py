"""Schedules of scheduled actions: ``at(…)``, ``rate(…)`` and ``cron(…)``, and when they are due next.

https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
DAYS = {name: number for number, name in enumerate("SUN MON TUE WED THU FRI SAT".split(), start=1)}
NONE: frozenset[int] = frozenset()
UNITS = {"minute": 60, "hour": 3600, "day": 86400}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of week", 1, 7, DAYS),
    ("year", 1970, 2199, {}),
)
LAST = "L"
# The farthest that two days of one cron expression lie apart: a 29th of February, over a year that has none.
HORIZON_DAYS = 8 * 366 + 1


class BadSchedule(ValueError):
    """The text is no schedule; the message says why."""


@dataclass(frozen=True)
class At:
    """Once."""

    moment: datetime

    def next(self, after: datetime, _: datetime) -> datetime | None:
        """When it is due after a moment, or None."""
        return self.moment if self.moment > after else None


@dataclass(frozen=True)
class Rate:
    """Every so many seconds."""

    seconds: float

    def next(self, after: datetime, start: datetime) -> datetime:
        """When it is due after a moment, counted from ``start``."""
        passed = max(0, int((after - start).total_seconds() // self.seconds))
        return start + timedelta(seconds=(passed + 1) * self.seconds)


@dataclass(frozen=True)
class Cron:
    """At times that fit six fields; ``last_day`` is the day of month ``L``. ``None`` stands for any day."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    last_day: bool
    months: frozenset[int]
    weekdays: frozenset[int] | None
    years: frozenset[int]
    zone: tzinfo = UTC

    def next(self, after: datetime, _: datetime) -> datetime | None:
        """When it is due after a moment, or None. A time that a change of the clocks skips comes an hour later."""
        local = after.astimezone(self.zone)
        for number in range(HORIZON_DAYS):
            day = local.date() + timedelta(days=number)
            if not self._fits(day.year, day.month, day.day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                    if moment > after:
                        return moment.astimezone(UTC)
        return None

    def _fits(self, year: int, month: int, day: int) -> bool:
        if year not in self.years or month not in self.months:
            return False
        if self.weekdays is not None:
            return (calendar.weekday(year, month, day) + 1) % 7 + 1 in self.weekdays
        if self.last_day:
            return day == calendar.monthrange(year, month)[1]
        return self.days is None or day in self.days


def parse(text: str, zone: tzinfo = UTC) -> At | Rate | Cron:
    """A schedule; ``zone`` is where its clock hangs. Raises :class:`BadSchedule`."""
    found = re.fullmatch(r"(at|rate|cron)\((.*)\)", text.strip())
    if found is None:
        raise BadSchedule(f"{text} is neither at(yyyy-mm-ddThh:mm:ss) nor rate(value unit) nor cron(fields)")
    kind, inside = found.groups()
    if kind == "at":
        return _at(inside, zone)
    return _rate(inside) if kind == "rate" else _cron(inside, zone)


def _at(text: str, zone: tzinfo) -> At:
    try:
        return At(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone).astimezone(UTC))
    except ValueError as error:
        raise BadSchedule(f"at({text}): {error}") from error


def _rate(text: str) -> Rate:
    found = re.fullmatch(r"([1-9]\d*) (minute|hour|day)(s?)", text)
    if found is None or (found[1] == "1") == bool(found[3]):
        raise BadSchedule(f"rate({text}): give a positive number and minute(s), hour(s) or day(s)")
    return Rate(int(found[1]) * UNITS[found[2]])


def _cron(text: str, zone: tzinfo) -> Cron:
    fields = text.upper().split()
    if len(fields) != len(FIELDS):
        raise BadSchedule(f"cron({text}) has {len(fields)} fields, not minutes hours day month weekday year")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise BadSchedule(f"cron({text}): one of day of month and day of week must be ?, and not both")
    last = fields[2] == LAST
    values = [
        None if field == "?" or (last and index == 2) else _values(field, index) for index, field in enumerate(fields)
    ]
    if any(value is None for value in (values[0], values[1], values[3], values[5])):
        raise BadSchedule(f"cron({text}): ? stands for a day only")
    minutes, hours, days, months, weekdays, years = values
    return Cron(minutes or NONE, hours or NONE, days, last, months or NONE, weekdays, years or NONE, zone)


def _values(field: str, index: int) -> frozenset[int]:
    """The numbers that one field of a cron expression stands for."""
    name, lowest, highest, names = FIELDS[index]
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            low = lowest if first == "*" else int(names.get(first, first))
            high = int(names.get(last, last)) if dash else (highest if first == "*" or step else low)
            by = int(step or 1)
        except ValueError as error:
            raise BadSchedule(f"{field} is no value of {name}") from error
        if not lowest <= low <= high <= highest or by < 1:
            raise BadSchedule(f"{part} is no value of {name}: give {lowest}-{highest}")
        found.update(range(low, high + 1, by))
    return frozenset(found)


__all__ = ["At", "BadSchedule", "Cron", "Rate", "parse"]
