"""The SageMaker SDK's ModelTrainer against the embedded AWS, used directly and through helpers.training."""

import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from helpers import training
from helpers.cloud import Cloud
from helpers.settings import Settings
from tests.conftest import LocalAws
from tests.training_jobs import BUCKET, IMAGE, Jobs, processes_of, statuses


@pytest.fixture(scope="module", autouse=True)
def exported(aws: LocalAws) -> Iterator[None]:
    """As after ``eval "$(python -m helpers.localaws env)"``; for the whole module, since the SDK reads it once."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            if name.startswith(("AWS_", "SAGEMAKER_")):
                patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def jobs(aws: LocalAws) -> Jobs:
    return Jobs(aws)


@pytest.fixture(scope="module")
def cloud(jobs: Jobs) -> Cloud:
    settings = Settings(project="sdk-tests")
    made = Cloud(settings, boto3.Session(region_name="us-east-1"), jobs.role.split(":")[4], "tests")
    made.client("s3").create_bucket(Bucket=made.bucket)
    return made


def wheel(folder: Path, name: str) -> Path:
    """A wheel with one module that says hello."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    information = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "GREETING = 'hello from the overlay'\n")
        file.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(
            f"{information}/RECORD",
            f"{name}.py,,\n{information}/METADATA,,\n{information}/WHEEL,,\n{information}/RECORD,,\n",
        )
    return path


def test_a_users_own_script_trains_with_model_trainer(jobs, tmp_path):
    """Ten lines that know nothing of this series, with a requirements.txt."""
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training.configs import InputData, OutputDataConfig, SourceCode
    from sagemaker.train import ModelTrainer

    source = tmp_path / "source"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "train.pyc").write_bytes(b"stale")
    (source / "requirements.txt").write_text(str(wheel(tmp_path, "only_in_this_job")))
    (source / "train.py").write_text(
        "import argparse, os, only_in_this_job\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--epochs', type=int)\n"
        "parser.add_argument('--note')\n"
        "args = parser.parse_args()\n"
        "print(only_in_this_job.GREETING, only_in_this_job.__file__)\n"
        "print(args.note, args.epochs, sorted(os.listdir(os.environ['SM_CHANNEL_TRAIN'])), os.listdir('.'))\n"
        "open(os.path.join(os.environ['SM_MODEL_DIR'], 'model.txt'), 'w').write('weights')\n"
    )
    jobs.put("mine/train/a.csv", "1,2")
    trainer = ModelTrainer(
        training_image=IMAGE,
        role=jobs.role,
        base_job_name="mine",
        sagemaker_session=Session(boto3.Session(region_name="us-east-1"), default_bucket=BUCKET),
        source_code=SourceCode(source_dir=str(source), entry_script="train.py", requirements="requirements.txt"),
        hyperparameters={"epochs": 2, "note": "hello world"},
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{BUCKET}/mine/out"),
    )
    trainer.train([InputData(channel_name="train", data_source=f"s3://{BUCKET}/mine/train")], wait=False, logs=False)
    job = trainer._latest_training_job
    job.wait(poll=1, logs=True)
    assert job.training_job_status == "Completed"
    assert jobs.archive(job.model_artifacts.s3_model_artifacts) == {"model.txt": "weights"}
    log = "\n".join(jobs.lines(job.training_job_name))
    assert "hello from the overlay /opt" not in log, "the overlay lies outside /opt/ml"
    assert "/algo-1/python/lib/" in next(line for line in log.splitlines() if line.startswith("hello from the overlay"))
    assert "hello world 2 ['a.csv'] " in log
    assert "__pycache__" not in log
    assert not list((Path(boto3.__file__).parents[1]).glob("only_in_this_job*")), "it was installed into .venv"


ALL_REDUCE = """
import os, psutil, torch, torch.distributed as dist
dist.init_process_group("gloo")
for process in (psutil.Process(), *psutil.Process().parents()):
    try:
        listening = [c.laddr.ip for c in process.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
    except psutil.Error:
        continue
    if process.environ().get("LOCALAWS_ID"):
        print(f"pid {process.pid} listens on {sorted(set(listening))}")
value = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(value)
print(f"epoch=1 sum={value.item()} world={dist.get_world_size()} host={os.environ['SM_CURRENT_HOST']}")
if dist.get_rank() == 0:
    torch.save(value, os.path.join(os.environ["SM_MODEL_DIR"], "value.pt"))
    open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "report.txt"), "w").write("fine")
    open(os.path.join(os.environ["SM_MODEL_DIR"], "config.yaml"), "w").write("path: /opt/ml/model/code")
dist.destroy_process_group()
"""


