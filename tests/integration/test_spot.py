"""Managed-spot jobs live in a market that takes their instances back."""

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from helpers.localaws.engines.spot import FILE, SpotMarket, SpotPlan, billable
from tests.conftest import LocalAws
from tests.training_jobs import BUCKET, LOGS, Gate, Jobs, processes_of, statuses

ATTEMPT = ["Starting", "Downloading", "Training"]
# Saves its epoch in the way that survives everything, ends after the last, and dies of SIGTERM.
EPOCHS = """
import json, os, pathlib, time
epochs, folder = EPOCHS, pathlib.Path("/opt/ml/checkpoints")
host = json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"]
saved = sorted(int(path.name) for path in folder.glob("[0-9]*"))
print("has", saved, sorted(os.listdir("/opt/ml/model")), flush=True)
done = max(saved, default=0)
open("/opt/ml/model/left-by-" + host + "-" + str(done), "w").write("x")
if done < epochs:
    BEFORE
    if host == "algo-1":
        (folder / "part.tmp").write_text("x")
        (folder / "part.tmp").rename(folder / str(done + 1))
    time.sleep(600)
"""


def epochs(count: int, before: str = "") -> str:
    """The script for so many epochs; ``before`` is run by each host that saves one, or would on another host."""
    return EPOCHS.replace("EPOCHS", str(count)).replace("BEFORE", before)


@pytest.fixture(scope="module")
def jobs(aws: LocalAws) -> Jobs:
    return Jobs(aws)


@pytest.fixture
def market(aws: LocalAws) -> Iterator[Any]:
    """Set how often jobs are interrupted, as ``up --spot-interruptions`` does; the default afterwards."""
    yield (aws.state / FILE).write_text
    (aws.state / FILE).unlink(missing_ok=True)


def spot(jobs: Jobs, script: str, instances: int = 1, wait: int = 600, **changes: Any) -> dict[str, Any]:
    """CreateTrainingJob's input for a managed-spot job with checkpoints."""
    request = jobs.request(script, instances, EnableManagedSpotTraining=True, **changes)
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": min(wait, 300), "MaxWaitTimeInSeconds": wait}
    request.setdefault("CheckpointConfig", {"S3Uri": f"s3://{BUCKET}/spot/{request['TrainingJobName']}"})
    return request


def create(jobs: Jobs, request: dict[str, Any]) -> str:
    jobs.sagemaker.create_training_job(**request)
    return str(request["TrainingJobName"])


def wait_for(jobs: Jobs, name: str, status: str) -> None:
    """Until a job has been in a secondary status."""
    while status not in statuses(jobs.sagemaker.describe_training_job(TrainingJobName=name)):
        time.sleep(0.05)


def streams(jobs: Jobs, name: str) -> list[str]:
    found = jobs.logs.describe_log_streams(logGroupName=LOGS, logStreamNamePrefix=f"{name}/")["logStreams"]
    return sorted(stream["logStreamName"] for stream in found)


def test_a_spot_job_is_interrupted_once_and_goes_on_from_its_checkpoint(jobs, tmp_path):
    # The checkpoint, for which the hosts are taken away, must not come before both of them have said what they have.
    there = f"open({f'{tmp_path}/'!r} + host, 'w').close()"
    both = f"{there}\n    while len(os.listdir({str(tmp_path)!r})) < 2: time.sleep(0.01)"
    job = jobs.end(create(jobs, spot(jobs, epochs(1, both), instances=2)))
    name = job["TrainingJobName"]
    assert statuses(job) == [*ATTEMPT, "Interrupted", *ATTEMPT, "Uploading", "Completed"]
    for host in (1, 2):
        said = [line for line in jobs.lines(name, host) if line.startswith("has")]
        assert said == ["has [] []", "has [1] []"], "the second instances have empty disks and the first's checkpoint"
    assert len(streams(jobs, name)) == 4, "each attempt has streams of its own"
    assert sorted(jobs.model(job)) == ["left-by-algo-1-1", "left-by-algo-2-1"]
    assert job["BillableTimeInSeconds"] == billable(job["TrainingTimeInSeconds"])
    waited = job["SecondaryStatusTransitions"][3]
    held = (job["TrainingEndTime"] - job["TrainingStartTime"]) - (
        job["SecondaryStatusTransitions"][5]["StartTime"] - waited["StartTime"]
    )
    assert abs(job["TrainingTimeInSeconds"] - held.total_seconds()) <= 1
    assert not processes_of(name)
    assert not list(jobs.aws.state.glob("jobs/*"))


def test_a_job_on_demand_is_not_interrupted(jobs):
    request = jobs.request(epochs(1).replace("600", "1.5"))
    request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/spot/on-demand"}
    job = jobs.end(create(jobs, request))
    assert statuses(job) == [*ATTEMPT, "Uploading", "Completed"]
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"]


def test_as_many_interruptions_as_are_set(jobs, market):
    market("2")
    job = jobs.end(create(jobs, spot(jobs, epochs(2))))
    assert statuses(job) == [*ATTEMPT, "Interrupted", *ATTEMPT, "Interrupted", *ATTEMPT, "Uploading", "Completed"]
    assert [line for line in jobs.lines(job["TrainingJobName"]) if line.startswith("has")] == [
        "has [] []",
        "has [1] []",
        "has [1, 2] []",
    ]


def test_none_are_possible(jobs, market, tmp_path):
    market("none")
    gate = Gate(tmp_path)
    request = spot(jobs, epochs(1).replace("time.sleep(600)", gate.script))
    name = create(jobs, request)
    gate.wait()
    jobs.wait_for_object(f"spot/{name}/1")
    gate.open()
    assert statuses(jobs.end(name)) == [*ATTEMPT, "Uploading", "Completed"]


