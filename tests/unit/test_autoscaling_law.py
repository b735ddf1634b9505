"""The control law of Application Auto Scaling: what each rule says, one at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.autoscaling.law import (
    ALARM,
    AT_DESIRED,
    AT_MAXIMUM,
    AT_MINIMUM,
    FLAPPING,
    INSUFFICIENT,
    OK,
    Bounds,
    Cooldown,
    Decision,
    Opinion,
    Reading,
    Step,
    StepScaling,
    TargetTracking,
    decide,
)

BOUNDS = Bounds(1, 3)
NONE = Cooldown()
TRACKING = TargetTracking("policy", 10.0)


def high(metric: float) -> Reading:
    return Reading(metric, metric, high=True, low=False)


def low(metric: float, peak: float | None = None) -> Reading:
    return Reading(metric, metric if peak is None else peak, high=False, low=True)


def obey(
    *readings: Reading,
    capacity: int = 1,
    bounds: Bounds = BOUNDS,
    cooldown: Cooldown = NONE,
    now: float = 0.0,
    policy: TargetTracking = TRACKING,
    **suspended: bool,
) -> Decision:
    base = cooldown.base_at(now, capacity)
    opinions = [policy.opinion(reading, capacity, base) for reading in readings]
    return decide(now, capacity, bounds, opinions, cooldown, **suspended)


# ---- alarms ----


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([11, 11, 11], ALARM),
        ([10, 11, 11], OK),  # at the target is not above it
        ([11, 11], OK),
        ([11, None, 11], OK),
        ([None, None, None], INSUFFICIENT),
        ([5, 11, 11, 11], ALARM),
        ([11, 11, 11, None], OK),
    ],
)
def test_the_high_alarm_needs_three_periods_above_the_target(values: list[float | None], state: str) -> None:
    assert TRACKING.high.state(values) == state


def test_the_low_alarm_needs_a_quarter_of_an_hour_below_nine_tenths() -> None:
    assert TRACKING.low.state([8.9] * 15) == ALARM
    assert TRACKING.low.state([8.9] * 14) == OK
    assert TRACKING.low.state([8.9] * 14 + [9.0]) == OK
    assert TRACKING.low.state([8.9] * 14 + [None]) == OK
    assert (TRACKING.low.period, TargetTracking("p", 10.0, period=10).low.period) == (60, 60)
    assert TargetTracking("p", 10.0, period=10).high.period == 10


# ---- target tracking ----


@pytest.mark.parametrize(
    ("capacity", "metric", "wanted"), [(1, 10.1, 2), (1, 20, 2), (1, 21, 3), (2, 14, 3), (1, 500, 3), (2, 10.01, 3)]
)
def test_scaling_out_takes_what_brings_the_metric_to_the_target(capacity: int, metric: float, wanted: int) -> None:
    assert obey(high(metric), capacity=capacity).capacity == wanted


@pytest.mark.parametrize(("capacity", "metric", "wanted"), [(3, 0, 1), (3, 3.3, 1), (3, 3.4, 2), (2, 5, 1)])
def test_scaling_in_takes_what_still_carries_the_load(capacity: int, metric: float, wanted: int) -> None:
    assert obey(low(metric), capacity=capacity).capacity == wanted


@pytest.mark.parametrize(
    ("reading", "capacity", "reason"),
    [
        (high(50), 3, AT_MAXIMUM),
        (low(0), 1, AT_MINIMUM),
        (low(8), 2, AT_DESIRED),
        (low(1, peak=8.5), 2, FLAPPING),
    ],
)
def test_what_is_not_scaled_has_its_reason(reading: Reading, capacity: int, reason: str) -> None:
    decision = obey(reading, capacity=capacity)
    assert (decision.capacity, decision.reason) == (None, reason)


def test_missing_data_changes_nothing() -> None:
    assert obey(Reading(None, None, high=False, low=False), capacity=3) == Decision()
    assert obey(Reading(None, None, high=False, low=True), capacity=3) == Decision()


def test_scale_in_can_be_disabled() -> None:
    policy = replace(TRACKING, disable_scale_in=True)
    assert obey(low(0), capacity=3, policy=policy).capacity is None
    assert obey(high(20), policy=policy).capacity == 2


def test_what_is_suspended_is_not_done() -> None:
    assert obey(high(20), out_suspended=True) == Decision()
    assert obey(low(0), capacity=3, in_suspended=True) == Decision()
    assert obey(low(0), capacity=3, out_suspended=True).capacity == 1


# ---- several policies ----


def test_the_largest_wins_and_scaling_in_takes_all() -> None:
    assert obey(high(11), high(25)).capacity == 3
    assert obey(high(11), low(0), capacity=2).capacity == 3
    assert obey(low(0), low(4), capacity=3).capacity == 2
    quiet = Reading(9.5, 9.5, high=False, low=False)
    assert obey(low(0), quiet, capacity=3).capacity is None
    no_data = Reading(None, None, high=False, low=False)
    assert obey(low(0), no_data, capacity=3).capacity is None


def test_a_policy_that_may_not_scale_in_is_not_asked_about_it() -> None:
    opinions = [
        TRACKING.opinion(low(0), 3, 3),
        replace(TRACKING, disable_scale_in=True).opinion(Reading(9.5, 9.5, high=False, low=False), 3, 3),
    ]
    assert decide(0, 3, BOUNDS, opinions, Cooldown()).capacity == 1


# ---- cooldowns ----


def test_during_a_scale_out_cooldown_only_a_larger_scale_out_goes_through() -> None:
    cooldown = Cooldown().after(0, 1, 2, 300)
    assert obey(high(20), capacity=2, cooldown=cooldown, now=299) == Decision(
        None, TRACKING.opinion(high(20), 2, 1), cooling=True
    )
    assert obey(high(21), capacity=2, cooldown=cooldown, now=299).capacity == 3
    assert obey(high(20), capacity=2, cooldown=cooldown, now=300).capacity == 3
    assert obey(low(0), capacity=2, cooldown=cooldown, now=299).capacity is None
    assert obey(low(0), capacity=2, cooldown=cooldown, now=300).capacity == 1


def test_a_scale_in_cooldown_holds_back_scaling_in_and_ends_with_a_scale_out() -> None:
    cooldown = Cooldown().after(0, 3, 2, 300)
    assert obey(low(0), capacity=2, cooldown=cooldown, now=299).capacity is None
    out = obey(high(15), capacity=2, cooldown=cooldown, now=10)
    assert out.capacity == 3
    after = cooldown.after(10, 2, 3, 60)
    assert after.in_until == -math.inf
    assert obey(low(0), capacity=3, cooldown=after, now=71).capacity == 1


# ---- steps ----

STEPS = (Step(None, -10, -2), Step(-10, 0, -1), Step(0, 10, 1), Step(10, None, 2))


@pytest.mark.parametrize(("distance", "wanted"), [(-10, 2), (-9, 3), (0, 5), (9.9, 5), (10, 6), (500, 6), (-500, 2)])
def test_steps_cover_every_distance_once(distance: float, wanted: int) -> None:
    policy = StepScaling("steps", "ChangeInCapacity", STEPS)
    assert policy.opinion("mine", distance, 4, 4).desired == wanted
    assert sum(step.covers(distance) for step in STEPS) == 1


@pytest.mark.parametrize(
    ("kind", "adjustment", "minimum", "capacity", "wanted"),
    [
        ("ExactCapacity", 7, 0, 4, 7),
        ("PercentChangeInCapacity", 200, 0, 10, 30),
        ("PercentChangeInCapacity", 25, 2, 4, 6),
        ("PercentChangeInCapacity", 1, 0, 4, 5),  # a change is at least one
        ("PercentChangeInCapacity", -1, 0, 4, 3),
        ("PercentChangeInCapacity", -67, 0, 10, 4),  # 6.7 is rounded towards zero
        ("PercentChangeInCapacity", 127, 0, 10, 22),
    ],
)
def test_adjustments(kind: str, adjustment: int, minimum: int, capacity: int, wanted: int) -> None:
    assert StepScaling("s", kind, (), minimum).adjusted(adjustment, capacity) == wanted


def test_a_larger_step_during_a_cooldown_counts_what_was_added() -> None:
    policy = StepScaling("steps", "ChangeInCapacity", STEPS, cooldown=300)
    cooldown = Cooldown().after(0, 4, 5, 300)
    bounds = Bounds(1, 20)

    def wanted(distance: float, now: float) -> int | None:
        opinion = policy.opinion("mine", distance, 5, cooldown.base_at(now, 5))
        return decide(now, 5, bounds, [opinion], cooldown).capacity

    assert wanted(5, 10) is None
    assert wanted(15, 10) == 6
    assert wanted(5, 300) == 6


# ---- properties ----

readings = st.builds(
    Reading,
    st.none() | st.floats(0, 1e4),
    st.none() | st.floats(0, 1e4),
    high=st.booleans(),
    low=st.booleans(),
)


@given(
    st.lists(readings, min_size=1, max_size=3),
    st.integers(1, 50),
    st.tuples(st.integers(1, 20), st.integers(0, 20)),
    st.floats(0, 1000),
    st.floats(0, 1000),
    st.integers(1, 50),
)
def test_no_decision_leaves_the_bounds_or_scales_in_during_a_cooldown(
    every: list[Reading], capacity: int, span: tuple[int, int], out_until: float, in_until: float, base: int
) -> None:
    bounds = Bounds(span[0], span[0] + span[1])
    capacity = bounds.clamp(capacity)
    cooldown = Cooldown(out_until, in_until, base)
    decision = obey(*every, capacity=capacity, bounds=bounds, cooldown=cooldown, now=500.0)
    if decision.capacity is not None:
        assert bounds.minimum <= decision.capacity <= bounds.maximum
        assert decision.capacity != capacity
        if decision.capacity < capacity:
            assert max(out_until, in_until) <= 500
            assert all(reading.low for reading in every)


@given(st.integers(1, 20), st.floats(0.01, 1e5), st.floats(0.01, 1e3))
def test_what_is_needed_carries_the_load_and_one_less_does_not(capacity: int, metric: float, target: float) -> None:
    needed = replace(TRACKING, target=target).needed(capacity, metric)
    assert capacity * metric <= needed * target * (1 + 1e-6)
    assert capacity * metric > (needed - 1) * target * (1 - 1e-6)


def test_an_opinion_of_nothing_decides_nothing() -> None:
    nothing: Any = Opinion("p", None)
    assert decide(0, 2, BOUNDS, [nothing], Cooldown()) == Decision()
