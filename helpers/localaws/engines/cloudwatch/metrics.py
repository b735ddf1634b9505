"""``cloud.metrics``: the metrics of the embedded AWS, as its engines write and read them in this process.

Write with :meth:`Metrics.put` (or, as engines do, with ``cloud.monitoring.publish``), read with
:meth:`Metrics.statistics`::

    latency = metric("us-east-1", "AWS/SageMaker", "ModelLatency", {"EndpointName": "dogs", "VariantName": "All"})
    cloud.metrics.put(latency, [1200.0, 900.0], unit="Microseconds")
    points = cloud.metrics.statistics(latency, "p90", period=60, start=time.time() - 600)
    points[-1].value

Times are Unix seconds and true (never scaled); periods are real seconds and may be broken. What scales them for alarms
and policies is ``Clock.period``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .points import MINUTE, RESOLUTION, TIME, Rows, value_rows
from .statistics import Periods
from .store import Metric, MetricStore

STANDARD, HIGH = 60, 1  # storage resolutions


class Datapoint(NamedTuple):
    """One period's statistic; ``at`` is when the period began."""

    at: float
    value: float


class Metrics:
    """Everything that was measured."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.store = MetricStore(path, now)

    def put(
        self,
        of: Metric,
        values: Sequence[float],
        counts: Sequence[float] | None = None,
        unit: str = "None",
        at: float | None = None,
        resolution: int = STANDARD,
    ) -> None:
        """Add values measured at one moment (now); ``counts`` says how often each was."""
        moment = self.now() if at is None else at
        self.store.put(of, unit, value_rows(moment, values, counts or np.ones(len(values)), resolution))

    def put_statistics(
        self,
        of: Metric,
        count: float,
        total: float,
        minimum: float,
        maximum: float,
        unit: str = "None",
        at: float | None = None,
        resolution: int = STANDARD,
    ) -> None:
        """Add a statistic set: of many values only their count, sum, minimum and maximum."""
        moment = self.now() if at is None else at
        self.store.put(of, unit, np.array([[moment, count, total, minimum, maximum, resolution]], np.float64))

    def statistics(
        self,
        of: Metric,
        statistic: str,
        period: float,
        start: float,
        end: float | None = None,
        unit: str | None = None,
    ) -> list[Datapoint]:
        """A statistic of every period in [start, end) that has data, oldest first.

        The first period begins at ``start``; ``end`` is now where it is not given. Points count at the very moment they
        were put, whatever their resolution.
        Raises ``ValueError`` for a name that is no statistic.
        """
        rows = self.store.rows(of, start, self.now() if end is None else end, unit)
        return self.measure(Periods(rows, start, period), statistic, start, period)

    def periods(self, of: Metric, period: float, start: float, end: float, unit: str | None = None) -> Periods:
        """The points of [start, end) by period, as the API shows them: of standard resolution at their full minute."""
        if period >= MINUTE:
            return Periods(self.store.rows(of, start, end, unit), start, period)
        rows = _at_full_minutes(self.store.rows(of, start, end + MINUTE, unit))
        rows = rows[(rows[:, TIME] >= start) & (rows[:, TIME] < end)]
        return Periods(rows, start, period)

    @staticmethod
    def measure(periods: Periods, statistic: str, start: float, period: float) -> list[Datapoint]:
        """The periods' statistic as data points; periods in which it cannot be told are left out."""
        values = periods.statistic(statistic)
        known = ~np.isnan(values)
        times = start + periods.indices[known] * period
        return [Datapoint(at, value) for at, value in zip(times.tolist(), values[known].tolist(), strict=True)]

    def list(self, region: str) -> Iterator[tuple[Metric, float]]:
        """Every metric of a region that has points, and when its newest is."""
        return self.store.all(region)

    def units(self, of: Metric) -> Sequence[str]:
        """The units in which a metric was measured."""
        return self.store.units(of)

    def close(self) -> None:
        """Save everything, and end."""
        self.store.close()


def begin(start: float, period: float, now: float) -> float:
    """Where the first period of a query begins: its StartTime rounded down as CloudWatch does.

    To the period where that is below a minute; else to the minute, to five beyond 15 days and to the hour beyond 63.
    """
    days = (now - start) / 86400
    step = period if period < MINUTE else MINUTE if days <= 15 else 300 if days <= 63 else 3600
    return float(np.floor(start / step) * step)


def _at_full_minutes(rows: Rows) -> Rows:
    """Standard-resolution points moved to the minute in which CloudWatch keeps them."""
    standard = rows[:, RESOLUTION] >= MINUTE
    rows[standard, TIME] = np.floor(rows[standard, TIME] / MINUTE) * MINUTE
    return rows
