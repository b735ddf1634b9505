"""UpdateEndpoint and UpdateEndpointWeightsAndCapacities: checked and recorded here, done by the engine."""

from __future__ import annotations

import secrets

from ..engines.hosting.updates import BLUE_GREEN
from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from ..store import Document
from .hosting import deployed, refuse_in_progress, scaled_variants
from .hosting_input import check_limits, find_config, find_endpoint
from .not_done import refuse_not_done

RETAINED = ("DesiredInstanceCount", "DesiredWeight")
# Members that change how an update goes and are not done here; each with what to do instead.
ALL_AT_ONCE = "An update starts all new instances, and then shifts all traffic at once."
NOT_DONE_IN_UPDATE: dict[str, str] = {
    "DeploymentConfig.RollingUpdatePolicy": ALL_AT_ONCE,
    "DeploymentConfig.AutoRollbackConfiguration.Alarms": "An update is rolled back where its instances do not start.",
    "RetainDeploymentConfig": "Give the DeploymentConfig again.",
}


@operation("sagemaker", "UpdateEndpoint")
def update_endpoint(request: Request, params: Params) -> Params:
    """Deploy another configuration, blue/green: what serves goes on until the new instances are healthy."""
    document = find_endpoint(request, params["EndpointName"])
    config = find_config(request, params["EndpointConfigName"])
    refuse_not_done(params, NOT_DONE_IN_UPDATE, "UpdateEndpoint")
    variants = [deployed(request, variant) for variant in config["ProductionVariants"]]
    check_limits(request, config["ProductionVariants"])
    following = {
        "EndpointConfigName": config["EndpointConfigName"],
        "Deployment": secrets.token_hex(4),
        "StartTime": request.cloud.clock.now(),
        "BlueGreen": _blue_green(params),
    }

    def mark(endpoint: Document) -> None:
        retained = _retained(params)
        before = {one["VariantName"]: one for one in endpoint["Variants"]}
        _check_scaled(request, endpoint, {one["VariantName"]: one["InstanceType"] for one in variants})
        following["Variants"] = [_retain(one, before.get(one["VariantName"]), retained) for one in variants]
        _begin(request, endpoint)
        endpoint["Next"] = following

    request.cloud.store.table("endpoint").update(request.region, params["EndpointName"], mark)
    request.cloud.hosting.update(request.region, params["EndpointName"])
    return {"EndpointArn": document["EndpointArn"]}


@operation("sagemaker", "UpdateEndpointWeightsAndCapacities")
def update_weights_and_capacities(request: Request, params: Params) -> Params:
    """Other weights, and other counts of instances: one that goes finishes its requests first."""
    document = find_endpoint(request, params["EndpointName"])
    changes = {one["VariantName"]: one for one in params["DesiredWeightsAndCapacities"]}
    change_capacity(request, params["EndpointName"], changes)
    return {"EndpointArn": document["EndpointArn"]}


def change_capacity(request: Request, name: str, changes: dict[str, Params]) -> None:
    """Set what is desired, by variant name (``DesiredWeight``, ``DesiredInstanceCount``), and let the engine do it."""

    def mark(endpoint: Document) -> None:
        variants = {one["VariantName"]: one for one in endpoint["Variants"]}
        _check_changes(request, endpoint, variants, changes)
        _begin(request, endpoint)
        endpoint["Previous"] = {name: {member: one[member] for member in RETAINED} for name, one in variants.items()}
        for variant, change in changes.items():
            variants[variant].update({member: change[member] for member in RETAINED if change.get(member) is not None})
        if not any(one["DesiredWeight"] > 0 for one in variants.values()):
            refuse("ValidationException", "At least one production variant must have a DesiredWeight above 0.")

    request.cloud.store.table("endpoint").update(request.region, name, mark)
    request.cloud.hosting.rescale(request.region, name)


def _check_scaled(request: Request, endpoint: Document, kinds: dict[str, str]) -> None:
    """A variant that is scaled automatically must stay, on the same instance type."""
    scaled = scaled_variants(request, endpoint["EndpointName"])
    changed = [
        one["VariantName"]
        for one in endpoint["Variants"]
        if one["VariantName"] in scaled and kinds.get(one["VariantName"]) != one["InstanceType"]
    ]
    if changed:
        refuse(
            "ValidationException",
            f"Variants {', '.join(changed)} are registered as scalable targets with Application Auto Scaling, and the "
            "update would remove them or change their instance type. Deregister them first.",
        )


def _check_changes(
    request: Request, endpoint: Document, variants: dict[str, Document], changes: dict[str, Params]
) -> None:
    for name, change in changes.items():
        if name not in variants:
            refuse("ValidationException", f'Could not find variant "{name}" of endpoint "{endpoint["EndpointArn"]}".')
        if change.get("ServerlessUpdateConfig"):
            raise NotImplementedHere("UpdateEndpointWeightsAndCapacities with ServerlessUpdateConfig")
        count = change.get("DesiredInstanceCount")
        if count == 0:
            refuse(
                "ValidationException",
                f"DesiredInstanceCount of variant {name} must be at least 1: only endpoints with inference components "
                "can be without instances.",
            )
        more = (count or 0) - variants[name]["DesiredInstanceCount"]
        if more > 0:
            kind = variants[name]["InstanceType"]
            check_limits(request, [{"InstanceType": kind, "InitialInstanceCount": more}])


def _begin(request: Request, endpoint: Document) -> None:
    """From ``InService`` to ``Updating``; raises AWS's error where that cannot be."""
    refuse_in_progress(endpoint)
    if endpoint["EndpointStatus"] == "Failed":
        refuse(
            "ValidationException",
            f'Cannot update endpoint "{endpoint["EndpointArn"]}" in status Failed. It can only be deleted.',
        )
    endpoint.update(EndpointStatus="Updating", LastModifiedTime=request.cloud.clock.now())


def _retained(params: Params) -> set[str]:
    if not params.get("RetainAllVariantProperties"):
        return set()
    given = params.get("ExcludeRetainedVariantProperties", [])
    return set(RETAINED) - {one["VariantPropertyType"] for one in given}


def _retain(variant: Document, before: Document | None, members: set[str]) -> Document:
    if before is None:
        return variant
    kept = {member: before[member] for member in members}
    return {**variant, **kept, "CurrentWeight": kept.get("DesiredWeight", variant["CurrentWeight"])}


def _blue_green(params: Params) -> Params:
    """How long to wait before the old instances are given up (``WaitInterval…``), and then ended, in seconds."""
    policy = params.get("DeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {})
    if routing.get("Type", "ALL_AT_ONCE") != "ALL_AT_ONCE":
        raise NotImplementedHere(f"UpdateEndpoint with {routing['Type']} traffic routing", ALL_AT_ONCE)
    given = {**routing, **policy}
    return {name: given.get(name, 0) for name in BLUE_GREEN}


__all__ = ["change_capacity"]