def start(cloud: Cloud, jobs: Jobs, folder: Path, script: str, **more: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(script)
    jobs.put("sdk/train/a", "x")
    arguments: dict[str, Any] = {
        "base_job_name": "helped",
        "source_dir": folder,
        "entry_script": "train.py",
        "role": jobs.role,
        "instance_type": "ml.c5.2xlarge",
        "channels": {"train": f"s3://{BUCKET}/sdk/train/"},
        "hyperparameters": {"epochs": 1},
        "metrics": {"sum": "sum=([0-9.]+)"},
    }
    return training.start_training(cloud, **{**arguments, **more})


def test_two_instances_are_one_distributed_job(cloud, jobs, tmp_path, capfd):
    name = start(
        cloud,
        jobs,
        tmp_path / "source",
        ALL_REDUCE,
        base_job_name="two-hosts",
        instance_count=2,
        distributed=True,
        spot=True,
        max_runtime=300,
        checkpoint_uri=cloud.s3_uri("checkpoints"),
    )
    job = training.follow(cloud, name, every=0.3)
    assert job["TrainingJobStatus"] == "Completed"
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600}
    assert job["EnableManagedSpotTraining"]
    assert job["CheckpointConfig"]["S3Uri"] == cloud.s3_uri("checkpoints")
    told = capfd.readouterr().err
    assert "Training: Training image download completed." in told
    assert "algo-1 | epoch=1 sum=3.0 world=2 host=algo-1" in told
    assert "algo-2 | epoch=1 sum=3.0 world=2 host=algo-2" in told
    assert "SM_TRAINING_ENV" not in told, "only the lines with metrics are shown"

    assert [
        (row["host"], row["sum"]) for row in sorted(training.metrics_table(cloud, name), key=lambda row: row["host"])
    ] == [
        ("algo-1", 3.0),
        ("algo-2", 3.0),
    ]
    listening = [line.text for line in training.read_log(cloud, name) if " listens on " in line.text]
    assert len(listening) >= 4, "torchrun and its worker, on both hosts"
    assert {line.rpartition(" on ")[2] for line in listening} <= {"[]", "['127.0.0.1']"}, listening

    summary = training.summary(cloud, name)
    assert (summary["status"], summary["instance_count"], summary["spot"]) == ("Completed", 2, True)
    assert summary["instance_seconds"] == 2 * summary["billable_seconds"] > 0
    assert summary["metrics"] == {"sum": 3.0}
    assert training.latest_job(cloud, "two-hosts") == name
    with pytest.raises(LookupError, match="no Failed training job two-hosts"):
        training.latest_job(cloud, "two-hosts", "Failed")
    with pytest.raises(LookupError):
        training.latest_job(cloud, "two")

    model = training.fetch_model(cloud, name, tmp_path / "model")
    assert sorted(path.name for path in model.iterdir()) == ["config.yaml", "value.pt"]
    assert (model / "config.yaml").read_text() == "path: /opt/ml/model/code", "an artefact has AWS's paths"
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "stale").touch()
    assert [path.name for path in training.fetch_output(cloud, name, tmp_path / "output").iterdir()] == ["report.txt"]

    tags = cloud.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "project", "Value": "sdk-tests"}]
    assert not processes_of(name)


EPOCHS = """
import os, pathlib, time
folder = pathlib.Path("/opt/ml/checkpoints")
done = (folder / "epoch").exists()
print(f"epoch={1 + done}", flush=True)
if not done:
    (folder / "part").write_text("1")
    (folder / "part").rename(folder / "epoch")
    time.sleep(600)
"""


