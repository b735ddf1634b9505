"""What the tests of training jobs share: a bucket, a role, and jobs that run a few lines of Python."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import WaiterError

from tests.conftest import LocalAws

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.14-cpu-amzn2023-sagemaker"
LOGS = "/aws/sagemaker/TrainingJobs"
BUCKET = "training-tests"
NUMBERS = itertools.count(1)


@dataclass
class Jobs:
    """Makes training jobs on an embedded AWS without the SDK: one code channel, Python as the entry point."""

    aws: LocalAws
    role: str = field(init=False)

    def __post_init__(self) -> None:
        self.sagemaker, self.s3 = self.aws.client("sagemaker"), self.aws.client("s3")
        self.logs, self.cloudwatch = self.aws.client("logs"), self.aws.client("cloudwatch")
        self.s3.create_bucket(Bucket=BUCKET)
        self.role = self.aws.role("training-tests", "sagemaker.amazonaws.com")

    def put(self, key: str, content: str | bytes = "") -> str:
        """Put an object; its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def request(self, script: str, instances: int = 1, **changes: Any) -> dict[str, Any]:
        """CreateTrainingJob's input for a job that runs ``script``; ``changes`` replace its members."""
        name = f"job-{os.getpid()}-{next(NUMBERS)}"  # of this run: others may test on the same machine
        self.put(f"code/{name}/train.py", script)
        return {
            "TrainingJobName": name,
            "RoleArn": self.role,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
            },
            "InputDataConfig": [channel("code", f"s3://{BUCKET}/code/{name}/")],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/"},
            "ResourceConfig": {"InstanceType": "ml.c5.2xlarge", "InstanceCount": instances, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 300},
            **changes,
        }

    def start(self, script: str, channels: dict[str, str] | None = None, **changes: Any) -> str:
        """Create a job; its name."""
        request = self.request(script, **changes)
        request["InputDataConfig"] += [channel(name, uri) for name, uri in (channels or {}).items()]
        self.sagemaker.create_training_job(**request)
        return str(request["TrainingJobName"])

    def end(self, name: str) -> dict[str, Any]:
        """Wait for the job's end; its description then."""
        waiter = self.sagemaker.get_waiter("training_job_completed_or_stopped")
        try:
            waiter.wait(TrainingJobName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200})
        except WaiterError as error:
            assert "TrainingJobStatus" in str(error.last_response)
        description: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        assert description["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")
        return description

    def run(self, script: str, **changes: Any) -> dict[str, Any]:
        """Create a job and wait for its end."""
        return self.end(self.start(script, **changes))

    def wait_for_object(self, key: str) -> None:
        """Until an object is there."""
        waiter = self.s3.get_waiter("object_exists")
        waiter.wait(Bucket=BUCKET, Key=key, WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200})

    def lines(self, name: str, host: int = 1) -> list[str]:
        """What a host has logged."""
        prefix = f"{name}/algo-{host}-"
        streams = self.logs.describe_log_streams(logGroupName=LOGS, logStreamNamePrefix=prefix)["logStreams"]
        return [
            event["message"]
            for stream in streams
            for event in self.logs.get_log_events(
                logGroupName=LOGS, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]

    def archive(self, uri: str) -> dict[str, str]:
        """The files of a ``.tar.gz`` in S3, as texts."""
        key = uri.removeprefix(f"s3://{BUCKET}/")
        content = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            return {name: file.read().decode() for name, file in files.items() if file}

    def model(self, description: dict[str, Any]) -> dict[str, str]:
        """The files of a job's model.tar.gz."""
        return self.archive(description["ModelArtifacts"]["S3ModelArtifacts"])


def channel(name: str, uri: str, kind: str = "S3Prefix", distribution: str = "FullyReplicated") -> dict[str, Any]:
    """One member of InputDataConfig."""
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": distribution}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def statuses(description: dict[str, Any]) -> list[str]:
    """The secondary statuses a job went through."""
    return [transition["Status"] for transition in description["SecondaryStatusTransitions"]]


def processes_of(name: str) -> list[int]:
    """The processes on this machine that belong to a training job."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            environment = (folder / "environ").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if f"TRAINING_JOB_NAME={name}\0".encode() in environment:
            found.append(int(folder.name))
    return found


class Gate:
    """Two named pipes between a test and a script on the same machine: the script says it is there, and waits."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._here, self._go = folder / "here", folder / "go"
        os.mkfifo(self._here)
        os.mkfifo(self._go)

    @property
    def script(self) -> str:
        """Python that a job runs to wait at the gate."""
        return f"open({str(self._here)!r}, 'w').write('x'); open({str(self._go)!r}).read()"

    @property
    def arrive(self) -> str:
        """Python that only says that the script is there."""
        return f"open({str(self._here)!r}, 'w').write('x')"

    def wait(self) -> None:
        """Until the script is there."""
        self._here.read_text()

    def open(self) -> None:
        """Let the script go on."""
        self._go.write_text("x")


__all__ = ["BUCKET", "IMAGE", "LOGS", "Gate", "Jobs", "channel", "processes_of", "statuses"]
