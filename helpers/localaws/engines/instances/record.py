"""An instance among moto's records, which describe it: reading them, and changing its state."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...errors import AwsError
from ...records import Records

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
REASONS = {
    "Client.UserInitiatedShutdown": "User initiated shutdown",
    "Client.InstanceInitiatedShutdown": "Instance initiated shutdown",
    "Server.InternalError": "The embedded AWS ended while the instance ran",
    "Server.ScheduledStop": "The embedded AWS was shut down",
}


@dataclass(frozen=True)
class Reason:
    """Why an instance stops: a code of StateReason, and when, for StateTransitionReason."""

    code: str
    at: datetime

    @property
    def message(self) -> str:
        """StateReason's message."""
        return f"{self.code}: {REASONS[self.code]}"

    @property
    def transition(self) -> str:
        """StateTransitionReason, which AWS leaves empty where the instance shut itself down."""
        if self.code == "Client.InstanceInitiatedShutdown":
            return ""
        who = "User" if self.code == "Client.UserInitiatedShutdown" else "Server"
        return f"{who} initiated ({self.at:%Y-%m-%d %H:%M:%S} GMT)"


class Record:
    """One instance's record; every change is kept on disk."""

    def __init__(self, records: Records, region: str, identifier: str) -> None:
        self.region, self.id = region, identifier
        self._records = records

    @property
    def moto(self) -> Any:
        """moto's object; raises ``InvalidInstanceID.NotFound``."""
        found = self._find()
        if found is None:
            raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{self.id}' does not exist")
        return found

    @property
    def exists(self) -> bool:
        """Whether there is such an instance."""
        return self._find() is not None

    def check_exists(self) -> None:
        """Raises ``InvalidInstanceID.NotFound`` where there is no such instance."""
        assert self.moto is not None

    def _find(self) -> Any:
        with self._records.lock("ec2"):
            return self._records.backend("ec2", self.region).get_instance_by_id(self.id)

    @property
    def state(self) -> str:
        """pending, running, stopping, stopped, shutting-down or terminated."""
        return str(self.moto.state)

    def change(self, change: Callable[[Any], None]) -> None:
        """Change the record in one step."""
        with self._records.lock("ec2"):
            change(self.moto)
            self._records.keep("ec2", "ModifyInstanceAttribute", self.region, {})

    def enter(self, state: str, reason: Reason | None = None) -> None:
        """Change the state; the reason of a stop stays until the next start."""

        def apply(instance: Any) -> None:
            if state == "pending":
                for nic in instance.nics.values():
                    nic.start()
            elif state == "stopped":
                for nic in instance.nics.values():
                    nic.stop()
            elif state == "terminated":
                instance.terminate()  # also frees its volumes, addresses and instance profile
            _enter(instance, state)
            if state in ("pending", "running"):
                _explain(instance, None)
            elif reason is not None:
                _explain(instance, reason)

        self.change(apply)

    def role(self) -> str | None:
        """The ARN of the role in the instance's profile, as it is now; None without one."""
        association = self.moto.iam_instance_profile
        if not association:
            return None
        with self._records.lock("iam"):
            profiles = self._records.backend("iam", "aws").instance_profiles.values()
            profile = next((one for one in profiles if one.arn == association["Arn"]), None)
            return str(profile.roles[0].arn) if profile is not None and profile.roles else None

    def tags(self) -> dict[str, str]:
        """The instance's tags."""
        with self._records.lock("ec2"):
            return {tag["key"]: tag["value"] for tag in self.moto.get_tags()}


def user_data(instance: Any) -> bytes:
    """The user data of one of moto's records, as it was before base64; empty where there is none."""
    return base64.b64decode(str(instance.user_data)) if instance.user_data else b""


def identity_document(instance: Any, now: datetime) -> str:
    """``dynamic/instance-identity/document``; it is not signed here."""
    return json.dumps(
        {
            "accountId": instance.owner_id,
            "architecture": instance.architecture,
            "availabilityZone": instance.availability_zone,
            "imageId": instance.image_id,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "pendingTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "privateIp": instance.private_ip,
            "region": instance.region_name,
            "version": "2017-09-30",
        },
        indent=2,
    )


def _enter(instance: Any, state: str) -> None:
    instance._state.name, instance._state.code = state, CODES[state]


def _explain(instance: Any, reason: Reason | None) -> None:
    instance._reason = reason.transition if reason else ""
    instance.state_reason.code = reason.code if reason else ""
    instance.state_reason.message = reason.message if reason else ""
