"""Roles of the series: who may do what, on what, and why; each role has only what its actor needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .cloud import Cloud


@dataclass(frozen=True)
class Permission:
    """One row of a role's policy, and the reason for it."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str

    def statement(self) -> dict[str, Any]:
        """As IAM reads it."""
        return {"Effect": "Allow", "Action": list(self.actions), "Resource": list(self.resources)}


def sagemaker_permissions(cloud: Cloud) -> list[Permission]:
    """What a training job and an endpoint need: the project's bucket, their logs and metrics, and their image."""
    bucket = f"arn:aws:s3:::{cloud.bucket}"
    logs = f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:/aws/sagemaker/*"
    return [
        Permission(("s3:ListBucket", "s3:GetBucketLocation"), (bucket,), "find the photos"),
        Permission(("s3:GetObject", "s3:PutObject"), (f"{bucket}/*",), "read photos and weights, write models"),
        Permission(
            ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
            (logs,),
            "write the log that the notebook follows",
        ),
        # PutMetricData and GetAuthorizationToken know no resources: AWS accepts only "*" for them.
        Permission(("cloudwatch:PutMetricData",), ("*",), "publish loss and accuracy"),
        Permission(("ecr:GetAuthorizationToken",), ("*",), "sign in to the registry of AWS's images"),
        Permission(
            ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"),
            (f"arn:aws:ecr:{cloud.region}:763104351884:repository/*",),
            "pull the PyTorch and Ray images (their account is AWS's)",
        ),
    ]


def function_permissions(cloud: Cloud) -> list[Permission]:
    """What the Lambda function needs: one endpoint, and its own log."""
    name = cloud.settings.function_name
    logs = f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:/aws/lambda/{name}"
    endpoint = f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:endpoint/{cloud.settings.endpoint_name}"
    return [
        Permission(("sagemaker:InvokeEndpoint",), (endpoint,), "ask the endpoint for a breed"),
        Permission(
            ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"), (logs, f"{logs}:*"), "write its log"
        ),
    ]


def ensure_sagemaker_role(cloud: Cloud) -> str:
    """The role of training jobs and endpoints; its ARN."""
    return ensure_role(
        cloud, cloud.settings.sagemaker_role_name, "sagemaker.amazonaws.com", sagemaker_permissions(cloud)
    )


def ensure_function_role(cloud: Cloud) -> str:
    """The role of the Lambda function; its ARN."""
    return ensure_role(cloud, cloud.settings.function_role_name, "lambda.amazonaws.com", function_permissions(cloud))


def ensure_role(cloud: Cloud, name: str, service: str, permissions: list[Permission]) -> str:
    """A role that ``service`` may take, with exactly ``permissions`` (a changed list replaces the old); its ARN."""
    iam = cloud.client("iam")
    trust = _policy([{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}])
    tags = [{"Key": key, "Value": value} for key, value in cloud.settings.tags.items()]
    try:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=tags, Description="See notebook 01_setup.")
        iam.get_waiter("role_exists").wait(RoleName=name)
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
    iam.put_role_policy(
        RoleName=name, PolicyName="least-privilege", PolicyDocument=_policy([one.statement() for one in permissions])
    )
    return str(iam.get_role(RoleName=name)["Role"]["Arn"])


def explain(permissions: list[Permission]) -> list[dict[str, str]]:
    """A table for people: may, on, why."""
    return [{"may": ", ".join(one.actions), "on": ", ".join(one.resources), "why": one.why} for one in permissions]


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
