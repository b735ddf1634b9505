"""Requests about training jobs: what is refused and how, lists, tags, deletion."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from helpers.localaws.engines.training_host import has_toolkit
from tests.conftest import LocalAws
from tests.training_jobs import BUCKET, Gate, Jobs, channel

Request = dict[str, Any]


@pytest.fixture(scope="module")
def jobs(aws: LocalAws) -> Jobs:
    made = Jobs(aws)
    made.put("data/file", "x")
    return made


def refusal(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def put(path: str, value: Any) -> Callable[[Request], None]:
    """A change of a request: the member at ``path`` becomes ``value``; ``None`` removes it."""

    def change(request: Request) -> None:
        *parents, last = path.split(".")
        for name in parents:
            request = request.setdefault(name, {}) if isinstance(request, dict) else request[int(name)]
        if value is None:
            del request[last]
        else:
            request[last] = value

    return change


S3 = "InputDataConfig.0.DataSource.S3DataSource"
EFS = {"FileSystemId": "fs-12345678901", "FileSystemAccessMode": "ro", "FileSystemType": "EFS", "DirectoryPath": "/"}
RULE = [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]

# The member that is changed, its value, the error's code, and a part of its message.
REFUSED = [
    ("RoleArn", "arn:aws:iam::123456789012:role/nobody", "ValidationException", "Could not assume role arn:aws:iam::1"),
    ("RoleArn", "not-an-arn-but-long-enough", "ValidationException", "failed to satisfy constraint"),
    ("TrainingJobName", "under_score", "ValidationException", "at 'trainingJobName' failed to satisfy constraint"),
    ("AlgorithmSpecification.TrainingImage", "pytorch", "ValidationException", "Invalid image URI pytorch."),
    ("AlgorithmSpecification.TrainingImage", None, "ValidationException", "TrainingImage is required"),
    (
        "AlgorithmSpecification.TrainingImage",
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        "NotImplemented",
        "It runs the SageMaker PyTorch training images",
    ),
    (
        "AlgorithmSpecification.TrainingImage",
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6",
        "NotImplemented",
        "pytorch-inference",
    ),
    ("AlgorithmSpecification.AlgorithmName", "mine", "NotImplemented", "AlgorithmName"),
    ("AlgorithmSpecification.TrainingInputMode", "Pipe", "NotImplemented", "input mode Pipe"),
    (
        "AlgorithmSpecification.MetricDefinitions",
        [{"Name": "m", "Regex": "(["}],
        "ValidationException",
        "Invalid regex",
    ),
    ("AlgorithmSpecification.MetricDefinitions", [{"Name": "m", "Regex": "a"}], "ValidationException", "has no group"),
    (
        "AlgorithmSpecification.MetricDefinitions",
        [{"Name": f"m{number}", "Regex": "(a)"} for number in range(41)],
        "ValidationException",
        "length less than or equal to 40",
    ),
    ("ResourceConfig.InstanceType", "ml.no.such", "ValidationException", "enum value set"),
    ("ResourceConfig.InstanceType", None, "ValidationException", "InstanceType is required"),
    ("ResourceConfig.InstanceCount", 0, "ValidationException", "InstanceCount is required"),
    ("ResourceConfig.InstanceCount", 21, "ResourceLimitExceeded", "is 20 Instances"),
    ("ResourceConfig.KeepAlivePeriodInSeconds", 60, "NotImplemented", "warm pools"),
    (
        "ResourceConfig.InstanceGroups",
        [{"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "InstanceGroupName": "g"}],
        "NotImplemented",
        "InstanceGroups",
    ),
    ("StoppingCondition.MaxWaitTimeInSeconds", 900, "ValidationException", "only supported when EnableManagedSpot"),
    ("StoppingCondition.MaxRuntimeInSeconds", 28 * 86400 + 1, "ValidationException", "28 days"),
    ("EnableManagedSpotTraining", True, "ValidationException", "must be present and be greater than or equal"),
    ("EnableNetworkIsolation", True, "NotImplemented", "EnableNetworkIsolation"),
    ("RetryStrategy", {"MaximumRetryAttempts": 2}, "NotImplemented", "RetryStrategy"),
    ("DebugRuleConfigurations", RULE, "NotImplemented", "DebugRuleConfigurations"),
    ("ProfilerConfig", {"S3OutputPath": f"s3://{BUCKET}/p"}, "NotImplemented", "DisableProfiler"),
    ("RemoteDebugConfig", {"EnableRemoteDebug": True}, "NotImplemented", "EnableRemoteDebug"),
    ("TensorBoardOutputConfig", {"S3OutputPath": f"s3://{BUCKET}/t"}, "NotImplemented", "TensorBoard"),
    ("OutputDataConfig.S3OutputPath", "s3://no-such-bucket/out", "ValidationException", "no-such-bucket"),
    ("OutputDataConfig.S3OutputPath", "not-a-uri", "ValidationException", "regular expression pattern"),
    ("CheckpointConfig", {"S3Uri": "s3://no-such-bucket/c"}, "ValidationException", "no-such-bucket"),
    (
        "CheckpointConfig",
        {"S3Uri": f"s3://{BUCKET}/c", "LocalPath": "/opt/ml/../../etc"},
        "ValidationException",
        "must lie below /opt/ml/",
    ),
    (f"{S3}.S3Uri", f"s3://{BUCKET}/nothing-here", "ValidationException", "No S3 objects found under S3 URL"),
    (f"{S3}.S3Uri", "s3://no-such-bucket/x", "ValidationException", "No S3 objects found under S3 URL"),
    (f"{S3}.S3DataType", "AugmentedManifestFile", "NotImplemented", "AugmentedManifestFile"),
    ("InputDataConfig.0.DataSource", {"FileSystemDataSource": EFS}, "NotImplemented", "FileSystemDataSource"),
    ("InputDataConfig.0.DataSource", {}, "ValidationException", "names no data"),
    ("InputDataConfig.0.InputMode", "Pipe", "NotImplemented", "input mode Pipe"),
    ("InputDataConfig.0.CompressionType", "Gzip", "NotImplemented", "Gzip"),
    ("InputDataConfig.0.ShuffleConfig", {"Seed": 1}, "NotImplemented", "ShuffleConfig"),
    ("InputDataConfig", [channel("a", f"s3://{BUCKET}/data")] * 2, "ValidationException", "more than once"),
    ("HyperParameters", {f"h{number}": "" for number in range(101)}, "ValidationException", "equal to 100"),
]


@pytest.mark.parametrize(("path", "value", "code", "said"), REFUSED, ids=[f"{one[0]}-{one[3][:20]}" for one in REFUSED])
def test_what_create_refuses(jobs, path, value, code, said):
    request = jobs.request("")
    put(path, value)(request)
    answered = refusal(jobs.sagemaker.create_training_job, **request)
    assert answered[0] == code
    assert said in answered[1]
    nothing = refusal(jobs.sagemaker.describe_training_job, TrainingJobName=request["TrainingJobName"])
    assert nothing[0] == "ValidationException"


def test_a_role_that_trusts_somebody_else(jobs):
    role = jobs.aws.role("trusts-lambda-only", "lambda.amazonaws.com")
    code, message = refusal(jobs.sagemaker.create_training_job, **jobs.request("", RoleArn=role))
    assert code == "ValidationException"
    assert message == (
        f"Could not assume role {role}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )


def test_spot_needs_a_wait_no_shorter_than_the_run(jobs):
    request = jobs.request("", EnableManagedSpotTraining=True)
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 599}
    assert refusal(jobs.sagemaker.create_training_job, **request)[0] == "ValidationException"


@pytest.mark.skipif(has_toolkit(), reason="sagemaker-training is installed")
def test_without_an_entry_point_the_image_needs_the_toolkit(jobs):
    request = jobs.request("")
    del request["AlgorithmSpecification"]["ContainerEntrypoint"]
    request["HyperParameters"] = {"sagemaker_program": '"train.py"'}
    code, message = refusal(jobs.sagemaker.create_training_job, **request)
    assert code == "NotImplemented"
    assert "needs the sagemaker-training toolkit" in message


def test_a_name_is_used_once(jobs):
    name = jobs.start("")
    request = {**jobs.request(""), "TrainingJobName": name}
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{BUCKET}/data/"
    arn = jobs.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    assert refusal(jobs.sagemaker.create_training_job, **request) == (
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name already "
        f"exists ({arn})",
    )
    jobs.end(name)


def test_stopping_what_is_not_there_or_has_ended(jobs):
    stop = jobs.sagemaker.stop_training_job
    assert refusal(stop, TrainingJobName="nobody") == ("ValidationException", "Requested resource not found.")
    name = jobs.run("")["TrainingJobName"]
    assert refusal(stop, TrainingJobName=name) == (
        "ValidationException",
        "The request was rejected because the training job is in status Completed.",
    )


def test_updating_is_refused_clearly(jobs):
    assert refusal(jobs.sagemaker.describe_training_job, TrainingJobName="x") == (
        "ValidationException",
        "Requested resource not found.",
    )
    code, message = refusal(jobs.sagemaker.update_training_job, TrainingJobName="x")
    assert code == "NotImplemented"
    assert "UpdateTrainingJob" in message


def test_only_ended_jobs_can_be_deleted(jobs, tmp_path):
    gate = Gate(tmp_path)
    name = jobs.start(gate.script, Tags=[{"Key": "k", "Value": "v"}])
    gate.wait()
    assert refusal(jobs.sagemaker.delete_training_job, TrainingJobName=name)[0] == "ResourceInUse"
    gate.open()
    arn = jobs.end(name)["TrainingJobArn"]
    jobs.sagemaker.delete_training_job(TrainingJobName=name)
    assert refusal(jobs.sagemaker.describe_training_job, TrainingJobName=name)[0] == "ValidationException"
    assert refusal(jobs.sagemaker.delete_training_job, TrainingJobName=name)[0] == "ValidationException"
    assert refusal(jobs.sagemaker.list_tags, ResourceArn=arn)[0] == "ValidationException"


# ---- lists ----


@pytest.fixture(scope="module")
def three(jobs: Jobs) -> list[dict[str, Any]]:
    """Three ended jobs, in the order in which they were made; the second has failed."""
    scripts = {"list-c": "", "list-a": "raise SystemExit(1)", "list-b": ""}
    made = []
    for name, script in scripts.items():
        request = jobs.request(script)
        request["TrainingJobName"] = name
        jobs.sagemaker.create_training_job(**request)
        made.append(jobs.end(name))
    return made


def listed(jobs: Jobs, **members: Any) -> list[str]:
    found = jobs.sagemaker.list_training_jobs(NameContains="list-", **members)
    return [summary["TrainingJobName"] for summary in found["TrainingJobSummaries"]]


def test_lists_are_sorted_and_filtered(jobs, three):
    assert listed(jobs) == ["list-c", "list-a", "list-b"]
    assert listed(jobs, SortOrder="Descending") == ["list-b", "list-a", "list-c"]
    assert listed(jobs, SortBy="Name") == ["list-a", "list-b", "list-c"]
    assert listed(jobs, SortBy="Status", SortOrder="Descending")[0] == "list-a"
    assert listed(jobs, StatusEquals="Failed") == ["list-a"]
    assert listed(jobs, StatusEquals="Stopping") == []
    assert listed(jobs, WarmPoolStatusEquals="Available") == []
    middle = three[1]["CreationTime"]
    second = timedelta(milliseconds=1)
    assert listed(jobs, CreationTimeAfter=middle + second) == ["list-b"]
    assert listed(jobs, CreationTimeBefore=middle - second) == ["list-c"]
    assert listed(jobs, LastModifiedTimeAfter=three[2]["LastModifiedTime"] + timedelta(seconds=1)) == []
    assert len(listed(jobs, LastModifiedTimeBefore=datetime.now(UTC) + timedelta(days=1))) == 3


def test_a_summary_has_what_aws_gives(jobs, three):
    found = jobs.sagemaker.list_training_jobs(NameContains="list-a")["TrainingJobSummaries"]
    names = (
        "TrainingJobName TrainingJobArn CreationTime TrainingEndTime LastModifiedTime TrainingJobStatus SecondaryStatus"
    )
    assert found == [{name: three[1][name] for name in names.split()}]


def test_lists_come_in_pages(jobs, three):
    pages = jobs.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="list-", PaginationConfig={"PageSize": 2}
    )
    sizes = [[one["TrainingJobName"] for one in page["TrainingJobSummaries"]] for page in pages]
    assert sizes == [["list-c", "list-a"], ["list-b"]]
    assert refusal(jobs.sagemaker.list_training_jobs, NextToken="bm9ib2R5")[0] == "ValidationException"
    assert refusal(jobs.sagemaker.list_training_jobs, NextToken="%")[0] == "ValidationException"


def test_jobs_belong_to_a_region(jobs, three):
    elsewhere = jobs.aws.client("sagemaker", region="eu-west-1")
    assert elsewhere.list_training_jobs()["TrainingJobSummaries"] == []
    assert refusal(elsewhere.describe_training_job, TrainingJobName="list-a")[0] == "ValidationException"


# ---- tags ----


def test_tags_are_kept_changed_and_found(jobs):
    name = jobs.start("", Tags=[{"Key": "project", "Value": "dogs"}, {"Key": "gone", "Value": "soon"}])
    arn = jobs.end(name)["TrainingJobArn"]
    added = jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "project", "Value": "cats"}])
    assert {"Key": "project", "Value": "cats"} in added["Tags"]
    jobs.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["gone", "never-there"])
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "project", "Value": "cats"}]
    tagging = jobs.aws.client("resourcegroupstaggingapi")
    found = tagging.get_resources(TagFilters=[{"Key": "project", "Values": ["cats"]}])["ResourceTagMappingList"]
    assert arn in [one["ResourceARN"] for one in found]


def test_tags_of_what_is_not_there(jobs):
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/nobody"
    missing = ("ValidationException", f'Could not find training-job "{arn}".')
    assert refusal(jobs.sagemaker.list_tags, ResourceArn=arn) == missing
    assert refusal(jobs.sagemaker.delete_tags, ResourceArn=arn, TagKeys=["a"]) == missing
    assert refusal(jobs.sagemaker.add_tags, ResourceArn=arn, Tags=[{"Key": "a", "Value": ""}]) == missing
    for wrong in ("model/nobody", "endpoint/nobody", "training-job/list-a/extra", "training-job"):
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:{wrong}"
        assert refusal(jobs.sagemaker.list_tags, ResourceArn=arn)[0] == "ValidationException"


def test_tags_that_are_not_allowed(jobs):
    arn = jobs.run("")["TrainingJobArn"]
    code, message = refusal(jobs.sagemaker.add_tags, ResourceArn=arn, Tags=[{"Key": "aws:own", "Value": "x"}])
    assert (code, "reserved prefix" in message) == ("ValidationException", True)
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": f"k{number}", "Value": ""} for number in range(50)])
    assert "more than 50" in refusal(jobs.sagemaker.add_tags, ResourceArn=arn, Tags=[{"Key": "one", "Value": ""}])[1]
