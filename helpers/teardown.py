"""Find what the series has made, delete it, and prove that nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from .cloud import Cloud

GONE = ("NoSuchEntity", "ResourceNotFound", "ResourceNotFoundException", "NoSuchBucket", "404")


@dataclass(frozen=True)
class Found:
    """One resource of the project; ``bills`` says whether it costs money as it stands."""

    kind: str
    name: str
    bills: str


# What bills by the hour goes first: if something fails half-way, the meter has stopped.
ORDER = (
    "sagemaker:endpoint",
    "lambda:function",
    "sagemaker:training-job",
    "sagemaker:endpoint-config",
    "sagemaker:model",
    "logs:log-group",
    "logs:log-stream",
    "s3:bucket",
    "iam:role",
)
BILLS = {"sagemaker:endpoint": "by the hour", "s3:bucket": "by the GB-month", "logs:log-group": "by the GB-month"}
TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"


def find(cloud: Cloud) -> list[Found]:
    """Everything of the project, in the order in which it is to go."""
    names = [*_tagged(cloud), *_logs(cloud), *_roles(cloud)]
    unique = dict.fromkeys(names)
    return [
        Found(kind, name, BILLS.get(kind, "no")) for kind, name in sorted(unique, key=lambda it: ORDER.index(it[0]))
    ]


def delete(cloud: Cloud, found: list[Found], say: Callable[[str], None] = print) -> None:
    """Delete what was found; what is gone already is no error. Raises ``ClientError`` for anything else."""
    for one in found:
        try:
            DELETERS[one.kind](cloud, one.name)
        except ClientError as error:
            if not _is_gone(error):
                raise
        say(f"deleted {one.kind:26} {one.name}")


def prove(cloud: Cloud) -> bool:
    """Look again; True when nothing is left. Raises ``RuntimeError`` naming what is."""
    left = find(cloud)
    if left:
        raise RuntimeError("still there: " + ", ".join(f"{one.kind} {one.name}" for one in left))
    return True


# ---- finding ----


def _tagged(cloud: Cloud) -> list[tuple[str, str]]:
    pages = cloud.client("resourcegroupstaggingapi").get_paginator("get_resources")
    wanted = [{"Key": "project", "Values": [cloud.settings.project]}]
    arns = [one["ResourceARN"] for page in pages.paginate(TagFilters=wanted) for one in page["ResourceTagMappingList"]]
    named = [_kind_and_name(arn) for arn in arns]
    unknown = [f"{kind} {name}" for kind, name in named if kind not in ORDER]
    if unknown:
        raise RuntimeError(f"tagged with the project, but of a kind this series does not make: {', '.join(unknown)}")
    # AWS answers from an index that remembers deleted resources for a while.
    return [(kind, name) for kind, name in named if _exists(cloud, kind, name)]


def _kind_and_name(arn: str) -> tuple[str, str]:
    service, resource = arn.split(":")[2], arn.split(":", 5)[5]
    if service == "s3":
        return "s3:bucket", resource
    kind, _, name = resource.replace(":", "/", 1).partition("/")
    return f"{service}:{kind}", name


def _logs(cloud: Cloud) -> list[tuple[str, str]]:
    """Log groups and streams that services made on the project's behalf: AWS does not tag those."""
    logs, settings = cloud.client("logs"), cloud.settings
    found = []
    for name in (f"/aws/sagemaker/Endpoints/{settings.endpoint_name}", f"/aws/lambda/{settings.function_name}"):
        groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        found += [("logs:log-group", name) for group in groups if group["logGroupName"] == name]
    for prefix in (settings.single_job_name, settings.spot_job_name):
        found += [("logs:log-stream", name) for name in _training_streams(logs, f"{prefix}-")]
    return found


def _training_streams(logs: Any, prefix: str) -> list[str]:
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=TRAINING_LOGS, logStreamNamePrefix=prefix)
    try:
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def _roles(cloud: Cloud) -> list[tuple[str, str]]:
    """IAM roles are not in the tagging index: take those named like the project, and read their tags."""
    iam, project = cloud.client("iam"), cloud.settings.project
    pages = iam.get_paginator("list_roles").paginate()
    names = [role["RoleName"] for page in pages for role in page["Roles"] if role["RoleName"].startswith(project)]
    wanted = {"Key": "project", "Value": project}
    return [("iam:role", name) for name in names if wanted in iam.list_role_tags(RoleName=name)["Tags"]]


def _exists(cloud: Cloud, kind: str, name: str) -> bool:
    sagemaker = cloud.client("sagemaker")
    look: dict[str, Callable[[], Any]] = {
        "sagemaker:endpoint": lambda: sagemaker.describe_endpoint(EndpointName=name),
        "sagemaker:endpoint-config": lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name),
        "sagemaker:model": lambda: sagemaker.describe_model(ModelName=name),
        "sagemaker:training-job": lambda: sagemaker.describe_training_job(TrainingJobName=name),
        "lambda:function": lambda: cloud.client("lambda").get_function(FunctionName=name),
        "s3:bucket": lambda: cloud.client("s3").head_bucket(Bucket=name),
    }
    try:
        look.get(kind, lambda: None)()
    except ClientError as error:
        if _is_gone(error):
            return False
        raise
    return True


# ---- deleting ----


def _delete_endpoint(cloud: Cloud, name: str) -> None:
    sagemaker = cloud.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 120})


def _delete_training_job(cloud: Cloud, name: str) -> None:
    """Only finished jobs can be deleted: one that runs is stopped first."""
    sagemaker = cloud.client("sagemaker")
    if sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] in ("InProgress", "Stopping"):
        sagemaker.stop_training_job(TrainingJobName=name)
        waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
        waiter.wait(TrainingJobName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 120})
    sagemaker.delete_training_job(TrainingJobName=name)


def _delete_bucket(cloud: Cloud, name: str) -> None:
    s3 = cloud.client("s3")
    # Page by page from the start: what has been deleted is not listed again.
    while True:
        page = s3.list_object_versions(Bucket=name)
        listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not listed:
            break
        doomed = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed]
        s3.delete_objects(Bucket=name, Delete={"Objects": doomed[:1000], "Quiet": True})
    s3.delete_bucket(Bucket=name)


def _delete_role(cloud: Cloud, name: str) -> None:
    role = cloud.session.resource("iam").Role(name)
    for policy in role.policies.all():
        policy.delete()
    for attached in role.attached_policies.all():
        role.detach_policy(PolicyArn=attached.arn)
    role.delete()


DELETERS: dict[str, Callable[[Cloud, str], Any]] = {
    "sagemaker:endpoint": _delete_endpoint,
    "sagemaker:endpoint-config": lambda cloud, name: cloud.client("sagemaker").delete_endpoint_config(
        EndpointConfigName=name
    ),
    "sagemaker:model": lambda cloud, name: cloud.client("sagemaker").delete_model(ModelName=name),
    "sagemaker:training-job": _delete_training_job,
    "lambda:function": lambda cloud, name: cloud.client("lambda").delete_function(FunctionName=name),
    "logs:log-group": lambda cloud, name: cloud.client("logs").delete_log_group(logGroupName=name),
    "logs:log-stream": lambda cloud, name: cloud.client("logs").delete_log_stream(
        logGroupName=TRAINING_LOGS, logStreamName=name
    ),
    "s3:bucket": _delete_bucket,
    "iam:role": _delete_role,
}


def _is_gone(error: ClientError) -> bool:
    """SageMaker words a missing resource as a validation error."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    return code in GONE or (code == "ValidationException" and ("Could not find" in message or "not found" in message))
