from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from helpers import prices, usage


def unreachable(region):
    def client(_):
        raise EndpointConnectionError(endpoint_url="https://api.pricing.us-east-1.amazonaws.com")

    return SimpleNamespace(region=region, client=client)


def product(usage_type, usd, **more):
    dimension = {"unit": "Hrs", "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": usd}}
    further = {**dimension, "beginRange": "100", "pricePerUnit": {"USD": "0.0001"}}
    return {
        "product": {"attributes": {"usagetype": usage_type, "vCpu": "8", "memory": "16 GiB"}},
        "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension, "A.B.D": further}}}, "Reserved": {}},
        **more,
    }


def test_the_snapshot_stands_in_for_a_list_that_cannot_be_reached():
    price = prices.of(unreachable("us-east-1")).instance("training", "ml.c5.2xlarge")
    assert (price.usd, price.source) == (0.408, "snapshot of 2026-11")


def test_a_region_without_prices_is_named():
    with pytest.raises(
        prices.UnknownPrice, match=r"eu-west-3; the repository's snapshot of 2026-11 has us-east-1 only"
    ):
        prices.of(unreachable("eu-west-3")).instance("training", "ml.c5.2xlarge")


def test_a_product_of_the_price_list_is_read():
    (price,) = prices.read_product(product("EUW1-Train:ml.c5.2xlarge", "0.4560000000", version="20261101123456"))
    assert price == prices.Price("Train:ml.c5.2xlarge", 0.456, "Hrs", "AWS Price List, live", 8, 16.0)
    (price,) = prices.read_product(product("BoxUsage:c5.large", "0.085", version="snapshot of 2026-11"))
    assert price.source == "AWS Price List, snapshot of 2026-11"


@pytest.mark.parametrize(
    ("usage_type", "named"),
    [
        ("USE1-Train:ml.c5.xlarge", "Train:ml.c5.xlarge"),
        ("EU-BoxUsage:c5.large", "BoxUsage:c5.large"),
        ("APN1-Request", "Request"),
        ("Lambda-GB-Second", "Lambda-GB-Second"),
        ("CW:AlarmMonitorUsage", "CW:AlarmMonitorUsage"),
    ],
)
def test_usage_types_lose_their_regions_prefix(usage_type, named):
    assert prices.without_region(usage_type) == named


def test_each_price_is_looked_up_once():
    asked = []

    def lookup(service, usage_type):
        asked.append(usage_type)
        return [prices.Price("a", 1.0, "Hrs", ""), prices.Price("b", 2.0, "Hrs", "")]

    listed = prices.PriceList("us-east-1", lookup)
    assert [listed.of("S", name).usd for name in ("a", "b", "a")] == [1.0, 2.0, 1.0]
    assert asked == ["a"]


START = datetime(2026, 11, 1, tzinfo=UTC)


def test_instance_seconds_follow_the_autoscaler():
    changes = [(START + timedelta(seconds=60), 3), (START + timedelta(seconds=100), 1)]
    assert usage.instance_seconds(START, START + timedelta(seconds=200), 1, changes) == 60 + 3 * 40 + 100


@given(st.lists(st.tuples(st.integers(-50, 250), st.integers(1, 3))), st.integers(1, 3))
def test_instance_seconds_lie_between_fewest_and_most(changes, first):
    moments = [(START + timedelta(seconds=second), count) for second, count in changes]
    counts = [first, *(count for _, count in changes)]
    seconds = usage.instance_seconds(START, START + timedelta(seconds=200), first, moments)
    assert 200 * min(counts) <= seconds <= 200 * max(counts)


def answers(**calls):
    """A client whose calls answer what is given; the name of a paginated call answers its only page."""
    client = SimpleNamespace(**{name: lambda _answer=answer, **_: _answer for name, answer in calls.items()})
    client.get_paginator = lambda name: SimpleNamespace(paginate=lambda **_: [calls[name]])
    return client


def test_an_endpoint_bills_what_the_autoscaler_set():
    def activity(second, text, status="Successful"):
        return {"Description": text, "StatusCode": status, "StartTime": START + timedelta(seconds=second)}

    activities = [
        activity(100, "Setting desired instance count to 3."),
        activity(150, "Setting desired instance count to 9.", "Failed"),
        activity(160, "Attempting to scale due to alarm triggered", "Unfulfilled"),
        activity(200, "Setting desired instance count to 1."),
    ]
    variant = {"VariantName": "all", "InstanceType": "ml.c5.xlarge", "InitialInstanceCount": 2}
    sagemaker = answers(
        describe_endpoint={"EndpointConfigName": "c", "CreationTime": START},
        describe_endpoint_config={"ProductionVariants": [variant]},
    )
    scaling = answers(describe_scaling_activities={"ScalingActivities": activities})
    clients = {"sagemaker": sagemaker, "application-autoscaling": scaling}
    (used,) = usage._endpoint(SimpleNamespace(client=clients.get), "e", START + timedelta(seconds=300))
    assert (used.usage_type, used.unit) == ("Host:ml.c5.xlarge", "h ml.c5.xlarge")
    assert used.quantity * 3600 == pytest.approx(2 * 100 + 3 * 100 + 1 * 100)
