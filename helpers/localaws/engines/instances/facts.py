"""What an instance can learn about itself: the tree that its metadata service answers from."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from ...credentials import Keys
from ...errors import AwsError
from .metadata import Facts
from .record import Record, identity_document, user_data

META = "meta-data"


def facts_of(record: Record, now: datetime, credentials: Callable[[str], Keys]) -> Facts:
    """Facts by path below ``/latest/``; ``credentials`` gives those of a role."""
    instance, zone = record.moto, record.moto.availability_zone
    facts: dict[str, str | Callable[[], str]] = {
        f"{META}/ami-id": instance.image_id,
        f"{META}/ami-launch-index": str(instance.ami_launch_index),
        f"{META}/hostname": instance.private_dns_name,
        f"{META}/instance-action": "none",
        f"{META}/instance-id": instance.id,
        f"{META}/instance-life-cycle": instance.lifecycle or "on-demand",
        f"{META}/instance-type": instance.instance_type,
        f"{META}/local-hostname": instance.private_dns_name,
        f"{META}/local-ipv4": instance.private_ip,
        f"{META}/mac": instance.nics[0].mac_address,
        f"{META}/placement/availability-zone": zone,
        f"{META}/placement/region": instance.region_name,
        f"{META}/profile": "default-hvm",
        f"{META}/security-groups": "\n".join(group.name for group in instance.security_groups),
        f"{META}/services/domain": "amazonaws.com",
        f"{META}/services/partition": "aws",
        "dynamic/instance-identity/document": lambda: identity_document(instance, now),
    }
    if instance.public_ip:
        facts |= {f"{META}/public-ipv4": instance.public_ip, f"{META}/public-hostname": instance.public_dns_name}
    if user_data(instance):
        facts["user-data"] = user_data(instance).decode(errors="replace")
    if instance.metadata_options.instance_metadata_tags == "enabled":
        facts |= {f"{META}/tags/instance/{key}": value for key, value in record.tags().items()}
    return {**facts, **_role_facts(record, now, credentials)}


def _role_facts(record: Record, now: datetime, credentials: Callable[[str], Keys]) -> Facts:
    role = record.role()
    profile = record.moto.iam_instance_profile
    if role is None or not profile:
        return {}
    updated = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    facts: dict[str, str | Callable[[], str]] = {}
    try:
        keys = credentials(role)
        code = "Success"
        document = {
            "Code": code,
            "LastUpdated": updated,
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.session_token,
            "Expiration": keys.expiration,
        }
        facts[f"{META}/iam/security-credentials/{role.rpartition('/')[2]}"] = json.dumps(document, indent=2)
    except AwsError:
        code = "AssumeRoleUnauthorizedAccess"
    information = {
        "Code": code,
        "LastUpdated": updated,
        "InstanceProfileArn": profile["Arn"],
        "InstanceProfileId": profile["Id"],
    }
    facts[f"{META}/iam/info"] = json.dumps(information, indent=2)
    return facts
