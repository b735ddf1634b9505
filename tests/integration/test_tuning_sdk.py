"""The SageMaker SDK's HyperparameterTuner against the embedded AWS, used directly and through helpers.tuning."""

import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import training, tuning
from helpers.cloud import Cloud
from helpers.recipe import metric_definitions
from helpers.settings import Settings
from tests.conftest import LocalAws
from tests.tiny_photos import TRAIN_SRC, write_photos
from tests.training_jobs import BUCKET, IMAGE
from tests.tuning_jobs import SCRIPT, TuningJobs


@pytest.fixture(scope="module", autouse=True)
def exported(aws: LocalAws) -> Iterator[None]:
    """As after ``eval "$(python -m helpers.localaws env)"``; for the whole module, since the SDK reads it once."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            if name.startswith(("AWS_", "SAGEMAKER_")):
                patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def jobs(aws: LocalAws) -> TuningJobs:
    return TuningJobs(aws)


@pytest.fixture(scope="module")
def cloud(jobs: TuningJobs) -> Cloud:
    settings = Settings(project="tuner-tests")
    made = Cloud(settings, boto3.Session(region_name="us-east-1"), jobs.role.split(":")[4], "tests")
    made.client("s3").create_bucket(Bucket=made.bucket)
    return made


def test_a_users_own_tuner(jobs, tmp_path):
    """Twenty lines that know nothing of this series."""
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
    from sagemaker.core.training.configs import Compute, InputData, OutputDataConfig, SourceCode
    from sagemaker.train import ModelTrainer
    from sagemaker.train.tuner import HyperparameterTuner

    (tmp_path / "train.py").write_text(SCRIPT)
    jobs.put("tuner/train/a.csv", "1,2")
    trainer = ModelTrainer(
        training_image=IMAGE,
        role=jobs.role,
        base_job_name="mine",
        sagemaker_session=Session(boto3.Session(region_name="us-east-1"), default_bucket=BUCKET),
        source_code=SourceCode(source_dir=str(tmp_path), entry_script="train.py"),
        compute=Compute(instance_type="ml.c5.2xlarge", instance_count=1),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{BUCKET}/mine/out"),
    )
    tuner = HyperparameterTuner(
        trainer,
        "loss",
        {
            "lr": ContinuousParameter(1e-4, 1e-1, scaling_type="Logarithmic"),
            "kind": CategoricalParameter(["good", "bad"]),
            "layers": IntegerParameter(1, 3),
        },
        metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        objective_type="Minimize",
        max_jobs=4,
        max_parallel_jobs=2,
        base_tuning_job_name="mine",
        random_seed=3,
    )
    tuner.tune([InputData(channel_name="train", data_source=f"s3://{BUCKET}/tuner/train")], wait=False)
    tuner.latest_tuning_job.wait(poll=1)
    described = tuner.describe()
    assert described.hyper_parameter_tuning_job_status == "Completed"
    assert described.training_job_status_counters.completed == 4
    assert described.objective_status_counters.succeeded == 4
    rows = jobs.trials(described.hyper_parameter_tuning_job_name)
    values = {row["TrainingJobName"]: row["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for row in rows}
    assert tuner.best_training_job() == min(values, key=values.__getitem__)
    frame = tuner.analytics().dataframe()
    assert sorted(frame["FinalObjectiveValue"]) == pytest.approx(sorted(values.values()))


def start(cloud: Cloud, jobs: TuningJobs, folder: Path, script: str = SCRIPT, **more: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(script)
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "train.pyc").write_bytes(b"stale")
    jobs.put("tuner/train/a.csv", "1,2")
    arguments: dict[str, Any] = {
        "base_job_name": "helped",
        "source_dir": folder,
        "entry_script": "train.py",
        "role": jobs.role,
        "instance_type": "ml.c5.2xlarge",
        "channels": {"train": f"s3://{BUCKET}/tuner/train/"},
        "hyperparameters": {"layers": 2},
        "ranges": {
            "lr": tuning.continuous(1e-4, 1e-1, "Logarithmic"),
            "kind": tuning.categorical("good", "bad"),
        },
        "objective": "loss",
        "metrics": {"loss": "loss=([0-9.]+)"},
        "max_jobs": 3,
        "max_parallel": 2,
        "seed": 1,
    }
    return tuning.start_tuning(cloud, **{**arguments, **more})


def test_the_helpers_tune_and_tell(cloud, jobs, tmp_path, capfd):
    name = start(cloud, jobs, tmp_path / "source")
    description = tuning.follow_tuning(cloud, name, every=0.2)
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    told = capfd.readouterr().err.splitlines()
    assert f"tuning job {name}" in told
    assert "Completed: 3 of 3 trials done, 0 running; best: loss " in told[-1]
    assert tuning.latest_tuning(cloud, "helped") == name
    with pytest.raises(LookupError, match="no Failed tuning job helped-"):
        tuning.latest_tuning(cloud, "helped", "Failed")

    rows = tuning.trials_table(cloud, name)
    assert [list(row) for row in rows] == [["trial", "kind", "lr", "objective", "status", "seconds"]] * 3
    assert all(isinstance(row["lr"], float) and row["seconds"] > 0 for row in rows)
    best = min(rows, key=lambda row: row["objective"])
    assert tuning.best_trial(cloud, name) == {"layers": 2, "lr": best["lr"], "kind": best["kind"]}

    definition = description["TrainingJobDefinition"]
    bucket, key = definition["StaticHyperParameters"]["sagemaker_submit_directory"].removeprefix("s3://").split("/", 1)
    with tarfile.open(fileobj=BytesIO(jobs.s3.get_object(Bucket=bucket, Key=key)["Body"].read())) as tar:
        assert tar.getnames() == ["train.py"], "stale byte code stays at home"
    tags = cloud.client("sagemaker").list_tags(ResourceArn=description["HyperParameterTuningJobArn"])["Tags"]
    assert tags == [{"Key": "project", "Value": "tuner-tests"}]


def test_a_failing_tuning_job_raises_with_reasons(cloud, jobs, tmp_path):
    name = start(cloud, jobs, tmp_path / "source", "raise SystemExit(3)", max_jobs=1, max_parallel=1)
    with pytest.raises(tuning.TuningFailed, match="All training jobs failed") as caught:
        tuning.follow_tuning(cloud, name, every=0.2)
    assert "exit code: " in str(caught.value)
    with pytest.raises(LookupError, match="has no best trial"):
        tuning.best_trial(cloud, name)
    assert tuning.trials_table(cloud, name)[0]["objective"] is None


def test_an_interrupt_while_following_stops_the_tuning_job(cloud, jobs, tmp_path, monkeypatch):
    name = start(cloud, jobs, tmp_path / "source", "import signal\nsignal.pause()", base_job_name="interrupted")
    assert start(cloud, jobs, tmp_path / "source", base_job_name="interrupted") == name, "a second one was started"
    monkeypatch.setattr(tuning.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt, match=f"Tuning job {name} and its trials are being stopped"):
        tuning.follow_tuning(cloud, name)
    monkeypatch.undo()
    assert jobs.tuning_end(name)["HyperParameterTuningJobStatus"] == "Stopped"
    assert {row["status"] for row in tuning.trials_table(cloud, name)} <= {"Stopped"}


def test_what_cannot_be_started(cloud, jobs, tmp_path):
    with pytest.raises(ValueError, match="too long for a tuning job"):
        start(cloud, jobs, tmp_path / "source", base_job_name="a-name-of-twenty-chr")
    with pytest.raises(ClientError, match="Could not assume role"):
        start(cloud, jobs, tmp_path / "source", role="arn:aws:iam::123456789012:role/nobody")


def test_the_series_own_program_runs_as_a_trial(cloud, jobs, tmp_path):
    """train_src through AWS's toolkit: hyperparameters, channels, metrics, and a model that is more than weights."""
    photos = write_photos(tmp_path / "photos", train=4, valid=2, test=2)
    for path in photos.rglob("*.jpg"):
        jobs.put(f"tiny/{path.relative_to(photos)}", path.read_bytes())
    name = start(
        cloud,
        jobs,
        tmp_path / "unused",
        source_dir=TRAIN_SRC,
        channels={split: f"s3://{BUCKET}/tiny/{split}/" for split in ("train", "valid", "test")},
        hyperparameters={
            "architecture": "shufflenet_v2_x0_5",
            "image-size": 32,
            "epochs": 1,
            "workers": 1,
            "freeze": "false",
        },
        ranges={"learning-rate": tuning.continuous(1e-4, 1e-2), "batch-size": tuning.categorical(4, 8)},
        objective="valid:loss",
        metrics=metric_definitions(),
        max_jobs=1,
        max_parallel=1,
    )
    tuning.follow_tuning(cloud, name, every=0.5)
    (row,) = tuning.trials_table(cloud, name)
    assert row["status"] == "Completed"
    assert row["batch-size"] in (4, 8)
    job = training.describe(cloud, row["trial"])
    metrics = {one["MetricName"]: one["Value"] for one in job["FinalMetricDataList"]}
    assert row["objective"] == metrics["valid:loss"] > 0
    model = training.fetch_model(cloud, row["trial"], tmp_path / "model")
    assert (model / "code" / "serving.py").is_file()


def test_a_grid_through_the_sdk(cloud, jobs, tmp_path):
    ranges = {"kind": tuning.categorical("good", "bad")}
    name = start(cloud, jobs, tmp_path / "source", strategy="Grid", ranges=ranges)
    tuning.follow_tuning(cloud, name, every=0.2)
    assert [row["kind"] for row in tuning.trials_table(cloud, name)] == ["good", "bad"]
    assert tuning.best_trial(cloud, name)["kind"] == "good"
