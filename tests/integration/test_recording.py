"""What is recorded of requests: all of them, whole lines, by the model's names, and nothing secret."""

import json
import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from helpers.localaws.request_table import read
from tests.conftest import localaws_cli


@pytest.fixture
def recorded(fresh_aws, tmp_path):
    file = tmp_path / "requests.jsonl"
    return fresh_aws("--record", str(file)), file


def only(file, operation):
    (found,) = [one for one in read(file) if one["operation"] == operation]
    return found


def test_a_request_is_written_down_without_its_secrets(recorded):
    aws, file = recorded
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_tagging(Bucket="kept", Tagging={"TagSet": [{"Key": "project", "Value": "p"}]})
    s3.put_object(Bucket="kept", Key="k", Body=b"a love letter")
    address = s3.generate_presigned_url("get_object", Params={"Bucket": "kept", "Key": "k"})
    assert urllib.request.urlopen(address).read() == b"a love letter"
    aws.client("iam").create_user(UserName="ann")
    aws.client("iam").create_access_key(UserName="ann")
    with pytest.raises(ClientError, match="not implement"):
        aws.client("iam").change_password(OldPassword="secret-1", NewPassword="secret-2")
    variables = {"Variables": {"TOKEN": "secret-3", "OTHER": "secret-4"}}
    with pytest.raises(ClientError, match="assumed by Lambda"):
        aws.client("lambda").create_function(
            FunctionName="f", Role="arn:aws:iam::123456789012:role/none", Runtime="python3.13", Handler="a.b",
            Code={"ZipFile": b"0123456789"}, Environment=variables,
        )  # fmt: skip
    put = only(file, "PutObject")
    assert put["parameters"] == {"Bucket": "kept", "Key": "k"} | {
        name: value for name, value in put["parameters"].items() if name.startswith(("Body", "Checksum", "Content"))
    }
    assert put["parameters"]["Body"]["$bytes"] >= 13  # as sent, maybe with a checksum at its end
    assert put["caller"] == "user/administrator"
    assert put["sdk"].startswith("Boto3/")
    assert only(file, "PutBucketTagging")["parameters"]["Tagging"]["TagSet"] == [{"Key": "project", "Value": "p"}]
    assert only(file, "GetObject")["status"] == 200
    refused = only(file, "CreateFunction")
    assert (refused["status"], refused["error"]) == (400, "InvalidParameterValueException")
    assert refused["parameters"]["Code"]["ZipFile"] == {"$bytes": 10}
    assert list(refused["parameters"]["Environment"]["Variables"].values()) == [{"$characters": 8}] * 2
    assert only(file, "ChangePassword")["parameters"]["NewPassword"] == {"$characters": 8}
    text = file.read_text()
    secrets = [aws.environment["AWS_SECRET_ACCESS_KEY"], aws.environment["AWS_ACCESS_KEY_ID"], "love", "Signature"]
    assert not [one for one in [*secrets, "secret-1", "secret-2", "secret-3", "secret-4"] if one in text]
    assert file.stat().st_mode & 0o077 == 0


def test_many_threads_write_whole_lines_and_the_table_counts_them(recorded):
    aws, file = recorded
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="many")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket="many", Key="k" * 900 + str(n), Body=b""), range(200)))
    with pytest.raises(ClientError):
        s3.head_object(Bucket="many", Key="absent")
    assert len(read(file)) == 202
    shown = localaws_cli("requests", str(file)).stdout.splitlines()
    assert [line.split() for line in shown[1:-1]] == [
        ["s3", "CreateBucket", "1", "user/administrator"],
        ["s3", "HeadObject", "1", "404", "1", "user/administrator"],
        ["s3", "PutObject", "200", "user/administrator"],
    ]
    assert shown[-1] == "202 requests, 3 operations"


def test_the_variable_asks_for_it_too_and_without_it_nothing_is_written(tmp_path, monkeypatch, fresh_aws):
    file = tmp_path / "folder" / "requests.jsonl"
    monkeypatch.setenv("LOCALAWS_RECORD", str(file))
    aws = fresh_aws()
    aws.client("sts").get_caller_identity()
    assert [one["operation"] for one in read(file)] == ["GetCallerIdentity"]
    aws.cli("down")
    monkeypatch.delenv("LOCALAWS_RECORD")
    assert "LOCALAWS_RECORD" not in os.environ
    fresh_aws().client("sts").get_caller_identity()
    assert len(read(file)) == 1


def test_what_is_no_recording_is_told_to_be_none(tmp_path):
    file = tmp_path / "other.jsonl"
    file.write_text(json.dumps({"anything": 1}))
    for path in (file, tmp_path / "absent"):
        done = localaws_cli("requests", str(path), check=False)
        assert done.returncode == 1
        assert "cannot be read as a recording" in done.stderr


def test_a_configuration_of_a_bucket_that_nobody_keeps_is_refused_and_its_bucket_stays(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="stays")
    s3.put_object(Bucket="stays", Key="k", Body=b"1")
    for call, arguments in (
        (s3.delete_object_annotation, {"Key": "k", "AnnotationName": "a"}),
        (s3.delete_bucket_analytics_configuration, {"Id": "a"}),
        (s3.get_bucket_request_payment, {}),
    ):
        with pytest.raises(ClientError) as raised:
            call(Bucket="stays", **arguments)
        assert raised.value.response["Error"]["Code"] == "NotImplemented"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="stays")["Contents"]] == ["k"]
