"""Provisioned and reserved concurrency of functions, and aliases with weights, as a user meets them."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws
from tests.lambda_functions import Lambda, code_of, environments, package, until

SOURCE_OF_STARTS = """
import os, pathlib, time
KIND = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]

def handler(event, context):
    if "folder" in event:
        folder = pathlib.Path(event["folder"])
        (folder / context.aws_request_id).touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return [KIND, os.getpid(), context.function_version]
"""


@pytest.fixture(scope="module")
def functions(aws: LocalAws) -> Lambda:
    return Lambda(aws)


def make(functions: Lambda, source: str = SOURCE_OF_STARTS, alias: str = "live", **more: object) -> str:
    """A function with version 1, and an alias of it."""
    name = functions.create(source, Publish=True, **more)
    functions.client.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")
    return name


def put(functions: Lambda, name: str, count: int, qualifier: str = "live") -> dict:
    return functions.client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def described(functions: Lambda, name: str, qualifier: str = "live") -> dict:
    found = functions.client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    return {member: value for member, value in found.items() if member != "ResponseMetadata"}


def settled(functions: Lambda, name: str, qualifier: str = "live") -> dict:
    """The configuration, once it is no more in progress."""
    return until(lambda: described(functions, name, qualifier), lambda found: found["Status"] != "IN_PROGRESS")


def counts(found: dict) -> list[int]:
    return [found[f"{word}ProvisionedConcurrentExecutions"] for word in ("Requested", "Allocated", "Available")]


def refusal(call, **arguments) -> ClientError:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value


# ---- provisioned ----


def test_environments_are_started_before_anybody_asks(functions):
    name = make(functions)
    answered = put(functions, name, 2)
    assert answered["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (answered["Status"], answered["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
    found = settled(functions, name)
    assert (found["Status"], counts(found)) == ("READY", [2, 2, 2])
    processes = {process.pid for process in environments(functions.aws, name)}
    assert len(processes) == 2
    kind, pid, version = functions.call(name, Qualifier="live").payload
    assert (kind, version) == ("provisioned-concurrency", "1")
    assert pid in processes
    [listed] = functions.client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert listed == {"FunctionArn": f"arn:aws:lambda:us-east-1:123456789012:function:{name}:live", **found}
    functions.client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    until(lambda: environments(functions.aws, name), lambda left: not left)
    gone = refusal(functions.client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="live")
    assert code_of(gone) == "ProvisionedConcurrencyConfigNotFoundException"
    assert gone.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert functions.call(name, Qualifier="live").payload[0] == "on-demand"


def test_what_was_initialised_beforehand_is_reported_but_not_billed_again(functions):
    name = make(functions, "import time\ntime.sleep(0.5)\ndef handler(event, context): return 1")
    put(functions, name, 1)
    settled(functions, name)
    line = functions.call(name, Qualifier="live").log.splitlines()[-1]
    fields = dict(part.split(": ", 1) for part in line.split("\t") if ": " in part)
    took, billed, init = (float(fields[f"{word}Duration"].split()[0]) for word in ("", "Billed ", "Init "))
    assert init >= 500
    assert billed == max(1, -(-round(took * 100) // 100))


def test_all_that_is_provisioned_is_used_first_and_then_it_spills_over(functions, tmp_path):
    name = make(functions)
    put(functions, name, 2)
    settled(functions, name)
    with ThreadPoolExecutor(3) as pool:
        event = {"folder": str(tmp_path)}
        running = [pool.submit(functions.call, name, event, Qualifier="live") for _ in range(3)]
        until(lambda: len(list(tmp_path.iterdir())), lambda arrived: arrived == 3)
        (tmp_path / "go").touch()
        kinds = Counter(one.result().payload[0] for one in running)
    assert kinds == {"provisioned-concurrency": 2, "on-demand": 1}
    assert functions.call(name, Qualifier="1").payload[0] == "on-demand", "it is the alias that has them"
    wanted = {
        "ProvisionedConcurrencyInvocations": 2,
        "ProvisionedConcurrencySpilloverInvocations": 1,
        "Invocations": 3,
        "Throttles": 0,
    }
    assert until(lambda: sums(functions, name, "live", wanted), lambda found: found == wanted) == wanted
    assert maximum(functions, "ProvisionedConcurrencyUtilization", name, "live") == 1.0
    assert maximum(functions, "ProvisionedConcurrentExecutions", name, "live") == 2
    assert maximum(functions, "ConcurrentExecutions", name, "live") == 3
    assert max(statistic(functions, "UnreservedConcurrentExecutions", "Maximum", [])) >= 3


def dimensions(name: str, qualifier: str | None = None, version: str | None = None) -> list[dict[str, str]]:
    given = {
        "FunctionName": name,
        "Resource": f"{name}:{qualifier}" if qualifier else None,
        "ExecutedVersion": version,
    }
    return [{"Name": key, "Value": value} for key, value in given.items() if value]


def statistic(functions: Lambda, metric: str, which: str, named: list[dict[str, str]]) -> list[float]:
    now = datetime.now().timestamp()
    kind = "ExtendedStatistics" if which.startswith("p") else "Statistics"
    points = functions.aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=named,
        StartTime=now - 600,
        EndTime=now + 600,
        Period=1200,
        **{kind: [which]},
    )["Datapoints"]
    return [point[kind][which] if which.startswith("p") else point[which] for point in points]


def sums(functions: Lambda, name: str, qualifier: str, metrics) -> dict[str, float]:
    named = dimensions(name, qualifier)
    return {metric: sum(statistic(functions, metric, "Sum", named)) for metric in metrics}


def maximum(functions: Lambda, metric: str, name: str, qualifier: str) -> float:
    return max(statistic(functions, metric, "Maximum", dimensions(name, qualifier)))


def test_an_initialisation_that_fails_is_told(functions):
    name = make(functions, "raise KeyError('x')")
    put(functions, name, 3)
    found = settled(functions, name)
    assert (found["Status"], found["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
    assert counts(found) == [3, 0, 0]
    functions.log_until(
        name, lambda lines: any("Phase: init\tStatus: error\tError Type: KeyError" in one for one in lines)
    )


def test_more_and_fewer(functions):
    name = make(functions)
    for count in (1, 3, 2):
        put(functions, name, count)
        assert counts(settled(functions, name)) == [count, count, count]
        until(lambda: len(environments(functions.aws, name)), lambda found, count=count: found == count)


def test_an_alias_takes_its_environments_to_another_version(functions):
    name = make(functions)
    put(functions, name, 1)
    settled(functions, name)
    functions.client.update_function_code(FunctionName=name, ZipFile=package(SOURCE_OF_STARTS + "# changed"))
    functions.updated(name)
    assert functions.client.publish_version(FunctionName=name)["Version"] == "2"
    functions.client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    settled(functions, name)
    kind, _, version = functions.call(name, Qualifier="live").payload
    assert (kind, version) == ("provisioned-concurrency", "2")
    until(lambda: len(environments(functions.aws, name)), lambda found: found == 1)
    functions.client.delete_alias(FunctionName=name, Name="live")
    until(lambda: environments(functions.aws, name), lambda left: not left)


def test_a_deployment_divides_what_is_provisioned_as_it_divides_the_invocations(functions):
    name, client = make(functions), functions.client
    client.update_function_code(FunctionName=name, ZipFile=package(SOURCE_OF_STARTS + "# changed"))
    functions.updated(name)
    client.publish_version(FunctionName=name)
    put(functions, name, 2)
    settled(functions, name)
    client.update_alias(FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    assert counts(settled(functions, name)) == [2, 2, 2]
    variables = [process.environ()["AWS_LAMBDA_FUNCTION_VERSION"] for process in environments(functions.aws, name)]
    assert sorted(variables) == ["1", "2"]
    answers = [functions.call(name, Qualifier="live").payload for _ in range(8)]
    assert {kind for kind, _, _ in answers} == {"provisioned-concurrency"}
    client.delete_function(FunctionName=name)


def test_a_version_takes_its_environments_with_it(functions):
    name = functions.create(Publish=True)
    put(functions, name, 1, "1")
    settled(functions, name, "1")
    [process] = environments(functions.aws, name)
    functions.call(name, {"do": "leave", "code": 1}, Qualifier="1")
    after = functions.call(name, {"do": "environment"}, Qualifier="1").payload
    assert after["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency", "the environment outlives its runtime"
    assert not process.is_running()
    functions.client.delete_function(FunctionName=name, Qualifier="1")
    until(lambda: environments(functions.aws, name), lambda found: not found)
    assert functions.client.list_provisioned_concurrency_configs(FunctionName=name)[CONFIGS] == []


def test_what_cannot_be_provisioned(functions):
    name, client = make(functions), functions.client
    call = client.put_provisioned_concurrency_config
    client.create_alias(FunctionName=name, Name="latest", FunctionVersion="$LATEST")
    client.create_alias(FunctionName=name, Name="same", FunctionVersion="1")
    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    for qualifier in ("$LATEST", "latest"):
        refused = refusal(call, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=1)
        assert code_of(refused) == "InvalidParameterValueException"
        assert unpublished in str(refused)
    for qualifier in ("9", "nothing"):
        refused = refusal(call, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=1)
        assert code_of(refused) == "ResourceNotFoundException"
    refused = refusal(call, FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=0)
    assert code_of(refused) == "ValidationException"
    refused = refusal(call, FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=61)
    assert code_of(refused) == "NotImplemented"
    put(functions, name, 1, "1")
    refused = refusal(call, FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=1)
    assert code_of(refused) == "ResourceConflictException"
    assert "Alias can't be used for Provisioned Concurrency configuration" in str(refused)
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    put(functions, name, 1)
    refused = refusal(call, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    assert "Version is pointed by a Provisioned Concurrency alias" in str(refused)
    refused = refusal(call, FunctionName=name, Qualifier="same", ProvisionedConcurrentExecutions=1)
    assert code_of(refused) == "ResourceConflictException"
    client.delete_function(FunctionName=name)


def test_provisioned_within_reserved_and_both_within_the_account(functions, tmp_path):
    name, client = make(functions), functions.client
    free = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    refused = refusal(
        client.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="live",
        ProvisionedConcurrentExecutions=3,
    )
    assert code_of(refused) == "InvalidParameterValueException"
    assert "should not be greater than the reservedConcurrentExecution for function" in str(refused)
    put(functions, name, 1)
    settled(functions, name)
    refused = refusal(client.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=0)
    assert "should not be lower than function's total provisioned concurrency [1]" in str(refused)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(functions.call, name, {"folder": str(tmp_path)}, Qualifier="live") for _ in range(2)]
        until(lambda: len(list(tmp_path.iterdir())), lambda arrived: arrived == 2)
        refused = refusal(client.invoke, FunctionName=name, Qualifier="live", Payload=b"{}")
        (tmp_path / "go").touch()
        assert {one.result().payload[0] for one in running} == {"provisioned-concurrency", "on-demand"}
    assert refused.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    until(lambda: sums(functions, name, "live", ["Throttles"])["Throttles"], lambda found: found == 1)
    client.delete_function_concurrency(FunctionName=name)
    left = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert left == free - 1
    client.delete_function(FunctionName=name)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == free
    until(lambda: environments(functions.aws, name), lambda found: not found)


# ---- weights ----


def test_an_alias_with_weights_divides_the_invocations(functions):
    name, client = make(functions), functions.client
    client.update_function_code(FunctionName=name, ZipFile=package(SOURCE_OF_STARTS + "# changed"))
    functions.updated(name)
    client.publish_version(FunctionName=name)
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    alias = client.update_alias(FunctionName=name, Name="live", RoutingConfig=weights)
    assert alias["RoutingConfig"] == weights
    executed = Counter(functions.call(name, Qualifier="live").response["ExecutedVersion"] for _ in range(40))
    assert min(executed["1"], executed["2"]) >= 5, executed
    found = until(
        lambda: [sum(statistic(functions, "Invocations", "Sum", dimensions(name, "live", one))) for one in "12"],
        lambda found: sum(found) == 40,
    )
    assert found == [executed["1"], executed["2"]]
    assert statistic(functions, "Duration", "p99", dimensions(name, "live"))[0] > 0
    refused = refusal(
        client.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="live",
        ProvisionedConcurrentExecutions=1,
    )
    assert "Alias with weights can not be used with Provisioned Concurrency" in str(refused)
    refused = refusal(client.delete_function, FunctionName=name, Qualifier="2")
    assert code_of(refused) == "ResourceConflictException"
    client.update_alias(FunctionName=name, Name="live", RoutingConfig={})
    assert "RoutingConfig" not in client.get_alias(FunctionName=name, Name="live")
    assert {functions.call(name, Qualifier="live").response["ExecutedVersion"] for _ in range(8)} == {"1"}


@pytest.mark.parametrize(
    ("version", "weights", "code"),
    [
        ("1", {"2": 0.5, "3": 0.1}, "InvalidParameterValueException"),
        ("1", {"1": 0.5}, "InvalidParameterValueException"),
        ("$LATEST", {"1": 0.5}, "InvalidParameterValueException"),
        ("1", {"9": 0.5}, "ResourceNotFoundException"),
        ("1", {"2": 1.5}, "ValidationException"),
        ("1", {"live": 0.5}, "ValidationException"),
    ],
)
def test_what_are_no_weights(functions, weighted, version, weights, code):
    more = {"RoutingConfig": {"AdditionalVersionWeights": weights}}
    refused = refusal(functions.client.create_alias, FunctionName=weighted, Name="w", FunctionVersion=version, **more)
    assert code_of(refused) == code


@pytest.fixture(scope="module")
def weighted(functions: Lambda) -> str:
    return make(functions)


# ---- scaled automatically ----


def target(name: str, qualifier: str = "live") -> dict[str, str]:
    return {
        "ServiceNamespace": "lambda",
        "ResourceId": f"function:{name}:{qualifier}",
        "ScalableDimension": "lambda:function:ProvisionedConcurrency",
    }


def track(functions: Lambda, name: str, value: float, metric: str = "LambdaProvisionedConcurrencyUtilization") -> dict:
    return functions.aws.client("application-autoscaling").put_scaling_policy(
        **target(name),
        PolicyName="utilisation",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": value,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
        },
    )


def test_what_is_provisioned_follows_its_utilisation(functions):
    name, scaling = make(functions), functions.aws.client("application-autoscaling")
    scaling.register_scalable_target(**target(name), MinCapacity=1, MaxCapacity=2)
    until(lambda: functions.client.list_provisioned_concurrency_configs(FunctionName=name)[CONFIGS], bool)
    assert counts(settled(functions, name)) == [1, 1, 1]
    [shown] = scaling.describe_scalable_targets(ServiceNamespace="lambda", ResourceIds=[target(name)["ResourceId"]])[
        "ScalableTargets"
    ]
    assert shown["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency")
    alarms = track(functions, name, 0.7)["Alarms"]
    found = functions.aws.client("cloudwatch").describe_alarms(AlarmNames=[one["AlarmName"] for one in alarms])
    assert {one["MetricName"] for one in found["MetricAlarms"]} == {"ProvisionedConcurrencyUtilization"}

    def busy() -> list[int]:
        functions.call(name, Qualifier="live")  # one of one: a utilisation of 1
        return counts(described(functions, name))

    until(busy, lambda found: found == [2, 2, 2])
    of = {member: target(name)[member] for member in ("ServiceNamespace", "ResourceId")}
    activities = until(
        lambda: scaling.describe_scaling_activities(**of)["ScalingActivities"],
        lambda found: found[0]["StatusCode"] == "Successful",
    )
    assert [one["Description"] for one in activities] == [
        "Setting desired concurrency to 2.",
        "Setting desired concurrency to 1.",
    ]
    assert activities[0]["StatusMessage"].endswith("Change successfully fulfilled by lambda.")
    scaling.deregister_scalable_target(**target(name))
    functions.client.delete_function(FunctionName=name)


CONFIGS = "ProvisionedConcurrencyConfigs"


def test_what_cannot_be_scaled(functions):
    name, scaling = make(functions), functions.aws.client("application-autoscaling")
    for qualifier in ("none", "9"):
        refused = refusal(scaling.register_scalable_target, **target(name, qualifier), MinCapacity=1, MaxCapacity=2)
        assert code_of(refused) == "ValidationException"
    scaling.register_scalable_target(**target(name), MinCapacity=1, MaxCapacity=1)
    refused = refusal(track, functions=functions, name=name, value=0.7, metric="SageMakerVariantInvocationsPerInstance")
    assert code_of(refused) == "ValidationException"
    assert "use one of LambdaProvisionedConcurrencyUtilization" in str(refused)
    scaling.deregister_scalable_target(**target(name))


# ---- restarts ----


def test_what_is_provisioned_is_there_again_after_a_crash(fresh_aws, tmp_path):
    functions = Lambda(fresh_aws("--time-scale", "20"))
    name = make(functions)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    put(functions, name, 2)
    settled(functions, name)
    before = {process.pid for process in environments(functions.aws, name)}
    server = psutil.Process(json.loads((functions.aws.state / "server.json").read_text())["pid"])
    server.kill()
    server.wait(60)
    functions = Lambda(fresh_aws("--time-scale", "20"))
    assert counts(settled(functions, name)) == [2, 2, 2]
    after = {process.pid for process in environments(functions.aws, name)}
    assert len(after) == 2
    assert not after & before
    (tmp_path / "arrived").mkdir()
    with ThreadPoolExecutor(2) as pool:
        event = {"folder": str(tmp_path / "arrived")}
        running = [pool.submit(functions.call, name, event, Qualifier="live") for _ in range(2)]
        until(lambda: len(list((tmp_path / "arrived").iterdir())), lambda arrived: arrived == 2)
        refused = refusal(functions.client.invoke, FunctionName=name, Payload=b"{}")
        (tmp_path / "arrived" / "go").touch()
        assert {one.result().payload[0] for one in running} == {"provisioned-concurrency"}
    assert refused.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    functions.aws.cli("down")
    assert not environments(functions.aws, name)
