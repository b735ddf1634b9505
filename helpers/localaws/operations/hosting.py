"""SageMaker models, endpoint configurations and endpoints: what answers their Create, Describe, List and Delete."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from ..engines.autoscaling.engine import TARGETS, key_of
from ..engines.autoscaling.resources import parse_variant
from ..engines.hosting.endpoint import Endpoint
from ..errors import refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..store import Document, Exists
from ..tags import from_list
from .hosting_input import (
    check_config,
    check_endpoint,
    check_model,
    find_config,
    find_endpoint,
    find_model,
    taken,
)

PAGE = 10
# What AWS lets no one change until it is over.
IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")

# ---- models ----


@operation("sagemaker", "CreateModel")
def create_model(request: Request, params: Params) -> Params:
    """Check and record: image, model data and role are looked at now, the data is read when an endpoint starts."""
    arn = _free_arn(request, "model", params["ModelName"])
    check_model(request, params)
    document = {**_given(params), "ModelArn": arn, "EnableNetworkIsolation": False}
    _record(request, "model", params["ModelName"], arn, document, params)
    return {"ModelArn": arn}


@operation("sagemaker", "DescribeModel")
def describe_model(request: Request, params: Params) -> Params:
    """Everything that was given at creation but the tags."""
    return find_model(request, params["ModelName"])


@operation("sagemaker", "ListModels")
def list_models(request: Request, params: Params) -> Params:
    """Summaries of the region's models."""
    shown, token = _list(request, "model", "Model", params)
    return {"Models": shown, "NextToken": token}


@operation("sagemaker", "DeleteModel")
def delete_model(request: Request, params: Params) -> None:
    """Forget a model; endpoints that serve it go on, as on AWS."""
    _forget(request, "model", find_model(request, params["ModelName"]), "Model")


# ---- endpoint configurations ----


@operation("sagemaker", "CreateEndpointConfig")
def create_endpoint_config(request: Request, params: Params) -> Params:
    """Check and record."""
    arn = _free_arn(request, "endpoint-config", params["EndpointConfigName"])
    check_config(request, params)
    variants = [{"InitialVariantWeight": 1.0, **_given(variant)} for variant in params["ProductionVariants"]]
    document = {
        **_given(params),
        "ProductionVariants": variants,
        "EndpointConfigArn": arn,
        "EnableNetworkIsolation": False,
    }
    _record(request, "endpoint-config", params["EndpointConfigName"], arn, document, params)
    return {"EndpointConfigArn": arn}


@operation("sagemaker", "DescribeEndpointConfig")
def describe_endpoint_config(request: Request, params: Params) -> Params:
    """Everything that was given at creation but the tags."""
    return find_config(request, params["EndpointConfigName"])


@operation("sagemaker", "ListEndpointConfigs")
def list_endpoint_configs(request: Request, params: Params) -> Params:
    """Summaries of the region's endpoint configurations."""
    shown, token = _list(request, "endpoint-config", "EndpointConfig", params)
    return {"EndpointConfigs": shown, "NextToken": token}


@operation("sagemaker", "DeleteEndpointConfig")
def delete_endpoint_config(request: Request, params: Params) -> None:
    """Forget a configuration; endpoints made from it go on, as on AWS."""
    _forget(request, "endpoint-config", find_config(request, params["EndpointConfigName"]), "EndpointConfig")


# ---- endpoints ----


@operation("sagemaker", "CreateEndpoint")
def create_endpoint(request: Request, params: Params) -> Params:
    """Check, record (``Creating``) and start."""
    name = params["EndpointName"]
    arn = _free_arn(request, "endpoint", name)
    config = find_config(request, params["EndpointConfigName"])
    check_endpoint(request, params, config)
    document = {
        "EndpointName": name,
        "EndpointArn": arn,
        "EndpointConfigName": config["EndpointConfigName"],
        "EndpointStatus": "Creating",
        "LastModifiedTime": request.cloud.clock.now(),
        "Deployment": secrets.token_hex(4),
        # A copy: model and configuration may be deleted while the endpoint serves.
        "Variants": [deployed(request, variant) for variant in config["ProductionVariants"]],
    }
    _record(request, "endpoint", name, arn, document, params)
    request.cloud.hosting.create(request.region, find_endpoint(request, name))
    return {"EndpointArn": arn}


def deployed(request: Request, variant: Params) -> Document:
    """A configuration's variant as an endpoint deploys it: with its model, and counts and weights that may change."""
    model = find_model(request, variant["ModelName"])
    weight, count = variant["InitialVariantWeight"], variant["InitialInstanceCount"]
    return {
        **variant,
        "DesiredInstanceCount": count,
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "Since": request.cloud.clock.now(),
        "Model": {**model["PrimaryContainer"], "ExecutionRoleArn": model["ExecutionRoleArn"]},
    }


@operation("sagemaker", "DescribeEndpoint")
def describe_endpoint(request: Request, params: Params) -> Params:
    """How an endpoint stands, and how many instances of each variant are in service."""
    document = find_endpoint(request, params["EndpointName"])
    running = request.cloud.hosting.find(request.region, params["EndpointName"])
    shown = [_describe_variant(variant, document, running) for variant in document["Variants"]]
    answer = {**document, "ProductionVariants": shown}
    if "Next" in document:
        answer["PendingDeploymentSummary"] = _describe_next(document["Next"])
    return answer


