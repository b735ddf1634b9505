"""What Application Auto Scaling refuses: as AWS does, or because it is not done here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..engines.autoscaling.engine import KEY, TARGETS, key_of
from ..engines.autoscaling.policies import STEP, TRACKING
from ..engines.autoscaling.resources import PROVISIONED, VARIANT, parse_function, parse_variant
from ..engines.functions.names import FunctionReference
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request
from ..store import Document
from .hosting_input import find_endpoint

CUSTOM = ("MetricName", "Namespace", "Statistic")


# ---- targets ----


def check_target(request: Request, params: Params) -> None:
    """Raise what RegisterScalableTarget raises where there is no such resource."""
    dimension = params["ScalableDimension"]
    if not dimension.startswith(f"{params['ServiceNamespace']}:"):
        _unsupported()
    if dimension not in request.cloud.autoscaling.resources:
        known = " and ".join(request.cloud.autoscaling.resources)
        raise NotImplementedHere(f"automatic scaling of {dimension}", f"It scales {known}.")
    {VARIANT: _check_variant, PROVISIONED: _check_function}[dimension](request, params["ResourceId"])


def _check_variant(request: Request, resource: str) -> None:
    names = parse_variant(resource)
    if names is None:
        _unsupported()
    endpoint = find_endpoint(request, names[0])
    if names[1] not in [one["VariantName"] for one in endpoint["Variants"]]:
        refuse("ValidationException", f'Could not find variant "{names[1]}" of endpoint "{endpoint["EndpointArn"]}".')


def _check_function(request: Request, resource: str) -> None:
    names = parse_function(resource)
    if names is None:
        _unsupported()
    documents = request.cloud.functions.documents
    try:
        documents.version_of(request.region, FunctionReference(*names), documents.find(request.region, names[0]))
    except AwsError as error:
        raise AwsError("ValidationException", error.message) from error


def _unsupported() -> NoReturn:
    refuse("ValidationException", "Unsupported service namespace, resource type or scalable dimension")


def check_bounds(target: Document) -> None:
    """Raise where bounds are missing or wrong."""
    if "MinCapacity" not in target or "MaxCapacity" not in target:
        refuse("ValidationException", "MinCapacity and MaxCapacity are required to register a new scalable target.")
    if target["MinCapacity"] < 0:
        refuse("ValidationException", "Minimum capacity cannot be less than 0.")
    if target["MinCapacity"] > target["MaxCapacity"]:
        refuse("ValidationException", "Maximum capacity cannot be less than minimum capacity.")
    if target["MinCapacity"] == 0:
        raise NotImplementedHere(
            "a MinCapacity of 0",
            "Only asynchronous endpoints and inference components can be without instances; "
            "provisioned concurrency ends with DeleteProvisionedConcurrencyConfig.",
        )


def find_target(request: Request, params: Params) -> Document:
    """The target's record; raises ``ObjectNotFoundException`` where there is none."""
    found = request.cloud.store.table(TARGETS).find(request.region, key_of(params))
    return found or not_found("scalable target registered", params)


def not_found(what: str, params: Params, more: str = "") -> NoReturn:
    """Raise AWS's error for what is not there."""
    service, resource, dimension = (params[member] for member in KEY)
    raise AwsError(
        "ObjectNotFoundException",
        f"No {what} for service namespace: {service}, resource ID: {resource}, scalable dimension: {dimension}{more}",
    )


# ---- policies ----


def check_policy(request: Request, params: Params, kind: str, known: Document | None) -> None:
    """Raise what PutScalingPolicy raises for the first thing that is wrong."""
    if kind not in (TRACKING, STEP):
        raise NotImplementedHere(f"PutScalingPolicy with PolicyType {kind}")
    if known is not None and known["PolicyType"] != kind:
        refuse("ValidationException", "The policy type of an existing scaling policy cannot be changed.")
    given = params.get(f"{kind}PolicyConfiguration")
    if not given:
        refuse("ValidationException", f"{kind}PolicyConfiguration is required for policy type {kind}.")
    if any(given.get(member, 0) < 0 for member in ("ScaleInCooldown", "ScaleOutCooldown", "Cooldown")):
        refuse("ValidationException", "Cooldown must not be negative.")
    if kind == TRACKING:
        _check_tracking(given, request.cloud.autoscaling.resources[params["ScalableDimension"]].metrics, params)
    else:
        _check_steps(given)


