"""What PutMetricAlarm refuses."""

from __future__ import annotations

from typing import Any

from ..engines.cloudwatch import statistics
from ..engines.cloudwatch.alarms import period_of
from ..engines.cloudwatch.evaluation import COMPARISONS, TREATMENTS
from ..engines.cloudwatch.queries import literal_grid
from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request
from .metric_queries import check_queries, evaluate

DAY, WEEK, HOUR = 86_400, 7 * 86_400, 3_600
SHORT_PERIODS = (10, 20, 30)
MAX_METRICS = 10
OF_ONE_METRIC = ("MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")
NOT_HERE = (
    *("ThresholdMetricId", "EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria", "EvaluationInterval"),
    "ActionConfiguration",
)


def check(request: Request, params: Params) -> None:
    """Refuse an alarm that CloudWatch would not take, or that this one cannot evaluate."""
    for name in NOT_HERE:
        if params.get(name) is not None:
            raise NotImplementedHere(f"{name} of cloudwatch:PutMetricAlarm")
    for name in ("ComparisonOperator", "EvaluationPeriods", "Threshold"):
        if params.get(name) is None:
            _refuse(f"The parameter {name} is required.")
    if params["ComparisonOperator"] not in COMPARISONS:
        raise NotImplementedHere(f"the anomaly detection operator {params['ComparisonOperator']}")
    _check_metrics(request, params["Metrics"], params) if "Metrics" in params else _check_metric(params)
    _check_evaluation(params)
    for kind in ("OKActions", "AlarmActions", "InsufficientDataActions"):
        for arn in params.get(kind) or []:
            if not arn.startswith("arn:"):
                _refuse(f"Invalid arn syntax: {arn}")


def _check_metric(params: Params) -> None:
    for name in ("MetricName", "Namespace", "Period"):
        if not params.get(name):
            _refuse(f"The parameter {name} is required where Metrics is not given.")
    plain, extended = params.get("Statistic"), params.get("ExtendedStatistic")
    if bool(plain) == bool(extended):
        _refuse("Exactly one of the parameters Statistic and ExtendedStatistic must be specified.")
    if extended and statistics.parse(extended) is None:
        _refuse(f"The value {extended} for parameter ExtendedStatistic is not supported.")
    _check_period(params["Period"])


def _check_metrics(request: Request, queries: list[Params], params: Params) -> None:
    mixed = [name for name in OF_ONE_METRIC if params.get(name) not in (None, [])]
    if mixed:
        _refuse(f"The parameters {mixed[0]} and Metrics are mutually exclusive and you have specified both.")
    check_queries(queries)
    if sum(bool(query.get("ReturnData", True)) for query in queries) != 1:
        _refuse("Exactly one element of the metrics list should return data.")
    stats = [query["MetricStat"] for query in queries if "MetricStat" in query]
    if len(stats) > MAX_METRICS:
        _refuse(f"An alarm can be on at most {MAX_METRICS} metrics.")
    if len({stat["Period"] for stat in stats}) > 1:
        _refuse("Period must be the same for all metrics of the alarm.")
    for stat in stats:
        _check_period(stat["Period"])
    now, wanted = request.cloud.metrics.now(), next(query for query in queries if query.get("ReturnData", True))
    evaluation = evaluate(request, queries, lambda period: literal_grid(now - period, now, period, now))
    if len(evaluation.series(wanted["Id"])) != 1:
        _refuse(f"Error in expression '{wanted['Id']}': an alarm needs a single time series")


def _check_period(period: int) -> None:
    if period not in SHORT_PERIODS and period % 60:
        _refuse(f"The value {period} for parameter Period must be 10, 20, 30 or a multiple of 60.")


def _check_evaluation(params: Params) -> None:
    periods, length = params["EvaluationPeriods"], period_of(params)
    longest = WEEK if length >= HOUR else DAY
    if periods * length > longest:
        span = "a week" if longest == WEEK else "a day"
        _refuse(f"Metrics cannot be checked across more than {span} (EvaluationPeriods * Period must be <= {longest}).")
    if params.get("DatapointsToAlarm", periods) > periods:
        _refuse("The parameter DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
    treatment = params.get("TreatMissingData", "missing")
    if treatment not in TREATMENTS:
        _refuse(f"The value {treatment} for parameter TreatMissingData is not one of {', '.join(TREATMENTS)}.")
    low = params.get("EvaluateLowSampleCountPercentile", "evaluate")
    if low not in ("evaluate", "ignore"):
        _refuse(f"The value {low} for parameter EvaluateLowSampleCountPercentile is not one of evaluate, ignore.")


def _refuse(message: str) -> Any:
    refuse("ValidationError", message)
