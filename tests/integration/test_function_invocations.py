"""Lambda functions run: warm and cold, one event at a time, with AWS's answers to everything that can go wrong."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws
from tests.lambda_functions import Lambda, code_of, environments, package, until

REPORT = re.compile(
    r"REPORT RequestId: (\S+)\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\tMemory Size: (\d+) MB\t"
    r"Max Memory Used: (\d+) MB(?:\tInit Duration: (\d+\.\d\d) ms)?(?:\tStatus: (\w+)(?:\tError Type: (\S+))?)?$",
    re.M,
)


@pytest.fixture(scope="module")
def functions(aws: LocalAws) -> Lambda:
    return Lambda(aws)


@pytest.fixture(scope="module")
def function(functions: Lambda) -> str:
    return functions.create(FunctionName="many-things", Timeout=60)


# ---- environments ----


def test_an_environment_is_made_once_and_used_again(functions):
    name = functions.create()
    cold, warm = functions.call(name), functions.call(name)
    assert [one.payload["count"] for one in (cold, warm)] == [1, 2]
    assert cold.payload["pid"] == warm.payload["pid"]
    assert "Init Duration" in cold.log
    assert "Init Duration" not in warm.log


def test_ten_events_at_once_have_ten_environments_and_one_each(functions, tmp_path):
    name = functions.create()
    events = [{"do": "meet", "folder": str(tmp_path), "number": 10}] * 10
    answers = functions.call_at_once(name, events)
    assert len({one.payload["pid"] for one in answers}) == 10
    assert all(one.payload["count"] == 1 for one in answers)
    assert len(environments(functions.aws, name)) == 10
    assert functions.call(name).payload["count"] == 2


def test_a_function_gets_aws_s_environment_and_nothing_of_the_server_s(functions):
    name = functions.create(Environment={"Variables": {"COLOUR": "brown"}}, MemorySize=256)
    variables = functions.call(name, {"do": "environment"}).payload
    expected = {
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": functions.aws.url,
        "_HANDLER": "app.handler",
        "COLOUR": "brown",
    }
    assert {member: variables[member] for member in expected} == expected
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", variables["AWS_LAMBDA_LOG_STREAM_NAME"])
    ours = set("PATH LANG TZ HOME TMPDIR LD_LIBRARY_PATH DYLD_LIBRARY_PATH LOCALAWS_ID COLOUR LC_CTYPE".split())
    strange = {member for member in variables if not member.startswith(("AWS_", "LAMBDA_", "_"))} - ours
    assert not strange
    [process] = environments(functions.aws, name)
    assert functions.aws.environment["AWS_SECRET_ACCESS_KEY"] not in process.environ().values()


def test_the_context_tells_what_aws_s_does(functions, function):
    client = {"custom": {"a": "b"}, "env": {"c": "d"}, "client": {"app_title": "tests"}}
    given = base64.b64encode(json.dumps(client).encode()).decode()
    answered = functions.call(function, {"do": "describe"}, ClientContext=given)
    shown = answered.payload
    assert shown["id"] == answered.response["ResponseMetadata"]["RequestId"]
    assert shown["arn"] == f"arn:aws:lambda:us-east-1:123456789012:function:{function}"
    assert (shown["name"], shown["version"], shown["memory"]) == (function, "$LATEST", "128")
    assert shown["group"] == f"/aws/lambda/{function}"
    assert 0 < shown["left"] <= 60_000
    assert shown["client"] == {"custom": {"a": "b"}, "env": {"c": "d"}, "title": "tests"}
    assert shown["task"], "the function must find its own files below /var/task"


def test_only_the_packages_of_lambda_are_there(functions):
    source = """
import importlib.util, boto3, botocore, dateutil, urllib3, jmespath, s3transfer
def handler(event, context):
    return [name for name in ("numpy", "torch", "moto", "helpers", "pytest") if importlib.util.find_spec(name)]
"""
    assert functions.call(functions.create(source)).payload == []


def test_files_beside_the_handler_and_modules_in_folders(functions):
    source = """
import json, pathlib
from words import WORD
def go(event, context):
    return [WORD, json.loads(pathlib.Path("/var/task/data.json").read_text())]
