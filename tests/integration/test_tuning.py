"""Tuning jobs through boto3: their trials are real training jobs."""

import copy
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws
from tests.training_jobs import BUCKET, Gate, processes_of
from tests.tuning_jobs import KIND, LAYERS, LR, TuningJobs


@pytest.fixture(scope="module")
def jobs(aws: LocalAws) -> TuningJobs:
    return TuningJobs(aws)


@pytest.fixture(scope="module")
def searched(jobs: TuningJobs) -> dict[str, Any]:
    """A finished Bayesian tuning job over all three kinds of ranges."""
    request = jobs.tuning_request(
        Strategy="Bayesian",
        ResourceLimits={"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2},
        ParameterRanges={
            "ContinuousParameterRanges": [LR],
            "CategoricalParameterRanges": [KIND],
            "IntegerParameterRanges": [LAYERS],
        },
    )
    request["Tags"] = [{"Key": "project", "Value": "tuning-tests"}]
    request["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/tuning-checkpoints/"}
    return jobs.tuned(request)


def test_trials_are_training_jobs(jobs, searched):
    name, arn = searched["HyperParameterTuningJobName"], searched["HyperParameterTuningJobArn"]
    trials = jobs.trials(name, SortBy="Name", SortOrder="Ascending")
    names = [trial["TrainingJobName"] for trial in trials]
    assert [re.fullmatch(rf"{name}-(\d{{3}})-[0-9a-f]{{8}}", one)[1] for one in names] == [
        f"00{i}" for i in range(1, 6)
    ]
    listed = jobs.sagemaker.list_training_jobs(NameContains=name, MaxResults=100)["TrainingJobSummaries"]
    assert {job["TrainingJobName"] for job in listed} == set(names)

    first = jobs.sagemaker.describe_training_job(TrainingJobName=names[0])
    assert first["TuningJobArn"] == arn
    assert first["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert first["HyperParameters"]["sagemaker_program"] == "train.py"
    assert trials[0]["TunedHyperParameters"].items() <= first["HyperParameters"].items()
    assert first["CheckpointConfig"]["S3Uri"] == f"s3://{BUCKET}/tuning-checkpoints/{names[0]}"
    assert [metric["MetricName"] for metric in first["FinalMetricDataList"]] == ["loss"]
    for tagged in (arn, first["TrainingJobArn"]):
        assert jobs.sagemaker.list_tags(ResourceArn=tagged)["Tags"] == [{"Key": "project", "Value": "tuning-tests"}]
    assert any(line.startswith("epoch=2 loss=") for line in jobs.lines(names[0]))

    for trial in trials:
        tuned = trial["TunedHyperParameters"]
        assert 0.0001 <= float(tuned["lr"]) <= 0.1
        assert 1 <= int(tuned["layers"]) <= 4
        assert tuned["kind"] in ("good", "bad")
        assert trial["ObjectiveStatus"] == "Succeeded"


def test_the_best_trial_and_the_counters(jobs, searched):
    assert searched["HyperParameterTuningJobStatus"] == "Completed"
    assert searched["TrainingJobStatusCounters"] == {
        "Completed": 5,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert searched["ObjectiveStatusCounters"] == {"Succeeded": 5, "Pending": 0, "Failed": 0}
    trials = jobs.trials(searched["HyperParameterTuningJobName"], SortBy="FinalObjectiveMetricValue")
    values = [trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for trial in trials]
    assert values == sorted(values)
    assert searched["BestTrainingJob"]["TrainingJobName"] == trials[0]["TrainingJobName"]
    assert searched["HyperParameterTuningEndTime"] >= searched["CreationTime"]
    assert searched["ConsumedResources"]["RuntimeInSeconds"] >= 1
    assert "OverallBestTrainingJob" not in searched


def test_lists(jobs, searched):
    name = searched["HyperParameterTuningJobName"]
    listed = jobs.sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name, StatusEquals="Completed")
    summary = next(
        one for one in listed["HyperParameterTuningJobSummaries"] if one["HyperParameterTuningJobName"] == name
    )
    assert summary["Strategy"] == "Bayesian"
    assert summary["ObjectiveStatusCounters"]["Succeeded"] == 5
    pages = jobs.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, SortOrder="Descending", PaginationConfig={"PageSize": 2}
    )
    found = [page["TrainingJobSummaries"] for page in pages]
    assert [len(page) for page in found] == [2, 2, 1]
    names = [trial["TrainingJobName"] for page in found for trial in page]
    assert names == sorted(names, reverse=True)
    assert jobs.trials(name, StatusEquals="Failed") == []


def test_a_warm_start_knows_its_parents_best_trial(jobs, searched):
    request = jobs.tuning_request(
        Strategy="Bayesian",
        ResourceLimits={"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
        ParameterRanges={
            # Its only trial is worse than the parent's best.
            "ContinuousParameterRanges": [LR],
            "CategoricalParameterRanges": [{"Name": "kind", "Values": ["bad"]}],
            "IntegerParameterRanges": [{"Name": "layers", "MinValue": "4", "MaxValue": "4"}],
        },
    )
    parent = searched["HyperParameterTuningJobName"]
    warm = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    ended = jobs.tuned({**request, "WarmStartConfig": warm})
    overall = ended["OverallBestTrainingJob"]
    assert overall["TrainingJobName"] == searched["BestTrainingJob"]["TrainingJobName"]
    assert overall["TuningJobName"] == parent
    assert ended["BestTrainingJob"]["TrainingJobName"].startswith(ended["HyperParameterTuningJobName"])

    name = {"HyperParameterTuningJobName": "another"}
    refused(
        jobs, {**request, **name, "WarmStartConfig": {**warm, "ParentHyperParameterTuningJobs": [name]}}, "can't find"
    )
    other = copy.deepcopy(request)
    other["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] = "Maximize"
    refused(jobs, {**other, **name, "WarmStartConfig": warm}, "another objective metric")
    other = copy.deepcopy(request)
    other["TrainingJobDefinition"]["StaticHyperParameters"]["more"] = "1"
    refused(jobs, {**other, **name, "WarmStartConfig": warm}, "total number of static plus tunable")


def test_a_grid_tries_every_combination_once(jobs):
    request = jobs.tuning_request(
        Strategy="Grid",
        ResourceLimits={"MaxParallelTrainingJobs": 2},
        ParameterRanges={"CategoricalParameterRanges": [KIND, {"Name": "layers", "Values": ["1", "2"]}]},
    )
    ended = jobs.tuned(request)
    assert ended["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 4
    trials = jobs.trials(ended["HyperParameterTuningJobName"])
    tried = [tuple(trial["TunedHyperParameters"].values()) for trial in trials]
    assert sorted(tried) == [("bad", "1"), ("bad", "2"), ("good", "1"), ("good", "2")]
    assert ended["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "good", "layers": "1"}


EPOCHS = """
import argparse, signal
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
lr = parser.parse_args().lr
for epoch in range(3):
    print(f"loss={lr + 1 / (1 + epoch):.6f}", flush=True)
signal.pause()
"""


def test_hyperband_stops_trials_that_have_had_their_epochs(jobs):
    """The script itself never ends."""
    request = jobs.tuning_request(
        EPOCHS,
        Strategy="Hyperband",
        StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}},
        ResourceLimits={"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
    )
    ended = jobs.tuned(request)
    assert ended["HyperParameterTuningJobStatus"] == "Completed"
    assert ended["TrainingJobStatusCounters"]["Stopped"] == 2
    assert ended["ObjectiveStatusCounters"]["Succeeded"] == 2


WAITING = """
import argparse, signal, sys
parser = argparse.ArgumentParser()
parser.add_argument("--lr")
parser.parse_args()
signal.signal(signal.SIGTERM, lambda *_: (print("loss=0.25"), sys.exit(0)))
print("loss=0.5", flush=True)
{gate}
signal.pause()
"""


def test_stop_stops_the_trials(jobs, tmp_path):
    gate = Gate(tmp_path / "gate")
    request = jobs.tuning_request(
        WAITING.format(gate=gate.arrive), ResourceLimits={"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1}
    )
    name = jobs.tune(request)
    gate.wait()
    running = jobs.described(name)
    assert running["HyperParameterTuningJobStatus"] == "InProgress"
    assert running["TrainingJobStatusCounters"]["InProgress"] == 1
    assert running["ObjectiveStatusCounters"]["Pending"] == 1
    assert "BestTrainingJob" not in running
    with pytest.raises(ClientError, match="is in status InProgress") as caught:
        jobs.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    jobs.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    ended = jobs.tuning_end(name)
    assert ended["HyperParameterTuningJobStatus"] == "Stopped"
    (trial,) = jobs.trials(name)
    assert trial["TrainingJobStatus"] == "Stopped"
    # The script heard SIGTERM, through a toolkit that does not pass it on.
    assert trial["FinalHyperParameterTuningJobObjectiveMetric"] == {"MetricName": "loss", "Value": 0.25}
    assert not processes_of(trial["TrainingJobName"])
    with pytest.raises(ClientError, match="is in status Stopped"):
        jobs.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    jobs.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    with pytest.raises(ClientError, match="can't find a tuning job with the name") as caught:
        jobs.described(name)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    assert jobs.sagemaker.describe_training_job(TrainingJobName=trial["TrainingJobName"]), "the trial itself stays"


def test_a_tuning_job_fails_when_all_trials_do(jobs):
    ended = jobs.tuned(jobs.tuning_request("raise SystemExit('no data')"))
    assert ended["HyperParameterTuningJobStatus"] == "Failed"
    assert ended["FailureReason"].startswith("All training jobs failed.")
    assert ended["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    assert ended["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 2}
    assert "BestTrainingJob" not in ended
    trial = jobs.trials(ended["HyperParameterTuningJobName"])[0]
    assert trial["TrainingJobStatus"] == "Failed"
    assert trial["FailureReason"].startswith("AlgorithmError")


def test_a_tuning_job_fails_when_no_trial_says_its_objective(jobs):
    ended = jobs.tuned(jobs.tuning_request("print('loss is 0.5')"))
    assert ended["HyperParameterTuningJobStatus"] == "Failed"
    assert ended["FailureReason"].startswith("No objective metrics found after running 2 training jobs.")
    assert ended["TrainingJobStatusCounters"]["Completed"] == 2


# ---- what is refused ----


def refused(jobs: TuningJobs, request: dict[str, Any], message: str, code: str | None = None) -> None:
    """Creation fails with this message, and leaves nothing behind."""
    with pytest.raises(ClientError) as caught:
        jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    error = caught.value.response["Error"]
    assert message in error["Message"]
    if code:
        assert error["Code"] == code


def ranges(kind: str, **one: Any) -> dict[str, Any]:
    return {"ParameterRanges": {f"{kind}ParameterRanges": [{"Name": "lr", **one}]}}


OBJECTIVE = {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "accuracy"}}
HYPERBAND = {"Strategy": "Hyperband"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ranges("Continuous", MinValue="1", MaxValue="0.1"),
            "MinValue [1] of the continuous hyperparameter range [lr]",
        ),
        (
            ranges("Continuous", MinValue="low", MaxValue="1"),
            "MinValue [low] of the hyperparameter range [lr] must be a",
        ),
        (ranges("Continuous", MinValue="0", MaxValue="inf"), "must be a number"),
        (ranges("Integer", MinValue="1", MaxValue="2.5"), "MaxValue [2.5] of the hyperparameter range [lr] must be an"),
        (ranges("Continuous", MinValue="0", MaxValue="1", ScalingType="Logarithmic"), "greater than 0"),
        (ranges("Integer", MinValue="0", MaxValue="9", ScalingType="ReverseLogarithmic"), "within 0 <= x < 1.0"),
        (ranges("Categorical", Values=["a", "a"]), "must be unique"),
        (ranges("Categorical", Values=["a"]), "You don't have enough combinations of hyperparameter ranges."),
        ({"ParameterRanges": {}}, "at least one hyperparameter range"),
        ({"ParameterRanges": {"AutoParameters": [{"Name": "lr", "ValueHint": "1"}]}}, "AutoParameters"),
        ({"ParameterRanges": {"ContinuousParameterRanges": [LR, LR]}}, "has more than one range"),
        (OBJECTIVE, "The objective metric [accuracy] is not in the metric definitions ['loss']"),
        ({"Strategy": "Grid"}, "Grid strategy supports only categorical"),
        ({"Strategy": "Grid", **ranges("Categorical", Values=["a"])}, "must equal the number of combinations"),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "MaxNumberOfTrainingJobs is required"),
        (HYPERBAND, "MaxResource is required"),
        ({**HYPERBAND, "TrainingJobEarlyStoppingType": "Auto"}, "must be Off for the Hyperband strategy"),
        ({"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 3}}}, "requires the Hyperband strategy"),
        (
            {"TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}},
            "does not implement CompleteOnConvergence",
        ),
    ],
)
def test_a_bad_configuration_is_refused(jobs, config, message):
    request = jobs.tuning_request(**config)
    refused(jobs, request, message)
    with pytest.raises(ClientError, match="can't find"):
        jobs.described(request["HyperParameterTuningJobName"])


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 11}, "number of parallel training jobs"),
        ({"MaxNumberOfTrainingJobs": 751, "MaxParallelTrainingJobs": 1}, "number of training jobs per"),
    ],
)
def test_limits(jobs, limits, what):
    refused(jobs, jobs.tuning_request(ResourceLimits=limits), what, "ResourceLimitExceeded")


