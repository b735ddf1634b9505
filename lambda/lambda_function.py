"""The series' Lambda function: JSON that names a photo in, the endpoint's prediction out.

It takes an event ``{"image": <base64>}``, ``{"s3_uri": "s3://…"}`` or ``{"url": "https://…"}``, each with an optional
``top_k``, or the same as the body of an API Gateway or function URL request. Its environment names the endpoint in
``ENDPOINT_NAME``. Give it 30 seconds: it waits at most 26 for the endpoint, so that its caller hears of it.
"""

import base64
import binascii
import json
import logging
import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, ConnectTimeoutError, ReadTimeoutError

JSON = "application/json"
SOURCES = ("image", "s3_uri", "url")
MAX_MESSAGE = 500

ENDPOINT_NAME = os.environ["ENDPOINT_NAME"]
# Two tries of 12 s each. What a second one can mend (a broken connection, a moment's throttle) gets it, a second later;
# for more patience the function would be billed, and its caller knows better when to come back.
sagemaker = boto3.client(
    "sagemaker-runtime",
    config=Config(connect_timeout=1, read_timeout=12, retries={"mode": "standard", "total_max_attempts": 2}),
)
log = logging.getLogger()


class Refused(Exception):
    """The request cannot be served; ``status`` and the message are what the caller is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda gives it
    """Ask the endpoint for a prediction; every way it can end is a response with a status code."""
    try:
        return respond(200, predict(read_request(event)))
    except Refused as refused:
        return respond(refused.status, {"error": str(refused)})


def read_request(event: Any) -> dict[str, Any]:
    """The request of an event, direct or through HTTP; raises :class:`Refused` where it makes no sense."""
    if not isinstance(event, dict):
        raise Refused(400, "the event must be a JSON object")
    request = read_body(event) if is_http(event) else event
    if not isinstance(request, dict):
        raise Refused(400, "the request must be a JSON object")
    check(request)
    return request


def is_http(event: dict[str, Any]) -> bool:
    """Whether the event is an HTTP request that API Gateway or a function URL has packed."""
    return any(member in event for member in ("body", "requestContext", "httpMethod"))


def read_body(event: dict[str, Any]) -> Any:
    """The JSON in the body of an HTTP request; raises :class:`Refused` for another type of content."""
    given = event.get("headers")
    headers = {name.lower(): value for name, value in given.items()} if isinstance(given, dict) else {}
    content_type = str(headers.get("content-type", "")).partition(";")[0].strip().lower()
    if content_type != JSON:
        raise Refused(415, f"the content type must be {JSON}")
    body = event.get("body") or ""
    try:
        return json.loads(base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body)
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(400, "the body is not JSON") from error


def check(request: dict[str, Any]) -> None:
    """Raise :class:`Refused` unless exactly one photo is named, in a form that the endpoint takes."""
    unknown = sorted(map(str, request.keys() - {*SOURCES, "top_k"}))
    if unknown:
        raise Refused(400, f"unknown: {', '.join(unknown)[:MAX_MESSAGE]}; known are {', '.join(SOURCES)} and top_k")
    named = [source for source in SOURCES if source in request]
    if len(named) != 1:
        raise Refused(400, f"name one photo, by one of {', '.join(SOURCES)}")
    value = request[named[0]]
    if not isinstance(value, str) or not value:
        raise Refused(400, f"{named[0]} must be text")
    if named[0] == "image":
        check_base64(value)
    if named[0] == "s3_uri" and not value.startswith("s3://"):
        raise Refused(400, "s3_uri must begin with s3://")
    if named[0] == "url" and not value.startswith("https://"):
        raise Refused(400, "url must begin with https://")
    check_top_k(request.get("top_k", 1))


def check_base64(value: str) -> None:
    """Raise :class:`Refused` unless ``value`` is base64."""
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, "image must be base64") from error


def check_top_k(value: Any) -> None:
    """Raise :class:`Refused` unless ``value`` is a whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused(400, "top_k must be a whole number above 0")


def predict(request: dict[str, Any]) -> Any:
    """What the endpoint answers; raises :class:`Refused` with the status that its failure means for the caller."""
    try:
        answered = sagemaker.invoke_endpoint(
            EndpointName=ENDPOINT_NAME, ContentType=JSON, Accept=JSON, Body=json.dumps(request)
        )
        return json.loads(answered["Body"].read())
    except ClientError as error:
        # The log is for the function's owner; what the caller gets must not tell of roles, ARNs or the model's inside.
        log.warning("the endpoint refused: %s", error)
        raise refusal(error) from error
    except (ReadTimeoutError, ConnectTimeoutError) as error:
        log.warning("the endpoint did not answer in time: %s", error)
        raise Refused(504, "the endpoint did not answer in time") from error
    except ConnectionError as error:
        log.warning("the endpoint cannot be reached: %s", error)
        raise Refused(503, "the endpoint cannot be reached") from error
    except (BotoCoreError, ValueError) as error:
        log.warning("the endpoint's answer is of no use: %s", error)
        raise Refused(502, "the endpoint gave no prediction") from error


def refusal(error: ClientError) -> Refused:
    """What an error of InvokeEndpoint means for the caller of this function."""
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if code == "ModelError":
        return model_refusal(error.response)
    if code == "ModelNotReadyException":
        return Refused(503, "the model is not ready yet")
    if status == 429 or "Throttling" in code:
        return Refused(429, "too many requests: try again later")
    if status == 503:
        return Refused(503, "the endpoint is overloaded: try again later")
    return Refused(502, "the endpoint cannot be used")


def model_refusal(response: dict[str, Any]) -> Refused:
    """What the model itself said: its own words where the request was at fault, none where the model was."""
    status = response.get("OriginalStatusCode", 500)
    if not 400 <= status < 500:
        return Refused(502, "the model failed")
    said = response.get("OriginalMessage") or ""
    try:
        parsed = json.loads(said)
        said = parsed["error"] if isinstance(parsed, dict) else said
    except (ValueError, KeyError):
        said = said or "the model refused the request"
    return Refused(status, str(said)[:MAX_MESSAGE])


def respond(status: int, result: Any) -> dict[str, Any]:
    """The response, in the form that the function's callers know; the odd spelling is part of it."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "text/plain", "Access-Control-Allow-Origin": "*"},
        "type-result": type(result).__name__,
        "COntent-Type-In": JSON,
        "body": json.dumps(result),
    }
