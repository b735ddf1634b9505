"""Roles of the series: who may do what, on what, and why; each role has only what its actor needs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from .cloud import Cloud

POLICY = "least-privilege"
FULL_ACCESS = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
# IAM tells the other services of a change within some seconds.
PROPAGATION_SECONDS = 60.0
# These say for whose account they take a role. EC2 does not: a condition on it would lock its instances out.
NAME_THEIR_SOURCE = frozenset({"sagemaker.amazonaws.com", "lambda.amazonaws.com"})
DENIAL = re.compile(
    r"User: (?P<who>\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r'(?: on resource: (?:"(?P<quoted>[^"\n]*)"|(?P<resource>\S+)))?'
    r"(?: (?P<why>because [^\n]*|with an explicit deny[^\n]*))?"
)
T = TypeVar("T")
Question = tuple[str, str]  # an action and a resource


@dataclass(frozen=True)
class Permission:
    """One row of a role's policy, and the reason for it."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str
    condition: Mapping[str, Mapping[str, Any]] | None = None

    def statement(self) -> dict[str, Any]:
        """As IAM reads it."""
        read: dict[str, Any] = {"Effect": "Allow", "Action": list(self.actions), "Resource": list(self.resources)}
        return read | ({"Condition": self.condition} if self.condition else {})


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
    return [endpoint_permission(cloud), log_permission(cloud)]


def endpoint_permission(cloud: Cloud) -> Permission:
    """To ask the project's endpoint, and no other."""
    endpoint = f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:endpoint/{cloud.settings.endpoint_name}"
    return Permission(("sagemaker:InvokeEndpoint",), (endpoint,), "ask the endpoint for a breed")


def log_permission(cloud: Cloud) -> Permission:
    """To write the function's own log."""
    logs = f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:/aws/lambda/{cloud.settings.function_name}"
    actions = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
    return Permission(actions, (logs, f"{logs}:*"), "write its log")


def ensure_sagemaker_role(cloud: Cloud) -> str:
    """The role of training jobs and endpoints; its ARN."""
    return ensure_role(
        cloud, cloud.settings.sagemaker_role_name, "sagemaker.amazonaws.com", sagemaker_permissions(cloud)
    )


def ensure_function_role(cloud: Cloud, permissions: list[Permission] | None = None) -> str:
    """The role of the Lambda function, with other ``permissions`` than its own where they are given; its ARN."""
    wanted = function_permissions(cloud) if permissions is None else permissions
    return ensure_role(cloud, cloud.settings.function_role_name, "lambda.amazonaws.com", wanted)


