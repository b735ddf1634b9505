"""What CreateModel, CreateEndpointConfig and CreateEndpoint refuse: as AWS does, or because it is not done here.

What has no observable meaning here (VPC, keys, volume size, download time, host image) is taken, kept and described.
"""

from __future__ import annotations

import re
from typing import NoReturn

from ..engines.hosting.instance import SERVICE
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request
from ..objects import S3Uri
from .not_done import refuse_not_done

RAY_SERVE = re.compile(r"(^|.*/)ray:serve-ml-sagemaker-[A-Za-z0-9._-]+")
RUNS = (
    "It runs the SageMaker Ray Serve images, …/ray:serve-ml-sagemaker-… (image_uris.retrieve('ray-serve', …)), on this "
    "machine's Python."
)
ONE_MODEL = "Give one PrimaryContainer with a ModelDataUrl."
ONE_FLEET = "Give the variant a ModelName, an InstanceType and an InitialInstanceCount."

# Members that change what an endpoint does or answers, and are not done here; each with what to do instead.
NOT_DONE_IN_MODEL: dict[str, str] = {
    "Containers": f"There are no inference pipelines. {ONE_MODEL}",
    "InferenceExecutionConfig": f"There are no inference pipelines. {ONE_MODEL}",
    "EnableNetworkIsolation": "An instance's processes have this machine's network.",
    "PrimaryContainer.ModelDataSource": ONE_MODEL,
    "PrimaryContainer.AdditionalModelDataSources": ONE_MODEL,
    "PrimaryContainer.ModelPackageName": ONE_MODEL,
    "PrimaryContainer.InferenceSpecificationName": ONE_MODEL,
    "PrimaryContainer.MultiModelConfig": f"There are no multi-model endpoints. {ONE_MODEL}",
    "PrimaryContainer.ContainerMetricsConfig": "No metrics of the container's own are collected.",
    "PrimaryContainer.ImageConfig.RepositoryAuthConfig": RUNS,
}
NOT_DONE_IN_CONFIG: dict[str, str] = {
    "AsyncInferenceConfig": "Endpoints answer at once.",
    "CrossRegionTrafficConfig": "",
    "DataCaptureConfig.EnableCapture": "",
    "EnableNetworkIsolation": "An instance's processes have this machine's network.",
    "ExecutionRoleArn": "It belongs to inference components. Give the role to CreateModel.",
    "ExplainerConfig": "",
    "MetricsConfig": "The standard metrics are published.",
    "ShadowProductionVariants": "",
}
NOT_DONE_IN_VARIANT: dict[str, str] = {
    "AcceleratorPartitionLayouts": "",
    "AcceleratorType": "",
    "CapacityReservationConfig": "",
    "CoreDumpConfig": "",
    "EnableSSMAccess": "The instance's processes are on this machine: look at them directly.",
    "InstancePools": ONE_FLEET,
    "ManagedInstanceScaling": ONE_FLEET,
    "RoutingConfig.PrefixAwareRoutingConfig": "",
    "ServerlessConfig": ONE_FLEET,
    "VariantInstanceProvisionTimeoutInSeconds": ONE_FLEET,
}
NOT_DONE_IN_INVOCATION: dict[str, str] = {
    "EnableExplanations": "",
    "InferenceComponentName": "",
    "PrefixAwareId": "",
    "TargetContainerHostname": "There are no multi-container endpoints.",
    "TargetModel": "There are no multi-model endpoints.",
}
STRATEGIES = ("RANDOM", "LEAST_OUTSTANDING_REQUESTS")


# ---- models ----


def check_model(request: Request, params: Params) -> None:
    """Raise what CreateModel raises for the first thing that is wrong."""
    refuse_not_done(params, NOT_DONE_IN_MODEL, "CreateModel")
    container = params.get("PrimaryContainer")
    if not container:
        refuse("ValidationException", "Either PrimaryContainer or Containers must be given.")
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise NotImplementedHere("CreateModel with Mode MultiModel", f"There are no multi-model endpoints. {ONE_MODEL}")
    _check_image(container.get("Image"))
    _check_role(request, params["ModelName"], params.get("ExecutionRoleArn"), container.get("ModelDataUrl"))
    if container.get("ModelDataUrl"):
        _check_model_data(request, container["ModelDataUrl"])


def _check_image(image: str | None) -> None:
    if not image:
        refuse("ValidationException", "The primary container needs an Image.")
    if not RAY_SERVE.fullmatch(image):
        raise NotImplementedHere(f"the inference image {image}", RUNS)


def _check_role(request: Request, name: str, role: str | None, url: str | None) -> None:
    if not role:
        refuse("ValidationException", "ExecutionRoleArn is required for a model that an endpoint is to serve.")
    if not request.cloud.credentials.check_trust(role, SERVICE, request.arn("sagemaker", f"model/{name.lower()}")):
        return
    if not url:
        refuse(
            "ValidationException",
            f"Could not assume role {role}. Please ensure that the role exists and allows principal '{SERVICE}' to "
            "assume the role.",
        )
    refuse(
        "ValidationException",
        f'Could not access model data at {url}. Please ensure that the role "{role}" exists and that its trust '
        f'relationship policy allows the action "sts:AssumeRole" for the service principal "{SERVICE}". Also ensure '
        f'that the role has "s3:GetObject" permissions and that the object is located in {request.region}.',
    )


