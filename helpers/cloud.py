"""Connect: to AWS, or to the embedded one. The only place of the series that knows there are two."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from . import prices
from .settings import ROOT, Settings

# What a run of the series needs of the machine that its notebooks are on, with photos and the embedded AWS.
DISK_GB, MEMORY_GB = 3, 2

# Services that are asked in one region for all of them.
HOMES = {"pricing": "us-east-1", "budgets": "us-east-1"}


class CloudError(RuntimeError):
    """The cloud cannot be used as things are; the message says what to do."""


@dataclass(frozen=True)
class Cloud:
    """A connection: clients, account and names, for one project in one region."""

    settings: Settings
    session: boto3.Session
    account: str
    caller: str

    def client(self, service: str) -> Any:
        """A boto3 client of a service, made once, with retries for throttled calls."""
        clients = self._clients
        if service not in clients:
            retries = Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32)
            region = HOMES.get(service, self.region)
            clients[service] = self.session.client(service, region_name=region, config=retries)
        return clients[service]

    @property
    def region(self) -> str:
        """The region all of the series is in."""
        return self.settings.region

    @property
    def bucket(self) -> str:
        """The project's bucket. Bucket names are global: the account's number makes it one's own."""
        return f"{self.settings.project}-{self.account}-{self.region}"

    @property
    def name(self) -> str:
        """Which cloud this is, for a heading."""
        return "AWS" if self.settings.target == "aws" else "the embedded AWS"

    @property
    def tags(self) -> list[dict[str, str]]:
        """What everything that the series creates is tagged with, as most services want to be told."""
        return [{"Key": key, "Value": value} for key, value in self.settings.tags.items()]

    def s3_uri(self, *parts: str) -> str:
        """An address in the project's bucket."""
        return "/".join([f"s3://{self.bucket}", *parts])

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    @cached_property
    def prices(self) -> prices.PriceList:
        """What things cost in this region."""
        return prices.of(self)

    @property
    def charges(self) -> str:
        """What a bill of this cloud is, for a heading."""
        return charges(self.settings)

    @cached_property
    def sagemaker_session(self) -> Any:
        """The SageMaker SDK's session, on this connection and with the project's bucket."""
        from sagemaker.core.helper.session_helper import Session

        return Session(boto_session=self.session, default_bucket=self.bucket)


def connect(settings: Settings) -> Cloud:
    """Connect to the cloud the settings name, starting the embedded AWS where it is that one.

    Raises :class:`CloudError` where there is no cloud or no identity, saying what to do.
    """
    if settings.target == "local":
        os.environ.update(_embedded(settings.time_scale))
    os.environ.update({"AWS_REGION": settings.region, "AWS_DEFAULT_REGION": settings.region})
    os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
    if settings.target == "aws" and os.environ.get("AWS_ENDPOINT_URL"):
        raise CloudError("target is 'aws' but AWS_ENDPOINT_URL is set; unset it, or choose target 'local'")
    session = boto3.Session(region_name=settings.region)
    try:
        identity = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise CloudError(
            f"no identity on {settings.target}: {error}. On AWS, sign in first (aws sts get-caller-identity)."
        ) from error
    return Cloud(settings, session, identity["Account"], identity["Arn"])


def ensure_bucket(cloud: Cloud) -> str:
    """The project's bucket: private, encrypted, tagged; made where it is not there. Returns its name."""
    s3 = cloud.client("s3")
    where = {} if cloud.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
    try:
        s3.create_bucket(Bucket=cloud.bucket, **where)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        return cloud.bucket
    private = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
    s3.put_public_access_block(Bucket=cloud.bucket, PublicAccessBlockConfiguration=dict.fromkeys(private, True))
    s3.put_bucket_tagging(Bucket=cloud.bucket, Tagging={"TagSet": cloud.tags})
    return cloud.bucket


