"""Systems Manager's public parameters: the ids of the machine images that AWS publishes.

An account's own parameters are not kept here: PutParameter is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..engines.instances.images import RELEASED, parameters
from ..errors import refuse
from ..gateway import Params, Request, operation

PAGE = 10


@operation("ssm", "GetParameter")
def get_parameter(request: Request, params: Params) -> Params:
    """One parameter, by name or ARN."""
    found = _find(request, params["Name"])
    return {"Parameter": found} if found else refuse("ParameterNotFound", "")


@operation("ssm", "GetParameters")
def get_parameters(request: Request, params: Params) -> Params:
    """Several parameters, and the names of those that do not exist."""
    found = {name: _find(request, name) for name in params["Names"]}
    return {
        "Parameters": [one for one in found.values() if one],
        "InvalidParameters": [name for name, one in found.items() if not one],
    }


@operation("ssm", "GetParametersByPath")
def get_parameters_by_path(request: Request, params: Params) -> Params:
    """Parameters below a path, in pages; those directly below it, unless ``Recursive``."""
    path = params["Path"].rstrip("/") + "/"
    names = [
        name
        for name in sorted(parameters(request.region))
        if name.startswith(path) and (params.get("Recursive") or "/" not in name.removeprefix(path))
    ]
    start = int(params.get("NextToken") or 0)
    end = start + params.get("MaxResults", PAGE)
    more = {"NextToken": str(end)} if end < len(names) else {}
    return {"Parameters": [_find(request, name) for name in names[start:end]], **more}


def _find(request: Request, name: str) -> Params | None:
    short = name.partition(":parameter")[2] if name.startswith("arn:") else name
    value = parameters(request.region).get(short)
    if value is None:
        return None
    return {
        "Name": short,
        "Type": "String",
        "Value": value,
        "Version": 1,
        "LastModifiedDate": datetime.fromisoformat(RELEASED).replace(tzinfo=UTC),
        "ARN": f"arn:aws:ssm:{request.region}::parameter{short}",
        "DataType": "aws:ec2:image",
    }