def _check_tracking(given: Params, metrics: Sequence[str], params: Params) -> None:
    predefined, custom = given.get("PredefinedMetricSpecification"), given.get("CustomizedMetricSpecification")
    if (predefined is None) == (custom is None):
        refuse(
            "ValidationException",
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified.",
        )
    if given["TargetValue"] <= 0:
        refuse("ValidationException", "TargetValue must be greater than 0.")
    if predefined is not None and predefined["PredefinedMetricType"] not in metrics:
        refuse(
            "ValidationException",
            f"Predefined metric type {predefined['PredefinedMetricType']} is not supported for scalable dimension "
            f"{params['ScalableDimension']}: use one of {', '.join(metrics)}.",
        )
    if custom is not None and custom.get("Metrics"):
        raise NotImplementedHere("CustomizedMetricSpecification with Metrics", "Name one metric.")
    missing = [member for member in CUSTOM if custom is not None and not custom.get(member)]
    if missing:
        refuse("ValidationException", f"CustomizedMetricSpecification needs {' and '.join(missing)}.")


def _check_steps(given: Params) -> None:
    steps = given.get("StepAdjustments") or []
    if not given.get("AdjustmentType") or not steps:
        refuse("ValidationException", "AdjustmentType and at least one step adjustment are required.")
    if given.get("MinAdjustmentMagnitude") and given["AdjustmentType"] != "PercentChangeInCapacity":
        refuse("ValidationException", "MinAdjustmentMagnitude is for PercentChangeInCapacity only.")
    if given["AdjustmentType"] == "ExactCapacity" and any(one["ScalingAdjustment"] < 0 for one in steps):
        refuse("ValidationException", "ScalingAdjustment must not be negative for ExactCapacity.")
    spans = [(one.get("MetricIntervalLowerBound"), one.get("MetricIntervalUpperBound")) for one in steps]
    if (None, None) in spans:
        refuse("ValidationException", "A step adjustment must have an upper or a lower bound.")
    lowest = [span for span in spans if span[0] is None]
    highest = [span for span in spans if span[1] is None]
    if len(lowest) > 1 or len(highest) > 1:
        refuse(
            "ValidationException", "At most one step adjustment may be without a lower, and one without an upper bound."
        )
    ordered = sorted(spans, key=lambda span: float("-inf") if span[0] is None else span[0])
    if any(before[1] != after[0] for before, after in pairwise(ordered)):
        refuse("ValidationException", "The ranges of step adjustments must neither overlap nor have a gap.")
    first, last = ordered[0][0], ordered[-1][1]
    if (first is not None and first < 0) or (last is not None and last > 0):
        refuse(
            "ValidationException",
            "There must be a step adjustment without a lower bound if one has a negative lower bound, and one without "
            "an upper bound if one has a positive upper bound.",
        )


# ---- scheduled actions ----


def check_action(action: Document) -> None:
    """Raise what PutScheduledAction raises for the first thing that is wrong, but for the schedule itself."""
    if not action.get("Schedule"):
        refuse("ValidationException", "Schedule is required for a new scheduled action.")
    bounds = action.get("ScalableTargetAction") or {}
    if not bounds:
        refuse("ValidationException", "ScalableTargetAction with MinCapacity or MaxCapacity is required.")
    lowest, highest = bounds.get("MinCapacity", 1), bounds.get("MaxCapacity")
    check_bounds({"MinCapacity": lowest, "MaxCapacity": lowest if highest is None else highest})
    try:
        ZoneInfo(action.get("Timezone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise AwsError("ValidationException", f"Unknown time zone {action['Timezone']}.") from error
    if action.get("StartTime") and action.get("EndTime") and action["EndTime"] <= action["StartTime"]:
        refuse("ValidationException", "EndTime must be after StartTime.")


__all__ = ["check_action", "check_bounds", "check_policy", "check_target", "find_target", "not_found"]
