"""What is remembered of the last use of permissions, and how it is told."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws import last_accessed, operations
from helpers.localaws.last_accessed import Access, LastAccessed
from helpers.localaws.policy import parse
from helpers.localaws.store import Store

operations.load()
from helpers.localaws.operations.last_accessed import EVERY_SERVICE, services  # noqa: E402 - once all are registered

ARN = "arn:aws:iam::123456789012:role/r"
AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "documents.sqlite")
    yield made
    made.close()


def document(*actions, effect="Allow", member="Action"):
    return parse(
        json.dumps({"Version": "2012-10-17", "Statement": {"Effect": effect, member: list(actions), "Resource": "*"}})
    )


def test_what_was_noted_is_written_by_itself_and_read_by_the_next_start(store, monkeypatch):
    monkeypatch.setattr(last_accessed, "SAVE_SECONDS", 0.01)
    first = LastAccessed(store)
    first.note(ARN, ["s3:GetObject"], "eu-west-1")
    first.note(ARN, ["s3:PutObject"], None)
    first.note("", ["s3:GetObject"], "eu-west-1")  # nobody
    deadline = time.monotonic() + 60
    while not list(store.table("last-accessed").everywhere()) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.close()
    second = LastAccessed(store)
    assert second.of(ARN, AGO) == first.of(ARN, AGO)
    assert {action: one.region for action, one in second.of(ARN, AGO).items()} == {
        "s3:GetObject": "eu-west-1",
        "s3:PutObject": None,
    }
    assert second.of("", AGO) == {}
    second.close()


def test_what_could_not_be_written_is_written_later(store):
    noted = LastAccessed(store)
    table, noted._table = noted._table, None  # nothing takes it
    noted.note(ARN, ["s3:GetObject"], None)
    with pytest.raises(AttributeError):
        noted._save()
    noted._table = table
    noted.close()
    assert [arn for _, arn, _ in table.everywhere()] == [ARN]


def test_a_new_role_has_not_done_what_a_deleted_one_of_its_name_did(store):
    noted = LastAccessed(store)
    noted.note(ARN, ["s3:GetObject"], None)
    assert noted.of(ARN, datetime.now(UTC) + timedelta(seconds=1)) == {}
    noted.close()


def test_a_report_has_the_services_that_are_granted_and_when_each_action_was_used():
    used = {"s3:GetObject": Access(AGO, "us-east-1"), "s3:ListBucket": Access(AGO + timedelta(1), None)}
    documents = [document("S3:getobject", "s3:PutObject"), document("ec2:*"), document("iam:GetRole", effect="Deny")]
    ec2, s3 = services(documents, used, ARN, actions=True)
    assert (ec2["ServiceNamespace"], ec2["ServiceName"]) == ("ec2", "Amazon Elastic Compute Cloud")
    assert (ec2["TotalAuthenticatedEntities"], ec2["TrackedActionsLastAccessed"]) == (0, [])
    assert "LastAuthenticated" not in ec2
    assert (s3["LastAuthenticated"], s3["TotalAuthenticatedEntities"]) == (AGO + timedelta(1), 1)
    assert "LastAuthenticatedRegion" not in s3
    tracked = {one.pop("ActionName"): one for one in s3["TrackedActionsLastAccessed"]}
    assert tracked["PutObject"] == {}
    assert tracked["GetObject"] == {
        "LastAccessedEntity": ARN,
        "LastAccessedTime": AGO,
        "LastAccessedRegion": "us-east-1",
    }
    assert set(tracked) == {"PutObject", "GetObject", "ListBucket"}


def test_without_its_actions_a_report_says_only_the_service():
    (s3,) = services([document("s3:GetObject")], {}, ARN, actions=False)
    assert "TrackedActionsLastAccessed" not in s3


@pytest.mark.parametrize("granted", [document("*"), document("iam:*", member="NotAction")])
def test_who_may_everything_or_all_but_something_has_every_service(granted):
    assert {one["ServiceNamespace"] for one in services([granted], {}, ARN, actions=True)} == EVERY_SERVICE


NAMES = st.sampled_from(["s3:GetObject", "s3:PutObject", "sqs:SendMessage", "iam:PassRole", "odd:Thing"])


@given(granted=st.lists(NAMES, min_size=1), used=st.lists(NAMES))
def test_every_granted_action_is_told_with_its_use_and_nothing_of_other_services(granted, used):
    found = services([document(*granted)], dict.fromkeys(used, Access(AGO, None)), ARN, actions=True)
    told = {
        f"{one['ServiceNamespace']}:{action['ActionName']}": "LastAccessedTime" in action
        for one in found
        for action in one["TrackedActionsLastAccessed"]
    }
    prefixes = {action.partition(":")[0] for action in granted}
    assert set(granted) <= set(told)
    assert all(told[action] == (action in used) for action in told)
    assert {action.partition(":")[0] for action in told} == prefixes
