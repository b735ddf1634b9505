"""AWS Budgets: budgets, their alerts and who hears of them, as records. Nothing is billed here, so none ever alerts.

https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_Operations_AWS_Budgets.html
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, NoReturn

from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Operation, Params, Request, Result, operation
from ..paging import page
from ..store import Document, Exists
from ..tags import from_list, to_list

TABLE = "budget"
# Budgets belong to an account, not to a region.
REGION = "us-east-1"
PAGE = 100
MAX_ALERTS = 10
FOREVER = datetime(2087, 6, 15, tzinfo=UTC)
COST_TYPES = {
    "IncludeTax": True,
    "IncludeSubscription": True,
    "UseBlended": False,
    "IncludeRefund": True,
    "IncludeCredit": True,
    "IncludeUpfront": True,
    "IncludeRecurring": True,
    "IncludeOtherSubscription": True,
    "IncludeSupport": True,
    "IncludeDiscount": True,
    "UseAmortized": False,
}
ALERT = ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")


def _alone(answer: Operation) -> Operation:
    """What reads a budget and writes it back does so before the next one reads it."""

    @functools.wraps(answer)
    def alone(request: Request, params: Params) -> Result:
        with request.cloud.store.locked():
            return answer(request, params)

    return alone


# ---- budgets ----


@operation("budgets", "CreateBudget")
def create_budget(request: Request, params: Params) -> None:
    """Record a budget with its alerts."""
    _check_account(request, params)
    budget = params["Budget"]
    name, now = budget["BudgetName"], request.cloud.clock.now()
    if budget["BudgetType"] != "COST":
        raise NotImplementedHere(f"a budget of type {budget['BudgetType']}", "There are budgets of type COST.")
    _check_limit(budget)
    document: Document = {"Budget": _completed(budget, now), "Alerts": []}
    for one in params.get("NotificationsWithSubscribers", []):
        _add_alert(document, one["Notification"], one["Subscribers"])
    try:
        _table(request).insert(REGION, name, document)
    except Exists:
        refuse("DuplicateRecordException", f"Error creating budget: {name} - the budget already exists.")
    if params.get("ResourceTags"):
        request.cloud.tags.add(_arn(request, name), from_list(params["ResourceTags"]))


@operation("budgets", "DescribeBudget")
def describe_budget(request: Request, params: Params) -> Params:
    """One budget."""
    return {"Budget": _find(request, params)["Budget"]}


@operation("budgets", "DescribeBudgets")
def describe_budgets(request: Request, params: Params) -> Params:
    """The account's budgets, in pages."""
    _check_account(request, params)
    found = [document["Budget"] for document in _table(request).list(REGION)]
    shown, token = _page(found, "BudgetName", params)
    return {"Budgets": shown, "NextToken": token}


@operation("budgets", "UpdateBudget")
@_alone
def update_budget(request: Request, params: Params) -> None:
    """Replace a budget; its alerts stay."""
    budget = params["NewBudget"]
    found = _find(request, {**params, "BudgetName": budget["BudgetName"]})
    _check_limit(budget)
    changed = _completed({**found["Budget"], **budget}, request.cloud.clock.now())
    _table(request).put(REGION, budget["BudgetName"], {**found, "Budget": changed})


@operation("budgets", "DeleteBudget")
@_alone
def delete_budget(request: Request, params: Params) -> None:
    """Forget a budget and its alerts."""
    name = _find(request, params)["Budget"]["BudgetName"]
    _table(request).delete(REGION, name)
    request.cloud.tags.forget(_arn(request, name))


# ---- alerts ----


@operation("budgets", "CreateNotification")
@_alone
def create_notification(request: Request, params: Params) -> None:
    """Add an alert to a budget."""
    document = _find(request, params)
    _add_alert(document, params["Notification"], params["Subscribers"])
    _table(request).put(REGION, params["BudgetName"], document)


@operation("budgets", "DeleteNotification")
@_alone
def delete_notification(request: Request, params: Params) -> None:
    """Remove an alert."""
    document = _find(request, params)
    document["Alerts"].remove(_alert(document, params["Notification"]))
    _table(request).put(REGION, params["BudgetName"], document)


@operation("budgets", "DescribeNotificationsForBudget")
def describe_notifications_for_budget(request: Request, params: Params) -> Params:
    """A budget's alerts and how they stand: all OK, since nothing is spent here."""
    alerts = _find(request, params)["Alerts"]
    return {"Notifications": [{**alert["Notification"], "NotificationState": "OK"} for alert in alerts]}


@operation("budgets", "DescribeSubscribersForNotification")
def describe_subscribers_for_notification(request: Request, params: Params) -> Params:
    """Who hears of an alert."""
    return {"Subscribers": _alert(_find(request, params), params["Notification"])["Subscribers"]}


