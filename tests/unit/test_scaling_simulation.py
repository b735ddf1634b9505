"""What-ifs: a day of traffic under different policies, by the law that scales the embedded AWS's endpoints."""

from __future__ import annotations

import math

import pytest

from helpers import scaling
from helpers.localaws.engines.autoscaling.simulation import Bounds, Service, simulate

SERVICE = {"rate": 20.0, "seconds": 0.2}
HOUR = 3600.0


def day(at: float) -> float:
    """Requests a second: quiet at night, 45 at noon."""
    return 2 + 43 * max(0.0, math.sin(math.pi * (at / HOUR - 6) / 12))


def test_a_day_is_cheaper_scaled_than_at_its_peaks_size_and_as_fast() -> None:
    outcomes = scaling.simulate(
        {"three always": {"minimum": 3, "target": None}, "scaled": {"target": 4}, "one": {"target": None}},
        day,
        usd_per_hour=0.1,
        **SERVICE,
    )
    always, scaled, one = outcomes["three always"], outcomes["scaled"], outcomes["one"]
    assert always.usd == pytest.approx(24 * 3 * 0.1)
    assert one.usd == pytest.approx(24 * 0.1)
    assert one.usd < scaled.usd < 0.8 * always.usd
    assert scaled.lost == always.lost == 0
    assert one.lost > 0.3 * one.requests
    assert scaled.percentile(50) < 1
    assert one.percentile(95) > 30
    capacities = {moment.instances for moment in scaled.moments}
    assert capacities == {1, 2, 3}
    assert all(1 <= moment.desired <= 3 for moment in scaled.moments)


def test_the_original_projects_mistake_pays_three_instances_for_no_load() -> None:
    """A target of 10 for requests *per minute* is one request in six seconds."""
    outcomes = scaling.simulate(
        {"at once": {"target": 10}, "per minute": {"target": 10, "metric": "per-minute"}}, lambda _: 1.0, **SERVICE
    )
    assert outcomes["at once"].instance_hours == pytest.approx(24)
    assert outcomes["per minute"].instance_hours > 71


def test_a_burst_waits_until_instances_have_started() -> None:
    bounds, service = Bounds(1, 3), Service(rate=20, seconds=0.2, start_seconds=240)
    policy = scaling.TargetTracking("p", 4.0, 10)
    traffic = [5.0] * 4 + [50.0] * 4 + [5.0] * 8  # quarters of an hour
    outcome = simulate(policy, bounds, service, traffic, 4 * HOUR)
    burst = [moment for moment in outcome.moments if moment.rate == 50]
    out = next(moment for moment in burst if moment.desired == 3)
    assert out.at - burst[0].at == 30  # the alarm takes three periods of ten seconds
    ready = next(moment for moment in burst if moment.instances == 3)
    assert ready.at - out.at == 240
    assert max(moment.seconds for moment in burst) > 30
    assert burst[-1].seconds < 1
    calm = [moment for moment in outcome.moments if moment.at >= 2 * HOUR]
    back = next(moment for moment in calm if moment.desired < 3)
    assert 14 * 60 <= back.at - calm[0].at <= 15 * 60
    assert calm[-1].instances == 1
    assert (burst[4].high, calm[100].low) == ("ALARM", "ALARM")


def test_policies_are_compared_in_a_table() -> None:
    policies = {"one": {"target": None}, "three": {"minimum": 3, "target": None}}
    one, three = scaling.compare(scaling.simulate(policies, lambda _: 45.0, hours=1, usd_per_hour=0.1, **SERVICE))
    assert (one["policy"], one["instance hours"], one["usd"]) == ("one", 1.0, 0.1)
    assert (three["instance hours"], three["lost"]) == (3.0, "0.0%")
    assert float(one["lost"].rstrip("%")) > 30
    assert one["p95 s"] > three["p95 s"]
