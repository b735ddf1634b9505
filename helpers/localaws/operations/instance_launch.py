"""RunInstances: every check that AWS makes, then the record, then the boot.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
from typing import Any

from ..engines.instances import images
from ..engines.instances.instance import check_user_data
from ..engines.instances.types import architectures, vcpus
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request
from ..quotas import bucket
from .spot_requests import fulfil

TOKENS = "ec2-client-token"
# Members that are looked at below, or that change nothing about a process on this machine.
KNOWN = frozenset(
    "ImageId InstanceType MinCount MaxCount KeyName UserData SecurityGroupIds SecurityGroups SubnetId Placement "
    "NetworkInterfaces IamInstanceProfile InstanceInitiatedShutdownBehavior InstanceMarketOptions TagSpecifications "
    "ClientToken DryRun BlockDeviceMappings MetadataOptions Monitoring EbsOptimized DisableApiTermination "
    "DisableApiStop PrivateIpAddress CreditSpecification MaintenanceOptions PrivateDnsNameOptions".split()
)
METADATA = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "HttpEndpoint": "enabled"}
DEFAULT_TYPE = "m1.small"


def launch(request: Request, params: Params) -> Any:
    """moto's reservation of the launched instances; the one of before, for a client token used before."""
    unknown = sorted(name for name, value in params.items() if name not in KNOWN and value not in (None, [], {}, False))
    if unknown:
        raise NotImplementedHere(f"RunInstances with {unknown[0]}")
    records = request.cloud.records
    with records.lock("ec2"):
        backend = records.backend("ec2", request.region)
        earlier = _launched_before(request, backend, params)
        if earlier is not None:
            return earlier
        images.register(backend)
        arguments = _arguments(request, backend, params)
        _check_quota(request, backend, arguments)
        if params.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        reservation = _record(request, backend, params, arguments)
        _remember(request, params, reservation.id)
        request.cloud.instances.launch(request.region, [instance.id for instance in reservation.instances])
        return reservation


# ---- idempotency ----


def _launched_before(request: Request, backend: Any, params: Params) -> Any:
    token = params.get("ClientToken")
    known = request.cloud.store.table(TOKENS).find(request.region, token) if token else None
    if known is None or known["Reservation"] not in backend.reservations:
        return None
    if known["Arguments"] != _digest(params):
        refuse(
            "IdempotentParameterMismatch",
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        )
    return backend.reservations[known["Reservation"]]


def _remember(request: Request, params: Params, reservation: str) -> None:
    if params.get("ClientToken"):
        document = {"Reservation": reservation, "Arguments": _digest(params)}
        request.cloud.store.table(TOKENS).put(request.region, params["ClientToken"], document)


def _digest(params: Params) -> str:
    given = {name: value for name, value in params.items() if name != "ClientToken"}
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()


# ---- checks ----


def _arguments(request: Request, backend: Any, params: Params) -> dict[str, Any]:
    """What moto wants, from what AWS takes. Raises AWS's errors."""
    least, most = params["MinCount"], params["MaxCount"]
    if least < 1 or most < least:
        refuse("InvalidParameterValue", f"Invalid value for MinCount ({least}) and MaxCount ({most})")
    image = _image(backend, params)
    instance_type = params.get("InstanceType", DEFAULT_TYPE)
    supported = architectures(instance_type)
    if supported and image.architecture not in supported:
        refuse(
            "InvalidParameterValue",
            f"The architecture '{','.join(supported)}' of the specified instance type does not match the architecture "
            f"'{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again.",
        )
    if params.get("KeyName") and params["KeyName"] not in backend.key_pairs:
        refuse("InvalidKeyPair.NotFound", f"The key pair '{params['KeyName']}' does not exist")
    if params.get("UserData"):
        check_user_data(_decoded(params["UserData"]))
    network = _network(params)
    subnet = _subnet(backend, params, network)
    return {
        "count": most,
        "image": image,
        "instance_type": instance_type,
        "subnet": subnet,
        "groups": _groups(backend, params, network, subnet),
        "public": network.get("AssociatePublicIpAddress"),
        "profile": _profile(request, params.get("IamInstanceProfile")),
        "spot": _market(params.get("InstanceMarketOptions")),
        "tags": _tags(params),
    }


