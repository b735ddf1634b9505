"""``helpers.functions`` against the embedded AWS: deploy, invoke and delete, each as often as one likes."""

import json
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import functions
from tests.conftest import LocalAws

ROOT = Path(__file__).resolve().parents[2]
CODE = "import os\nCOUNT = 0\ndef handler(event, context):\n    global COUNT\n    COUNT += 1\n"


@pytest.fixture(scope="module")
def client(aws: LocalAws):
    return aws.client("lambda")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(CODE + "    return [event, os.environ['COLOUR'], COUNT]\n")
    return tmp_path


def deploy(aws: LocalAws, client, source: Path, name: str, **more) -> dict:
    role = aws.role("deployed", "lambda.amazonaws.com")
    given = {"handler": "app.handler", "role": role, "environment": {"COLOUR": "red"}, "runtime": "python3.11"}
    return functions.deploy(client, name, source, **{**given, **more})


def test_a_function_is_deployed_once_and_changed_where_it_differs(aws, client, source):
    first = deploy(aws, client, source, "helped", tags={"project": "tests"})
    assert (first["State"], first["LastUpdateStatus"]) == ("Active", "Successful")
    assert deploy(aws, client, source, "helped", tags={"project": "tests"}) | {"ResponseMetadata": 0} == first | {
        "ResponseMetadata": 0
    }, "nothing differs, so nothing is done"
    second = deploy(aws, client, source, "helped", environment={"COLOUR": "blue"}, tags={"more": "tags"})
    assert second["RevisionId"] != first["RevisionId"]
    assert second["CodeSha256"] == first["CodeSha256"]
    assert functions.invoke(client, "helped", 1).payload == [1, "blue", 1]
    (source / "app.py").write_text(CODE + "    return 'new'\n")
    third = deploy(aws, client, source, "helped", environment={"COLOUR": "blue"}, memory=192)
    assert third["CodeSha256"] != second["CodeSha256"]
    assert functions.invoke(client, "helped", {}).payload == "new"
    assert client.get_function(FunctionName="helped")["Tags"] == {"project": "tests", "more": "tags"}
    assert functions.delete(client, "helped")
    assert not functions.delete(client, "helped")


def test_an_invocation_tells_what_it_took(aws, client, source):
    deploy(aws, client, source, "measured")
    cold, warm = functions.invoke(client, "measured", {"a": 1}), functions.invoke(client, "measured", {})
    assert (cold.status, cold.payload, cold.function_error) == (200, [{"a": 1}, "red", 1], None)
    assert (cold.cold, warm.cold) == (True, False)
    assert cold.report.billed_ms >= cold.report.init_ms
    assert 0 < warm.report.duration_ms <= warm.report.billed_ms
    assert (warm.report.memory_mb, warm.report.init_ms) == (128, None)
    assert 0 < warm.report.max_memory_mb < 128
    assert warm.log[0].startswith("START RequestId: ")
    assert warm.version == "$LATEST"
    client.publish_version(FunctionName="measured")
    assert functions.invoke(client, "measured", {}, qualifier="1").version == "1"


def test_a_failure_of_the_function_is_an_answer_and_a_missing_one_an_error(aws, client, source):
    (source / "app.py").write_text("def handler(event, context):\n    raise ValueError('no')\n")
    deploy(aws, client, source, "failing")
    answered = functions.invoke(client, "failing", {})
    assert (answered.function_error, answered.payload["errorType"]) == ("Unhandled", "ValueError")
    with pytest.raises(ClientError, match="Function not found"):
        functions.invoke(client, "nowhere", {})


def test_a_role_that_lambda_does_not_know_yet_is_waited_for(aws, source, monkeypatch):
    """IAM tells Lambda of a new role a while later; here the trust comes while the helper waits."""
    client, iam = aws.client("lambda"), aws.client("iam")
    role = aws.role("trusted-late", "ec2.amazonaws.com")
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    monkeypatch.setattr(
        functions.time,
        "sleep",
        lambda _: iam.update_assume_role_policy(RoleName="trusted-late", PolicyDocument=document),
    )
    assert deploy(aws, client, source, "patient", role=role)["Role"] == role
    monkeypatch.setattr(functions, "PROPAGATION_SECONDS", 0.0)
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        deploy(aws, client, source, "hopeless", role=aws.role("never-trusted", "ec2.amazonaws.com"))


