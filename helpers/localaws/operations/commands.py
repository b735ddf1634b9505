"""Systems Manager's Run Command on EC2 instances: AWS-RunShellScript, for real.

An instance is managed, as on AWS, while it runs and its profile's role may report to Systems Manager
(``AmazonSSMManagedInstanceCore``, or ``ssm:UpdateInstanceInformation`` in a policy of its own).
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from ..engines.instances import images
from ..engines.instances.commands import RUNNING, TABLE, elapsed, key
from ..engines.instances.instance import Instance
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from ..store import Document

COMMANDS = "ssm-command"
SHELL = "AWS-RunShellScript"
REPORT = "ssm:UpdateInstanceInformation"
LONGEST = "3600"  # seconds, the document's default
KNOWN = frozenset(
    "InstanceIds Targets DocumentName DocumentVersion TimeoutSeconds Comment Parameters MaxConcurrency MaxErrors "
    "DocumentHash DocumentHashType".split()
)
DETAILS = {"InProgress": "InProgress", "TimedOut": "ExecutionTimedOut"}


@operation("ssm", "SendCommand")
def send_command(request: Request, params: Params) -> Params:
    """Start a shell script on managed instances."""
    unknown = sorted(set(params) - KNOWN)
    if unknown:
        raise NotImplementedHere(f"SendCommand with {unknown[0]}", "GetCommandInvocation has the output.")
    if params["DocumentName"] != SHELL:
        raise NotImplementedHere(f"SendCommand of the document {params['DocumentName']}", f"{SHELL} runs.")
    given = params.get("Parameters") or {}
    if not given.get("commands"):
        refuse("InvalidParameters", "")
    instances = _targets(request, params)
    now = request.cloud.clock.now()
    command: Document = {
        "CommandId": str(uuid.uuid4()),
        "DocumentName": SHELL,
        "Comment": params.get("Comment", ""),
        "Parameters": given,
        "InstanceIds": [one.id for one in instances],
        "Targets": params.get("Targets", []),
        "RequestedDateTime": now,
        "ExpiresAfter": now + timedelta(seconds=params.get("TimeoutSeconds", 3600)),
    }
    # Whoever lists commands asks for their invocations: those are there before.
    invocations = [_invoke(request, instance, command) for instance in instances]
    request.cloud.store.table(COMMANDS).put(request.region, command["CommandId"], command)
    for instance, invocation in zip(instances, invocations, strict=True):
        _start(request, instance, command, invocation)
    return {"Command": _command(request, command)}


@operation("ssm", "GetCommandInvocation")
def get_command_invocation(request: Request, params: Params) -> Params:
    """What became of a command on one instance."""
    name = key(params["CommandId"], params["InstanceId"])
    found = request.cloud.store.table(TABLE).find(request.region, name)
    if found is None:
        refuse("InvocationDoesNotExist", "")
    start, end = found.get("ExecutionStart"), found.get("ExecutionEnd")
    return {
        **_invocation(found),
        "PluginName": "aws:runShellScript",
        "ResponseCode": found.get("ResponseCode", -1),
        "ExecutionStartDateTime": _moment(start),
        "ExecutionEndDateTime": _moment(end),
        "ExecutionElapsedTime": elapsed(start, end),
        "StandardOutputContent": found.get("Output", ""),
        "StandardOutputUrl": "",
        "StandardErrorContent": found.get("Error", ""),
        "StandardErrorUrl": "",
    }


@operation("ssm", "ListCommandInvocations")
def list_command_invocations(request: Request, params: Params) -> Params:
    """Invocations, newest first, by command and instance."""
    found = [
        one
        for one in request.cloud.store.table(TABLE).list(request.region)
        if params.get("CommandId") in (None, one["CommandId"]) and params.get("InstanceId") in (None, one["InstanceId"])
    ]
    found.sort(key=lambda one: one["RequestedDateTime"], reverse=True)
    shown, token = _page(found, params)
    invocations = [
        {**_invocation(one), "RequestedDateTime": one["RequestedDateTime"], **_plugins(one, params)} for one in shown
    ]
    return {"CommandInvocations": invocations, "NextToken": token}


@operation("ssm", "ListCommands")
def list_commands(request: Request, params: Params) -> Params:
    """Commands, newest first."""
    found = [
        one
        for one in request.cloud.store.table(COMMANDS).list(request.region)
        if params.get("CommandId") in (None, one["CommandId"])
        and (params.get("InstanceId") is None or params["InstanceId"] in one["InstanceIds"])
    ]
    found.sort(key=lambda one: one["RequestedDateTime"], reverse=True)
    shown, token = _page(found, params)
    return {"Commands": [_command(request, one) for one in shown], "NextToken": token}


@operation("ssm", "CancelCommand")
def cancel_command(request: Request, params: Params) -> None:
    """End a command's processes, on all its instances or some."""
    command = request.cloud.store.table(COMMANDS).find(request.region, params["CommandId"])
    if command is None:
        refuse("InvalidCommandId", "")
    chosen = params.get("InstanceIds") or command["InstanceIds"]
    if not set(chosen) <= set(command["InstanceIds"]):
        refuse("InvalidInstanceId", "")
    for identifier in chosen:
        name = key(command["CommandId"], identifier)
        if request.cloud.store.table(TABLE).get(request.region, name)["Status"] in RUNNING:
            request.cloud.instances.commands.cancel(request.region, name)


