"""Find what the series has made, delete it in the order that stops the bill first, and prove that nothing is left.

``python -m helpers.teardown --dry-run`` lists; without ``--dry-run`` it deletes (``make teardown``). Whatever was
interrupted, in making or in deleting, is found by the next call: by its tag ``project``, or where AWS cannot tag it, by
its name.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from .budgets import budget_name
from .cloud import Cloud, CloudError, connect, tagged
from .notebook_instance import name_of as notebook_name
from .settings import Settings, SettingsError
from .training import stop
from .tuning import stop_tuning

TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
NOTEBOOK_LOGS = "/aws/sagemaker/NotebookInstances"
# Where a SageMaker notebook instance reads its own name.
NOTEBOOK_METADATA = Path("/opt/ml/metadata/resource-metadata.json")
WAIT = {"Delay": 5, "MaxAttempts": 120}


class StillThere(RuntimeError):
    """Something of the project is left; the message names it, and the command that deletes it."""


class Kept(RuntimeError):
    """Something must not be deleted from where this runs; the message says why."""


@dataclass(frozen=True)
class Found:
    """One resource of the project; ``bills`` says whether it costs money as it stands, ``command`` how to delete it."""

    kind: str
    name: str
    bills: str
    command: str


@dataclass(frozen=True)
class Left:
    """One resource that could not be deleted, why, and the command for somebody who can."""

    kind: str
    name: str
    why: str
    command: str


@dataclass(frozen=True)
class Kind:
    """A kind of resource: how it is deleted, how it is looked at (an error of AWS: it is gone), and how it bills."""

    delete: Callable[[Cloud, str], None]
    command: str
    look: Callable[[Cloud, str], Any] | None = None
    bills: str = "no"


# ---- the three steps ----


def find(cloud: Cloud) -> list[Found]:
    """Everything of the project, in the order in which it is to go. What cannot be looked for is said, not skipped."""
    names = dict.fromkeys([*_tagged(cloud), *(found for search in SEARCHES for found in search(cloud))])
    order = list(KINDS)
    unknown = [f"{kind} {name}" for kind, name in names if kind not in KINDS]
    if unknown:
        raise StillThere(f"tagged with the project, but of a kind this series does not make: {', '.join(unknown)}")
    return [
        Found(kind, name, KINDS[kind].bills, _command(kind, name))
        for kind, name in sorted(names, key=lambda it: order.index(it[0]))
    ]


def delete(cloud: Cloud, found: Iterable[Found], say: Callable[[str], None] = print) -> list[Left]:
    """Delete what was found; returns what could not be, with AWS's reason. What is gone already is no error."""
    left = []
    for one in found:
        try:
            KINDS[one.kind].delete(cloud, one.name)
        except (ClientError, WaiterError, Kept) as error:
            if not (isinstance(error, ClientError) and _is_gone(error)):
                left.append(Left(one.kind, one.name, str(error), one.command))
                say(f"KEPT    {one.kind:36} {one.name}: {error}")
                continue
        say(f"deleted {one.kind:36} {one.name}")
    return left


def prove(cloud: Cloud, seconds: float = 60.0) -> bool:
    """Look again, for so many seconds if something is still going; True when nothing is left.

    Raises :class:`StillThere`, which names what is left and the command that deletes it.
    """
    deadline = time.monotonic() + seconds
    while left := find(cloud):
        if time.monotonic() > deadline:
            told = "\n".join(f"  {one.kind} {one.name}: {one.command}" for one in left)
            raise StillThere(f"still there:\n{told}")
        time.sleep(min(5.0, seconds))
    return True


# ---- finding ----

Names = Iterator[tuple[str, str]]


def _tagged(cloud: Cloud) -> list[tuple[str, str]]:
    # The index remembers for a while what has been deleted; EC2's resources are looked for below, by state.
    named = [found for found in tagged(cloud) if not found[0].startswith("ec2:")]
    return [(kind, name) for kind, name in named if kind not in KINDS or _exists(cloud, kind, name)]


def _scaled(cloud: Cloud) -> Names:
    """What application auto scaling has registered for the project's endpoint and function."""
    scaling, settings = cloud.client("application-autoscaling"), cloud.settings
    prefixes = {"sagemaker": f"endpoint/{settings.endpoint_name}/", "lambda": f"function:{settings.function_name}:"}
    for namespace, prefix in prefixes.items():
        pages = scaling.get_paginator("describe_scalable_targets").paginate(ServiceNamespace=namespace)
        for target in (one for page in pages for one in page["ScalableTargets"]):
            if target["ResourceId"].startswith(prefix):
                yield "application-autoscaling:scalable-target", f"{namespace}|{target['ResourceId']}"