def _check_model_data(request: Request, url: str) -> None:
    if url.startswith("https://"):
        raise NotImplementedHere("a ModelDataUrl of the form https://…", "Give it as s3://bucket/key.")
    if not url.endswith(".tar.gz"):
        refuse(
            "ValidationException",
            f"Invalid ModelDataUrl {url}. It must point to a single gzip compressed tar archive (.tar.gz suffix).",
        )
    uri = S3Uri.parse(url)
    if uri.key not in request.cloud.objects.stamps(uri):
        refuse("ValidationException", f"Could not find model data at {url}.")


# ---- endpoint configurations ----


def check_config(request: Request, params: Params) -> None:
    """Raise what CreateEndpointConfig raises for the first thing that is wrong."""
    refuse_not_done(params, NOT_DONE_IN_CONFIG, "CreateEndpointConfig")
    variants = params["ProductionVariants"]
    for variant in variants:
        _check_variant(request, variant)
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        refuse("ValidationException", "Production variants of an endpoint configuration must have different names.")
    if not any(variant.get("InitialVariantWeight", 1.0) > 0 for variant in variants):
        refuse("ValidationException", "At least one production variant must have an InitialVariantWeight above 0.")


def _check_variant(request: Request, variant: Params) -> None:
    name = variant["VariantName"]
    refuse_not_done(variant, NOT_DONE_IN_VARIANT, f"production variant {name}")
    strategy = variant.get("RoutingConfig", {}).get("RoutingStrategy")
    if strategy is not None and strategy not in STRATEGIES:
        raise NotImplementedHere(f"the RoutingStrategy {strategy}", f"It routes by {' or '.join(STRATEGIES)}.")
    if not variant.get("ModelName"):
        raise NotImplementedHere(f"production variant {name} without a ModelName", ONE_FLEET)
    for member in ("InstanceType", "InitialInstanceCount"):
        if not variant.get(member):
            refuse("ValidationException", f"{member} is required for production variant {name}.")
    find_model(request, variant["ModelName"])


# ---- endpoints ----


def check_endpoint(request: Request, params: Params, config: Params) -> None:
    """Raise what CreateEndpoint raises for the first thing that is wrong."""
    refuse_not_done(params, {"DeploymentConfig": "It says how to update; leave it out."}, "CreateEndpoint")
    check_limits(request, config["ProductionVariants"])


def check_limits(request: Request, variants: list[Params]) -> None:
    """Raise ``ResourceLimitExceeded`` where the account cannot have these variants' instances as well."""
    wanted: dict[str, int] = {}
    for variant in variants:
        kind = variant["InstanceType"]
        wanted[kind] = wanted.get(kind, 0) + variant["InitialInstanceCount"]
    for kind, count in wanted.items():
        request.cloud.quotas.check_instances(request.region, kind, "endpoint", count, _in_use(request, kind))


def _in_use(request: Request, kind: str) -> int:
    endpoints = request.cloud.store.table("endpoint").list(request.region)
    return sum(
        variant["DesiredInstanceCount"]
        for endpoint in endpoints
        if endpoint["EndpointStatus"] != "Failed"
        # During an update both fleets are there.
        for variant in [*endpoint["Variants"], *endpoint.get("Next", {}).get("Variants", [])]
        if variant["InstanceType"] == kind
    )


# ---- what is not there, or is there already ----


def find_model(request: Request, name: str) -> Params:
    """The model's record; raises ``ValidationException`` where there is none."""
    return request.cloud.store.table("model").find(request.region, name) or missing(request, "model", name)


def find_config(request: Request, name: str) -> Params:
    """The endpoint configuration's record; raises ``ValidationException`` where there is none."""
    table = request.cloud.store.table("endpoint-config")
    return table.find(request.region, name) or missing(request, "endpoint-config", name)


def find_endpoint(request: Request, name: str) -> Params:
    """The endpoint's record; raises ``ValidationException`` where there is none."""
    return request.cloud.store.table("endpoint").find(request.region, name) or missing(request, "endpoint", name)


def missing(request: Request, kind: str, name: str) -> NoReturn:
    """Raise AWS's error for what is not there; ``kind`` is the resource's type in its ARN."""
    arn = request.arn("sagemaker", f"{kind}/{name}")
    raise AwsError("ValidationException", f'Could not find {_spoken(kind)} "{arn}".')


def taken(arn: str) -> NoReturn:
    """Raise AWS's error for a name that is taken."""
    kind = arn.split(":")[5].partition("/")[0]
    raise AwsError("ValidationException", f'Cannot create already existing {_spoken(kind)} "{arn}".')


def _spoken(kind: str) -> str:
    return kind.replace("endpoint-config", "endpoint configuration")
