"""The engine of Application Auto Scaling under a simulated clock: hours of traffic in moments, and nothing sleeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.localaws.engines.autoscaling.engine import ACTIONS, POLICIES, TARGETS, AutoScaling, key_of, next_due
from helpers.localaws.engines.autoscaling.law import Rule
from helpers.localaws.engines.autoscaling.measures import Measure, measure_of
from helpers.localaws.engines.autoscaling.policies import Policies, tracking_of
from helpers.localaws.engines.autoscaling.resources import VARIANT, Standing
from helpers.localaws.errors import AwsError
from helpers.localaws.store import Store

REGION, RESOURCE = "us-east-1", "endpoint/dogs/variant/AllTraffic"
START = datetime(2026, 11, 2, 8, tzinfo=UTC)
TICK, MINUTE, HOUR = 10, 60, 3600
ANY = Measure("", "", (), "", TICK)


class Clock:
    """Time that passes when it is told to."""

    scale = 1.0

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def period(self, seconds: float) -> float:
        return seconds


class Variant:
    """An endpoint variant whose load is divided among its instances; a new one takes a while to start."""

    namespace, capacity_name = "sagemaker", "instance count"

    def __init__(self, clock: Clock, starts_in: int = 120) -> None:
        self.clock, self.starts_in = clock, starts_in
        self.desired = self.in_service = 1
        self.ready_at, self.there, self.refusal, self.failure = 0, True, "", ""
        self.history: list[tuple[int, int]] = []

    def standing(self, *_: str) -> Standing | None:
        busy = self.clock.seconds < self.ready_at
        return Standing(self.desired, busy, self.failure) if self.there else None

    def set(self, _: str, __: str, capacity: int) -> None:
        if self.refusal:
            raise AwsError("ValidationException", self.refusal)
        self.history.append((self.clock.seconds, capacity))
        self.ready_at = self.clock.seconds + (self.starts_in if capacity > self.desired else TICK)
        self.desired = capacity

    def dimensions(self, _: str) -> dict[str, str]:
        return {"EndpointName": "dogs", "VariantName": "AllTraffic"}

    def settle(self) -> None:
        if self.clock.seconds >= self.ready_at:
            self.in_service = self.desired


def _no_samples() -> list[float | None]:
    return []


class World:
    """A scaled variant, its load as a function of the seconds, and everything that happens to it."""

    def __init__(self, load: Callable[[int], float | None], **options: Any) -> None:
        self.clock = Clock()
        self.variant = Variant(self.clock, options.get("starts_in", 120))
        self.load, self.samples = load, _no_samples()
        self.rules: dict[str, Rule] = {}
        self.stepping: tuple[dict[str, Any], ...] = ()
        self.store = Store(Path(":memory:"))
        self.engine = AutoScaling(self.store, self.clock, Policies(self, self), {VARIANT: self.variant})  # type: ignore[arg-type]
        self.target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": RESOURCE,
            "ScalableDimension": VARIANT,
            "MinCapacity": options.get("minimum", 1),
            "MaxCapacity": options.get("maximum", 3),
        }
        self.key = key_of(self.target)
        self.put(TARGETS, self.key, self.target)

    def put(self, table: str, name: str, document: dict[str, Any]) -> None:
        self.store.table(table).put(REGION, name, document)

    def track(self, target: float = 10.0, name: str = "policy", metric: str = "", **more: Any) -> None:
        predefined = metric or "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        configuration = {
            "TargetValue": target,
            "PredefinedMetricSpecification": {"PredefinedMetricType": predefined},
            **more,
        }
        alarms = [{"AlarmName": f"TargetTracking-{RESOURCE}-Alarm{which}-{name}"} for which in ("High", "Low")]
        policy = {
            **self.target,
            "PolicyName": name,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": configuration,
            "Alarms": alarms,
        }
        law = tracking_of(policy, measure_of(configuration, {}))
        self.rules |= {alarms[0]["AlarmName"]: law.high, alarms[1]["AlarmName"]: law.low}
        self.put(POLICIES, f"{self.key}|{name}", policy)

    def values(self, _: str, __: Measure, period: int, periods: int) -> list[float | None]:
        """What a meter reads: means over periods of the load per instance, sampled every ten seconds."""
        each = period // TICK
        newest = self.samples[len(self.samples) % each * -1 - periods * each :] if self.samples else []
        blocks = [newest[start : start + each] for start in range(0, len(newest) - each + 1, each)][-periods:]
        means = [None if None in block else sum(block) / each for block in blocks]  # type: ignore[arg-type]
        return [None] * (periods - len(means)) + means

    def find(self, _: str, name: str) -> dict[str, Any]:
        """An alarm, evaluated when it is asked for."""
        rule = self.rules[name]
        return {"StateValue": rule.state(self.values("", ANY, rule.period, rule.periods))}

    def of(self, _: str) -> list[dict[str, Any]]:
        return list(self.stepping)

    def delete(self, _: str, names: list[str]) -> None:
        self.rules = {name: rule for name, rule in self.rules.items() if name not in names}

    def run(self, seconds: int) -> None:
        for _ in range(seconds // TICK):
            self.clock.seconds += TICK
            self.variant.settle()
            load = self.load(self.clock.seconds)
            self.samples.append(None if load is None else load / self.variant.in_service)
            self.engine.tick()

    def activities(self, not_scaled: bool = False) -> list[dict[str, Any]]:
        """Oldest first."""
        every = self.engine.activities.list(REGION)[::-1]
        return [one for one in every if ("NotScaledReasons" in one) == not_scaled]

    @property
    def capacities(self) -> list[int]:
        return [capacity for _, capacity in self.variant.history]


@pytest.fixture
def worlds() -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(load: Callable[[int], float | None] = lambda _: 5.0, **options: Any) -> World:
        made.append(World(load, **options))
        return made[-1]

    yield make
    for world in made:
        world.store.close()


def test_out_to_three_and_in_to_one(worlds: Callable[..., World]) -> None:
    world = worlds(lambda second: 28.0 if second <= HOUR else 2.0)
    world.track()
    world.run(HOUR)
    assert world.capacities == [3]
    assert world.variant.history[0][0] == 30  # three periods of ten seconds
    world.run(HOUR)
    assert world.capacities == [3, 1]
    assert world.variant.history[1][0] == HOUR + 15 * MINUTE
    first, second = world.activities()
    assert first["Description"] == "Setting desired instance count to 3."
    assert (
        first["Cause"]
        == f"monitor alarm TargetTracking-{RESOURCE}-AlarmHigh-policy in state ALARM triggered policy policy"
    )
    assert (first["StatusCode"], first["EndTime"] - first["StartTime"]) == ("Successful", timedelta(seconds=120))
    assert first["StatusMessage"] == (
        "Successfully set desired instance count to 3. Change successfully fulfilled by sagemaker."
    )
    assert "AlarmLow" in second["Cause"]


def test_a_per_minute_metric_takes_three_minutes(worlds: Callable[..., World]) -> None:
    world = worlds(lambda _: 28.0)
    world.track(metric="SageMakerVariantInvocationsPerInstance")
    world.run(HOUR)
    assert world.variant.history[0] == (180, 3)


def test_what_is_not_scaled_is_said_once_for_as_long_as_it_lasts(worlds: Callable[..., World]) -> None:
    world = worlds(lambda _: 100.0)
    world.track()
    world.run(2 * HOUR)
    assert world.capacities == [3]
    (said,) = world.activities(not_scaled=True)
    assert said["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "CurrentCapacity": 3, "MaxCapacity": 3}]
    idle = worlds(lambda _: 1.0)
    idle.track()
    idle.run(2 * HOUR)
    (said,) = idle.activities(not_scaled=True)
    assert said["NotScaledReasons"] == [{"Code": "AlreadyAtMinCapacity", "CurrentCapacity": 1, "MinCapacity": 1}]


def test_missing_data_never_scales_in(worlds: Callable[..., World]) -> None:
    world = worlds(lambda second: 28.0 if second <= HOUR else None)
    world.track()
    world.run(2 * HOUR)
    assert world.capacities == [3]


def test_scaling_waits_while_the_endpoint_is_updated(worlds: Callable[..., World]) -> None:
    world = worlds(lambda _: 28.0)
    world.track()
    world.variant.refusal = 'Cannot update in-progress endpoint "arn".'
    world.run(200)
    failed = world.activities()
    assert [one["StatusCode"] for one in failed] == ["Failed"] * 3  # at 30, 90 and 150 seconds
    assert failed[0]["StatusMessage"] == (
        'Failed to set desired instance count to 3. Reason: Cannot update in-progress endpoint "arn".'
    )
    world.variant.refusal = ""
    world.run(HOUR)
    assert world.capacities == [3]


def test_an_instance_that_does_not_start_fails_the_activity(worlds: Callable[..., World]) -> None:
    world = worlds(lambda _: 28.0)
    world.track()
    world.run(40)
    world.variant.desired, world.variant.failure = 1, "did not pass the ping health check"  # rolled back
    world.run(120)
    failed = world.activities()[0]
    assert failed["StatusMessage"].endswith("Reason: did not pass the ping health check")
    world.variant.failure = ""
    world.run(HOUR)
    assert world.variant.in_service == 3  # it was tried again


def test_an_endpoint_that_is_deleted_is_left_alone(worlds: Callable[..., World]) -> None:
    world = worlds(lambda _: 28.0)
    world.track()
    world.run(40)
    world.variant.there = False
    world.run(HOUR)
    world.engine.forget(REGION, world.key)
    assert world.capacities == [3]
    assert [one["StatusMessage"].rpartition("Reason: ")[2] for one in world.activities()] == [
        "The scalable target was deregistered."
    ]
    assert world.store.table(POLICIES).list(REGION) == []


def test_bounds_are_kept_without_any_policy(worlds: Callable[..., World]) -> None:
    world = worlds(minimum=2)
    world.run(HOUR)
    assert world.capacities == [2]
    assert world.activities()[0]["Cause"] == "minimum capacity was set to 2"
    world.put(TARGETS, world.key, {**world.target, "MinCapacity": 1, "MaxCapacity": 1})
    world.run(HOUR)
    assert world.capacities == [2, 1]
    assert world.activities()[1]["Cause"] == "maximum capacity was set to 1"


def test_scheduled_actions_move_the_bounds(worlds: Callable[..., World]) -> None:
    world = worlds()

    def schedule(name: str, when: str, lowest: int, **more: Any) -> None:
        action = {
            **world.target,
            "ScheduledActionName": name,
            "Schedule": when,
            "CreationTime": world.clock.now(),
            "ScalableTargetAction": {"MinCapacity": lowest, "MaxCapacity": 3},
            **more,
        }
        action["Due"] = next_due(action, world.clock)  # type: ignore[arg-type]
        world.put(ACTIONS, f"{world.key}|{name}", action)

    schedule("morning", "cron(0 9 ? * MON-FRI *)", 3)
    schedule("noon", "at(2026-11-02T12:00:00)", 2)
    world.run(3 * HOUR)
    assert world.variant.history == [(HOUR, 3)]
    assert [one["Schedule"] for one in world.store.table(ACTIONS).list(REGION)] == [
        "cron(0 9 ? * MON-FRI *)",
        "at(2026-11-02T12:00:00)",
    ]
    world.run(2 * HOUR)
    assert [one["ScheduledActionName"] for one in world.store.table(ACTIONS).list(REGION)] == ["morning"]
    target = world.store.table(TARGETS).get(REGION, world.key)
    assert target["MinCapacity"] == 2


def test_steps_are_taken_while_an_alarm_of_the_users_lasts(worlds: Callable[..., World]) -> None:
    world = worlds(lambda second: 25.0 if second <= HOUR else 4.0, maximum=4)
    steps = [
        {"MetricIntervalUpperBound": 0, "ScalingAdjustment": -1},
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 2},
    ]
    policy = {
        **world.target,
        "PolicyName": "steps",
        "PolicyType": "StepScaling",
        "PolicyARN": "arn:steps",
        "StepScalingPolicyConfiguration": {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps},
        "Alarms": [],
    }
    world.put(POLICIES, f"{world.key}|steps", policy)
    alarm = {"Namespace": "n", "MetricName": "m", "Statistic": "Average", "Period": 60, "Threshold": 10.0}
    alarm |= {"AlarmName": "mine", "AlarmActions": ["arn:steps"], "StateValue": "OK"}
    world.stepping = ({**alarm, "StateValue": "ALARM"},)
    world.run(MINUTE)
    assert world.capacities == [3]  # 25 is 15 above the threshold
    world.stepping = ({**alarm, "StateValue": "OK"},)
    world.run(HOUR)
    assert world.capacities == [3]
    world.stepping = ({**alarm, "StateValue": "ALARM"},)
    world.run(20 * MINUTE)
    assert world.capacities == [3, 2, 1]  # five minutes apart
    assert world.activities()[-1]["Cause"] == "monitor alarm mine in state ALARM triggered policy steps"


def test_the_next_server_goes_on_where_this_one_stopped(worlds: Callable[..., World]) -> None:
    world = worlds(lambda _: 14.0)
    world.track()
    world.run(60)
    assert world.capacities == [2]
    world.engine = AutoScaling(world.store, world.clock, Policies(world, world), {VARIANT: world.variant})  # type: ignore[arg-type]
    world.run(HOUR)
    assert [one["StatusCode"] for one in world.activities()] == ["Successful"]
    assert world.store.table(TARGETS).get(REGION, world.key)["Cooldown"]["base"] == 1


# ---- properties ----

LOADS = st.lists(st.tuples(st.integers(1, 12), st.floats(0, 80)), min_size=1, max_size=6)


def test_what_had_begun_when_the_server_was_killed_is_followed_up(worlds: Callable[..., World]) -> None:
    world = worlds(lambda _: 28.0)
    world.track()
    scale = world.variant.set

    class Killed(BaseException):
        pass

    def be_killed(*_: Any) -> None:
        raise Killed

    world.variant.set = be_killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        world.run(HOUR)
    world.variant.set = scale  # type: ignore[method-assign]
    world.run(HOUR)
    assert [one["StatusCode"] for one in world.activities()] == ["Failed", "Successful"]
    assert world.capacities == [3]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOADS, st.integers(1, 3), st.integers(0, 5), st.sampled_from([0, 60, 300]))
def test_any_traffic_keeps_the_bounds_and_the_cooldowns(
    worlds: Callable[..., World], steps: list[tuple[int, float]], minimum: int, room: int, cooldown: int
) -> None:
    plan = [load for length, load in steps for _ in range(length * 5 * MINUTE // TICK)]
    world = worlds(lambda second: plan[second // TICK - 1], minimum=minimum, maximum=minimum + room)
    world.variant.desired = world.variant.in_service = minimum
    world.track(ScaleInCooldown=cooldown)
    world.run(len(plan) * TICK)
    before, ended_out, ended_in = minimum, -math.inf, -math.inf
    for second, capacity in world.variant.history:
        assert minimum <= capacity <= minimum + room
        if capacity > before:
            ended_out, ended_in = second + 120, -math.inf
        else:
            assert second >= max(ended_out + 300, ended_in + cooldown)
            ended_in = second + TICK
        before = capacity


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 60), st.integers(1, 5))
def test_a_constant_load_ends_at_what_it_needs_and_stays_there(
    worlds: Callable[..., World], load: float, begin: int
) -> None:
    world = worlds(lambda _: load, maximum=5)
    world.variant.desired = world.variant.in_service = begin
    world.track()
    world.run(2 * HOUR)
    settled = world.variant.desired
    # Between nine tenths of the target and the target, nothing calls for a change.
    assert settled in {min(5, max(1, math.ceil(load / 10))), min(5, max(1, math.ceil(load / 9)))}
    world.run(HOUR)
    assert world.variant.desired == settled
    directions = [after > before for before, after in zip([begin, *world.capacities], world.capacities, strict=False)]
    assert directions in ([], [True] * len(directions), [False] * len(directions))
