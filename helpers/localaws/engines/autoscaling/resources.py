"""What can be scaled, by its scalable dimension: an endpoint variant's instances; more belong into :func:`scalable`."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ...gateway import OPERATIONS, Request

if TYPE_CHECKING:
    from ...cloud import Cloud

VARIANT = "sagemaker:variant:DesiredInstanceCount"


@dataclass(frozen=True)
class Standing:
    """How a resource stands: its desired capacity, whether something is being done to it, and what went wrong."""

    capacity: int
    busy: bool
    failure: str = ""


class Resource(Protocol):
    """One kind of resource that can be scaled."""

    namespace: str
    capacity_name: str

    def standing(self, region: str, resource: str) -> Standing | None:
        """How it stands; None where it is not there, or is going away."""

    def set(self, region: str, resource: str, capacity: int) -> None:
        """Begin to change its capacity. Raises :class:`AwsError`."""

    def dimensions(self, resource: str) -> dict[str, str]:
        """The dimensions of its predefined metrics."""


class EndpointVariant:
    """``endpoint/<endpoint>/variant/<variant>``, scaled as AWS does it: by UpdateEndpointWeightsAndCapacities."""

    namespace = "sagemaker"
    capacity_name = "instance count"

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def standing(self, region: str, resource: str) -> Standing | None:
        """As its endpoint's record says."""
        names = parse_variant(resource)
        document = self._cloud.store.table("endpoint").find(region, names[0]) if names else None
        if document is None or names is None or document["EndpointStatus"] in ("Deleting", "Failed"):
            return None
        counts = {one["VariantName"]: int(one["DesiredInstanceCount"]) for one in document["Variants"]}
        if names[1] not in counts:
            return None
        ready = document["EndpointStatus"] in ("InService", "UpdateRollbackFailed")
        return Standing(counts[names[1]], not ready, document.get("FailureReason", ""))

    def set(self, region: str, resource: str, capacity: int) -> None:
        """Raises what the operation answers, such as ``ResourceLimitExceeded``."""
        names = parse_variant(resource)
        assert names is not None
        name = "UpdateEndpointWeightsAndCapacities"
        account = self._cloud.account
        request = Request(self._cloud, "sagemaker", name, region, account, "", str(uuid.uuid4()))
        change = {"VariantName": names[1], "DesiredInstanceCount": capacity}
        OPERATIONS["sagemaker", name](request, {"EndpointName": names[0], "DesiredWeightsAndCapacities": [change]})

    def dimensions(self, resource: str) -> dict[str, str]:
        """Endpoint and variant."""
        names = parse_variant(resource)
        assert names is not None
        return {"EndpointName": names[0], "VariantName": names[1]}


def parse_variant(resource: str) -> tuple[str, str] | None:
    """Endpoint and variant of a resource id, or None."""
    found = re.fullmatch(r"endpoint/([^/]+)/variant/([^/]+)", resource)
    return (found[1], found[2]) if found else None


def scalable(cloud: Cloud) -> dict[str, Resource]:
    """Everything that can be scaled, by dimension."""
    return {VARIANT: EndpointVariant(cloud)}


__all__ = ["VARIANT", "EndpointVariant", "Resource", "Standing", "parse_variant", "scalable"]
