"""CloudWatch's GetMetricData: statistics and metric math of many metrics at once, in pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np

from ..engines.cloudwatch import Datapoint, statistics
from ..engines.cloudwatch.expressions import ExpressionError, Grid, Unsupported
from ..engines.cloudwatch.queries import Evaluation, literal_grid
from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from .metrics import check_period, check_range, offset, token

MAX_QUERIES = 500
MAX_DATAPOINTS = 100_800
IDENTIFIER = "^[a-z][a-zA-Z0-9_]*$"


@operation("cloudwatch", "GetMetricData")
def get_metric_data(request: Request, params: Params) -> Params:
    """The data of every query whose ``ReturnData`` is not false, newest first unless asked otherwise."""
    start, end = params["StartTime"].timestamp(), params["EndTime"].timestamp()
    check_range(start, end, "ValidationError")
    queries, now = params["MetricDataQueries"], request.cloud.metrics.now()
    check_queries(queries)
    size = params.get("MaxDatapoints", MAX_DATAPOINTS)
    if not 1 <= size <= MAX_DATAPOINTS:
        refuse("ValidationError", f"The parameter MaxDatapoints must be between 1 and {MAX_DATAPOINTS}.")
    evaluation = evaluate(request, queries, lambda period: literal_grid(start, end, period, now))
    shown = [query for query in queries if query.get("ReturnData", True)]
    results = [result for query in shown for result in _results(query, evaluation)]
    if params.get("ScanBy") != "TimestampAscending":
        results = [(query_id, label, points[::-1]) for query_id, label, points in results]
    return _page(results, params.get("NextToken"), size)


def evaluate(request: Request, queries: list[Params], grid_of: Callable[[float], Grid]) -> Evaluation:
    """Everything the queries ask for; refuses expressions that CloudWatch would not take."""
    evaluation = Evaluation(request.cloud.metrics, request.region, queries, grid_of, literal=True)
    for query in queries:
        try:
            evaluation.check(query["Id"])
        except Unsupported as error:
            raise NotImplementedHere(f"{error} in metric math") from error
        except ExpressionError as error:
            refuse("ValidationError", f"Error in expression '{query['Id']}': {error}")
    return evaluation


def _results(query: Params, evaluation: Evaluation) -> Iterator[tuple[str, str, list[Datapoint]]]:
    """A query's series, by label: one, or those of an expression that gives several."""
    found = evaluation.value(query["Id"])
    for series in found if isinstance(found, list) else [evaluation.series(query["Id"])[0]]:
        label: str = query.get("Label") or (series.label if "MetricStat" in query else query["Id"])
        known = ~np.isnan(series.values)
        times, values = series.grid.times()[known].tolist(), series.values[known].tolist()
        points = [Datapoint(at, value) for at, value in zip(times, values, strict=True)]
        yield query["Id"], f"{label} {series.label}" if isinstance(found, list) else label, points


def check_queries(queries: list[Params]) -> None:
    """Refuse queries that are not well-formed, as GetMetricData and PutMetricAlarm do."""
    if not 1 <= len(queries) <= MAX_QUERIES:
        refuse("ValidationError", f"The collection MetricDataQueries must have a size between 1 and {MAX_QUERIES}.")
    identifiers = [query["Id"] for query in queries]
    if len(set(identifiers)) < len(identifiers):
        refuse("ValidationError", "The values for parameter id in MetricDataQueries are not unique.")
    for number, query in enumerate(queries, 1):
        _check_query(query, f"MetricDataQueries.member.{number}")


def _check_query(query: Params, where: str) -> None:
    if not re.fullmatch(IDENTIFIER, query["Id"]):
        refuse(
            "ValidationError",
            f"The value {query['Id']} for parameter {where}.Id is not matching the expected pattern {IDENTIFIER}.",
        )
    if ("MetricStat" in query) == ("Expression" in query):
        refuse("ValidationError", f"Exactly one of {where}.MetricStat and {where}.Expression must be specified.")
    if "${" in query.get("Label", ""):
        raise NotImplementedHere("dynamic labels (cloudwatch:GetMetricData)")
    if "MetricStat" in query:
        stat = query["MetricStat"]
        check_period(stat["Period"], f"{where}.MetricStat.Period", "ValidationError")
        for name in ("Namespace", "MetricName"):
            if not stat["Metric"].get(name):
                refuse("ValidationError", f"The parameter {where}.MetricStat.Metric.{name} is required.")
        if not statistics.known(stat["Stat"]):
            refuse(
                "ValidationError", f"The value {stat['Stat']} for parameter {where}.MetricStat.Stat is not supported."
            )


def _page(results: list[tuple[str, str, list[Datapoint]]], given: str | None, size: int) -> Params:
    """``size`` data points in the order of the results, from where the page before ended."""
    skipped = offset(given, "InvalidNextToken")
    left, total, shown = size, 0, []
    for query_id, label, points in results:
        first = max(0, skipped - total)
        part = points[first : first + left]
        left, total = left - len(part), total + len(points)
        if part or not given:
            shown.append(
                {
                    "Id": query_id,
                    "Label": label,
                    "Timestamps": [datetime.fromtimestamp(point.at, UTC) for point in part],
                    "Values": [point.value for point in part],
                    "StatusCode": "Complete" if first + len(part) >= len(points) else "PartialData",
                }
            )
    following = skipped + size
    return {"MetricDataResults": shown, "Messages": [], "NextToken": token(following) if following < total else None}