def test_the_trials_that_run_at_once_must_fit_the_quota_of_instances(jobs):
    request = jobs.tuning_request(ResourceLimits={"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 3})
    request["TrainingJobDefinition"]["ResourceConfig"] |= {"InstanceType": "ml.m5.4xlarge", "InstanceCount": 7}
    refused(jobs, request, "and a request delta of 21 Instances", "ResourceLimitExceeded")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("StaticHyperParameters.lr", "0.1", "['lr'] are both static and tunable"),
        ("AlgorithmSpecification.MetricDefinitions", [], "A metric is required for this hyperparameter tuning job"),
        ("AlgorithmSpecification.TrainingImage", "pytorch", "Invalid image URI"),
        ("RoleArn", "arn:aws:iam::123456789012:role/nobody-at-all", "Could not assume role"),
        ("OutputDataConfig.S3OutputPath", "s3://no-such-bucket-here/out", "Could not access S3 bucket"),
        ("TuningObjective", {"Type": "Minimize", "MetricName": "loss"}, "TuningObjective"),
        (
            "InputDataConfig",
            [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://x/y"}}}],
            "No S3 objects found",
        ),
    ],
)
def test_a_bad_training_job_definition_is_refused(jobs, path, value, message):
    request = jobs.tuning_request()
    *parents, last = path.split(".")
    place = request["TrainingJobDefinition"]
    for name in parents:
        place = place[name]
    place[last] = value
    refused(jobs, request, message)


def test_a_name_is_given_once(jobs, searched):
    request = {
        **jobs.tuning_request(),
        "HyperParameterTuningJobName": searched["HyperParameterTuningJobName"],
    }
    refused(jobs, request, "already exists", "ResourceInUse")


@pytest.mark.parametrize(
    "call",
    ["describe_hyper_parameter_tuning_job", "stop_hyper_parameter_tuning_job", "delete_hyper_parameter_tuning_job"],
)
def test_what_is_not_there(jobs, call):
    with pytest.raises(ClientError, match="can't find a tuning job") as caught:
        getattr(jobs.sagemaker, call)(HyperParameterTuningJobName="nowhere")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
