"""What authenticating and authorising a request adds to it (CPU time), side by side. Prints; asserts no times."""

from __future__ import annotations

import io
import json
import statistics
import time
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from helpers.localaws import operations
from helpers.localaws.cloud import Cloud
from helpers.localaws.gateway import Gateway
from helpers.localaws.policy import PolicyError, parse

ROUNDS = 300
URL = "http://127.0.0.1:5000"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway without a server around it, and a bucket with one object."""
    operations.load()
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), URL)
    cloud.records.backend("s3", "aws").create_bucket("bench", "us-east-1")
    cloud.records.backend("s3", "aws").put_object("bench", "k", b"hello")
    yield Gateway(cloud)
    cloud.close()


def environ(method: str, path: str, service: str, key: dict[str, str], body: bytes = b"", **headers: str) -> Any:
    """A signed request as WSGI has it."""
    request = AWSRequest(method, URL + path, data=body, headers={"Host": "127.0.0.1:5000", **headers})
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    keys = Credentials(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"])
    signer(keys, service, "us-east-1").add_auth(request)
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    return {
        **named,
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "REQUEST_URI": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": named.get("HTTP_CONTENT_TYPE", ""),
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5000",
        "wsgi.url_scheme": "http",
    }


def test_what_permissions_add_to_a_request(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, authorization = gateway.cloud.administrator, gateway.cloud.authorization
    listing = json.dumps({"MaxResults": 1}).encode()
    target = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    requests = {
        "s3 GetObject": (environ("GET", "/bench/k", "s3", key), b""),
        "sagemaker ListModels": (environ("POST", "/", "sagemaker", key, listing, **target), listing),
    }
    real = {name: getattr(authorization, name) for name in ("authenticate", "authorise")}
    caller = authorization.identities.owner(authorization.identities.key(key["AWS_ACCESS_KEY_ID"]))
    times: dict[str, dict[str, list[float]]] = {name: {"with": [], "without": []} for name in requests}
    for _ in range(ROUNDS):
        for name, (request, body) in requests.items():
            for way in ("with", "without"):
                authorization.authenticate = real["authenticate"] if way == "with" else lambda *_: caller
                authorization.authorise = real["authorise"] if way == "with" else lambda *_: None
                started = time.thread_time()
                response = gateway.respond(dict(request) | {"wsgi.input": io.BytesIO(body)})
                times[name][way].append(time.thread_time() - started)
                assert response.status == 200, response.body
    with capsys.disabled():
        print()
        for name, both in times.items():
            median = {way: statistics.median(taken) * 1e3 for way, taken in both.items()}
            added = median["with"] - median["without"]
            print(f"{name:22} without {median['without']:.3f} ms, with {median['with']:.3f} ms: {added:.3f} ms added")


def test_every_policy_of_aws_can_be_read(gateway: Any) -> None:
    policies = gateway.cloud.records.backend("iam", "aws").managed_policies
    unread = []
    for arn, policy in policies.items():
        document = next(one.document for one in policy.versions if one.version_id == policy.default_version_id)
        try:
            parse(document)
        except PolicyError as error:
            unread.append((arn, str(error)))
    assert len(policies) > 1000
    assert unread == []