@operation("budgets", "CreateSubscriber")
@_alone
def create_subscriber(request: Request, params: Params) -> None:
    """Let one more hear of an alert."""
    document = _find(request, params)
    heard, subscriber = _alert(document, params["Notification"])["Subscribers"], params["Subscriber"]
    if subscriber in heard:
        refuse("DuplicateRecordException", "Error creating subscriber: it already exists.")
    heard.append(subscriber)
    _table(request).put(REGION, params["BudgetName"], document)


# ---- tags ----


@operation("budgets", "ListTagsForResource")
def list_tags_for_resource(request: Request, params: Params) -> Params:
    """A budget's tags."""
    return {"ResourceTags": to_list(request.cloud.tags.of(_existing(request, params["ResourceARN"])))}


@operation("budgets", "TagResource")
def tag_resource(request: Request, params: Params) -> None:
    """Add tags to a budget."""
    request.cloud.tags.add(_existing(request, params["ResourceARN"]), from_list(params["ResourceTags"]))


@operation("budgets", "UntagResource")
def untag_resource(request: Request, params: Params) -> None:
    """Remove tags from a budget."""
    request.cloud.tags.remove(_existing(request, params["ResourceARN"]), params["ResourceTagKeys"])


# ---- what they have in common ----


def _table(request: Request) -> Any:
    return request.cloud.store.table(TABLE)


def _arn(request: Request, name: str) -> str:
    return f"arn:aws:budgets::{request.account}:budget/{name}"


def _check_account(request: Request, params: Params) -> None:
    if params["AccountId"] != request.account:
        raise AwsError("AccessDeniedException", f"Account {params['AccountId']} is not the caller's.", 400)


def _find(request: Request, params: Params) -> Document:
    _check_account(request, params)
    found: Document | None = _table(request).find(REGION, params["BudgetName"])
    return found if found is not None else _missing(params["BudgetName"])


def _existing(request: Request, arn: str) -> str:
    name = arn.partition(":budget/")[2]
    if arn != _arn(request, name) or _table(request).find(REGION, name) is None:
        _missing(name or arn)
    return arn


def _missing(name: str) -> NoReturn:
    refuse("NotFoundException", f"Unable to get budget: {name} - the budget doesn't exist.")


def _check_limit(budget: Params) -> None:
    if "BudgetLimit" not in budget and "PlannedBudgetLimits" not in budget:
        refuse("InvalidParameterException", "A budget needs a BudgetLimit or PlannedBudgetLimits.")
    if "BudgetLimit" in budget and float(budget["BudgetLimit"]["Amount"]) <= 0:
        refuse("InvalidParameterException", "Budget limit must be greater than 0.")


def _completed(budget: Params, now: datetime) -> Document:
    """A budget with what AWS fills in: from the start of the month, for ever, and nothing spent yet."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    period = {"Start": start, "End": FOREVER, **budget.get("TimePeriod", {})}
    spent = {"ActualSpend": {"Amount": "0.0", "Unit": "USD"}}
    types = {**COST_TYPES, **budget.get("CostTypes", {})}
    return {**budget, "TimePeriod": period, "CostTypes": types, "CalculatedSpend": spent, "LastUpdatedTime": now}


def _add_alert(document: Document, notification: Params, subscribers: list[Params]) -> None:
    if len(document["Alerts"]) >= MAX_ALERTS:
        refuse("CreationLimitExceededException", f"A budget has at most {MAX_ALERTS} notifications.")
    emails = [one for one in subscribers if one["SubscriptionType"] == "EMAIL" and "@" not in one["Address"]]
    if emails:
        refuse("InvalidParameterException", f"{emails[0]['Address']} is not an email address.")
    alert = {"ThresholdType": "PERCENTAGE", **notification}
    if any(_same(one["Notification"], alert) for one in document["Alerts"]):
        refuse("DuplicateRecordException", "Error creating notification: it already exists.")
    document["Alerts"].append({"Notification": {k: alert[k] for k in ALERT}, "Subscribers": subscribers})


def _alert(document: Document, wanted: Params) -> Document:
    for one in document["Alerts"]:
        if _same(one["Notification"], {"ThresholdType": "PERCENTAGE", **wanted}):
            found: Document = one
            return found
    return refuse("NotFoundException", "Unable to get notification: it doesn't exist.")


def _same(one: Params, other: Params) -> bool:
    return all(one[name] == other[name] for name in ALERT)


def _page(rows: list[Params], name: str, params: Params) -> tuple[Any, str | None]:
    return page(rows, name, params.get("NextToken"), params.get("MaxResults", PAGE), "InvalidNextTokenException")