def _machines(cloud: Cloud) -> Names:
    """EC2 instances that are not terminated, and security groups."""
    ec2 = cloud.client("ec2")
    mine = {"Name": "tag:project", "Values": [cloud.settings.project]}
    states = {"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down", "stopping", "stopped"]}
    for page in ec2.get_paginator("describe_instances").paginate(Filters=[mine, states]):
        for reservation in page["Reservations"]:
            yield from (("ec2:instance", instance["InstanceId"]) for instance in reservation["Instances"])
    for page in ec2.get_paginator("describe_security_groups").paginate(Filters=[mine]):
        yield from (("ec2:security-group", group["GroupId"]) for group in page["SecurityGroups"])


def _logs(cloud: Cloud) -> Names:
    """Log groups and streams that services made on the project's behalf: AWS does not tag those."""
    logs, settings = cloud.client("logs"), cloud.settings
    for name in (f"/aws/sagemaker/Endpoints/{settings.endpoint_name}", f"/aws/lambda/{settings.function_name}"):
        groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        yield from (("logs:log-group", name) for group in groups if group["logGroupName"] == name)
    for prefix in (settings.single_job_name, settings.spot_job_name, settings.tuning_job_name):
        yield from (
            ("logs:log-stream", f"{TRAINING_LOGS}|{name}") for name in _streams(logs, TRAINING_LOGS, f"{prefix}-")
        )
    for name in _streams(logs, NOTEBOOK_LOGS, f"{notebook_name(cloud)}/"):
        yield "logs:log-stream", f"{NOTEBOOK_LOGS}|{name}"


def _streams(logs: Any, group: str, prefix: str) -> list[str]:
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, logStreamNamePrefix=prefix)
    try:
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def _identities(cloud: Cloud) -> Names:
    """Roles and instance profiles, which the tagging index leaves out: those named like the project and so tagged."""
    iam, project = cloud.client("iam"), cloud.settings.project
    wanted = {"Key": "project", "Value": project}
    for page in iam.get_paginator("list_instance_profiles").paginate():
        names = [one["InstanceProfileName"] for one in page["InstanceProfiles"]]
        for name in (one for one in names if one.startswith(project)):
            if _has(wanted, lambda name: iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"], name):
                yield "iam:instance-profile", name
    for page in iam.get_paginator("list_roles").paginate():
        for name in (one["RoleName"] for one in page["Roles"] if one["RoleName"].startswith(project)):
            if _has(wanted, lambda name: iam.list_role_tags(RoleName=name), name):
                yield "iam:role", name


def _has(wanted: dict[str, str], look: Callable[[str], dict[str, Any]], name: str) -> bool:
    """Whether something has a tag; what somebody else has deleted since it was listed has none."""
    try:
        return wanted in look(name).get("Tags", [])
    except ClientError as error:
        if not _is_gone(error):
            raise
        return False


def _notebooks(cloud: Cloud) -> Names:
    """Lifecycle configurations, by name: not all of AWS's regions tag them."""
    pages = cloud.client("sagemaker").get_paginator("list_notebook_instance_lifecycle_configs")
    for page in pages.paginate(NameContains=cloud.settings.project):
        for one in page["NotebookInstanceLifecycleConfigs"]:
            name = one["NotebookInstanceLifecycleConfigName"]
            if name == notebook_name(cloud):
                yield "sagemaker:notebook-instance-lifecycle-config", name


def _budgets(cloud: Cloud) -> Names:
    pages = cloud.client("budgets").get_paginator("describe_budgets").paginate(AccountId=cloud.account)
    names = [one["BudgetName"] for page in pages for one in page.get("Budgets", [])]
    yield from (("budgets:budget", name) for name in names if name == budget_name(cloud))


SEARCHES = (_scaled, _machines, _logs, _identities, _notebooks, _budgets)


def _exists(cloud: Cloud, kind: str, name: str) -> bool:
    look = KINDS[kind].look
    try:
        if look:
            look(cloud, name)
    except ClientError as error:
        if _is_gone(error):
            return False
        raise
    return True


# ---- deleting ----


def _call(service: str, operation: str, parameter: str) -> Callable[[Cloud, str], Any]:
    """A call that takes only the resource's name."""
    return lambda cloud, name: getattr(cloud.client(service), operation)(**{parameter: name})


def _deregister(cloud: Cloud, name: str) -> None:
    namespace, _, resource = name.partition("|")
    scaling = cloud.client("application-autoscaling")
    found = scaling.describe_scalable_targets(ServiceNamespace=namespace, ResourceIds=[resource])["ScalableTargets"]
    for target in found:
        scaling.deregister_scalable_target(
            ServiceNamespace=namespace, ResourceId=resource, ScalableDimension=target["ScalableDimension"]
        )


def _delete_endpoint(cloud: Cloud, name: str) -> None:
    sagemaker = cloud.client("sagemaker")
    # SystemUpdating: AWS, or a restarted embedded one, renews its instances; until then nothing can be changed.
    unsettled = ("Creating", "Updating", "SystemUpdating", "RollingBack")
    _settle(partial(sagemaker.describe_endpoint, EndpointName=name), "EndpointStatus", unsettled)
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=WAIT)