def test_random_ones_come_without_checkpoints_which_then_start_from_scratch(jobs, market, tmp_path):
    market("random")
    plan = SpotMarket.parse("random")
    names = (f"random-{number}" for number in range(10_000))
    name = next(name for name in names if first(plan, name) < 1 and second(plan, name) > 240)
    go = tmp_path / "go"
    script = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
    request = {**spot(jobs, script), "TrainingJobName": name}
    del request["CheckpointConfig"]
    create(jobs, request)
    wait_for(jobs, name, "Interrupted")
    go.touch()
    assert statuses(jobs.end(name)) == [*ATTEMPT, "Interrupted", *ATTEMPT, "Uploading", "Completed"]


def first(market: SpotMarket, name: str) -> float:
    return SpotPlan(market, name).seconds() or 0.0


def second(market: SpotMarket, name: str) -> float:
    plan = SpotPlan(market, name)
    plan.interrupted()
    return plan.seconds() or 0.0


def test_waiting_counts_for_the_one_limit_and_not_for_the_other(jobs):
    """Both limits are the same two seconds: the one that counts everything from the start is reached first."""
    job = jobs.end(create(jobs, spot(jobs, epochs(9), wait=2)))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert statuses(job)[-3:] in (
        ["Stopping", "Uploading", "MaxWaitTimeExceeded"],  # while it ran
        ["Interrupted", "Stopping", "MaxWaitTimeExceeded"],  # while it waited
    )
    assert not processes_of(job["TrainingJobName"])
    assert not list(jobs.aws.state.glob("jobs/*"))


def test_a_script_that_ends_well_on_sigterm_is_started_again(jobs):
    script = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + epochs(1)
    job = jobs.end(create(jobs, spot(jobs, script)))
    assert statuses(job) == [*ATTEMPT, "Interrupted", *ATTEMPT, "Uploading", "Completed"]


def test_a_job_that_is_stopped_while_it_is_interrupted_ends_with_what_it_has(jobs, tmp_path):
    gate = Gate(tmp_path)
    handler = f"def end(*_):\n    {gate.script}\n    sys.exit(0)\n"
    script = f"import signal, sys\n{handler}signal.signal(signal.SIGTERM, end)\n" + epochs(1)
    name = create(jobs, spot(jobs, script))
    gate.wait()  # it has been told to end, and nobody has asked for a stop yet
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    gate.open()
    job = jobs.end(name)
    assert statuses(job) == [*ATTEMPT, "Stopping", "Uploading", "Stopped"]
    assert list(jobs.model(job)) == ["left-by-algo-1-0"]


def test_a_host_that_is_killed_while_it_writes_leaves_the_checkpoint_before(jobs, tmp_path):
    jobs.put("spot/killed/model", "good")
    gate = Gate(tmp_path)
    script = f"""
import os, signal
os.chdir("/opt/ml/checkpoints")
file = open("model", "wb", buffering=0)
file.write(b"hal")
open("part", "w").write("x")
os.rename("part", "whole")
{gate.script}
os.kill(os.getpid(), signal.SIGKILL)
"""
    name = jobs.start(script, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/spot/killed"})
    gate.wait()
    # Whatever was written before this file has been looked at, too.
    jobs.wait_for_object("spot/killed/whole")
    gate.open()
    job = jobs.end(name)
    assert job["FailureReason"].endswith("exit code: 137")
    assert jobs.s3.get_object(Bucket=BUCKET, Key="spot/killed/model")["Body"].read() == b"good"
    kept_back = "[localaws] the checkpoint model may be half written, since its host ended: it does not go to S3"
    assert kept_back in jobs.lines(name)


def test_the_setting_is_kept_and_checked(aws, market):
    market("none")
    aws.cli("up", "--spot-interruptions", "random")  # also of a server that runs
    aws.cli("up")  # as a notebook that connects
    assert SpotMarket.of(aws.state).random
    wrong = aws.cli("up", "--spot-interruptions", "often", check=False)
    assert wrong.returncode == 2
    assert "'often' is neither a number nor 'none' nor 'random'" in wrong.stderr
    assert SpotMarket.of(aws.state).random


# ---- while there are no instances ----


def test_a_waiting_job_can_be_stopped_and_survives_no_kill_but_says_so(fresh_aws):
    aws = fresh_aws("--time-scale", "0.01")  # it waits for longer than the test takes
    jobs = Jobs(aws)
    names = [create(jobs, spot(jobs, epochs(1))) for _ in range(2)]
    for name in names:
        wait_for(jobs, name, "Interrupted")
    while list(aws.state.glob("jobs/*")):
        time.sleep(0.05)  # no instances, no disks: they go at once, though after the status has said so
    assert not processes_of(names[0])
    jobs.sagemaker.stop_training_job(TrainingJobName=names[0])
    stopped = jobs.end(names[0])
    assert statuses(stopped) == [*ATTEMPT, "Interrupted", "Stopping", "Stopped"]
    assert "ModelArtifacts" not in stopped

    os.kill(json.loads((aws.state / "server.json").read_text())["pid"], signal.SIGKILL)
    before = datetime.now(UTC)
    aws = fresh_aws("--time-scale", "1")
    failed = Jobs(aws).end(names[1])
    assert statuses(failed) == [*ATTEMPT, "Interrupted", "Failed"]
    assert failed["FailureReason"].startswith("InternalServerError: the embedded AWS was stopped")
    interrupted = failed["SecondaryStatusTransitions"][3]["StartTime"]
    held = (interrupted - failed["TrainingStartTime"]).total_seconds()
    assert abs(failed["TrainingTimeInSeconds"] - held) <= 1
    assert failed["TrainingEndTime"] < before, "the time without a server counts"