def _check_quota(request: Request, backend: Any, given: Params) -> None:
    """The vCPUs of what runs already, on demand or on spot, and of what is to start."""
    families, spot = bucket(given["instance_type"]), given["spot"] is not None
    if families is None:
        return
    used = sum(
        vcpus(one.instance_type)
        for one in backend.all_instances()
        if one.state in ("pending", "running")
        and bucket(one.instance_type) == families
        and (one.lifecycle == "spot") == spot
    )
    wanted = given["count"] * vcpus(given["instance_type"])
    request.cloud.quotas.check_vcpus(request.region, families, spot, wanted, used)


def _image(backend: Any, params: Params) -> Any:
    identifier = params.get("ImageId")
    if not identifier:
        refuse("MissingParameter", "The request must contain the parameter ImageId")
    if not re.fullmatch(r"ami-([0-9a-f]{8}|[0-9a-f]{17})", identifier):
        refuse("InvalidAMIID.Malformed", f'Invalid id: "{identifier}"')
    if identifier not in backend.amis:
        refuse("InvalidAMIID.NotFound", f"The image id '[{identifier}]' does not exist")
    return backend.amis[identifier]


def _decoded(user_data: str) -> bytes:
    try:
        return base64.b64decode(user_data, validate=True)
    except binascii.Error:
        refuse("InvalidParameterValue", "Invalid BASE64 encoding of user data.")


def _network(params: Params) -> Params:
    """The primary interface's specification, which may say what the request itself otherwise says."""
    given = params.get("NetworkInterfaces") or []
    if not given:
        return {}
    if len(given) > 1 or given[0].get("DeviceIndex", 0) != 0 or given[0].get("NetworkInterfaceId"):
        raise NotImplementedHere("RunInstances with more than one new network interface")
    if params.get("SubnetId") or params.get("SecurityGroupIds") or params.get("SecurityGroups"):
        refuse(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID may not be specified on the same request",
        )
    return dict(given[0])


def _subnet(backend: Any, params: Params, network: Params) -> Any:
    identifier = network.get("SubnetId") or params.get("SubnetId")
    zone = params.get("Placement", {}).get("AvailabilityZone")
    subnets = {one.id: one for by_id in backend.subnets.values() for one in by_id.values()}
    if identifier:
        if identifier not in subnets:
            refuse("InvalidSubnetID.NotFound", f"The subnet ID '{identifier}' does not exist")
        return subnets[identifier]
    default = sorted((one for one in subnets.values() if one.default_for_az), key=lambda one: one.availability_zone)
    if not default:
        refuse(
            "VPCIdNotSpecified",
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.",
        )
    found = [one for one in default if zone in (None, one.availability_zone)]
    if not found:
        zones = ", ".join(one.availability_zone for one in default)
        refuse("InvalidParameterValue", f"Invalid availability zone: [{zone}]. The region has {zones}.")
    return found[0]


def _groups(backend: Any, params: Params, network: Params, subnet: Any) -> list[Any]:
    """The security groups, by id or (in the default VPC) by name; the VPC's default group where none is named."""
    in_vpc = backend.groups[subnet.vpc_id].values()
    found = []
    for identifier in network.get("Groups") or params.get("SecurityGroupIds") or []:
        group = backend.get_security_group_from_id(identifier)
        if group is None:
            refuse("InvalidGroup.NotFound", f"The security group '{identifier}' does not exist")
        if group.vpc_id != subnet.vpc_id:
            refuse(
                "InvalidParameter", f"Security group {identifier} and subnet {subnet.id} belong to different networks."
            )
        found.append(group)
    for name in params.get("SecurityGroups") or []:
        named = [one for one in in_vpc if one.name == name]
        if not named:
            refuse(
                "InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC '{subnet.vpc_id}'"
            )
        found += named
    return found or [one for one in in_vpc if one.name == "default"]


def _profile(request: Request, given: Params | None) -> Any:
    if not given:
        return None
    member = "arn" if given.get("Arn") else "name"
    wanted = given.get("Arn") or given.get("Name")
    with request.cloud.records.lock("iam"):
        profiles = request.cloud.records.backend("iam", "aws").instance_profiles.values()
        found = next((one for one in profiles if getattr(one, member) == wanted), None)
    if found is None:
        words = "ARN" if member == "arn" else "name"
        refuse(
            "InvalidParameterValue",
            f"Value ({wanted}) for parameter iamInstanceProfile.{member} is invalid. "
            f"Invalid IAM Instance Profile {words}",
        )
    if not found.roles:
        refuse("InvalidParameterValue", f"IAM Instance Profile '{found.arn}' has no associated IAM Roles")
    return found


