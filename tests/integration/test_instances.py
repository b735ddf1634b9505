"""EC2 instances that run: launch, user data, stop, start, reboot, terminate, and every refusal."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from helpers.localaws.folder import running
from tests.conftest import LocalAws
from tests.instances import Instances, processes_of


@pytest.fixture(scope="module")
def instances(aws: LocalAws) -> Instances:
    return Instances(aws)


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


# ---- launching ----


def test_user_data_runs_once_and_the_instance_stays_until_it_is_terminated(instances: Instances) -> None:
    identifier = instances.launch("echo it is $((6 * 7)); pwd > /opt/where; cat /opt/where; nohup sleep 300 &")
    assert instances.state(identifier) in ("pending", "running")
    instances.wait(identifier, "running")
    instances.said(identifier, "it is 42")
    console = instances.said(identifier, "user data finished")
    assert "/opt/where" in instances.user_data(identifier)
    assert str(instances.aws.state) not in console.split("it is 42")[1], "output reads as on AWS"
    assert processes_of(identifier), "what user data leaves in the background goes on"
    answer = instances.ec2.terminate_instances(InstanceIds=[identifier])["TerminatingInstances"][0]
    assert answer["PreviousState"] == {"Code": 16, "Name": "running"}
    assert answer["CurrentState"]["Name"] in ("shutting-down", "terminated")
    ended = instances.wait(identifier, "terminated")
    assert ended["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert ended["StateTransitionReason"].startswith("User initiated (20")
    assert ended["StateTransitionReason"].endswith(" GMT)")
    assert not processes_of(identifier)
    assert "it is 42" in instances.console(identifier), "the console outlives the instance"


def test_boto3s_waiters_and_status_checks(instances: Instances) -> None:
    identifier = instances.launch()

    def wait(state: str) -> None:
        waiter = instances.ec2.get_waiter(f"instance_{state}")
        waiter.wait(InstanceIds=[identifier], WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})

    def statuses() -> list[dict[str, Any]]:
        found = instances.ec2.describe_instance_status(InstanceIds=[identifier])["InstanceStatuses"]
        return list(found)

    wait("running")
    assert statuses()[0]["InstanceStatus"]["Status"] in ("initializing", "ok")
    wait("status_ok")
    assert statuses()[0]["SystemStatus"]["Status"] == "ok"
    instances.ec2.stop_instances(InstanceIds=[identifier])
    wait("stopped")
    assert statuses() == []
    instances.ec2.terminate_instances(InstanceIds=[identifier])
    wait("terminated")


@pytest.mark.parametrize(("behaviour", "end"), [("terminate", "terminated"), ("stop", "stopped")])
def test_an_instance_that_shuts_itself_down(instances: Instances, behaviour: str, end: str) -> None:
    identifier = instances.launch(
        "trap 'echo last words' EXIT; sudo shutdown -h now; sleep 300", InstanceInitiatedShutdownBehavior=behaviour
    )
    attribute = "instanceInitiatedShutdownBehavior"
    described = instances.ec2.describe_instance_attribute(InstanceId=identifier, Attribute=attribute)
    assert described["InstanceInitiatedShutdownBehavior"] == {"Value": behaviour}
    ended = instances.wait(identifier, end)
    assert ended["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert ended["StateTransitionReason"] == ""
    assert "last words" in instances.console(identifier), "the system ends processes with SIGTERM first"
    instances.ec2.terminate_instances(InstanceIds=[identifier])
    instances.wait(identifier, "terminated")


def test_any_interpreter_runs_and_python_is_the_one_with_torch(instances: Instances) -> None:
    script = "#!/usr/bin/env python3\nimport importlib.util as u\nprint('torch', bool(u.find_spec('torch')))\n"
    identifier = instances.launch(UserData=script)
    instances.said(identifier, "torch True")
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_what_is_no_script_is_reported_and_a_failing_script_too(instances: Instances) -> None:
    plain, failing = instances.launch(UserData="hello"), instances.launch("exit 3")
    assert "Unhandled non-multipart" in instances.said(plain, "hello")
    instances.said(failing, "exit code 3")
    instances.ec2.terminate_instances(InstanceIds=[plain, failing])


def test_packages_are_honestly_there_or_not(instances: Instances) -> None:
    script = "sudo -n dnf install -y python3 && echo python: fine; yum -y install no-such-thing || echo other: missing"
    identifier = instances.launch(script)
    console = instances.said(identifier, "user data finished")
    assert "python3 is already provided by this machine" in console
    assert "python: fine" in console
    assert "other: missing" in console
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_a_shutdown_may_be_put_off_and_cancelled(instances: Instances) -> None:
    identifier = instances.launch("shutdown -h +60; shutdown -c")
    console = instances.said(identifier, "the shutdown is cancelled")
    assert "System is powering off in 3600 s" in console
    assert instances.state(identifier) == "running"
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_several_at_once_with_tags_and_volumes(instances: Instances) -> None:
    specifications = [
        {"ResourceType": kind, "Tags": [{"Key": "project", "Value": "several"}]} for kind in ("instance", "volume")
    ]
    disk = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30, "Encrypted": True, "VolumeType": "gp3"}}
    request = instances.request(TagSpecifications=specifications, BlockDeviceMappings=[disk])
    launched = instances.ec2.run_instances(**{**request, "MaxCount": 2})
    identifiers = [one["InstanceId"] for one in launched["Instances"]]
    assert len(identifiers) == 2
    by_tag = [{"Name": "tag:project", "Values": ["several"]}]
    found = instances.ec2.describe_instances(Filters=by_tag)["Reservations"]
    assert {one["InstanceId"] for each in found for one in each["Instances"]} == set(identifiers)
    volumes = instances.ec2.describe_volumes(Filters=by_tag)["Volumes"]
    assert [(one["Size"], one["Encrypted"]) for one in volumes] == [(30, True)] * 2
    tagging = instances.aws.client("resourcegroupstaggingapi")
    tags = [{"Key": "project", "Values": ["several"]}]
    kinds = [
        one["ResourceARN"].split(":")[5].split("/")[0]
        for one in tagging.get_resources(TagFilters=tags)["ResourceTagMappingList"]
    ]
    assert sorted(kinds) == ["instance", "instance", "volume", "volume"]
    instances.ec2.terminate_instances(InstanceIds=identifiers)
    for identifier in identifiers:
        instances.wait(identifier, "terminated")
    assert instances.ec2.describe_volumes(Filters=by_tag)["Volumes"] == []
    assert tagging.get_resources(TagFilters=tags)["ResourceTagMappingList"] == []


def test_a_client_token_launches_once(instances: Instances) -> None:
    request = instances.request(ClientToken="just-once")
    first, again = instances.ec2.run_instances(**request), instances.ec2.run_instances(**request)
    identifier = first["Instances"][0]["InstanceId"]
    assert again["Instances"][0]["InstanceId"] == identifier
    other = {**request, "InstanceType": "c5.xlarge"}
    assert refused(instances.ec2.run_instances, **other)[0] == "IdempotentParameterMismatch"
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_a_request_without_a_client_token_launches_once_too(instances: Instances) -> None:
    ec2, group = instances.aws.client("ec2"), "without-token"
    ec2.create_security_group(GroupName=group, Description="of these only")

    def without_token(params: dict[str, Any], **_: Any) -> None:  # boto3 makes one of its own
        del params["body"]["ClientToken"]

    ec2.meta.events.register("before-call.ec2.RunInstances", without_token)
    launched = ec2.run_instances(**instances.request(SecurityGroups=[group]))["Instances"]
    there = ec2.describe_instances(Filters=[{"Name": "instance.group-name", "Values": [group]}])["Reservations"]
    identifiers = [one["InstanceId"] for each in there for one in each["Instances"]]
    ec2.terminate_instances(InstanceIds=identifiers)
    assert identifiers == [one["InstanceId"] for one in launched]


def test_spot_instances_are_of_the_spot_market(instances: Instances) -> None:
    market = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.05", "SpotInstanceType": "one-time"}}
    identifier = instances.running(InstanceMarketOptions=market)
    assert instances.describe(identifier)["InstanceLifecycle"] == "spot"
    request = instances.ec2.describe_spot_instance_requests(Filters=[{"Name": "instance-id", "Values": [identifier]}])[
        "SpotInstanceRequests"
    ][0]
    assert (request["State"], request["Status"]["Code"], request["SpotPrice"]) == ("active", "fulfilled", "0.05")
    assert instances.describe(identifier)["SpotInstanceRequestId"] == request["SpotInstanceRequestId"]
    assert refused(instances.ec2.stop_instances, InstanceIds=[identifier])[0] == "UnsupportedOperation"
    with pytest.raises(ClientError, match="Call RunInstances with InstanceMarketOptions"):
        instances.ec2.request_spot_instances(InstanceCount=1)
    instances.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request["SpotInstanceRequestId"]])
    assert instances.state(identifier) == "running", "cancelling a request leaves its instance"
    instances.ec2.terminate_instances(InstanceIds=[identifier])


# ---- stop, start, reboot ----


def test_a_disk_outlives_a_stop_and_user_data_does_not_run_again(instances: Instances) -> None:
    identifier = instances.launch(
        "echo first boot; echo kept > /root/kept", IamInstanceProfile={"Name": instances.profile("ec2-disk")}
    )
    instances.said(identifier, "user data finished")
    assert refused(instances.ec2.start_instances, InstanceIds=["i-00000000"])[0] == "InvalidInstanceID.NotFound"
    stopping = instances.ec2.stop_instances(InstanceIds=[identifier])["StoppingInstances"][0]
    assert stopping["PreviousState"]["Name"] == "running"
    instances.wait(identifier, "stopped")
    assert refused(instances.ec2.reboot_instances, InstanceIds=[identifier])[0] == "IncorrectInstanceState"
    started = instances.ec2.start_instances(InstanceIds=[identifier])["StartingInstances"][0]
    assert started["PreviousState"]["Name"] == "stopped"
    instances.wait(identifier, "running")
    assert instances.run_command(identifier, "cat /root/kept")["StandardOutputContent"] == "kept\n"
    assert instances.console(identifier).count("first boot") == 1
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_a_reboot_ends_processes_and_leaves_the_instance_running(instances: Instances) -> None:
    identifier = instances.launch("echo once; sleep 300")
    instances.said(identifier, "once")
    instances.ec2.reboot_instances(InstanceIds=[identifier])
    console = instances.said(identifier, "Restarting system")
    instances.left_alone(identifier)
    assert instances.state(identifier) == "running"
    assert console.count("once") == 1
    instances.ec2.terminate_instances(InstanceIds=[identifier])


def test_a_stopped_instance_can_be_terminated(instances: Instances) -> None:
    identifier = instances.running()
    instances.ec2.stop_instances(InstanceIds=[identifier])
    instances.wait(identifier, "stopped")
    instances.ec2.terminate_instances(InstanceIds=[identifier])
    instances.wait(identifier, "terminated")
    refusal = refused(instances.ec2.start_instances, InstanceIds=[identifier])
    assert refusal == (
        "IncorrectInstanceState",
        f"The instance '{identifier}' is not in a state from which it can be started.",
    )


def test_an_instance_publishes_metrics(instances: Instances) -> None:
    identifier = instances.running("while true; do :; done", Monitoring={"Enabled": True})
    cloudwatch, metrics = instances.aws.client("cloudwatch"), []
    until = time.monotonic() + 60
    while len(metrics) < 4:
        assert time.monotonic() < until
        time.sleep(0.2)
        metrics = cloudwatch.list_metrics(
            Namespace="AWS/EC2", Dimensions=[{"Name": "InstanceId", "Value": identifier}]
        )["Metrics"]
    now = time.time()
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "InstanceId", "Value": identifier}],
        StartTime=now - 600,
        EndTime=now + 60,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    assert 0 < points[0]["Maximum"] <= 100
    instances.ec2.terminate_instances(InstanceIds=[identifier])
    instances.wait(identifier, "terminated")


# ---- groups, images, refusals ----


def test_a_security_group_cannot_go_while_an_instance_is_in_it(instances: Instances) -> None:
    group = instances.ec2.create_security_group(GroupName="no-ingress", Description="nothing comes in")["GroupId"]
    identifier = instances.running(SecurityGroupIds=[group])
    assert instances.describe(identifier)["SecurityGroups"] == [{"GroupId": group, "GroupName": "no-ingress"}]
    assert refused(instances.ec2.delete_security_group, GroupId=group) == (
        "DependencyViolation",
        f"resource {group} has a dependent object",
    )
    instances.ec2.terminate_instances(InstanceIds=[identifier])
    instances.wait(identifier, "terminated")
    instances.ec2.delete_security_group(GroupId=group)
    assert refused(instances.ec2.delete_security_group, GroupId=group)[0] == "InvalidGroup.NotFound"


def test_images_are_todays_and_the_parameters_name_them(instances: Instances) -> None:
    image = instances.ec2.describe_images(ImageIds=[instances.ami])["Images"][0]
    assert image["Name"].startswith("al2023-ami-2023.2026")
    assert (image["OwnerId"], image["State"], image["Architecture"]) == ("137112412989", "available", "x86_64")
    assert image["CreationDate"].endswith("Z")
    by_name = [{"Name": "name", "Values": ["al2023-ami-2023.*-x86_64"]}, {"Name": "state", "Values": ["available"]}]
    newest = instances.ec2.describe_images(Owners=["amazon"], Filters=by_name)["Images"]
    assert [one["ImageId"] for one in newest] == [instances.ami]
    path = "/aws/service/deeplearning/ami/x86_64"
    deep = instances.ssm.get_parameters_by_path(Path=path, Recursive=True)["Parameters"]
    assert any("oss-nvidia-driver-gpu-pytorch-2.14-ubuntu-24.04" in one["Name"] for one in deep)
    found = instances.ec2.describe_images(ImageIds=[one["Value"] for one in deep])["Images"]
    assert all(one["Name"].startswith("Deep Learning AMI OSS Nvidia Driver GPU PyTorch") for one in found)
    assert refused(instances.ssm.get_parameter, Name=f"{path}/nothing")[0] == "ParameterNotFound"


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (
            {"ImageId": "ami-0123456789abcdef0"},
            "InvalidAMIID.NotFound",
            "The image id '[ami-0123456789abcdef0]' does not exist",
        ),
        ({"ImageId": "image"}, "InvalidAMIID.Malformed", 'Invalid id: "image"'),
        ({"InstanceType": "c5.huge"}, "InvalidParameterValue", "Invalid value 'c5.huge' for InstanceType."),
        ({"InstanceType": "t4g.small"}, "InvalidParameterValue", "does not match the architecture 'x86_64'"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound", "The key pair 'nobody' does not exist"),
        ({"SubnetId": "subnet-0123"}, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-0123' does not exist"),
        ({"SecurityGroupIds": ["sg-0123"]}, "InvalidGroup.NotFound", "The security group 'sg-0123' does not exist"),
        (
            {"SecurityGroups": ["none"]},
            "InvalidGroup.NotFound",
            "The security group 'none' does not exist in default VPC",
        ),
        ({"IamInstanceProfile": {"Name": "none"}}, "InvalidParameterValue", "Invalid IAM Instance Profile name"),
        ({"UserData": "#!" + "x" * 16_384}, "InvalidParameterValue", "User data is limited to 16384 bytes"),
        ({"UserData": "#cloud-config\npackages: []"}, "NotImplemented", "user data in the format '#cloud-config'"),
        ({"HibernationOptions": {"Configured": True}}, "NotImplemented", "RunInstances with HibernationOptions"),
        ({"MinCount": 2}, "InvalidParameterValue", "MinCount"),
        ({"DryRun": True}, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."),
    ],
)
def test_what_is_wrong_is_refused_in_awss_words(
    instances: Instances, changes: dict[str, Any], code: str, message: str
) -> None:
    refusal = refused(instances.ec2.run_instances, **{**instances.request(), **changes})
    assert refusal[0] == code
    assert message in refusal[1]


def test_instances_that_do_not_exist(instances: Instances) -> None:
    unknown = "i-0123456789abcdef0"
    for call in (
        instances.ec2.terminate_instances,
        instances.ec2.stop_instances,
        instances.ec2.describe_instances,
        instances.ec2.describe_instance_status,
    ):
        assert refused(call, InstanceIds=[unknown]) == (
            "InvalidInstanceID.NotFound",
            f"The instance ID '{unknown}' does not exist",
        )
    assert refused(instances.ec2.stop_instances, InstanceIds=["mine"])[0] == "InvalidInstanceID.Malformed"
    assert refused(instances.ec2.get_console_output, InstanceId=unknown)[0] == "InvalidInstanceID.NotFound"


def test_attributes_change_one_at_a_time_and_some_only_when_stopped(instances: Instances) -> None:
    identifier, ec2 = instances.running("true"), instances.ec2
    change = partial(ec2.modify_instance_attribute, InstanceId=identifier)
    assert refused(change, InstanceType={"Value": "c5.xlarge"})[0] == "IncorrectInstanceState"
    assert refused(change)[0] == "InvalidParameterCombination"
    two = {"DisableApiStop": {"Value": True}, "SourceDestCheck": {"Value": False}}
    assert "disableApiStop,sourceDestCheck" in refused(change, **two)[1]
    assert refused(change, Kernel={"Value": "aki-1"})[0] == "NotImplemented"
    group = ec2.create_security_group(GroupName="another", Description="another")["GroupId"]
    change(Groups=[group])
    assert instances.describe(identifier)["SecurityGroups"] == [{"GroupId": group, "GroupName": "another"}]
    assert refused(ec2.delete_security_group, GroupId=group)[0] == "DependencyViolation"
    ec2.modify_instance_metadata_options(InstanceId=identifier, HttpTokens="optional")
    options = instances.describe(identifier)["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpEndpoint"]) == ("optional", "enabled")
    change(InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    ec2.stop_instances(InstanceIds=[identifier])
    instances.wait(identifier, "stopped")
    change(InstanceType={"Value": "c5.xlarge"})
    change(UserData={"Value": b"#!/bin/sh\necho other"})
    assert instances.describe(identifier)["InstanceType"] == "c5.xlarge"
    assert instances.user_data(identifier) == "#!/bin/sh\necho other"
    found = ec2.describe_instance_attribute(InstanceId=identifier, Attribute="instanceInitiatedShutdownBehavior")
    assert found["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    ec2.terminate_instances(InstanceIds=[identifier])
    instances.wait(identifier, "terminated")
    ec2.delete_security_group(GroupId=group)


def test_the_tags_of_an_instance_profile_are_listed(instances: Instances) -> None:
    tags = [{"Key": "project", "Value": "profiles"}]
    instances.iam.create_instance_profile(InstanceProfileName="tagged-profile", Tags=tags)
    assert instances.iam.list_instance_profile_tags(InstanceProfileName="tagged-profile")["Tags"] == tags
    assert refused(instances.iam.list_instance_profile_tags, InstanceProfileName="none")[0] == "NoSuchEntity"


def test_protected_instances_stay(instances: Instances) -> None:
    identifier = instances.running(DisableApiTermination=True)
    assert refused(instances.ec2.terminate_instances, InstanceIds=[identifier])[0] == "OperationNotPermitted"
    instances.ec2.modify_instance_attribute(InstanceId=identifier, DisableApiTermination={"Value": False})
    instances.ec2.terminate_instances(InstanceIds=[identifier])
    instances.wait(identifier, "terminated")


# ---- the server's end ----


def test_neither_a_killed_nor_a_stopped_server_leaves_a_process(
    fresh_aws: Callable[..., LocalAws],
) -> None:
    aws = fresh_aws("--time-scale", "20")
    before = Instances(aws)
    identifier = before.launch(
        "echo here; echo on disk > /root/note; sleep 300", IamInstanceProfile={"Name": before.profile("killed")}
    )
    before.said(identifier, "here")
    os.kill(json.loads((aws.state / "server.json").read_text())["pid"], signal.SIGKILL)
    while running(aws.state):  # until then 'up' would find it
        time.sleep(0.05)
    after = Instances(fresh_aws("--time-scale", "20"))
    assert not processes_of(identifier)
    found = after.describe(identifier)
    assert (found["State"]["Name"], found["StateReason"]["Code"]) == ("stopped", "Server.InternalError")
    after.ec2.start_instances(InstanceIds=[identifier])
    after.wait(identifier, "running")
    assert after.run_command(identifier, "cat /root/note")["StandardOutputContent"] == "on disk\n"
    aws.cli("down")
    assert not processes_of(identifier)
