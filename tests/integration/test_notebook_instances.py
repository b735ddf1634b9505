"""Notebook instances as a user of boto3 sees them, and ``helpers.notebook_instance`` on top."""

import base64
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from helpers import cloud, costs, notebook_instance
from helpers.localaws.folder import running
from helpers.settings import Settings
from tests.conftest import LocalAws, start

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
TAGS = [{"Key": "project", "Value": "noted"}]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """An embedded AWS on which passing states are over at once."""
    running = start(tmp_path_factory.mktemp("notebooks") / "state", "--time-scale", "100000")
    yield running
    running.cli("down")


@pytest.fixture(scope="module")
def sagemaker(quick):
    return quick.client("sagemaker")


def request(aws: LocalAws, name: str, **more):
    role = aws.role("notebook", "sagemaker.amazonaws.com")
    return {"NotebookInstanceName": name, "InstanceType": "ml.t3.medium", "RoleArn": role, **more}


def hook(script: str):
    return [{"Content": base64.b64encode(script.encode()).decode()}]


def status(sagemaker, name: str) -> str:
    return str(sagemaker.describe_notebook_instance(NotebookInstanceName=name)["NotebookInstanceStatus"])


def refusal(call, **arguments) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_the_life_of_an_instance(quick, sagemaker):
    given = request(
        quick,
        "noted",
        Tags=TAGS,
        VolumeSizeInGB=50,
        RootAccess="Disabled",
        PlatformIdentifier="notebook-al2023-v1",
        InstanceMetadataServiceConfiguration={"MinimumInstanceMetadataServiceVersion": "2"},
        DefaultCodeRepository="https://github.com/example/dogs.git",
    )
    name = {"NotebookInstanceName": "noted"}
    assert sagemaker.create_notebook_instance(**given)["NotebookInstanceArn"] == f"{ARN}:notebook-instance/noted"
    sagemaker.get_waiter("notebook_instance_in_service").wait(**name)
    found = sagemaker.describe_notebook_instance(**name)
    assert {key: found[key] for key in given if key != "Tags"} == {key: given[key] for key in given if key != "Tags"}
    assert found["DirectInternetAccess"] == "Enabled"
    assert found["Url"] == "noted.notebook.us-east-1.sagemaker.aws"
    assert "FailureReason" not in found
    assert "Trouble" not in found
    assert sagemaker.list_tags(ResourceArn=found["NotebookInstanceArn"])["Tags"] == TAGS
    tagged = quick.client("resourcegroupstaggingapi").get_resources(ResourceTypeFilters=["sagemaker:notebook-instance"])
    assert [one["ResourceARN"] for one in tagged["ResourceTagMappingList"]] == [found["NotebookInstanceArn"]]

    sagemaker.stop_notebook_instance(**name)
    sagemaker.get_waiter("notebook_instance_stopped").wait(**name)
    sagemaker.update_notebook_instance(
        **name, InstanceType="ml.t3.xlarge", VolumeSizeInGB=60, DisassociateDefaultCodeRepository=True
    )
    sagemaker.get_waiter("notebook_instance_stopped").wait(**name)
    changed = sagemaker.describe_notebook_instance(**name)
    assert (changed["InstanceType"], changed["VolumeSizeInGB"]) == ("ml.t3.xlarge", 60)
    assert "DefaultCodeRepository" not in changed
    assert "cannot be decreased" in refusal(sagemaker.update_notebook_instance, **name, VolumeSizeInGB=10)[1]
    sagemaker.start_notebook_instance(**name)
    sagemaker.get_waiter("notebook_instance_in_service").wait(**name)
    sagemaker.stop_notebook_instance(**name)
    sagemaker.get_waiter("notebook_instance_stopped").wait(**name)
    sagemaker.delete_notebook_instance(**name)
    sagemaker.get_waiter("notebook_instance_deleted").wait(**name)
    assert refusal(sagemaker.describe_notebook_instance, **name) == ("ValidationException", "RecordNotFound")
    assert quick.client("resourcegroupstaggingapi").get_resources(TagFilters=[{"Key": "project"}])[
        "ResourceTagMappingList"
    ] == []  # fmt: skip


