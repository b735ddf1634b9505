"""The helpers for scaling and load, as a notebook calls them: out under load, and in when it has gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from helpers import charts, load, scaling
from helpers.cloud import Cloud
from helpers.settings import Settings
from tests.endpoints import APP, FILES, Hosting, until

# Each request takes half a second, so that users are inside the endpoint and not on the way, however busy the machine.
SLOW = {
    **FILES,
    "app.py": APP.replace(
        "    what, _, value",
        "    await asyncio.sleep(0.5 * (scope['path'] != '/ping'))\n    what, _, value",
    ),
}
USERS, TARGET = 6, 2


@pytest.fixture
def hosting(fresh_aws: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Hosting:
    """An embedded AWS of one's own, sixty times faster: a quarter of an hour of low load takes 15 s."""
    running = fresh_aws("--time-scale", "60")
    for name in list(os.environ):
        if name.startswith(("AWS_", "SAGEMAKER_")):
            monkeypatch.delenv(name)
    for name, value in running.environment.items():
        if name.startswith(("AWS_", "SAGEMAKER_")):
            monkeypatch.setenv(name, value)
    return Hosting(running)


@pytest.fixture
def cloud(hosting: Hosting) -> Cloud:
    session = boto3.Session(region_name="us-east-1")
    identity = session.client("sts").get_caller_identity()
    return Cloud(Settings.of(project="scaled"), session, identity["Account"], identity["Arn"])


def test_an_endpoint_follows_its_load(hosting: Hosting, cloud: Cloud) -> None:
    name = hosting.in_service(hosting.deploy(SLOW))
    limits: dict[str, Any] = {"target": TARGET, "in_cooldown": 60, "out_cooldown": 60}
    policy = scaling.ensure_autoscaling(cloud, name, **limits)
    assert scaling.ensure_autoscaling(cloud, name, **limits) == policy
    assert ["AlarmHigh" in alarm["AlarmName"] for alarm in policy["Alarms"]] == [True, False]

    running = load.start(load.endpoint(cloud, name, b"photo"), [load.Step(USERS, 30)])
    samples = scaling.observe(
        cloud,
        name,
        until=lambda row: running.done() and row["instances"] == row["desired"] == 1,
        every=0.5,
        at_most=150,
    )
    result = running.result()
    assert result.errors == {}
    assert max(row["instances"] for row in samples) == 3
    assert samples[-1]["instances"] == 1
    assert "ALARM" in {row["high"] for row in samples}
    assert samples[-1]["low"] == "ALARM"
    assert max(row["metric"] or 0 for row in samples) > TARGET
    assert len(charts.scaling(result.windows(1), samples, TARGET).axes) == 4

    done = [row for row in scaling.activities(cloud, name) if row["message"]]
    until(lambda: scaling.activities(cloud, name)[0]["why"], lambda why: why == "AlreadyAtMinCapacity")
    assert done[-1]["what"].startswith("Setting desired instance count to ")
    assert "-AlarmHigh-" in done[-1]["why"]
    assert done[-1]["why"].endswith(f"in state ALARM triggered policy {scaling.POLICY}")
    newest = next(row for row in scaling.activities(cloud, name) if row["what"].startswith("Setting"))
    assert "-AlarmLow-" in newest["why"]

    scaling.remove_autoscaling(cloud, name)
    scaling.remove_autoscaling(cloud, name)
    assert [scaling.set_instances(cloud, name, count) for count in (2, 2, 1)] == [2, 2, 1]
    scaling.ensure_autoscaling(cloud, name)
    # Deleting an endpoint deregisters its variants, as on AWS.
    hosting.delete(name)
    client = hosting.aws.client("application-autoscaling")
    assert client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert client.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    assert hosting.cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-")["MetricAlarms"] == []
