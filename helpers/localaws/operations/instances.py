"""EC2 instances: what answers RunInstances, Stop-, Start-, Reboot- and TerminateInstances, and the console.

Describing, tagging, volumes, networks and key pairs are moto's records; an instance is one of them, and what runs
behind it is engines/instances. Different from AWS: a terminated instance stays described (AWS forgets it after about
an hour), and capacity is never short.
"""

from __future__ import annotations

import base64
import copy
from typing import Any

from ..engines.instances import images
from ..engines.instances.instance import Ask, Instance
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from .instance_launch import launch

USER = "Client.UserInitiatedShutdown"


@operation("ec2", "RunInstances")
def run_instances(request: Request, params: Params) -> Params:
    """Check everything, record, boot; answers moto's reservation."""
    reservation = launch(request, params)
    return {name: getattr(reservation, attribute) for name, attribute in RESERVATION.items()}


RESERVATION = {"ReservationId": "id", "OwnerId": "owner_id", "Groups": "groups", "Instances": "instances"}


@operation("ec2", "TerminateInstances")
def terminate_instances(request: Request, params: Params) -> Params:
    """End instances for good: their disks go."""
    instances = _instances(request, params)
    for instance in instances:
        if instance.record.moto.disable_api_termination:
            refuse(
                "OperationNotPermitted",
                f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination' instance "
                "attribute and try again.",
            )
    return {"TerminatingInstances": [_change(one, ("shutting-down", "terminated"), _terminate) for one in instances]}


@operation("ec2", "StopInstances")
def stop_instances(request: Request, params: Params) -> Params:
    """Shut instances down; their disks stay."""
    if params.get("Hibernate"):
        raise NotImplementedHere("StopInstances with Hibernate")
    instances = _instances(request, params)
    for instance in instances:
        _check_state(instance, ("running", "stopping", "stopped"), "stopped")
        if instance.record.moto.lifecycle == "spot":
            refuse(
                "UnsupportedOperation",
                f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot "
                "Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.",
            )
        if instance.record.moto.disable_api_stop:
            refuse(
                "OperationNotPermitted",
                f"The instance '{instance.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and "
                "try again.",
            )
    return {"StoppingInstances": [_change(one, ("stopping", "stopped"), _stop) for one in instances]}


@operation("ec2", "StartInstances")
def start_instances(request: Request, params: Params) -> Params:
    """Boot stopped instances; their user data does not run again."""
    instances = _instances(request, params)
    for instance in instances:
        _check_state(instance, ("stopped", "pending", "running"), "started")
    return {"StartingInstances": [_change(one, ("pending", "running"), _start) for one in instances]}


@operation("ec2", "RebootInstances")
def reboot_instances(request: Request, params: Params) -> None:
    """End the processes of running instances and boot again; the state stays running."""
    instances = _instances(request, params)
    for instance in instances:
        _check_state(instance, ("running",), "rebooted")
    for instance in instances:
        instance.ask(Ask.REBOOT, USER)


@operation("ec2", "GetConsoleOutput")
def get_console_output(request: Request, params: Params) -> Params:
    """The latest 64 KiB of what an instance has said; at once, where AWS without ``Latest`` may lag by minutes."""
    instance = request.cloud.instances.get(request.region, _checked(params["InstanceId"]))
    text = instance.console.read()
    return {
        "InstanceId": instance.id,
        "Timestamp": request.cloud.clock.now(),
        "Output": base64.b64encode(text.encode()).decode(),
    }


@operation("ec2", "DescribeInstanceStatus")
def describe_instance_status(request: Request, params: Params) -> Params:
    """Running instances (or all), with their status checks."""
    wanted = [_checked(one) for one in params.get("InstanceIds", [])]
    filters = [{"name": one["Name"], "values": one["Values"]} for one in params.get("Filters", [])]
    with request.cloud.records.lock("ec2"):
        backend = request.cloud.records.backend("ec2", request.region)
        for identifier in wanted:
            request.cloud.instances.get(request.region, identifier)
        found = backend.describe_instance_status(wanted, bool(params.get("IncludeAllInstances")), filters)
    return {"InstanceStatuses": [_status(request, one) for one in found]}


