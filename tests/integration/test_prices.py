"""The Price List and spot prices as a user of boto3 sees them, and ``helpers.prices`` on top."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import cloud, costs, prices
from helpers.settings import Settings


@pytest.fixture(scope="module")
def pricing(aws):
    return aws.client("pricing")


def connected(settings):
    return cloud.Cloud(settings, boto3.Session(region_name=settings.region), "123456789012", "tester")


def terms(**wanted):
    return [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]


def usage_types(answer):
    return sorted(json.loads(text)["product"]["attributes"]["usagetype"] for text in answer["PriceList"])


def test_products_are_found_by_filters_in_awss_own_form(pricing):
    found = pricing.get_products(
        ServiceCode="AmazonSageMaker", Filters=terms(regionCode="us-east-1", instanceName="ml.c5.2xlarge")
    )
    assert usage_types(found) == ["USE1-Host:ml.c5.2xlarge", "USE1-Train:ml.c5.2xlarge"]
    document = json.loads(found["PriceList"][0])
    (offer,) = document["terms"]["OnDemand"].values()
    (dimension,) = offer["priceDimensions"].values()
    assert (dimension["unit"], dimension["pricePerUnit"]) == ("Hrs", {"USD": "0.4080000000"})
    assert document["product"]["attributes"]["vCpu"] == "8"


@pytest.mark.parametrize(
    ("kind", "field", "value", "wanted"),
    [
        ("CONTAINS", "usagetype", "gp3", ["EBS:VolumeUsage.gp3"]),
        ("EQUALS", "usagetype", "boxusage:c5.large", ["BoxUsage:c5.large"]),
        ("ANY_OF", "instanceType", "c5.large,c5.xlarge", ["BoxUsage:c5.large", "BoxUsage:c5.xlarge"]),
        ("TERM_MATCH", "regionCode", "eu-west-1", []),
        ("TERM_MATCH", "noSuchField", "x", []),
    ],
)
def test_filter_types(pricing, kind, field, value, wanted):
    filters = [{"Type": kind, "Field": field, "Value": value}]
    assert usage_types(pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)) == wanted


def test_products_come_in_pages(pricing):
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode="AmazonSageMaker", PaginationConfig={"PageSize": 5}
    )
    sizes, found = zip(*((len(page["PriceList"]), usage_types(page)) for page in pages), strict=True)
    assert max(sizes) == 5
    names = [name for page in found for name in page]
    assert len(names) == len(set(names)) > 20


def test_services_and_attributes(pricing):
    services = {one["ServiceCode"]: one["AttributeNames"] for one in pricing.describe_services()["Services"]}
    assert "instanceName" in services["AmazonSageMaker"]
    values = pricing.get_attribute_values(ServiceCode="AmazonSageMaker", AttributeName="component")["AttributeValues"]
    assert [one["Value"] for one in values] == ["Hosting", "Notebook", "Training"]


@pytest.mark.parametrize(
    ("call", "arguments", "code"),
    [
        ("get_products", {"ServiceCode": "AmazonTeapot"}, "NotFoundException"),
        ("describe_services", {"ServiceCode": "AmazonTeapot"}, "NotFoundException"),
        ("get_attribute_values", {"ServiceCode": "AmazonS3", "AttributeName": "x"}, "NotFoundException"),
        ("get_products", {"ServiceCode": "AmazonS3", "NextToken": "bm9uZQ=="}, "InvalidNextTokenException"),
        ("get_products", {"ServiceCode": "AmazonS3", "FormatVersion": "v2"}, "InvalidParameterException"),
        ("get_products", {"ServiceCode": "AmazonS3", "MaxResults": 101}, "InvalidParameterException"),
    ],
)
def test_refusals(pricing, call, arguments, code):
    with pytest.raises(ClientError) as refused:
        getattr(pricing, call)(**arguments)
    assert refused.value.response["Error"]["Code"] == code


def test_spot_prices_are_one_a_zone(aws):
    ec2 = aws.client("ec2")
    found = ec2.describe_spot_price_history(InstanceTypes=["c5.2xlarge"], ProductDescriptions=["Linux/UNIX"])
    assert {(row["AvailabilityZone"], row["SpotPrice"]) for row in found["SpotPriceHistory"]} == {
        ("us-east-1a", "0.170000"),
        ("us-east-1b", "0.174000"),
        ("us-east-1c", "0.191000"),
    }
    filters = [{"Name": "availability-zone", "Values": ["*-1b"]}, {"Name": "instance-type", "Values": ["c5.*"]}]
    pages = list(ec2.get_paginator("describe_spot_price_history").paginate(Filters=filters, MaxResults=2))
    rows = [row for page in pages for row in page["SpotPriceHistory"]]
    assert len(pages) == 2
    assert {row["AvailabilityZone"] for row in rows} == {"us-east-1b"}
    assert len({row["InstanceType"] for row in rows}) == len(rows) == 4
    assert aws.client("ec2", "eu-west-1").describe_spot_price_history()["SpotPriceHistory"] == []
    assert ec2.describe_spot_price_history(ProductDescriptions=["Windows"])["SpotPriceHistory"] == []
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        ec2.describe_spot_price_history(Filters=[{"Name": "colour", "Values": ["red"]}])


def test_the_helper_reads_them_and_says_where_they_are_from(user):
    there = connected(Settings.of(project="priced"))
    price = there.prices.instance("training", "ml.c5.2xlarge")
    assert (price.usd, price.vcpu, price.memory_gib) == (0.408, 8, 16)
    assert price.source == "AWS Price List, snapshot of 2026-11"
    spot = there.prices.instance("ec2", "c5.2xlarge", spot=True)
    assert (spot.usd, spot.source) == (0.174, "EC2 spot price history, 2026-11-01")
    for kind, names in costs.CHOICES.items():
        assert {row.type for row in costs.choices(there, kind, names[0])} == set(names)
    elsewhere = connected(Settings.of(project="priced", region="eu-west-1"))
    with pytest.raises(prices.UnknownPrice, match=r"eu-west-1; the repository's snapshot of 2026-11 has us-east-1"):
        elsewhere.prices.instance("training", "ml.c5.2xlarge")
