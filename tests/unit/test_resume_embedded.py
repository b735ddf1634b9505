from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import cloud
from helpers.settings import Settings

FOUND = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The statuses that a started embedded AWS tells, one after the other; what is left of them was not asked for."""
    statuses = []

    def describe_endpoint(EndpointName):
        assert EndpointName == "dogs"
        status = statuses.pop(0)
        if isinstance(status, Exception):
            raise status
        return {"EndpointStatus": status}

    made = SimpleNamespace(describe_endpoint=describe_endpoint, exceptions=SimpleNamespace(ClientError=ClientError))
    monkeypatch.setattr(boto3, "client", lambda *_, **given: made if given["endpoint_url"] else None)
    monkeypatch.setattr(cloud, "_embedded", lambda _: FOUND)
    monkeypatch.setattr(cloud.time, "sleep", lambda _: None)
    monkeypatch.setenv("LOCALAWS_STATE", str(tmp_path))
    (tmp_path / "id").write_text("state")
    return statuses


def test_it_waits_while_the_endpoints_instances_start_anew(asked):
    asked += ["SystemUpdating", "SystemUpdating", "InService", "never asked"]
    cloud.resume_embedded(Settings.of(project="dogs"))
    assert asked == ["never asked"]


def test_where_there_is_no_endpoint_there_is_nothing_to_wait_for(asked):
    asked += [ClientError({"Error": {"Code": "ValidationException"}}, "DescribeEndpoint")]
    cloud.resume_embedded(Settings.of(project="dogs"))
    assert not asked


def test_without_state_and_on_aws_nothing_is_started(asked, tmp_path):
    asked += ["never asked"]
    cloud.resume_embedded(Settings.of(project="dogs", target="aws"))
    (tmp_path / "id").unlink()
    cloud.resume_embedded(Settings.of(project="dogs"))
    assert asked == ["never asked"]