def _terminate(cloud: Cloud, name: str) -> None:
    ec2 = cloud.client("ec2")
    ec2.terminate_instances(InstanceIds=[name])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[name], WaiterConfig=WAIT)


def _delete_notebook_instance(cloud: Cloud, name: str) -> None:
    if NOTEBOOK_METADATA.exists() and json.loads(NOTEBOOK_METADATA.read_text()).get("ResourceName") == name:
        raise Kept("this very notebook runs on it; stop and delete it from the console or another machine")
    sagemaker, given = cloud.client("sagemaker"), {"NotebookInstanceName": name}
    look = partial(sagemaker.describe_notebook_instance, **given)
    _settle(look, "NotebookInstanceStatus", ("Pending", "Updating", "Stopping"))
    if look()["NotebookInstanceStatus"] == "InService":
        sagemaker.stop_notebook_instance(**given)
        sagemaker.get_waiter("notebook_instance_stopped").wait(**given, WaiterConfig=WAIT)
    if look()["NotebookInstanceStatus"] != "Deleting":
        sagemaker.delete_notebook_instance(**given)
    sagemaker.get_waiter("notebook_instance_deleted").wait(**given, WaiterConfig=WAIT)


def _delete_tuning_job(cloud: Cloud, name: str) -> None:
    """Only ended jobs can be deleted: one that runs is stopped first, and its trials with it."""
    sagemaker, given = cloud.client("sagemaker"), {"HyperParameterTuningJobName": name}
    look = partial(sagemaker.describe_hyper_parameter_tuning_job, **given)
    stop_tuning(cloud, name)
    _settle(look, "HyperParameterTuningJobStatus", ("InProgress", "Stopping"))
    sagemaker.delete_hyper_parameter_tuning_job(**given)


def _delete_training_job(cloud: Cloud, name: str) -> None:
    """Only ended jobs can be deleted: one that runs is stopped first."""
    sagemaker, given = cloud.client("sagemaker"), {"TrainingJobName": name}
    stop(cloud, name)  # or it is being stopped already, as by an interrupt
    _settle(partial(sagemaker.describe_training_job, **given), "TrainingJobStatus", ("InProgress", "Stopping"))
    sagemaker.delete_training_job(**given)


def _settle(look: Callable[[], dict[str, Any]], member: str, moving: tuple[str, ...], seconds: float = 900) -> None:
    """Wait until a resource is in no status that it will leave by itself: AWS deletes nothing that is on its way."""
    deadline, pause = time.monotonic() + seconds, 0.2
    while look()[member] in moving and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(5.0, 1.5 * pause)


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
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):  # parts of an interrupted upload are billed, and are in no listing
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    s3.delete_bucket(Bucket=name)


def _delete_instance_profile(cloud: Cloud, name: str) -> None:
    iam = cloud.client("iam")
    for role in iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=name)


def _delete_role(cloud: Cloud, name: str) -> None:
    role = cloud.session.resource("iam").Role(name)
    for policy in role.policies.all():
        policy.delete()
    for attached in role.attached_policies.all():
        role.detach_policy(PolicyArn=attached.arn)
    role.delete()


def _delete_stream(cloud: Cloud, name: str) -> None:
    group, _, stream = name.partition("|")
    cloud.client("logs").delete_log_stream(logGroupName=group, logStreamName=stream)


