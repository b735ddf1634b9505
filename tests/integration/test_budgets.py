"""AWS Budgets as a user of boto3 sees them, and ``helpers.budgets`` on top."""

import contextlib
from datetime import UTC

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import budgets, cloud
from helpers.settings import Settings

ACCOUNT = "123456789012"
ALERT = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}


@pytest.fixture(scope="module")
def client(aws):
    return aws.client("budgets")


def budget(name, amount="10"):
    limit = {"Amount": amount, "Unit": "USD"}
    return {"BudgetName": name, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit}


def heard(*addresses):
    return [{"SubscriptionType": "EMAIL", "Address": address} for address in addresses]


def test_a_budget_its_alerts_and_its_subscribers(client):
    with_alert = [{"Notification": ALERT, "Subscribers": heard("a@example.com")}]
    client.create_budget(AccountId=ACCOUNT, Budget=budget("kept"), NotificationsWithSubscribers=with_alert)
    found = client.describe_budget(AccountId=ACCOUNT, BudgetName="kept")["Budget"]
    assert found["BudgetLimit"] == {"Amount": "10", "Unit": "USD"}
    assert found["CalculatedSpend"]["ActualSpend"] == {"Amount": "0.0", "Unit": "USD"}
    assert found["TimePeriod"]["Start"].astimezone(UTC).day == 1
    assert found["CostTypes"]["IncludeTax"] is True
    where = {"AccountId": ACCOUNT, "BudgetName": "kept"}
    (alert,) = client.describe_notifications_for_budget(**where)["Notifications"]
    assert alert == {**ALERT, "ThresholdType": "PERCENTAGE", "NotificationState": "OK"}
    client.create_subscriber(**where, Notification=ALERT, Subscriber=heard("b@example.com")[0])
    subscribers = client.describe_subscribers_for_notification(**where, Notification=ALERT)["Subscribers"]
    assert subscribers == heard("a@example.com", "b@example.com")
    client.update_budget(AccountId=ACCOUNT, NewBudget=budget("kept", "20"))
    assert client.describe_budget(**where)["Budget"]["BudgetLimit"]["Amount"] == "20"
    assert len(client.describe_notifications_for_budget(**where)["Notifications"]) == 1
    client.delete_notification(**where, Notification=ALERT)
    assert client.describe_notifications_for_budget(**where).get("Notifications", []) == []
    client.delete_budget(**where)
    with pytest.raises(client.exceptions.NotFoundException):
        client.describe_budget(**where)


def test_budgets_come_in_pages_and_with_tags(client):
    names = [f"paged-{number}" for number in range(5)]
    for name in names:
        client.create_budget(
            AccountId=ACCOUNT, Budget=budget(name), ResourceTags=[{"Key": "project", "Value": "paged"}]
        )
    pages = client.get_paginator("describe_budgets").paginate(AccountId=ACCOUNT, PaginationConfig={"PageSize": 2})
    found = [one["BudgetName"] for page in pages for one in page["Budgets"]]
    assert [name for name in found if name.startswith("paged-")] == names
    arn = f"arn:aws:budgets::{ACCOUNT}:budget/paged-1"
    client.tag_resource(ResourceARN=arn, ResourceTags=[{"Key": "more", "Value": "x"}])
    client.untag_resource(ResourceARN=arn, ResourceTagKeys=["project"])
    assert client.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == [{"Key": "more", "Value": "x"}]


@pytest.mark.parametrize(
    ("call", "arguments", "code"),
    [
        ("create_budget", {"Budget": budget("taken")}, "DuplicateRecordException"),
        ("create_budget", {"Budget": budget("free", "0")}, "InvalidParameterException"),
        ("create_budget", {"Budget": {**budget("free"), "BudgetType": "USAGE"}}, "NotImplemented"),
        ("create_budget", {"Budget": budget("free"), "AccountId": "210987654321"}, "AccessDeniedException"),
        ("update_budget", {"NewBudget": budget("nobody")}, "NotFoundException"),
        ("delete_budget", {"BudgetName": "nobody"}, "NotFoundException"),
        ("delete_notification", {"BudgetName": "taken", "Notification": ALERT}, "NotFoundException"),
        (
            "create_notification",
            {"BudgetName": "taken", "Notification": ALERT, "Subscribers": heard("nobody")},
            "InvalidParameterException",
        ),
    ],
)
def test_refusals(client, call, arguments, code):
    with contextlib.suppress(client.exceptions.DuplicateRecordException):
        client.create_budget(AccountId=ACCOUNT, Budget=budget("taken"))
    with pytest.raises(ClientError) as refused:
        getattr(client, call)(**{"AccountId": ACCOUNT, **arguments})
    assert refused.value.response["Error"]["Code"] == code


def test_the_helper_makes_one_budget_however_often_it_is_called(user):
    there = cloud.Cloud(Settings.of(project="budgeted"), boto3.Session(region_name="eu-west-1"), ACCOUNT, "tester")
    assert budgets.ensure_budget(there, 5.0)["BudgetLimit"]["Amount"] == "5.00"
    assert budgets.alerts(there) == []
    for email in ("a@example.com", "a@example.com", "b@example.com"):
        assert budgets.ensure_budget(there, 7.5, email)["BudgetLimit"]["Amount"] == "7.50"
    assert budgets.alerts(there) == [
        {"alert": "actual", "percent": 50.0, "to": "a@example.com, b@example.com", "state": "OK"},
        {"alert": "forecasted", "percent": 100.0, "to": "a@example.com, b@example.com", "state": "OK"},
    ]
    assert budgets.delete_budget(there, budgets.budget_name(there))
    assert not budgets.delete_budget(there, budgets.budget_name(there))
