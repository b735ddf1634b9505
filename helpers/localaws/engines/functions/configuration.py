"""A function's configuration: what a request asks for, checked, and as it is described back."""

from __future__ import annotations

import json
import re
from typing import Any

from ...errors import NotImplementedHere
from .faults import invalid, violated
from .report import runtime_arn

Params = dict[str, Any]
Configuration = dict[str, Any]

TIMEOUT, MEMORY = (1, 900), (128, 10240)
MAX_VARIABLES = 4096
NO_LONGER_SUPPORTED = frozenset({"python2.7", "python3.6", "python3.7"})
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
RESERVED = frozenset(
    "_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_NAME "
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE "
    "AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY "
    "AWS_SESSION_TOKEN AWS_LAMBDA_RUNTIME_API LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR".split()
)
# What changes how a function runs, and is not to be had here.
REFUSED = {
    "Layers": "layers of functions (Layers)",
    "FileSystemConfigs": "file systems of functions (FileSystemConfigs)",
    "ImageConfig": "functions from container images (ImageConfig)",
    "DeadLetterConfig": "dead-letter queues of functions (DeadLetterConfig)",
    "CodeSigningConfigArn": "code signing (CodeSigningConfigArn)",
    "TenancyConfig": "tenant isolation (TenancyConfig)",
    "CapacityProviderConfig": "managed instances (CapacityProviderConfig)",
    "DurableConfig": "durable functions (DurableConfig)",
    "RuntimeConfig": "pinned runtimes (RuntimeConfig)",
    "AcceleratorConfig": "accelerators of functions (AcceleratorConfig)",
    "PublishTo": "publishing to $LATEST.PUBLISHED (PublishTo)",
}
# What is described back as it was given: it has no meaning that could be seen on one machine.
RECORDED = ("Description", "Role", "Handler", "Timeout", "MemorySize", "Runtime", "Environment", "KMSKeyArn")


def defaults(name: str) -> Configuration:
    """The configuration of a function of which only the name is known."""
    return {
        "FunctionName": name,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": "$LATEST",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }


def check(params: Params) -> None:
    """Raise for what AWS would not accept, and for what it would and we cannot do."""
    for member, what in REFUSED.items():
        if _asks(params.get(member)):
            raise NotImplementedHere(what)
    if params.get("PackageType") == "Image" or params.get("Code", {}).get("ImageUri"):
        raise NotImplementedHere("functions from container images (PackageType Image)")
    if params.get("SnapStart", {}).get("ApplyOn", "None") != "None":
        raise NotImplementedHere("SnapStart (SnapStart.ApplyOn)")
    if params.get("TracingConfig", {}).get("Mode", "PassThrough") != "PassThrough":
        raise NotImplementedHere("X-Ray tracing (TracingConfig.Mode)", "Its mode PassThrough is the default.")
    _check_runtime(params.get("Runtime"))
    _check_range(params.get("Timeout"), "timeout", *TIMEOUT)
    _check_range(params.get("MemorySize"), "memorySize", *MEMORY)
    _check_variables(params.get("Environment", {}).get("Variables", {}))
    _check_logging(params.get("LoggingConfig", {}))


def apply(configuration: Configuration, params: Params, region: str) -> None:
    """Take over into a configuration what a (checked) request asks for."""
    configuration |= {member: params[member] for member in RECORDED if params.get(member) is not None}
    configuration |= {member: params[member] for member in ("EphemeralStorage", "Architectures") if params.get(member)}
    if "Variables" not in configuration.get("Environment", {"Variables": {}}):
        configuration["Environment"] = {"Variables": {}}
    group = params.get("LoggingConfig", {}).get("LogGroup")
    if group:
        configuration["LoggingConfig"] = {"LogFormat": "Text", "LogGroup": group}
    if "VpcConfig" in params:
        _apply_network(configuration, params["VpcConfig"])
    configuration["RuntimeVersionConfig"] = {"RuntimeVersionArn": runtime_arn(configuration["Runtime"], region)}


def _apply_network(configuration: Configuration, network: dict[str, Any]) -> None:
    """A network is only recorded: every function of this machine reaches the same loopback, and nothing else."""
    configuration["VpcConfig"] = {
        "SubnetIds": network.get("SubnetIds") or [],
        "SecurityGroupIds": network.get("SecurityGroupIds") or [],
        "VpcId": "",
    }


def _asks(value: Any) -> bool:
    """Whether a member says anything: clients send empty structures and lists for "none"."""
    if isinstance(value, dict):
        return any(_asks(member) for member in value.values())
    return bool(value)


def _check_runtime(runtime: str | None) -> None:
    if runtime is None:
        return
    if runtime in NO_LONGER_SUPPORTED:
        invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if not re.fullmatch(r"python3\.\d+", runtime):
        raise NotImplementedHere(f"the runtime {runtime}", "Here the functions run on Python: python3.9 and later.")


def _check_range(value: int | None, member: str, low: int, high: int) -> None:
    if value is not None and value < low:
        violated(value, member, f"have value greater than or equal to {low}")
    if value is not None and value > high:
        violated(value, member, f"have value less than or equal to {high}")


def _check_variables(variables: dict[str, str]) -> None:
    problem = "Lambda was unable to configure your environment variables because the environment variables you have "
    reserved = sorted(RESERVED & variables.keys())
    if reserved:
        invalid(
            f"{problem}provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > MAX_VARIABLES:
        invalid(f"{problem}provided exceeded the 4KB limit. String measured: {measured}")


def _check_logging(logging: dict[str, Any]) -> None:
    if (
        logging.get("LogFormat", "Text") != "Text"
        or logging.get("ApplicationLogLevel")
        or logging.get("SystemLogLevel")
    ):
        raise NotImplementedHere("functions' logs in JSON (LoggingConfig.LogFormat)", "LogFormat Text is the default.")