@operation("ec2", "DescribeImages")
def describe_images(request: Request, params: Params) -> Params:
    """The account's own images and what AWS publishes today."""
    from moto.ec2.exceptions import EC2ClientError

    with request.cloud.records.lock("ec2"):
        backend = request.cloud.records.backend("ec2", request.region)
        images.register(backend)
        filters = {one["Name"]: one["Values"] for one in params.get("Filters", [])}
        try:
            found = backend.describe_images(
                params.get("ImageIds"), filters, params.get("ExecutableUsers"), params.get("Owners")
            )
        except EC2ClientError as error:
            raise AwsError(error.error_type, error.message) from error
    return {"Images": [_dated(image) for image in found]}


@operation("ec2", "DeleteSecurityGroup")
def delete_security_group(request: Request, params: Params) -> Params:
    """Delete a group that nothing uses."""
    from moto.ec2.exceptions import EC2ClientError

    with request.cloud.records.lock("ec2"):
        backend = request.cloud.records.backend("ec2", request.region)
        name = params.get("GroupId") or params.get("GroupName")
        if not name:
            refuse("MissingParameter", "The request must contain the parameter groupName or groupId")
        group = backend.get_security_group_by_name_or_id(name)
        if group is None:
            what = f"ID '{name}'" if params.get("GroupId") else f"'{name}'"
            refuse("InvalidGroup.NotFound", f"The security group {what} does not exist")
        if group.name == "default":
            refuse("CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user')
        if any(group.id in (one.id for one in eni.group_set) for eni in backend.enis.values()):
            refuse("DependencyViolation", f"resource {group.id} has a dependent object")
        try:
            backend.delete_security_group(group_id=group.id)
        except EC2ClientError as error:
            raise AwsError(error.error_type, error.message) from error
        request.cloud.records.keep("ec2", request.operation, request.region, {})
    return {"Return": True, "GroupId": group.id}


def _dated(image: Any) -> Any:
    """The image with its date as AWS writes it, in text."""
    shown = copy.copy(image)
    shown.creation_date = f"{image.creation_date:%Y-%m-%dT%H:%M:%S}.000Z"
    return shown


def _instances(request: Request, params: Params) -> list[Instance]:
    """The named instances, all of which exist; a dry run ends here."""
    identifiers = [_checked(identifier) for identifier in params["InstanceIds"]]
    with request.cloud.records.lock("ec2"):
        backend = request.cloud.records.backend("ec2", request.region)
        missing = [one for one in dict.fromkeys(identifiers) if backend.get_instance_by_id(one) is None]
    if len(missing) == 1:
        refuse("InvalidInstanceID.NotFound", f"The instance ID '{missing[0]}' does not exist")
    if missing:
        refuse("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(missing)}' do not exist")
    if params.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
    return [request.cloud.instances.get(request.region, one) for one in dict.fromkeys(identifiers)]


def _checked(identifier: str) -> str:
    digits = identifier.removeprefix("i-")
    if digits == identifier or len(digits) not in (8, 17) or set(digits) - set("0123456789abcdef"):
        refuse("InvalidInstanceID.Malformed", f'Invalid id: "{identifier}"')
    return identifier


def _check_state(instance: Instance, allowed: tuple[str, ...], what: str) -> None:
    state = instance.record.state
    if state not in allowed:
        refuse("IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be {what}.")


def _change(instance: Instance, already: tuple[str, ...], act: Any) -> Params:
    """Act, where the instance is not already there; answers the states before and after."""
    before = _state(instance)
    if before["Name"] not in already:
        act(instance)
    return {"InstanceId": instance.id, "PreviousState": before, "CurrentState": _state(instance)}


def _start(instance: Instance) -> None:
    instance.start()
    _check_state(instance, ("pending", "running"), "started")  # it may have been terminated in the meantime


def _terminate(instance: Instance) -> None:
    instance.ask(Ask.TERMINATE, USER)


def _stop(instance: Instance) -> None:
    instance.ask(Ask.STOP, USER)


def _state(instance: Instance) -> Params:
    moto = instance.record.moto
    return {"Name": moto.state, "Code": moto.state_code}


def _status(request: Request, moto: Any) -> Params:
    running = moto.state == "running"
    passed = running and request.cloud.instances.get(request.region, moto.id).checks_passed
    status = ("ok" if passed else "initializing") if running else "not-applicable"
    detail = {"Name": "reachability", "Status": "passed" if passed else "initializing"}
    check = {"Status": status, **({"Details": [detail]} if running else {})}
    return {
        "InstanceId": moto.id,
        "AvailabilityZone": moto.availability_zone,
        "InstanceState": {"Name": moto.state, "Code": moto.state_code},
        "InstanceStatus": check,
        "SystemStatus": check,
    }
