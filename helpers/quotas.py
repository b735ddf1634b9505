"""Service quotas, looked at before anything starts: a quota of 0 is the most common first error of a new account.

Quotas are found by their names, which say what they are; their codes are in the rows.
https://docs.aws.amazon.com/servicequotas/latest/userguide/intro.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cloud import Cloud

ON_DEMAND = "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"
SPOT = "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"
CONCURRENCY = "Concurrent executions"
# AWS keeps this much of the concurrency for functions without a reservation.
UNRESERVED = 100
CONSOLE = "https://{region}.console.aws.amazon.com/servicequotas/home/services/{service}/quotas/{code}"


class QuotaTooSmall(RuntimeError):
    """A quota is below what is needed; the message says which, and what to do. Nothing was started."""


@dataclass(frozen=True)
class Need:
    """What the series needs of a quota; ``instead`` is what to do where it is not granted."""

    what: str
    service: str
    quota: str
    needed: float
    instead: str


@dataclass(frozen=True)
class Row:
    """A need against what is granted; ``todo`` is empty where it is enough."""

    what: str
    code: str
    needed: float
    granted: float | str
    ok: bool
    todo: str


def needs(cloud: Cloud) -> list[Need]:
    """What a run of the whole series needs, by the settings."""
    settings = cloud.settings
    training, endpoint, count = (
        settings.training_instance_type,
        settings.endpoint_instance_type,
        settings.spot_instance_count,
    )
    smaller = "choose a type that has a quota (training_instance_type)"
    return [
        Need("training", "sagemaker", f"{training} for training job usage", 1, smaller),
        Need(
            "training on spot",
            "sagemaker",
            f"{training} for spot training job usage",
            count,
            "train on demand, or with fewer instances (spot_instance_count)",
        ),
        Need(
            "endpoint, at most",
            "sagemaker",
            f"{endpoint} for endpoint usage",
            3,
            "scale to fewer instances, or choose a type that has a quota (endpoint_instance_type)",
        ),
        Need(
            "notebook instance",
            "sagemaker",
            "ml.t3.medium for notebook instance usage",
            1,
            "run the notebooks on your own machine",
        ),
        Need("EC2 instance (vCPUs)", "ec2", ON_DEMAND, 2, "choose a type with fewer vCPUs, or end another instance"),
        Need("EC2 spot instance (vCPUs)", "ec2", SPOT, 2, "launch on demand"),
        Need("function, reserved concurrency", "lambda", CONCURRENCY, UNRESERVED + 10, "leave the reservation out"),
    ]


def check(cloud: Cloud, needed: list[Need] | None = None) -> list[Row]:
    """Each need against the applied quota of this account and region; by default those of the whole series."""
    wanted = needs(cloud) if needed is None else needed
    found = {service: _quotas(cloud, service) for service in dict.fromkeys(one.service for one in wanted)}
    return [_row(cloud, one, found[one.service].get(one.quota)) for one in wanted]


def require(rows: list[Row]) -> list[Row]:
    """The rows, if every quota is enough; raises :class:`QuotaTooSmall` before money is spent."""
    short = [row for row in rows if not row.ok]
    if short:
        told = [f"{row.what}: needs {row.needed:g}, granted {row.granted}. {row.todo}" for row in short]
        raise QuotaTooSmall("\n".join(["nothing was started, since quotas are too small:", *told]))
    return rows


def _quotas(cloud: Cloud, service: str) -> dict[str, tuple[str, float]]:
    """Code and applied value of a service's quotas, by name. AWS lists a quota that it has granted in this region."""
    pages = cloud.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode=service)
    return {one["QuotaName"]: (one["QuotaCode"], one["Value"]) for page in pages for one in page["Quotas"]}


def _row(cloud: Cloud, need: Need, found: tuple[str, float] | None) -> Row:
    if found is None:
        todo = f"AWS lists no quota '{need.quota}' in {cloud.region}: check the instance type's name"
        return Row(need.what, "?", need.needed, "unknown", False, f"{todo}, or {need.instead}.")
    code, granted = found
    ok = granted >= need.needed
    return Row(need.what, code, need.needed, granted, ok, "" if ok else _todo(cloud, need, code))


def _todo(cloud: Cloud, need: Need, code: str) -> str:
    command = (
        f"aws service-quotas request-service-quota-increase --region {cloud.region} --service-code {need.service} "
        f"--quota-code {code} --desired-value {need.needed:g}"
    )
    page = CONSOLE.format(region=cloud.region, service=need.service, code=code)
    return f"Ask for more of {code} ('{need.quota}'): {command} or {page}. Or {need.instead}."
