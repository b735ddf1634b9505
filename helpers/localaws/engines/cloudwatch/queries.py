"""Metric data queries (GetMetricData's, and those of alarms on metric math): which series they are.

A query is the API's structure: ``{"Id": …, "MetricStat": {…}}`` or ``{"Id": …, "Expression": …}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .expressions import Calculator, ExpressionError, Grid, Series, Value, names, parse
from .metrics import Metrics, begin
from .points import KEPT_FINE_SECONDS, KEPT_SECONDS, MINUTE
from .statistics import TOTALS, Periods
from .store import Metric, metric

Query = Mapping[str, Any]
FUTURE_SECONDS = 2 * 3600.0  # as far ahead as a data point may lie


def metric_of(region: str, named: Mapping[str, Any]) -> Metric:
    """The metric that an API structure names by ``Namespace``, ``MetricName`` and ``Dimensions``."""
    dimensions = {one["Name"]: one["Value"] for one in named.get("Dimensions") or []}
    return metric(region, named["Namespace"], named["MetricName"], dimensions)


def on_grid(periods: Periods, statistic: str, grid: Grid, label: str = "") -> Series:
    """A statistic as a series on the grid that the periods were counted on."""
    values = np.full(grid.count, np.nan)
    inside = (periods.indices >= 0) & (periods.indices < grid.count)
    values[periods.indices[inside]] = periods.statistic(statistic)[inside]
    if grid.step != grid.period and TOTALS.match(statistic):
        values *= grid.period / grid.step
    return Series(grid, values, label)


def literal_grid(start: float, end: float, period: float, now: float) -> Grid:
    """The periods of [start, end) as the API counts them, but for those that no kept data point can lie in."""
    origin = begin(start, period, now)
    oldest = now - (KEPT_FINE_SECONDS if period < MINUTE else KEPT_SECONDS) - MINUTE
    origin += period * max(0.0, np.floor((oldest - origin) / period))
    end = min(end, now + FUTURE_SECONDS + period)
    return Grid(origin, period, max(0, math.ceil((end - origin) / period)), period, end)


class Evaluation:
    """The series of some queries that may name each other; each is calculated once, when it is first needed."""

    def __init__(
        self, metrics: Metrics, region: str, queries: Sequence[Query], grid_of: Callable[[float], Grid], literal: bool
    ) -> None:
        """``grid_of`` gives the grid of a period.

        ``literal``: as the API shows the data, standard resolution at full minutes; else at the moment of each point.
        """
        self._metrics, self._region, self._grid_of, self._literal = metrics, region, grid_of, literal
        self._queries = {query["Id"]: query for query in queries}
        self._found: dict[str, Value] = {}
        self._open: list[str] = []

    def series(self, identity: str) -> list[Series]:
        """The series of a query. Raises :class:`ExpressionError`."""
        value = self.value(identity)
        if isinstance(value, Series):
            return [value]
        if isinstance(value, list):
            return value
        raise ExpressionError("the result is not a time series")

    def value(self, identity: str) -> Value:
        """The value of a query: a series, or whatever its expression gives."""
        if identity not in self._queries:
            raise ExpressionError(f"'{identity}' is not the id of a metric or an expression of this request")
        if identity in self._open:
            raise ExpressionError(f"'{identity}' depends on itself")
        if identity not in self._found:
            self._open.append(identity)
            query = self._queries[identity]
            self._found[identity] = self._calculate(query) if "Expression" in query else self._measure(query)
            self._open.pop()
        return self._found[identity]

    def check(self, identity: str) -> None:
        """Read one query. Raises :class:`ExpressionError`, also where what it gives cannot be shown."""
        query = self._queries[identity]
        for name in names(parse(query["Expression"])) if "Expression" in query else ():
            if name not in self._queries:
                raise ExpressionError(f"'{name}' is not the id of a metric or an expression of this request")
        if query.get("ReturnData", True):
            self.series(identity)

    def _measure(self, query: Query) -> Series:
        stat = query["MetricStat"]
        of, unit, grid = metric_of(self._region, stat["Metric"]), stat.get("Unit"), self._grid_of(stat["Period"])
        if self._literal:
            periods = self._metrics.periods(of, grid.step, grid.origin, grid.end, unit)
        else:
            periods = Periods(self._metrics.store.rows(of, grid.origin, grid.end, unit), grid.origin, grid.step)
        return on_grid(periods, stat["Stat"], grid, query.get("Label", of.name))

    def _calculate(self, query: Query) -> Value:
        calculator = Calculator(self.value, self._grid_of(self._period()), self._all_metrics)
        return calculator.evaluate(query["Expression"])

    def _period(self) -> float:
        """The period of a series that is made of a number: the finest of the request."""
        given = [query["MetricStat"]["Period"] for query in self._queries.values() if "MetricStat" in query]
        given += [query["Period"] for query in self._queries.values() if "Period" in query]
        return float(min(given, default=60))

    def _all_metrics(self) -> dict[str, Series]:
        found = ((identity, self.value(identity)) for identity, one in self._queries.items() if "MetricStat" in one)
        return {identity: value for identity, value in found if isinstance(value, Series)}
