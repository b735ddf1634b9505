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


def must_not(cloud: Cloud) -> dict[str, list[tuple[str, str]]]:
    """What each role of the series must never be able to do, as actions and resources: what a leaked key would try."""
    bucket, everywhere = f"arn:aws:s3:::{cloud.bucket}", f"{cloud.region}:{cloud.account}"
    endpoint = f"arn:aws:sagemaker:{everywhere}:endpoint"
    function = f"arn:aws:lambda:{everywhere}:function:{cloud.settings.function_name}"
    roles = f"arn:aws:iam::{cloud.account}:role"
    anybody = [
        ("iam:CreateUser", f"arn:aws:iam::{cloud.account}:user/intruder"),
        ("iam:PutRolePolicy", f"{roles}/{cloud.settings.sagemaker_role_name}"),
        ("iam:PassRole", f"{roles}/{cloud.settings.sagemaker_role_name}"),
        ("ec2:RunInstances", f"arn:aws:ec2:{everywhere}:instance/*"),
        ("sagemaker:CreateTrainingJob", f"arn:aws:sagemaker:{everywhere}:training-job/intruder"),
        ("s3:PutBucketPolicy", bucket),
        ("s3:DeleteObject", f"{bucket}/models/model.tar.gz"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses-bucket/secret"),
        ("lambda:UpdateFunctionCode", function),
    ]
    return {
        cloud.settings.sagemaker_role_name: [
            *anybody,
            ("sts:AssumeRole", f"{roles}/{cloud.settings.function_role_name}"),
            ("sagemaker:DeleteEndpoint", f"{endpoint}/{cloud.settings.endpoint_name}"),
            ("lambda:InvokeFunction", function),
        ],
        cloud.settings.function_role_name: [
            *anybody,
            ("sts:AssumeRole", f"{roles}/{cloud.settings.sagemaker_role_name}"),
            ("sagemaker:InvokeEndpoint", f"{endpoint}/somebody-elses"),
            ("sagemaker:UpdateEndpoint", f"{endpoint}/{cloud.settings.endpoint_name}"),
            ("s3:GetObject", f"{bucket}/models/model.tar.gz"),
        ],
    }


def check(cloud: Cloud) -> list[dict[str, str]]:
    """Ask IAM's policy simulator: each role may do what its table says, and nothing of :func:`must_not`.

    One row for each question, with ``as it should be`` "yes" or "NO". Roles that are not there yet give no rows.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    permissions = {
        cloud.settings.sagemaker_role_name: sagemaker_permissions(cloud),
        cloud.settings.function_role_name: function_permissions(cloud),
    }
    rows = []
    for name, forbidden in must_not(cloud).items():
        arn = _role_arn(cloud, name)
        wanted = [
            (action, resource.replace("*", "any") if resource != "*" else resource)
            for one in permissions[name]
            for action in one.actions
            for resource in one.resources
        ]
        for expected, questions in (("allowed", wanted), ("denied", forbidden)):
            for action, resource in questions if arn else ():
                found = "allowed" if _may(cloud, arn, action, resource) else "denied"
                right = "yes" if found == expected else "NO"
                rows.append({"role": name, "action": action, "on": resource, "is": found, "as it should be": right})
    return rows


def _may(cloud: Cloud, arn: str, action: str, resource: str) -> bool:
    answer = cloud.client("iam").simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource]
    )
    return bool(answer["EvaluationResults"][0]["EvalDecision"] == "allowed")


def _role_arn(cloud: Cloud, name: str) -> str:
    iam = cloud.client("iam")
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except iam.exceptions.NoSuchEntityException:
        return ""


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
