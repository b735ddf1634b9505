"""What the gateway promises of every call: AWS's errors, clear refusals, no pages; by boto3 and the AWS CLI."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conftest import LocalAws

AWS_CLI = str(Path(sys.executable).with_name("aws"))


def unchecked(aws: LocalAws, service: str):
    """A client that sends whatever it is given: the server must do the checking."""
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=aws.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )


def error_of(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response


def cli(aws: LocalAws, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in aws.environment.items() if name.startswith("AWS_")}
    environment |= {"PATH": os.environ["PATH"], "HOME": str(aws.state)}
    return subprocess.run([AWS_CLI, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_the_administrator_is_a_user(aws):
    identity = aws.client("sts").get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/administrator"


def test_input_is_validated_in_awss_words(aws):
    answer = error_of(unchecked(aws, "sagemaker").create_training_job, TrainingJobName="bad name")
    assert answer["Error"]["Code"] == "ValidationException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "Value null at 'roleArn' failed to satisfy constraint: Member must not be null" in answer["Error"]["Message"]
    assert "Value 'bad name' at 'trainingJobName'" in answer["Error"]["Message"]


def test_an_operation_nobody_answers_is_refused_by_name_and_not_retried(aws):
    answer = error_of(aws.client("sagemaker").list_pipelines)
    assert answer["Error"]["Code"] == "NotImplemented"
    assert "sagemaker:ListPipelines" in answer["Error"]["Message"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert answer["ResponseMetadata"]["RetryAttempts"] == 0


@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("ec2", "request_spot_fleet", {"SpotFleetRequestConfig": {"IamFleetRole": "r", "TargetCapacity": 1}}),
        ("batch", "list_jobs", {}),
        ("cloudwatch", "get_dashboard", {"DashboardName": "d"}),
        ("ssm", "start_session", {"Target": "i-1"}),
        ("sts", "get_session_token", {}),
    ],
)
def test_what_executes_is_never_an_empty_success(aws, service, call, arguments):
    answer = error_of(getattr(aws.client(service), call), **arguments)
    assert answer["Error"]["Code"] == "NotImplemented"


def test_records_answer_with_their_own_errors(aws):
    assert error_of(aws.client("iam").get_role, RoleName="nobody")["Error"]["Code"] == "NoSuchEntity"
    assert error_of(aws.client("s3").get_object, Bucket="no-such", Key="k")["Error"]["Code"] == "NoSuchBucket"
    missing = error_of(aws.client("logs").get_log_events, logGroupName="none", logStreamName="none")
    assert missing["Error"]["Code"] == "ResourceNotFoundException"
    bad = error_of(unchecked(aws, "logs").create_log_group, logGroupName="not allowed!")
    assert bad["Error"]["Code"] == "InvalidParameterException"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", "/", {"X-Amz-Target": "SageMaker.NoSuchThing"}, b"{}"),
        ("POST", "/", {"X-Amz-Target": "SageMaker.ListTrainingJobs"}, b"{not json"),
        ("POST", "/", {"X-Amz-Target": "SageMaker.ListTrainingJobs"}, b"[1, 2]"),
        ("PATCH", "/2015-03-31/functions", {}, b""),
        ("GET", "/2015-03-31/functions/a/b/c/d", {}, b""),
        ("GET", "/_localaws/no-such-page", {}, b""),
        ("GET", "/moto-api/reset", {}, b""),
        ("POST", "/moto-api/reset", {}, b""),
    ],
)
def test_nonsense_is_an_aws_error_and_never_a_page(aws, method, path, headers, body):
    service = "lambda" if "functions" in path else "sagemaker"
    signed = (
        f"AWS4-HMAC-SHA256 Credential=AKID/20261122/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
    headers = {**headers, "Authorization": signed, "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(aws.url + path, data=body or None, headers=headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    answer = raised.value.read()
    assert 400 <= raised.value.code < 500 or raised.value.code == 501
    assert b"<html" not in answer.lower()
    assert b"<!doctype" not in answer.lower()


def test_the_records_cannot_be_reset_from_outside(aws):
    aws.client("s3").create_bucket(Bucket="still-here")
    request = urllib.request.Request(f"{aws.url}/moto-api/reset", method="POST")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)
    aws.client("s3").head_bucket(Bucket="still-here")


def test_objects_of_every_kind_of_name_and_content(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="all-kinds")
    everything = bytes(range(256)) * 40
    for key in ("plain", "a/b/c.txt", "space and + plus", "ünï/cödé 🐕.jpg", "percent%20", "trailing/"):
        s3.put_object(Bucket="all-kinds", Key=key, Body=everything, Metadata={"breed": "beagle"})
        found = s3.get_object(Bucket="all-kinds", Key=key)
        assert found["Body"].read() == everything
        assert found["Metadata"] == {"breed": "beagle"}
    assert s3.head_object(Bucket="all-kinds", Key="plain")["ContentLength"] == len(everything)
    part = s3.get_object(Bucket="all-kinds", Key="plain", Range="bytes=1-3")
    assert part["Body"].read() == everything[1:4]


def test_a_large_file_goes_up_in_parts_and_comes_back(aws, tmp_path):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="large-files")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20 << 20))
    s3.upload_file(str(source), "large-files", "large")
    s3.download_file("large-files", "large", str(target))
    assert target.read_bytes() == source.read_bytes()
    assert "-" in s3.head_object(Bucket="large-files", Key="large")["ETag"]


def test_a_presigned_url_needs_no_client(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="presigned")
    s3.put_object(Bucket="presigned", Key="k", Body=b"hello")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "k"})
    assert urllib.request.urlopen(url).read() == b"hello"


def test_many_clients_at_once(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="crowd")

    def roundtrip(number: int) -> bytes:
        s3.put_object(Bucket="crowd", Key=str(number), Body=str(number).encode())
        return s3.get_object(Bucket="crowd", Key=str(number))["Body"].read()

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(roundtrip, range(100))) == [str(number).encode() for number in range(100)]
    assert s3.list_objects_v2(Bucket="crowd")["KeyCount"] == 100


def test_the_aws_cli_works(aws, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8 not really")
    assert cli(aws, "s3", "mb", "s3://from-the-cli").returncode == 0
    assert cli(aws, "s3", "cp", str(photo), "s3://from-the-cli/a/photo.jpg").returncode == 0
    listed = cli(aws, "s3", "ls", "s3://from-the-cli", "--recursive").stdout
    assert "a/photo.jpg" in listed
    assert json.loads(cli(aws, "sts", "get-caller-identity").stdout)["Account"] == "123456789012"
    assert json.loads(cli(aws, "sagemaker", "list-training-jobs", "--max-items", "1").stdout) is not None
    refused = cli(aws, "sagemaker", "list-pipelines")
    assert "NotImplemented" in refused.stderr


def test_tagged_resources_are_found_by_tag(aws):
    s3, logs = aws.client("s3"), aws.client("logs")
    s3.create_bucket(Bucket="tagged-bucket")
    s3.put_bucket_tagging(Bucket="tagged-bucket", Tagging={"TagSet": [{"Key": "project", "Value": "tagged"}]})
    logs.create_log_group(logGroupName="tagged-group", tags={"project": "tagged"})
    api = aws.client("resourcegroupstaggingapi")
    found = api.get_resources(TagFilters=[{"Key": "project", "Values": ["tagged"]}])["ResourceTagMappingList"]
    assert {one["ResourceARN"] for one in found} == {
        "arn:aws:s3:::tagged-bucket",
        "arn:aws:logs:us-east-1:123456789012:log-group:tagged-group",
    }
    only = api.get_resources(TagFilters=[{"Key": "project"}], ResourceTypeFilters=["s3"])["ResourceTagMappingList"]
    assert all(one["ResourceARN"].startswith("arn:aws:s3") for one in only)
    assert api.get_resources(TagFilters=[{"Key": "project", "Values": ["none"]}])["ResourceTagMappingList"] == []
