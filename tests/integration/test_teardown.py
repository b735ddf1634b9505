"""What notebook 08 stands on: everything found by tag, deleted, proved gone; and nobody else's things touched."""

from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from helpers import access, cloud, teardown
from helpers.settings import Settings


@pytest.fixture
def connection(user):
    settings = Settings.of(project="torn-down")
    session_cloud = cloud.Cloud(settings, boto3.Session(region_name="us-east-1"), "123456789012", "tester")
    cloud.ensure_bucket(session_cloud)
    return session_cloud


def test_everything_of_the_project_goes_and_nothing_else(connection, user):
    other = user.client("s3")
    other.create_bucket(Bucket="torn-down-by-nobody")
    other.put_bucket_tagging(
        Bucket="torn-down-by-nobody", Tagging={"TagSet": [{"Key": "project", "Value": "torn-down-2"}]}
    )
    access.ensure_sagemaker_role(connection)
    access.ensure_function_role(connection)
    found = teardown.find(connection)
    assert {(one.kind, one.name) for one in found} == {
        ("s3:bucket", connection.bucket),
        ("iam:role", "torn-down-sagemaker"),
        ("iam:role", "torn-down-lambda"),
    }
    with pytest.raises(RuntimeError, match="torn-down-lambda"):
        teardown.prove(connection)
    said: list[str] = []
    teardown.delete(connection, found, said.append)
    assert len(said) == 3
    assert teardown.prove(connection)
    assert teardown.find(connection) == []
    teardown.delete(connection, found, said.append)
    other.head_bucket(Bucket="torn-down-by-nobody")


def test_a_bucket_of_many_objects_and_versions_is_emptied_first(connection, user):
    s3 = user.client("s3")
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda number: s3.put_object(Bucket=connection.bucket, Key=f"k/{number}", Body=b"x"), range(1100))
        )
    s3.put_bucket_versioning(Bucket=connection.bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=connection.bucket, Key="k/1", Body=b"again")
    s3.delete_object(Bucket=connection.bucket, Key="k/2")
    teardown.delete(connection, teardown.find(connection), lambda _: None)
    assert teardown.prove(connection)


def test_a_role_is_made_once_and_follows_its_permissions(connection, user):
    first = access.ensure_sagemaker_role(connection)
    assert access.ensure_sagemaker_role(connection) == first
    iam = user.client("iam")
    access.ensure_role(
        connection,
        "torn-down-sagemaker",
        "sagemaker.amazonaws.com",
        [access.Permission(("s3:ListBucket",), ("*",), "x")],
    )
    policy = iam.get_role_policy(RoleName="torn-down-sagemaker", PolicyName="least-privilege")["PolicyDocument"]
    assert [statement["Action"] for statement in policy["Statement"]] == [["s3:ListBucket"]]
    document = iam.get_role(RoleName="torn-down-sagemaker")["Role"]["AssumeRolePolicyDocument"]
    assert document["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    teardown.delete(connection, teardown.find(connection), lambda _: None)
