"""Prices of AWS: live from the Price List and EC2's spot price history, or from the repository's dated snapshot.

Every price says where it is from. https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html
"""

from __future__ import annotations

import functools
import json
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from .cloud import Cloud

SNAPSHOT = Path(__file__).with_name("prices.json")
SAGEMAKER, EC2, LAMBDA, S3 = "AmazonSageMaker", "AmazonEC2", "AWSLambda", "AmazonS3"
# What a kind of use is called in usage types.
USES = {"training": "Train", "endpoint": "Host", "notebook": "Notebk"}
SPOT = "SpotUsage:"


class UnknownPrice(KeyError):
    """There is no such price; the message says of what, and where there are prices."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Price:
    """USD for one ``unit`` (``Hrs``, ``GB-Mo``, ``Lambda-GB-Second``, ``Requests``) of a usage type."""

    usage_type: str
    usd: float
    unit: str
    source: str
    vcpu: int | None = None
    memory_gib: float | None = None


Lookup = Callable[[str, str], Iterable[Price]]


class PriceList:
    """The prices of one region, looked up once each. ``lookup(service, usage type)`` finds them, and their like."""

    def __init__(self, region: str, lookup: Lookup) -> None:
        self.region, self._lookup = region, lookup
        self._known: dict[tuple[str, str], Price] = {}

    def of(self, service: str, usage_type: str) -> Price:
        """The price of a usage type, named without its region's prefix; raises :class:`UnknownPrice`."""
        if (service, usage_type) not in self._known:
            self._known |= {(service, price.usage_type): price for price in self._lookup(service, usage_type)}
        if (service, usage_type) not in self._known:
            raise UnknownPrice(f"{service} has no price of {usage_type} in {self.region}; {_where()}")
        return self._known[service, usage_type]

    def instance(self, kind: str, instance_type: str, spot: bool = False) -> Price:
        """An instance's hour. ``kind``: training, endpoint, notebook; types without ``ml.`` are EC2's."""
        if not instance_type.startswith("ml."):
            return self.of(EC2, f"{SPOT if spot else 'BoxUsage:'}{instance_type}")
        if not spot:
            return self.of(SAGEMAKER, f"{USES[kind]}:{instance_type}")
        return self._managed_spot(instance_type)

    def _managed_spot(self, instance_type: str) -> Price:
        """SageMaker publishes no spot price: take EC2's of the same size, which is what its savings have come to."""
        size = instance_type.removeprefix("ml.")
        spot = self.of(EC2, f"{SPOT}{size}")
        named = f"Train:{instance_type} (spot)"
        return replace(spot, usage_type=named, source=f"derived from EC2's {size}: {spot.source}")


# ---- the snapshot ----


@functools.cache
def snapshot() -> PriceList:
    """The prices in the repository: real, of one region, as old as their date says."""
    document = _document()
    source = f"snapshot of {document['date']}"
    found: dict[tuple[str, str], Price] = {}
    for row in document["products"]:
        usage_type = without_region(row["usagetype"])
        size = document["instances"].get(usage_type.rpartition(":")[2].removeprefix("ml."), {})
        found[row["service"], usage_type] = Price(
            usage_type, float(row["usd"]), row["unit"], source, size.get("vcpu"), size.get("memory_gib")
        )
    for name in {row["type"] for row in document["spot"]}:
        prices = [float(row["usd"]) for row in document["spot"] if row["type"] == name]
        found[EC2, f"{SPOT}{name}"] = Price(f"{SPOT}{name}", statistics.median(prices), "Hrs", source)
    return PriceList(document["region"], lambda service, name: filter(None, [found.get((service, name))]))


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SNAPSHOT.read_text())
    return document


def _where() -> str:
    document = _document()
    return f"the repository's snapshot of {document['date']} has {document['region']} only ({SNAPSHOT.name})"


def without_region(usage_type: str) -> str:
    """``USE1-Train:ml.c5.xlarge`` is ``Train:ml.c5.xlarge`` with its region's prefix."""
    return re.sub(r"^[A-Z]{2,4}\d?-", "", usage_type)


# ---- live ----


def of(cloud: Cloud) -> PriceList:
    """The prices of a cloud's region: live, or the snapshot's where AWS's prices cannot be asked for."""

    def lookup(service: str, usage_type: str) -> list[Price]:
        try:
            found = _spot(cloud, usage_type) if usage_type.startswith(SPOT) else _listed(cloud, service, usage_type)
            return list(found)
        except (BotoCoreError, ClientError) as error:
            if cloud.region != snapshot().region:
                told = f"the price list cannot be asked ({error}) for {cloud.region}; {_where()}"
                raise UnknownPrice(told) from error
            return [snapshot().of(service, usage_type)]

    return PriceList(cloud.region, lookup)


def _listed(cloud: Cloud, service: str, usage_type: str) -> Iterable[Price]:
    pages = cloud.client("pricing").get_paginator("get_products")
    for page in pages.paginate(ServiceCode=service, Filters=_filters(cloud.region, service, usage_type)):
        for text in page["PriceList"]:
            yield from read_product(json.loads(text))


def _filters(region: str, service: str, usage_type: str) -> list[dict[str, str]]:
    name = usage_type.partition(":")[2]
    wanted = {"regionCode": region}
    if service == SAGEMAKER and name.startswith("ml."):
        wanted |= {"instanceName": name}
    elif usage_type.startswith("BoxUsage:"):
        wanted |= {"instanceType": name, "operatingSystem": "Linux", "tenancy": "Shared"}
        wanted |= {"preInstalledSw": "NA", "capacitystatus": "Used"}
    else:
        return [*_terms(wanted), {"Type": "CONTAINS", "Field": "usagetype", "Value": usage_type}]
    return _terms(wanted)


def _terms(wanted: dict[str, str]) -> list[dict[str, str]]:
    return [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]


def read_product(product: dict[str, Any]) -> Iterable[Price]:
    """The on-demand prices of one product of the Price List, first tier (``beginRange`` 0) of each."""
    attributes = product["product"]["attributes"]
    version = product.get("version", "")
    source = f"AWS Price List, {'live' if version.isdigit() else version}"
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension.get("beginRange", "0") == "0" and "USD" in dimension["pricePerUnit"]:
                yield Price(
                    without_region(attributes.get("usagetype", "")),
                    float(dimension["pricePerUnit"]["USD"]),
                    dimension["unit"],
                    source,
                    _number(attributes.get("vcpu") or attributes.get("vCpu"), int),
                    _number(attributes.get("memory"), float),
                )


def _number(text: str | None, kind: Callable[[str], Any]) -> Any:
    """The number that a text such as ``16 GiB`` starts with; None where there is none."""
    found = re.match(r"[\d.]+", text or "")
    return kind(found[0]) if found else None


def _spot(cloud: Cloud, usage_type: str) -> Iterable[Price]:
    """The median over the zones of what an hour costs now."""
    pages = (
        cloud.client("ec2")
        .get_paginator("describe_spot_price_history")
        .paginate(
            InstanceTypes=[usage_type.removeprefix(SPOT)],
            ProductDescriptions=["Linux/UNIX"],
            StartTime=datetime.now(UTC),
        )
    )
    rows = [row for page in pages for row in page["SpotPriceHistory"]]
    if rows:
        usd = statistics.median(float(row["SpotPrice"]) for row in rows)
        latest = max(row["Timestamp"] for row in rows)
        yield Price(usage_type, usd, "Hrs", f"EC2 spot price history, {latest:%Y-%m-%d}")
