"""Endpoints of the embedded AWS, used as a user's code uses them: boto3 and the SageMaker SDK over HTTP."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from helpers import metrics
from tests.endpoints import (
    APP,
    CONFIG,
    FILES,
    IMAGE,
    Hosting,
    Meeting,
    archive,
    folder,
    processes,
    refused,
    until,
    variant,
    waits_until,
)

LIMIT = 6_291_456
EVERY_BYTE = bytes(range(256))
ROLE = "arn:aws:iam::123456789012:role/some"
SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
# In the order in which an endpoint publishes them.
METRICS = (
    "Invocations InvocationsPerInstance Invocation4XXErrors Invocation5XXErrors InvocationModelErrors ModelLatency "
    "OverheadLatency"
).split()
ASYNC = {"OutputConfig": {"S3OutputPath": "s3://bucket/key"}}


@pytest.fixture(scope="module")
def hosting(aws: Any) -> Hosting:
    return Hosting(aws)


@pytest.fixture(scope="module")
def echo(hosting: Hosting) -> Iterator[str]:
    """An endpoint of two instances that most tests ask."""
    name = hosting.in_service(hosting.deploy(instances=2, GREETING="hello from /opt/ml/model"))
    yield name
    hosting.delete(name)


# ---- models and configurations ----


def test_a_model_is_described_as_it_was_given(hosting: Hosting) -> None:
    url = hosting.model_data()
    answer = hosting.sagemaker.create_model(
        ModelName="described",
        ExecutionRoleArn=hosting.role,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url, "Environment": {"A": "1"}, "Mode": "SingleModel"},
        VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        Tags=[{"Key": "project", "Value": "tests"}],
    )
    assert answer["ModelArn"] == "arn:aws:sagemaker:us-east-1:123456789012:model/described"
    seen = hosting.sagemaker.describe_model(ModelName="described")
    assert seen["PrimaryContainer"] == {
        "Image": IMAGE,
        "ModelDataUrl": url,
        "Environment": {"A": "1"},
        "Mode": "SingleModel",
    }
    assert seen["ExecutionRoleArn"] == hosting.role
    assert seen["VpcConfig"]["Subnets"] == ["subnet-1"]
    assert seen["EnableNetworkIsolation"] is False
    assert hosting.sagemaker.list_tags(ResourceArn=answer["ModelArn"])["Tags"] == [{"Key": "project", "Value": "tests"}]
    with refused("ValidationException", f'Cannot create already existing model "{answer["ModelArn"]}".'):
        hosting.model("described")
    hosting.sagemaker.delete_model(ModelName="described")
    with refused("ValidationException", f'Could not find model "{answer["ModelArn"]}".'):
        hosting.sagemaker.describe_model(ModelName="described")
    with refused("ValidationException", "Could not find model"):
        hosting.sagemaker.delete_model(ModelName="described")
    with refused("ValidationException", "Could not find"):
        hosting.sagemaker.list_tags(ResourceArn=answer["ModelArn"])


def test_models_are_listed_in_pages_by_name_and_time(hosting: Hosting) -> None:
    for number in range(5):
        hosting.model(f"listed-{number}")
    pages = hosting.sagemaker.get_paginator("list_models").paginate(
        NameContains="listed-", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    seen = [[model["ModelName"] for model in page["Models"]] for page in pages]
    assert seen == [["listed-0", "listed-1"], ["listed-2", "listed-3"], ["listed-4"]]
    newest = hosting.sagemaker.list_models(NameContains="listed-", MaxResults=1)["Models"][0]
    assert newest["ModelName"] == "listed-4"
    since = hosting.sagemaker.list_models(NameContains="listed-", CreationTimeAfter=newest["CreationTime"])
    assert "listed-0" not in [model["ModelName"] for model in since["Models"]]
    with refused("ValidationException", "NextToken"):
        hosting.sagemaker.list_models(NextToken="bm90aGluZw==")


@pytest.mark.parametrize(
    ("changed", "code", "part"),
    [
        ({"ExecutionRoleArn": "arn:aws:iam::123456789012:role/nobody"}, "ValidationException", '"sts:AssumeRole"'),
        ({"ExecutionRoleArn": None}, "ValidationException", "ExecutionRoleArn is required"),
        ({"PrimaryContainer": None}, "ValidationException", "PrimaryContainer"),
        (
            {"ModelDataUrl": "s3://no-such-bucket/model.tar.gz"},
            "ValidationException",
            "Could not find model data at s3://",
        ),
        ({"ModelDataUrl": "s3://hosting-tests/no/model.tar.gz"}, "ValidationException", "Could not find model data at"),
        ({"ModelDataUrl": "s3://hosting-tests/model.zip"}, "ValidationException", ".tar.gz suffix"),
        ({"ModelDataUrl": "https://hosting-tests.s3.amazonaws.com/model.tar.gz"}, "NotImplemented", "s3://bucket/key"),
        (
            {"Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312"},
            "NotImplemented",
            "ray:",
        ),
        ({"Image": None}, "ValidationException", "Image"),
        ({"Mode": "MultiModel"}, "NotImplemented", "multi-model"),
        ({"MultiModelConfig": {"ModelCacheSetting": "Enabled"}}, "NotImplemented", "MultiModelConfig"),
        ({"ModelPackageName": "package"}, "NotImplemented", "ModelPackageName"),
        ({"Containers": [{"Image": IMAGE}]}, "NotImplemented", "pipelines"),
        ({"EnableNetworkIsolation": True}, "NotImplemented", "EnableNetworkIsolation"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(
    hosting: Hosting, changed: dict[str, Any], code: str, part: str
) -> None:
    container: dict[str, Any] = {"Image": IMAGE, "ModelDataUrl": hosting.model_data()}
    request: dict[str, Any] = {"ModelName": "bad", "ExecutionRoleArn": hosting.role, "PrimaryContainer": container}
    for name, value in changed.items():
        target = (
            container if name in ("ModelDataUrl", "Image", "Mode", "MultiModelConfig", "ModelPackageName") else request
        )
        target[name] = value
    container = {name: value for name, value in container.items() if value is not None}
    request = {name: value for name, value in request.items() if value is not None}
    if "PrimaryContainer" in request:
        request["PrimaryContainer"] = container
    with refused(code, part):
        hosting.sagemaker.create_model(**request)


def test_an_endpoint_configuration_is_described_as_it_was_given(hosting: Hosting) -> None:
    hosting.model("configured")
    answer = hosting.sagemaker.create_endpoint_config(
        EndpointConfigName="configured",
        ProductionVariants=[variant("configured", VolumeSizeInGB=8)],
        KmsKeyId="key",
        Tags=[{"Key": "project", "Value": "tests"}],
    )
    assert answer["EndpointConfigArn"].endswith(":endpoint-config/configured")
    seen = hosting.sagemaker.describe_endpoint_config(EndpointConfigName="configured")
    assert seen["ProductionVariants"] == [variant("configured", VolumeSizeInGB=8, InitialVariantWeight=1.0)]
    assert seen["KmsKeyId"] == "key"
    assert "VpcConfig" not in seen
    listed = hosting.sagemaker.list_endpoint_configs(NameContains="configured")["EndpointConfigs"]
    assert [one["EndpointConfigName"] for one in listed] == ["configured"]
    with refused("ValidationException", "Cannot create already existing endpoint configuration"):
        hosting.sagemaker.create_endpoint_config(
            EndpointConfigName="configured", ProductionVariants=[variant("configured")]
        )
    hosting.sagemaker.delete_endpoint_config(EndpointConfigName="configured")
    with refused("ValidationException", f'Could not find endpoint configuration "{answer["EndpointConfigArn"]}".'):
        hosting.sagemaker.describe_endpoint_config(EndpointConfigName="configured")
    with refused("ValidationException", "Could not find endpoint configuration"):
        hosting.sagemaker.delete_endpoint_config(EndpointConfigName="configured")
    with refused("ValidationException", "Could not find endpoint configuration"):
        hosting.sagemaker.create_endpoint(EndpointName="configured", EndpointConfigName="configured")


@pytest.mark.parametrize(
    ("variants", "more", "code", "part"),
    [
        ([variant("nothing")], {}, "ValidationException", 'Could not find model "arn:'),
        ([variant("base"), variant("base")], {}, "ValidationException", "different names"),
        ([variant("base", InitialVariantWeight=0.0)], {}, "ValidationException", "above 0"),
        ([variant("base", InitialVariantWeight=-1.0)], {}, "ValidationException", "greater than or equal to 0"),
        ([variant("base", name=f"v{n}") for n in range(11)], {}, "ValidationException", "less than or equal to 10"),
        ([variant("base", instances=0)], {}, "ValidationException", "greater than or equal to 1"),
        ([variant("base", InstanceType="ml.huge")], {}, "ValidationException", "enum value set"),
        ([variant("base", ServerlessConfig=SERVERLESS)], {}, "NotImplemented", "ServerlessConfig"),
        ([variant("base", ManagedInstanceScaling={"Status": "ENABLED"})], {}, "NotImplemented", "ManagedInstance"),
        ([variant("base")], {"AsyncInferenceConfig": ASYNC}, "NotImplemented", "AsyncInferenceConfig"),
        ([variant("base")], {"ShadowProductionVariants": [variant("base", name="s")]}, "NotImplemented", "Shadow"),
        ([variant("base")], {"ExecutionRoleArn": ROLE}, "NotImplemented", "inference components"),
    ],
)
def test_a_configuration_that_cannot_be_deployed_is_refused(
    hosting: Hosting, variants: list[dict[str, Any]], more: dict[str, Any], code: str, part: str
) -> None:
    if not hosting.sagemaker.list_models(NameContains="base")["Models"]:
        hosting.model("base")
    with refused(code, part):
        hosting.unchecked.create_endpoint_config(EndpointConfigName="bad", ProductionVariants=variants, **more)


def test_data_capture_is_refused_only_where_it_would_capture(hosting: Hosting) -> None:
    hosting.model("capture")
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://hosting-tests/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    request = {"EndpointConfigName": "capture", "ProductionVariants": [variant("capture")]}
    with refused("NotImplemented", "DataCaptureConfig"):
        hosting.sagemaker.create_endpoint_config(**request, DataCaptureConfig=capture)
    hosting.sagemaker.create_endpoint_config(**request, DataCaptureConfig={**capture, "EnableCapture": False})


def test_more_instances_than_the_quota_are_refused(hosting: Hosting) -> None:
    hosting.model("many")
    hosting.sagemaker.create_endpoint_config(EndpointConfigName="many", ProductionVariants=[variant("many", 21)])
    with refused("ResourceLimitExceeded", "'ml.c5.large for endpoint usage' is 20 Instances", "delta of 21 Instances"):
        hosting.sagemaker.create_endpoint(EndpointName="many", EndpointConfigName="many")


# ---- an endpoint in service ----


def test_an_endpoint_is_described_with_its_instances(hosting: Hosting, echo: str) -> None:
    seen = hosting.describe(echo)
    assert seen["EndpointArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{echo}"
    assert seen["EndpointConfigName"] == echo
    assert seen["LastModifiedTime"] > seen["CreationTime"]
    shown = seen["ProductionVariants"][0]
    assert shown["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    counts = ("CurrentInstanceCount", "DesiredInstanceCount", "CurrentWeight", "DesiredWeight")
    assert {name: shown[name] for name in counts} == dict(zip(counts, (2, 2, 1.0, 1.0), strict=True))
    assert not {"DataCaptureConfig", "VpcConfig", "FailureReason", "AsyncInferenceConfig"} & seen.keys()
    listed = hosting.sagemaker.list_endpoints(NameContains=echo, StatusEquals="InService")["Endpoints"]
    assert [one["EndpointName"] for one in listed] == [echo]
    assert hosting.sagemaker.list_endpoints(NameContains=echo, StatusEquals="Failed")["Endpoints"] == []
    with refused("ValidationException", "Cannot create already existing endpoint"):
        hosting.sagemaker.create_endpoint(EndpointName=echo, EndpointConfigName=echo)


@pytest.mark.parametrize(
    "body",
    [EVERY_BYTE, b"", os.urandom(5 << 20), b"\0" * LIMIT],
    ids=["every byte", "nothing", "5 MiB", "the limit"],
)
def test_a_body_goes_through_unchanged_both_ways(hosting: Hosting, echo: str, body: bytes) -> None:
    answer = hosting.runtime.invoke_endpoint(EndpointName=echo, Body=body, ContentType="image/jpeg")
    assert answer["Body"].read() == body
    assert answer["ContentType"] == "image/jpeg"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "asked <>"


def test_a_body_above_the_limit_is_refused(hosting: Hosting, echo: str) -> None:
    with refused("ValidationError", "less than or equal to 6291456"):
        hosting.runtime.invoke_endpoint(EndpointName=echo, Body=b"\0" * (LIMIT + 1))


def test_the_headers_reach_the_model(hosting: Hosting, echo: str) -> None:
    seen = json.loads(
        hosting.ask(echo, "headers", ContentType="text/csv", Accept="application/json", InferenceId="id-1")
    )
    assert seen["content-type"] == "text/csv"
    assert seen["accept"] == "application/json"
    assert seen["x-amzn-sagemaker-inference-id"] == "id-1"
    assert seen["x-amzn-sagemaker-custom-attributes"] == "headers"
    assert "authorization" not in seen


def test_the_container_has_its_role_its_region_and_no_other_keys(hosting: Hosting, echo: str) -> None:
    assert hosting.ask(echo, "who").decode() == "arn:aws:sts::123456789012:assumed-role/hosting-tests/SageMaker"
    environment = json.loads(hosting.ask(echo, "environment"))
    assert hosting.aws.environment["AWS_ACCESS_KEY_ID"] not in environment.values()
    assert hosting.aws.environment["AWS_SECRET_ACCESS_KEY"] not in environment.values()
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["AWS_ENDPOINT_URL"] == hosting.aws.url
    model = environment["SM_MODEL_DIR"]
    assert model.endswith("/opt/ml/model")
    assert environment["GREETING"] == f"hello from {model}"
    where = json.loads(hosting.ask(echo, "path"))
    assert where["said"] == f"unpacked to {os.path.dirname(where['file'])}"


def test_the_least_busy_instance_is_next(hosting: Hosting, echo: str, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path / "meeting")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(hosting.ask, echo, meeting.what)
        meeting.await_arrivals(1)
        quick = {hosting.ask(echo) for _ in range(6)}
        meeting.end()
        assert quick == {next(iter(quick))}
        assert slow.result() not in quick


def test_twenty_at_once_are_all_answered(hosting: Hosting, echo: str, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path / "meeting")
    with ThreadPoolExecutor(20) as pool:
        bodies = [os.urandom(1000) for _ in range(100)]
        assert list(pool.map(lambda body: hosting.ask(echo, "", body), bodies)) == bodies
        pids = [pool.submit(hosting.ask, echo, meeting.what) for _ in range(20)]
        meeting.await_arrivals(20)
        meeting.end()
    assert sorted(Counter(pid.result() for pid in pids).values()) == [10, 10]


def test_a_session_stays_with_the_instance_that_opened_it(hosting: Hosting, echo: str) -> None:
    opened = hosting.runtime.invoke_endpoint(
        EndpointName=echo, Body=b"", CustomAttributes="open=talk-1", SessionId="NEW_SESSION"
    )
    assert opened["NewSessionId"].startswith("talk-1;")
    assert len({hosting.ask(echo, SessionId="talk-1") for _ in range(12)}) == 1
    with refused("ValidationError", "Session talk-2 not found"):
        hosting.ask(echo, SessionId="talk-2")


@pytest.mark.parametrize(("status", "whose"), [(415, "client"), (400, "client"), (500, "server"), (503, "server")])
def test_an_error_of_the_model_is_a_model_error(hosting: Hosting, echo: str, status: int, whose: str) -> None:
    expected = (
        f'Received {whose} error ({status}) from primary with message "this is a {status}". See '
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:group="
        f"/aws/sagemaker/Endpoints/{echo} in account 123456789012 for more information."
    )
    with refused("ModelError", expected) as caught:
        hosting.ask(echo, f"status={status}")
    response = caught.value.response
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == f"this is a {status}"
    assert response["LogStreamArn"].endswith(f"log-group:/aws/sagemaker/Endpoints/{echo}")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_what_cannot_be_invoked_is_refused(hosting: Hosting, echo: str) -> None:
    with refused("ValidationError", "Endpoint nothing of account 123456789012 not found."):
        hosting.ask("nothing")
    with refused("ValidationError", f"Variant nothing not found for endpoint {echo}"):
        hosting.ask(echo, TargetVariant="nothing")
    with refused("NotImplemented", "TargetModel"):
        hosting.ask(echo, TargetModel="model.tar.gz")
    with refused("NotImplemented", "InvokeEndpointAsync"):
        hosting.runtime.invoke_endpoint_async(EndpointName=echo, InputLocation="s3://b/k")


def test_invocations_are_in_the_metrics_and_the_log(hosting: Hosting, echo: str) -> None:

    def statistics(metric: str) -> dict[str, float]:
        now = datetime.now(UTC)
        points = hosting.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": echo}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=86400,
            Statistics=["Sum", "SampleCount", "Minimum", "Maximum"],
        )["Datapoints"]
        return points[0] if points else {}

    def measured() -> dict[str, dict[str, float]]:
        """Against the order in which they are published: if first and last agree, nothing has come in between."""
        return {metric: statistics(metric) for metric in reversed(METRICS)}

    def counted(seen: dict[str, dict[str, float]]) -> bool:
        counts = {found.get("SampleCount", 0) for found in seen.values()}
        return len(counts) == 1 and counts.pop() >= before + 4

    before = statistics("Invocations").get("SampleCount", 0)
    for what in ("pid", "pid", "status=418", "status=500"):
        try:
            hosting.ask(echo, what)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"
    seen = until(measured, counted)
    sums = {metric: found["Sum"] for metric, found in seen.items()}
    assert sums["Invocations"] == seen["Invocations"]["SampleCount"]
    assert sums["Invocation4XXErrors"] >= 1
    assert sums["Invocation5XXErrors"] >= 1
    assert sums["InvocationsPerInstance"] == pytest.approx(sums["Invocations"] / 2)
    assert sums["InvocationModelErrors"] == sums["Invocation4XXErrors"] + sums["Invocation5XXErrors"]
    latency = seen["ModelLatency"]
    assert 100 < latency["Minimum"] < latency["Maximum"] < 60e6
    assert 0 < seen["OverheadLatency"]["Minimum"] < 1e6
    busy = until(lambda: statistics("ConcurrentRequestsPerModel"), lambda found: found.get("SampleCount", 0) >= 2)
    assert 0 <= busy["Minimum"] <= busy["Maximum"] <= 20

    group = f"/aws/sagemaker/Endpoints/{echo}"
    streams = [one["logStreamName"] for one in hosting.logs.describe_log_streams(logGroupName=group)["logStreams"]]
    assert len(streams) == 2
    for stream in streams:
        assert stream.startswith("AllTraffic/i-")
        events = hosting.logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
        lines = [event["message"] for event in events]
        assert any(line.startswith("the model is loaded by") for line in lines)
        assert any(line.startswith("Serving app:application on http://127.0.0.1:") for line in lines)
        assert any("of this machine's" in line and "cores" in line for line in lines)


def test_what_its_instances_use_is_told_by_variant(hosting: Hosting, echo: str) -> None:
    cloud: Any = SimpleNamespace(client=hosting.aws.client)
    rows = until(lambda: metrics.endpoint_utilisation(cloud, echo), bool)
    assert {row.host for row in rows} == {"AllTraffic"}
    assert 0 < rows[-1].memory < 100
    assert 0 <= rows[-1].cpu < 1600


def test_an_instance_that_dies_is_replaced(hosting: Hosting, echo: str) -> None:
    before = {instance.pid for instance in processes(hosting, echo)}
    with refused("ModelError", "Received server error (0) from primary", "broke before it had answered"):
        hosting.ask(echo, "die")
    assert hosting.ask(echo)  # by the other one
    until(
        lambda: {instance.pid for instance in processes(hosting, echo)},
        lambda after: len(after) == 2 and len(after & before) == 1,
    )
    until(lambda: hosting.describe(echo)["ProductionVariants"][0]["CurrentInstanceCount"], lambda count: count == 2)
    assert hosting.describe(echo)["EndpointStatus"] == "InService"


# ---- variants ----


def test_traffic_is_divided_by_weight_and_target(hosting: Hosting) -> None:
    hosting.model("weighted")
    name = hosting.endpoint(
        "weighted",
        [
            variant("weighted", name="most", InitialVariantWeight=3.0, RoutingConfig={"RoutingStrategy": "RANDOM"}),
            variant("weighted", name="none", InitialVariantWeight=0.0),
        ],
    )
    hosting.in_service(name)
    answers = [hosting.runtime.invoke_endpoint(EndpointName=name, Body=b"") for _ in range(10)]
    assert {answer["InvokedProductionVariant"] for answer in answers} == {"most"}
    answer = hosting.runtime.invoke_endpoint(EndpointName=name, Body=b"", TargetVariant="none")
    assert answer["InvokedProductionVariant"] == "none"
    assert hosting.describe(name)["ProductionVariants"][0]["RoutingConfig"] == {"RoutingStrategy": "RANDOM"}
    # Model and configuration may go, as on AWS, while the endpoint serves.
    hosting.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    hosting.sagemaker.delete_model(ModelName="weighted")
    assert hosting.ask(name)
    ports = {one.laddr.port for process in processes(hosting, name) for one in process.net_connections() if one.laddr}
    assert len(ports) == 2
    hosting.delete(name)
    assert processes(hosting, name) == []
    server = psutil.Process(json.loads((hosting.aws.state / "server.json").read_text())["pid"])
    listening = {one.laddr.port for one in server.net_connections("tcp") if one.status == "LISTEN" and one.laddr}
    assert not listening & ports, "the ports were the server's before they were the instances'"
    assert not folder(hosting, name).exists()
    with refused("ValidationError", f"Endpoint {name} of account 123456789012 not found."):
        hosting.ask(name)
    with refused(
        "ValidationException", f'Could not find endpoint "arn:aws:sagemaker:us-east-1:123456789012:endpoint/{name}".'
    ):
        hosting.sagemaker.delete_endpoint(EndpointName=name)


# ---- endpoints that fail ----


def test_endpoints_that_cannot_start_say_why(hosting: Hosting, tmp_path: Path) -> None:
    """All at the same time, since each waits for something else."""
    gate = tmp_path / "gate"
    raises = hosting.deploy({**FILES, "app.py": waits_until(gate, "raise RuntimeError('no weights here')")})
    with refused("ValidationException", "Cannot update in-progress endpoint"):
        hosting.sagemaker.delete_endpoint(EndpointName=raises)
    with refused("ValidationError", f"Endpoint {raises} of account", "not found", "Its status is Creating"):
        hosting.ask(raises)
    gate.touch()
    nothing = hosting.deploy({"app.py": APP})
    wrong = hosting.deploy({**FILES, "config.yaml": CONFIG.replace("app:application", "app:nothing")})
    uninstallable = hosting.deploy({**FILES, "code/requirements.txt": "no-such-package-of-ours==1.0"})
    unhealthy = "unhealthy"
    hosting.model(unhealthy, Environment={"PING": "503"})
    hosting.endpoint(unhealthy, [variant(unhealthy, ContainerStartupHealthCheckTimeoutInSeconds=60)])
    unread = "unread"
    url = hosting.model_data(archive({**FILES, "only": "here"}))
    hosting.model(unread, url)
    hosting.s3.delete_object(Bucket=hosting.bucket, Key=url.split("/", 3)[3])
    hosting.endpoint(unread, [variant(unread)])
    broken = "broken"
    hosting.model(broken, hosting.model_data(b"this is no archive"))
    hosting.endpoint(broken, [variant(broken)])
    ping = "The primary container for production variant AllTraffic did not pass the ping health check. Please check"
    reasons = {
        raises: [ping, "the server exited with code 1", "RuntimeError: no weights here"],
        nothing: [ping, "no Ray Serve application found", "SM_RAYSERVE_APP"],
        wrong: [ping, "has no attribute 'nothing'"],
        uninstallable: [ping, "could not be installed"],
        unhealthy: [ping, "/ping answered 503"],
        unread: ["Failed to download model data", url],
        broken: ["Failed to extract model data archive", "valid tar.gz archive"],
    }
    for name, parts in reasons.items():
        settled = hosting.settle(name)
        assert settled["EndpointStatus"] == "Failed"
        for part in parts:
            assert part in settled["FailureReason"], settled
        assert settled["ProductionVariants"][0]["CurrentInstanceCount"] == 0
        assert processes(hosting, name) == []
        with refused("ValidationError", "Its status is Failed"):
            hosting.ask(name)
        hosting.delete(name)


def test_an_application_is_found_by_the_environment_and_gets_its_own(hosting: Hosting) -> None:
    config = CONFIG + "    runtime_env: {env_vars: {PYTHONPATH: /opt/ml/model/code, EXTRA: from-the-configuration}}\n"
    configured = hosting.deploy(
        {"code/app.py": APP, "config.yaml": config, "code/requirements.txt": "boto3>=1  # there already\n\n# nothing"}
    )
    named = hosting.deploy({"app.py": APP}, SM_RAYSERVE_APP="app:application")
    environment = json.loads(hosting.ask(hosting.in_service(configured), "environment"))
    assert environment["EXTRA"] == "from-the-configuration"
    assert environment["PYTHONPATH"] == environment["SM_MODEL_DIR"] + "/code"
    assert hosting.ask(hosting.in_service(named))
    for name in (configured, named):
        hosting.delete(name)


def test_an_archive_cannot_leave_its_folder(hosting: Hosting) -> None:
    names = [
        hosting.deploy({**FILES, "../../escaped.txt": "out"}),
        hosting.deploy({**FILES, "/tmp/escaped.txt": "out"}),
    ]
    settled = [hosting.settle(name) for name in names]
    assert settled[0]["EndpointStatus"] == "Failed"
    assert "outside the destination" in settled[0]["FailureReason"]
    # An absolute path becomes a relative one, as every tar does it.
    assert settled[1]["EndpointStatus"] == "InService"
    assert {path.parent.name for path in hosting.aws.state.parent.rglob("escaped.txt")} == {"tmp"}
    assert not Path("/tmp/escaped.txt").exists()
    for name in names:
        hosting.delete(name)


# ---- after the server has gone ----


def test_an_endpoint_survives_the_server(fresh_aws: Callable[..., Any]) -> None:
    first = Hosting(fresh_aws("--time-scale", "20"))
    name = first.in_service(first.deploy())
    pid = first.ask(name)
    first.s3.delete_objects(
        Bucket=first.bucket,
        Delete={"Objects": [{"Key": one["Key"]} for one in first.s3.list_objects_v2(Bucket=first.bucket)["Contents"]]},
    )
    server = psutil.Process(json.loads(first.aws.cli("status").stdout)["pid"])
    server.kill()
    server.wait(60)
    again = Hosting(fresh_aws("--time-scale", "20"))
    assert again.describe(name)["EndpointStatus"] in ("SystemUpdating", "InService")

    def answered() -> bytes:
        try:
            return again.ask(name)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ServiceUnavailable"
            return b""

    assert until(answered, bool) != pid
    again.in_service(name)
    assert [process.pid for process in processes(again, name)] == [int(again.ask(name))]
    again.aws.cli("down")
    assert processes(again, name) == []
    again = Hosting(fresh_aws("--time-scale", "20"))
    assert again.settle(name)["EndpointStatus"] == "InService"
    assert again.ask(name)
    again.delete(name)


# ---- the SageMaker SDK ----


def test_the_sagemaker_sdk_deploys_and_invokes(hosting: Hosting, user: Any) -> None:
    from sagemaker.core.resources import Endpoint, EndpointConfig, Model
    from sagemaker.core.shapes import ContainerDefinition, ProductionVariant

    container = ContainerDefinition(image=IMAGE, model_data_url=hosting.model_data(), environment={"A": "1"})
    model = Model.create(model_name="by-sdk", primary_container=container, execution_role_arn=hosting.role)
    production = ProductionVariant(
        variant_name="AllTraffic", model_name="by-sdk", instance_type="ml.c5.large", initial_instance_count=1
    )
    config = EndpointConfig.create(endpoint_config_name="by-sdk", production_variants=[production])
    endpoint = Endpoint.create(endpoint_name="by-sdk", endpoint_config_name="by-sdk")
    endpoint.wait_for_status("InService", poll=1)
    answer = endpoint.invoke(body=EVERY_BYTE, content_type="application/octet-stream", accept="*/*")
    assert answer.body.read() == EVERY_BYTE
    assert answer.invoked_production_variant == "AllTraffic"
    assert Model.get("by-sdk").primary_container.environment == {"A": "1"}
    assert EndpointConfig.get("by-sdk").production_variants[0].initial_variant_weight == 1.0
    assert "by-sdk" in [one.endpoint_name for one in Endpoint.get_all(name_contains="by-sdk")]
    endpoint.delete()
    endpoint.wait_for_delete(poll=1)
    config.delete()
    model.delete()


def test_the_waiters_of_boto3_work(hosting: Hosting) -> None:
    name = hosting.deploy()
    quickly = {"Delay": 1, "MaxAttempts": 120}
    hosting.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=quickly)
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    hosting.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig=quickly)
