"""What can be scaled, by its scalable dimension: a variant's instances, what a function's alias has provisioned."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...gateway import OPERATIONS, Request

if TYPE_CHECKING:
    from ...cloud import Cloud

VARIANT = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "lambda:function:ProvisionedConcurrency"


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
    metrics: Sequence[str]  # its PredefinedMetricTypes
    role: str  # the end of the name of its service-linked role

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
    metrics: Sequence[str] = (
        "SageMakerVariantInvocationsPerInstance",
        "SageMakerVariantConcurrentRequestsPerModelHighResolution",
    )
    role = "SageMakerEndpoint"

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
        change = {"VariantName": names[1], "DesiredInstanceCount": capacity}
        params = {"EndpointName": names[0], "DesiredWeightsAndCapacities": [change]}
        _call(self._cloud, region, "sagemaker", "UpdateEndpointWeightsAndCapacities", params)

    def dimensions(self, resource: str) -> dict[str, str]:
        """Endpoint and variant."""
        names = parse_variant(resource)
        assert names is not None
        return {"EndpointName": names[0], "VariantName": names[1]}


class ProvisionedConcurrency:
    """``function:<function>:<alias or version>``, scaled as AWS does it: by PutProvisionedConcurrencyConfig."""

    namespace = "lambda"
    capacity_name = "concurrency"
    metrics: Sequence[str] = ("LambdaProvisionedConcurrencyUtilization",)
    role = "LambdaConcurrency"

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def standing(self, region: str, resource: str) -> Standing | None:
        """As the function's document says; 0 before anything is provisioned."""
        names = parse_function(resource)
        document = self._cloud.store.table("function").find(region, names[0]) if names else None
        if document is None or names is None or names[1] not in (*document["versions"], *document["aliases"]):
            return None
        provisioned = self._cloud.functions.provisions.find(region, *names)
        if provisioned is None:
            return Standing(0, False)
        found = provisioned.standing()
        return Standing(found.requested, found.status == "IN_PROGRESS", found.reason)

    def set(self, region: str, resource: str, capacity: int) -> None:
        """Raises what the operation answers, such as ``InvalidParameterValueException``."""
        names = parse_function(resource)
        assert names is not None
        params = {"FunctionName": names[0], "Qualifier": names[1], "ProvisionedConcurrentExecutions": capacity}
        _call(self._cloud, region, "lambda", "PutProvisionedConcurrencyConfig", params)

    def dimensions(self, resource: str) -> dict[str, str]:
        """Function, and version or alias."""
        names = parse_function(resource)
        assert names is not None
        return {"FunctionName": names[0], "Resource": ":".join(names)}


def _call(cloud: Cloud, region: str, service: str, operation: str, params: dict[str, Any]) -> None:
    request = Request(cloud, service, operation, region, cloud.account, "", str(uuid.uuid4()))
    OPERATIONS[service, operation](request, params)


def parse_function(resource: str) -> tuple[str, str] | None:
    """Function, and version or alias, of a resource id, or None."""
    found = re.fullmatch(r"function:([\w-]+):([\w-]+)", resource)
    return (found[1], found[2]) if found else None


def parse_variant(resource: str) -> tuple[str, str] | None:
    """Endpoint and variant of a resource id, or None."""
    found = re.fullmatch(r"endpoint/([^/]+)/variant/([^/]+)", resource)
    return (found[1], found[2]) if found else None


def scalable(cloud: Cloud) -> dict[str, Resource]:
    """Everything that can be scaled, by dimension."""
    return {VARIANT: EndpointVariant(cloud), PROVISIONED: ProvisionedConcurrency(cloud)}


__all__ = [
    "PROVISIONED",
    "VARIANT",
    "EndpointVariant",
    "ProvisionedConcurrency",
    "Resource",
    "Standing",
    "parse_function",
    "parse_variant",
    "scalable",
]
