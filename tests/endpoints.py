"""What tests of endpoints share: a model that does what it is asked, and short ways to serve it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
CONFIG = "applications:\n  - name: echo\n    import_path: app:application\n    route_prefix: /\n"
# A model that echoes its body; X-Amzn-SageMaker-Custom-Attributes asks it for other things.
APP = """
import asyncio, json, os, pathlib, sys

print("the model is loaded by", os.getpid(), flush=True)

async def application(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    status, content, kind = 200, body, headers.get("content-type", "none")
    what, _, value = headers.get("x-amzn-sagemaker-custom-attributes", "").partition("=")
    if scope["path"] == "/ping":
        status, content = int(os.environ.get("PING", "200")), b""
    elif what == "pid":
        content = str(os.getpid()).encode()
    elif what == "wait":
        pathlib.Path(value, os.urandom(8).hex()).touch()
        while not pathlib.Path(value, "go").exists():
            await asyncio.sleep(0.01)
        content = str(os.getpid()).encode()
    elif what == "status":
        status, content = int(value), f"this is a {value}".encode()
    elif what == "die":
        os._exit(3)
    elif what == "environment":
        content = json.dumps(dict(os.environ)).encode()
    elif what == "headers":
        content = json.dumps(headers).encode()
    elif what == "path":
        content = json.dumps({"file": __file__, "said": pathlib.Path("said.txt").read_text()}).encode()
    elif what == "who":
        import boto3
        content = (await asyncio.to_thread(boto3.client("sts").get_caller_identity))["Arn"].encode()
    answer = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode()),
              (b"x-amzn-sagemaker-custom-attributes", f"asked <{what}>".encode())]
    if what == "open":
        answer.append((b"x-amzn-sagemaker-new-session-id", f"{value}; Expires=2099-01-01T00:00:00Z".encode()))
    await send({"type": "http.response.start", "status": status, "headers": answer})
    await send({"type": "http.response.body", "body": content})
"""
FILES = {"app.py": APP, "config.yaml": CONFIG, "said.txt": "unpacked to /opt/ml/model"}


def archive(files: dict[str, str]) -> bytes:
    """A model.tar.gz with these text files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


class Hosting:
    """One server's clients, and short ways to make and use endpoints on it."""

    def __init__(self, aws: Any) -> None:
        self.aws = aws
        self.sagemaker, self.runtime = aws.client("sagemaker"), aws.client("sagemaker-runtime")
        self.logs, self.cloudwatch, self.s3 = aws.client("logs"), aws.client("cloudwatch"), aws.client("s3")
        # Like the other, but it leaves all checks to the server.
        self.unchecked = boto3.client(
            "sagemaker",
            region_name="us-east-1",
            endpoint_url=aws.url,
            aws_access_key_id=aws.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=aws.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(parameter_validation=False),
        )
        self.role = aws.role("hosting-tests", "sagemaker.amazonaws.com")
        self.bucket = "hosting-tests"
        self.s3.create_bucket(Bucket=self.bucket)

    def model_data(self, content: bytes | None = None, key: str = "") -> str:
        """The S3 address of a model's archive."""
        content = archive(FILES) if content is None else content
        key = key or f"{hashlib.sha256(content).hexdigest()}/model.tar.gz"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        return f"s3://{self.bucket}/{key}"

    def model(self, name: str, url: str = "", **container: Any) -> str:
        """CreateModel; returns the name."""
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url or self.model_data(), **container},
        )
        return name

    def endpoint(self, name: str, variants: list[dict[str, Any]]) -> str:
        """CreateEndpointConfig and CreateEndpoint; returns the name."""
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        return name

    def deploy(self, files: dict[str, str] | None = None, instances: int = 1, **environment: str) -> str:
        """A new endpoint of its own, not waited for."""
        name = f"e-{uuid.uuid4().hex[:8]}"
        self.model(name, self.model_data(archive(files or FILES)), Environment=environment)
        return self.endpoint(name, [variant(name, instances)])

    def settle(self, name: str) -> dict[str, Any]:
        """The endpoint's description as soon as nothing is in progress."""
        settled: dict[str, Any] = until(
            lambda: self.describe(name), lambda seen: not seen["EndpointStatus"].endswith(("ing", "RollingBack"))
        )
        return settled

    def in_service(self, name: str) -> str:
        """Wait until the endpoint is in service; returns its name."""
        settled = self.settle(name)
        assert settled["EndpointStatus"] == "InService", settled
        return name

    def describe(self, name: str) -> dict[str, Any]:
        """DescribeEndpoint."""
        answer: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
        return answer

    def ask(self, name: str, what: str = "pid", body: bytes = b"", **params: Any) -> bytes:
        """InvokeEndpoint with a command for the test's model; returns the body."""
        answer = self.runtime.invoke_endpoint(EndpointName=name, Body=body, CustomAttributes=what, **params)
        content: bytes = answer["Body"].read()
        return content

    def delete(self, name: str) -> None:
        """DeleteEndpoint, and wait until it is gone."""
        self.sagemaker.delete_endpoint(EndpointName=name)
        until(lambda: self.gone(name), lambda gone: gone)

    def gone(self, name: str) -> bool:
        """Whether the endpoint is not there any more."""
        try:
            self.describe(name)
        except ClientError as error:
            return "Could not find endpoint" in str(error)
        return False


def variant(model: str, instances: int = 1, name: str = "AllTraffic", **more: Any) -> dict[str, Any]:
    """A production variant."""
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.c5.large",
        "InitialInstanceCount": instances,
        **more,
    }


def until(look: Callable[[], Any], enough: Callable[[Any], bool], seconds: float = 120) -> Any:
    """Look again and again, until it is enough."""
    deadline = time.monotonic() + seconds
    while not enough(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen


@contextmanager
def refused(code: str, *parts: str) -> Iterator[Any]:
    """The call inside fails with this code, and a message that has all of these parts."""
    with pytest.raises(ClientError) as caught:
        yield caught
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    for part in parts:
        assert part in error["Message"], error


def folder(hosting: Hosting, endpoint: str) -> Path:
    """Where the embedded AWS keeps an endpoint's files."""
    place: Path = hosting.aws.state.resolve() / "endpoints" / "us-east-1" / endpoint
    return place


def waits_until(gate: Path, app: str) -> str:
    """An application that is loaded once there is a file ``gate``."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.01)\n{app}"


class Meeting:
    """Requests that all stay in the model until they are let go: ask ``what``."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.what = folder, f"wait={folder}"
        folder.mkdir()

    def await_arrivals(self, count: int) -> None:
        """Return when so many requests are in the model."""
        until(lambda: len(list(self._folder.iterdir())), lambda arrived: arrived == count)

    def end(self) -> None:
        """Let all of them be answered."""
        (self._folder / "go").touch()


def processes(hosting: Hosting, endpoint: str) -> list[psutil.Process]:
    """The processes of an endpoint's instances, by the folder they live in."""
    home = str(folder(hosting, endpoint))
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME", "").startswith(home):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
