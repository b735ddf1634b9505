"""CloudWatch's metrics of what runs: how much of its instances a training job or an endpoint used, and what would do.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html: CPU is 100 per cent per vCPU, summed; memory
and disk are per cent of what the instance has. AWS publishes a point a minute, the embedded AWS one every two seconds;
there the CPU is this machine's, whose cores are neither so many nor so fast as the instance type's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .cloud import Cloud
from .costs import Choice

TRAINING, ENDPOINTS = "/aws/sagemaker/TrainingJobs", "/aws/sagemaker/Endpoints"
METRICS = {"cpu": "CPUUtilization", "memory": "MemoryUtilization", "disk": "DiskUtilization"}
HEADROOM = 0.8  # of an instance's memory; what is measured every so often misses the highest moment
FINE = timedelta(hours=3)  # how long CloudWatch keeps points that are closer than a minute
MAX_FINE = timedelta(hours=1)


@dataclass(frozen=True)
class Use:
    """What one host used in one period, in per cent: ``cpu`` of one core (200 is two), the others of the instance."""

    host: str
    time: datetime
    cpu: float
    memory: float
    disk: float


@dataclass(frozen=True)
class Fit:
    """Whether the measured use would fit an instance type; ``why`` says what speaks for or against it."""

    type: str
    vcpu: int
    gib: float
    usd_hour: float
    fits: bool
    why: str


# ---- measured ----


def utilisation(cloud: Cloud, job: str) -> list[Use]:
    """The use of a training job's hosts over time, the highest of each period; oldest first."""
    described = cloud.client("sagemaker").describe_training_job(TrainingJobName=job)
    began, now = described["CreationTime"], datetime.now(UTC)
    ended = described.get("TrainingEndTime", now)
    hosts = [f"algo-{number}" for number in range(1, described["ResourceConfig"]["InstanceCount"] + 1)]
    dimensions = {host: {"Host": f"{job}/{host}"} for host in hosts}
    return _read(cloud, TRAINING, dimensions, began, ended)


def endpoint_utilisation(cloud: Cloud, endpoint: str, minutes: float = 30) -> list[Use]:
    """The use of an endpoint's instances over the last minutes, a variant's highest of each period; oldest first."""
    described = cloud.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    variants = [variant["VariantName"] for variant in described.get("ProductionVariants", [])]
    dimensions = {variant: {"EndpointName": endpoint, "VariantName": variant} for variant in variants}
    now = datetime.now(UTC)
    return _read(cloud, ENDPOINTS, dimensions, now - timedelta(minutes=minutes), now)


def _read(cloud: Cloud, namespace: str, hosts: dict[str, dict[str, str]], start: datetime, end: datetime) -> list[Use]:
    period = 1 if datetime.now(UTC) - start < FINE and end - start < MAX_FINE else 60
    keys = {f"{key}{number}": (host, key) for number, host in enumerate(hosts) for key in METRICS}
    queries = [_query(name, namespace, METRICS[key], hosts[host], period) for name, (host, key) in keys.items()]
    pages = (
        cloud.client("cloudwatch")
        .get_paginator("get_metric_data")
        .paginate(MetricDataQueries=queries, StartTime=start, EndTime=end + timedelta(seconds=period))
    )
    found: dict[tuple[datetime, str], dict[str, float]] = {}
    for result in (result for page in pages for result in page["MetricDataResults"]):
        host, key = keys[result["Id"]]
        for time, value in zip(result["Timestamps"], result["Values"], strict=True):
            found.setdefault((time, host), {})[key] = value
    complete = sorted((at, values) for at, values in found.items() if len(values) == len(METRICS))
    return [Use(host, time, **values) for (time, host), values in complete]


def _query(name: str, namespace: str, metric: str, dimensions: dict[str, str], period: int) -> dict[str, Any]:
    named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    asked = {"Namespace": namespace, "MetricName": metric, "Dimensions": named}
    return {"Id": name, "MetricStat": {"Metric": asked, "Period": period, "Stat": "Maximum"}}


# ---- argued ----


def rightsize(rows: Sequence[Use], instance_type: str, candidates: Iterable[Choice]) -> list[Fit]:
    """Whether what was measured on ``instance_type`` would fit each candidate, the cheapest first, and why.

    Too little memory ends a job; too few processors make it slower. ``candidates`` (``costs.choices``) must have the
    measured type among them; those of unknown size are left out. Raises ``ValueError`` where there is nothing to argue
    from.
    """
    known = {one.type: one for one in candidates if one.vcpu and one.gib}
    if instance_type not in known:
        raise ValueError(f"{instance_type}, which was measured, is not among the candidates: its size is not known")
    if not rows:
        raise ValueError("nothing was measured")
    cores = max(row.cpu for row in rows) / 100
    gib = max(row.memory for row in rows) / 100 * (known[instance_type].gib or 0)
    return sorted((_fit(one, cores, gib) for one in known.values()), key=lambda fit: fit.usd_hour)


def _fit(candidate: Choice, cores: float, gib: float) -> Fit:
    vcpu, memory = candidate.vcpu or 0, candidate.gib or 0.0
    enough = gib <= HEADROOM * memory
    told = f"memory peak {gib:.1f} of {memory:g} GiB"
    if not enough:
        short = "would be killed" if gib > memory else f"less than {1 - HEADROOM:.0%} to spare"
        why = f"{told}: {short}"
    elif cores > vcpu:
        why = f"{told}; slower: {cores:.1f} cores were busy, it has {vcpu}"
    else:
        why = f"{told}; {cores:.1f} of {vcpu} vCPUs were busy"
    return Fit(candidate.type, vcpu, memory, candidate.usd_hour, enough and cores <= vcpu, why)
