"""The Price List service and EC2's spot price history, answered from the repository's dated snapshot of real prices.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import refuse
from ..gateway import Params, Request, operation
from ..paging import page

SNAPSHOT = Path(__file__).resolve().parents[2] / "prices.json"
PAGE = 100
SPOT_PAGE = 1000
LINUX = "Linux/UNIX"
NAMES = {
    "AmazonSageMaker": "Amazon SageMaker",
    "AmazonEC2": "Amazon Elastic Compute Cloud",
    "AWSLambda": "AWS Lambda",
    "AmazonS3": "Amazon Simple Storage Service",
    "AmazonCloudWatch": "AmazonCloudWatch",
}
COMPONENTS = {"Train": "Training", "Host": "Hosting", "Notebk": "Notebook"}
# AWS's filter types: does an attribute's value pass, given the filter's value?
FILTERS: dict[str, Callable[[str, str], bool]] = {
    "TERM_MATCH": lambda value, wanted: value.lower() == wanted.lower(),
    "EQUALS": lambda value, wanted: value.lower() == wanted.lower(),
    "CONTAINS": lambda value, wanted: wanted.lower() in value.lower(),
    "ANY_OF": lambda value, wanted: value in wanted.split(","),
    "NONE_OF": lambda value, wanted: value not in wanted.split(","),
}

# ---- Pricing ----


@operation("pricing", "DescribeServices")
def describe_services(_: Request, params: Params) -> Params:
    """The services that have prices here, and the attributes their products have."""
    wanted = params.get("ServiceCode")
    codes = [wanted] if wanted else sorted(NAMES)
    services = [{"ServiceCode": code, "AttributeNames": _attribute_names(code)} for code in codes]
    shown, token = _page(services, "ServiceCode", params)
    return {"Services": shown, "FormatVersion": "aws_v1", "NextToken": token}


@operation("pricing", "GetAttributeValues")
def get_attribute_values(_: Request, params: Params) -> Params:
    """The values that an attribute has among a service's products."""
    code, name = params["ServiceCode"], params["AttributeName"]
    if name not in _attribute_names(code):
        refuse("NotFoundException", f"{code} has no attribute {name}.")
    values = sorted({one["product"]["attributes"].get(name, "") for one in products(code)} - {""})
    shown, token = _page([{"Value": value} for value in values], "Value", params)
    return {"AttributeValues": shown, "NextToken": token}


@operation("pricing", "GetProducts")
def get_products(_: Request, params: Params) -> Params:
    """Products that pass all filters, each as AWS's JSON text of product and terms."""
    if params.get("FormatVersion", "aws_v1") != "aws_v1":
        refuse("InvalidParameterException", f"FormatVersion {params['FormatVersion']} is not supported: aws_v1 is.")
    filters = params.get("Filters", [])
    found = [one for one in products(params["ServiceCode"]) if _passes(one["product"]["attributes"], filters)]
    by_sku = [{"sku": one["product"]["sku"], "text": json.dumps(one)} for one in found]
    shown, token = _page(by_sku, "sku", params)
    return {"FormatVersion": "aws_v1", "PriceList": [one["text"] for one in shown], "NextToken": token}


@functools.cache
def snapshot() -> dict[str, Any]:
    """The snapshot's document."""
    document: dict[str, Any] = json.loads(SNAPSHOT.read_text())
    return document


def products(code: str) -> list[dict[str, Any]]:
    """A service's products in the Price List's form; raises ``NotFoundException`` for a service without prices."""
    if code not in NAMES:
        refuse("NotFoundException", f"Service code {code} not found. There are prices of {', '.join(sorted(NAMES))}.")
    found = [_product(row) for row in snapshot()["products"] if row["service"] == code]
    return sorted(found, key=lambda one: str(one["product"]["sku"]))


def _product(row: dict[str, str]) -> dict[str, Any]:
    sku = _code(row["service"], row["usagetype"], length=16)
    offer, rate = f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7"  # AWS's own codes of on-demand, hourly terms
    dimension = {
        "rateCode": rate,
        "unit": row["unit"],
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"${row['usd']} per {row['unit']} for {row['usagetype']}",
        "appliesTo": [],
        "pricePerUnit": {"USD": row["usd"]},
    }
    term = {
        "offerTermCode": "JRTCKXETXF",
        "sku": sku,
        "effectiveDate": snapshot()["published"],
        "priceDimensions": {rate: dimension},
        "termAttributes": {},
    }
    return {
        "product": {"productFamily": _family(row), "attributes": _attributes(row), "sku": sku},
        "serviceCode": row["service"],
        "terms": {"OnDemand": {offer: term}},
        # AWS has a number made of the publication's moment here; this list says what it is.
        "version": f"snapshot of {snapshot()['date']}",
        "publicationDate": snapshot()["published"],
    }


