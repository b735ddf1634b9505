"""What a stranger can send to the embedded AWS: nothing of it may pass, break it, or make it tell its secrets."""

from __future__ import annotations

import json
import re
import socket
import threading
import urllib.parse
from pathlib import Path

import botocore.auth
import botocore.awsrequest
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import LocalAws
from tests.instances import Instances
from tests.training_jobs import BUCKET, Jobs


def send(aws: LocalAws, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """One request, byte for byte; the status and all that came."""
    host, port = urllib.parse.urlsplit(aws.url).hostname, urllib.parse.urlsplit(aws.url).port
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "Connection: close"]
    with socket.create_connection((host, port), 30) as connection:
        # The answer may come before all is sent, which the server then does not want.
        sender = threading.Thread(
            target=_push, args=(connection, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        )
        sender.start()
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        sender.join()
    return int(answer.split()[1]), answer


def _push(connection: socket.socket, content: bytes) -> None:
    try:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return


def signed(aws: LocalAws, service: str, body: bytes, **headers: str) -> dict[str, str]:
    """The headers of an administrator's request for ``POST /``."""
    request = botocore.awsrequest.AWSRequest("POST", aws.url + "/", data=body, headers=headers)
    keys = Credentials(aws.environment["AWS_ACCESS_KEY_ID"], aws.environment["AWS_SECRET_ACCESS_KEY"])
    botocore.auth.SigV4Auth(keys, service, "us-east-1").add_auth(request)
    return {"Host": aws.url.removeprefix("http://"), **dict(request.headers.items()), "Content-Length": str(len(body))}


def here(aws: LocalAws, **headers: str) -> dict[str, str]:
    """The headers that every client sends, and others."""
    return {"Host": aws.url.removeprefix("http://"), **headers}


def healthy(aws: LocalAws) -> bool:
    """Whether it still answers."""
    return bool(aws.client("sts").get_caller_identity()["Account"])


# ---- malformed and oversized requests ----


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Length": "two"}, b"{}", 400),
        ({"Content-Length": "-2"}, b"{}", 400),
        ({"Content-Length": "+2"}, b"{}", 400),
        ({"Content-Length": "0_2"}, b"{}", 400),
        ({"Content-Length": "100"}, b"{}", 400),
        ({"Content-Length": "99999999999999"}, b"{}", 413),
        ({"Transfer-Encoding": "chunked"}, b"zz\r\n{}\r\n0\r\n\r\n", 400),
        ({"Transfer-Encoding": "chunked"}, b"ff\r\n{}", 400),
        ({"Transfer-Encoding": "gzip, chunked"}, b"2\r\n{}\r\n0\r\n\r\n", 501),
        ({"Transfer-Encoding": "xchunked", "Content-Length": "2"}, b"{}", 501),
    ],
)
def test_bodies_whose_length_is_a_lie(aws, headers, body, status):
    code, answer = send(aws, "POST", "/", here(aws, **headers), body)
    assert code == status
    assert b"Traceback" not in answer
    assert healthy(aws)


def test_headers_without_end_are_refused(aws):
    code, _ = send(aws, "GET", "/", here(aws, X="a" * (2 << 20)))
    assert code == 413
    assert healthy(aws)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"NextToken": "\xff\xfe"}', b'{"MaxResults": 1e999', b"\0", b"null", b'"x"'],
    ids=["deep list", "deep object", "no UTF-8", "cut off", "NUL", "null", "text"],
)
def test_what_is_signed_and_no_json_is_a_serialization_exception(aws, body):
    headers = {"X-Amz-Target": "SageMaker.ListTrainingJobs", "Content-Type": "application/x-amz-json-1.1"}
    code, answer = send(aws, "POST", "/", signed(aws, "sagemaker", body, **headers), body)
    assert code == 400
    assert b"SerializationException" in answer


def test_compressed_bodies_are_bounded(aws):
    import gzip

    body = gzip.compress(bytes(64 << 20))
    target = {"X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData", "Content-Encoding": "gzip"}
    headers = signed(aws, "monitoring", body, **target, **{"Content-Type": "application/x-amz-json-1.0"})
    code, answer = send(aws, "POST", "/", headers, body)
    assert (code, b"RequestEntityTooLarge" in answer) == (413, True)