def ensure_role(
    cloud: Cloud,
    name: str,
    service: str,
    permissions: list[Permission],
    tags: list[dict[str, str]] | None = None,
) -> str:
    """A role that ``service`` may take, with exactly ``permissions`` (a changed list replaces the old); its ARN.

    Its ``tags`` are the project's, by which teardown finds it, unless others are given.
    The service may take it for this account only, where it says for whom it does.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    iam = cloud.client("iam")
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if service in NAME_THEIR_SOURCE:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": cloud.account}}
    trust = _policy([statement])
    try:
        iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=trust,
            Tags=cloud.tags if tags is None else tags,
            Description="See notebook 01_setup.",
        )
        iam.get_waiter("role_exists").wait(RoleName=name)
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
    iam.put_role_policy(RoleName=name, PolicyName=POLICY, PolicyDocument=document(permissions))
    return str(iam.get_role(RoleName=name)["Role"]["Arn"])


def document(permissions: Iterable[Permission]) -> str:
    """A policy with these permissions, as IAM takes it."""
    return _policy([one.statement() for one in permissions])


def grant(cloud: Cloud, role_name: str, permission: Permission) -> None:
    """Add one permission to a role of :func:`ensure_role`; one that it has is not added again."""
    iam = cloud.client("iam")
    held = iam.get_role_policy(RoleName=role_name, PolicyName=POLICY)["PolicyDocument"]
    statement = json.loads(json.dumps(permission.statement()))
    if statement not in held["Statement"]:
        iam.put_role_policy(
            RoleName=role_name, PolicyName=POLICY, PolicyDocument=_policy([*held["Statement"], statement])
        )


def once_effective(call: Callable[[], T], works: Callable[[T], bool], seconds: float = PROPAGATION_SECONDS) -> T:
    """Call until it works: a permission just granted takes some seconds to be known everywhere. The last answer."""
    deadline = time.monotonic() + seconds
    while not works(answer := call()) and time.monotonic() < deadline:
        time.sleep(1.0)
    return answer


# ---- a refusal, and what would have been allowed ----


def read_denial(message: str) -> dict[str, str]:
    """What a message of AWS (or a log that has one) says of a refused call: ``who``, ``action``, ``resource``, ``why``.

    What the message does not say is empty. Raises ``ValueError`` for a text without a refusal.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html

    >>> read_denial("User: arn:aws:iam::1:user/me is not authorized to perform: s3:ListAllMyBuckets")["action"]
    's3:ListAllMyBuckets'
    """
    found = DENIAL.search(message)
    if found is None:
        raise ValueError(f"this says nothing of a call that was not authorized: {message[:200]}")
    resource = found["quoted"] if found["quoted"] is not None else found["resource"] or ""
    return {"who": found["who"], "action": found["action"], "resource": resource, "why": (found["why"] or "").rstrip()}


def temptations(cloud: Cloud) -> list[Question]:
    """What the function could be asked to do once somebody else's code runs in it: its own task first."""
    bucket, everywhere = f"arn:aws:s3:::{cloud.bucket}", f"{cloud.region}:{cloud.account}"
    endpoint = f"arn:aws:sagemaker:{everywhere}:endpoint"
    own = f"{endpoint}/{cloud.settings.endpoint_name}"
    return [
        ("sagemaker:InvokeEndpoint", own),
        ("sagemaker:InvokeEndpoint", f"{endpoint}/somebody-elses"),
        ("sagemaker:DeleteEndpoint", own),
        ("sagemaker:UpdateEndpoint", own),
        ("sagemaker:CreateTrainingJob", f"arn:aws:sagemaker:{everywhere}:training-job/miner"),
        ("sagemaker:CreatePresignedNotebookInstanceUrl", f"arn:aws:sagemaker:{everywhere}:notebook-instance/any"),
        ("iam:PassRole", f"arn:aws:iam::{cloud.account}:role/AmazonSageMaker-ExecutionRole"),
        ("s3:ListBucket", bucket),
        ("s3:GetObject", "arn:aws:s3:::somebodys-sagemaker-bucket/secret"),
        ("s3:DeleteObject", "arn:aws:s3:::somebodys-sagemaker-bucket/secret"),
        ("logs:GetLogEvents", f"arn:aws:logs:{everywhere}:log-group:any:log-stream:any"),
        ("iam:CreateUser", f"arn:aws:iam::{cloud.account}:user/intruder"),
    ]


def would_allow(
    cloud: Cloud, policies: Mapping[str, str | list[Permission]], questions: Iterable[Question]
) -> list[dict[str, str]]:
    """Ask IAM's simulator what policies would allow: a row for each question, a column for each policy by its name.

    ``of`` is the resource without account and region. A policy is a list of permissions, or a managed policy's ARN.
    Roles are passed to SageMaker.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html
    """
    iam, rows = cloud.client("iam"), []
    texts = {name: _managed(cloud, it) if isinstance(it, str) else document(it) for name, it in policies.items()}
    passed = {
        "ContextKeyName": "iam:PassedToService",
        "ContextKeyType": "string",
        "ContextKeyValues": ["sagemaker.amazonaws.com"],
    }
    asked = list(questions)
    columns = {
        name: _decisions(partial(iam.simulate_custom_policy, PolicyInputList=[text], ContextEntries=[passed]), asked)
        for name, text in texts.items()
    }
    for action, resource in asked:
        row = {"action": action, "on": resource, "of": resource.rpartition(":")[2]}
        rows.append(row | {name: "yes" if found[action, resource] else "no" for name, found in columns.items()})
    return rows


def _decisions(simulate: Callable[..., Any], questions: Iterable[Question]) -> dict[Question, bool]:
    """Whether each is allowed, by one request a resource: IAM takes only a few simulations a second."""
    by_resource: dict[str, list[str]] = {}
    for action, resource in dict.fromkeys(questions):
        by_resource.setdefault(resource, []).append(action)
    return {
        (one["EvalActionName"], resource): one["EvalDecision"] == "allowed"
        for resource, actions in by_resource.items()
        for one in simulate(ActionNames=actions, ResourceArns=[resource])["EvaluationResults"]
    }


def _managed(cloud: Cloud, arn: str) -> str:
    iam = cloud.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return json.dumps(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])


# ---- what was used ----


