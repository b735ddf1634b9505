"""What teardown waits for before it deletes."""

from __future__ import annotations

from typing import Any

import pytest

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
    def __init__(self, sagemaker: SageMaker) -> None:
        self.sagemaker = sagemaker

    def client(self, _: str) -> SageMaker:
        return self.sagemaker


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_an_endpoint_that_is_being_changed_is_waited_for(status, monkeypatch):
    monkeypatch.setattr(teardown.time, "sleep", lambda _: None)
    teardown._delete_endpoint(Cloud(SageMaker(status, status, "InService")), "dogs")
