"""Application Auto Scaling for an endpoint's variant: have it, watch it, and ask what another policy would do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from .cloud import Cloud
from .hosting import VARIANT, describe, once_settled
from .interrupts import interruptible
from .localaws.engines.autoscaling.simulation import Bounds, Outcome, Service, TargetTracking
from .localaws.engines.autoscaling.simulation import simulate as run_simulation
from .progress import note

NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
# "At most 10 requests at once" is the first. The second counts requests *per minute*: a target of 10 there is one
# request every six seconds.
METRICS = {
    "concurrent": "SageMakerVariantConcurrentRequestsPerModelHighResolution",
    "per-minute": "SageMakerVariantInvocationsPerInstance",
}
MEASURED = {
    METRICS["concurrent"]: ("ConcurrentRequestsPerModel", "Average", 10),
    METRICS["per-minute"]: ("InvocationsPerInstance", "Sum", 60),
}
POLICY = "target-tracking"
SETTLING = {"Delay": 1, "MaxAttempts": 1800}  # seconds


def ensure_autoscaling(
    cloud: Cloud,
    endpoint: str,
    variant: str = VARIANT,
    *,
    minimum: int = 1,
    maximum: int = 3,
    target: float = 10,
    metric: str = "concurrent",
    in_cooldown: int = 300,
    out_cooldown: int = 300,
) -> dict[str, Any]:
    """Keep a variant's ``metric`` per instance at ``target``; returns the policy's description, with its alarms.

    ``metric`` is ``"concurrent"`` (requests at once) or ``"per-minute"``; cooldowns are in seconds. Twice is no error;
    other values replace those before.
    """
    client, where = cloud.client("application-autoscaling"), _where(endpoint, variant)
    client.register_scalable_target(**where, MinCapacity=minimum, MaxCapacity=maximum)
    client.put_scaling_policy(
        **where,
        PolicyName=POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(target),
            "PredefinedMetricSpecification": {"PredefinedMetricType": METRICS[metric]},
            "ScaleInCooldown": in_cooldown,
            "ScaleOutCooldown": out_cooldown,
        },
    )
    policy = _policy(cloud, endpoint, variant)
    assert policy is not None
    return policy


def remove_autoscaling(cloud: Cloud, endpoint: str, variant: str = VARIANT) -> None:
    """Leave the variant with the instances that it has; policy and alarms go. What is gone already is no error."""
    client = cloud.client("application-autoscaling")
    try:
        client.deregister_scalable_target(**_where(endpoint, variant))
    except client.exceptions.ObjectNotFoundException:
        return


def set_instances(cloud: Cloud, endpoint: str, count: int, variant: str = VARIANT) -> int:
    """Have so many instances now, by hand, and wait for them; returns how many there are.

    A policy that is in force goes on deciding afterwards.
    """
    sagemaker = cloud.client("sagemaker")
    settle = partial(sagemaker.get_waiter("endpoint_in_service").wait, EndpointName=endpoint, WaiterConfig=SETTLING)
    change = {"VariantName": variant, "DesiredInstanceCount": count}
    settle()
    if _instances(cloud, endpoint, variant) != count:
        update = sagemaker.update_endpoint_weights_and_capacities
        once_settled(cloud, endpoint, partial(update, EndpointName=endpoint, DesiredWeightsAndCapacities=[change]))
        settle()
    return _instances(cloud, endpoint, variant)


def activities(cloud: Cloud, endpoint: str, variant: str = VARIANT) -> list[dict[str, Any]]:
    """What was scaled, and what was not and why: a row each, newest first."""
    pages = cloud.client("application-autoscaling").get_paginator("describe_scaling_activities")
    found = pages.paginate(**_where(endpoint, variant), IncludeNotScaledActivities=True)
    return [_activity_row(one) for page in found for one in page["ScalingActivities"]]


def observe(
    cloud: Cloud,
    endpoint: str,
    variant: str = VARIANT,
    *,
    until: Callable[[dict[str, Any]], bool],
    at_most: float = 1800,
    every: float = 2,
) -> list[dict[str, Any]]:
    """Look again and again, say what changes, and return a row for each look.

    A row has ``at`` (Unix seconds), ``instances``, ``desired``, ``metric`` (None without data), and the states of the
    alarms ``high`` and ``low``. Ends when ``until(row)`` is true, or after ``at_most`` seconds.
    """
    with interruptible(lambda: "The endpoint goes on scaling, unobserved; a load in the background ends by itself."):
        return _observed(cloud, endpoint, variant, until, at_most, every)


def _observed(
    cloud: Cloud, endpoint: str, variant: str, until: Callable[[dict[str, Any]], bool], at_most: float, every: float
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    policy, started, said = _policy(cloud, endpoint, variant), time.time(), ""
    while not rows or not (until(rows[-1]) or time.time() - started > at_most):
        if rows:
            time.sleep(every)
        rows.append(_look(cloud, endpoint, variant, policy))
        told = "{instances} of {desired} instances, high alarm {high}, low alarm {low}".format(**rows[-1])
        if told != said:
            note(f"{rows[-1]['at'] - started:6.0f} s  {told}")
            said = told
    return rows


def simulate(
    policies: Mapping[str, Mapping[str, Any]],
    traffic: Callable[[float], float] | Sequence[float],
    *,
    hours: float = 24,
    rate: float,
    seconds: float,
    start_seconds: float = 240,
    usd_per_hour: float = 0.0,
) -> dict[str, Outcome]:
    """What a day of ``traffic`` (requests a second) would be under each policy, by the embedded AWS's own scaling law.

    Policies are named keywords of :func:`ensure_autoscaling`; ``{"minimum": 3, "target": None}`` is a fixed fleet. An
    instance answers at most ``rate`` requests a second, one alone in ``seconds``, and takes ``start_seconds`` to start.
    """
    service = Service(rate, seconds, start_seconds, usd_per_hour)
    return {name: _simulated(policy, service, traffic, 3600 * hours) for name, policy in policies.items()}


def _simulated(
    given: Mapping[str, Any], service: Service, traffic: Callable[[float], float] | Sequence[float], seconds: float
) -> Outcome:
    bounds = Bounds(given.get("minimum", 1), given.get("maximum", max(3, given.get("minimum", 1))))
    target = given.get("target", 10)
    period = MEASURED[METRICS[given.get("metric", "concurrent")]][2]
    cooldowns = given.get("out_cooldown", 300), given.get("in_cooldown", 300)
    policy = None if target is None else TargetTracking(POLICY, float(target), period, *cooldowns)
    return run_simulation(policy, bounds, service, traffic, seconds)


def compare(outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """A row for each simulated policy: instance hours, USD, the latency of 95 per cent in seconds, what was lost."""
    return [
        {
            "policy": name,
            "instance hours": round(outcome.instance_hours, 1),
            "usd": round(outcome.usd, 2),
            "p95 s": round(outcome.percentile(95), 2),
            "lost": f"{outcome.lost / max(outcome.requests, 1):.1%}",
        }
        for name, outcome in outcomes.items()
    ]


# ---- looking ----


def _where(endpoint: str, variant: str) -> dict[str, str]:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": DIMENSION,
    }


def _policy(cloud: Cloud, endpoint: str, variant: str) -> dict[str, Any] | None:
    answer = cloud.client("application-autoscaling").describe_scaling_policies(
        **_where(endpoint, variant), PolicyNames=[POLICY]
    )
    return next(iter(answer["ScalingPolicies"]), None)


def _look(cloud: Cloud, endpoint: str, variant: str, policy: dict[str, Any] | None) -> dict[str, Any]:
    described = describe(cloud, endpoint) or {}
    shown: dict[str, Any] = next(
        (one for one in described.get("ProductionVariants", []) if one["VariantName"] == variant), {}
    )
    return {
        "at": time.time(),
        "instances": shown.get("CurrentInstanceCount", 0),
        "desired": shown.get("DesiredInstanceCount", 0),
        "metric": _metric(cloud, endpoint, variant, policy),
        **_alarm_states(cloud, policy),
    }


def _instances(cloud: Cloud, endpoint: str, variant: str) -> int:
    described = (describe(cloud, endpoint) or {}).get("ProductionVariants", [])
    return next((int(one["CurrentInstanceCount"]) for one in described if one["VariantName"] == variant), 0)


def _alarm_states(cloud: Cloud, policy: dict[str, Any] | None) -> dict[str, str]:
    names = [alarm["AlarmName"] for alarm in (policy or {}).get("Alarms", [])]
    found = cloud.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"] if names else []
    states = {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}

    def state(which: str) -> str:
        return next((states[name] for name in states if f"-Alarm{which}-" in name), "")

    return {"high": state("High"), "low": state("Low")}


def _metric(cloud: Cloud, endpoint: str, variant: str, policy: dict[str, Any] | None) -> float | None:
    if policy is None:
        return None
    given = policy["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]
    name, statistic, period = MEASURED[given["PredefinedMetricType"]]
    now = datetime.now(UTC)
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    points = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=name,
        Dimensions=dimensions,
        StartTime=now - timedelta(seconds=3 * period),
        EndTime=now,
        Period=period,
        Statistics=[statistic],
    )["Datapoints"]
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    return None if newest is None else float(newest[statistic])


def _activity_row(activity: dict[str, Any]) -> dict[str, Any]:
    ended = activity.get("EndTime")
    reasons = ", ".join(reason["Code"] for reason in activity.get("NotScaledReasons", []))
    return {
        "when": activity["StartTime"],
        "what": activity["Description"],
        "status": activity["StatusCode"],
        "seconds": (ended - activity["StartTime"]).total_seconds() if ended else None,
        "why": reasons or activity["Cause"],
        "message": activity.get("StatusMessage", ""),
    }
