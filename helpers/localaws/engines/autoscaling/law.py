"""Application Auto Scaling's control law: from what policies want to what is done. No clock, no threads, no cloud.

Times are seconds of AWS's own time from any origin, so the same law runs in the embedded AWS and in a simulation.
https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking.html
https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-step-scaling-policies.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

DEFAULT_COOLDOWN = 300.0
# The low alarm's threshold is this much below the target, so that a load at the target is neither high nor low.
LOW_SHARE = 0.9
HIGH_PERIODS, LOW_PERIODS, MINUTE = 3, 15, 60

# NotScaledReasons.
FLAPPING = "AutoScalingAnticipatedFlapping"
AT_MAXIMUM = "AlreadyAtMaxCapacity"
AT_MINIMUM = "AlreadyAtMinCapacity"
AT_DESIRED = "AlreadyAtDesiredCapacity"

ALARM, OK, INSUFFICIENT = "ALARM", "OK", "INSUFFICIENT_DATA"


@dataclass(frozen=True)
class Bounds:
    """The capacities that a scalable target may have."""

    minimum: int
    maximum: int

    def clamp(self, capacity: int) -> int:
        """The capacity within the bounds that is nearest."""
        return min(max(capacity, self.minimum), self.maximum)


@dataclass(frozen=True)
class Rule:
    """An alarm: ``periods`` in a row, each ``period`` seconds long, above (``high``) or below a threshold."""

    threshold: float
    period: int
    periods: int
    high: bool

    def state(self, values: Sequence[float | None]) -> str:
        """The state after the newest ``periods`` values, oldest first; None is a period without data.

        Only a period with data breaches, so missing data never raises the alarm.
        """
        newest = list(values)[-self.periods :]
        if not any(value is not None for value in newest):
            return INSUFFICIENT
        breaching = [value is not None and self.breached(value) for value in newest]
        return ALARM if len(newest) == self.periods and all(breaching) else OK

    def breached(self, value: float) -> bool:
        """Whether a value is on the wrong side of the threshold."""
        return value > self.threshold if self.high else value < self.threshold


@dataclass(frozen=True)
class Reading:
    """What a policy's metric and alarms say now.

    ``metric`` is the newest period's value, ``peak`` the highest of the low alarm's periods; None where there is no
    data. ``high`` and ``low`` are whether those alarms are in the state ALARM.
    """

    metric: float | None
    peak: float | None
    high: bool
    low: bool


@dataclass(frozen=True)
class Opinion:
    """What one policy wants: a capacity, or None for no change; and whether it keeps others from scaling in."""

    policy: str
    desired: int | None
    alarm: str = ""
    out_cooldown: float = DEFAULT_COOLDOWN
    in_cooldown: float = DEFAULT_COOLDOWN
    vetoes_in: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Cooldown:
    """What earlier scaling still holds back.

    ``base`` is the capacity before the scale-out that began the scale-out cooldown: while that lasts, what it has
    added counts as a part of what the next one asks for.
    """

    out_until: float = -math.inf
    in_until: float = -math.inf
    base: int = 0

    def base_at(self, now: float, capacity: int) -> int:
        """The capacity from which a scale-out is reckoned."""
        return min(self.base, capacity) if now < self.out_until else capacity

    def after(self, now: float, before: int, capacity: int, seconds: float) -> Cooldown:
        """The cooldown once a policy's change from ``before`` to ``capacity`` has been carried out."""
        if capacity > before:  # ends a scale-in cooldown
            return Cooldown(out_until=now + seconds, base=self.base_at(now, before))
        return replace(self, in_until=now + seconds)


@dataclass(frozen=True)
class TargetTracking:
    """Keeps a metric *per unit of capacity* at ``target``; ``period`` is 10 for high-resolution metrics, else 60."""

    name: str
    target: float
    period: int = MINUTE
    out_cooldown: float = DEFAULT_COOLDOWN
    in_cooldown: float = DEFAULT_COOLDOWN
    disable_scale_in: bool = False

    @property
    def high(self) -> Rule:
        """Above the target for three periods: 3 minutes, or 30 seconds of a high-resolution metric."""
        return Rule(self.target, self.period, HIGH_PERIODS, high=True)

    @property
    def low(self) -> Rule:
        """Below nine tenths of the target for 15 periods of a minute, whatever the metric's resolution."""
        return Rule(self.target * LOW_SHARE, MINUTE, LOW_PERIODS, high=False)

    def opinion(self, reading: Reading, capacity: int, base: int) -> Opinion:
        """What it wants now; ``base`` is :meth:`Cooldown.base_at`."""
        vetoes = not self.disable_scale_in and not reading.low
        held = Opinion(self.name, None, "", self.out_cooldown, self.in_cooldown, vetoes)
        if reading.metric is None:
            return held
        if reading.high:
            return replace(held, desired=max(capacity, self.needed(base, reading.metric)), alarm="High")
        if not reading.low or self.disable_scale_in:
            return held
        wanted = self.needed(capacity, reading.metric)
        # What was needed at the busiest of those 15 minutes will be needed again.
        safe = max(wanted, self.needed(capacity, reading.peak if reading.peak is not None else reading.metric))
        reason = FLAPPING if wanted < capacity <= safe else ""
        return replace(held, desired=min(capacity, safe), alarm="Low", reason=reason)

    def needed(self, capacity: int, metric: float) -> int:
        """How much capacity brings the metric to the target, if ``capacity`` has it at ``metric``."""
        return math.ceil(round(capacity * metric / self.target, 9))


