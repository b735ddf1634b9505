"""Scaling policies: from their records to the law's, and what they want at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .law import ALARM, DEFAULT_COOLDOWN, Opinion, Reading, Step, StepScaling, TargetTracking
from .measures import Measure, Meter, measure_of

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


class Policies:
    """Asks policies for their opinions."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def opinions(
        self, region: str, policies: list[Document], dimensions: dict[str, str], capacity: int, base: int
    ) -> list[Opinion]:
        """What each policy wants of a target with this capacity; ``base`` is ``Cooldown.base_at``."""
        return [
            self._track(region, policy, dimensions, capacity, base)
            for policy in policies
            if policy["PolicyType"] == TRACKING
        ]

    def _track(self, region: str, policy: Document, dimensions: dict[str, str], capacity: int, base: int) -> Opinion:
        measure = measure_of(policy["TargetTrackingScalingPolicyConfiguration"], dimensions)
        law = tracking_of(policy, measure)
        highs = self._meter.values(region, measure, law.high.period, law.high.periods)
        lows = self._meter.values(region, measure, law.low.period, law.low.periods)
        high = law.high.state(highs) == ALARM
        known = [value for value in lows if value is not None]
        reading = Reading(
            highs[-1] if high else lows[-1],
            max(known, default=None),
            high,
            law.low.state(lows) == ALARM,
        )
        return law.opinion(reading, capacity, base)


def alarm_name(policy: Document, which: str) -> str:
    """The name of a target tracking policy's alarm, ``which`` being High or Low; any other name is one's own."""
    marker = f"-Alarm{which}-"
    names: list[str] = [one["AlarmName"] for one in policy.get("Alarms", [])]
    return next((name for name in names if marker in name), which)


def configuration_of(policy: Document) -> dict[str, Any]:
    """The configuration of a policy's own type."""
    found: dict[str, Any] = policy[f"{policy['PolicyType']}PolicyConfiguration"]
    return found


__all__ = ["STEP", "TRACKING", "Policies", "alarm_name", "configuration_of", "stepping_of", "tracking_of"]