# What bills by the hour goes first: if something fails half-way, the meter has stopped. Then what others depend on.
KINDS = {
    "application-autoscaling:scalable-target": Kind(
        _deregister, "aws application-autoscaling deregister-scalable-target --resource-id {name}"
    ),
    "sagemaker:endpoint": Kind(
        _delete_endpoint,
        "aws sagemaker delete-endpoint --endpoint-name {name}",
        _call("sagemaker", "describe_endpoint", "EndpointName"),
        "by the hour",
    ),
    "ec2:instance": Kind(_terminate, "aws ec2 terminate-instances --instance-ids {name}", bills="by the hour"),
    "sagemaker:hyper-parameter-tuning-job": Kind(
        _delete_tuning_job,
        "aws sagemaker delete-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name {name}",
        _call("sagemaker", "describe_hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
        "by the hour while it runs",
    ),
    "sagemaker:training-job": Kind(
        _delete_training_job,
        "aws sagemaker delete-training-job --training-job-name {name}",
        _call("sagemaker", "describe_training_job", "TrainingJobName"),
        "by the hour while it runs",
    ),
    "sagemaker:notebook-instance": Kind(
        _delete_notebook_instance,
        "aws sagemaker delete-notebook-instance --notebook-instance-name {name}",
        _call("sagemaker", "describe_notebook_instance", "NotebookInstanceName"),
        "by the hour",
    ),
    "lambda:function": Kind(
        _call("lambda", "delete_function", "FunctionName"),
        "aws lambda delete-function --function-name {name}",
        _call("lambda", "get_function", "FunctionName"),
        "by the request; provisioned concurrency by the hour",
    ),
    "sagemaker:endpoint-config": Kind(
        _call("sagemaker", "delete_endpoint_config", "EndpointConfigName"),
        "aws sagemaker delete-endpoint-config --endpoint-config-name {name}",
        _call("sagemaker", "describe_endpoint_config", "EndpointConfigName"),
    ),
    "sagemaker:model": Kind(
        _call("sagemaker", "delete_model", "ModelName"),
        "aws sagemaker delete-model --model-name {name}",
        _call("sagemaker", "describe_model", "ModelName"),
    ),
    "sagemaker:notebook-instance-lifecycle-config": Kind(
        _call("sagemaker", "delete_notebook_instance_lifecycle_config", "NotebookInstanceLifecycleConfigName"),
        "aws sagemaker delete-notebook-instance-lifecycle-config --notebook-instance-lifecycle-config-name {name}",
        _call("sagemaker", "describe_notebook_instance_lifecycle_config", "NotebookInstanceLifecycleConfigName"),
    ),
    "cloudwatch:alarm": Kind(
        lambda cloud, name: cloud.client("cloudwatch").delete_alarms(AlarmNames=[name]),
        "aws cloudwatch delete-alarms --alarm-names {name}",
        bills="by the month",
    ),
    "logs:log-group": Kind(
        _call("logs", "delete_log_group", "logGroupName"),
        "aws logs delete-log-group --log-group-name {name}",
        bills="by the GB-month",
    ),
    "logs:log-stream": Kind(
        _delete_stream, "aws logs delete-log-stream --log-group-name {group} --log-stream-name {name}"
    ),
    "s3:bucket": Kind(
        _delete_bucket, "aws s3 rb --force s3://{name}", _call("s3", "head_bucket", "Bucket"), "by the GB-month"
    ),
    "ec2:security-group": Kind(
        _call("ec2", "delete_security_group", "GroupId"), "aws ec2 delete-security-group --group-id {name}"
    ),
    "iam:instance-profile": Kind(
        _delete_instance_profile, "aws iam delete-instance-profile --instance-profile-name {name}"
    ),
    "iam:role": Kind(_delete_role, "aws iam delete-role --role-name {name}"),
    "budgets:budget": Kind(
        lambda cloud, name: cloud.client("budgets").delete_budget(AccountId=cloud.account, BudgetName=name),
        "aws budgets delete-budget --account-id … --budget-name {name}",
    ),
}


def _command(kind: str, name: str) -> str:
    where, _, own = name.rpartition("|")
    return KINDS[kind].command.format(name=own, group=where)


def _is_gone(error: ClientError) -> bool:
    """SageMaker words a missing resource as a validation error, EC2 as InvalidGroup.NotFound and the like."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code in ("NoSuchEntity", "NoSuchBucket", "404", "NotFoundException", "ObjectNotFoundException"):
        return True
    if "NotFound" in code:
        return True
    return code == "ValidationException" and any(
        words in message for words in ("Could not find", "not found", "does not exist", "RecordNotFound")
    )


# ---- the command ----


def main(arguments: list[str] | None = None) -> int:
    """0 when nothing is left (or with ``--dry-run``), 1 when something is, 2 when a setting is bad."""
    parser = argparse.ArgumentParser(prog="python -m helpers.teardown", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--project", default="dog-breeds", help="prefix of every name (default: %(default)s)")
    parser.add_argument("--target", default="local", choices=("local", "aws"), help="default: %(default)s")
    parser.add_argument("--region", default="us-east-1", help="default: %(default)s")
    parser.add_argument("--dry-run", action="store_true", help="list what would be deleted, and delete nothing")
    options = vars(parser.parse_args(arguments))
    dry_run = options.pop("dry_run")
    try:
        cloud = connect(Settings.of(**options))
    except (SettingsError, CloudError) as error:
        print(error, file=sys.stderr)
        return 2
    found = find(cloud)
    for one in found if dry_run else ():
        print(f"{one.kind:40} {one.name}  (bills: {one.bills})")
    if dry_run:
        return 0
    left = delete(cloud, found)
    for gone in left:
        print(f"{gone.kind} {gone.name} is still there ({gone.why}): {gone.command}", file=sys.stderr)
    if not left and prove(cloud):
        print("nothing is left")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
