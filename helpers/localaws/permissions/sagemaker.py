"""SageMaker: an operation's resource is named by its input (``TrainingJobName`` → ``training-job/…``).

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .ask import ANY, Ask, Need, pass_role

SERVICE = "sagemaker.amazonaws.com"
# Members that name a resource, by the kind they name.
KINDS = (
    "training-job hyper-parameter-tuning-job endpoint endpoint-config model notebook-instance "
    "notebook-instance-lifecycle-config processing-job transform-job model-package model-package-group experiment "
    "experiment-trial experiment-trial-component"
).split()
_MEMBERS = {
    "".join(part.capitalize() for part in kind.removeprefix("experiment-").split("-")) + "Name": kind for kind in KINDS
} | {"ExperimentName": "experiment"}
# These need a permission on the configuration as well as on the endpoint.
WITH_CONFIG = frozenset({"CreateEndpoint", "UpdateEndpoint"})
_KEYS = {
    "InstanceType": "sagemaker:InstanceTypes",
    "MaxRuntimeInSeconds": "sagemaker:MaxRuntimeInSeconds",
    "VolumeKmsKeyId": "sagemaker:VolumeKmsKey",
    "KmsKeyId": "sagemaker:OutputKmsKey",
    "EnableNetworkIsolation": "sagemaker:NetworkIsolation",
    "EnableInterContainerTrafficEncryption": "sagemaker:InterContainerTrafficEncryption",
    "Subnets": "sagemaker:VpcSubnets",
    "SecurityGroupIds": "sagemaker:VpcSecurityGroupIds",
    "RootAccess": "sagemaker:RootAccess",
    "DirectInternetAccess": "sagemaker:DirectInternetAccess",
    "TargetModel": "sagemaker:TargetModel",
}


def needs(ask: Ask) -> Iterator[Need]:
    """The action on the resource, the roles that are passed, and AddTags where a new resource has tags."""
    resource, context = _resource(ask), _context(ask.params)
    yield Need(ask.action("sagemaker"), resource, context)
    if ask.operation in WITH_CONFIG:
        config = ask.params.get("EndpointConfigName", "")
        yield Need(ask.action("sagemaker"), ask.arn("sagemaker", f"endpoint-config/{config.lower()}"), context)
    if ask.operation.startswith(("Create", "Update")):
        for role in _roles(ask.params):
            yield from pass_role(role, SERVICE, resource)
    if ask.operation.startswith("Create") and ask.params.get("Tags"):
        yield Need("sagemaker:AddTags", resource)


def _resource(ask: Ask) -> str:
    if "ResourceArn" in ask.params:
        return str(ask.params["ResourceArn"])
    if ask.operation.startswith("List") and "For" not in ask.operation:
        return ANY
    # The operation's own noun first: CreateEndpoint's endpoint, not its configuration.
    noun = re.sub(r"^[A-Z][a-z]+(Presigned)?", "", ask.operation).removesuffix("Url")
    names = sorted((name for name in ask.params if name in _MEMBERS), key=lambda name: name != f"{noun}Name")
    if not names:
        return ANY
    return ask.arn("sagemaker", f"{_MEMBERS[names[0]]}/{str(ask.params[names[0]]).lower()}")


def _roles(params: Any) -> Iterator[str]:
    """Every role in the input: a tuning job has them in its training jobs' definitions."""
    for name, value in _members(params):
        if name in ("RoleArn", "ExecutionRoleArn") and isinstance(value, str):
            yield value


def _context(params: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in _members(params):
        key = _KEYS.get(name)
        if key:
            found.setdefault(key, []).extend(_texts(value))
    return found


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Every member of the input, at any depth; free texts (hyperparameters, environment) aside."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield name, one
            if name not in ("HyperParameters", "StaticHyperParameters", "Environment", "Tags"):
                yield from _members(one)
    elif isinstance(value, list):
        for one in value:
            yield from _members(one)
