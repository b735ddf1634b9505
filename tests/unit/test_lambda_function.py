"""The series' Lambda function, by itself: every event and every answer of the endpoint has an honest status."""

import base64
import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SOURCE = Path(__file__).resolve().parents[2] / "lambda" / "lambda_function.py"
KEYS = {"statusCode", "headers", "type-result", "COntent-Type-In", "body"}
IMAGE = base64.b64encode(b"a picture").decode()
SECRET = "arn:aws:iam::123456789012:role/secret"
PREDICTION = {"predictions": [{"label": "Beagle", "probability": 0.9}]}


class Endpoint:
    """Stands for the client of ``sagemaker-runtime``: keeps what it was sent, answers what the test says."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answer: Any = PREDICTION

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.sent.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return {"Body": io.BytesIO(body)}


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("ENDPOINT_NAME", "dogs")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    spec = importlib.util.spec_from_file_location("lambda_function", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.sagemaker = Endpoint()
    return module


def ask(function: ModuleType, event: Any) -> tuple[int, Any]:
    """Invoke it, check what every response has, and give its status and body."""
    response = function.lambda_handler(event, object())
    assert response.keys() == KEYS
    assert response["headers"] == {"Content-Type": "text/plain", "Access-Control-Allow-Origin": "*"}
    assert response["COntent-Type-In"] == "application/json"
    body = json.loads(response["body"])
    assert response["type-result"] == type(body).__name__
    assert SECRET not in json.dumps(response)
    if response["statusCode"] != 200:
        assert body.keys() == {"error"}
    json.dumps(response)
    return response["statusCode"], body


# ---- what it takes ----


@pytest.mark.parametrize(
    "event",
    [
        {"image": IMAGE},
        {"image": IMAGE, "top_k": 3},
        {"s3_uri": "s3://photos/dog.jpg"},
        {"url": "https://dogs.example/dog.jpg", "top_k": 1},
    ],
)
def test_a_photo_s_prediction_is_returned(function, event):
    assert ask(function, event) == (200, PREDICTION)
    [sent] = function.sagemaker.sent
    assert (sent["EndpointName"], sent["ContentType"]) == ("dogs", "application/json")
    assert json.loads(sent["Body"]) == event


def test_the_result_s_type_is_named(function):
    function.sagemaker.answer = [["Beagle", 0.9]]
    assert function.lambda_handler({"image": IMAGE}, None)["type-result"] == "list"


@pytest.mark.parametrize(
    "event",
    [
        {"body": json.dumps({"image": IMAGE}), "headers": {"Content-Type": "application/json"}},
        {"body": json.dumps({"image": IMAGE}), "headers": {"content-type": "Application/JSON; charset=utf-8"}},
        {
            "body": base64.b64encode(json.dumps({"image": IMAGE}).encode()).decode(),
            "isBase64Encoded": True,
            "headers": {"content-type": "application/json"},
            "requestContext": {"http": {"method": "POST"}},
        },
    ],
)
def test_a_request_through_http_is_unpacked(function, event):
    assert ask(function, event) == (200, PREDICTION)
    assert json.loads(function.sagemaker.sent[0]["Body"]) == {"image": IMAGE}


@pytest.mark.parametrize(
    ("event", "status", "words"),
    [
        (None, 400, "JSON object"),
        ([], 400, "JSON object"),
        ("text", 400, "JSON object"),
        ({}, 400, "name one photo"),
        ({"top_k": 3}, 400, "name one photo"),
        ({"image": IMAGE, "url": "https://x/y"}, 400, "name one photo"),
        ({"image": IMAGE, "topk": 3}, 400, "unknown: topk"),
        ({"image": 7}, 400, "image must be text"),
        ({"image": ""}, 400, "image must be text"),
        ({"image": "not base64!"}, 400, "base64"),
        ({"image": "ü"}, 400, "base64"),
        ({"s3_uri": "https://photos"}, 400, "s3://"),
        ({"url": "http://dogs.example"}, 400, "https://"),
        ({"url": ["https://x"]}, 400, "url must be text"),
        ({"image": IMAGE, "top_k": 0}, 400, "top_k"),
        ({"image": IMAGE, "top_k": "3"}, 400, "top_k"),
        ({"image": IMAGE, "top_k": True}, 400, "top_k"),
        ({"body": "{}", "headers": {"content-type": "application/json"}}, 400, "name one photo"),
        ({"body": "[]", "headers": {"content-type": "application/json"}}, 400, "JSON object"),
        ({"body": "{", "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"body": None, "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"body": "%%", "isBase64Encoded": True, "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"body": 7, "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"body": "x", "headers": {"content-type": "image/jpeg"}}, 415, "application/json"),
        ({"body": "{}", "headers": {}}, 415, "application/json"),
        ({"body": "{}", "headers": None}, 415, "application/json"),
        ({"requestContext": {}, "rawPath": "/"}, 415, "application/json"),
        ({"body": "{}", "headers": ["content-type"]}, 415, "application/json"),
        ({"body": "[" * 100_000, "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"body": "\ud800", "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"body": "/w==", "isBase64Encoded": True, "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"\ud800": 1}, 400, "unknown"),
    ],
)
def test_what_makes_no_sense_is_refused_and_never_sent(function, event, status, words):
    found, body = ask(function, event)
    assert found == status
    assert words in body["error"]
    assert function.sagemaker.sent == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "image": JSON,
        "s3_uri": JSON,
        "url": JSON,
        "top_k": JSON,
        "body": JSON,
        "headers": st.none() | st.dictionaries(st.sampled_from(["content-type", "Content-Type", "x"]), JSON),
        "isBase64Encoded": JSON,
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=JSON | SHAPED)
def test_any_event_has_a_response(function, event):
    status, _ = ask(function, event)
    assert status in (200, 400, 415)


# ---- what the endpoint answers ----


def client_error(code: str, status: int, **members: Any) -> ClientError:
    error = {"Code": code, "Message": f"{SECRET} may not"}
    return ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}, **members}, "InvokeEndpoint")


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (
            client_error("ModelError", 424, OriginalStatusCode=415, OriginalMessage='{"error": "not an image"}'),
            415,
            "not an image",
        ),
        (client_error("ModelError", 424, OriginalStatusCode=400, OriginalMessage="too large"), 400, "too large"),
        (client_error("ModelError", 424, OriginalStatusCode=413, OriginalMessage=""), 413, "refused the request"),
        (client_error("ModelError", 424, OriginalStatusCode=422, OriginalMessage='["a"]'), 422, '["a"]'),
        (client_error("ModelError", 424, OriginalStatusCode=500, OriginalMessage=SECRET), 502, "the model failed"),
        (client_error("ModelError", 424), 502, "the model failed"),
        (client_error("ThrottlingException", 400), 429, "too many requests"),
        (client_error("TooManyRequests", 429), 429, "too many requests"),
        (client_error("ModelNotReadyException", 429), 503, "not ready"),
        (client_error("ServiceUnavailable", 503), 503, "overloaded"),
        (client_error("InternalFailure", 500), 502, "cannot be used"),
        (client_error("ValidationError", 400), 502, "cannot be used"),
        (client_error("AccessDeniedException", 403), 502, "cannot be used"),
        (ReadTimeoutError(endpoint_url=SECRET), 504, "in time"),
        (ConnectTimeoutError(endpoint_url=SECRET), 504, "in time"),
        (EndpointConnectionError(endpoint_url=SECRET), 503, "cannot be reached"),
        (NoCredentialsError(), 502, "no prediction"),
        (b"<html>", 502, "no prediction"),
    ],
)
def test_the_endpoint_s_failure_is_told_without_its_inside(function, failure, status, words):
    function.sagemaker.answer = failure
    found, body = ask(function, {"image": IMAGE})
    assert found == status
    assert words in body["error"]


def test_a_long_message_is_cut(function):
    function.sagemaker.answer = client_error("ModelError", 424, OriginalStatusCode=400, OriginalMessage="x" * 9000)
    assert len(ask(function, {"image": IMAGE})[1]["error"]) == 500


def test_its_own_failures_are_logged_for_its_owner(function, caplog):
    function.sagemaker.answer = client_error("AccessDeniedException", 403)
    ask(function, {"image": IMAGE})
    assert "AccessDeniedException" in caplog.text


# ---- how it is made ----


def test_the_client_is_made_once_and_gives_up_before_the_function_must(monkeypatch):
    monkeypatch.setenv("ENDPOINT_NAME", "dogs")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    spec = importlib.util.spec_from_file_location("lambda_function", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.sagemaker.meta.config
    assert (config.connect_timeout + config.read_timeout) * config.retries["total_max_attempts"] < 30


def test_it_does_not_start_without_an_endpoint(monkeypatch):
    monkeypatch.delenv("ENDPOINT_NAME", raising=False)
    spec = importlib.util.spec_from_file_location("lambda_function", SOURCE)
    module = importlib.util.module_from_spec(spec)
    with pytest.raises(KeyError, match="ENDPOINT_NAME"):
        spec.loader.exec_module(module)