def audit(cloud: Cloud, stale_days: int = 90) -> list[dict[str, str]]:
    """What each role of the project may do, when it last did it, and what to do about what nobody uses.

    One row for each action that is granted. AWS tracks no data events (``s3:GetObject``, ``sagemaker:InvokeEndpoint``)
    and no ``iam:PassRole``: of those it is told when their *service* was last used. AWS's reports are up to four hours
    late, and as old as the role or 400 days.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html
    """
    rows, oldest = [], datetime.now(UTC) - timedelta(days=stale_days)
    for name in _roles(cloud):
        arn = _role_arn(cloud, name)
        report = _last_accessed(cloud, arn)
        for action in sorted(set(_granted(cloud, name))):
            service, _, verb = action.partition(":")
            uses = report.get(service, {})
            tracked = verb.lower() in uses
            last = uses.get(verb.lower() if tracked else "")
            told = f"{last:%Y-%m-%d %H:%M}" if last else "never"
            of = "action" if tracked else "service"
            rows.append(
                {"role": name, "action": action, "last used": told, "of": of, "what to do": _todo(last, oldest)}
            )
    return rows


def idle_roles(cloud: Cloud, stale_days: int = 90) -> list[dict[str, str]]:
    """The project's roles that nobody has used for so many days, or ever; made since then, they may yet be."""
    rows, oldest = [], datetime.now(UTC) - timedelta(days=stale_days)
    for name in _roles(cloud):
        role = cloud.client("iam").get_role(RoleName=name)["Role"]
        last = role.get("RoleLastUsed", {}).get("LastUsedDate")
        if last and last > oldest:
            continue
        todo = f"aws iam delete-role --role-name {name}" if role["CreateDate"] < oldest else "new: wait"
        rows.append({"role": name, "last used": f"{last:%Y-%m-%d}" if last else "never", "what to do": todo})
    return rows


def _todo(last: datetime | None, oldest: datetime) -> str:
    if last is None:
        return "not used yet: take it away if nothing will"
    return "" if last > oldest else "stale: take it away"


def _roles(cloud: Cloud) -> list[str]:
    iam, wanted = cloud.client("iam"), {"Key": "project", "Value": cloud.settings.project}
    pages = iam.get_paginator("list_roles").paginate()
    names = [one["RoleName"] for page in pages for one in page["Roles"]]
    named = (name for name in names if name.startswith(f"{cloud.settings.project}-"))
    return [name for name in named if wanted in iam.list_role_tags(RoleName=name)["Tags"]]


def _granted(cloud: Cloud, name: str) -> Iterator[str]:
    """The actions that a role's policies allow, as they are written there."""
    role = cloud.session.resource("iam").Role(name)
    documents = [policy.policy_document for policy in role.policies.all()]
    documents += [attached.default_version.document for attached in role.attached_policies.all()]
    for statement in (one for read in documents for one in _list(read["Statement"]) if one["Effect"] == "Allow"):
        yield from _list(statement.get("Action", "*"))


def _last_accessed(cloud: Cloud, arn: str) -> dict[str, dict[str, datetime | None]]:
    """By service, and by lower-case action of it: the last use, or None for never; "" is the service itself."""
    iam = cloud.client("iam")
    job = {"JobId": iam.generate_service_last_accessed_details(Arn=arn, Granularity="ACTION_LEVEL")["JobId"]}
    while (found := iam.get_service_last_accessed_details(**job))["JobStatus"] == "IN_PROGRESS":
        time.sleep(1.0)
    if found["JobStatus"] != "COMPLETED":
        raise RuntimeError(f"IAM has no report on {arn}: {found.get('Error')}")
    services = found["ServicesLastAccessed"]
    while found.get("IsTruncated"):
        found = iam.get_service_last_accessed_details(**job, Marker=found["Marker"])
        services += found["ServicesLastAccessed"]
    return {
        one["ServiceNamespace"]: {
            "": one.get("LastAuthenticated"),
            **{
                tracked["ActionName"].lower(): tracked.get("LastAccessedTime")
                for tracked in one.get("TrackedActionsLastAccessed", [])
            },
        }
        for one in services
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- what may be, in a table, and checked ----


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
        simulate = partial(cloud.client("iam").simulate_principal_policy, PolicySourceArn=arn)
        decisions = _decisions(simulate, [*wanted, *forbidden] if arn else [])
        for expected, questions in (("allowed", wanted), ("denied", forbidden)):
            for action, resource in questions if arn else ():
                found = "allowed" if decisions[action, resource] else "denied"
                right = "yes" if found == expected else "NO"
                rows.append({"role": name, "action": action, "on": resource, "is": found, "as it should be": right})
    return rows


def _role_arn(cloud: Cloud, name: str) -> str:
    iam = cloud.client("iam")
    try:
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])
    except iam.exceptions.NoSuchEntityException:
        return ""


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
