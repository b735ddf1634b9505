"""``python tests/everything.py PROJECT [KIND]``: make one of every kind of resource that the series makes, a line each.

It is a program, and not a fixture, so that a test can kill it between any two of them: after ``KIND`` it waits to be.
"""

from __future__ import annotations

import io
import signal
import sys
import tarfile
import time
from collections.abc import Iterator

from helpers import access, budgets, cloud, compute, hosting, notebook_instance, scaling, teardown, tuning
from helpers.settings import ROOT, Settings

HANDLER = "def lambda_handler(event, context):\n    return 1\n"
APP = """
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})
"""
ENDLESS = "import signal, time\nprint('valid:loss=1.0', flush=True)\ntime.sleep(3600)\n"


def make(there: cloud.Cloud) -> Iterator[str]:
    """Make everything, and tell the kind of what there is now; what runs would run for an hour."""
    cloud.ensure_bucket(there)
    yield "s3:bucket"
    role = access.ensure_sagemaker_role(there)
    access.ensure_function_role(there)
    yield "iam:role"
    yield from _compute(there)
    yield from _training(there, role)
    yield from _serving(there, role)
    notebook_instance.ensure_notebook_instance(there, role)
    yield "sagemaker:notebook-instance"
    budgets.ensure_budget(there, 5.0)
    yield "budgets:budget"


def _compute(there: cloud.Cloud) -> Iterator[str]:
    compute.ensure_instance_profile(there)
    yield "iam:instance-profile"
    compute.ensure_security_group(there)
    yield "ec2:security-group"
    tags = [{"Key": key, "Value": value} for key, value in there.settings.tags.items()]
    there.client("ec2").run_instances(
        ImageId=compute.latest_ami(there, "c5.large")["id"],
        InstanceType="c5.large",
        MinCount=1,
        MaxCount=1,
        UserData="#!/bin/sh\nsleep 3600\n",
        IamInstanceProfile={"Name": compute.name_of(there)},
        SecurityGroupIds=[compute.ensure_security_group(there)],
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    yield "ec2:instance"


def _training(there: cloud.Cloud, role: str) -> Iterator[str]:
    source = ROOT / ".pytest_cache" / "everything"
    source.mkdir(parents=True, exist_ok=True)
    (source / "train.py").write_text(ENDLESS)
    there.client("s3").put_object(Bucket=there.bucket, Key="data/train/1.jpg", Body=b"x")
    tuning.start_tuning(
        there,
        there.settings.tuning_job_name,
        source_dir=source,
        entry_script="train.py",
        role=role,
        instance_type="ml.c5.2xlarge",
        channels={"train": there.s3_uri("data", "train")},
        hyperparameters={},
        ranges={"rate": tuning.continuous(0.1, 1.0)},
        objective="valid:loss",
        metrics={"valid:loss": "valid:loss=([0-9.]+)"},
        max_jobs=2,
        max_parallel=1,
    )
    # From here on nothing more comes of it by itself: its first trial, which is endless, has been made and has a log.
    logs, until = there.client("logs"), time.monotonic() + 120
    while not teardown._streams(logs, teardown.TRAINING_LOGS, f"{there.settings.tuning_job_name}-"):
        assert time.monotonic() < until, "no trial has started"
        time.sleep(0.2)
    yield "sagemaker:hyper-parameter-tuning-job"


def _serving(there: cloud.Cloud, role: str) -> Iterator[str]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("app.py")
        member.size = len(APP)
        tar.addfile(member, io.BytesIO(APP.encode()))
    there.client("s3").put_object(Bucket=there.bucket, Key="model.tar.gz", Body=packed.getvalue())
    name, kind = there.settings.endpoint_name, there.settings.endpoint_instance_type
    image, given = hosting.serving_image(there.region, kind), {"SM_RAYSERVE_APP": "app:application"}
    hosting.deploy(there, name, there.s3_uri("model.tar.gz"), role, image, kind, environment=given)
    yield "sagemaker:endpoint"
    scaling.ensure_autoscaling(there, name)
    yield "application-autoscaling:scalable-target"


if __name__ == "__main__":
    for made in make(cloud.connect(Settings.of(project=sys.argv[1]))):
        print(f"made {made}", flush=True)
        if sys.argv[2:] == [made]:
            signal.pause()
    print("made everything", flush=True)