"""
    files = {"deep/app.py": source, "words.py": "WORD = 'here'", "data.json": '{"a": "/var/task"}'}
    name = functions.create(Code={"ZipFile": package("", **files)}, Handler="deep/app.go")
    word, data = functions.call(name).payload
    assert word == "here"
    assert Path(data["a"]).is_dir()


def test_another_python_is_run_by_this_one_and_says_so(functions):
    local = f"python3.{sys.version_info.minor}"
    other = "python3.13" if local != "python3.13" else "python3.12"
    name = functions.create("import sys\ndef handler(e, c): return list(sys.version_info[:2])", Runtime=other)
    assert functions.call(name).payload == list(sys.version_info[:2])
    log = functions.log_until(name, lambda lines: any("REPORT" in line for line in lines))
    said = rf"The embedded AWS has no {other} on x86_64: {local} on \S+ runs this function\."
    assert any(re.fullmatch(said, line) for line in log)
    assert log[0].startswith(f"INIT_START Runtime Version: {other.replace('n3', 'n:3')}.v")


# ---- permissions ----


def test_functions_call_back_with_their_role_s_credentials_twenty_at_once(functions):
    functions.aws.client("s3").create_bucket(Bucket="called-back")
    name = functions.create(Timeout=300)
    answers = functions.call_at_once(name, [{"do": "whoami", "bucket": "called-back"}] * 20)
    assert {one.payload for one in answers} == {f"arn:aws:sts::123456789012:assumed-role/functions-tests/{name}"}
    kept = functions.aws.client("s3").list_objects_v2(Bucket="called-back")["KeyCount"]
    assert kept == 20


def test_a_role_that_is_gone_is_refused_at_the_next_cold_start(functions):
    iam = functions.aws.client("iam")
    name = functions.create(Role=functions.aws.role("soon-gone", "lambda.amazonaws.com"))
    for policy in iam.list_role_policies(RoleName="soon-gone")["PolicyNames"]:
        iam.delete_role_policy(RoleName="soon-gone", PolicyName=policy)
    iam.delete_role(RoleName="soon-gone")
    with pytest.raises(ClientError) as refused:
        functions.call(name)
    assert code_of(refused.value) == "AccessDeniedException"
    assert "cannot be assumed by Lambda" in str(refused.value)


# ---- logs ----


def test_the_log_has_lambda_s_lines_and_the_function_s_between_them(functions, function):
    answered = functions.call(function, {"do": "say", "what": "this"})
    request_id = answered.response["ResponseMetadata"]["RequestId"]
    lines = answered.log.splitlines()
    start = lines.index(f"START RequestId: {request_id} Version: $LATEST")
    assert lines[start + 1] == "printed this"
    assert "unfinished" in lines
    assert re.search(rf"\[WARNING\]\t\d{{4}}-\d\d-\d\dT[\d:.]+Z\t{request_id}\tfirst\nsecond\n", answered.log)
    assert lines[-2] == f"END RequestId: {request_id}"
    found = REPORT.fullmatch(lines[-1])
    assert found
    assert found[1] == request_id
    assert int(found[3]) >= float(found[2])
    assert (found[4], found[7]) == ("128", None)
    assert 5 < int(found[5]) < 128
    messages = functions.log_until(
        function, lambda lines: any(f"REPORT RequestId: {request_id}" in one for one in lines)
    )
    assert any(message.endswith("\tfirst\nsecond") for message in messages), "a record is one event, whatever its lines"


def test_the_report_bills_the_initialisation_of_a_cold_start(functions):
    name = functions.create("import time\ntime.sleep(0.2)\ndef handler(event, context): return 1")
    found = REPORT.search(functions.call(name).log)
    duration, billed, init = float(found[2]), int(found[3]), float(found[6])
    assert init >= 200
    assert billed == -(-round((duration + init) * 100) // 100)


def test_the_log_tail_is_4_kib_and_only_on_request(functions, function):
    answered = functions.call(function, {"do": "say", "what": "x" * 9000})
    assert len(base64.b64decode(answered.response["LogResult"])) == 4096
    assert "LogResult" not in functions.client.invoke(FunctionName=function, Payload=b"{}")


def test_a_log_group_of_one_s_own(functions):
    name = functions.create(LoggingConfig={"LogGroup": "/own/group"})
    functions.call(name)
    logs = functions.aws.client("logs")
    events = until(
        lambda: logs.filter_log_events(logGroupName="/own/group")["events"],
        lambda found: any("REPORT" in event["message"] for event in found),
    )
    assert events


# ---- what goes wrong in the function ----


def test_an_exception_is_described(functions, function):
    answered = functions.call(function, {"do": "fail"})
    assert (answered.error, answered.response["StatusCode"]) == ("Unhandled", 200)
    shown = answered.payload
    assert (shown["errorType"], shown["errorMessage"]) == ("ValueError", "no good")
    assert shown["requestId"] == answered.response["ResponseMetadata"]["RequestId"]
    assert shown["stackTrace"][-1].startswith('  File "/var/task/app.py", line ')
    assert "[ERROR] ValueError: no good\nTraceback (most recent call last):" in answered.log
    assert functions.call(function, {"do": "count"}).payload["count"] > 1, "the environment goes on"


def test_an_error_with_a_very_long_trace(functions, function):
    answered = functions.call(function, {"do": "recurse"})
    assert answered.payload["errorType"] == "RecursionError"


def test_a_response_that_is_not_json(functions, function):
    answered = functions.call(function, {"do": "odd"})
    assert answered.payload["errorType"] == "Runtime.MarshalError"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"do": "leave", "code": 1}, "Runtime exited with error: exit status 1"),
        ({"do": "leave", "code": 0}, "Runtime exited without providing a reason"),
        ({"do": "stop", "code": 3}, "Runtime exited with error: exit status 3"),
        ({"do": "kill", "signal": int(signal.SIGKILL)}, "Runtime exited with error: signal: killed"),
        ({"do": "kill", "signal": int(signal.SIGSEGV)}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_crash_is_answered_and_the_environment_starts_anew(functions, function, event, words):
    answered = functions.call(function, event)
    request_id = answered.response["ResponseMetadata"]["RequestId"]
    assert answered.error == "Unhandled"
    message = f"RequestId: {request_id} Error: {words}"
    assert answered.payload == {"errorType": "Runtime.ExitError", "errorMessage": message}
    assert f"{message}\nRuntime.ExitError\nEND" in answered.log
    assert REPORT.search(answered.log)[8] == "Runtime.ExitError"
    after = functions.call(function)
    assert after.payload["count"] == 1
    assert "Init Duration" not in after.log, "the environment is the same, only its runtime is new"


def test_a_timeout_is_answered_as_aws_does(functions):
    name = functions.create(Timeout=2)
    answered = functions.call(name, {"do": "sleep", "seconds": 300})
    request_id = answered.response["ResponseMetadata"]["RequestId"]
    message = f"RequestId: {request_id} Error: Task timed out after 2.00 seconds"
    assert answered.error == "Unhandled"
    assert answered.payload == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert re.search(
        rf"^\d{{4}}-\d\d-\d\dT[\d:.]+Z {request_id} Task timed out after 2.00 seconds$", answered.log, re.M
    )
    found = REPORT.search(answered.log)
    assert (found[2], found[7]) == ("2000.00", "timeout")
    # A new runtime starts within the function's own time, which may not be enough on a busy machine.
    assert until(lambda: functions.call(name), lambda again: again.error is None).payload["count"] == 1


def test_too_much_memory_ends_the_runtime(functions, function):
    answered = functions.call(function, {"do": "fill", "megabytes": 300})
    assert answered.payload["errorType"] == "Runtime.OutOfMemory"
    assert answered.payload["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    found = REPORT.search(answered.log)
    assert (found[4], found[5], found[8]) == ("128", "128", "Runtime.OutOfMemory")
    assert functions.call(functions.create(MemorySize=512), {"do": "fill", "megabytes": 300}).payload == 300 << 20


def test_a_response_that_is_too_large(functions, function):
    assert len(functions.call(function, {"do": "large", "bytes": 6_000_000}).payload) == 6_000_000
    answered = functions.call(function, {"do": "large", "bytes": 6_300_000})
    assert answered.payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert "(6300002 bytes) exceeded maximum allowed payload size (6291556 bytes)" in answered.payload["errorMessage"]
    assert functions.call(function, {"do": "echo"}).payload == {"do": "echo"}


INIT_ERRORS = {
    "a module that is not there": ("app.handler", "import no_such_module", "Runtime.ImportModuleError"),
    "no such file": ("elsewhere.handler", "", "Runtime.ImportModuleError"),
    "no such handler": ("app.handlr", "def handler(event, context): return 1", "Runtime.HandlerNotFound"),
    "no function in the handler's name": ("app", "", "Runtime.MalformedHandlerName"),
    "bad syntax": ("app.handler", "def handler(:", "Runtime.UserCodeSyntaxError"),
    "an exception": ("app.handler", "raise KeyError('x')", "KeyError"),
}


@pytest.mark.parametrize("case", INIT_ERRORS)
def test_a_function_that_cannot_be_loaded(functions, case):
    handler, source, kind = INIT_ERRORS[case]
    name = functions.create(source, Handler=handler)
    answered = functions.call(name)
    assert answered.error == "Unhandled"
    assert answered.payload["errorType"] == kind
    assert REPORT.search(answered.log)[8] == kind
    assert f"Phase: init\tStatus: error\tError Type: {kind}" in answered.log
    assert f"Phase: invoke\tStatus: error\tError Type: {kind}" in answered.log
    assert functions.call(name).payload["errorType"] == kind


def test_a_module_that_exits_while_it_is_loaded(functions):
    name = functions.create("import os\nos._exit(4)")
    answered = functions.call(name)
    assert answered.payload["errorType"] == "Runtime.ExitError"
    assert answered.payload["errorMessage"].endswith("Error: Runtime exited with error: exit status 4")


def test_a_runtime_that_dies_while_idle_is_replaced(functions):
    name = functions.create()
    first = functions.call(name).payload["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: [one.pid for one in environments(functions.aws, name)], lambda pids: first not in pids)
    assert functions.call(name).payload["count"] == 1


# ---- the ways to invoke ----


def test_a_dry_run_runs_nothing(functions, tmp_path):
    name = functions.create()
    event = json.dumps({"do": "note", "file": str(tmp_path / "noted")})
    answered = functions.client.invoke(FunctionName=name, InvocationType="DryRun", Payload=event)
    assert answered["StatusCode"] == 204
    assert not environments(functions.aws, name)
    assert not (tmp_path / "noted").exists()


def test_an_event_is_taken_in_and_handled_later(functions, tmp_path):
    name = functions.create()
    event = json.dumps({"do": "note", "file": str(tmp_path / "noted")})
    answered = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=event)
    assert answered["StatusCode"] == 202
    assert answered["Payload"].read() == b""
    until((tmp_path / "noted").exists, bool)


def test_no_payload_is_an_empty_event(functions, function):
    answered = functions.client.invoke(FunctionName=functions.create("def handler(event, context): return event"))
    assert answered["Payload"].read() == b"{}"
    assert answered["ExecutedVersion"] == "$LATEST"


def test_what_a_function_returns_comes_back_as_it_is(functions):
    name = functions.create("def handler(event, context): return event")
    for value in (None, "ä", 1.5, [1, {"deep": [True, None]}], {"ü": "€"}):
        answered = functions.client.invoke(FunctionName=name, Payload=json.dumps(value))
        assert json.loads(answered["Payload"].read()) == value


@pytest.mark.parametrize(
    ("more", "code", "status", "words"),
    [
        ({"Payload": b"{not json"}, "InvalidRequestContentException", 400, "Could not parse request body into json"),
        (
            {"Payload": b'"' + b"x" * 6_291_456 + b'"'},
            "RequestEntityTooLargeException",
            413,
            "6291458 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
        ),
        (
            {"Payload": b'"' + b"x" * 1_048_576 + b'"', "InvocationType": "Event"},
            "RequestEntityTooLargeException",
            413,
            "1048578 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
        ),
        ({"InvocationType": "Sometimes"}, "ValidationException", 400, "enum value set"),
        ({"ClientContext": "not base64!"}, "InvalidRequestContentException", 400, "Base64-encoded JSON object"),
        ({"ClientContext": "WzFd"}, "InvalidRequestContentException", 400, "Base64-encoded JSON object"),
        ({"TenantId": "one"}, "NotImplemented", 501, "TenantId"),
    ],
)
def test_what_cannot_be_invoked(functions, function, more, code, status, words):
    with pytest.raises(ClientError) as refused:
        functions.client.invoke(FunctionName=function, **more)
    assert code_of(refused.value) == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert words in str(refused.value)


def test_the_aws_cli_invokes(functions, function, tmp_path):
    target = tmp_path / "answer.json"
    argv = ["lambda", "invoke", "--function-name", function, "--payload", '{"do": "echo", "a": 1}', str(target)]
    done = subprocess.run(
        [Path(sys.executable).with_name("aws"), *argv],
        env=functions.aws.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(target.read_text()) == {"do": "echo", "a": 1}
    answered = json.loads(done.stdout)
    assert (answered["StatusCode"], answered["ExecutedVersion"]) == (200, "$LATEST")


# ---- concurrency ----


def test_reserved_concurrency_refuses_the_one_too_many(functions, tmp_path):
    name = functions.create()
    client = functions.client
    assert client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") is None
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 1
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 1}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(functions.call, name, {"do": "wait_for", "folder": str(tmp_path)})
        until((tmp_path / "arrived").exists, bool)
        with pytest.raises(ClientError) as refused:
            functions.call(name)
        (tmp_path / "go").touch()
        assert running.result().payload == "went"
    assert code_of(refused.value) == "TooManyRequestsException"
    response = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert response["Error"]["Message"] == "Rate Exceeded."
    assert functions.call(name).error is None
    client.delete_function_concurrency(FunctionName=name)
    assert client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") is None


def test_a_reservation_of_zero_stops_a_function(functions):
    name = functions.create()
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        functions.call(name)


def test_a_hundred_stay_unreserved(functions):
    name = functions.create()
    before = functions.client.get_account_settings()["AccountLimit"]
    assert before["ConcurrentExecutions"] == 1000
    free = before["UnreservedConcurrentExecutions"]
    with pytest.raises(ClientError) as refused:
        functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=free - 99)
    assert code_of(refused.value) == "InvalidParameterValueException"
    assert "below its minimum value of [100]" in str(refused.value)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=free - 100)
    settings = functions.client.get_account_settings()
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    assert settings["AccountUsage"]["FunctionCount"] >= 1
    assert settings["AccountUsage"]["TotalCodeSize"] > 0
    functions.client.delete_function(FunctionName=name)
    assert functions.client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == free


@pytest.mark.parametrize(
    "operation", ["put_function_concurrency", "get_function_concurrency", "delete_function_concurrency"]
)
def test_the_concurrency_of_a_function_that_is_not_there(functions, operation):
    more = {"ReservedConcurrentExecutions": 1} if operation.startswith("put") else {}
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        getattr(functions.client, operation)(FunctionName="nowhere", **more)


# ---- metrics ----


def test_invocations_errors_durations_and_throttles_are_counted(functions):
    name = functions.create()
    functions.call(name)
    functions.call(name, {"do": "fail"})
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError):
        functions.call(name)
    cloudwatch, now = functions.aws.client("cloudwatch"), datetime.now().timestamp()

    def totals() -> dict[str, float]:
        found = {}
        for metric in ("Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"):
            points = cloudwatch.get_metric_statistics(
                Namespace="AWS/Lambda",
                MetricName=metric,
                Dimensions=[{"Name": "FunctionName", "Value": name}],
                StartTime=now - 600,
                EndTime=now + 600,
                Period=1200,
                Statistics=["Sum"],
            )["Datapoints"]
            found[metric] = sum(point["Sum"] for point in points)
        return found

    wanted = {"Invocations": 2, "Errors": 1, "Throttles": 1}
    counted = until(totals, lambda found: found["Duration"] > 0 and wanted.items() <= found.items())
    assert counted["ConcurrentExecutions"] >= 1
