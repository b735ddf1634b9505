"""An AWS Budgets alert: an email when the account's costs come near the budget.

It watches the whole account, since costs by tag need a cost allocation tag that is activated a day ahead; it never
stops anything. https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from .cloud import Cloud

# Mail at half of what was really spent, and when the month's forecast is above all of it.
ALERTS = (("ACTUAL", 50.0), ("FORECASTED", 100.0))


def budget_name(cloud: Cloud) -> str:
    """The project's budget."""
    return f"{cloud.settings.project}-monthly"


def ensure_budget(cloud: Cloud, usd: float, email: str = "") -> dict[str, Any]:
    """A monthly cost budget of ``usd``, with alerts to ``email`` where one is given; made, or brought to this amount.

    Returns its description. Raises ``ClientError`` where the caller may not.
    """
    budgets, name = cloud.client("budgets"), budget_name(cloud)
    budget = {
        "BudgetName": name,
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": f"{usd:.2f}", "Unit": "USD"},
    }
    try:
        budgets.create_budget(AccountId=cloud.account, Budget=budget, ResourceTags=cloud.tags)
    except budgets.exceptions.DuplicateRecordException:
        budgets.update_budget(AccountId=cloud.account, NewBudget=budget)
    for kind, percent in ALERTS if email else ():
        _ensure_alert(cloud, kind, percent, email)
    described: dict[str, Any] = budgets.describe_budget(AccountId=cloud.account, BudgetName=name)["Budget"]
    return described


def alerts(cloud: Cloud) -> list[dict[str, Any]]:
    """The budget's alerts, as rows: what, at how many percent of the budget, to whom, and how it stands."""
    budgets, where = cloud.client("budgets"), {"AccountId": cloud.account, "BudgetName": budget_name(cloud)}
    rows = []
    for alert in budgets.describe_notifications_for_budget(**where).get("Notifications", []):
        known = {key: alert[key] for key in ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")}
        heard = budgets.describe_subscribers_for_notification(**where, Notification=known)["Subscribers"]
        addresses = ", ".join(one["Address"] for one in heard)
        rows.append(
            {
                "alert": alert["NotificationType"].lower(),
                "percent": alert["Threshold"],
                "to": addresses,
                "state": alert.get("NotificationState", "OK"),
            }
        )
    return rows


def delete_budget(cloud: Cloud, name: str) -> bool:
    """Delete a budget and its alerts; False where there was none."""
    try:
        cloud.client("budgets").delete_budget(AccountId=cloud.account, BudgetName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            raise
        return False
    return True


def _ensure_alert(cloud: Cloud, kind: str, percent: float, email: str) -> None:
    budgets = cloud.client("budgets")
    where = {"AccountId": cloud.account, "BudgetName": budget_name(cloud)}
    alert = {
        "NotificationType": kind,
        "ComparisonOperator": "GREATER_THAN",
        "Threshold": percent,
        "ThresholdType": "PERCENTAGE",
    }
    heard = [{"SubscriptionType": "EMAIL", "Address": email}]
    try:
        budgets.create_notification(**where, Notification=alert, Subscribers=heard)
    except budgets.exceptions.DuplicateRecordException:
        present = budgets.describe_subscribers_for_notification(**where, Notification=alert)["Subscribers"]
        if heard[0] not in present:
            budgets.create_subscriber(**where, Notification=alert, Subscriber=heard[0])
