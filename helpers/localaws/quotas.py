"""Service quotas: what an account may have of what bills, and the requests to have more.

The names and codes are AWS's; the values are those of an account that is in use, since AWS gives every account its own.
``LOCALAWS_QUOTAS='{"L-49679826": 0}'`` in the server's environment sets others, to teach or to test what a new account
meets. https://docs.aws.amazon.com/general/latest/gr/sagemaker.html
"""

from __future__ import annotations

import functools
import json
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engines.clock import Clock
from .engines.functions.concurrency import QUOTA
from .engines.functions.concurrency import SETTING as LAMBDA_SETTING
from .errors import refuse
from .store import Document, Store

SETTING = "LOCALAWS_QUOTAS"
LAMBDA_CONCURRENCY = QUOTA
CATALOGUE = Path(__file__).with_name("quotas.json")
SERVICES = {
    "ec2": "Amazon Elastic Compute Cloud (Amazon EC2)",
    "lambda": "AWS Lambda",
    "sagemaker": "Amazon SageMaker",
}
# EC2's quotas in vCPUs, on demand and on spot, by the families that share them.
BUCKETS = {
    "a c d h i im is m r t z": ("L-1216C47A", "L-34B43A08"),
    "g gr vt": ("L-DB2E81BA", "L-3819A6DF"),
}
# Of an instance type that the catalogue does not name.
OTHER_INSTANCES = 20
# AWS decides most small requests by itself, within minutes.
DECIDED_AFTER_SECONDS = 60.0
OPEN = ("PENDING", "CASE_OPENED")


@dataclass(frozen=True)
class Quota:
    """One quota of the catalogue: its default, and the value that is applied in an account in use."""

    service: str
    code: str
    name: str
    default: float
    applied: float


@functools.cache
def catalogue() -> dict[str, Quota]:
    """The quotas that are known here, by code."""
    return {row["code"]: Quota(**row) for row in json.loads(CATALOGUE.read_text())}


def bucket(instance_type: str) -> str | None:
    """The families of EC2 instances that share a quota with this type; None where it has none here."""
    family = re.split(r"\d", instance_type, maxsplit=1)[0]
    return next((families for families in BUCKETS if family in families.split()), None)


class Quotas:
    """The applied values of each region, and the requests for more; both are kept in the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._values, self._requests, self._clock = store.table("quota"), store.table("quota-request"), clock
        self._locked = store.locked
        self._set: dict[str, float] = json.loads(os.environ.get(SETTING) or "{}")
        if os.environ.get(LAMBDA_SETTING):
            self._set.setdefault(LAMBDA_CONCURRENCY, float(os.environ[LAMBDA_SETTING]))
        unknown = self._set.keys() - catalogue().keys()
        if unknown:
            known = ", ".join(sorted(catalogue()))
            raise ValueError(f"{SETTING} has the unknown quota {sorted(unknown)[0]}; there are {known}")

    def value(self, region: str, code: str) -> float:
        """What is applied: a granted request's value, else what the server was told, else the catalogue's."""
        self._decide(region)
        granted = self._values.find(region, code)
        return float(granted["Value"]) if granted else self._set.get(code, catalogue()[code].applied)

    def check_instances(self, region: str, instance_type: str, use: str, wanted: int, used: int) -> None:
        """Raise ``ResourceLimitExceeded`` where ``wanted`` more instances are above the quota.

        ``use`` as quotas are named: ``training job``, ``spot training job``, ``endpoint``, ``notebook instance``.
        """
        name = f"{instance_type} for {use} usage"
        code = next((quota.code for quota in catalogue().values() if quota.name == name), None)
        limit = int(self.value(region, code)) if code else OTHER_INSTANCES
        if used + wanted > limit:
            refuse(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' is {limit} Instances, with current utilization of {used} "
                f"Instances and a request delta of {wanted} Instances. Please use AWS Service Quotas to request an "
                "increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an "
                "increase for this quota.",
            )

    def check_vcpus(self, region: str, families: str, spot: bool, wanted: int, used: int) -> None:
        """Raise EC2's error where ``wanted`` more vCPUs, of a bucket that :func:`bucket` names, are above the quota."""
        code = BUCKETS[families][spot]
        limit = int(self.value(region, code))
        if used + wanted <= limit:
            return
        if spot:
            refuse("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
        refuse(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance "
            "bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
        )

    # ---- requests ----

    def request(self, region: str, code: str, wanted: float, requester: str) -> Document:
        """Ask for more; it is granted after AWS's usual moment."""
        with self._locked():  # of two who ask at once, one has asked before
            return self._request(region, code, wanted, requester)

    def _request(self, region: str, code: str, wanted: float, requester: str) -> Document:
        if any(one["QuotaCode"] == code and one["Status"] in OPEN for one in self.requests(region)):
            refuse(
                "ResourceAlreadyExistsException", "Only one open service quota increase request is allowed per quota."
            )
        if wanted <= self.value(region, code):
            refuse("IllegalArgumentException", "You must provide a quota value greater than the current quota value.")
        quota, now = catalogue()[code], self._clock.now()
        document: Document = {
            "Id": uuid.uuid4().hex,
            "ServiceCode": quota.service,
            "ServiceName": SERVICES[quota.service],
            "QuotaCode": code,
            "QuotaName": quota.name,
            "DesiredValue": wanted,
            "Status": "PENDING",
            "Created": now,
            "LastUpdated": now,
            "Requester": requester,
            "QuotaArn": f"arn:aws:servicequotas:{region}:{requester.split(':')[4]}:{quota.service}/{code}",
            "GlobalQuota": False,
            "Unit": "None",
            "QuotaRequestedAtLevel": "ACCOUNT",
        }
        self._requests.insert(region, document["Id"], document)
        return document

    def requests(self, region: str) -> list[dict[str, Any]]:
        """All requests of a region, newest first."""
        self._decide(region)
        return sorted(self._requests.list(region), key=lambda one: one["Created"], reverse=True)

    def _decide(self, region: str) -> None:
        """Grant what has waited long enough. A moment passes by itself, so no thread is needed, nor lost by a crash."""
        now = self._clock.now()
        for one in self._requests.list(region):
            waited = (now - one["Created"]).total_seconds() * self._clock.scale
            if one["Status"] in OPEN and waited >= DECIDED_AFTER_SECONDS:
                self._values.put(region, one["QuotaCode"], {"Value": one["DesiredValue"]})
                self._requests.put(region, one["Id"], {**one, "Status": "APPROVED", "LastUpdated": now})
