"""Scaling policies: from their records to the law's, and what they want at this moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .law import ALARM, DEFAULT_COOLDOWN, Opinion, Reading, Step, StepScaling, TargetTracking
from .measures import Measure, Meter, measure_of, measure_of_alarm

if TYPE_CHECKING:
    from ...store import Document

TRACKING, STEP = "TargetTrackingScaling", "StepScaling"


def tracking_of(policy: Document, measure: Measure) -> TargetTracking:
    """The law's form of a target tracking policy."""
    given = policy["TargetTrackingScalingPolicyConfiguration"]
    return TargetTracking(
        policy["PolicyName"],
        given["TargetValue"],
        measure.period,
        given.get("ScaleOutCooldown", DEFAULT_COOLDOWN),
        given.get("ScaleInCooldown", DEFAULT_COOLDOWN),
        given.get("DisableScaleIn", False),
    )


def stepping_of(policy: Document) -> StepScaling:
    """The law's form of a step scaling policy."""
    given = policy["StepScalingPolicyConfiguration"]
    steps = [
        Step(one.get("MetricIntervalLowerBound"), one.get("MetricIntervalUpperBound"), one["ScalingAdjustment"])
        for one in given["StepAdjustments"]
    ]
    return StepScaling(
        policy["PolicyName"],
        given["AdjustmentType"],
        tuple(steps),
        given.get("MinAdjustmentMagnitude", 0),
        given.get("Cooldown", DEFAULT_COOLDOWN),
    )


class Alarms(Protocol):
    """What policies need of CloudWatch's alarms."""

    def find(self, region: str, name: str) -> Document | None:
        """An alarm's description, or None."""

    def of(self, region: str) -> Sequence[Document]:
        """All alarms of a region."""

    def delete(self, region: str, names: Sequence[str]) -> None:
        """Delete alarms."""


class Policies:
    """Asks policies for their opinions."""

    def __init__(self, meter: Meter, alarms: Alarms) -> None:
        self._meter, self._alarms = meter, alarms

    def opinions(
        self, region: str, policies: Sequence[Document], dimensions: dict[str, str], capacity: int, base: int
    ) -> list[Opinion]:
        """What each policy wants of a target with this capacity; ``base`` is ``Cooldown.base_at``."""
        opinions: list[Opinion] = []
        for policy in policies:
            if policy["PolicyType"] == TRACKING:
                opinions.append(self._track(region, policy, dimensions, capacity, base))
            else:
                opinions += self._step(region, policy, capacity, base)
        return opinions

    def drop_alarms(self, region: str, policy: Document) -> None:
        """Delete the alarms that a policy made for itself."""
        self._alarms.delete(region, [one["AlarmName"] for one in policy["Alarms"]])

    def _track(self, region: str, policy: Document, dimensions: dict[str, str], capacity: int, base: int) -> Opinion:
        measure = measure_of(policy["TargetTrackingScalingPolicyConfiguration"], dimensions)
        law = tracking_of(policy, measure)
        highs = self._meter.values(region, measure, law.high.period, law.high.periods)
        lows = self._meter.values(region, measure, law.low.period, law.low.periods)
        high = self._is_alarm(region, alarm_name(policy, "High"))
        known = [value for value in lows if value is not None]
        newest = highs[-1] if high else lows[-1]
        reading = Reading(newest, max(known, default=None), high, self._is_alarm(region, alarm_name(policy, "Low")))
        return law.opinion(reading, capacity, base)

    def _step(self, region: str, policy: Document, capacity: int, base: int) -> Iterator[Opinion]:
        """Of every alarm that has this policy as its action, and is in the state ALARM."""
        law = stepping_of(policy)
        for alarm in alarms_of(self._alarms.of(region), policy):
            if alarm["StateValue"] != ALARM or "MetricName" not in alarm or not alarm.get("Statistic"):
                continue
            newest = self._meter.values(region, measure_of_alarm(alarm), alarm["Period"], 1)[-1]
            if newest is not None:
                yield law.opinion(alarm["AlarmName"], newest - alarm["Threshold"], capacity, base)

    def _is_alarm(self, region: str, name: str) -> bool:
        alarm = self._alarms.find(region, name)
        return alarm is not None and alarm["StateValue"] == ALARM


def alarms_of(alarms: Sequence[Document], policy: Document) -> list[Document]:
    """The alarms that execute a policy."""
    return [alarm for alarm in alarms if policy["PolicyARN"] in alarm.get("AlarmActions", [])]


def alarm_requests(policy: Document, dimensions: dict[str, str]) -> list[dict[str, Any]]:
    """The two alarms of a target tracking policy, as PutMetricAlarm takes them."""
    measure = measure_of(policy["TargetTrackingScalingPolicyConfiguration"], dimensions)
    law = tracking_of(policy, measure)
    common = {
        "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
        "Namespace": measure.namespace,
        "MetricName": measure.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in measure.dimensions],
        "Statistic": measure.statistic,
        "AlarmActions": [policy["PolicyARN"]],
        **({"Unit": measure.unit} if measure.unit else {}),
    }
    return [
        {
            **common,
            "AlarmName": alarm_name(policy, which),
            "Period": rule.period,
            "EvaluationPeriods": rule.periods,
            "Threshold": rule.threshold,
            "ComparisonOperator": "GreaterThanThreshold" if rule.high else "LessThanThreshold",
        }
        for which, rule in (("High", law.high), ("Low", law.low))
    ]


def alarm_name(policy: Document, which: str) -> str:
    """The name of a target tracking policy's alarm, ``which`` being High or Low; any other name is one's own."""
    marker = f"-Alarm{which}-"
    names: list[str] = [one["AlarmName"] for one in policy.get("Alarms", [])]
    return next((name for name in names if marker in name), which)


__all__ = ["STEP", "TRACKING", "Policies", "alarm_name", "alarm_requests", "alarms_of", "stepping_of", "tracking_of"]