def test_states_refuse_as_aws_does_and_outlive_a_kill_and_the_quota_bites(fresh_aws, monkeypatch):
    monkeypatch.setenv("LOCALAWS_QUOTAS", '{"L-E17566B7": 1}')
    aws = fresh_aws("--time-scale", "1")
    sagemaker, name = aws.client("sagemaker"), {"NotebookInstanceName": "slow"}
    sagemaker.create_notebook_instance(**request(aws, "slow"))
    assert status(sagemaker, "slow") == "Pending"
    for call, allowed, wanted in (
        (sagemaker.stop_notebook_instance, "InService", "Stopping"),
        (sagemaker.start_notebook_instance, "Stopped, Failed", "Pending"),
        (sagemaker.delete_notebook_instance, "Stopped, Failed", "Deleting"),
        (sagemaker.update_notebook_instance, "Stopped, Failed", "Updating"),
    ):
        assert refusal(call, **name) == (
            "ValidationException",
            f"Status (Pending) not in ([{allowed}]). Unable to transition to ({wanted}) for Notebook Instance "
            f"({ARN}:notebook-instance/slow)",
        )
    assert refusal(sagemaker.create_notebook_instance, **request(aws, "slow")) == (
        "ValidationException",
        f"Cannot create a duplicate Notebook Instance ({ARN}:notebook-instance/slow)",
    )
    os.kill(json.loads(aws.cli("status").stdout)["pid"], signal.SIGKILL)
    while running(aws.state):
        time.sleep(0.05)
    start(aws.state, "--time-scale", "100000")
    assert status(sagemaker, "slow") == "InService"
    code, message = refusal(sagemaker.create_presigned_notebook_instance_url, **name)
    assert code == "NotImplemented"
    assert "No Jupyter server" in message

    code, message = refusal(sagemaker.create_notebook_instance, **request(aws, "second"))
    assert code == "ResourceLimitExceeded"
    assert "'ml.t3.medium for notebook instance usage' is 1 Instances, with current utilization of 1" in message
    sagemaker.stop_notebook_instance(**name)
    sagemaker.create_notebook_instance(**request(aws, "second"))
    assert refusal(sagemaker.start_notebook_instance, **name)[0] == "ResourceLimitExceeded"


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"InstanceType": "ml.teapot"}, "ValidationException", "at 'instanceType' failed to satisfy constraint"),
        ({"VolumeSizeInGB": 4}, "ValidationException", "greater than or equal to 5"),
        ({"NotebookInstanceName": "a_b"}, "ValidationException", "regular expression"),
        ({"PlatformIdentifier": "notebook-al2-v3"}, "ValidationException", "notebook-al2-v3 has ended"),
        ({"LifecycleConfigName": "nobody"}, "ValidationException", "does not exist"),
        ({"RoleArn": "arn:aws:iam::123456789012:role/nobody"}, "ValidationException", "Could not assume role"),
        ({"DirectInternetAccess": "Disabled"}, "ValidationException", "SubnetId"),
        ({"AcceleratorTypes": ["ml.eia2.medium"]}, "NotImplemented", "AcceleratorTypes"),
    ],
)
def test_what_cannot_be_is_refused(quick, changes, code, says):
    unchecked = boto3.Session(
        quick.environment["AWS_ACCESS_KEY_ID"], quick.environment["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    ).client("sagemaker", endpoint_url=quick.url, config=Config(parameter_validation=False))
    found = refusal(unchecked.create_notebook_instance, **{**request(quick, "refused"), **changes})
    assert found[0] == code
    assert says in found[1]


def test_a_role_that_trusts_somebody_else_is_refused(quick, sagemaker):
    other = quick.role("not-for-notebooks", "lambda.amazonaws.com")
    assert "Could not assume role" in refusal(
        sagemaker.create_notebook_instance, **{**request(quick, "refused"), "RoleArn": other}
    )[1]  # fmt: skip


def test_instances_are_listed_filtered_and_in_pages(quick, sagemaker):
    for number in range(3):
        sagemaker.create_notebook_instance(**request(quick, f"listed-{number}"))
    sagemaker.stop_notebook_instance(NotebookInstanceName="listed-1")
    pages = list(
        sagemaker.get_paginator("list_notebook_instances").paginate(NameContains="listed-", MaxResults=2)
    )  # fmt: skip
    assert [one["NotebookInstanceName"] for page in pages for one in page["NotebookInstances"]] == [
        "listed-0",
        "listed-1",
        "listed-2",
    ]
    assert len(pages) == 2
    stopped = sagemaker.list_notebook_instances(NameContains="listed-", StatusEquals="Stopped")["NotebookInstances"]
    assert [one["NotebookInstanceName"] for one in stopped] == ["listed-1"]
    newest = sagemaker.list_notebook_instances(
        NameContains="listed-", SortBy="CreationTime", SortOrder="Descending"
    )["NotebookInstances"]  # fmt: skip
    assert newest[0]["NotebookInstanceName"] == "listed-2"
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    for member, wanted in (("CreationTimeAfter", 3), ("CreationTimeBefore", 0), ("LastModifiedTimeBefore", 0)):
        found = sagemaker.list_notebook_instances(NameContains="listed-", **{member: long_ago})["NotebookInstances"]
        assert len(found) == wanted


def test_one_of_many_who_create_the_same_instance_succeeds(quick, sagemaker):
    def create(_):
        try:
            sagemaker.create_notebook_instance(**wanted)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "created"

    wanted = request(quick, "raced")
    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(create, range(4)))
    assert answers == ["ValidationException"] * 3 + ["created"]


def test_lifecycle_configurations(quick, sagemaker):
    name = {"NotebookInstanceLifecycleConfigName": "scripts"}
    arn = f"{ARN}:notebook-instance-lifecycle-config/scripts"
    made = sagemaker.create_notebook_instance_lifecycle_config(**name, OnCreate=hook("#!/bin/bash\n"), Tags=TAGS)
    assert made["NotebookInstanceLifecycleConfigArn"] == arn
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == TAGS
    found = sagemaker.describe_notebook_instance_lifecycle_config(**name)
    assert found["OnCreate"] == hook("#!/bin/bash\n")
    assert "OnStart" not in found
    sagemaker.update_notebook_instance_lifecycle_config(**name, OnStart=hook("#!/bin/bash\ntrue\n"))
    found = sagemaker.describe_notebook_instance_lifecycle_config(**name)
    assert (found["OnCreate"], found["OnStart"]) == (hook("#!/bin/bash\n"), hook("#!/bin/bash\ntrue\n"))
    assert found["LastModifiedTime"] > found["CreationTime"]
    listed = sagemaker.list_notebook_instance_lifecycle_configs(NameContains="script", SortBy="Name")
    assert [one["NotebookInstanceLifecycleConfigArn"] for one in listed["NotebookInstanceLifecycleConfigs"]] == [arn]
    assert refusal(sagemaker.create_notebook_instance_lifecycle_config, **name) == (
        "ValidationException",
        f"Unable to create Notebook Instance Lifecycle Config {arn}. (Details: Notebook Instance Lifecycle Config "
        "already exists.)",
    )
    other = {"NotebookInstanceLifecycleConfigName": "other"}
    broken, long = [{"Content": "no base64!"}], [{"Content": "A" * 16_388}]
    assert "base64" in refusal(sagemaker.create_notebook_instance_lifecycle_config, **other, OnStart=broken)[1]
    assert "16384" in refusal(sagemaker.create_notebook_instance_lifecycle_config, **other, OnStart=long)[1]
    sagemaker.delete_notebook_instance_lifecycle_config(**name)
    for call in ("describe", "delete", "update"):
        refused = refusal(getattr(sagemaker, f"{call}_notebook_instance_lifecycle_config"), **name)
        assert refused == (
            "ValidationException",
            f"Unable to {call} Notebook Instance Lifecycle Config '{arn}'. (Details: Notebook Instance Lifecycle "
            "Config does not exist.)",
        )


def test_a_script_that_cannot_run_fails_the_start(quick, sagemaker):
    broken = {"NotebookInstanceLifecycleConfigName": "broken"}
    sagemaker.create_notebook_instance_lifecycle_config(**broken, OnStart=hook("#!/bin/bash\nif true; then\n"))
    sagemaker.create_notebook_instance(**request(quick, "failing", LifecycleConfigName="broken"))
    found = sagemaker.describe_notebook_instance(NotebookInstanceName="failing")
    assert found["NotebookInstanceStatus"] == "Failed"
    assert found["FailureReason"] == (
        f"Notebook Instance Lifecycle Config '{ARN}:notebook-instance-lifecycle-config/broken' for Notebook Instance "
        f"'{ARN}:notebook-instance/failing' took longer than 5 minutes. Please check your CloudWatch logs for more "
        "details if your Notebook Instance has Internet access."
    )
    events = quick.client("logs").get_log_events(
        logGroupName="/aws/sagemaker/NotebookInstances", logStreamName="failing/LifecycleConfigOnStart"
    )["events"]
    assert "syntax error" in events[0]["message"]
    sagemaker.update_notebook_instance_lifecycle_config(**broken, OnStart=hook("#!/bin/bash\ntrue\n"))
    sagemaker.start_notebook_instance(NotebookInstanceName="failing")
    found = sagemaker.describe_notebook_instance(NotebookInstanceName="failing")
    assert (found["NotebookInstanceStatus"], found.get("FailureReason")) == ("InService", None)


def test_the_helper_makes_one_instance_however_often_it_is_called(quick, monkeypatch):
    for name, value in quick.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    there = cloud.Cloud(
        Settings.of(project="helped"), boto3.Session(region_name="us-east-1"), "123456789012", "tester"
    )  # fmt: skip
    role, name = quick.role("notebook", "sagemaker.amazonaws.com"), notebook_instance.name_of(there)
    first = notebook_instance.ensure_notebook_instance(there, role)
    assert first["NotebookInstanceStatus"] == "InService"
    assert (first["InstanceType"], first["VolumeSizeInGB"], first["RootAccess"]) == ("ml.t3.medium", 50, "Disabled")
    assert first["PlatformIdentifier"] == "notebook-al2023-v1"
    assert first["InstanceMetadataServiceConfiguration"] == {"MinimumInstanceMetadataServiceVersion": "2"}
    assert notebook_instance.ensure_notebook_instance(there, role)["CreationTime"] == first["CreationTime"]
    lines = {line.what: line for line in costs.bill(there)}
    assert set(lines) == {f"notebook instance {name}", f"notebook instance {name}, volume"}
    assert all(line.usd > 0 for line in lines.values())
    notebook_instance.stop_notebook_instance(there, name)
    again = notebook_instance.ensure_notebook_instance(there, role, instance_type="ml.t3.xlarge", volume_gb=20)
    assert (again["InstanceType"], again["VolumeSizeInGB"]) == ("ml.t3.xlarge", 50)
    assert again["NotebookInstanceStatus"] == "InService"
    assert notebook_instance.delete_notebook_instance(there, name)
    assert not notebook_instance.delete_notebook_instance(there, name)
    assert notebook_instance.delete_lifecycle_config(there, name)
    assert not notebook_instance.delete_lifecycle_config(there, name)


def test_the_helper_says_why_an_instance_failed(quick, monkeypatch):
    for name, value in quick.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(notebook_instance, "ON_START", "#!/bin/bash\nif {name} {stop_when_idle}\n")
    there = cloud.Cloud(
        Settings.of(project="helpless"), boto3.Session(region_name="us-east-1"), "123456789012", "tester"
    )  # fmt: skip
    with pytest.raises(
        notebook_instance.NotebookInstanceFailed, match=r"helpless-notebook.*took longer than 5 minutes"
    ):
        notebook_instance.ensure_notebook_instance(there, quick.role("notebook", "sagemaker.amazonaws.com"))
