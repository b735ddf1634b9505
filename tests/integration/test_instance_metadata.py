"""The instance metadata service, asked from inside, and the credentials that it gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import LocalAws
from tests.instances import Instances

ASK = """
METADATA=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
TOKEN=$(curl -sX PUT "$METADATA/latest/api/token" -H "X-aws-ec2-metadata-token-ttl-seconds: 60")
ask() { curl -s -H "X-aws-ec2-metadata-token: $TOKEN" "$METADATA/latest/$1"; }
"""


@pytest.fixture(scope="module")
def instances(aws: LocalAws) -> Instances:
    return Instances(aws)


def test_what_an_instance_knows_of_itself(instances: Instances) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "project", "Value": "known"}]}]
    identifier = instances.running(
        IamInstanceProfile={"Name": instances.profile("knows-itself")},
        MetadataOptions={"InstanceMetadataTags": "enabled"},
        TagSpecifications=tags,
    )
    described = instances.describe(identifier)

    def ask(path: str) -> str:
        return str(instances.run_command(identifier, ASK, f"ask {path}")["StandardOutputContent"])

    paths = "instance-id instance-type placement/region ami-id local-ipv4 tags/instance/project".split()
    told = instances.run_command(identifier, ASK, *(f"ask meta-data/{path}; echo" for path in paths))
    assert told["StandardOutputContent"].split() == [
        identifier,
        "c5.large",
        "us-east-1",
        instances.ami,
        described["PrivateIpAddress"],
        "known",
    ]
    document = json.loads(ask("dynamic/instance-identity/document"))
    assert (document["instanceId"], document["region"]) == (identifier, "us-east-1")
    information = json.loads(ask("meta-data/iam/info"))
    assert information["InstanceProfileArn"] == described["IamInstanceProfile"]["Arn"]
    assert ask("meta-data/iam/security-credentials/").strip() == "knows-itself"
    assert json.loads(ask("meta-data/iam/security-credentials/knows-itself"))["Code"] == "Success"
    assert "iam/" in ask("meta-data/").split()
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_version_2_is_required_by_default_and_may_be_waived(instances: Instances) -> None:
    profile = {"Name": instances.profile("version-2")}
    identifier = instances.running(IamInstanceProfile=profile)

    def statuses() -> list[str]:
        code = "curl -s -o /dev/null -w '%{http_code}\\n'"
        base = "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest"
        done = instances.run_command(
            identifier,
            f"{code} {base}/meta-data/instance-id",
            f"{code} -H 'X-aws-ec2-metadata-token: made-up' {base}/meta-data/instance-id",
            f"{code} -X PUT {base}/api/token",
            f"{code} -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' -H 'X-Forwarded-For: me' {base}/api/token",
            f'{ASK} {code} -H "X-aws-ec2-metadata-token: $TOKEN" {base}/meta-data/spot/instance-action',
        )
        return list(done["StandardOutputContent"].split())

    assert statuses() == ["401", "401", "400", "403", "404"]
    instances.ec2.modify_instance_metadata_options(InstanceId=identifier, HttpTokens="optional", HttpEndpoint="enabled")
    assert statuses() == ["200", "401", "400", "403", "404"]
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_the_cli_and_boto3_inside_are_the_role(instances: Instances) -> None:
    identifier = instances.running(IamInstanceProfile={"Name": instances.profile("is-the-role")})
    python = "import boto3; print(boto3.client('sts', 'us-east-1').get_caller_identity()['Arn'])"
    done = instances.run_command(
        identifier, "aws sts get-caller-identity --query Arn --output text", f'python3 -c "{python}"'
    )
    arn = f"arn:aws:sts::123456789012:assumed-role/is-the-role/{identifier}"
    assert done["StandardOutputContent"].split() == [arn, arn], done["StandardErrorContent"]
    allowed = instances.run_command(identifier, "aws s3api list-buckets --query Owner", "aws iam list-users")
    assert allowed["StandardOutputContent"], "its policy lets it list buckets"
    assert f"AccessDenied) when calling the ListUsers operation: User: {arn} is not" in allowed["StandardErrorContent"]
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_without_a_usable_role_there_are_no_credentials(instances: Instances) -> None:
    untrusting = {"Name": instances.profile("untrusting", service="lambda.amazonaws.com")}
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "404"),
        ({"IamInstanceProfile": untrusting}, "AssumeRoleUnauthorizedAccess"),
    ]
    for changes, expected in cases:
        script = ASK + "ask meta-data/iam/info; echo; aws sts get-caller-identity"
        identifier = instances.launch(script, **changes)
        console = instances.said(identifier, "exit code")
        assert expected in console or "Not Found" in console
        assert "Unable to locate credentials" in console
        instances.ec2.terminate_instances(InstanceIds=[identifier])
