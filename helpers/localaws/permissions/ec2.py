"""EC2: the resources that a call names by their ids.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .ask import ANY, Ask, Need, pass_role, tags_in

SERVICE = "ec2.amazonaws.com"
# Inputs that name resources, by the resource's kind in its ARN. (A list's members have the singular's kind.)
KINDS = {
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "ImageId": "image",
    "VolumeId": "volume",
    "SnapshotId": "snapshot",
    "SubnetId": "subnet",
    "VpcId": "vpc",
    "GroupId": "security-group",
    "SecurityGroupIds": "security-group",
    "NetworkInterfaceId": "network-interface",
    "KeyName": "key-pair",
    "LaunchTemplateId": "launch-template",
    "InternetGatewayId": "internet-gateway",
    "RouteTableId": "route-table",
    "NetworkAclId": "network-acl",
    "DhcpOptionsId": "dhcp-options",
    "SpotInstanceRequestIds": "spot-instances-request",
    "SpotFleetRequestIds": "spot-fleet-request",
}
# AWS's images belong to no account of ours.
OWNERLESS = frozenset({"image", "snapshot"})
# Of what these name, only one kind is a resource of their action.
ABOUT_ONLY = {
    "CreateRoute": "route-table",
    "ReplaceRoute": "route-table",
    "ModifyInstancePlacement": "instance",
} | dict.fromkeys(("BundleInstance", "ConfirmProductInstance"), "")
CREATED = {
    "CreateVolume": "volume",
    "CreateSnapshot": "snapshot",
    "CreateVpc": "vpc",
    "CreateSubnet": "subnet",
    "CreateSecurityGroup": "security-group",
    "CreateKeyPair": "key-pair",
    "ImportKeyPair": "key-pair",
    "CreateImage": "image",
    "CreateNetworkInterface": "network-interface",
    "CreateInternetGateway": "internet-gateway",
    "CreateRouteTable": "route-table",
    "CreateNetworkAcl": "network-acl",
    "CreateDhcpOptions": "dhcp-options",
    "CreateLaunchTemplate": "launch-template",
    "RequestSpotInstances": "spot-instances-request",
    "RequestSpotFleet": "spot-fleet-request",
}


def needs(ask: Ask) -> Iterator[Need]:
    """The action on every resource that the call names or makes; Describe… knows no resources."""
    action, context = ask.action("ec2"), _context(ask)
    resources = _resources(ask)
    for resource in resources or [ANY]:
        yield Need(action, resource, context)
    yield from _tagging(ask)
    if ask.operation in ("RunInstances", "AssociateIamInstanceProfile", "RequestSpotInstances"):
        yield from pass_role(_profile_role(ask), SERVICE)


def _resources(ask: Ask) -> list[str]:
    if ask.operation.startswith(("Describe", "Get")) and ask.operation != "GetConsoleOutput":
        return []
    if ask.operation == "RunInstances":
        return _of_run_instances(ask)
    if ask.operation in ("CreateTags", "DeleteTags"):
        return [_arn(ask, _kind_of_id(one), one) for one in ask.params.get("Resources", [])]
    only = ABOUT_ONLY.get(ask.operation)
    named = [
        _arn(ask, kind, one)
        for member, kind in KINDS.items()
        if only in (None, kind)
        for one in _list(ask.params.get(member))
        if not (ask.operation in CREATED and kind == CREATED[ask.operation])
    ]
    if ask.operation in CREATED:
        kind = CREATED[ask.operation]
        named.insert(0, _arn(ask, kind, str(ask.params.get("KeyName", "*")) if kind == "key-pair" else "*"))
    return list(dict.fromkeys(named))


def _of_run_instances(ask: Ask) -> list[str]:
    params = ask.params
    interfaces = [one for one in params.get("NetworkInterfaces") or [] if isinstance(one, dict)]
    groups = _list(params.get("SecurityGroupIds")) + [group for one in interfaces for group in one.get("Groups") or []]
    subnets = _list(params.get("SubnetId")) + [one["SubnetId"] for one in interfaces if one.get("SubnetId")]
    return [
        _arn(ask, "image", params.get("ImageId", "*")),
        _arn(ask, "instance", "*"),
        _arn(ask, "network-interface", "*"),
        _arn(ask, "volume", "*"),
        *(_arn(ask, "security-group", one) for one in groups or ["*"]),
        *(_arn(ask, "subnet", one) for one in subnets or ["*"]),
        *(_arn(ask, "key-pair", one) for one in _list(params.get("KeyName"))),
    ]


def _tagging(ask: Ask) -> Iterator[Need]:
    """A call that tags what it makes needs CreateTags on it (``ec2:CreateAction`` says for which call)."""
    for one in _list(ask.params.get("TagSpecifications") or ask.params.get("TagSpecification")):
        if isinstance(one, dict) and one.get("ResourceType"):
            tags = tags_in(one)
            context = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
            context |= {"aws:TagKeys": list(tags), "ec2:CreateAction": ask.operation}  # type: ignore[dict-item]
            yield Need("ec2:CreateTags", _arn(ask, one["ResourceType"], "*"), context)


def _context(ask: Ask) -> dict[str, Any]:
    options = ask.params.get("MetadataOptions")
    market = ask.params.get("InstanceMarketOptions")
    return {
        "ec2:InstanceType": ask.params.get("InstanceType"),
        "ec2:Region": ask.region,
        "ec2:MetadataHttpTokens": options.get("HttpTokens") if isinstance(options, dict) else None,
        "ec2:InstanceMarketType": market.get("MarketType") if isinstance(market, dict) else None,
    }


def _profile_role(ask: Ask) -> str | None:
    """The role behind an instance profile."""
    profile = ask.params.get("IamInstanceProfile")
    if not isinstance(profile, dict):
        return None
    name = profile.get("Name") or str(profile.get("Arn", "")).rpartition("/")[2]
    return ask.entity_arn("role-of-instance-profile", name) if name else None


def _arn(ask: Ask, kind: str, identifier: Any) -> str:
    account = "" if kind in OWNERLESS else ask.account
    return f"arn:aws:ec2:{ask.region}:{account}:{kind}/{identifier}"


_PREFIXES = {
    "i": "instance",
    "ami": "image",
    "vol": "volume",
    "snap": "snapshot",
    "subnet": "subnet",
    "vpc": "vpc",
    "sg": "security-group",
    "eni": "network-interface",
    "key": "key-pair",
    "igw": "internet-gateway",
    "rtb": "route-table",
    "acl": "network-acl",
    "lt": "launch-template",
    "sir": "spot-instances-request",
    "sfr": "spot-fleet-request",
}


def _kind_of_id(identifier: str) -> str:
    return _PREFIXES.get(identifier.partition("-")[0], "*")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]
