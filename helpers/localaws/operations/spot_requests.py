"""One-time spot requests, as RunInstances makes them: always fulfilled, and not interrupted by themselves.

AWS fulfils a request when it has capacity, and may take the instance back with two minutes' notice.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from ..engines.instances.record import Record
from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from ..store import Document
from ..tags import to_list

TABLE = "spot-instances-request"


def fulfil(request: Request, instance: Any, options: Params, tags: dict[str, str]) -> None:
    """Record the request that an instance of ``RunInstances`` with the spot market fulfils."""
    now = request.cloud.clock.now()
    identifier = f"sir-{secrets.token_hex(4)}"
    instance.spot_instance_request_id = identifier
    document = {
        "SpotInstanceRequestId": identifier,
        "InstanceId": instance.id,
        "Type": "one-time",
        "State": "active",
        "ProductDescription": "Linux/UNIX",
        "CreateTime": now,
        "InstanceInterruptionBehavior": options.get("InstanceInterruptionBehavior", "terminate"),
        "LaunchedAvailabilityZone": instance.availability_zone,
        "LaunchSpecification": {
            "ImageId": instance.image_id,
            "InstanceType": instance.instance_type,
            "SubnetId": instance.subnet_id,
        },
        **({"SpotPrice": options["MaxPrice"]} if options.get("MaxPrice") else {}),
        "Tags": to_list(tags),
    }
    request.cloud.store.table(TABLE).put(request.region, identifier, document)


@operation("ec2", "RequestSpotInstances")
def request_spot_instances(request: Request, _: Params) -> None:
    """The older way, which AWS itself advises against."""
    raise NotImplementedHere(
        request.operation, "Call RunInstances with InstanceMarketOptions, as AWS recommends; the request is made by it."
    )


@operation("ec2", "DescribeSpotInstanceRequests")
def describe_spot_instance_requests(request: Request, params: Params) -> Params:
    """Requests by id, or all."""
    table = request.cloud.store.table(TABLE)
    wanted = params.get("SpotInstanceRequestIds")
    found = [_get(request, one) for one in wanted] if wanted else table.list(request.region)
    # A server that was killed while it launched an instance may have kept the request alone.
    found = [one for one in found if Record(request.cloud.records, request.region, one["InstanceId"]).exists]
    shown = [_shown(request, one) for one in found]
    for filter_ in params.get("Filters", []):
        shown = [one for one in shown if _value(one, filter_["Name"]) in filter_["Values"]]
    return {"SpotInstanceRequests": shown}


@operation("ec2", "CancelSpotInstanceRequests")
def cancel_spot_instance_requests(request: Request, params: Params) -> Params:
    """Cancel requests; their instances go on running, as on AWS."""
    cancelled = []
    for identifier in params["SpotInstanceRequestIds"]:
        _get(request, identifier)
        request.cloud.store.table(TABLE).update(request.region, identifier, lambda one: one.update(Cancelled=True))
        cancelled.append({"SpotInstanceRequestId": identifier, "State": "cancelled"})
    return {"CancelledSpotInstanceRequests": cancelled}


def _get(request: Request, identifier: str) -> Document:
    found = request.cloud.store.table(TABLE).find(request.region, identifier)
    if found is None:
        refuse("InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{identifier}' does not exist")
    return found


def _shown(request: Request, document: Document) -> Document:
    """The request with its present state and status, which follow from its instance."""
    shown = {name: value for name, value in document.items() if name != "Cancelled"}
    moto = request.cloud.instances.get(request.region, document["InstanceId"]).record.moto
    ended = moto.state in ("shutting-down", "terminated")
    if document.get("Cancelled"):
        state, code = "cancelled", "request-canceled-and-instance-running"
    else:
        state, code = ("closed", "instance-terminated-by-user") if ended else ("active", "fulfilled")
    moment: datetime = document["CreateTime"]
    status = {"Code": code, "Message": code.replace("-", " "), "UpdateTime": moment}
    return {**shown, "State": state, "Status": status}


def _value(document: Document, name: str) -> Any:
    known = {
        "state": document["State"],
        "instance-id": document["InstanceId"],
        "spot-instance-request-id": document["SpotInstanceRequestId"],
        "status-code": document["Status"]["Code"],
    }
    if name not in known:
        refuse("InvalidParameterValue", f"The filter '{name}' is invalid")
    return known[name]