@operation("ssm", "DescribeInstanceInformation")
def describe_instance_information(request: Request, params: Params) -> Params:
    """The managed instances of the region."""
    wanted = {
        value
        for one in [*params.get("Filters", []), *params.get("InstanceInformationFilterList", [])]
        if one.get("Key", one.get("key")) == "InstanceIds"
        for value in one.get("Values", one.get("valueSet", []))
    }
    managed = [one for one in _all_instances(request) if _managed(request, one) and (not wanted or one.id in wanted)]
    return {"InstanceInformationList": [_information(request, one) for one in managed]}


def _invoke(request: Request, instance: Instance, command: Document) -> Document:
    invocation: Document = {
        "CommandId": command["CommandId"],
        "InstanceId": instance.id,
        "Comment": command["Comment"],
        "RequestedDateTime": command["RequestedDateTime"],
        "Status": "Pending",
    }
    name = key(command["CommandId"], instance.id)
    request.cloud.store.table(TABLE).put(request.region, name, invocation)
    return invocation


def _start(request: Request, instance: Instance, command: Document, invocation: Document) -> None:
    given = command["Parameters"]
    lines = list(given["commands"])
    folder = (given.get("workingDirectory") or [""])[0]
    if folder:
        first = 1 if lines[0].startswith("#!") else 0
        lines.insert(first, f"cd '{folder}' || exit 1")
    timeout = float((given.get("executionTimeout") or [LONGEST])[0])
    request.cloud.instances.commands.start(instance, invocation, "\n".join(lines) + "\n", timeout)


def _targets(request: Request, params: Params) -> list[Instance]:
    if params.get("InstanceIds"):
        found = {one.id: one for one in _all_instances(request)}
        bad = [one for one in params["InstanceIds"] if one not in found or not _managed(request, found[one])]
        if bad:
            refuse(
                "InvalidInstanceId",
                f"Instances [[{', '.join(bad)}]] not in a valid state for account {request.account}",
            )
        return [found[one] for one in params["InstanceIds"]]
    targets = params.get("Targets") or []
    if not targets:
        refuse("InvalidInstanceId", "")
    return [one for one in _all_instances(request) if _managed(request, one) and _matches(one, targets)]


def _matches(instance: Instance, targets: list[Params]) -> bool:
    tags = instance.record.tags()
    for target in targets:
        name, values = target["Key"], target["Values"]
        actual = instance.id if name == "InstanceIds" else tags.get(name.removeprefix("tag:"))
        if actual not in values:
            return False
    return True


def _all_instances(request: Request) -> list[Instance]:
    with request.cloud.records.lock("ec2"):
        found = [one.id for one in request.cloud.records.backend("ec2", request.region).all_instances()]
    return [request.cloud.instances.get(request.region, one) for one in found]


def _managed(request: Request, instance: Instance) -> bool:
    """Whether the agent of a running instance can report."""
    role = instance.record.role()
    if role is None or instance.record.state != "running" or not instance.up:
        return False
    try:
        request.cloud.authorization.require(role, instance.id, REPORT, request.arn("ec2", f"instance/{instance.id}"))
    except AwsError:
        return False
    return True


def _command(request: Request, command: Document) -> Params:
    table = request.cloud.store.table(TABLE)
    names = [key(command["CommandId"], one) for one in command["InstanceIds"]]
    statuses = [table.get(request.region, name)["Status"] for name in names]
    done = [one for one in statuses if one not in RUNNING]
    bad = [one for one in done if one != "Success"]
    status = (bad[0] if bad else "Success") if len(done) == len(statuses) else "InProgress" if done else "Pending"
    return {
        **command,
        "Status": status,
        "StatusDetails": DETAILS.get(status, status),
        "TargetCount": len(statuses),
        "CompletedCount": len(done),
        "ErrorCount": len(bad),
    }


def _invocation(document: Document) -> Params:
    status = document["Status"]
    return {
        "CommandId": document["CommandId"],
        "InstanceId": document["InstanceId"],
        "Comment": document["Comment"],
        "DocumentName": SHELL,
        "Status": status,
        "StatusDetails": DETAILS.get(status, status),
    }


def _plugins(document: Document, params: Params) -> Params:
    if not params.get("Details"):
        return {}
    plugin = {
        "Name": "aws:runShellScript",
        "Status": document["Status"],
        "ResponseCode": document.get("ResponseCode", -1),
        "Output": document.get("Output", "")[:2500],
    }
    return {"CommandPlugins": [plugin]}


def _information(request: Request, instance: Instance) -> Params:
    moto = instance.record.moto
    image = images.find(request.region, moto.image_id)
    ubuntu = image is not None and image.user == images.UBUNTU_USER
    return {
        "InstanceId": instance.id,
        "PingStatus": "Online",
        "LastPingDateTime": request.cloud.clock.now(),
        "PlatformType": "Linux",
        "PlatformName": "Ubuntu" if ubuntu else "Amazon Linux",
        "PlatformVersion": "24.04" if ubuntu else "2023",
        "ResourceType": "EC2Instance",
        "IPAddress": moto.private_ip,
        "ComputerName": moto.private_dns_name,
    }


def _page(found: list[Document], params: Params) -> tuple[list[Document], str | None]:
    try:
        start = int(params.get("NextToken") or 0)
    except ValueError as error:
        raise AwsError("InvalidNextToken", "The specified token isn't valid.") from error
    end = start + params.get("MaxResults", 50)
    return found[start:end], str(end) if end < len(found) else None


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z" if moment else ""
