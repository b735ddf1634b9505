"""helpers.compute: training on an instance that saves its results and ends its own bill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import compute
from helpers.cloud import Cloud, connect, ensure_bucket
from helpers.recipe import read_report
from helpers.settings import Settings
from tests.conftest import LocalAws
from tests.instances import Instances
from tests.tiny_photos import TRAIN_SRC, write_photos

TINY = {"architecture": "small_cnn", "image-size": 32, "batch-size": 8, "workers": 1, "epochs": 2}
STUB = """\
import os, sys, time
print("training", sys.argv[sys.argv.index("--kind") + 1], flush=True)
kind = sys.argv[sys.argv.index("--kind") + 1]
if kind == "fails":
    sys.exit("there are no dogs")
if kind == "is-killed":  # as by a machine that is out of memory
    os.kill(os.getpid(), 9)
if kind == "hangs":
    time.sleep(300)
"""


@pytest.fixture
def cloud(user: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setenv("LOCALAWS_STATE", str(user.state))
    connected = connect(Settings.of(project="computing", target="local"))
    ensure_bucket(connected)
    return connected


@pytest.fixture
def photos(cloud: Cloud, tmp_path: Path) -> str:
    """The tiny photos in the bucket; their address."""
    folder = write_photos(tmp_path / "photos", train=3, valid=2, test=2)
    for path in folder.rglob("*.jpg"):
        cloud.client("s3").upload_file(str(path), cloud.bucket, f"data/{path.relative_to(folder).as_posix()}")
    return cloud.s3_uri("data")


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A folder with a training program that only behaves in some way."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "train.py").write_text(STUB)
    return tmp_path / "stub"


def launch_stub(cloud: Cloud, stub: Path, kind: str, **options: Any) -> str:
    data = cloud.s3_uri("data")
    return compute.launch(cloud, source_dir=stub, data_uri=data, hyperparameters={"kind": kind}, **options)


def test_an_instance_trains_saves_and_terminates_itself(
    cloud: Cloud, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = compute.launch(cloud, source_dir=TRAIN_SRC, data_uri=photos, hyperparameters=TINY)
    launched = compute.describe(cloud, instance)
    assert launched["InstanceType"] == "c5.large"
    assert launched["MetadataOptions"]["HttpTokens"] == "required"
    assert launched["IamInstanceProfile"]["Arn"].endswith("instance-profile/computing-ec2")
    status = compute.follow(cloud, instance, every=0.5, show="train:loss|saving")
    assert (status["status"], status["exit_code"], status["timed_out"]) == ("Completed", 0, False)
    ended = compute.describe(cloud, instance)
    assert (ended["State"]["Name"], ended["StateReason"]["Code"]) == ("terminated", "Client.InstanceInitiatedShutdown")
    shown = capsys.readouterr().err
    assert shown.count("train:loss=") == 2, "one line an epoch"
    assert "terminated" in shown
    folder = compute.collect(cloud, instance, tmp_path / "ec2")
    assert json.loads((folder / "model" / "model.json").read_text())["classes"][0]["class"] == "001.Red_setter"
    assert (folder / "model" / "code" / "serving.py").is_file()
    assert len(read_report(folder / "output")["history"]) == 2
    summary = compute.summary(cloud, instance)
    assert (summary["status"], summary["instance_type"]) == ("Completed", "c5.large")
    assert summary["billable_seconds"] >= 60
    assert 0 < summary["training_seconds"] <= summary["wall_seconds"] + 1
    assert compute.latest(cloud) == instance


@pytest.mark.parametrize(("kind", "code", "last"), [("fails", 1, "there are no dogs"), ("is-killed", 137, "Killed")])
def test_a_failing_training_ends_the_instance_and_says_why(
    cloud: Cloud, photos: str, stub: Path, kind: str, code: int, last: str
) -> None:
    instance = launch_stub(cloud, stub, kind)
    with pytest.raises(compute.InstanceFailed, match=f"failed with exit code {code}") as failed:
        compute.follow(cloud, instance, every=0.5)
    assert last in str(failed.value)
    assert compute.describe(cloud, instance)["State"]["Name"] == "terminated"
    assert compute.summary(cloud, instance)["model"] is None
    with pytest.raises(LookupError, match="is not there"):
        compute.collect(cloud, instance, stub / "into")


def test_a_time_limit_ends_the_training_and_the_instance(cloud: Cloud, photos: str, stub: Path) -> None:
    instance = launch_stub(cloud, stub, "hangs", max_runtime=1)
    status = compute.follow(cloud, instance, every=0.5)
    assert (status["status"], status["timed_out"]) == ("Stopped", True)
    assert any("time limit of 1 s" in line for line in compute.read_log(cloud, instance))
    assert compute.describe(cloud, instance)["State"]["Name"] == "terminated"


def test_an_instance_terminated_from_outside_is_told_of(cloud: Cloud, photos: str, stub: Path) -> None:
    token = "once-only"
    instance = launch_stub(cloud, stub, "hangs", client_token=token, spot=True)
    assert launch_stub(cloud, stub, "hangs", client_token=token, spot=True) == instance
    assert compute.instances(cloud) == [instance]
    compute.terminate(cloud, instance)
    with pytest.raises(compute.InstanceFailed, match=rf"Training on {instance}"):
        compute.follow(cloud, instance, every=0.5)
    assert compute.summary(cloud, instance)["spot"] is True
    assert compute.instances(cloud) == []


def test_the_manual_path_works_too(cloud: Cloud, photos: str, user: LocalAws) -> None:
    lines = compute.commands(cloud, source_dir=TRAIN_SRC, data_uri=photos, hyperparameters={**TINY, "epochs": 1})
    instances = Instances(user)
    instance = instances.running(IamInstanceProfile={"Name": compute.ensure_instance_profile(cloud)})
    done = instances.run_command(instance, "set -e", *lines)
    assert done["Status"] == "Success", done["StandardErrorContent"]
    cloud.client("s3").head_object(Bucket=cloud.bucket, Key="ec2/by-hand/model.tar.gz")
    compute.terminate(cloud, instance)


def test_images_follow_the_instance_type(cloud: Cloud) -> None:
    assert compute.latest_ami(cloud, "c5.large")["name"].startswith("al2023-ami-2023")
    assert "PyTorch 2.14 (Ubuntu 24.04)" in compute.latest_ami(cloud, "g5.xlarge")["name"]
