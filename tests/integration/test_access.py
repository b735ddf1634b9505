"""The series' roles, asked through IAM's own simulator, and tried."""

import boto3
import pytest

from helpers import access, cloud
from helpers.settings import Settings
from tests.actors import allow, policy


@pytest.fixture
def connection(user):
    settings = Settings.of(project="checked")
    made = cloud.Cloud(settings, boto3.Session(region_name="us-east-1"), "123456789012", "tester")
    access.ensure_sagemaker_role(made)
    access.ensure_function_role(made)
    return made


def wrong(rows):
    return [(row["role"], row["action"]) for row in rows if row["as it should be"] != "yes"]


def test_each_role_may_what_it_must_and_nothing_it_must_not(connection):
    rows = access.check(connection)
    assert {row["role"] for row in rows} == {"checked-sagemaker", "checked-lambda"}
    assert {row["is"] for row in rows} == {"allowed", "denied"}
    assert wrong(rows) == []


def test_a_role_that_may_too_much_or_too_little_is_found(connection):
    iam = connection.client("iam")
    iam.put_role_policy(RoleName="checked-lambda", PolicyName="more", PolicyDocument=policy(allow("sagemaker:*")))
    assert ("checked-lambda", "sagemaker:UpdateEndpoint") in wrong(access.check(connection))
    iam.delete_role_policy(RoleName="checked-lambda", PolicyName="more")
    iam.put_role_policy(RoleName="checked-lambda", PolicyName="least-privilege", PolicyDocument=policy(allow("logs:*")))
    assert wrong(access.check(connection)) == [("checked-lambda", "sagemaker:InvokeEndpoint")]
