"""What the operations on Lambda functions share: which function a request means, and pages of lists."""

from __future__ import annotations

from typing import Any

from ..engines.functions import names
from ..engines.functions.faults import invalid
from ..engines.functions.names import FunctionReference
from ..gateway import Params, Request

PAGE = 50


def resolve(request: Request, params: Params) -> FunctionReference:
    """What ``FunctionName`` and ``Qualifier`` of a request mean."""
    return names.resolve(params["FunctionName"], params.get("Qualifier"), request.region, request.account)


def page(found: list[Any], params: Params, member: str) -> Params:
    """One page of a list: ``MaxItems`` from ``Marker`` on."""
    marker = params.get("Marker") or "0"
    if not marker.isdecimal():
        invalid(f"Invalid marker: {marker}")
    start = int(marker)
    end = start + min(params.get("MaxItems") or PAGE, PAGE)
    return {member: found[start:end], "NextMarker": str(end) if end < len(found) else None}
