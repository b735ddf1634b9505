"""Jobs that go too far: a full volume, an expression that never ends, a host that fails alone. Nothing stays behind."""

import pytest

from tests.conftest import LocalAws
from tests.training_jobs import BUCKET, LOGS, Gate, Jobs, channel, processes_of, statuses


@pytest.fixture(scope="module")
def jobs(aws: LocalAws) -> Jobs:
    return Jobs(aws)


def test_a_full_volume_ends_the_job(jobs):
    script = """
import os, signal
with open("/opt/ml/scratch", "wb") as file:
    os.posix_fallocate(file.fileno(), 0, (1 << 30) + (1 << 20))
signal.pause()
"""
    request = jobs.request(script)
    request["ResourceConfig"]["VolumeSizeInGB"] = 1
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert job["FailureReason"] == (
        "AlgorithmError: [Errno 28] No space left on device: the instance's volume holds 1 GB (VolumeSizeInGB), "
        "exit code: 137"
    )
    assert not processes_of(job["TrainingJobName"])
    assert not list(jobs.aws.state.glob("jobs/*"))


def test_an_expression_that_never_ends_costs_its_own_metric_only(jobs):
    request = jobs.request("print('x=1 ' + 'a' * 50)\nprint('x=2')")
    request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "hopeless", "Regex": "(a+)+b"},
        {"Name": "x", "Regex": "x=(.)"},
    ]
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed"
    assert [(one["MetricName"], one["Value"]) for one in job["FinalMetricDataList"]] == [("x", 2.0)]
    said = [line for line in jobs.lines(job["TrainingJobName"]) if "expression" in line]
    assert said == [
        "[localaws] the expression of the metric hopeless took more than 1 s on one line of this log: it is not "
        "searched for any more"
    ]


def test_a_host_that_fails_alone_fails_the_spot_job_without_another_attempt(jobs):
    script = """
import json, os, signal
if json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"] == "algo-2":
    raise SystemExit("only here")
signal.pause()
"""
    request = jobs.request(script, instances=2, EnableManagedSpotTraining=True)
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/limits/"}
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert job["FailureReason"] == "AlgorithmError: the log ends with: only here, exit code: 1"
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Failed"]
    assert not processes_of(job["TrainingJobName"])
    assert not list(jobs.aws.state.glob("jobs/*"))


def test_a_checkpoint_bucket_that_goes_while_the_job_runs(jobs, tmp_path):
    gate = Gate(tmp_path)
    jobs.s3.create_bucket(Bucket="short-lived-checkpoints")
    script = f"{gate.script}\nopen('/opt/ml/checkpoints/x', 'w').write('x')"
    name = jobs.start(script, CheckpointConfig={"S3Uri": "s3://short-lived-checkpoints/c"})
    gate.wait()
    jobs.s3.delete_bucket(Bucket="short-lived-checkpoints")
    gate.open()
    job = jobs.end(name)
    assert job["FailureReason"].startswith("ClientError: Checkpoint upload failed:The specified bucket does not exist")
    assert not processes_of(name)
    assert not list(jobs.aws.state.glob("jobs/*"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RoleArn": "arn:aws:iam::123456789012:role/nobody"}, "Could not assume role"),
        ({"CheckpointConfig": {"S3Uri": "s3://nobody-has-this/c"}}, "Could not access S3 bucket nobody-has-this"),
        ({"CheckpointConfig": {"S3Uri": "c"}}, "Member must satisfy regular expression pattern"),
        ({"HyperParameters": {"h": "x" * 2501}}, "Member must have length less than or equal to 2500"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 599},
            },
            "greater than or equal to MaxRuntimeInSeconds",
        ),
        ({"InputDataConfig": [channel("train", f"s3://{BUCKET}/nothing/here/")]}, "No S3 objects found under S3 URL"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(jobs, changes, said):
    request = jobs.request("", **changes)
    with pytest.raises(jobs.sagemaker.exceptions.ClientError) as caught:
        jobs.sagemaker.create_training_job(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert said in caught.value.response["Error"]["Message"]
    assert not processes_of(request["TrainingJobName"])
    assert not list(jobs.aws.state.glob("jobs/*"))
    streams = jobs.logs.describe_log_streams(logGroupName=LOGS, logStreamNamePrefix=request["TrainingJobName"] + "/")
    assert streams["logStreams"] == []