def _attributes(row: dict[str, str]) -> dict[str, str]:
    attributes = {
        "servicecode": row["service"],
        "servicename": NAMES[row["service"]],
        "location": snapshot()["location"],
        "locationType": "AWS Region",
        "regionCode": snapshot()["region"],
        "usagetype": row["usagetype"],
        "operation": "",
    }
    usage, _, name = row["usagetype"].removeprefix("USE1-").partition(":")
    size = snapshot()["instances"].get(name.removeprefix("ml."))
    if size is None:
        return attributes
    vcpu, memory = str(size["vcpu"]), f"{size['memory_gib']} GiB"
    if row["service"] == "AmazonSageMaker":
        component = COMPONENTS[usage]
        named = {"instanceName": name, "instanceType": f"{name}-{component}", "component": component}
        return attributes | named | {"vCpu": vcpu, "memory": memory}
    shared = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
    size_named = {"instanceType": name, "vcpu": vcpu, "memory": memory, "operation": "RunInstances"}
    return attributes | shared | size_named


def _family(row: dict[str, str]) -> str:
    if row["unit"] == "Hrs":
        return "ML Instance" if row["service"] == "AmazonSageMaker" else "Compute Instance"
    return "Serverless" if row["service"] == "AWSLambda" else "Storage" if row["unit"] == "GB-Mo" else "API Request"


def _attribute_names(code: str) -> list[str]:
    return sorted({name for one in products(code) for name in one["product"]["attributes"]})


def _passes(attributes: dict[str, str], filters: list[Params]) -> bool:
    return all(
        one["Field"] in attributes and FILTERS[one["Type"]](attributes[one["Field"]], one["Value"]) for one in filters
    )


def _code(*parts: str, length: int) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:length].upper()


def _page(rows: list[Params], name: str, params: Params) -> tuple[Any, str | None]:
    return page(rows, name, params.get("NextToken"), params.get("MaxResults", PAGE), "InvalidNextTokenException")


# ---- EC2 spot ----


@operation("ec2", "DescribeSpotPriceHistory")
def describe_spot_price_history(request: Request, params: Params) -> Params:
    """One price for each instance type and zone of the snapshot's region, since its date: they stand still."""
    filters = {one["Name"]: one["Values"] for one in params.get("Filters", [])}
    rows = [row for row in _spot_prices(request.region) if _is_wanted(row, params, filters)]
    shown, token = _spot_page(rows, params)
    return {"SpotPriceHistory": [{k: v for k, v in row.items() if k != "Key"} for row in shown], "NextToken": token}


def _spot_prices(region: str) -> list[Params]:
    if region != snapshot()["region"]:
        return []
    since = datetime.fromisoformat(snapshot()["published"])
    return [
        {
            "Key": f"{row['type']} {row['zone']}",
            "AvailabilityZone": row["zone"],
            "InstanceType": row["type"],
            "ProductDescription": LINUX,
            "SpotPrice": row["usd"],
            "Timestamp": since,
        }
        for row in sorted(snapshot()["spot"], key=lambda row: (row["type"], row["zone"]))
    ]


def _is_wanted(row: Params, params: Params, filters: dict[str, list[str]]) -> bool:
    """A start after the last change of price does not hide it: AWS too answers the price that then holds."""
    unknown = filters.keys() - {"availability-zone", "instance-type", "product-description", "spot-price", "timestamp"}
    if unknown:
        refuse("InvalidParameterValue", f"The filter '{sorted(unknown)[0]}' is invalid")
    values = {
        "availability-zone": row["AvailabilityZone"],
        "instance-type": row["InstanceType"],
        "product-description": row["ProductDescription"],
        "spot-price": row["SpotPrice"],
        "timestamp": row["Timestamp"].strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
    return (
        row["InstanceType"] in (params.get("InstanceTypes") or [row["InstanceType"]])
        and any(one in (LINUX, f"{LINUX} (Amazon VPC)") for one in params.get("ProductDescriptions") or [LINUX])
        and params.get("AvailabilityZone") in (None, row["AvailabilityZone"])
        and (params.get("EndTime") is None or row["Timestamp"] <= params["EndTime"])
        and all(any(fnmatchcase(values[name], one) for one in wanted) for name, wanted in filters.items())
    )


def _spot_page(rows: list[Params], params: Params) -> tuple[Any, str | None]:
    size = min(params.get("MaxResults") or SPOT_PAGE, SPOT_PAGE)
    return page(rows, "Key", params.get("NextToken"), size, "InvalidNextToken")