def test_xml_entities_are_not_multiplied(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="attacked")
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "boom">{entities}]><Delete><Object><Key>&e11;</Key></Object></Delete>'.encode()
    request = botocore.awsrequest.AWSRequest("POST", f"{aws.url}/attacked?delete", data=bomb)
    keys = Credentials(aws.environment["AWS_ACCESS_KEY_ID"], aws.environment["AWS_SECRET_ACCESS_KEY"])
    botocore.auth.S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    headers = here(aws, **dict(request.headers.items()), **{"Content-Length": str(len(bomb))})
    code, answer = send(aws, "POST", "/attacked?delete", headers, bomb)
    assert code >= 400
    assert len(answer) < 10_000
    assert healthy(aws)


def test_a_header_cannot_be_put_into_an_answer(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="split")
    s3.put_object(Bucket="split", Key="a", Body=b"x")
    wanted = {"Bucket": "split", "Key": "a", "ResponseContentDisposition": "x\r\nSet-Cookie: stolen=1"}
    url = s3.generate_presigned_url("get_object", Params=wanted).removeprefix(aws.url)
    _, answer = send(aws, "GET", url, here(aws))
    assert b"\r\nSet-Cookie" not in answer.split(b"\r\n\r\n")[0]


# ---- web pages in the user's browser ----