def _market(given: Params | None) -> Params | None:
    if not given or given.get("MarketType") != "spot":
        if given and given.get("MarketType"):
            raise NotImplementedHere(f"RunInstances with the market type {given['MarketType']}")
        return None
    options = given.get("SpotOptions") or {}
    if options.get("SpotInstanceType", "one-time") != "one-time" or options.get("BlockDurationMinutes"):
        raise NotImplementedHere("RunInstances with persistent spot requests", "One-time requests are answered.")
    return dict(options)


def _tags(params: Params) -> dict[str, dict[str, str]]:
    tags: dict[str, dict[str, str]] = {}
    for one in params.get("TagSpecifications") or []:
        kind = one.get("ResourceType")
        if kind not in ("instance", "volume", "network-interface", "spot-instances-request"):
            refuse("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation.")
        tags.setdefault(kind, {}).update({tag["Key"]: tag.get("Value", "") for tag in one.get("Tags", [])})
    return tags


# ---- recording ----


def _record(request: Request, backend: Any, params: Params, given: dict[str, Any]) -> Any:
    from moto.ec2.utils import parse_user_data

    root = given["image"].block_device_mappings[0]
    reservation = backend.run_instances(
        given["image"].id,
        given["count"],
        parse_user_data(params.get("UserData")),
        [group.id for group in given["groups"]],
        instance_type=given["instance_type"],
        is_instance_type_default=False,
        region_name=request.region,
        subnet_id=given["subnet"].id,
        key_name=params.get("KeyName"),
        nics=[],
        private_ip=params.get("PrivateIpAddress"),
        associate_public_ip=given["public"],
        tags=given["tags"],
        ebs_optimized=bool(params.get("EbsOptimized")),
        disable_api_stop=bool(params.get("DisableApiStop")),
        disable_api_termination=bool(params.get("DisableApiTermination")),
        instance_market_options="spot" if given["spot"] is not None else {},
        instance_initiated_shutdown_behavior=params.get("InstanceInitiatedShutdownBehavior", "stop"),
        monitoring_state="enabled" if params.get("Monitoring", {}).get("Enabled") else "disabled",
        metadata_options={**METADATA, **params.get("MetadataOptions", {})},
        client_token=params.get("ClientToken") or secrets.token_hex(16),
        block_device_mappings=_volumes(params.get("BlockDeviceMappings") or [], root),
    )
    for instance in reservation.instances:
        _complete(backend, instance, given)
        if given["spot"] is not None:
            fulfil(request, instance, given["spot"], given["tags"].get("spot-instances-request", {}))
    return reservation


def _complete(backend: Any, instance: Any, given: dict[str, Any]) -> None:
    """What moto does for the first instance only, or not at all."""
    for nic in instance.nics.values():
        nic.delete_on_termination = True
        nic.add_tags(given["tags"].get("network-interface", {}))
    if given["profile"] is not None:
        profile = given["profile"]
        backend.associate_iam_instance_profile(instance_id=instance.id, iam_instance_profile_arn=profile.arn)
        instance.iam_instance_profile = {"Arn": profile.arn, "Id": profile.id}


def _volumes(given: list[Params], root: Params) -> list[Params]:
    """The mappings to create: the image's root volume as changed by the request, and what the request adds."""
    size = root["Ebs"]["VolumeSize"]
    mappings = {root["DeviceName"]: dict(root["Ebs"])}
    for one in given:
        ebs = {name: value for name, value in (one.get("Ebs") or {}).items() if value is not None}
        mappings[one["DeviceName"]] = {**mappings.get(one["DeviceName"], {"DeleteOnTermination": True}), **ebs}
    asked = mappings[root["DeviceName"]]["VolumeSize"]
    if asked < size:
        refuse(
            "InvalidBlockDeviceMapping",
            f"Volume of size {asked}GB is smaller than snapshot '{root['Ebs']['SnapshotId']}', expect size>= {size}GB",
        )
    return [{"DeviceName": device, "Ebs": ebs} for device, ebs in mappings.items()]
