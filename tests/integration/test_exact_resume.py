"""A spot job of two instances that is interrupted ends with the weights of a run that is left alone."""

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.conftest import LocalAws
from tests.ranks import log_of, train_ranks
from tests.tiny_photos import ROOT, TRAIN_SRC, write_photos
from tests.training_jobs import BUCKET, Jobs, channel, statuses

sys.path.insert(0, str(TRAIN_SRC))
import torch

# What torchrun does for its process (which imports torch once more for it), and the tests' small network.
LAUNCH = """
import json, os, sys
from pathlib import Path
job = json.load(open("/opt/ml/input/config/resourceconfig.json"))
os.environ["RANK"], os.environ["WORLD_SIZE"] = str(job["hosts"].index(job["current_host"])), str(len(job["hosts"]))
os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", os.environ["PET_MASTER_PORT"]
import time
import train, trainer
from rank import small_network
train.build_model = small_network
if not list(Path("/opt/ml/checkpoints").glob("*.pt")):
    # The first time, wait in the midst of the eleventh epoch: the network is so small that it could be done otherwise.
    step = trainer.Trainer._step
    def patient_step(self, *given):
        while self.done == 31 and not self.stop.made:
            time.sleep(0.01)
        return step(self, *given)
    trainer.Trainer._step = patient_step
arguments = json.loads((Path(__file__).parent / "arguments.json").read_text())
folders = {"data": "input/data/photos", "model-dir": "model", "output-dir": "output/data"}
for name, folder in (folders | {"checkpoint-dir": "checkpoints"}).items():
    arguments += ["--" + name, str(Path("/opt/ml") / folder)]
sys.exit(train.main(arguments))
"""
ARGUMENTS = ["--image-size", "32", "--batch-size", "6", "--epochs", "25", "--threads", "1"]


def files_of(jobs: Jobs, uri: str) -> dict[str, bytes]:
    content = jobs.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name.removeprefix("./"): tar.extractfile(member).read() for member in tar if member.isfile()}


def request_of(jobs: Jobs, photos: Path) -> dict[str, Any]:
    """CreateTrainingJob's input for the training program on two spot instances."""
    request = jobs.request(LAUNCH, 2, EnableManagedSpotTraining=True)
    name = request["TrainingJobName"]
    code = {path.name: path.read_text() for path in [*TRAIN_SRC.glob("*.*"), ROOT / "tests" / "rank.py"]}
    code |= {"arguments.json": json.dumps(ARGUMENTS), "launch.py": LAUNCH}
    for file, content in code.items():
        jobs.put(f"code/{name}/{file}", content)
    for path in photos.rglob("*.jpg"):
        jobs.put(f"exact/{path.relative_to(photos)}", path.read_bytes())
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["python3", "/opt/ml/input/data/code/launch.py"]
    request["InputDataConfig"].append(channel("photos", f"s3://{BUCKET}/exact/"))
    request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/checkpoints/{name}"}
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600}
    return request


def test_two_spot_instances_that_are_interrupted(aws: LocalAws, tmp_path: Path) -> None:
    jobs, photos = Jobs(aws), write_photos(tmp_path / "photos", train=14, valid=5)
    request = request_of(jobs, photos)
    name = request["TrainingJobName"]
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(name)
    assert job["TrainingJobStatus"] == "Completed", (job.get("FailureReason"), jobs.lines(name))
    assert statuses(job).count("Interrupted") == 1

    alone = tmp_path / "alone"
    alone.mkdir()
    assert train_ranks(2, alone, ["--data", photos, *ARGUMENTS], network="small_network") == [0, 0], log_of(alone)
    model = files_of(jobs, job["ModelArtifacts"]["S3ModelArtifacts"])
    found = torch.load(io.BytesIO(model["model.pt"]), weights_only=True)
    expected = torch.load(alone / "model" / "model.pt", weights_only=True)
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
    report = json.loads(files_of(jobs, f"s3://{BUCKET}/out/{name}/output/output.tar.gz")["metrics.json"])
    its = json.loads((alone / "output" / "metrics.json").read_text())
    assert report["step_loss"] == its["step_loss"]
    assert [(one["train"], one["valid"]) for one in report["history"]] == [
        (one["train"], one["valid"]) for one in its["history"]
    ]
    assert [one["lost_steps"] for one in report["resumed"]] == [0]  # SIGTERM saves at once

    objects = jobs.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"checkpoints/{name}/")["Contents"]
    names = {each["Key"].rpartition("/")[2] for each in objects}
    assert {"checkpoint-a.pt", "checkpoint-b.pt"} <= names <= {"checkpoint-a.pt", "checkpoint-b.pt", "steps-done.txt"}
    told = [line for line in jobs.lines(name) if line.startswith(("told to stop", "resumed"))]
    assert [line.partition(" ")[0] for line in told] == ["told", "resumed"]
