"""The helpers for endpoints, as a notebook calls them, on the embedded AWS."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import hosting
from helpers.cloud import Cloud
from helpers.settings import Settings
from tests.endpoints import waits_until

APP = """
import json

async def application(scope, receive, send):
    body, more = b"", scope["type"] == "http"
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    status = 415 if body == b"not a photo" else 200
    kind = dict(scope["headers"]).get(b"content-type", b"").decode()
    content = json.dumps({"bytes": len(body), "type": kind, "model": "%s"}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": content})
"""
INSTANCE = "ml.c5.large"


@pytest.fixture
def cloud(user: Any) -> Cloud:
    session = boto3.Session(region_name="us-east-1")
    identity = session.client("sts").get_caller_identity()
    return Cloud(Settings.of(project="hosted"), session, identity["Account"], identity["Arn"])


@pytest.fixture
def role(user: Any) -> str:
    return str(user.role("hosted", "sagemaker.amazonaws.com"))


def model_data(cloud: Cloud, name: str, app: str) -> str:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("app.py")
        member.size = len(app)
        tar.addfile(member, io.BytesIO(app.encode()))
    cloud.client("s3").create_bucket(Bucket="hosted")
    cloud.client("s3").put_object(Bucket="hosted", Key=f"{name}/model.tar.gz", Body=content.getvalue())
    return f"s3://hosted/{name}/model.tar.gz"


@pytest.fixture
def endpoint(cloud: Cloud) -> Iterator[str]:
    yield "hosted"
    hosting.delete(cloud, "hosted")


def test_the_image_is_aws_current_one() -> None:
    assert hosting.serving_image("us-east-1", "ml.c5.xlarge").rpartition(":")[2].startswith("serve-ml-sagemaker-cpu-")
    assert "cuda" in hosting.serving_image("eu-west-1", "ml.g5.xlarge")


def test_deploy_predict_replace_delete(
    cloud: Cloud,
    role: str,
    endpoint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = hosting.serving_image(cloud.region, INSTANCE)
    environment = {"SM_RAYSERVE_APP": "app:application"}
    # Loaded when it has been seen on its way, which may else be over before anybody looks.
    gate = tmp_path / "gate"
    first = model_data(cloud, "first", waits_until(gate, APP % "first"))
    describe = hosting.describe

    def described(cloud: Cloud, name: str) -> dict[str, Any] | None:
        found = describe(cloud, name)
        if found and found["EndpointStatus"] == "Creating":
            gate.touch()
        return found

    monkeypatch.setattr(hosting, "describe", described)
    made = hosting.deploy(cloud, endpoint, first, role, image, INSTANCE, environment=environment)
    assert made["EndpointStatus"] == "InService"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("hosted: Creating (")
    assert lines[-1].startswith("hosted: InService (")
    tags = cloud.client("sagemaker").list_tags(ResourceArn=made["EndpointArn"])["Tags"]
    assert {"Key": "project", "Value": "hosted"} in tags

    again = hosting.deploy(cloud, endpoint, first, role, image, INSTANCE, environment=environment)
    assert again["CreationTime"] == made["CreationTime"]
    assert "in service already" in capsys.readouterr().out

    photo = tmp_path / "photo.jpg"
    photo.write_bytes(bytes(range(256)))
    assert hosting.predict(cloud, endpoint, photo) == {"bytes": 256, "type": "image/jpeg", "model": "first"}
    assert hosting.predict(cloud, endpoint, b"png", "image/png")["type"] == "image/png"
    with pytest.raises(ClientError, match="ModelError"):
        hosting.predict(cloud, endpoint, b"not a photo")

    second = model_data(cloud, "second", APP % "second")
    changed = hosting.deploy(cloud, endpoint, second, role, image, INSTANCE, environment=environment)
    assert changed["EndpointConfigName"] != made["EndpointConfigName"]
    assert changed["CreationTime"] == made["CreationTime"]
    assert "updating" in capsys.readouterr().out
    assert hosting.predict(cloud, endpoint, photo)["model"] == "second"

    sagemaker = cloud.client("sagemaker")
    assert [model["ModelName"] for model in sagemaker.list_models(NameContains="hosted-")["Models"]] == [
        changed["EndpointConfigName"]
    ]
    with pytest.raises(ClientError, match="Could not find model data"):
        hosting.deploy(cloud, endpoint, "s3://hosted/nothing.tar.gz", role, image, INSTANCE, environment=environment)
    assert hosting.predict(cloud, endpoint, photo)["model"] == "second"

    broken = model_data(cloud, "broken", "raise RuntimeError('no weights')\n")
    with pytest.raises(hosting.DeploymentFailed, match="no weights"):
        hosting.deploy(cloud, endpoint, broken, role, image, INSTANCE, environment=environment)
    assert hosting.predict(cloud, endpoint, photo)["model"] == "second"

    hosting.delete(cloud, endpoint)
    hosting.delete(cloud, endpoint)
    assert hosting.describe(cloud, endpoint) is None
    assert sagemaker.list_models(NameContains="hosted-")["Models"] == []
    assert sagemaker.list_endpoint_configs(NameContains="hosted-")["EndpointConfigs"] == []


def test_a_deployment_that_fails_says_why_and_can_be_put_right(cloud: Cloud, role: str, endpoint: str) -> None:
    image = hosting.serving_image(cloud.region, INSTANCE)
    environment = {"SM_RAYSERVE_APP": "app:application"}
    broken = model_data(cloud, "broken", "print('loading')\nraise RuntimeError('no weights')\n")
    with pytest.raises(hosting.DeploymentFailed) as caught:
        hosting.deploy(cloud, endpoint, broken, role, image, INSTANCE, environment=environment)
    assert "did not pass the ping health check" in str(caught.value)
    assert str(caught.value).splitlines()[-1] == "RuntimeError: no weights"
    good = model_data(cloud, "good", APP % "good")
    made = hosting.deploy(cloud, endpoint, good, role, image, INSTANCE, environment=environment)
    assert made["EndpointStatus"] == "InService"
    assert json.dumps(hosting.predict(cloud, endpoint, b""))


def test_what_cannot_be_deployed_is_awss_own_error(cloud: Cloud, role: str) -> None:
    image = hosting.serving_image(cloud.region, INSTANCE)
    with pytest.raises(ClientError, match=r"Could not find model data at s3://hosted/nothing\.tar\.gz"):
        hosting.deploy(cloud, "nothing", "s3://hosted/nothing.tar.gz", role, image, INSTANCE)
    assert hosting.describe(cloud, "nothing") is None
    assert hosting.log_tail(cloud, "nothing") == []
