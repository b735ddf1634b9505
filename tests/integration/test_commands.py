"""Systems Manager's Run Command on EC2 instances."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws
from tests.instances import Instances, processes_of


@pytest.fixture(scope="module")
def instances(aws: LocalAws) -> Instances:
    return Instances(aws)


@pytest.fixture(scope="module")
def identifier(instances: Instances) -> str:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "project", "Value": "commanded"}]}]
    return instances.running(IamInstanceProfile={"Name": instances.profile("commanded")}, TagSpecifications=tags)


def test_a_command_runs_and_its_outputs_are_kept_apart(instances: Instances, identifier: str) -> None:
    done = instances.run_command(identifier, "echo out; echo $AWS_SSM_INSTANCE_ID", "echo err >&2")
    assert (done["Status"], done["ResponseCode"]) == ("Success", 0)
    assert done["StandardOutputContent"].split() == ["out", identifier]
    assert done["StandardErrorContent"] == "err\n"
    assert done["ExecutionElapsedTime"].startswith("PT")


def test_a_failing_command(instances: Instances, identifier: str) -> None:
    done = instances.run_command(identifier, "echo before", "exit 7")
    assert (done["Status"], done["StatusDetails"], done["ResponseCode"]) == ("Failed", "Failed", 7)
    assert done["StandardOutputContent"] == "before\n"
    assert done["StandardErrorContent"] == "failed to run commands: exit status 7"


def test_commands_by_tag_in_a_folder_with_a_time_limit(instances: Instances, identifier: str) -> None:
    ssm = instances.ssm

    def send(comment: str, **parameters: list[str]) -> Any:
        targets = [{"Key": "tag:project", "Values": ["commanded"]}]
        given = {"Targets": targets, "Parameters": parameters, "Comment": comment}
        return ssm.send_command(DocumentName="AWS-RunShellScript", **given)["Command"]

    def listed(command: Any) -> Any:
        return ssm.list_command_invocations(CommandId=command["CommandId"], Details=True)["CommandInvocations"]

    patience = {"Delay": 1, "MaxAttempts": 60}
    waiter = ssm.get_waiter("command_executed")
    short = send("short", commands=["pwd"], workingDirectory=["/opt"])
    waiter.wait(CommandId=short["CommandId"], InstanceId=identifier, WaiterConfig=patience)
    assert listed(short)[0]["CommandPlugins"][0]["Output"] == "/opt\n"
    sent = send("too long", commands=["sleep 300"], executionTimeout=["1"])
    with pytest.raises(Exception, match="TimedOut"):
        waiter.wait(CommandId=sent["CommandId"], InstanceId=identifier, WaiterConfig=patience)
    assert [(one["InstanceId"], one["Status"], one["Comment"]) for one in listed(sent)] == [
        (identifier, "TimedOut", "too long")
    ]
    command = ssm.list_commands(CommandId=sent["CommandId"])["Commands"][0]
    assert (command["TargetCount"], command["CompletedCount"], command["Status"]) == (1, 1, "TimedOut")


def test_a_command_can_be_cancelled(instances: Instances, identifier: str) -> None:
    ssm = instances.ssm
    sent = ssm.send_command(
        InstanceIds=[identifier], DocumentName="AWS-RunShellScript", Parameters={"commands": ["sleep 300"]}
    )["Command"]["CommandId"]
    while not processes_of(identifier):
        assert ssm.list_commands(CommandId=sent)["Commands"][0]["Status"] in ("Pending", "InProgress")
    with pytest.raises(ClientError) as refused:
        ssm.cancel_command(CommandId=sent, InstanceIds=["i-00000000000000000"])
    assert refused.value.response["Error"]["Code"] == "InvalidInstanceId"
    ssm.cancel_command(CommandId=sent)
    with pytest.raises(Exception, match="Cancelled"):
        ssm.get_waiter("command_executed").wait(
            CommandId=sent, InstanceId=identifier, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    instances.left_alone(identifier)


def test_only_managed_instances_are_reached(instances: Instances, identifier: str) -> None:
    bare = instances.running()
    managed = [one["InstanceId"] for one in instances.ssm.describe_instance_information()["InstanceInformationList"]]
    assert identifier in managed
    assert bare not in managed
    send = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}
    with pytest.raises(ClientError, match="not in a valid state for account") as refused:
        instances.ssm.send_command(InstanceIds=[bare], **send)
    assert refused.value.response["Error"]["Code"] == "InvalidInstanceId"
    with pytest.raises(ClientError, match="does not implement SendCommand of the document AWS-ApplyAnsiblePlaybooks"):
        instances.ssm.send_command(InstanceIds=[identifier], DocumentName="AWS-ApplyAnsiblePlaybooks")
    with pytest.raises(ClientError, match="InvocationDoesNotExist"):
        instances.ssm.get_command_invocation(CommandId="0" * 36, InstanceId=identifier)
    instances.ec2.terminate_instances(InstanceIds=[bare, identifier])