FOREIGN = {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("GET", {**FOREIGN, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, b""),
        ("GET", {**FOREIGN, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, b""),
        ("GET", {**FOREIGN, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, b""),
        ("POST", {**FOREIGN, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-User": "?1"}, b"a"),
        ("POST", {"Origin": "https://evil.example", "Content-Type": "text/plain"}, b"Action=ListUsers"),
        ("POST", {"Origin": "null", "Content-Type": "text/plain"}, b"Action=ListUsers"),
        ("OPTIONS", {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}, b""),
        ("GET", {"Origin": "https://localhost.evil.example"}, b""),
        ("GET", {"Origin": "http://[::1"}, b""),
    ],
)
@pytest.mark.parametrize(
    "path", ["/", "/_localaws/health", "/_localaws/instances/x/imds/latest/", "/_localaws/credentials/x"]
)
def test_no_page_of_another_site_drives_or_reads_it(aws, path, method, headers, body):
    code, answer = send(aws, method, path, here(aws, **headers, **{"Content-Length": str(len(body))}), body)
    assert code == 403
    assert b"The embedded AWS" in answer
    assert b"Access-Control-Allow" not in answer


def test_a_link_that_a_person_follows_may_show_its_answer(aws):
    click = {**FOREIGN, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-User": "?1"}
    assert send(aws, "GET", "/_localaws/health", here(aws, **click))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "169.254.169.254", "localhost.evil.example", "[::1", "", "127.0.0.1@evil"]
)
def test_only_this_machines_names_are_answered(aws, host):
    assert send(aws, "GET", "/_localaws/health", {"Host": host})[0] in (400, 403)


@pytest.mark.parametrize(
    "path",
    ["credentials/x", "credentials/", "credentials/../administrator.json", "function-code/../../id", "instances/"],
)
@pytest.mark.parametrize("authorization", ["", "x", "\xff\xfe"])
def test_the_inner_addresses_tell_nothing_to_who_has_no_secret(aws, path, authorization):
    code, answer = send(aws, "GET", f"/_localaws/{path}", here(aws, Authorization=authorization))
    assert code in (403, 404)
    assert b"AccessKeyId" not in answer


# ---- names and values that a shell or a file system would take for more ----

HOSTILE = [
    "it's",
    '"quoted"',
    "a\nb",
    "$(touch /tmp/attacked-by-localaws-tests)",
    "`id`",
    "a; b & c | d > e",
    "--flag",
    "\\",
    "",
    "*",
    "${HOME}",
    "%s%n",
    "</script>",
]


@pytest.fixture(scope="module")
def jobs(aws):
    return Jobs(aws)


def test_hyperparameters_arrive_in_a_job_as_they_are(jobs):
    script = """
import json, shutil
shutil.copy("/opt/ml/input/config/hyperparameters.json", "/opt/ml/model/seen.json")
"""
    given = {f"h{number} '\"$(x)": value for number, value in enumerate(HOSTILE)}
    job = jobs.run(script, HyperParameters=given, Environment={"E": "$(id) 'x'"})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert json.loads(jobs.model(job)["seen.json"]) == given
    assert job["HyperParameters"] == given
    assert not Path("/tmp/attacked-by-localaws-tests").exists()


@pytest.mark.parametrize("name", ["a;b", "a b", "../a", "a/b", "$(id)", "a'b", "a\nb", "-a", "a" * 64, ""])
def test_names_that_are_paths_or_shell_are_refused(aws, jobs, name):
    sagemaker = boto3_client(aws, "sagemaker")
    for call, arguments in (
        (sagemaker.create_training_job, jobs.request("") | {"TrainingJobName": name}),
        (sagemaker.create_endpoint, {"EndpointName": name, "EndpointConfigName": "none"}),
    ):
        with pytest.raises(ClientError) as refused:
            call(**arguments)
        assert refused.value.response["Error"]["Code"] in ("ValidationException", "ValidationError")


@pytest.mark.parametrize("key", ["../up", "/etc/cron.d/x", "cut\0here", "x" * 300])
def test_checkpoints_and_channels_take_no_key_that_leads_out(jobs, key):
    place = f"attack-checkpoints-{abs(hash(key))}"
    jobs.put(f"{place}/{key}", "x")
    job = jobs.run("", CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{place}"})
    assert job["TrainingJobStatus"] == "Failed"
    assert "Failed to download data" in job["FailureReason"]


def test_sync_on_an_instance_stays_in_its_folder(aws):
    instances = Instances(aws)
    profile = instances.profile("attacked-instances")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="attacked-sync")
    for key in ("evil/../../out", "evil/fine", "evil//etc/attacked-by-localaws-tests"):
        s3.put_object(Bucket="attacked-sync", Key=key, Body=b"x")
    script = (
        "mkdir -p /opt/deep/in; aws s3 sync s3://attacked-sync/evil /opt/deep/in; find /opt -name out; echo all done"
    )
    identifier = instances.launch(script, IamInstanceProfile={"Name": profile})
    console = instances.said(identifier, "all done")
    instances.ec2.terminate_instances(InstanceIds=[identifier])
    assert "evil/fine" in console
    assert "/opt/out" not in console
    assert "/opt/deep/out" not in console
    assert not Path("/etc/attacked-by-localaws-tests").exists()


# ---- secrets ----


def test_nothing_that_fails_tells_a_secret(aws, jobs):
    """Requests that break, a job that raises, a function that fails: no key, token or signature is in any log."""
    own, secret = aws.environment["AWS_ACCESS_KEY_ID"], aws.environment["AWS_SECRET_ACCESS_KEY"]
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="secrets")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "secrets", "Key": "none"}).removeprefix(aws.url)
    assert send(aws, "GET", url, here(aws))[0] == 404
    body = b"{" * 10
    headers = signed(aws, "sagemaker", body, **{"X-Amz-Target": "SageMaker.ListModels"})
    assert send(aws, "POST", "/", headers, body)[0] == 400
    assert send(aws, "POST", "/", headers | {"Content-Length": "-1"}, body)[0] == 400
    instance = Instances(aws)
    identifier = instance.launch("echo $AWS_EC2_METADATA_SERVICE_ENDPOINT; shutdown -h now")
    inner = re.search(r"/_localaws/instances/([^/]+)/", instance.said(identifier, "/_localaws/instances/"))
    assert inner
    code, answer = send(aws, "GET", f"/_localaws/instances/{inner[1]}/power/off?seconds=soon", here(aws))
    assert (code, inner[1].encode() in answer) == (500, False)

    failed = jobs.run("import boto3\nboto3.client('iam').create_user(UserName='x')")
    assert failed["TrainingJobStatus"] == "Failed"
    said = "\n".join([*jobs.lines(failed["TrainingJobName"]), failed["FailureReason"]])
    assert "AccessDenied" in said
    log = (aws.state / "server.log").read_text(errors="replace")
    signature = headers["Authorization"].rpartition("Signature=")[2]
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
    presigned = (query.get("X-Amz-Signature") or query["Signature"])[0]
    for hidden in (
        secret,
        signature,
        presigned,
        inner[1],
        "AWS4-HMAC-SHA256 Credential",
        "AWS_CONTAINER_AUTHORIZATION",
    ):
        assert hidden not in log
        assert hidden not in said
    assert own not in said
    assert "aws_session_token" not in (log + said).lower()


def test_the_state_folder_is_its_owners(aws):
    assert aws.state.stat().st_mode & 0o077 == 0


def boto3_client(aws: LocalAws, service: str):
    """A client that sends what its own checks would not let through."""
    import boto3

    keys = aws.environment
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
