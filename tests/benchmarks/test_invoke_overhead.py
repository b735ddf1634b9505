"""What InvokeEndpoint adds to the same request made to the instance itself, side by side. Prints; asserts no times."""

from __future__ import annotations

import http.client
import io
import os
import statistics
import tarfile
import time
from typing import Any

import psutil
import pytest

ROUNDS = 200
PHOTO = os.urandom(60_000)
APP = """
async def application(scope, receive, send):
    body, more = b"", scope["type"] == "http"
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})
"""


def model_data() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("app.py")
        member.size = len(APP)
        tar.addfile(member, io.BytesIO(APP.encode()))
    return content.getvalue()


@pytest.fixture
def endpoint(aws: Any) -> Any:
    """An endpoint of one instance, whose model only counts the bytes."""
    sagemaker, name = aws.client("sagemaker"), "overhead"
    aws.client("s3").create_bucket(Bucket=name)
    aws.client("s3").put_object(Bucket=name, Key="model.tar.gz", Body=model_data())
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=aws.role("overhead", "sagemaker.amazonaws.com"),
        PrimaryContainer={
            "Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4",
            "ModelDataUrl": f"s3://{name}/model.tar.gz",
            "Environment": {"SM_RAYSERVE_APP": "app:application"},
        },
    )
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    quickly = {"Delay": 1, "MaxAttempts": 60}
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=quickly)
    yield name
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=quickly)


def port_of(aws: Any, endpoint: str) -> int:
    """Where the endpoint's only instance listens."""
    folder = str(aws.state.resolve() / "endpoints" / "us-east-1" / endpoint)
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME", "").startswith(folder):
                return int(process.net_connections("tcp")[0].laddr.port)
        except (psutil.Error, OSError):
            continue
    raise AssertionError(f"no process below {folder}")


def seconds(call: Any) -> float:
    started = time.perf_counter()
    assert call() == str(len(PHOTO)).encode()
    return time.perf_counter() - started


def test_what_invoke_endpoint_adds(aws: Any, endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = aws.client("sagemaker-runtime")
    connection = http.client.HTTPConnection("127.0.0.1", port_of(aws, endpoint))

    def directly() -> bytes:
        connection.request("POST", "/invocations", PHOTO, {"Content-Type": "image/jpeg"})
        return connection.getresponse().read()

    def through_aws() -> bytes:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, Body=PHOTO, ContentType="image/jpeg")
        content: bytes = answer["Body"].read()
        return content

    times: dict[str, list[float]] = {"directly": [], "InvokeEndpoint": []}
    for _ in range(ROUNDS):
        times["directly"].append(seconds(directly))
        times["InvokeEndpoint"].append(seconds(through_aws))
    connection.close()
    with capsys.disabled():
        print()
        for name, taken in times.items():
            tail = statistics.quantiles(taken, n=20)[-1]
            print(f"{name:15} median {statistics.median(taken) * 1e3:6.2f} ms   p95 {tail * 1e3:6.2f} ms")
        ratio = statistics.median(times["InvokeEndpoint"]) / statistics.median(times["directly"])
        print(f"ratio {ratio:.1f} (60 kB body, one at a time, {ROUNDS} alternating; boto3's own time is in it)")
