"""CloudWatch metrics: PutMetricData, GetMetricStatistics, ListMetrics. GetMetricData is in ``metric_queries``."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ..engines.cloudwatch import Metric, Metrics, metric, statistics
from ..engines.cloudwatch.metrics import STANDARD, begin
from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request, operation

MAX_DATUMS = 1000
MAX_VALUES = 150
LIMIT = 2.0**360
TWO_WEEKS, TWO_HOURS, THREE_HOURS = 14 * 86400, 2 * 3600, 3 * 3600
MAX_DATAPOINTS = 1440
LIST_PAGE = 500
EXCLUSIVE = "The parameters {0} and {1} are mutually exclusive and you have specified both."


@operation("cloudwatch", "PutMetricData")
def put_metric_data(request: Request, params: Params) -> None:
    """Keep data points: all of them, or (where one is not right) none."""
    if params.get("EntityMetricData"):
        raise NotImplementedHere("EntityMetricData of cloudwatch:PutMetricData")
    namespace, data = params["Namespace"], params.get("MetricData") or []
    if namespace.startswith("AWS/"):
        refuse("InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid.")
    if not data:
        refuse("MissingParameter", "The parameter MetricData is required.")
    if len(data) > MAX_DATUMS:
        refuse("InvalidParameterValue", f"The collection MetricData must not have a size greater than {MAX_DATUMS}.")
    for number, datum in enumerate(data, 1):
        _check_datum(datum, f"MetricData.member.{number}", request.cloud.metrics.now())
    for datum in data:
        _put(request.cloud.metrics, metric(request.region, namespace, datum["MetricName"], _named(datum)), datum)


def _put(metrics: Metrics, of: Metric, datum: Params) -> None:
    at = datum["Timestamp"].timestamp() if "Timestamp" in datum else None
    unit, resolution = datum.get("Unit", "None"), datum.get("StorageResolution", STANDARD)
    if summary := datum.get("StatisticValues"):
        measured = (summary["SampleCount"], summary["Sum"], summary["Minimum"], summary["Maximum"])
        metrics.put_statistics(of, *measured, unit=unit, at=at, resolution=resolution)
        return
    values = datum.get("Values") or [datum["Value"]]
    metrics.put(of, values, datum.get("Counts") or None, unit, at, resolution)


def _check_datum(datum: Params, where: str, now: float) -> None:
    given = [name for name in ("Value", "StatisticValues", "Values") if datum.get(name) not in (None, [])]
    if len(given) > 1:
        refuse("InvalidParameterCombination", EXCLUSIVE.format(f"{where}.{given[0]}", f"{where}.{given[1]}"))
    if not given:
        refuse("MissingParameter", f"At least one of {where}.Value, .Values and .StatisticValues must be specified.")
    _check_values(datum, where)
    if datum.get("StorageResolution", STANDARD) not in (1, STANDARD):
        refuse("InvalidParameterValue", f"The parameter {where}.StorageResolution must be 1 or 60.")
    names = [one["Name"] for one in datum.get("Dimensions") or []]
    if len(names) != len(set(names)):
        refuse("InvalidParameterValue", f"The dimensions of {where} do not have unique names.")
    age = now - datum["Timestamp"].timestamp() if "Timestamp" in datum else 0
    for late, words in ((age > TWO_WEEKS, "two weeks in the past"), (-age > TWO_HOURS, "two hours in the future")):
        if late:
            refuse(
                "InvalidParameterValue", f"The parameter {where}.Timestamp must specify a time no more than {words}."
            )


def _check_values(datum: Params, where: str) -> None:
    values, counts = datum.get("Values") or [], datum.get("Counts") or []
    if counts and not values:
        refuse("MissingParameter", f"The parameter {where}.Values is required where {where}.Counts is given.")
    if counts and len(counts) != len(values):
        refuse("InvalidParameterValue", f"The parameters {where}.Values and {where}.Counts must have the same length.")
    if len(values) > MAX_VALUES:
        refuse(
            "InvalidParameterValue", f"The collection {where}.Values must not have a size greater than {MAX_VALUES}."
        )
    summary = datum.get("StatisticValues") or {}
    for name, value in _numbers(datum, where):
        if not math.isfinite(value) or abs(value) > LIMIT:
            refuse("InvalidParameterValue", f"The value {value} for parameter {name} is invalid.")
    sampled = [summary["SampleCount"]] if summary else []
    if any(count <= 0 for count in [*counts, *sampled]):
        refuse("InvalidParameterValue", f"The counts of {where} must be greater than 0.")
    if summary and summary["Minimum"] > summary["Maximum"]:
        refuse(
            "InvalidParameterValue",
            f"The parameter {where}.StatisticValues.Minimum must not be greater than {where}.StatisticValues.Maximum.",
        )


def _numbers(datum: Params, where: str) -> Iterator[tuple[str, float]]:
    """Every number that was measured, and the parameter it came in."""
    if "Value" in datum:
        yield f"{where}.Value", datum["Value"]
    for name in ("Values", "Counts"):
        for number, value in enumerate(datum.get(name) or [], 1):
            yield f"{where}.{name}.member.{number}", value
    for name, value in (datum.get("StatisticValues") or {}).items():
        yield f"{where}.StatisticValues.{name}", value


@operation("cloudwatch", "GetMetricStatistics")
def get_metric_statistics(request: Request, params: Params) -> Params:
    """Statistics of one metric, at most 1,440 periods of them; per unit, where no unit was asked for."""
    wanted = [*(params.get("Statistics") or []), *(params.get("ExtendedStatistics") or [])]
    _check_statistics(params)
    metrics, period = request.cloud.metrics, params["Period"]
    start, end = params["StartTime"].timestamp(), params["EndTime"].timestamp()
    check_range(start, end, "InvalidParameterValue")
    check_period(period, "Period", "InvalidParameterValue")
    asked = math.ceil((end - start) / period)
    if asked > MAX_DATAPOINTS:
        refuse(
            "InvalidParameterCombination",
            f"You have requested up to {asked:,} datapoints, which exceeds the limit of {MAX_DATAPOINTS:,}. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
        )
    of = metric(request.region, params["Namespace"], params["MetricName"], _named(params))
    origin = begin(start, period, metrics.now())
    units = [params["Unit"]] if params.get("Unit") else metrics.units(of)
    points = [point for unit in units for point in _datapoints(metrics, of, unit, wanted, origin, end, period)]
    return {"Label": params["MetricName"], "Datapoints": sorted(points, key=lambda point: point["Timestamp"])}


def _check_statistics(params: Params) -> None:
    plain, extended = params.get("Statistics"), params.get("ExtendedStatistics")
    if plain and extended:
        refuse("InvalidParameterCombination", EXCLUSIVE.format("Statistics", "ExtendedStatistics"))
    if not plain and not extended:
        refuse("MissingParameter", "Must specify either Statistics or ExtendedStatistics.")
    for name in extended or []:
        if statistics.parse(name) is None:
            refuse("InvalidParameterValue", f"The value {name} for parameter ExtendedStatistics is not supported.")


def _datapoints(
    metrics: Metrics, of: Metric, unit: str, wanted: Sequence[str], origin: float, end: float, period: float
) -> Iterator[Params]:
    periods = metrics.periods(of, period, origin, end, unit)
    columns = {name: dict(metrics.measure(periods, name, origin, period)) for name in wanted}
    for at in sorted({at for column in columns.values() for at in column}):
        found = {name: column[at] for name, column in columns.items() if at in column}
        point: dict[str, Any] = {"Timestamp": datetime.fromtimestamp(at, UTC), "Unit": unit}
        point |= {name: value for name, value in found.items() if name in statistics.SIMPLE}
        extended = {name: value for name, value in found.items() if name not in statistics.SIMPLE}
        yield point | ({"ExtendedStatistics": extended} if extended else {})


@operation("cloudwatch", "ListMetrics")
def list_metrics(request: Request, params: Params) -> Params:
    """The metrics with points in the last two weeks, by namespace, name and dimensions, 500 a page."""
    if params.get("OwningAccount") not in (None, request.account) or params.get("IncludeLinkedAccounts"):
        raise NotImplementedHere("metrics of other accounts (cloudwatch:ListMetrics)")
    now = request.cloud.metrics.now()
    since = now - (THREE_HOURS if params.get("RecentlyActive") else TWO_WEEKS)
    found = sorted(
        one for one, newest in request.cloud.metrics.list(request.region) if newest >= since and _is_asked(one, params)
    )
    start = offset(params.get("NextToken"), "InvalidParameterValue")
    shown = islice(found, start, start + LIST_PAGE)
    following = token(start + LIST_PAGE) if len(found) > start + LIST_PAGE else None
    return {"Metrics": [shape(one) for one in shown], "NextToken": following}


def shape(of: Metric) -> Params:
    """A metric as the API writes it."""
    dimensions = [{"Name": name, "Value": value} for name, value in of.dimensions]
    return {"Namespace": of.namespace, "MetricName": of.name, "Dimensions": dimensions}


def _is_asked(of: Metric, params: Params) -> bool:
    dimensions = dict(of.dimensions)
    return (
        params.get("Namespace") in (None, of.namespace)
        and params.get("MetricName") in (None, of.name)
        and all(
            one["Name"] in dimensions and one.get("Value") in (None, dimensions[one["Name"]])
            for one in params.get("Dimensions") or []
        )
    )


def check_range(start: float, end: float, code: str) -> None:
    """Refuse a range that is empty or the wrong way round."""
    if start >= end:
        refuse(code, "The parameter StartTime must be less than the parameter EndTime.")


def check_period(period: int, where: str, code: str) -> None:
    """Refuse a period that CloudWatch does not have."""
    if period not in (1, 5, 10, 20, 30) and period % 60:
        refuse(code, f"The value {period} for parameter {where} must be 1, 5, 10, 20, 30 or a multiple of 60.")


def _named(given: Params) -> dict[str, str]:
    return {one["Name"]: one["Value"] for one in given.get("Dimensions") or []}


def token(position: int) -> str:
    """The NextToken of a page that begins there."""
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def offset(given: str | None, code: str) -> int:
    """Where the page of a NextToken begins; refuses, with ``code``, what is no token."""
    try:
        return int(base64.urlsafe_b64decode(given)) if given else 0
    except ValueError:
        refuse(code, "The value for parameter NextToken is invalid.")
