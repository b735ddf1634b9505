"""A published image as one of moto's records: what DescribeImages shows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from moto.ec2.models.amis import Ami

from .images import RELEASED, Image


class PublishedImage(Ami):  # type: ignore[misc]
    """moto's image, with the root volume that AWS's has."""

    def __init__(self, backend: Any, image: Image) -> None:
        self.gib = image.gib
        super().__init__(
            backend,
            image.id(backend.region_name),
            name=image.name,
            description=image.description,
            owner_id=image.owner,
            owner_alias="amazon",
            public=True,
            virtualization_type="hvm",
            architecture=image.architecture,
            image_location=f"amazon/{image.name}",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=image.root_device,
            region_name=f"{backend.region_name}a",
            creation_date=datetime.fromisoformat(f"{RELEASED}T00:00:00"),
            boot_mode="uefi-preferred" if image.architecture == "x86_64" else "uefi",
        )
        self.imds_support, self.ena_support = "v2.0", True

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The root volume; ``VolumeSize`` is in GiB."""
        volume = {
            "SnapshotId": self.ebs_snapshot.id,
            "VolumeSize": self.gib,
            "DeleteOnTermination": True,
            "VolumeType": "gp3",
            "Encrypted": False,
        }
        return [{"DeviceName": self.root_device_name, "Ebs": volume}]
