"""What the services that keep records remember after ``kill -9``."""

import json
import os
import signal
import time

import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws, start


def kill(aws: LocalAws) -> None:
    pid = json.loads(aws.cli("status").stdout)["pid"]
    os.kill(pid, signal.SIGKILL)
    while json.loads(aws.cli("status", check=False).stdout)["running"]:
        continue


def test_objects_buckets_and_roles_survive_kill_9(fresh_aws):
    aws = fresh_aws()
    s3, iam = aws.client("s3"), aws.client("iam")
    for bucket in ("kept", "emptied", "versioned", "removed"):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_tagging(Bucket="kept", Tagging={"TagSet": [{"Key": "project", "Value": "dogs"}]})
    s3.put_object(Bucket="kept", Key="ünï", Body=b"\x00" * 100, ContentType="image/jpeg")
    s3.copy_object(Bucket="kept", Key="copy", CopySource={"Bucket": "kept", "Key": "ünï"})
    s3.put_object(Bucket="kept", Key="gone", Body=b"x")
    s3.delete_object(Bucket="kept", Key="gone")
    for number in range(3):
        s3.put_object(Bucket="emptied", Key=str(number), Body=b"x")
    s3.delete_objects(Bucket="emptied", Delete={"Objects": [{"Key": str(number)} for number in range(3)]})
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="versioned", Key="v", Body=text)["VersionId"] for text in (b"old", b"new")]
    s3.delete_bucket(Bucket="removed")
    role = aws.role("survivor", "sagemaker.amazonaws.com")
    kill(aws)

    again = start(aws.state)
    assert again.url == aws.url
    assert again.environment["AWS_ACCESS_KEY_ID"] == aws.environment["AWS_ACCESS_KEY_ID"]
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {"kept", "emptied", "versioned"}
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="kept")["Contents"]] == ["copy", "ünï"]
    found = s3.get_object(Bucket="kept", Key="ünï")
    assert (found["Body"].read(), found["ContentType"]) == (b"\x00" * 100, "image/jpeg")
    assert s3.get_bucket_tagging(Bucket="kept")["TagSet"] == [{"Key": "project", "Value": "dogs"}]
    assert s3.list_objects_v2(Bucket="emptied")["KeyCount"] == 0
    old = s3.get_object(Bucket="versioned", Key="v", VersionId=versions[0])
    assert old["Body"].read() == b"old"
    assert iam.get_role(RoleName="survivor")["Role"]["Arn"] == role
    s3.put_object(Bucket="kept", Key="after", Body=b"still writable")


def test_a_large_upload_in_parts_survives_and_an_unfinished_one_does_not(fresh_aws, tmp_path):
    aws = fresh_aws()
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="large")
    (tmp_path / "file").write_bytes(os.urandom(12 << 20))
    s3.upload_file(str(tmp_path / "file"), "large", "whole")
    unfinished = s3.create_multipart_upload(Bucket="large", Key="half")["UploadId"]
    kill(aws)
    start(aws.state)
    assert s3.get_object(Bucket="large", Key="whole")["Body"].read() == (tmp_path / "file").read_bytes()
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.upload_part(Bucket="large", Key="half", UploadId=unfinished, PartNumber=1, Body=b"x")


def test_logs_and_metrics_survive_an_ordinary_stop(fresh_aws):
    aws = fresh_aws()
    logs, metrics = aws.client("logs"), aws.client("cloudwatch")
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    event = {"timestamp": int(time.time() * 1000), "message": "hello"}
    logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=[event])
    metrics.put_metric_data(Namespace="Dogs", MetricData=[{"MetricName": "Barks", "Value": 3}])
    aws.cli("down")
    start(aws.state)
    kept = logs.get_log_events(logGroupName="group", logStreamName="stream", startFromHead=True)["events"]
    assert [one["message"] for one in kept] == ["hello"]
    assert metrics.list_metrics(Namespace="Dogs")["Metrics"][0]["MetricName"] == "Barks"
