"""SageMaker notebook instances: records with AWS's states. There is no Jupyter server behind them."""

from __future__ import annotations

from typing import Any, NoReturn

from ..engines.notebook_instances import (
    FROM,
    LOGS,
    TABLE,
    USES_INSTANCE,
    NotebookInstances,
    decode,
    failure,
    faults,
)
from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..store import Document, Exists
from ..tags import from_list
from .notebook_lifecycles import find as find_lifecycle
from .notebook_lifecycles import is_of_time

PAGE = 10
PRINCIPAL = "sagemaker.amazonaws.com"
ENDED_PLATFORMS = ("notebook-al1", "notebook-al2-")
DEFAULTS: dict[str, Any] = {
    "DirectInternetAccess": "Enabled",
    "VolumeSizeInGB": 5,
    "RootAccess": "Enabled",
    "PlatformIdentifier": "notebook-al2023-v1",
    "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "1"},
}
KEPT = (
    "NotebookInstanceName InstanceType SubnetId IpAddressType RoleArn KmsKeyId DirectInternetAccess VolumeSizeInGB "
    "DefaultCodeRepository AdditionalCodeRepositories RootAccess PlatformIdentifier "
    "InstanceMetadataServiceConfiguration"
).split()
SUMMARY = (
    "NotebookInstanceName NotebookInstanceArn NotebookInstanceStatus Url InstanceType CreationTime LastModifiedTime "
    "NotebookInstanceLifecycleConfigName DefaultCodeRepository AdditionalCodeRepositories"
).split()
KEYS = {"Name": "NotebookInstanceName", "CreationTime": "CreationTime", "Status": "NotebookInstanceStatus"}
# What UpdateNotebookInstance takes away, by the member that asks for it.
TAKEN_AWAY = {
    "DisassociateLifecycleConfig": "NotebookInstanceLifecycleConfigName",
    "DisassociateDefaultCodeRepository": "DefaultCodeRepository",
    "DisassociateAdditionalCodeRepositories": "AdditionalCodeRepositories",
}


@operation("sagemaker", "CreateNotebookInstance")
def create(request: Request, params: Params) -> Params:
    """Check, record, and start: ``Pending``, then ``InService`` or ``Failed``."""
    name = params["NotebookInstanceName"]
    arn, now = request.arn("sagemaker", f"{TABLE}/{name}"), request.cloud.clock.now()
    if _instances(request).find(request.region, name) is not None:
        _refuse_duplicate(arn)
    _check(request, {**DEFAULTS, **params})
    _check_quota(request, params["InstanceType"])
    document: Document = {
        **DEFAULTS,
        **{member: params[member] for member in KEPT if member in params},
        "NotebookInstanceArn": arn,
        "SecurityGroups": params.get("SecurityGroupIds") or None,
        "Url": f"{name.lower()}.notebook.{request.region}.sagemaker.aws",
        "CreationTime": now,
    }
    if "LifecycleConfigName" in params:
        document["NotebookInstanceLifecycleConfigName"] = params["LifecycleConfigName"]
    trouble = _trouble(request, document, "OnCreate", "OnStart")
    try:
        _instances(request).add(request.region, document, **trouble)
    except Exists:
        _refuse_duplicate(arn)
    if params.get("Tags"):
        request.cloud.tags.add(arn, from_list(params["Tags"]))
    return {"NotebookInstanceArn": arn}


@operation("sagemaker", "DescribeNotebookInstance")
def describe(request: Request, params: Params) -> Params:
    """An instance as it is now."""
    return _find(request, params)


@operation("sagemaker", "ListNotebookInstances")
def list_all(request: Request, params: Params) -> Params:
    """Summaries of the region's instances: filtered, sorted, in pages."""
    found = [one for one in _instances(request).list(request.region) if _passes(one, params)]
    key = KEYS[params.get("SortBy", "Name")]
    found.sort(key=lambda one: one[key], reverse=params.get("SortOrder") == "Descending")
    shown, token = page(found, "NotebookInstanceName", params.get("NextToken"), params.get("MaxResults", PAGE))
    summaries = [{member: one[member] for member in SUMMARY if member in one} for one in shown]
    return {"NotebookInstances": summaries, "NextToken": token}


