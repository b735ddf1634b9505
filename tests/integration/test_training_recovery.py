"""Training jobs when the embedded AWS ends: told to, or killed."""

import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from helpers.localaws.store import Store
from tests.training_jobs import BUCKET, Gate, Jobs, processes_of, statuses

SCRIPT = """
import signal
open("/opt/ml/checkpoints/one", "w").write("kept")
{gate}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True: signal.pause()
"""


def running_job(jobs: Jobs, folder: Path) -> str:
    """A job of two hosts whose first checkpoint is in S3."""
    gate = Gate(folder)
    script = (
        "import json\nif json.load(open('/opt/ml/input/config/resourceconfig.json'))['current_host'] == 'algo-1':\n"
    )
    script += f"    {gate.arrive}\n" + SCRIPT.format(gate="")
    request = jobs.request(script, instances=2, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/{folder.name}/"})
    jobs.sagemaker.create_training_job(**request)
    gate.wait()
    jobs.wait_for_object(f"{folder.name}/one")
    name = str(request["TrainingJobName"])
    while len(processes_of(name)) < 2:
        time.sleep(0.05)  # the second host is started a moment after the first
    return name


def check_failed_honestly(job: dict[str, Any]) -> None:
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith(
        "InternalServerError: the embedded AWS was stopped while this training job ran"
    )
    assert statuses(job) == ["Starting", "Downloading", "Training", "Failed"]
    assert all("EndTime" in transition for transition in job["SecondaryStatusTransitions"])
    assert job["TrainingTimeInSeconds"] >= 1


def test_jobs_of_a_killed_and_of_a_stopped_server_have_failed_and_say_why(fresh_aws, tmp_path):
    aws = fresh_aws("--time-scale", "20")
    jobs = Jobs(aws)
    done = jobs.run("open('/opt/ml/model/m', 'w').write('x')")
    killed = running_job(jobs, tmp_path / "killed")
    os.kill(server(aws.state), signal.SIGKILL)

    before = datetime.now(UTC)
    aws = fresh_aws()
    jobs = Jobs(aws)
    assert jobs.sagemaker.describe_training_job(TrainingJobName=killed)["TrainingEndTime"] < before
    check_failed_honestly(jobs.sagemaker.describe_training_job(TrainingJobName=killed))
    assert not processes_of(killed)
    assert not list(aws.state.glob("jobs/*"))
    assert jobs.lines(killed)[0].startswith("[localaws] algo-1")
    assert jobs.s3.get_object(Bucket=BUCKET, Key="killed/one")["Body"].read() == b"kept"
    after = jobs.sagemaker.describe_training_job(TrainingJobName=done["TrainingJobName"])
    assert {**after, "ResponseMetadata": 0} == {**done, "ResponseMetadata": 0}
    assert jobs.model(after) == {"m": "x"}

    stopped = running_job(jobs, tmp_path / "stopped")
    aws.cli("down")
    assert not processes_of(stopped)
    assert not list(aws.state.glob("jobs/*"))
    # What the next start would describe, without the seconds that a start takes.
    store = Store(aws.state / "documents.sqlite")
    check_failed_honestly(store.table("training-job").get("us-east-1", stopped))
    store.close()


def server(state: Path) -> int:
    """The server's process id."""
    return int(json.loads((state / "server.json").read_text())["pid"])
