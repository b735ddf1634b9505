"""Application Auto Scaling: targets, policies, scheduled actions, activities and tags, in the engine's tables."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..engines.autoscaling.engine import ACTIONS, KEY, POLICIES, TARGETS, key_of, next_due
from ..engines.autoscaling.policies import TRACKING, alarm_requests, alarms_of
from ..engines.autoscaling.schedule import BadSchedule
from ..errors import AwsError, refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..store import Document
from .autoscaling_input import (
    check_action,
    check_bounds,
    check_policy,
    check_target,
    find_target,
    not_found,
)

SERVICE = "application-autoscaling"
PAGE = 50
ROLE_NAME = "AWSServiceRoleForApplicationAutoScaling"
NOT_SUSPENDED = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}
SHOWN_TARGET = (*KEY, "MinCapacity", "MaxCapacity", "RoleARN", "CreationTime", "SuspendedState", "ScalableTargetARN")
SHOWN_ACTION = "ScheduledActionName ScheduledActionARN Schedule Timezone StartTime EndTime CreationTime".split()

# ---- scalable targets ----


@operation(SERVICE, "RegisterScalableTarget")
def register_scalable_target(request: Request, params: Params) -> Params:
    """Have a target with these bounds, or change what is given; its capacity is brought within them soon."""
    check_target(request, params)
    table, name = request.cloud.store.table(TARGETS), key_of(params)
    with request.cloud.autoscaling.lock:
        known = table.find(request.region, name)
        if known is not None and params.get("Tags"):
            refuse(
                "ValidationException",
                "The scalable target that you tried to tag already exists. To update tags on an existing scalable "
                "target, use the TagResource API.",
            )
        target = known or _new_target(request, params)
        target.update({one: params[one] for one in ("MinCapacity", "MaxCapacity", "RoleARN") if one in params})
        target["SuspendedState"] = {**target["SuspendedState"], **params.get("SuspendedState", {})}
        check_bounds(target)
        table.put(request.region, name, target)
    if params.get("Tags"):
        request.cloud.tags.add(target["ScalableTargetARN"], params["Tags"])
    return {"ScalableTargetARN": target["ScalableTargetARN"]}


def _new_target(request: Request, params: Params) -> Document:
    resource = request.cloud.autoscaling.resources[params["ScalableDimension"]]
    role = f"aws-service-role/{resource.namespace}.application-autoscaling.amazonaws.com"
    return {
        **{member: params[member] for member in KEY},
        "RoleARN": f"arn:aws:iam::{request.account}:role/{role}/{ROLE_NAME}_{resource.role}",
        "CreationTime": request.cloud.clock.now(),
        "SuspendedState": NOT_SUSPENDED,
        "ScalableTargetARN": request.arn(SERVICE, f"scalable-target/{secrets.token_hex(14)}"),
    }


@operation(SERVICE, "DescribeScalableTargets")
def describe_scalable_targets(request: Request, params: Params) -> Params:
    """The targets of a service, narrowed by resources and dimension."""
    found = _of(request.cloud.store.table(TARGETS).list(request.region), params)
    wanted = params.get("ResourceIds")
    found = [one for one in found if not wanted or one["ResourceId"] in wanted]
    return _page(found, key_of, "ScalableTargets", params, lambda one: _members(one, SHOWN_TARGET))


@operation(SERVICE, "DeregisterScalableTarget")
def deregister_scalable_target(request: Request, params: Params) -> None:
    """Forget a target, with its policies and scheduled actions; the capacity stays as it is."""
    target = find_target(request, params)
    request.cloud.autoscaling.forget(request.region, key_of(target))
    request.cloud.tags.forget(target["ScalableTargetARN"])


# ---- policies ----


@operation(SERVICE, "PutScalingPolicy")
def put_scaling_policy(request: Request, params: Params) -> Params:
    """Have this policy; one that tracks a target has two alarms."""
    table, name = request.cloud.store.table(POLICIES), f"{key_of(params)}|{params['PolicyName']}"
    with request.cloud.autoscaling.lock:
        find_target(request, params)
        known = table.find(request.region, name)
        kind = params.get("PolicyType") or (known or {}).get("PolicyType") or "StepScaling"
        check_policy(request, params, kind, known)
        policy = known or _new_policy(request, params, kind)
        policy[f"{kind}PolicyConfiguration"] = params[f"{kind}PolicyConfiguration"]
        table.put(request.region, name, policy)
        # With the policy as one step: who deletes it, or the target, finds the alarms too.
        if kind == TRACKING:
            resource = request.cloud.autoscaling.resources[params["ScalableDimension"]]
            for alarm in alarm_requests(policy, resource.dimensions(params["ResourceId"])):
                request.cloud.alarms.put(request.region, alarm)
    return {"PolicyARN": policy["PolicyARN"], "Alarms": _alarms(request, policy)}


def _alarms(request: Request, policy: Document) -> list[Document]:
    """The alarms that execute a policy: those it made for itself, or those that the user gave it as their action."""
    if policy["PolicyType"] == TRACKING:
        return list(policy["Alarms"])
    found = alarms_of(request.cloud.alarms.of(request.region), policy)
    return [{"AlarmName": one["AlarmName"], "AlarmARN": one["AlarmArn"]} for one in found]


def _new_policy(request: Request, params: Params, kind: str) -> Document:
    resource, name = params["ResourceId"], params["PolicyName"]
    where = f"resource/{params['ServiceNamespace']}/{resource}:policyName/{name}"
    return {
        **{member: params[member] for member in KEY},
        "PolicyName": name,
        "PolicyType": kind,
        "PolicyARN": request.arn("autoscaling", f"scalingPolicy:{uuid.uuid4()}:{where}"),
        "CreationTime": request.cloud.clock.now(),
        "Alarms": [_alarm(request, resource, which) for which in ("High", "Low") if kind == TRACKING],
    }


def _alarm(request: Request, resource: str, which: str) -> Document:
    name = f"TargetTracking-{resource}-Alarm{which}-{uuid.uuid4()}"
    return {"AlarmName": name, "AlarmARN": request.arn("cloudwatch", f"alarm:{name}")}


@operation(SERVICE, "DescribeScalingPolicies")
def describe_scaling_policies(request: Request, params: Params) -> Params:
    """The policies of a service, narrowed by resource, dimension and name."""
    found = _of(request.cloud.store.table(POLICIES).list(request.region), params)
    wanted = params.get("PolicyNames")
    found = [one for one in found if not wanted or one["PolicyName"] in wanted]
    named: Callable[[Document], str] = lambda one: f"{key_of(one)}|{one['PolicyName']}"  # noqa: E731
    return _page(found, named, "ScalingPolicies", params, lambda one: {**one, "Alarms": _alarms(request, one)})


@operation(SERVICE, "DeleteScalingPolicy")
def delete_scaling_policy(request: Request, params: Params) -> None:
    """Forget a policy, and its alarms."""
    table, name = request.cloud.store.table(POLICIES), f"{key_of(params)}|{params['PolicyName']}"
    with request.cloud.autoscaling.lock:
        policy = table.find(request.region, name)
        if policy is None:
            not_found("scaling policy found", params, f", policy name: {params['PolicyName']}")
        request.cloud.alarms.delete(request.region, [one["AlarmName"] for one in policy["Alarms"]])
        table.delete(request.region, name)


# ---- scheduled actions ----


@operation(SERVICE, "PutScheduledAction")
def put_scheduled_action(request: Request, params: Params) -> None:
    """Have this scheduled action: bounds to set at its times. Start and end that are not given are forgotten."""
    table, name = request.cloud.store.table(ACTIONS), f"{key_of(params)}|{params['ScheduledActionName']}"
    with request.cloud.autoscaling.lock:  # which a look at the targets has, that puts what it has run back
        find_target(request, params)
        table.put(request.region, name, _scheduled(request, params, name))


def _scheduled(request: Request, params: Params, name: str) -> Document:
    """A scheduled action as it is to be; raises for one that cannot be."""
    known = request.cloud.store.table(ACTIONS).find(request.region, name) or {}
    action = {
        "CreationTime": request.cloud.clock.now(),
        "ScheduledActionARN": request.arn("autoscaling", f"scheduledAction:{uuid.uuid4()}:{name.replace('|', '/')}"),
        **{member: known[member] for member in known if member not in ("StartTime", "EndTime", "Due")},
        **params,
    }
    check_action(action)
    try:
        action["Due"] = next_due(action, request.cloud.clock)
    except BadSchedule as error:
        raise AwsError("ValidationException", f"Invalid schedule expression. Details: {error}.") from error
    if action["Due"] is None:
        refuse("ValidationException", "The schedule has no time that is still to come.")
    return action


@operation(SERVICE, "DescribeScheduledActions")
def describe_scheduled_actions(request: Request, params: Params) -> Params:
    """The scheduled actions of a service, narrowed by resource, dimension and name."""
    found = _of(request.cloud.store.table(ACTIONS).list(request.region), params)
    wanted, shown = params.get("ScheduledActionNames"), (*KEY, *SHOWN_ACTION, "ScalableTargetAction")
    found = [one for one in found if not wanted or one["ScheduledActionName"] in wanted]
    named: Callable[[Document], str] = lambda one: f"{key_of(one)}|{one['ScheduledActionName']}"  # noqa: E731
    return _page(found, named, "ScheduledActions", params, lambda one: _members(one, shown))


@operation(SERVICE, "DeleteScheduledAction")
def delete_scheduled_action(request: Request, params: Params) -> None:
    """Forget a scheduled action."""
    table, name = request.cloud.store.table(ACTIONS), f"{key_of(params)}|{params['ScheduledActionName']}"
    with request.cloud.autoscaling.lock:
        if table.find(request.region, name) is None:
            not_found("scheduled action found", params, f", scheduled action name: {params['ScheduledActionName']}")
        table.delete(request.region, name)


# ---- activities ----


@operation(SERVICE, "DescribeScalingActivities")
def describe_scaling_activities(request: Request, params: Params) -> Params:
    """What was done, newest first; with ``IncludeNotScaledActivities`` also what was not, and why."""
    found = _of(request.cloud.autoscaling.activities.list(request.region), params)
    every = params.get("IncludeNotScaledActivities", False)
    found = [one for one in found if every or "NotScaledReasons" not in one]
    return _page(found, lambda one: str(one["ActivityId"]), "ScalingActivities", params, dict)


# ---- tags ----


@operation(SERVICE, "TagResource")
def tag_resource(request: Request, params: Params) -> None:
    """Add tags to a scalable target."""
    _check_arn(request, params["ResourceARN"])
    request.cloud.tags.add(params["ResourceARN"], params["Tags"])


@operation(SERVICE, "UntagResource")
def untag_resource(request: Request, params: Params) -> None:
    """Remove tags of a scalable target."""
    _check_arn(request, params["ResourceARN"])
    request.cloud.tags.remove(params["ResourceARN"], params["TagKeys"])


@operation(SERVICE, "ListTagsForResource")
def list_tags_for_resource(request: Request, params: Params) -> Params:
    """A scalable target's tags."""
    _check_arn(request, params["ResourceARN"])
    return {"Tags": request.cloud.tags.of(params["ResourceARN"])}


def _check_arn(request: Request, arn: str) -> None:
    if all(one["ScalableTargetARN"] != arn for one in request.cloud.store.table(TARGETS).list(request.region)):
        raise AwsError("ResourceNotFoundException", f"The specified resource doesn't exist: {arn}", ResourceName=arn)


# ---- what the lists have in common ----


def _of(documents: Iterable[Document], params: Params) -> list[Document]:
    """Those of the service, and of the resource and the dimension where these are given."""
    given = {member: params[member] for member in KEY if params.get(member)}
    return [one for one in documents if all(one[member] == value for member, value in given.items())]


def _page(
    found: Sequence[Document],
    name: Callable[[Document], str],
    member: str,
    params: Params,
    show: Callable[[Document], dict[str, Any]],
) -> Params:
    named = [{"name": name(one), "document": one} for one in found]
    try:
        shown, token = page(named, "name", params.get("NextToken"), params.get("MaxResults") or PAGE)
    except AwsError as error:
        raise AwsError("InvalidNextTokenException", error.message) from error
    return {member: [show(one["document"]) for one in shown], "NextToken": token}


def _members(document: Document, names: Iterable[str]) -> Document:
    return {name: document[name] for name in names if document.get(name) is not None}