@operation("sagemaker", "UpdateNotebookInstance")
def update(request: Request, params: Params) -> Params:
    """Change a stopped instance: ``Updating``, then ``Stopped`` again."""
    instance = _able(request, params, "Updating")
    changed = {**instance, **{member: params[member] for member in KEPT if member in params}}
    if "LifecycleConfigName" in params:
        changed["NotebookInstanceLifecycleConfigName"] = params["LifecycleConfigName"]
    for asked, member in TAKEN_AWAY.items():
        if params.get(asked):
            changed.pop(member, None)
    if changed["VolumeSizeInGB"] < instance["VolumeSizeInGB"]:
        refuse(
            "ValidationException",
            f"Volume size cannot be decreased: it is {instance['VolumeSizeInGB']} GB, {changed['VolumeSizeInGB']} GB "
            f"were requested for Notebook Instance ({instance['NotebookInstanceArn']})",
        )
    _check(request, {**changed, **params})
    changed.pop("FailureReason", None)
    _enter(request, changed, "Updating")
    return {}


@operation("sagemaker", "StartNotebookInstance")
def start(request: Request, params: Params) -> None:
    """Start a stopped instance: its ``OnStart`` script runs again."""
    instance = _able(request, params, "Pending")
    _check_quota(request, instance["InstanceType"])
    instance.pop("FailureReason", None)
    _enter(request, instance, "Pending", **_trouble(request, instance, "OnStart"))


@operation("sagemaker", "StopNotebookInstance")
def stop(request: Request, params: Params) -> None:
    """Stop an instance; its volume stays, and bills."""
    _enter(request, _able(request, params, "Stopping"), "Stopping")


@operation("sagemaker", "DeleteNotebookInstance")
def delete(request: Request, params: Params) -> None:
    """Delete a stopped instance and its volume."""
    instance = _able(request, params, "Deleting")
    _enter(request, instance, "Deleting")
    request.cloud.tags.forget(instance["NotebookInstanceArn"])


@operation("sagemaker", "CreatePresignedNotebookInstanceUrl")
def create_presigned_url(request: Request, params: Params) -> NoReturn:
    """Refused: there is nothing that the address could lead to."""
    instance = _find(request, params)
    if instance["NotebookInstanceStatus"] != "InService":
        _refuse_status(instance, ("InService",), "presigned URL")
    raise NotImplementedHere(
        "CreatePresignedNotebookInstanceUrl",
        "No Jupyter server is behind a notebook instance here: open the notebooks on this machine (jupyter lab).",
    )


# ---- what they have in common ----


def _instances(request: Request) -> NotebookInstances:
    return NotebookInstances(request.cloud.store, request.cloud.clock)


def _find(request: Request, params: Params) -> Document:
    found = _instances(request).find(request.region, params["NotebookInstanceName"])
    return found if found is not None else refuse("ValidationException", "RecordNotFound")


def _able(request: Request, params: Params, status: str) -> Document:
    """The instance, if it can enter a state from the one that it is in."""
    instance = _find(request, params)
    if instance["NotebookInstanceStatus"] not in FROM[status]:
        _refuse_status(instance, FROM[status], status)
    return instance


def _refuse_duplicate(arn: str) -> NoReturn:
    refuse("ValidationException", f"Cannot create a duplicate Notebook Instance ({arn})")


def _refuse_status(instance: Document, allowed: tuple[str, ...], wanted: str) -> NoReturn:
    refuse(
        "ValidationException",
        f"Status ({instance['NotebookInstanceStatus']}) not in ([{', '.join(allowed)}]). Unable to transition to "
        f"({wanted}) for Notebook Instance ({instance['NotebookInstanceArn']})",
    )


