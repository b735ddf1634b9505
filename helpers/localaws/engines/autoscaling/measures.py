"""What policies measure: predefined and customised metrics, by period, read from CloudWatch's metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..cloudwatch.metrics import Metrics
from ..cloudwatch.store import metric
from .law import MINUTE

if TYPE_CHECKING:
    from ..clock import Clock

HIGH_RESOLUTION = 10
# Statistics that grow with the length of their period.
GROWING = ("Sum", "SampleCount")
# The newest period counts when what happened in it is surely published.
SETTLED_SECONDS = 1.0


@dataclass(frozen=True)
class Measure:
    """A statistic of a metric. ``period`` is the length, in AWS's seconds, over which a high alarm looks at it."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    period: int
    unit: str | None = None


# By PredefinedMetricType: the metric's namespace, its name, its statistic, and its period.
PREDEFINED: dict[str, tuple[str, str, str, int]] = {
    "SageMakerVariantInvocationsPerInstance": ("AWS/SageMaker", "InvocationsPerInstance", "Sum", MINUTE),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": (
        "AWS/SageMaker",
        "ConcurrentRequestsPerModel",
        "Average",
        HIGH_RESOLUTION,
    ),
    "LambdaProvisionedConcurrencyUtilization": (
        "AWS/Lambda",
        "ProvisionedConcurrencyUtilization",
        "Average",
        MINUTE,
    ),
}


def measure_of(configuration: dict[str, Any], dimensions: dict[str, str]) -> Measure:
    """What a target tracking configuration measures; ``dimensions`` are the resource's, for a predefined metric."""
    predefined = configuration.get("PredefinedMetricSpecification")
    if predefined:
        namespace, name, statistic, period = PREDEFINED[predefined["PredefinedMetricType"]]
        return Measure(namespace, name, tuple(sorted(dimensions.items())), statistic, period)
    given = configuration["CustomizedMetricSpecification"]
    named = tuple(sorted((one["Name"], one["Value"]) for one in given.get("Dimensions", [])))
    return Measure(given["Namespace"], given["MetricName"], named, given["Statistic"], MINUTE, given.get("Unit"))


def measure_of_alarm(alarm: dict[str, Any]) -> Measure:
    """What an alarm on one metric measures."""
    named = tuple(sorted((one["Name"], one["Value"]) for one in alarm.get("Dimensions", [])))
    return Measure(
        alarm["Namespace"], alarm["MetricName"], named, alarm["Statistic"], alarm["Period"], alarm.get("Unit")
    )


class Meter:
    """Reads measures."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics, self._clock = metrics, clock

    def values(self, region: str, of: Measure, period: int, periods: int) -> list[float | None]:
        """The newest full periods, oldest first, None where there is no data; in AWS's terms whatever the scale."""
        real = self._clock.period(period)
        end = math.floor((self._clock.now().timestamp() - SETTLED_SECONDS) / real) * real
        start = end - periods * real
        which = metric(region, of.namespace, of.name, dict(of.dimensions))
        found = self._metrics.statistics(which, of.statistic, real, start, end, of.unit)
        factor = period / real if of.statistic in GROWING else 1.0
        values: list[float | None] = [None] * periods
        for point in found:
            values[min(periods - 1, round((point.at - start) / real))] = point.value * factor
        return values


__all__ = ["PREDEFINED", "Measure", "Meter", "measure_of", "measure_of_alarm"]
