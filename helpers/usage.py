"""What a project has used, found in the cloud by tag and name: hours, requests, GB-seconds and GB-months."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from . import compute
from .cloud import Cloud, tagged
from .functions import parse_report
from .prices import EC2, LAMBDA, S3, SAGEMAKER, SPOT

MONTH_DAYS = 30
MONTH_SECONDS = MONTH_DAYS * 86_400
GIB = 2**30
GONE = ("ResourceNotFoundException", "ResourceNotFound", "NoSuchBucket", "404", "ValidationException")
DONE = "Successful"
COUNT = re.compile(r"Setting desired instance count to (\d+)")


@dataclass(frozen=True)
class Used:
    """An amount of something that has a price: ``quantity`` in ``unit``, of a service's usage type."""

    what: str
    service: str
    usage_type: str
    quantity: float
    unit: str


def find(cloud: Cloud, *about: str) -> list[Used]:
    """What the project has used and the cloud still knows of: all, or what begins with one of ``about``.

    Only what is asked for is looked at: a bucket of many objects takes a while.
    """
    now, names = datetime.now(UTC), _tagged(cloud)
    readers: dict[str, Callable[[], Iterable[Used]]] = {
        "training": lambda: _each(cloud, now, names["training-job"], _training_job),
        "endpoint": lambda: _each(cloud, now, names["endpoint"], _endpoint),
        "notebook instance": lambda: _each(cloud, now, names["notebook-instance"], _notebook_instance),
        "EC2 instance": lambda: _each(cloud, now, _instances(cloud), _instance),
        "EC2 volume": lambda: _volumes(cloud, now),
        "function": lambda: _each(cloud, now, names["function"], _function),
        "bucket": lambda: _each(cloud, now, names["bucket"], _bucket),
    }
    wanted = about or tuple(readers)
    chosen = [read for kind, read in readers.items() if any(_overlap(kind, one) for one in wanted)]
    return [used for read in chosen for used in read() if used.what.startswith(wanted)]


def _overlap(kind: str, asked: str) -> bool:
    return kind.startswith(asked) or asked.startswith(kind)


def _each(cloud: Cloud, now: datetime, names: list[str], read: Any) -> Iterator[Used]:
    for name in names:
        try:
            found = list(read(cloud, name, now))
        except ClientError as error:
            # AWS's index of tags remembers for a while what is gone.
            if error.response["Error"]["Code"] not in GONE:
                raise
            continue
        yield from (used for used in found if used.quantity)


def _tagged(cloud: Cloud) -> dict[str, list[str]]:
    """Names of the project's resources, by kind."""
    names: dict[str, list[str]] = {
        kind: [] for kind in ("training-job", "endpoint", "notebook-instance", "function", "bucket")
    }
    for kind, name in tagged(cloud):
        names.setdefault(kind.partition(":")[2], []).append(name)
    return names


# ---- SageMaker ----


def _training_job(cloud: Cloud, name: str, now: datetime) -> Iterable[Used]:
    """Billable seconds of each instance. Those of a spot job already are what is paid at the on-demand price."""
    job = cloud.client("sagemaker").describe_training_job(TrainingJobName=name)
    resources, started = job["ResourceConfig"], job.get("TrainingStartTime")
    running = (now - started).total_seconds() if started and "TrainingEndTime" not in job else 0.0
    seconds = job.get("BillableTimeInSeconds", running) * resources["InstanceCount"]
    yield _hours(f"training {name}", "Train", resources["InstanceType"], seconds)
    yield _volume(f"training {name}, volume", "Train", resources.get("VolumeSizeInGB", 0), seconds)


def _endpoint(cloud: Cloud, name: str, now: datetime) -> Iterable[Used]:
    """From creation to now, with as many instances as the configuration began with or has been set since.

    The autoscaler keeps a list of its changes; of those by hand only the last is known.
    """
    sagemaker = cloud.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=name)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    for variant in config["ProductionVariants"]:
        if "InstanceType" not in variant:
            continue
        count = variant.get("InitialInstanceCount", 1)
        changes = [*_scaled(cloud, name, variant["VariantName"]), *_last_change(endpoint, variant["VariantName"])]
        seconds = instance_seconds(endpoint["CreationTime"], now, count, changes)
        yield _hours(f"endpoint {name}", "Host", variant["InstanceType"], seconds)


def _scaled(cloud: Cloud, endpoint: str, variant: str) -> list[tuple[datetime, int]]:
    """When the autoscaler set which number of instances; AWS remembers six weeks."""
    pages = cloud.client("application-autoscaling").get_paginator("describe_scaling_activities")
    where = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{endpoint}/variant/{variant}"}
    activities = [one for page in pages.paginate(**where) for one in page["ScalingActivities"]]
    counted = ((one, COUNT.search(one.get("Description", ""))) for one in activities if one["StatusCode"] == DONE)
    return [(one["StartTime"], int(count[1])) for one, count in counted if count]


def _last_change(endpoint: dict[str, Any], variant: str) -> Iterator[tuple[datetime, int]]:
    """Since when there are as many instances as now, while nothing is changing."""
    for one in endpoint.get("ProductionVariants", []):
        if endpoint["EndpointStatus"] == "InService" and one["VariantName"] == variant:
            yield endpoint["LastModifiedTime"], one["CurrentInstanceCount"]


