"""Endpoints that change while they serve: no request is lost, and what fails goes back to what was."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.endpoints import (
    APP,
    FILES,
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

BROKEN = {**FILES, "app.py": "raise RuntimeError('no weights here')"}


@pytest.fixture(scope="module")
def hosting(aws: Any) -> Hosting:
    return Hosting(aws)


@pytest.fixture
def served(hosting: Hosting) -> Iterator[str]:
    """An endpoint of one instance, to be changed."""
    name = hosting.in_service(hosting.deploy(GREETING="first"))
    yield name
    hosting.settle(name)
    hosting.delete(name)


def configure(
    hosting: Hosting, name: str, variants: list[dict[str, Any]] | None = None, app: str = APP, **environment: str
) -> str:
    """A model and a configuration of this name; returns it."""
    hosting.model(name, hosting.model_data(archive({**FILES, "app.py": app})), Environment=environment)
    hosting.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants or [variant(name)])
    return name


def resize(hosting: Hosting, name: str, count: int, **more: Any) -> None:
    """UpdateEndpointWeightsAndCapacities of the variant AllTraffic."""
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": count, **more}
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=[change])


def counts(hosting: Hosting, name: str) -> tuple[int, int]:
    """Current and desired instances of the first variant."""
    seen = hosting.describe(name)["ProductionVariants"][0]
    return seen["CurrentInstanceCount"], seen["DesiredInstanceCount"]


class Traffic:
    """Users who ask an endpoint all the time, and never twice for the same answer."""

    def __init__(self, hosting: Hosting, endpoint: str, users: int) -> None:
        self._runtime = boto3.client(
            "sagemaker-runtime",
            region_name="us-east-1",
            endpoint_url=hosting.aws.url,
            aws_access_key_id=hosting.aws.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=hosting.aws.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=users),
        )
        self._endpoint, self._stop, self._lock = endpoint, threading.Event(), threading.Lock()
        self._numbers = itertools.count()
        self.answers: Counter[str] = Counter()
        self._users = [threading.Thread(target=self._use) for _ in range(users)]

    def __enter__(self) -> Traffic:
        for user in self._users:
            user.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        for user in self._users:
            user.join()

    @property
    def asked(self) -> int:
        with self._lock:
            return self.answers.total()

    def further(self, count: int) -> None:
        """Wait for so many answers more."""
        wanted = self.asked + count
        until(lambda: self.asked, lambda asked: asked >= wanted)

    def _use(self) -> None:
        while not self._stop.is_set():
            outcome = self._ask(str(next(self._numbers)).encode())
            with self._lock:
                self.answers[outcome] += 1

    def _ask(self, body: bytes) -> str:
        try:
            answer = self._runtime.invoke_endpoint(EndpointName=self._endpoint, Body=body)["Body"].read()
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "right" if answer == body else "another's answer"


def test_no_request_is_lost_through_scaling_and_an_update(hosting: Hosting, served: str) -> None:
    """Out to three instances, another deployment, in to one: every answer is right, and belongs to its question."""
    configure(hosting, "lossless", GREETING="second")
    with Traffic(hosting, served, users=4) as traffic:
        traffic.further(50)
        resize(hosting, served, 3)
        hosting.in_service(served)
        assert counts(hosting, served) == (3, 3)
        traffic.further(50)
        hosting.sagemaker.update_endpoint(
            EndpointName=served, EndpointConfigName="lossless", RetainAllVariantProperties=True
        )
        hosting.in_service(served)
        assert counts(hosting, served) == (3, 3)
        traffic.further(50)
        resize(hosting, served, 1)
        hosting.in_service(served)
        traffic.further(50)
    assert set(traffic.answers) == {"right"}
    assert counts(hosting, served) == (1, 1)
    assert len(processes(hosting, served)) == 1


def test_an_update_deploys_another_model(hosting: Hosting, served: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    configure(hosting, "second-model", app=waits_until(gate, APP), PING="200", GREETING="second")
    before = hosting.ask(served)
    hosting.sagemaker.update_endpoint(EndpointName=served, EndpointConfigName="second-model")
    seen = hosting.describe(served)
    assert seen["EndpointStatus"] == "Updating"
    assert seen["EndpointConfigName"] == served
    assert seen["PendingDeploymentSummary"]["EndpointConfigName"] == "second-model"
    with refused("ValidationException", "Cannot update in-progress endpoint"):
        resize(hosting, served, 2)
    with refused("ValidationException", "Cannot update in-progress endpoint"):
        hosting.sagemaker.delete_endpoint(EndpointName=served)
    gate.touch()
    settled = hosting.settle(served)
    assert settled["EndpointStatus"] == "InService"
    assert settled["EndpointConfigName"] == "second-model"
    assert not {"PendingDeploymentSummary", "FailureReason"} & settled.keys()
    assert hosting.ask(served) != before
    assert b'"GREETING": "second"' in hosting.ask(served, "environment")
    models = folder(hosting, served) / "models"
    assert len(list(models.iterdir())) == 1


def test_an_update_that_cannot_start_changes_nothing(hosting: Hosting, served: str) -> None:
    hosting.model("broken-update", hosting.model_data(archive(BROKEN)))
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName="broken-update", ProductionVariants=[variant("broken-update")]
    )
    before = hosting.ask(served)
    hosting.sagemaker.update_endpoint(EndpointName=served, EndpointConfigName="broken-update")
    settled = hosting.settle(served)
    assert (settled["EndpointStatus"], settled["EndpointConfigName"]) == ("InService", served)
    assert "RuntimeError: no weights here" in settled["FailureReason"]
    assert "PendingDeploymentSummary" not in settled
    assert hosting.ask(served) == before
    assert len(processes(hosting, served)) == 1
    resize(hosting, served, 1)
    assert "FailureReason" not in hosting.settle(served)


def test_capacity_that_does_not_start_is_rolled_back(hosting: Hosting, tmp_path: Any) -> None:
    """The model loads once only, as one that takes a licence does."""
    taken = tmp_path / "taken"
    once = f"import pathlib\npathlib.Path({str(taken)!r}).touch(exist_ok=False)\n" + APP
    name = hosting.in_service(hosting.deploy({**FILES, "app.py": once}))
    resize(hosting, name, 2)
    settled = hosting.settle(name)
    assert settled["EndpointStatus"] == "InService"
    assert "FileExistsError" in settled["FailureReason"]
    assert counts(hosting, name) == (1, 1)
    assert hosting.ask(name)
    hosting.delete(name)


def test_weights_and_variants_change(hosting: Hosting) -> None:
    hosting.model("weights")
    variants = [
        variant("weights", name="a", InitialVariantWeight=1.0),
        variant("weights", name="b", InitialVariantWeight=0.0),
    ]
    name = hosting.in_service(hosting.endpoint("weights", variants))

    def answering() -> set[str]:
        asked = [hosting.runtime.invoke_endpoint(EndpointName=name, Body=b"") for _ in range(8)]
        return {answer["InvokedProductionVariant"] for answer in asked}

    assert answering() == {"a"}
    changes = [{"VariantName": "a", "DesiredWeight": 0.0}, {"VariantName": "b", "DesiredWeight": 3.0}]
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=changes)
    shown = hosting.settle(name)["ProductionVariants"]
    assert [(one["CurrentWeight"], one["DesiredWeight"], one["CurrentInstanceCount"]) for one in shown] == [
        (0.0, 0.0, 1),
        (3.0, 3.0, 1),
    ]
    assert answering() == {"b"}
    changed = [
        variant("weights", name="b", InitialVariantWeight=0.0, instances=2),
        variant("weights", name="c", InitialVariantWeight=0.0),
    ]
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName="weights-2", ProductionVariants=[*changed, variant("weights", name="d")]
    )
    hosting.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName="weights-2",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredInstanceCount"}],
    )
    shown = hosting.settle(name)["ProductionVariants"]
    # The weight of b is the endpoint's, its count is the configuration's; d has what the configuration says.
    assert [(one["VariantName"], one["CurrentWeight"], one["CurrentInstanceCount"]) for one in shown] == [
        ("b", 3.0, 2),
        ("c", 0.0, 1),
        ("d", 1.0, 1),
    ]
    assert hosting.runtime.invoke_endpoint(EndpointName=name, Body=b"", TargetVariant="c")
    with refused("ValidationError", "Variant a not found"):
        hosting.runtime.invoke_endpoint(EndpointName=name, Body=b"", TargetVariant="a")
    hosting.delete(name)


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        (
            {"VariantName": "nobody", "DesiredInstanceCount": 1},
            "ValidationException",
            'Could not find variant "nobody"',
        ),
        ({"DesiredInstanceCount": 0}, "ValidationException", "must be at least 1"),
        ({"DesiredWeight": 0.0}, "ValidationException", "DesiredWeight above 0"),
        ({"DesiredInstanceCount": 40}, "ResourceLimitExceeded", "'ml.c5.large for endpoint usage'"),
        ({"ServerlessUpdateConfig": {"MaxConcurrency": 1}}, "NotImplemented", "ServerlessUpdateConfig"),
    ],
)
def test_a_change_that_cannot_be_is_refused(
    hosting: Hosting, refusing: str, change: dict[str, Any], code: str, part: str
) -> None:
    with refused(code, part):
        hosting.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=refusing, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", **change}]
        )
    assert hosting.describe(refusing)["EndpointStatus"] == "InService"


@pytest.fixture(scope="module")
def refusing(hosting: Hosting) -> Iterator[str]:
    """An endpoint that nothing is done to."""
    name = hosting.in_service(hosting.deploy())
    yield name
    hosting.delete(name)


def test_an_update_that_cannot_be_is_refused(hosting: Hosting, refusing: str) -> None:
    with refused("ValidationException", "Could not find endpoint configuration"):
        hosting.sagemaker.update_endpoint(EndpointName=refusing, EndpointConfigName="nothing")
    with refused("ValidationException", "Could not find endpoint"):
        hosting.sagemaker.update_endpoint(EndpointName="nothing", EndpointConfigName=refusing)
    canary = {"Type": "CANARY", "WaitIntervalInSeconds": 60, "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    with refused("NotImplemented", "CANARY"):
        hosting.sagemaker.update_endpoint(
            EndpointName=refusing,
            EndpointConfigName=refusing,
            DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": canary}},
        )
    assert hosting.describe(refusing)["EndpointStatus"] == "InService"


def test_an_instance_that_goes_away_finishes_its_requests(hosting: Hosting, served: str, tmp_path: Path) -> None:
    resize(hosting, served, 2)
    hosting.in_service(served)
    meeting = Meeting(tmp_path / "meeting")
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(hosting.ask, served, meeting.what) for _ in range(2)]
        meeting.await_arrivals(2)
        resize(hosting, served, 1)
        until(lambda: counts(hosting, served)[0], lambda current: current == 1)
        meeting.end()
    # By both instances, although one of them was on its way out.
    assert len({answer.result() for answer in slow}) == 2
    hosting.in_service(served)
    until(lambda: processes(hosting, served), lambda left: len(left) == 1)


# ---- instances that fail ----


@contextmanager
def endpoint(hosting: Hosting, **arguments: Any) -> Iterator[str]:
    name = hosting.in_service(hosting.deploy(**arguments))
    yield name
    hosting.delete(name)


def test_an_instance_killed_under_load_takes_only_its_own_requests_with_it(hosting: Hosting) -> None:
    with endpoint(hosting, instances=2) as name, Traffic(hosting, name, users=4) as traffic:
        traffic.further(20)
        victim = processes(hosting, name)[0]
        victim.kill()
        until(lambda: processes(hosting, name), lambda left: victim not in left and len(left) == 2)
        until(lambda: counts(hosting, name)[0], lambda current: current == 2)
        traffic.further(50)
        wrong = {outcome: count for outcome, count in traffic.answers.items() if outcome != "right"}
        assert set(wrong) <= {"ModelError"}
        assert sum(wrong.values()) <= 4


def test_an_instance_that_hangs_is_replaced(hosting: Hosting) -> None:
    with endpoint(hosting) as name:
        hanging = processes(hosting, name)[0]
        hanging.suspend()
        until(lambda: processes(hosting, name), lambda left: left and hanging not in left)
        until(lambda: counts(hosting, name)[0], lambda current: current == 1)
        assert int(hosting.ask(name)) != hanging.pid
        streams = hosting.logs.describe_log_streams(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["logStreams"]
        assert len(streams) == 2


def test_an_update_is_finished_by_the_next_server(fresh_aws: Callable[..., Any], tmp_path: Path) -> None:
    first, gate = Hosting(fresh_aws("--time-scale", "20")), tmp_path / "gate"
    name = first.in_service(first.deploy())
    configure(first, "slow", app=waits_until(gate, APP))
    first.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName="slow")
    server = psutil.Process(json.loads((first.aws.state / "server.json").read_text())["pid"])
    server.kill()
    server.wait(60)
    again = Hosting(fresh_aws("--time-scale", "20"))
    seen = again.describe(name)
    assert (seen["EndpointConfigName"], seen["EndpointStatus"].endswith("Updating")) == (name, True)
    gate.touch()
    settled = again.settle(name)
    assert (settled["EndpointStatus"], settled["EndpointConfigName"]) == ("InService", "slow")
    assert again.ask(name)
    assert len(processes(again, name)) == 1
