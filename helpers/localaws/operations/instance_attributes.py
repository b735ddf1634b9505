"""Changes to an EC2 instance: ModifyInstanceAttribute and ModifyInstanceMetadataOptions, kept in moto's records."""

from __future__ import annotations

from typing import Any

from ..engines.instances.instance import Instance, check_user_data
from ..engines.instances.types import architectures
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request, operation

# Attributes, what moto calls them, and whether the instance must be stopped.
ATTRIBUTES = {
    "InstanceType": ("instance_type", True),
    "UserData": ("user_data", True),
    "EbsOptimized": ("ebs_optimized", True),
    "DisableApiTermination": ("disable_api_termination", False),
    "DisableApiStop": ("disable_api_stop", False),
    "InstanceInitiatedShutdownBehavior": ("instance_initiated_shutdown_behavior", False),
    "SourceDestCheck": ("source_dest_check", False),
    "Groups": ("security_groups", False),
}
OPTIONS = {
    "HttpTokens": "http_tokens",
    "HttpPutResponseHopLimit": "http_put_response_hop_limit",
    "HttpEndpoint": "http_endpoint",
    "HttpProtocolIpv6": "http_protocol_ipv6",
    "InstanceMetadataTags": "instance_metadata_tags",
}


@operation("ec2", "ModifyInstanceAttribute")
def modify_instance_attribute(request: Request, params: Params) -> None:
    """Change one attribute; of some, only while the instance is stopped."""
    instance = request.cloud.instances.get(request.region, params["InstanceId"])
    name, value = _attribute(params)
    known, while_stopped = ATTRIBUTES[name]
    if while_stopped and instance.record.state != "stopped":
        refuse("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")
    if params.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
    changed = _value(request, instance, name, value)
    instance.record.change(lambda moto: setattr(moto, known, changed))


@operation("ec2", "ModifyInstanceMetadataOptions")
def modify_instance_metadata_options(request: Request, params: Params) -> Params:
    """Change what is given; the rest stays."""
    instance = request.cloud.instances.get(request.region, params["InstanceId"])

    def apply(moto: Any) -> None:
        for name, known in OPTIONS.items():
            if params.get(name) is not None:
                setattr(moto.metadata_options, known, params[name])

    instance.record.change(apply)
    return {"InstanceId": instance.id, "InstanceMetadataOptions": instance.record.moto.metadata_options}


def _attribute(params: Params) -> tuple[str, Any]:
    """The one attribute that is given, by a member of its own or by ``Attribute`` and ``Value``."""
    given = {
        name: value for name, value in params.items() if name not in ("InstanceId", "DryRun", "Attribute", "Value")
    }
    if params.get("Attribute"):
        name = params["Attribute"][0].upper() + params["Attribute"][1:]
        given[name] = {"Value": params.get("Value", "")}
    if len(given) != 1:
        names = ",".join(f"{name[0].lower()}{name[1:]}" for name in sorted(given))
        why = f"Fields for multiple attribute types specified: {names}" if given else "No attributes specified."
        refuse("InvalidParameterCombination", why)
    ((name, value),) = given.items()
    if name not in ATTRIBUTES:
        raise NotImplementedHere(f"ModifyInstanceAttribute of {name}")
    return name, value if name == "Groups" else value.get("Value")


def _value(request: Request, instance: Instance, name: str, value: Any) -> Any:
    """The value as moto keeps it. Raises AWS's errors."""
    if name == "Groups":
        return _groups(request, instance, value)
    if name == "UserData":
        return _user_data(value)
    if name == "InstanceInitiatedShutdownBehavior" and value not in ("stop", "terminate"):
        refuse("InvalidParameterValue", f"Value ({value}) for parameter instanceInitiatedShutdownBehavior is invalid.")
    if name == "InstanceType" and not architectures(value):
        refuse("InvalidInstanceAttributeValue", f"Invalid value '{value}' for InstanceType.")
    return value.lower() == "true" if value in ("true", "false", "True", "False") else value


def _user_data(value: Any) -> Any:
    from moto.core.types import Base64EncodedString

    raw = value if isinstance(value, bytes) else Base64EncodedString(value or "").decode().encode()
    check_user_data(raw)
    return Base64EncodedString.from_raw_bytes(raw) if raw else None


def _groups(request: Request, instance: Instance, identifiers: list[str]) -> list[Any]:
    with request.cloud.records.lock("ec2"):
        backend = request.cloud.records.backend("ec2", request.region)
        found = {one: backend.get_security_group_from_id(one) for one in identifiers}
    for identifier, group in found.items():
        if group is None:
            refuse("InvalidGroup.NotFound", f"The security group '{identifier}' does not exist")
    for nic in instance.record.moto.nics.values():
        nic._group_set = list(found.values())
    return list(found.values())
