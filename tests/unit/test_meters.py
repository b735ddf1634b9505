"""An endpoint bills for what it is to have, also before that serves."""

from types import SimpleNamespace

import pytest

from helpers import meters, prices


def test_instances_that_are_starting_bill():
    described = {
        "EndpointConfigName": "c",
        "ProductionVariants": [{"VariantName": "v", "CurrentInstanceCount": 0, "DesiredInstanceCount": 2}],
    }
    config = {"ProductionVariants": [{"VariantName": "v", "InstanceType": "ml.c5.xlarge"}]}
    sagemaker = SimpleNamespace(
        exceptions=SimpleNamespace(ClientError=KeyError),
        describe_endpoint=lambda **_: described,
        describe_endpoint_config=lambda **_: config,
    )
    cloud = SimpleNamespace(client=lambda _: sagemaker, prices=prices.snapshot())
    (line,) = meters._endpoint(cloud, "e")
    assert line.usd == pytest.approx(2 * 0.204)
