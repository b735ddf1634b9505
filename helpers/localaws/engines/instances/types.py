"""What is known of instance types: their virtual processors and architectures, from moto's copy of AWS's table."""

from __future__ import annotations

import functools
from typing import Any

from ..container import cores


@functools.cache
def _table() -> dict[str, Any]:
    from moto.ec2.models.instance_types import INSTANCE_TYPES  # a megabyte of JSON, read at the first use

    table: dict[str, Any] = INSTANCE_TYPES
    return table


def vcpus(instance_type: str) -> int:
    """Virtual processors of a type; this machine's, for a type newer than the table."""
    known = _table().get(instance_type)
    return int(known["VCpuInfo"]["DefaultVCpus"]) if known else cores()


def memory_gib(instance_type: str) -> float | None:
    """The memory of a type; None for a type newer than the table."""
    known = _table().get(instance_type)
    return known["MemoryInfo"]["SizeInMiB"] / 1024 if known else None


def disk_gb(instance_type: str) -> float | None:
    """The disks that a type has of its own; None where it has none, or is newer than the table."""
    known = _table().get(instance_type, {})
    return float(known["InstanceStorageInfo"]["TotalSizeInGB"]) if "InstanceStorageInfo" in known else None


def architectures(instance_type: str) -> list[str]:
    """The architectures a type supports; empty for a type newer than the table."""
    known = _table().get(instance_type)
    return list(known["ProcessorInfo"]["SupportedArchitectures"]) if known else []
