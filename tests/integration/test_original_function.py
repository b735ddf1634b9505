"""The original project's function gives away what ours keeps, and is gone when it has been looked at."""

import json
import sys

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import original
from helpers.cloud import Cloud
from helpers.settings import Settings
from tests.conftest import LocalAws


@pytest.fixture(scope="module")
def cloud(aws: LocalAws) -> Cloud:
    keys = {name: aws.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    session = boto3.Session(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    made = Cloud(Settings.of(project="broken-into"), session, "123456789012", "")
    made._clients.update({service: aws.client(service) for service in ("lambda", "logs")})
    return made


@pytest.fixture(scope="module")
def role(aws: LocalAws) -> str:
    return aws.role("original", "lambda.amazonaws.com")


def gone(cloud: Cloud) -> bool:
    name = f"{cloud.settings.function_name}-original"
    with pytest.raises(ClientError, match="Function not found"):
        cloud.client("lambda").get_function(FunctionName=name)
    return not cloud.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks for a file of Linux")
def test_it_fetches_what_is_inside_and_tells_its_context(cloud, role):
    answer = original.ask(cloud, role, "file:///proc/self/environ")
    assert answer["statusCode"] == 200
    assert "AWS_SECRET_ACCESS_KEY=" in json.loads(answer["body"])
    assert "123456789012:function:broken-into-original" in answer["COntent-Type-In"]
    assert gone(cloud)


def test_what_it_cannot_fetch_is_an_error_and_it_is_gone_all_the_same(cloud, role):
    answer = original.ask(cloud, role, "file:///no/such/file")
    assert answer["errorType"] == "URLError"
    assert gone(cloud)


def test_it_is_deleted_when_looking_at_it_fails(cloud, role):
    looking = original.deployed(cloud, role)
    name = looking.__enter__()
    assert cloud.client("lambda").get_function(FunctionName=name)["Tags"] == {"project": "broken-into"}
    assert not looking.__exit__(KeyError, KeyError(), None), "and the failure is told"
    assert gone(cloud)