def test_an_interruption_is_waited_through_and_followed(cloud, jobs, tmp_path, capfd):
    """By the SDK's own ``train(wait=True)``, in the background, and by our follower."""
    from sagemaker.core.training.configs import CheckpointConfig, Compute, SourceCode, StoppingCondition
    from sagemaker.train import ModelTrainer

    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.py").write_text(EPOCHS)
    trainer = ModelTrainer(
        training_image=IMAGE,
        role=jobs.role,
        base_job_name="waited-for",
        sagemaker_session=cloud.sagemaker_session,
        source_code=SourceCode(source_dir=str(tmp_path / "own"), entry_script="train.py"),
        compute=Compute(instance_type="ml.c5.2xlarge", instance_count=1, enable_managed_spot_training=True),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=300, max_wait_time_in_seconds=600),
        checkpoint_config=CheckpointConfig(s3_uri=cloud.s3_uri("spot", "sdk")),
    )
    spot: dict[str, Any] = {"spot": True, "checkpoint_uri": cloud.s3_uri("spot", "own"), "metrics": {"e": "epoch=(.)"}}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(trainer.train, wait=True, logs=True)
        name = start(cloud, jobs, tmp_path / "source", EPOCHS, base_job_name="followed", **spot)
        training.follow(cloud, name, every=0.3)
        waiting.result()
    told = capfd.readouterr().err
    ordered = ["algo-1 | epoch=1", " Interrupted: ", " Starting: ", "algo-1 | epoch=2", " Completed: "]
    positions = [told.rindex(text) for text in ordered]
    assert positions == sorted(positions)

    summary = training.summary(cloud, name)
    assert (summary["interruptions"], summary["metrics"]) == (1, {"e": 2.0})
    assert summary["savings"] == 1 - summary["billable_seconds"] / summary["training_seconds"] > 0
    assert [row["e"] for row in training.metrics_table(cloud, name)] == [1.0, 2.0]

    waited_for = trainer._latest_training_job
    assert waited_for.training_job_status == "Completed"
    assert "Interrupted" in [one.status for one in waited_for.secondary_status_transitions]
    assert [line for line in jobs.lines(waited_for.training_job_name) if "epoch=" in line] == ["epoch=1", "epoch=2"]


def test_a_failing_script_raises_with_reason_and_log(cloud, jobs, tmp_path):
    name = start(cloud, jobs, tmp_path / "source", "print('before the end')\nraise SystemExit(3)")
    with pytest.raises(training.TrainingFailed) as caught:
        training.follow(cloud, name, every=0.2)
    assert "AlgorithmError: " in str(caught.value)
    assert "exit code: 3" in str(caught.value)
    assert "algo-1 | before the end" in str(caught.value)
    with pytest.raises(LookupError, match="has no model"):
        training.fetch_model(cloud, name, tmp_path / "model")


def test_an_interrupt_while_following_stops_the_job(cloud, jobs, tmp_path, monkeypatch):
    name = start(cloud, jobs, tmp_path / "source", "import signal\nsignal.pause()", base_job_name="interrupted")
    monkeypatch.setattr(training.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt, match=f"Training job {name} is being stopped, since it would go on billing"):
        training.follow(cloud, name)
    monkeypatch.undo()
    assert jobs.end(name)["TrainingJobStatus"] == "Stopped"


def test_an_interrupt_while_starting_leaves_no_job(cloud, jobs, tmp_path, monkeypatch):
    """AWS has taken the request, but its answer, with the job's name, is never read."""
    from sagemaker.train import ModelTrainer

    started = ModelTrainer.train

    def interrupted(*arguments: Any, **more: Any) -> None:
        started(*arguments, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelTrainer, "train", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"Training job (\S+) is being stopped") as caught:
        start(cloud, jobs, tmp_path / "source", "import signal\nsignal.pause()", base_job_name="cut-short")
    assert jobs.end(str(caught.value).split()[2])["TrainingJobStatus"] == "Stopped"


def test_a_job_that_is_in_progress_is_not_started_twice(cloud, jobs, tmp_path, capsys):
    script = "import signal\nsignal.pause()"
    name = start(cloud, jobs, tmp_path / "source", script, base_job_name="once")
    assert start(cloud, jobs, tmp_path / "source", script, base_job_name="once") == name
    assert f"{name} is in progress already: no second job is started" in capsys.readouterr().err
    with pytest.raises(training.AlreadyTraining, match=rf"{name} is in progress, with other hyperparameters"):
        start(cloud, jobs, tmp_path / "source", script, base_job_name="once", hyperparameters={"epochs": 2})
    assert training.stop(cloud, name)
    jobs.end(name)
    assert not training.stop(cloud, name)
    while f"{datetime.now():%Y%m%d%H%M%S}" == name.rpartition("-")[2]:
        time.sleep(0.05)  # the SDK names jobs by the second
    other = start(cloud, jobs, tmp_path / "source", "pass", base_job_name="once", hyperparameters={"epochs": 2})
    assert other != name
    jobs.end(other)


def test_what_cannot_be_started(cloud, jobs, tmp_path):
    with pytest.raises(ValueError, match="single quote"):
        start(cloud, jobs, tmp_path / "source", "", hyperparameters={"note": "it's"})
    with pytest.raises(Exception, match="Could not assume role"):
        start(cloud, jobs, tmp_path / "source", "", role="arn:aws:iam::123456789012:role/nobody")


def test_images_suit_the_instance(cloud):
    assert "pytorch" in training.training_image(cloud, "ml.c5.2xlarge")
    assert "cpu" in training.training_image(cloud, "ml.c5.2xlarge")
    assert "cpu" not in training.training_image(cloud, "ml.g5.xlarge")