def test_the_series_function_runs_and_says_that_there_is_no_endpoint(aws, client):
    role = aws.role("deployed", "lambda.amazonaws.com")
    functions.deploy(
        client,
        "series",
        ROOT / "lambda",
        handler="lambda_function.lambda_handler",
        role=role,
        environment={"ENDPOINT_NAME": "no-such-endpoint"},
        runtime="python3.11",
    )
    answered = functions.invoke(client, "series", {"image": "aGVsbG8="})
    assert answered.function_error is None
    assert answered.payload["statusCode"] == 502
    assert json.loads(answered.payload["body"]) == {"error": "the endpoint cannot be used"}
    assert any("no-such-endpoint" in line or "refused" in line for line in answered.log)
    assert functions.invoke(client, "series", {}).payload["statusCode"] == 400
    through_http = {"body": "{}", "headers": {"content-type": "text/plain"}}
    assert functions.invoke(client, "series", through_http).payload["statusCode"] == 415


def test_the_helper_needs_nothing_but_a_client(user):
    """As in a notebook: a client from the environment that ``env`` exports."""
    assert functions.delete(boto3.client("lambda"), "never-there") is False


def test_versions_aliases_and_what_waits_behind_them(aws, client, source):
    deploy(aws, client, source, "released")
    assert functions.publish(client, "released") == functions.publish(client, "released") == "1"
    for _ in range(2):
        alias = functions.ensure_alias(client, "released", "live", "1")
        assert (alias["FunctionVersion"], alias.get("RoutingConfig")) == ("1", None)
    for _ in range(2):
        ready = functions.ensure_provisioned(client, "released", "live", 1)
        assert (ready["Status"], ready["AvailableProvisionedConcurrentExecutions"]) == ("READY", 1)
    first = functions.invoke(client, "released", {}, qualifier="live")
    assert (first.cold, first.version) == (False, "1")
    assert first.report.init_ms is not None
    functions.remove_provisioned(client, "released", "live")
    functions.remove_provisioned(client, "released", "live")
    assert functions.invoke(client, "released", {}, qualifier="live").cold
    deploy(aws, client, source, "released", environment={"COLOUR": "blue"})
    assert functions.publish(client, "released") == "2"
    alias = functions.ensure_alias(client, "released", "live", "1", weights={"2": 1.0})
    assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 1.0}}
    assert functions.invoke(client, "released", {}, qualifier="live").version == "2"
    functions.ensure_alias(client, "released", "live", "2")
    assert "RoutingConfig" not in client.get_alias(FunctionName="released", Name="live")
    functions.delete(client, "released")


def test_a_reservation_is_made_and_given_back(aws, client, source):
    deploy(aws, client, source, "kept")
    before = functions.account_concurrency(client)
    for _ in range(2):
        functions.ensure_reserved(client, "kept", 5)
    assert functions.account_concurrency(client)["unreserved"] == before["unreserved"] - 5
    functions.remove_reserved(client, "kept")
    assert functions.account_concurrency(client) == before
    with pytest.raises(functions.NotEnoughConcurrency, match="can still be reserved"):
        functions.ensure_reserved(client, "kept", before["available"] + 1)


def test_what_cannot_be_initialised_is_not_provisioned_and_says_why(aws, client, tmp_path):
    (tmp_path / "app.py").write_text("import no_such_module")
    deploy(aws, client, tmp_path, "hopeless")
    functions.publish(client, "hopeless")
    with pytest.raises(functions.NotProvisioned, match=r"FUNCTION_ERROR_INIT_FAILURE.*/aws/lambda/hopeless"):
        functions.ensure_provisioned(client, "hopeless", "1", 1)
