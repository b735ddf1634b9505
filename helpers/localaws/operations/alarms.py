"""CloudWatch alarms: made, described, switched, tagged. What evaluates them is ``engines/cloudwatch``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..engines.cloudwatch.alarms import period_of
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..store import Document
from ..tags import from_list, to_list
from .alarm_input import check
from .metrics import offset, token

ALARMS_PAGE, HISTORY_PAGE = 50, 100


@operation("cloudwatch", "PutMetricAlarm")
def put_metric_alarm(request: Request, params: Params) -> None:
    """Make an alarm, or replace all of its configuration but its state and tags."""
    check(request, params)
    is_new = request.cloud.alarms.find(request.region, params["AlarmName"]) is None
    given = {name: value for name, value in params.items() if name != "Tags"}
    alarm = request.cloud.alarms.put(request.region, given)
    if is_new and params.get("Tags"):
        request.cloud.tags.add(alarm["AlarmArn"], from_list(params["Tags"]))


@operation("cloudwatch", "DescribeAlarms")
def describe_alarms(request: Request, params: Params) -> Params:
    """Alarms by name, prefix, state or action, in pages of 50."""
    for name in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
        if params.get(name):
            raise NotImplementedHere(f"{name} of cloudwatch:DescribeAlarms", "It has no composite alarms.")
    if params.get("AlarmNames") and params.get("AlarmNamePrefix"):
        refuse("ValidationError", "AlarmNames and AlarmNamePrefix must not be specified together.")
    found = [alarm for alarm in request.cloud.alarms.of(request.region) if _is_asked(alarm, params)]
    shown, following = _page(found, params, ALARMS_PAGE)
    return {"MetricAlarms": shown, "CompositeAlarms": [], "NextToken": following}


def _is_asked(alarm: Document, params: Params) -> bool:
    actions = [arn for kind in ("OK", "Alarm", "InsufficientData") for arn in alarm.get(f"{kind}Actions") or []]
    prefix = params.get("ActionPrefix")
    return (
        (not params.get("AlarmNames") or alarm["AlarmName"] in params["AlarmNames"])
        and alarm["AlarmName"].startswith(params.get("AlarmNamePrefix", ""))
        and params.get("StateValue") in (None, alarm["StateValue"])
        and (not prefix or any(arn.startswith(prefix) for arn in actions))
        and (not params.get("AlarmTypes") or "MetricAlarm" in params["AlarmTypes"])
    )


def _page(alarms: Sequence[Document], params: Params, size: int) -> tuple[Sequence[Document], str | None]:
    try:
        return page(alarms, "AlarmName", params.get("NextToken"), params.get("MaxRecords", size))
    except AwsError as error:
        raise AwsError("InvalidNextToken", error.message) from error


@operation("cloudwatch", "DescribeAlarmsForMetric")
def describe_alarms_for_metric(request: Request, params: Params) -> Params:
    """The alarms on exactly this metric; alarms on metric math are not among them, as on AWS."""
    dimensions = from_dimensions(params)

    def fits(alarm: Document) -> bool:
        return (
            (alarm.get("Namespace"), alarm.get("MetricName")) == (params["Namespace"], params["MetricName"])
            and from_dimensions(alarm) == dimensions
            and all(params.get(name) in (None, alarm.get(name)) for name in ("Statistic", "ExtendedStatistic", "Unit"))
            and params.get("Period") in (None, period_of(alarm))
        )

    return {"MetricAlarms": [alarm for alarm in request.cloud.alarms.of(request.region) if fits(alarm)]}


def from_dimensions(given: Params) -> dict[str, str]:
    """Dimensions by name."""
    return {one["Name"]: one["Value"] for one in given.get("Dimensions") or []}


@operation("cloudwatch", "DescribeAlarmHistory")
def describe_alarm_history(request: Request, params: Params) -> Params:
    """What alarms did, newest first unless asked otherwise; of deleted alarms too."""
    items = [item for item in request.cloud.alarms.history.items(request.region) if _is_told(item, params)]
    items.sort(key=lambda item: item["Timestamp"])
    if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
        items.reverse()
    start = offset(params.get("NextToken"), "InvalidNextToken")
    end = start + params.get("MaxRecords", HISTORY_PAGE)
    return {"AlarmHistoryItems": items[start:end], "NextToken": token(end) if end < len(items) else None}


def _is_told(item: Document, params: Params) -> bool:
    start, end = params.get("StartDate"), params.get("EndDate")
    return (
        params.get("AlarmName") in (None, item["AlarmName"])
        and params.get("HistoryItemType") in (None, item["HistoryItemType"])
        and (not params.get("AlarmTypes") or item["AlarmType"] in params["AlarmTypes"])
        and (start is None or item["Timestamp"] >= start)
        and (end is None or item["Timestamp"] <= end)
    )


@operation("cloudwatch", "SetAlarmState")
def set_alarm_state(request: Request, params: Params) -> None:
    """Put an alarm into a state until it is evaluated again; what the state's actions do, they do."""
    _existing(request, [params["AlarmName"]])
    data = params.get("StateReasonData")
    try:
        json.loads(data or "{}")
    except ValueError:
        refuse("InvalidFormat", "The parameter StateReasonData must be valid JSON.")
    request.cloud.alarms.set_state(
        request.region, params["AlarmName"], params["StateValue"], params["StateReason"], data
    )


@operation("cloudwatch", "EnableAlarmActions")
def enable_alarm_actions(request: Request, params: Params) -> None:
    """Let alarms act."""
    request.cloud.alarms.enable(request.region, params["AlarmNames"], True)


@operation("cloudwatch", "DisableAlarmActions")
def disable_alarm_actions(request: Request, params: Params) -> None:
    """Let alarms change their state without acting."""
    request.cloud.alarms.enable(request.region, params["AlarmNames"], False)


@operation("cloudwatch", "DeleteAlarms")
def delete_alarms(request: Request, params: Params) -> None:
    """Delete alarms; none of them, where one does not exist."""
    _existing(request, params["AlarmNames"])
    request.cloud.alarms.delete(request.region, params["AlarmNames"])


def _existing(request: Request, names: Sequence[str]) -> None:
    for name in names:
        if request.cloud.alarms.find(request.region, name) is None:
            refuse("ResourceNotFound", f"Alarm {name} does not exist.")


@operation("cloudwatch", "TagResource")
def tag_resource(request: Request, params: Params) -> None:
    """Add tags to an alarm, or replace their values."""
    request.cloud.tags.add(_tagged(request, params), from_list(params["Tags"]))


@operation("cloudwatch", "UntagResource")
def untag_resource(request: Request, params: Params) -> None:
    """Remove some of an alarm's tags."""
    request.cloud.tags.remove(_tagged(request, params), params["TagKeys"])


@operation("cloudwatch", "ListTagsForResource")
def list_tags_for_resource(request: Request, params: Params) -> Params:
    """An alarm's tags."""
    return {"Tags": to_list(request.cloud.tags.of(_tagged(request, params)))}


def _tagged(request: Request, params: Params) -> str:
    arn: str = params["ResourceARN"]
    prefix = request.arn("cloudwatch", "alarm:")
    if not arn.startswith(prefix) or request.cloud.alarms.find(request.region, arn.removeprefix(prefix)) is None:
        refuse("ResourceNotFoundException", f"Unknown: {arn}")
    return arn
