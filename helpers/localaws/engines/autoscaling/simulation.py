"""What if: a variant's capacity, latency and cost under a day of traffic, by the law that scales the real endpoints.

The law and its alarms are the embedded AWS's own; the instances are a model of instances: each answers at most so many
requests a second, what comes above that waits in a queue that flows like a liquid, and who has waited for a minute is
answered with an error. That is exact for means under heavy load, and too kind to the tail under light load.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from .law import (
    ALARM,
    LOW_PERIODS,
    MINUTE,
    Bounds,
    Cooldown,
    Reading,
    TargetTracking,
    decide,
)

STEP_SECONDS = 10
TIMEOUT_SECONDS = 60.0
# The queue's share of the latency below saturation, as a queue with random arrivals and even service has it.
MOST_LOAD = 0.98


@dataclass(frozen=True)
class Service:
    """An instance: at most ``rate`` requests a second, ``seconds`` for one alone, and ``start_seconds`` to start."""

    rate: float
    seconds: float
    start_seconds: float = 240.0
    usd_per_hour: float = 0.0


@dataclass(frozen=True)
class Moment:
    """Ten seconds: when they begin, the offered requests a second, the instances, and what the requests saw.

    ``concurrency`` counts the requests inside each instance, queued ones included; ``lost`` those that timed out.
    """

    at: float
    rate: float
    instances: int
    desired: int
    concurrency: float
    seconds: float
    lost: float
    high: str
    low: str


@dataclass(frozen=True)
class Outcome:
    """A whole simulation."""

    moments: list[Moment]
    usd: float

    @property
    def requests(self) -> float:
        """How many were sent."""
        return sum(moment.rate for moment in self.moments) * STEP_SECONDS

    @property
    def lost(self) -> float:
        """How many timed out."""
        return sum(moment.lost for moment in self.moments)

    @property
    def instance_hours(self) -> float:
        """The hours that are paid for: an instance that is starting is."""
        return sum(max(moment.instances, moment.desired) for moment in self.moments) * STEP_SECONDS / 3600

    def percentile(self, percent: float) -> float:
        """A percentile of the latency in seconds, over all requests."""
        ordered = sorted((moment.seconds, moment.rate) for moment in self.moments)
        wanted, passed = sum(rate for _, rate in ordered) * percent / 100, 0.0
        for seconds, rate in ordered:
            passed += rate
            if passed >= wanted:
                return seconds
        return ordered[-1][0] if ordered else float("nan")


@dataclass
class _Fleet:
    """The model of the instances."""

    service: Service
    instances: int
    backlog: float = 0.0
    lost: float = field(default=0.0, init=False)

    def take(self, rate: float) -> tuple[float, float]:
        """Ten seconds of a rate; returns the requests inside each instance, and the latency in seconds."""
        capacity = self.instances * self.service.rate
        waiting = self.backlog + (rate - capacity) * STEP_SECONDS
        patience = capacity * TIMEOUT_SECONDS
        self.lost = max(0.0, waiting - patience)
        self.backlog = min(max(0.0, waiting), patience)
        load = min(rate / capacity, MOST_LOAD)
        seconds = self.service.seconds + load / (2 * (1 - load)) / self.service.rate + self.backlog / capacity
        served = min(rate, capacity) if not self.backlog else capacity
        return served * seconds / self.instances, seconds


class _Window:
    """The newest values of a metric, a sample each ten seconds, as means over longer periods."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=LOW_PERIODS * MINUTE // STEP_SECONDS)

    def add(self, value: float) -> None:
        """The newest sample."""
        self._samples.append(value)

    def values(self, period: int, periods: int) -> list[float | None]:
        """The newest full periods, oldest first; None before there was anything."""
        each, samples = period // STEP_SECONDS, list(self._samples)
        blocks = [samples[end - each : end] for end in range(len(samples), each - 1, -each)][:periods][::-1]
        means: list[float | None] = [sum(block) / each for block in blocks]
        return [None] * (periods - len(means)) + means


def simulate(
    policy: TargetTracking | None,
    bounds: Bounds,
    service: Service,
    traffic: Callable[[float], float] | Sequence[float],
    seconds: float,
) -> Outcome:
    """Run ``traffic`` (requests a second, by seconds since the start) for ``seconds`` against a scaled variant.

    A policy's target is in requests inside an instance (``period`` 10), or in requests per minute and instance (60).
    Without a policy there are as many instances as the bounds say at least.
    """
    rate_at = traffic if callable(traffic) else _steps(traffic, seconds)
    fleet, window = _Fleet(service, bounds.minimum), _Window()
    desired, ready_at, before, cooldown = bounds.minimum, 0.0, bounds.minimum, Cooldown()
    moments: list[Moment] = []
    for number in range(int(seconds // STEP_SECONDS)):
        now, rate = float(number * STEP_SECONDS), rate_at(float(number * STEP_SECONDS))
        concurrency, latency = fleet.take(rate)
        window.add(concurrency if policy is None or policy.period < MINUTE else rate * MINUTE / fleet.instances)
        states = ("", "") if policy is None else _states(policy, window)
        moments.append(Moment(now, rate, fleet.instances, desired, concurrency, latency, fleet.lost, *states))
        now += STEP_SECONDS
        if policy is None or now < ready_at:
            continue
        if fleet.instances != desired:
            fleet.instances = desired
            cooldown = _cooled(cooldown, policy, now, before, desired)
        opinion = policy.opinion(_reading(policy, window), desired, cooldown.base_at(now, desired))
        decision = decide(now, desired, bounds, [opinion], cooldown)
        if decision.capacity is not None:
            before, desired = desired, decision.capacity
            ready_at = now + (service.start_seconds if desired > before else STEP_SECONDS)
    outcome = Outcome(moments, 0.0)
    return replace(outcome, usd=outcome.instance_hours * service.usd_per_hour)


def _steps(traffic: Sequence[float], seconds: float) -> Callable[[float], float]:
    """Rates that each last an equal part of the time."""
    return lambda at: traffic[min(int(at / seconds * len(traffic)), len(traffic) - 1)]


def _cooled(cooldown: Cooldown, policy: TargetTracking, now: float, before: int, capacity: int) -> Cooldown:
    return cooldown.after(now, before, capacity, policy.out_cooldown if capacity > before else policy.in_cooldown)


def _states(policy: TargetTracking, window: _Window) -> tuple[str, str]:
    high, low = policy.high, policy.low
    return (
        high.state(window.values(high.period, high.periods)),
        low.state(window.values(low.period, low.periods)),
    )


def _reading(policy: TargetTracking, window: _Window) -> Reading:
    highs = window.values(policy.high.period, policy.high.periods)
    lows = window.values(policy.low.period, policy.low.periods)
    high, low = (state == ALARM for state in _states(policy, window))
    known = [value for value in lows if value is not None]
    return Reading(highs[-1] if high else lows[-1], max(known, default=None), high, low)


__all__ = ["Bounds", "Moment", "Outcome", "Service", "TargetTracking", "simulate"]
