"""Ten thousand requests through scaling out, an update and scaling in, again and again: none may be lost."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from helpers import load
from helpers.cloud import Cloud
from helpers.settings import Settings
from tests.endpoints import FILES, Hosting, variant

REQUESTS, USERS = 10_000, 16


@pytest.fixture
def cloud(user: Any) -> Cloud:
    session = boto3.Session(region_name="us-east-1")
    identity = session.client("sts").get_caller_identity()
    return Cloud(Settings.of(project="lossless"), session, identity["Account"], identity["Arn"])


def test_no_request_is_lost(aws: Any, cloud: Cloud) -> None:
    hosting = Hosting(aws)
    name = hosting.in_service(hosting.deploy(FILES))
    hosting.model("lossless-changes")
    for one in ("blue", "green"):
        production = [variant("lossless-changes")]
        hosting.sagemaker.create_endpoint_config(EndpointConfigName=f"lossless-{one}", ProductionVariants=production)
    running = load.start(load.endpoint(cloud, name, b"photo"), [load.Step(USERS, 300)], count=REQUESTS)
    changes = 0
    while not running.done():
        resize(hosting, name, 3)
        hosting.in_service(name)
        hosting.sagemaker.update_endpoint(
            EndpointName=name,
            EndpointConfigName=f"lossless-{('blue', 'green')[changes % 2]}",
            RetainAllVariantProperties=True,
        )
        hosting.in_service(name)
        resize(hosting, name, 1)
        hosting.in_service(name)
        changes += 1
    result = running.result()
    (row,) = result.summary()
    print(
        f"\n{len(result.seconds):,} requests of {USERS} users through {changes} times out, update and in: "
        f"{result.lasted:.0f} s, {len(result.seconds) / result.lasted:.0f} a second, p50 {row['p50']:.0f} ms, "
        f"p99 {row['p99']:.0f} ms, errors {result.errors}. {result.warning}"
    )
    assert len(result.seconds) == REQUESTS
    assert result.errors == {}
    assert changes > 0
    hosting.delete(name)


def resize(hosting: Hosting, name: str, count: int) -> None:
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": count}
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=[change])
