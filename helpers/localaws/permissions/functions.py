"""Lambda: functions, their versions and aliases.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-api-permissions-ref.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .ask import ANY, Ask, Need, pass_role

SERVICE = "lambda.amazonaws.com"
# Operations whose action has another name.
ACTIONS = {"Invoke": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction", "InvokeAsync": "InvokeFunction"}
_NAME = re.compile(
    r"(?:arn:aws[^:]*:lambda:[^:]*:)?(?:\d{12}:)?(?:function:)?(?P<name>[^:]+)(?::(?P<qualifier>[^:]+))?"
)


def needs(ask: Ask) -> Iterator[Need]:
    """The action on the function (with its qualifier, if one is given), and the role that is passed."""
    action, resource = f"lambda:{ACTIONS.get(ask.operation, ask.operation)}", resource_of(ask)
    layers = ask.params.get("Layers")
    yield Need(action, resource, {"lambda:Layer": layers, "lambda:Principal": ask.params.get("Principal")})
    if ask.operation in ("CreateFunction", "UpdateFunctionConfiguration"):
        yield from pass_role(ask.params.get("Role"), SERVICE, resource)
    code = ask.params.get("Code") or ask.params
    if ask.operation in ("CreateFunction", "UpdateFunctionCode") and code.get("S3Bucket"):
        action = "s3:GetObjectVersion" if code.get("S3ObjectVersion") else "s3:GetObject"
        yield Need(action, f"arn:aws:s3:::{code['S3Bucket']}/{code.get('S3Key', '')}")


def resource_of(ask: Ask) -> str:
    """The ARN of what an operation is about."""
    if "Resource" in ask.params:
        return str(ask.params["Resource"])
    if ask.params.get("FunctionName") and ask.operation != "ListEventSourceMappings":
        found = _NAME.fullmatch(str(ask.params["FunctionName"]))
        name = found["name"] if found else str(ask.params["FunctionName"])
        qualifier = ask.params.get("Qualifier") or (found["qualifier"] if found else None)
        return ask.arn("lambda", f"function:{name}" + (f":{qualifier}" if qualifier else ""))
    if ask.params.get("UUID"):
        return ask.arn("lambda", f"event-source-mapping:{ask.params['UUID']}")
    if ask.params.get("LayerName") and ask.operation != "ListLayerVersions":
        version = ask.params.get("VersionNumber")
        return ask.arn("lambda", f"layer:{ask.params['LayerName']}" + (f":{version}" if version else ""))
    if ask.params.get("CodeSigningConfigArn") and ask.operation != "ListCodeSigningConfigs":
        return str(ask.params["CodeSigningConfigArn"])
    if ask.params.get("CapacityProviderName"):
        return ask.arn("lambda", f"capacity-provider:{ask.params['CapacityProviderName']}")
    return ANY
