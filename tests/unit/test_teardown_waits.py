"""What teardown waits for before it deletes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from helpers import teardown


class SageMaker:
    """Has one endpoint, which is seen in one status after the other; deletes it in none but the last."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)

    def describe_endpoint(self, **_: str) -> dict[str, str]:
        return {"EndpointStatus": self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]}

    def delete_endpoint(self, **_: str) -> None:
        assert self.statuses == ["InService"], f"cannot update an in-progress endpoint: {self.statuses}"
        self.statuses = ["Deleting"]

    def get_waiter(self, _: str) -> Any:
        return self

    def wait(self, **_: Any) -> None:
        assert self.statuses == ["Deleting"]


class Cloud:
    def __init__(self, sagemaker: Any) -> None:
        self.sagemaker = sagemaker

    def client(self, _: str) -> Any:
        return self.sagemaker


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_an_endpoint_that_is_being_changed_is_waited_for(status, monkeypatch):
    monkeypatch.setattr(teardown.time, "sleep", lambda _: None)
    teardown._delete_endpoint(Cloud(SageMaker(status, status, "InService")), "dogs")


class Jobs:
    """Has one training or tuning job, seen in one status after the other; takes a stop while it is in progress."""

    def __init__(self, kind: str, *statuses: str) -> None:
        self.kind, self.statuses = kind, list(statuses)
        self.stops = 0

    def describe(self, **_: str) -> dict[str, str]:
        return {f"{self.kind}JobStatus": self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]}

    def stop(self, **_: str) -> None:
        self.stops += 1
        if self.statuses[0] != "InProgress":
            rejected = {"Code": "ValidationException", "Message": "rejected because the job is in status"}
            raise ClientError({"Error": rejected}, "Stop")

    def delete(self, **_: str) -> None:
        assert self.statuses[0] in ("Completed", "Stopped"), f"only ended jobs can be deleted: {self.statuses}"
        self.statuses = ["deleted"]

    describe_training_job = describe_hyper_parameter_tuning_job = describe
    stop_training_job = stop_hyper_parameter_tuning_job = stop
    delete_training_job = delete_hyper_parameter_tuning_job = delete


@pytest.mark.parametrize(
    ("statuses", "stops"),
    [
        (["InProgress", "InProgress", "Stopping", "Stopped"], 1),
        (["InProgress", "Completed"], 1),  # it ends after it has been described
        (["Stopping", "Stopping", "Stopped"], 0),  # by an interrupt
        (["Completed"], 0),
    ],
)
@pytest.mark.parametrize(
    ("kind", "delete"),
    [("Training", teardown._delete_training_job), ("HyperParameterTuning", teardown._delete_tuning_job)],
)
def test_a_job_is_stopped_if_it_must_be_and_waited_for(kind, delete, statuses, stops, monkeypatch):
    monkeypatch.setattr(teardown.time, "sleep", lambda _: None)
    jobs = Jobs(kind, *statuses)
    delete(Cloud(jobs), "dogs-1")
    assert (jobs.statuses, jobs.stops) == (["deleted"], stops)


def test_what_somebody_else_deletes_after_it_was_listed_is_not_found():
    def gone(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": "cannot be found"}}, "ListRoleTags")

    listed = {
        "list_roles": [{"Roles": [{"RoleName": "dogs-lambda"}]}],
        "list_instance_profiles": [{"InstanceProfiles": [{"InstanceProfileName": "dogs-ec2"}]}],
    }
    iam = SimpleNamespace(
        get_paginator=lambda name: SimpleNamespace(paginate=lambda: listed[name]),
        list_role_tags=gone,
        get_instance_profile=gone,
    )
    cloud: Any = SimpleNamespace(client=lambda _: iam, settings=SimpleNamespace(project="dogs"))
    assert list(teardown._identities(cloud)) == []
