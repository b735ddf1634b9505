"""What happens to Lambda functions over time: creation and updates take effect, events are tried again, environments
are reclaimed, a killed server's functions are there again. Two servers of their own: one with AWS's times, one quick.
"""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from botocore.exceptions import ClientError

from helpers import functions
from tests.conftest import LocalAws, start
from tests.lambda_functions import Lambda, code_of, ended, environments, package, until

NEW = "def handler(event, context): return 'new'"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    running = start(tmp_path_factory.mktemp("plain") / "state")
    yield Lambda(running)
    running.cli("down")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    """AWS's waiting 200 times shorter, an account limit of 10, and our own runtime client in place of AWS's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALAWS_LAMBDA_CONCURRENCY", "10")
        patch.setenv("LOCALAWS_RUNTIME_CLIENT", "python")
        running = start(tmp_path_factory.mktemp("quick") / "state", "--time-scale", "200")
    yield Lambda(running)
    running.cli("down")


def queued(functions: Lambda) -> int:
    """How many events wait for another try, by the server's own records."""
    with sqlite3.connect(f"file:{functions.aws.state}/documents.sqlite?mode=ro", uri=True) as records:
        [(number,)] = records.execute("SELECT count(*) FROM documents WHERE kind = 'function-event'")
    return int(number)


def kill(aws: LocalAws) -> None:
    """SIGKILL a server, and wait until it has let go of its folder."""
    server = psutil.Process(json.loads((aws.state / "server.json").read_text())["pid"])
    server.kill()
    server.wait(60)


# ---- with AWS's times ----


def test_a_function_cannot_be_used_or_changed_before_it_is_made(plain):
    name = plain.create(wait=False)
    plain.settle_in(name, 3600)
    for call, more in (
        (plain.client.invoke, {}),
        (plain.client.update_function_code, {"ZipFile": package()}),
        (plain.client.update_function_configuration, {"Timeout": 4}),
        (plain.client.publish_version, {}),
    ):
        with pytest.raises(ClientError) as refused:
            call(FunctionName=name, **more)
        assert code_of(refused.value) == "ResourceConflictException"
        assert "The function is currently in the following state: Pending" in str(refused.value)
    plain.settle_in(name, 1)
    plain.client.get_waiter("function_active_v2").wait(FunctionName=name)
    assert plain.call(name).error is None


def test_until_an_update_has_taken_effect_the_old_code_runs(plain):
    name = plain.create()
    plain.client.update_function_code(FunctionName=name, ZipFile=package(NEW))
    plain.settle_in(name, 3600)
    assert plain.call(name).payload["count"] == 1
    shown = plain.client.get_function_configuration(FunctionName=name)
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "InProgress")
    with pytest.raises(ClientError) as refused:
        plain.client.update_function_configuration(FunctionName=name, Timeout=4)
    assert code_of(refused.value) == "ResourceConflictException"
    assert "An update is in progress for resource: arn:aws:lambda:us-east-1:123456789012:function:" in str(
        refused.value
    )
    plain.settle_in(name, 1)
    plain.client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert plain.call(name).payload == "new"


def test_functions_and_queued_events_outlive_a_killed_server(plain, tmp_path):
    name = plain.create(Environment={"Variables": {"COLOUR": "brown"}}, Tags={"a": "b"}, Publish=True)
    first = plain.call(name).payload["pid"]
    plain.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    plain.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    event = json.dumps({"do": "note", "file": str(tmp_path / "noted")})
    assert plain.client.invoke(FunctionName=name, InvocationType="Event", Payload=event)["StatusCode"] == 202
    kill(plain.aws)
    again = Lambda(start(plain.aws.state))
    assert ended(first)
    assert not (tmp_path / "noted").exists()
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        again.call(name)
    again.client.delete_function_concurrency(FunctionName=name)
    assert again.call(name, {"do": "environment"}).payload["COLOUR"] == "brown"
    assert again.call(name, Qualifier="live").response["ExecutedVersion"] == "1"
    assert again.client.get_function(FunctionName=name)["Tags"] == {"a": "b"}
    until((tmp_path / "noted").exists, bool)


def test_down_ends_every_environment_though_it_is_at_work(plain, tmp_path):
    name = plain.create()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(plain.call, name, {"do": "wait_for", "folder": str(tmp_path)})
        until((tmp_path / "arrived").exists, bool)
        assert environments(plain.aws, name)
        plain.aws.cli("down")
        assert not environments(plain.aws, name)
        assert waiting.exception() is not None or waiting.result().error == "Unhandled"


# ---- quickly ----