@dataclass(frozen=True)
class Step:
    """How to scale where the metric is in [lower, upper) from the alarm's threshold; None is unbounded."""

    lower: float | None
    upper: float | None
    adjustment: int

    def covers(self, distance: float) -> bool:
        """Whether a metric this far from the threshold is in it; below the threshold the upper bound belongs to it."""
        if distance >= 0:
            above = self.lower is None or distance >= self.lower
            return above and (self.upper is None or distance < self.upper)
        return (self.lower is None or distance > self.lower) and (self.upper is None or distance <= self.upper)


@dataclass(frozen=True)
class StepScaling:
    """Changes the capacity in steps, by how far an alarm of the user's own is breached."""

    name: str
    adjustment_type: str
    steps: tuple[Step, ...]
    minimum_magnitude: int = 0
    cooldown: float = DEFAULT_COOLDOWN

    def opinion(self, alarm: str, distance: float, capacity: int, base: int) -> Opinion:
        """What it wants while ``alarm`` is in ALARM, its metric ``distance`` above (< 0: below) the threshold."""
        held = Opinion(self.name, None, alarm, self.cooldown, self.cooldown)
        step = next((one for one in self.steps if one.covers(distance)), None)
        if step is None:
            return held
        desired = self.adjusted(step.adjustment, capacity)
        if desired > capacity:
            desired = max(capacity, self.adjusted(step.adjustment, base))
        return replace(held, desired=max(0, desired))

    def adjusted(self, adjustment: int, capacity: int) -> int:
        """The capacity after an adjustment; shares are rounded towards zero, but never to nothing."""
        if self.adjustment_type == "ExactCapacity":
            return adjustment
        if self.adjustment_type == "ChangeInCapacity":
            return capacity + adjustment
        share = capacity * adjustment / 100
        size = max(math.floor(abs(share)), 1 if share else 0, self.minimum_magnitude if adjustment else 0)
        return capacity + int(math.copysign(size, adjustment))


@dataclass(frozen=True)
class Decision:
    """What to do: the capacity to set, or None; the opinion that prevailed, and why nothing is done."""

    capacity: int | None = None
    opinion: Opinion | None = None
    reason: str = ""
    cooling: bool = False


NOTHING = Decision()


def decide(
    now: float,
    capacity: int,
    bounds: Bounds,
    opinions: Sequence[Opinion],
    cooldown: Cooldown,
    out_suspended: bool = False,
    in_suspended: bool = False,
) -> Decision:
    """The largest of what the policies want; scaling in only if no target tracking policy is against it."""
    wanting = [(one.desired, one) for one in opinions if one.desired is not None]
    if not wanting:
        return NOTHING
    desired, opinion = max(wanting, key=lambda wanted: wanted[0])
    if desired > capacity or opinion.alarm == "High":
        return NOTHING if out_suspended else _scale_out(now, capacity, bounds, desired, opinion, cooldown)
    if in_suspended or any(one.vetoes_in for one in opinions):
        return NOTHING
    return _scale_in(now, capacity, bounds, desired, opinion, cooldown)


def _scale_out(
    now: float, capacity: int, bounds: Bounds, desired: int, opinion: Opinion, cooldown: Cooldown
) -> Decision:
    allowed = bounds.clamp(desired)
    if allowed > capacity:  # in a cooldown too: ``desired`` was reckoned from its base, so it is a larger one
        return Decision(allowed, opinion)
    if capacity >= bounds.maximum:
        return Decision(None, opinion, AT_MAXIMUM)
    cooling = now < cooldown.out_until
    return Decision(None, opinion, "" if cooling else AT_DESIRED, cooling)


def _scale_in(
    now: float, capacity: int, bounds: Bounds, desired: int, opinion: Opinion, cooldown: Cooldown
) -> Decision:
    if capacity <= bounds.minimum:
        return Decision(None, opinion, AT_MINIMUM)
    if desired >= capacity:
        return Decision(None, opinion, opinion.reason or AT_DESIRED)
    allowed = bounds.clamp(desired)
    if now < max(cooldown.in_until, cooldown.out_until):
        return Decision(None, opinion, cooling=True)
    return Decision(allowed, opinion)
