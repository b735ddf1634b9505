"""What policies measure, in AWS's terms at every time scale."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from helpers.localaws.engines.autoscaling.measures import Measure, Meter, measure_of
from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.cloudwatch.metrics import Metrics
from helpers.localaws.engines.cloudwatch.store import metric

NOW = 1_800_000_000.0
DIMENSIONS = {"EndpointName": "dogs", "VariantName": "AllTraffic"}
PER_MINUTE = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
AT_ONCE = {
    "PredefinedMetricSpecification": {
        "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    }
}


class StoppedClock(Clock):
    """Always a moment after ``NOW``, when the last second is settled."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(NOW + 1.5, UTC)


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    made = Metrics(tmp_path / "metrics.sqlite", now=lambda: NOW + 1.5)
    yield made
    made.close()


def put(metrics: Metrics, name: str, value: float, seconds: int) -> None:
    """One value in the middle of each of the last seconds."""
    which = metric("us-east-1", "AWS/SageMaker", name, DIMENSIONS)
    for second in range(1, seconds + 1):
        metrics.put(which, [value], at=NOW - second + 0.5, resolution=1)


@pytest.mark.parametrize("scale", [1.0, 20.0, 60.0, 500.0])
def test_ten_requests_a_second_are_six_hundred_a_minute_at_every_scale(metrics: Metrics, scale: float) -> None:
    put(metrics, "InvocationsPerInstance", 10.0, 240)
    meter = Meter(metrics, StoppedClock(scale))
    values = meter.values("us-east-1", measure_of(PER_MINUTE, DIMENSIONS), 60, 3)
    assert values == pytest.approx([600.0] * 3)


@pytest.mark.parametrize("scale", [1.0, 5.0, 60.0])
def test_a_mean_is_the_same_at_every_scale(metrics: Metrics, scale: float) -> None:
    put(metrics, "ConcurrentRequestsPerModel", 7.0, 40)
    measure = measure_of(AT_ONCE, DIMENSIONS)
    assert measure.period == 10
    assert Meter(metrics, StoppedClock(scale)).values("us-east-1", measure, 10, 3) == pytest.approx([7.0] * 3)


def test_periods_without_data_are_none(metrics: Metrics) -> None:
    put(metrics, "ConcurrentRequestsPerModel", 7.0, 12)
    measure = measure_of(AT_ONCE, DIMENSIONS)
    assert Meter(metrics, StoppedClock(1.0)).values("us-east-1", measure, 10, 3) == [None, 7.0, 7.0]


def test_a_metric_of_ones_own_is_measured_as_it_is_described() -> None:
    given = {
        "MetricName": "Queue",
        "Namespace": "Mine",
        "Statistic": "Maximum",
        "Unit": "Count",
        "Dimensions": [{"Name": "b", "Value": "2"}, {"Name": "a", "Value": "1"}],
    }
    measure = measure_of({"CustomizedMetricSpecification": given}, {})
    assert measure == Measure("Mine", "Queue", (("a", "1"), ("b", "2")), "Maximum", 60, "Count")