def test_our_own_runtime_client_does_what_aws_s_does(quick):
    name = quick.create()
    first, second = quick.call(name).payload, quick.call(name).payload
    # Here an idle environment lasts for a second and a half, which may pass between two calls.
    assert (first["count"], second["count"]) == (1, 2 if second["pid"] == first["pid"] else 1)
    failed = quick.call(name, {"do": "fail"})
    assert (failed.error, failed.payload["errorType"]) == ("Unhandled", "ValueError")
    assert failed.payload["stackTrace"][-1].startswith('  File "/var/task/app.py", line ')
    assert "[ERROR] ValueError: no good\nTraceback (most recent call last):" in failed.log
    said = quick.call(name, {"do": "say", "what": "this"}).log
    assert "printed this\n" in said
    assert "\tfirst\nsecond\n" in said
    shown = quick.call(
        name, {"do": "describe"}, ClientContext="eyJjdXN0b20iOiB7ImEiOiAiYiJ9LCAiY2xpZW50Ijoge319"
    ).payload
    assert shown["client"] == {"custom": {"a": "b"}, "env": None, "title": None}
    assert 0 < shown["left"] <= 60_000
    assert quick.call(name, {"do": "odd"}).payload["errorType"] == "Runtime.MarshalError"
    assert quick.call(name, {"do": "recurse"}).payload["errorType"] == "RecursionError"
    assert quick.call(name, {"do": "large", "bytes": 6_300_000}).payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(quick.call(name, {"do": "large", "bytes": 6_000_000}).payload) == 6_000_000
    assert quick.call(name, {"do": "leave", "code": 2}).payload["errorMessage"].endswith("exit status 2")


@pytest.mark.parametrize(
    ("handler", "source", "kind"),
    [
        ("app.handler", "import no_such_module", "Runtime.ImportModuleError"),
        ("app.handlr", "", "Runtime.HandlerNotFound"),
        ("app", "", "Runtime.MalformedHandlerName"),
        ("sys.exit", "", "Runtime.BuiltInModuleConflict"),
        ("app.handler", "def handler(:", "Runtime.UserCodeSyntaxError"),
        ("app.handler", "raise KeyError('x')", "KeyError"),
    ],
)
def test_our_own_runtime_client_says_why_a_function_cannot_be_loaded(quick, handler, source, kind):
    answered = quick.call(quick.create(source, Handler=handler))
    assert (answered.error, answered.payload["errorType"]) == ("Unhandled", kind)


def test_a_failing_event_is_tried_three_times(quick, tmp_path):
    name = quick.create()
    event = {"do": "note", "file": str(tmp_path / "noted"), "failures": 100}
    quick.client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
    until((tmp_path / "noted").exists, bool)
    until(lambda: queued(quick), lambda number: number == 0)
    tries = (tmp_path / "noted").read_text().split()
    assert len(tries) == 3
    assert len(set(tries)) == 1, "every try has the request id of the first"


def test_an_event_that_succeeds_at_last_is_not_tried_again(quick, tmp_path):
    name = quick.create()
    event = {"do": "note", "file": str(tmp_path / "noted"), "failures": 1}
    quick.client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
    log = quick.log_until(name, lambda lines: sum("REPORT" in line for line in lines) == 2)
    assert sum("not yet" in line for line in log) == 1


def test_the_account_s_limit_throttles_and_events_wait(quick, tmp_path):
    name = quick.create()
    limit = quick.client.get_account_settings()["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (10, 10)
    with pytest.raises(ClientError) as refused:
        quick.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert "below its minimum value of [10]" in str(refused.value)
    (tmp_path / "meeting").mkdir()
    # Eleven are awaited where ten may come: the meeting goes on until this test joins it.
    event = {"do": "meet", "folder": str(tmp_path / "meeting"), "number": 11}
    with ThreadPoolExecutor(10) as pool:
        running = [pool.submit(quick.call, name, event) for _ in range(10)]
        until(lambda: len(list((tmp_path / "meeting").iterdir())), lambda number: number == 10)
        with pytest.raises(ClientError) as refused:
            quick.call(name)
        assert refused.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
        noted = json.dumps({"do": "note", "file": str(tmp_path / "noted")})
        assert quick.client.invoke(FunctionName=name, InvocationType="Event", Payload=noted)["StatusCode"] == 202
        (tmp_path / "meeting" / "the test").touch()
        assert len({one.result().payload["pid"] for one in running}) == 10
    until((tmp_path / "noted").exists, bool)


def test_a_new_account_cannot_reserve_or_provision_and_is_told_so(quick):
    name = quick.create(Publish=True)
    with pytest.raises(functions.NotEnoughConcurrency, match="This account may run 10 invocations at once"):
        functions.ensure_reserved(quick.client, name, 1)
    with pytest.raises(functions.NotEnoughConcurrency, match="nothing more can be reserved or provisioned"):
        functions.ensure_provisioned(quick.client, name, "1", 1)
    assert functions.account_concurrency(quick.client)["available"] == 0


def test_a_granted_quota_is_the_limit_of_its_region(quick):
    elsewhere, quotas = (quick.aws.client(service, "eu-west-1") for service in ("lambda", "service-quotas"))
    assert elsewhere.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 10
    quotas.request_service_quota_increase(ServiceCode="lambda", QuotaCode="L-B99A9384", DesiredValue=200.0)
    limit = until(lambda: functions.account_concurrency(elsewhere), lambda found: found["limit"] != 10)
    assert (limit["limit"], limit["available"]) == (200, 100)
    assert functions.account_concurrency(quick.client)["limit"] == 10


def test_idle_environments_are_reclaimed(quick):
    name = quick.create()
    quick.call(name)
    until(lambda: environments(quick.aws, name), lambda found: not found)
    assert quick.call(name).payload["count"] == 1