def preflight(cloud: Cloud) -> dict[str, str]:
    """What a run stands on: cloud, identity, region, versions, and this machine's free disk and memory."""
    from importlib.metadata import version

    free, memory = shutil.disk_usage(ROOT).free / 1e9, available_memory() / 1e9
    return {
        "cloud": cloud.name,
        "account": cloud.account,
        "identity": cloud.caller.rpartition(":")[2],
        "region": cloud.region,
        "python": ".".join(map(str, sys.version_info[:3])),
        "sagemaker": version("sagemaker"),
        "boto3": version("boto3"),
        "free disk": f"{free:.0f} GB" + ("" if free > DISK_GB else f" (too little: at least {DISK_GB} GB)"),
        "free memory": f"{memory:.1f} GB" + ("" if memory > MEMORY_GB else f" (too little: at least {MEMORY_GB} GB)"),
    }


def available_memory() -> float:
    """Bytes that this machine could still give to programs."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux: all of it, then
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def tagged(cloud: Cloud) -> list[tuple[str, str]]:
    """Kind and name of all that carries the project's tags, as ``("sagemaker:endpoint", "dog-breeds")``.

    AWS answers from an index that remembers deleted resources for a while.
    """
    pages = cloud.client("resourcegroupstaggingapi").get_paginator("get_resources")
    wanted = [{"Key": key, "Values": [value]} for key, value in cloud.settings.tags.items()]
    arns = [one["ResourceARN"] for page in pages.paginate(TagFilters=wanted) for one in page["ResourceTagMappingList"]]
    return [_kind_and_name(arn) for arn in arns]


def _kind_and_name(arn: str) -> tuple[str, str]:
    service, resource = arn.split(":")[2], arn.split(":", 5)[5]
    if service == "s3":
        return "s3:bucket", resource
    kind, _, name = resource.replace(":", "/", 1).partition("/")
    return f"{service}:{kind}", name


def embedded_state() -> Path:
    """Where the embedded AWS keeps its state."""
    return Path(os.environ.get("LOCALAWS_STATE", ROOT / ".localaws")).resolve()


def embedded_pid() -> int | None:
    """The process of the embedded AWS, where one runs."""
    try:
        return int(json.loads((embedded_state() / "server.json").read_text())["pid"])
    except (OSError, ValueError):
        return None


def charges(settings: Settings) -> str:
    """What the costs are that are told of a run, in words."""
    if settings.target == "aws":
        return "at list prices: without free tier, discounts and tax"
    return "nothing was charged: what this would have cost on AWS, at list prices"


def start_embedded(settings: Settings) -> None:
    """Start the embedded AWS, or leave it as it is where it runs; on AWS there is nothing to start."""
    if settings.target == "local":
        _localaws("up", "--time-scale", str(settings.time_scale))


def resume_embedded(settings: Settings) -> None:
    """Where an earlier run has left state: start the embedded AWS on it, and wait for the endpoint's instances.

    They are started anew with it, and until they answer a notebook that calls the endpoint would be refused (503).
    """
    if settings.target != "local" or not (embedded_state() / "id").exists():
        return
    found = _embedded(settings.time_scale)
    sagemaker = boto3.client(
        "sagemaker",
        region_name=settings.region,
        endpoint_url=found["AWS_ENDPOINT_URL"],
        aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
    )
    with suppress(sagemaker.exceptions.ClientError):  # there is no endpoint yet
        while sagemaker.describe_endpoint(EndpointName=settings.endpoint_name)["EndpointStatus"] == "SystemUpdating":
            time.sleep(0.5)


def stop_embedded() -> None:
    """End the embedded AWS and every process it started, where there is one; its state stays."""
    if (embedded_state() / "id").exists():
        _localaws("down")


def _embedded(time_scale: float) -> dict[str, str]:
    """Start or attach to the embedded AWS; the variables that point every client at it."""
    _localaws("up", "--time-scale", str(time_scale))
    variables: dict[str, str] = json.loads(_localaws("env", "--json"))
    return variables


def _localaws(command: str, *options: str) -> str:
    argv = [sys.executable, "-m", "helpers.localaws", command, "--state", str(embedded_state()), *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CloudError(done.stderr.strip())
    return done.stdout
