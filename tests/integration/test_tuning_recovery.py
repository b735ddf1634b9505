"""Tuning jobs when the embedded AWS ends: killed, or told to."""

import os
import signal
from typing import Any

from helpers.localaws.store import Store
from tests.integration.test_training_recovery import server
from tests.training_jobs import Gate
from tests.tuning_jobs import KIND, TuningJobs

# The first kind is done at once; the second waits for ever.
SCRIPT = """
import argparse, signal
parser = argparse.ArgumentParser()
parser.add_argument("--kind")
print("loss=0.5")
if parser.parse_args().kind == "bad":
    {gate}
    signal.pause()
"""


def half_done(jobs: TuningJobs, gate: Gate) -> str:
    """A tuning job whose first trial has ended and whose second runs."""
    request = jobs.tuning_request(
        SCRIPT.format(gate=gate.arrive),
        Strategy="Grid",
        ResourceLimits={"MaxParallelTrainingJobs": 1},
        ParameterRanges={"CategoricalParameterRanges": [KIND]},
    )
    name = jobs.tune(request)
    gate.wait()
    return name


def check_failed_honestly(job: dict[str, Any]) -> None:
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError: the embedded AWS was stopped while this")
    assert job["HyperParameterTuningEndTime"] >= job["CreationTime"]


def test_tuning_jobs_of_a_killed_and_of_a_stopped_server_have_failed_and_say_why(fresh_aws, tmp_path):
    aws = fresh_aws("--time-scale", "20")
    killed = half_done(TuningJobs(aws), Gate(tmp_path / "killed"))
    os.kill(server(aws.state), signal.SIGKILL)

    aws = fresh_aws("--time-scale", "20")
    jobs = TuningJobs(aws)
    job = jobs.described(killed)
    check_failed_honestly(job)
    assert job["TrainingJobStatusCounters"]["Completed"] == job["TrainingJobStatusCounters"]["RetryableError"] == 1
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "good"}
    assert len(jobs.trials(killed)) == 2

    stopped = half_done(jobs, Gate(tmp_path / "stopped"))
    aws.cli("down")
    # What the next start would describe, without the seconds that a start takes.
    store = Store(aws.state / "documents.sqlite")
    check_failed_honestly(store.table("hyper-parameter-tuning-job").get("us-east-1", stopped))
    trials = [trial for trial in store.table("training-job").list("us-east-1") if stopped in trial["TrainingJobName"]]
    assert sorted(trial["TrainingJobStatus"] for trial in trials) == ["Completed", "Failed"]
    store.close()
