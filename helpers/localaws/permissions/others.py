"""The services whose rules are short: an action named as the operation, on what an input names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .ask import ANY, Ask, Need, Rule

# Operations on one stream; the others of CloudWatch Logs are about a group.
ON_STREAMS = frozenset({"CreateLogStream", "DeleteLogStream", "GetLogEvents", "PutLogEvents"})
GROUPLESS = frozenset(
    "DescribeLogGroups ListLogGroups TestMetricFilter DescribeQueries PutIndexPolicy DeleteIndexPolicy "
    "DescribeIndexPolicies".split()
)
VIEW, MODIFY = "budgets:ViewBudget", "budgets:ModifyBudget"


def logs(ask: Ask) -> Iterator[Need]:
    """CloudWatch Logs. A group is written with its streams' part, which is why policies end in ``:*``."""
    name = ask.params.get("logGroupName") or ask.params.get("logGroupIdentifier")
    if ask.params.get("resourceArn"):
        resource = str(ask.params["resourceArn"])
    elif not name or ask.operation in GROUPLESS:
        resource = ANY
    else:
        group = str(name).partition(":log-group:")[2].removesuffix(":*") if str(name).startswith("arn:") else name
        stream = ask.params.get("logStreamName", "") if ask.operation in ON_STREAMS else ""
        resource = ask.arn("logs", f"log-group:{group}:log-stream:{stream}")
    yield Need(ask.action("logs"), resource)


def cloudwatch(ask: Ask) -> Iterator[Need]:
    """CloudWatch: metrics know no resources, alarms and dashboards do."""
    alarms = _list(ask.params.get("AlarmNames") or ask.params.get("AlarmName"))
    if ask.params.get("ResourceARN"):
        resources = [str(ask.params["ResourceARN"])]
    elif alarms:
        resources = [ask.arn("cloudwatch", f"alarm:{one}") for one in alarms]
    elif ask.operation in ("DescribeAlarms", "DescribeAlarmHistory"):
        resources = [ask.arn("cloudwatch", "alarm:*")]
    else:
        names = _list(ask.params.get("DashboardNames") or ask.params.get("DashboardName"))
        resources = [f"arn:aws:cloudwatch::{ask.account}:dashboard/{one}" for one in names] or [ANY]
    for resource in resources:
        yield Need(ask.action("cloudwatch"), resource, {"cloudwatch:namespace": ask.params.get("Namespace")})


def autoscaling(ask: Ask) -> Iterator[Need]:
    """Application Auto Scaling: a scalable target's id is AWS's own, so that policies name all of them."""
    described = ask.operation.startswith("Describe")
    target = ask.params.get("ResourceARN") or ask.arn("application-autoscaling", "scalable-target/*")
    context = {
        "application-autoscaling:service-namespace": ask.params.get("ServiceNamespace"),
        "application-autoscaling:scalable-dimension": ask.params.get("ScalableDimension"),
    }
    yield Need(ask.action("application-autoscaling"), ANY if described else str(target), context)


def ssm(ask: Ask) -> Iterator[Need]:
    """Systems Manager: parameters; commands need their document and their instances."""
    action = ask.action("ssm")
    if ask.operation == "SendCommand":
        document = str(ask.params["DocumentName"])
        owner = "" if document.startswith("AWS-") else ask.account
        yield Need(action, f"arn:aws:ssm:{ask.region}:{owner}:document/{document}")
        for instance in _list(ask.params.get("InstanceIds")) or ["*"]:
            yield Need(action, ask.arn("ec2", f"instance/{instance}"))
        return
    parameters = "Parameter" in ask.operation and ask.operation != "DescribeParameters"
    names = _list(ask.params.get("Names") or ask.params.get("Name") or ask.params.get("Path")) if parameters else []
    for name in names:
        owner = "" if str(name).startswith("/aws/service/") else ask.account
        yield Need(action, f"arn:aws:ssm:{ask.region}:{owner}:parameter/{str(name).lstrip('/')}")
    if not names:
        yield Need(action)


def quotas(ask: Ask) -> Iterator[Need]:
    """Service Quotas."""
    code = ask.params.get("QuotaCode")
    resourceful = ask.operation in (
        "GetServiceQuota", "RequestServiceQuotaIncrease", "ListRequestedServiceQuotaChangeHistoryByQuota",
        "GetServiceQuotaIncreaseRequestFromTemplate", "PutServiceQuotaIncreaseRequestIntoTemplate",
    )  # fmt: skip
    resource = ask.arn("servicequotas", f"{ask.params.get('ServiceCode')}/{code}") if resourceful and code else ANY
    yield Need(ask.action("servicequotas"), resource)