def _enter(request: Request, instance: Document, status: str, **more: object) -> None:
    """Enter a state, unless another call has been faster."""
    instead = _instances(request).enter(request.region, instance, status, **more)
    if instead == {}:
        refuse("ValidationException", "RecordNotFound")
    if instead:
        _refuse_status(instead, FROM[status], status)


def _trouble(request: Request, instance: Document, *hooks: str) -> dict[str, str]:
    """The failure that a lifecycle script would come to, as a member of the instance that is to start."""
    if "NotebookInstanceLifecycleConfigName" not in instance:
        return {}
    lifecycle = find_lifecycle(request, instance["NotebookInstanceLifecycleConfigName"], "describe")
    told = [line for hook in hooks for line in _try(request, instance, lifecycle, hook)]
    arn = lifecycle["NotebookInstanceLifecycleConfigArn"]
    return {"Trouble": failure(arn, instance["NotebookInstanceArn"])} if told else {}


def _try(request: Request, instance: Document, lifecycle: Document, hook: str) -> list[str]:
    """What is wrong with a hook's script; it is written to the log that AWS writes the script's output to."""
    stamp = f"{request.cloud.clock.now():%Y-%m-%d-%H-%M}"
    scripts = [decode(one.get("Content", "")) or "" for one in lifecycle.get(hook, [])]
    told = [line for script in scripts for line in faults(script, f"/tmp/{hook}_{stamp}")]
    if told:
        name = f"{instance['NotebookInstanceName']}/LifecycleConfig{hook}"
        stream = request.cloud.monitoring.log_stream(request.region, LOGS, name)
        for line in told:
            stream.write(line)
        stream.flush()
    return told


def _check(request: Request, wanted: Params) -> None:
    """Raise what AWS raises for what an instance cannot have."""
    if wanted.get("AcceleratorTypes"):
        raise NotImplementedHere("a notebook instance with AcceleratorTypes", "Elastic Inference has ended.")
    platform = wanted["PlatformIdentifier"]
    if platform.startswith(ENDED_PLATFORMS):
        refuse("ValidationException", f"Platform {platform} has ended. Please use notebook-al2023-v1.")
    if wanted["DirectInternetAccess"] == "Disabled" and not wanted.get("SubnetId"):
        refuse("ValidationException", "DirectInternetAccess can be Disabled only with a SubnetId.")
    role = wanted["RoleArn"]
    if request.cloud.credentials.check_trust(role, PRINCIPAL):
        refuse(
            "ValidationException",
            f"Could not assume role {role}. Please ensure that the role exists and allows principal '{PRINCIPAL}' to "
            "assume the role.",
        )
    if wanted.get("LifecycleConfigName"):
        find_lifecycle(request, wanted["LifecycleConfigName"], "describe")


def _check_quota(request: Request, instance_type: str) -> None:
    used = sum(
        one["InstanceType"] == instance_type and one["NotebookInstanceStatus"] in USES_INSTANCE
        for one in _instances(request).list(request.region)
    )
    request.cloud.quotas.check_instances(request.region, instance_type, "notebook instance", 1, used)


def _passes(instance: Document, params: Params) -> bool:
    repositories = instance.get("AdditionalCodeRepositories") or []
    lifecycle = instance.get("NotebookInstanceLifecycleConfigName", "")
    return (
        params.get("NameContains", "") in instance["NotebookInstanceName"]
        and params.get("StatusEquals") in (None, instance["NotebookInstanceStatus"])
        and params.get("NotebookInstanceLifecycleConfigNameContains", "") in lifecycle
        and params.get("DefaultCodeRepositoryContains", "") in instance.get("DefaultCodeRepository", "")
        and params.get("AdditionalCodeRepositoryEquals") in (None, *repositories)
        and is_of_time(instance, params)
    )