@operation("sagemaker", "ListEndpoints")
def list_endpoints(request: Request, params: Params) -> Params:
    """Summaries of the region's endpoints."""
    status = params.get("StatusEquals")
    shown, token = _list(
        request, "endpoint", "Endpoint", params, lambda endpoint: status in (None, endpoint["EndpointStatus"])
    )
    return {"Endpoints": shown, "NextToken": token}


@operation("sagemaker", "DeleteEndpoint")
def delete_endpoint(request: Request, params: Params) -> None:
    """``Deleting``, and gone when the last process has ended. Refused, as on AWS, while something is in progress."""
    document = find_endpoint(request, params["EndpointName"])

    def mark(endpoint: Document) -> None:
        refuse_in_progress(endpoint)
        endpoint.update(EndpointStatus="Deleting", LastModifiedTime=request.cloud.clock.now())

    name = document["EndpointName"]
    request.cloud.store.table("endpoint").update(request.region, name, mark)
    for target in scaled_variants(request, name).values():
        request.cloud.autoscaling.forget(request.region, key_of(target))
        request.cloud.tags.forget(target["ScalableTargetARN"])
    request.cloud.hosting.delete(request.region, name)


def scaled_variants(request: Request, endpoint: str) -> dict[str, Document]:
    """The scalable targets that an endpoint's variants are, by variant."""
    targets = request.cloud.store.table(TARGETS).list(request.region)
    named = [(parse_variant(target["ResourceId"]), target) for target in targets]
    return {names[1]: target for names, target in named if names is not None and names[0] == endpoint}


def refuse_in_progress(endpoint: Document) -> None:
    """Raise AWS's error for an endpoint that something is done to."""
    if endpoint["EndpointStatus"] in IN_PROGRESS:
        refuse("ValidationException", f'Cannot update in-progress endpoint "{endpoint["EndpointArn"]}".')


def _describe_variant(variant: Document, endpoint: Document, running: Endpoint | None) -> Params:
    status = endpoint["EndpointStatus"]
    # Between the switch of an update and its record the two may differ for a moment.
    serving = running.variants.get(variant["VariantName"]) if running is not None else None
    current = len(serving.instances) if serving is not None else 0
    names = ("VariantName", "CurrentWeight", "DesiredWeight", "DesiredInstanceCount", "RoutingConfig")
    image = {"SpecifiedImage": variant["Model"]["Image"], "ResolutionTime": variant["Since"]}
    stage = {"VariantStatus": [{"Status": status, "StartTime": variant["Since"]}]}
    return {
        **{name: variant[name] for name in names if name in variant},
        "CurrentInstanceCount": current,
        "DeployedImages": [image],
        **(stage if status in ("Creating", "Updating", "Deleting") else {}),
    }


def _describe_next(deployment: Document) -> Params:
    """What an update is deploying."""
    names = ("VariantName", "DesiredWeight", "DesiredInstanceCount")
    return {
        "EndpointConfigName": deployment["EndpointConfigName"],
        "StartTime": deployment["StartTime"],
        "ProductionVariants": [{name: one[name] for name in names} for one in deployment["Variants"]],
    }


# ---- what the three have in common ----


def _given(params: Params) -> Params:
    """What was given, without tags and without empty structures, which the SageMaker SDK refuses in an answer."""
    return {name: value for name, value in params.items() if name != "Tags" and value not in ({}, [])}


def _free_arn(request: Request, kind: str, name: str) -> str:
    arn = request.arn("sagemaker", f"{kind}/{name}")
    if request.cloud.store.table(kind).find(request.region, name) is not None:
        taken(arn)
    return arn


def _record(request: Request, kind: str, name: str, arn: str, document: Document, params: Params) -> None:
    try:
        created = {**document, "CreationTime": request.cloud.clock.now()}
        request.cloud.store.table(kind).insert(request.region, name, created)
    except Exists:
        taken(arn)
    if params.get("Tags"):
        request.cloud.tags.add(arn, from_list(params["Tags"]))


def _forget(request: Request, kind: str, document: Document, prefix: str) -> None:
    request.cloud.store.table(kind).delete(request.region, document[f"{prefix}Name"])
    request.cloud.tags.forget(document[f"{prefix}Arn"])


def _list(
    request: Request,
    kind: str,
    prefix: str,
    params: Params,
    wanted: Callable[[Document], bool] = lambda _: True,
) -> tuple[list[Params], str | None]:
    """Summaries, filtered and sorted (newest first, unless asked otherwise), in pages."""
    name = f"{prefix}Name"
    found = [one for one in request.cloud.store.table(kind).list(request.region) if wanted(one)]
    found = [one for one in found if params.get("NameContains", "") in one[name] and _is_of_time(one, params)]
    by = params.get("SortBy", "CreationTime")
    # The table is in the order of names, so what is equal in the key is in the same order on every page.
    found.sort(key=lambda one: one.get(by) or one[prefix + by], reverse=params.get("SortOrder") != "Ascending")
    shown, token = page(found, name, params.get("NextToken"), params.get("MaxResults", PAGE))
    summary = (name, f"{prefix}Arn", f"{prefix}Status", "CreationTime", "LastModifiedTime")
    return [{member: one[member] for member in summary if member in one} for one in shown], token


def _is_of_time(document: Document, params: Params) -> bool:
    def within(member: str) -> bool:
        moment: datetime | None = document.get(member)
        after, before = params.get(f"{member}After"), params.get(f"{member}Before")
        return moment is None or ((after is None or moment > after) and (before is None or moment < before))

    return within("CreationTime") and within("LastModifiedTime")


__all__ = ["IN_PROGRESS", "deployed", "refuse_in_progress", "scaled_variants"]