def budgets(ask: Ask) -> Iterator[Need]:
    """Budgets: their permissions are to view or to modify, whatever the operation."""
    name = ask.params.get("BudgetName") or (ask.params.get("Budget") or ask.params.get("NewBudget") or {}).get(
        "BudgetName"
    )
    resource = ask.params.get("ResourceARN") or f"arn:aws:budgets::{ask.account}:budget/{name or '*'}"
    if "Action" in ask.operation or ask.operation.endswith("Resource"):
        yield Need(ask.action("budgets"), str(resource))
    else:
        yield Need(VIEW if ask.operation.startswith("Describe") else MODIFY, str(resource))


def sqs(ask: Ask) -> Iterator[Need]:
    """SQS: a batch needs what each of its messages would."""
    url, name = ask.params.get("QueueUrl"), ask.params.get("QueueName")
    queue = str(url).rsplit("/", 1)[-1] if url else name
    arn = ask.params.get("SourceArn") or (ask.arn("sqs", str(queue)) if queue else ANY)
    yield Need(f"sqs:{ask.operation.removesuffix('Batch')}", str(arn))


def sns(ask: Ask) -> Iterator[Need]:
    """SNS: topics; what is sent elsewhere (to a phone) knows no resource."""
    given = next((ask.params[name] for name in ("TopicArn", "TargetArn", "ResourceArn") if ask.params.get(name)), None)
    if given is None and ask.operation == "CreateTopic":
        given = ask.arn("sns", str(ask.params["Name"]))
    yield Need(f"sns:{ask.operation.removesuffix('Batch')}", str(given or ANY))


def kms(ask: Ask) -> Iterator[Need]:
    """KMS: keys and aliases."""
    if ask.operation == "ReEncrypt":
        source = ask.params.get("SourceKeyId")
        yield Need("kms:ReEncryptFrom", _key(ask, source) if source else ANY)
        yield Need("kms:ReEncryptTo", _key(ask, ask.params["DestinationKeyId"]))
        return
    named = ask.params.get("KeyId") or ask.params.get("TargetKeyId")
    alias = ask.params.get("AliasName")
    if alias:
        yield Need(ask.action("kms"), ask.arn("kms", str(alias)))
    if not alias or named:
        yield Need(ask.action("kms"), _key(ask, named) if named and ask.operation != "ListAliases" else ANY)


def _key(ask: Ask, key: Any) -> str:
    return str(key) if str(key).startswith("arn:") else ask.arn("kms", f"key/{key}")


_TABLELESS = frozenset({"ListBackups", "ListContributorInsights", "ListTables", "ListGlobalTables"})
_TRANSACTIONS = {
    "Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}  # fmt: skip


def dynamodb(ask: Ask) -> Iterator[Need]:
    """DynamoDB: tables; a transaction needs what each of its steps would."""
    if ask.operation in ("TransactGetItems", "TransactWriteItems"):
        for item in ask.params["TransactItems"]:
            for step, one in item.items():
                yield Need(f"dynamodb:{_TRANSACTIONS[step]}", _table(ask, one.get("TableName")))
    elif isinstance(ask.params.get("RequestItems"), dict):
        for name in ask.params["RequestItems"]:
            yield Need(ask.action("dynamodb"), _table(ask, name))
    elif ask.operation not in ("ExecuteStatement", "ExecuteTransaction", "BatchExecuteStatement"):
        arns = (ask.params.get(name) for name in ("ResourceArn", "BackupArn", "TableArn", "ExportArn", "ImportArn"))
        name = ask.params.get("TableName") if ask.operation not in _TABLELESS else None
        resource = _table(ask, name) if name else next((str(one) for one in arns if one), ANY)
        yield Need(ask.action("dynamodb"), resource)


def _table(ask: Ask, name: Any) -> str:
    return str(name) if str(name).startswith("arn:") else ask.arn("dynamodb", f"table/{name}")


def secrets(ask: Ask) -> Iterator[Need]:
    """Secrets Manager."""
    name = ask.params.get("SecretId") or ask.params.get("Name")
    resource = ANY
    if name:
        resource = str(name) if str(name).startswith("arn:") else ask.arn("secretsmanager", f"secret:{name}")
    yield Need(ask.action("secretsmanager"), resource)


def plain(prefix: str) -> Rule:
    """The rule of a service without resources: the action of the operation's name."""

    def rule(ask: Ask) -> Iterator[Need]:
        yield Need(ask.action(prefix))

    return rule


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]
