"""IAM's reports of what a user or a role has last used, and GetRole, which says when a role was used at all.

Two things differ from AWS, and make the reports say more. AWS counts attempts, refused ones too; here only what was
allowed counts. And AWS tracks the actions of management events only, of some services: of ``s3:GetObject``,
``sagemaker:InvokeEndpoint`` or ``lambda:InvokeFunction`` (data events) and of ``iam:PassRole`` it can only say when
their *service* was used. Here every action is tracked; of those that a policy grants by a wildcard, the used ones.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_GenerateServiceLastAccessedDetails.html
https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetServiceLastAccessedDetails.html
https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from ..last_accessed import Access
from ..paging import page
from ..policy import Document
from ..protocol import known_services, service_model

TABLE, EVERYWHERE = "last-accessed-reports", ""
REPORTS_KEPT = timedelta(days=7)
DEFAULT_ITEMS = 100
ACTIONS = "ACTION_LEVEL"
# IAM's prefixes that botocore has under another name; those of what a policy may mean by "*".
MODELS = {"servicequotas": "service-quotas", "tag": "resourcegroupstaggingapi"}
EVERY_SERVICE = frozenset(
    "application-autoscaling budgets cloudwatch dynamodb ec2 ecr iam kms lambda logs pricing s3 sagemaker "
    "secretsmanager servicequotas sns sqs ssm sts tag".split()
)
Service = dict[str, Any]


@operation("iam", "GenerateServiceLastAccessedDetails")
def generate_service_last_accessed_details(request: Request, params: Params) -> Params:
    """The report of this moment, for a user or a role; it is complete at once and kept for seven days."""
    arn, level = params["Arn"], params.get("Granularity") or "SERVICE_LEVEL"
    identities = request.cloud.authorization.identities
    entity, caller = identities.entity(arn), identities.named(arn)
    if entity is None or caller is None:
        if arn.split(":", 5)[-1].startswith(("group/", "policy/")):
            raise NotImplementedHere("last accessed details of groups and policies", "Ask for users or roles.")
        refuse("NoSuchEntity", f"ARN {arn} cannot be found.", status=404)
    now = datetime.now(UTC)
    used = request.cloud.last_accessed.of(arn, _created(entity))
    found = services(caller.policies.identity, used, arn, actions=level == ACTIONS)
    table = request.cloud.store.table(TABLE)
    for _, name, report in table.everywhere():
        if report["JobCreationDate"] < now - REPORTS_KEPT:
            table.delete(EVERYWHERE, name)
    job = str(uuid.uuid4())
    table.put(EVERYWHERE, job, {"JobType": level, "JobCreationDate": now, "ServicesLastAccessed": found})
    return {"JobId": job}


@operation("iam", "GetServiceLastAccessedDetails")
def get_service_last_accessed_details(request: Request, params: Params) -> Params:
    """A report that was generated."""
    report = request.cloud.store.table(TABLE).find(EVERYWHERE, params["JobId"])
    if report is None:
        refuse("NoSuchEntity", f"Job {params['JobId']} cannot be found.", status=404)
    size = params.get("MaxItems") or DEFAULT_ITEMS
    shown, marker = page(report["ServicesLastAccessed"], "ServiceNamespace", params.get("Marker"), size, "InvalidInput")
    ended = {
        "JobStatus": "COMPLETED",
        "JobCompletionDate": report["JobCreationDate"],
        "IsTruncated": marker is not None,
    }
    return report | ended | {"ServicesLastAccessed": list(shown)} | ({"Marker": marker} if marker else {})


@operation("iam", "GetRole")
def get_role(request: Request, params: Params) -> Params:
    """A role, and when and where its credentials were last used."""
    cloud, name = request.cloud, params["RoleName"]
    with cloud.records.lock("iam"):
        arn = cloud.authorization.identities.entity_arn("role", name)
        if arn is None:
            refuse("NoSuchEntity", f"The role with name {name} cannot be found.", status=404)
        role = cloud.authorization.identities.role(arn)
        described = {
            "Path": role.path,
            "RoleName": role.name,
            "RoleId": role.id,
            "Arn": role.arn,
            "CreateDate": _created(role),
            "AssumeRolePolicyDocument": quote(role.assume_role_policy_document),
            "MaxSessionDuration": int(role.max_session_duration or 3600),
            "Description": role.description or None,
            "PermissionsBoundary": role.permissions_boundary,
            "Tags": list(role.tags or []) or None,
        }
    used = cloud.last_accessed.of(arn, described["CreateDate"])
    last = _latest(used.values())
    described["RoleLastUsed"] = {"LastUsedDate": last.at, "Region": last.region} if last else {}
    return {"Role": {member: value for member, value in described.items() if value is not None}}


def services(documents: Iterable[Document], used: Mapping[str, Access], arn: str, *, actions: bool) -> list[Service]:
    """The services that identity policies allow, by their prefixes, each with its last use and those of its actions."""
    granted = _granted(documents)
    prefixes = {action.partition(":")[0] for action in granted if ":" in action}
    if any(":" not in action for action in granted):  # "*", or all but what NotAction names
        prefixes |= EVERY_SERVICE
    return [_service(prefix, granted, used, arn, actions=actions) for prefix in sorted(prefixes)]


def _service(prefix: str, granted: set[str], used: Mapping[str, Access], arn: str, *, actions: bool) -> Service:
    mine = {action: access for action, access in used.items() if action.partition(":")[0] == prefix}
    found: Service = {"ServiceName": _name(prefix), "ServiceNamespace": prefix, "TotalAuthenticatedEntities": 0}
    last = _latest(mine.values())
    if last:
        found |= {"LastAuthenticated": last.at, "LastAuthenticatedEntity": arn, "TotalAuthenticatedEntities": 1}
        found |= {"LastAuthenticatedRegion": last.region} if last.region else {}
    if actions:
        known = {action.lower(): action for action in mine}
        exact = (one for one in granted if one.startswith(f"{prefix}:") and not set("*?") & set(one))
        names = {known.get(one.lower(), one) for one in exact} | set(mine)
        found["TrackedActionsLastAccessed"] = [_action(name, mine.get(name), arn) for name in sorted(names)]
    return found


def _action(name: str, access: Access | None, arn: str) -> Service:
    found: Service = {"ActionName": name.partition(":")[2]}
    if access:
        found |= {"LastAccessedEntity": arn, "LastAccessedTime": access.at}
        found |= {"LastAccessedRegion": access.region} if access.region else {}
    return found


def _granted(documents: Iterable[Document]) -> set[str]:
    """The actions that policies allow, as they are written, prefixes in lower case; "*" for all, or all but some."""
    found = set()
    for statement in (one for document in documents for one in _list(json.loads(document.text)["Statement"])):
        if statement["Effect"] == "Allow":
            # Read documents have lost their actions' capital letters, which a report shows.
            for written in _list(statement.get("Action", "*")):
                prefix, colon, action = written.partition(":")
                found.add(f"{prefix.lower()}{colon}{action}")
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(prefix: str) -> str:
    model = MODELS.get(prefix, prefix)
    return str(service_model(model).metadata["serviceFullName"]) if model in known_services() else prefix


def _latest(accesses: Iterable[Access]) -> Access | None:
    return max(accesses, key=lambda one: one.at, default=None)


def _created(entity: Any) -> datetime:
    created: datetime = entity.create_date
    return created if created.tzinfo else created.replace(tzinfo=UTC)
