"""What runs now, and what it costs an hour: the meters that go on while nobody looks."""

from __future__ import annotations

from collections.abc import Iterator

from . import compute, costs
from .cloud import Cloud, tagged
from .costs import Line

HOUR = 3600


def running(cloud: Cloud) -> list[Line]:
    """One line, of one hour, for each thing of the project that bills until somebody ends it.

    Endpoints with as many instances as they have or are to have, notebook instances and EC2 instances that run, and
    provisioned concurrency. Raises :class:`UnknownPrice` for a type without a price.
    """
    names = tagged(cloud)
    endpoints = [line for kind, name in names if kind == "sagemaker:endpoint" for line in _endpoint(cloud, name)]
    books = [line for kind, name in names if kind == "sagemaker:notebook-instance" for line in _notebook(cloud, name)]
    waiting = [line for kind, name in names if kind == "lambda:function" for line in _provisioned(cloud, name)]
    return [*endpoints, *books, *_machines(cloud), *waiting]


def over(lines: list[Line], days: float) -> float:
    """USD that meters come to in so many days.

    >>> over([Line("endpoint", 1, "h ml.c5.xlarge", 0.204)], days=7)
    34.272
    """
    return round(costs.total(lines) * 24 * days, 6)


def _endpoint(cloud: Cloud, name: str) -> Iterator[Line]:
    sagemaker = cloud.client("sagemaker")
    try:
        found = sagemaker.describe_endpoint(EndpointName=name)
    except sagemaker.exceptions.ClientError:  # the index of tags remembers for a while what is gone
        return
    config = sagemaker.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
    types = {one["VariantName"]: one["InstanceType"] for one in config["ProductionVariants"] if "InstanceType" in one}
    for variant in found.get("ProductionVariants", []):
        # What is wanted bills from when it starts, which is before it serves.
        count = max(variant.get("CurrentInstanceCount", 0), variant.get("DesiredInstanceCount", 0))
        kind = types.get(variant["VariantName"])
        if count and kind:
            yield costs.instance(f"endpoint {name}", kind, count, HOUR, kind="endpoint", prices=cloud.prices)


def _notebook(cloud: Cloud, name: str) -> Iterator[Line]:
    sagemaker = cloud.client("sagemaker")
    try:
        found = sagemaker.describe_notebook_instance(NotebookInstanceName=name)
    except sagemaker.exceptions.ClientError:
        return
    if found["NotebookInstanceStatus"] in ("Pending", "InService", "Updating"):
        what, kind = f"notebook instance {name}", found["InstanceType"]
        yield costs.instance(what, kind, 1, HOUR, kind="notebook", prices=cloud.prices)


def _machines(cloud: Cloud) -> Iterator[Line]:
    for name in compute.instances(cloud):
        found = compute.describe(cloud, name)
        if found["State"]["Name"] in ("pending", "running"):
            spot = found.get("InstanceLifecycle") == "spot"
            yield costs.instance(
                f"EC2 instance {name}", found["InstanceType"], 1, HOUR, spot, kind="ec2", prices=cloud.prices
            )


def _provisioned(cloud: Cloud, name: str) -> Iterator[Line]:
    client = cloud.client("lambda")
    pages = client.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=name)
    try:
        found = [one for page in pages for one in page["ProvisionedConcurrencyConfigs"]]
    except client.exceptions.ResourceNotFoundException:
        return
    for one in found:
        memory = client.get_function_configuration(FunctionName=one["FunctionArn"])["MemorySize"]
        count = one["AllocatedProvisionedConcurrentExecutions"]
        yield costs.provisioned(f"function {name}, provisioned", count, 1, memory, prices=cloud.prices)
