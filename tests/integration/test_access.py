"""The series' roles, asked through IAM's own simulator, and tried."""

import json

import boto3
import pytest

from helpers import access, cloud, functions
from helpers.settings import ROOT, Settings
from tests.actors import allow, policy, role, session


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


def test_a_function_is_refused_says_why_and_works_with_one_permission_more(connection):
    name, client = "checked", connection.client("lambda")
    access.ensure_function_role(connection, [access.log_permission(connection)])
    functions.deploy(
        client,
        name,
        ROOT / "lambda",
        handler="lambda_function.lambda_handler",
        role=access.ensure_function_role(connection, [access.log_permission(connection)]),
        environment={"ENDPOINT_NAME": connection.settings.endpoint_name},
        runtime="python3.11",
    )
    refused = functions.invoke(client, name, {"image": "aGVsbG8="})
    assert refused.payload["statusCode"] == 502
    assert "arn:" not in refused.payload["body"]
    said = access.read_denial("\n".join(refused.log))
    permission = access.endpoint_permission(connection)
    assert (said["action"], said["resource"]) == (*permission.actions, *permission.resources)
    assert said["who"].endswith(":assumed-role/checked-lambda/checked")
    assert said["why"].startswith("because no identity-based policy allows")
    for _ in range(2):  # the second time nothing is added
        access.grant(connection, "checked-lambda", permission)
    held = connection.client("iam").get_role_policy(RoleName="checked-lambda", PolicyName=access.POLICY)
    assert len(held["PolicyDocument"]["Statement"]) == 2
    asked = functions.invoke(client, name, {"image": "aGVsbG8="})
    with pytest.raises(ValueError, match="says nothing"):  # there is no endpoint, but it may be asked
        access.read_denial("\n".join(asked.log))
    assert json.loads(asked.payload["body"])["error"]
    functions.delete(client, name)


def test_full_access_would_allow_what_one_statement_does_not(connection):
    policies = {"one": [access.endpoint_permission(connection)], "full": access.FULL_ACCESS}
    rows = access.would_allow(connection, policies, access.temptations(connection))
    assert [row["one"] for row in rows] == ["yes"] + ["no"] * (len(rows) - 1)
    full = {(row["action"], row["on"].rpartition("/")[2]) for row in rows if row["full"] == "yes"}
    assert {("sagemaker:DeleteEndpoint", "checked"), ("sagemaker:CreateTrainingJob", "miner")} <= full
    assert ("iam:CreateUser", "intruder") not in full


def test_an_audit_tells_used_from_unused(connection, user):
    arn = role(user, Path="/", Tags=[{"Key": "project", "Value": "checked"}])
    assert arn.rpartition("/")[2] not in {row["role"] for row in access.audit(connection)}  # not named like the project
    iam = connection.client("iam")
    trust = policy({"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"})
    tags = [{"Key": "project", "Value": "checked"}]
    mine = iam.create_role(RoleName="checked-audited", AssumeRolePolicyDocument=trust, Tags=tags)["Role"]["Arn"]
    document = policy(allow("s3:ListAllMyBuckets", "sqs:ListQueues"))
    iam.put_role_policy(RoleName="checked-audited", PolicyName="p", PolicyDocument=document)
    assert {row["role"]: row["last used"] for row in access.idle_roles(connection)}["checked-audited"] == "never"
    session(user, mine).client("s3").list_buckets()
    rows = {row["action"]: row for row in access.audit(connection) if row["role"] == "checked-audited"}
    assert rows["sqs:ListQueues"]["last used"] == "never"
    assert rows["sqs:ListQueues"]["what to do"].startswith("not used yet")
    assert rows["s3:ListAllMyBuckets"]["last used"].startswith("20")
    assert rows["s3:ListAllMyBuckets"]["what to do"] == ""
    assert "checked-audited" not in {row["role"] for row in access.idle_roles(connection)}
    stale = {row["action"]: row for row in access.audit(connection, stale_days=-1) if row["role"] == "checked-audited"}
    assert stale["s3:ListAllMyBuckets"]["what to do"] == "stale: take it away"
    iam.delete_role_policy(RoleName="checked-audited", PolicyName="p")
    iam.delete_role(RoleName="checked-audited")