def instance_seconds(start: datetime, end: datetime, count: int, changes: Iterable[tuple[datetime, int]]) -> float:
    """Instances times seconds from ``start`` to ``end``: ``count`` at first, then what each change sets."""
    seconds, since = 0.0, start
    for moment, number in sorted(changes):
        if start <= moment <= end:
            seconds += count * (moment - since).total_seconds()
            since, count = moment, number
    return seconds + count * (end - since).total_seconds()


def _notebook_instance(cloud: Cloud, name: str, now: datetime) -> Iterable[Used]:
    """Since its last start, or (stopped) at most from creation to its stop: AWS keeps no history of starts."""
    found = cloud.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name)
    created, changed = found["CreationTime"], found["LastModifiedTime"]
    runs = found["NotebookInstanceStatus"] in ("InService", "Stopping", "Updating")
    seconds = (now - changed).total_seconds() if runs else (changed - created).total_seconds()
    yield _hours(f"notebook instance {name}", "Notebk", found["InstanceType"], seconds)
    age = (now - created).total_seconds()
    yield _volume(f"notebook instance {name}, volume", "Notebk", found.get("VolumeSizeInGB", 5), age)


def _hours(what: str, use: str, instance_type: str, seconds: float) -> Used:
    return Used(what, SAGEMAKER, f"{use}:{instance_type}", seconds / 3600, f"h {instance_type}")


def _volume(what: str, use: str, gigabytes: float, seconds: float) -> Used:
    return Used(what, SAGEMAKER, f"{use}:VolumeUsage.gp2", gigabytes * seconds / MONTH_SECONDS, "GB-month")


# ---- EC2 ----


def _instances(cloud: Cloud) -> list[str]:
    """The project's instances; AWS shows an instance for about an hour after its end."""
    pages = cloud.client("ec2").get_paginator("describe_instances")
    wanted = [{"Name": "tag:project", "Values": [cloud.settings.project]}]
    reservations = [one for page in pages.paginate(Filters=wanted) for one in page["Reservations"]]
    return [instance["InstanceId"] for reservation in reservations for instance in reservation["Instances"]]


def _instance(cloud: Cloud, name: str, _: datetime) -> Iterable[Used]:
    found = compute.summary(cloud, name)
    usage_type = f"{SPOT if found['spot'] else 'BoxUsage:'}{found['instance_type']}"
    hours = found["billable_seconds"] / 3600
    yield Used(f"EC2 instance {name}", EC2, usage_type, hours, f"h {found['instance_type']}")


def _volumes(cloud: Cloud, now: datetime) -> Iterator[Used]:
    """Volumes that are there, since they were made; those of terminated instances went with them."""
    pages = cloud.client("ec2").get_paginator("describe_volumes")
    for page in pages.paginate(Filters=[{"Name": "tag:project", "Values": [cloud.settings.project]}]):
        for volume in page["Volumes"]:
            months = volume["Size"] * (now - volume["CreateTime"]).total_seconds() / MONTH_SECONDS
            yield Used(f"EC2 volume {volume['VolumeId']}", EC2, "EBS:VolumeUsage.gp3", months, "GB-month")


# ---- Lambda and S3 ----


def _function(cloud: Cloud, name: str, now: datetime) -> Iterable[Used]:
    """What the REPORT lines of its log say was billed, and what its provisioned environments wait for."""
    requests, gb_seconds = 0, 0.0
    pages = cloud.client("logs").get_paginator("filter_log_events")
    for page in pages.paginate(logGroupName=f"/aws/lambda/{name}", filterPattern='"REPORT RequestId"'):
        for report in filter(None, (parse_report(event["message"]) for event in page["events"])):
            requests += 1
            gb_seconds += report.billed_ms / 1000 * report.memory_mb / 1024
    yield Used(f"function {name}, time", LAMBDA, "Lambda-GB-Second", gb_seconds, "GB-s")
    yield Used(f"function {name}, requests", LAMBDA, "Request", float(requests), "requests")
    yield from _provisioned(cloud, name, now)


def _provisioned(cloud: Cloud, name: str, now: datetime) -> Iterable[Used]:
    """The environments that wait now, since their number was set; AWS remembers none that waited before."""
    client = cloud.client("lambda")
    pages = client.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=name)
    for one in (one for page in pages for one in page["ProvisionedConcurrencyConfigs"]):
        since = datetime.fromisoformat(one["LastModified"])
        memory = client.get_function_configuration(FunctionName=one["FunctionArn"])["MemorySize"]
        count = one["AllocatedProvisionedConcurrentExecutions"]
        gb_seconds = count * memory / 1024 * (now - since).total_seconds()
        what = f"function {name}, provisioned for {one['FunctionArn'].rpartition(':')[2]}"
        yield Used(what, LAMBDA, "Lambda-Provisioned-Concurrency", gb_seconds, "GB-s")


def _bucket(cloud: Cloud, name: str, now: datetime) -> Iterable[Used]:
    """Every object from when it was put until now; in a bucket with versions, every version."""
    s3, gb_months = cloud.client("s3"), 0.0
    versioned = "Status" in s3.get_bucket_versioning(Bucket=name)
    call, listed = ("list_object_versions", "Versions") if versioned else ("list_objects_v2", "Contents")
    for page in s3.get_paginator(call).paginate(Bucket=name):
        for one in page.get(listed, []):
            age = max(0.0, (now - one["LastModified"]).total_seconds())
            gb_months += one["Size"] / GIB * age / MONTH_SECONDS
    yield Used(f"bucket {name}", S3, "TimedStorage-ByteHrs", gb_months, "GB-month")
