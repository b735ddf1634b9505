"""Service quotas as a user of boto3 sees them, what they refuse, and the preflight check on top."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import cloud, quotas
from helpers.settings import Settings
from tests.conftest import start

TRAINING = "L-49679826"  # ml.c5.2xlarge for training job usage
CONCURRENCY = "L-B99A9384"


@pytest.fixture(scope="module")
def asked(aws):
    return aws.client("service-quotas")


def connected(**settings):
    return cloud.Cloud(Settings.of(**settings), boto3.Session(region_name="us-east-1"), "123456789012", "tester")


def code(refused):
    return refused.value.response["Error"]["Code"]


def test_a_quota_has_awss_code_name_and_arn(asked):
    quota = asked.get_service_quota(ServiceCode="sagemaker", QuotaCode=TRAINING)["Quota"]
    assert quota["QuotaName"] == "ml.c5.2xlarge for training job usage"
    assert quota["QuotaArn"] == f"arn:aws:servicequotas:us-east-1:123456789012:sagemaker/{TRAINING}"
    assert (quota["Value"], quota["Adjustable"], quota["Unit"]) == (20.0, True, "None")
    default = asked.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]
    assert (default["Value"], default["QuotaArn"]) == (5.0, "arn:aws:servicequotas:us-east-1::ec2/L-1216C47A")


def test_quotas_come_in_pages(asked):
    pages = list(
        asked.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker", PaginationConfig={"PageSize": 4})
    )
    codes = [one["QuotaCode"] for page in pages for one in page["Quotas"]]
    assert len(pages) > 2
    assert len(set(codes)) == len(codes)
    assert {"L-E9EE5599", "L-4581C083", "L-E17566B7", TRAINING} <= set(codes)
    defaults = asked.list_aws_default_service_quotas(ServiceCode="sagemaker")["Quotas"]
    assert {one["QuotaCode"] for one in defaults} == set(codes)
    assert [one["ServiceCode"] for one in asked.list_services()["Services"]] == ["ec2", "lambda", "sagemaker"]


@pytest.mark.parametrize(
    ("call", "arguments", "wanted"),
    [
        ("get_service_quota", {"ServiceCode": "sagemaker", "QuotaCode": "L-00000000"}, "NoSuchResourceException"),
        ("list_service_quotas", {"ServiceCode": "teapot"}, "NoSuchResourceException"),
        ("list_service_quotas", {"ServiceCode": "ec2", "NextToken": "bm8="}, "InvalidPaginationTokenException"),
        ("get_requested_service_quota_change", {"RequestId": "nobody"}, "NoSuchResourceException"),
        (
            "request_service_quota_increase",
            {"ServiceCode": "sagemaker", "QuotaCode": TRAINING, "DesiredValue": 1.0},
            "IllegalArgumentException",
        ),
    ],
)
def test_refusals(asked, call, arguments, wanted):
    with pytest.raises(ClientError) as refused:
        getattr(asked, call)(**arguments)
    assert code(refused) == wanted


def test_preflight_is_content_with_an_account_in_use(user):
    rows = quotas.require(quotas.check(connected()))
    assert {row.code for row in rows} >= {TRAINING, "L-4581C083", "L-E9EE5599", "L-1216C47A", "L-34B43A08", CONCURRENCY}
    assert all(row.ok and row.todo == "" for row in rows)


def test_preflight_says_what_to_do_and_a_request_helps(fresh_aws, monkeypatch):
    monkeypatch.setenv("LOCALAWS_QUOTAS", json.dumps({"L-4581C083": 0, CONCURRENCY: 10}))
    aws = fresh_aws("--time-scale", "1")
    for name, value in aws.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    rows = quotas.check(connected())
    assert [(row.code, row.granted, row.needed) for row in rows if not row.ok] == [
        ("L-4581C083", 0.0, 2),
        (CONCURRENCY, 10.0, 110),
    ]
    with pytest.raises(quotas.QuotaTooSmall) as refused:
        quotas.require(rows)
    told = str(refused.value)
    assert "aws service-quotas request-service-quota-increase --region us-east-1 --service-code sagemaker" in told
    assert "--quota-code L-4581C083 --desired-value 2" in told
    assert "servicequotas/home/services/lambda/quotas/L-B99A9384" in told
    assert "train on demand" in told
    assert concurrency(aws) == 10
    unknown = quotas.check(connected(training_instance_type="ml.c9.huge"))
    assert [row.code for row in unknown if row.what == "training"] == ["?"]

    client, quota = aws.client("service-quotas"), {"ServiceCode": "lambda", "QuotaCode": CONCURRENCY}
    made = client.request_service_quota_increase(**quota, DesiredValue=2000.0)["RequestedQuota"]
    assert (made["Status"], made["DesiredValue"]) == ("PENDING", 2000.0)
    with pytest.raises(ClientError) as again:
        client.request_service_quota_increase(**quota, DesiredValue=3000.0)
    assert code(again) == "ResourceAlreadyExistsException"
    spot = {"ServiceCode": "sagemaker", "QuotaCode": "L-4581C083"}
    client.request_service_quota_increase(**spot, DesiredValue=2.0)
    assert client.get_service_quota(**quota)["Quota"]["Value"] == 10.0, "nobody has granted it yet"
    aws.cli("down")

    start(aws.state, "--time-scale", "100000")
    assert client.get_requested_service_quota_change(RequestId=made["Id"])["RequestedQuota"]["Status"] == "APPROVED"
    assert all(row.ok for row in quotas.check(connected()))
    assert concurrency(aws) == 2000
    history = client.list_requested_service_quota_change_history(ServiceCode="lambda")["RequestedQuotas"]
    assert [one["Id"] for one in history] == [made["Id"]]
    assert client.list_requested_service_quota_change_history(Status="PENDING")["RequestedQuotas"] == []
    by_quota = client.list_requested_service_quota_change_history_by_quota(**quota)["RequestedQuotas"]
    assert by_quota == history
    other = aws.client("service-quotas", "eu-west-1")
    assert other.get_service_quota(**quota)["Quota"]["Value"] == 10.0, "every region has its own"


def concurrency(aws):
    return aws.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
