"""What the tests of tuning jobs share: jobs whose trials run a few lines of Python in script mode."""

from __future__ import annotations

import io
import itertools
import tarfile
import time
from typing import Any

from tests.training_jobs import BUCKET, IMAGE, Jobs

NUMBERS = itertools.count(1)
# Its objective is least at lr = 0.01 and for kind "good".
SCRIPT = """
import argparse, math
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--kind", default="good")
parser.add_argument("--layers", type=int, default=1)
args = parser.parse_args()
loss = abs(math.log10(args.lr) + 2) + (args.kind != "good") + args.layers
for epoch in range(3):
    print(f"epoch={epoch} loss={loss + 2 - epoch:.6f}")
"""
LR = {"Name": "lr", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
KIND = {"Name": "kind", "Values": ["good", "bad"]}
LAYERS = {"Name": "layers", "MinValue": "1", "MaxValue": "4"}


class TuningJobs(Jobs):
    """Makes tuning jobs on an embedded AWS without the SDK."""

    def source(self, script: str) -> str:
        """Upload a script as ``sagemaker_submit_directory`` wants it; its address."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            member = tarfile.TarInfo("train.py")
            member.size = len(script.encode())
            tar.addfile(member, io.BytesIO(script.encode()))
        return self.put(f"source/{next(NUMBERS)}/sourcedir.tar.gz", buffer.getvalue())

    def tuning_request(self, script: str = SCRIPT, **config: Any) -> dict[str, Any]:
        """CreateHyperParameterTuningJob's input; ``config`` replaces members of HyperParameterTuningJobConfig."""
        return {
            "HyperParameterTuningJobName": f"tuning-{next(NUMBERS)}",
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": {"ContinuousParameterRanges": [LR]},
                "RandomSeed": 1,
                **config,
            },
            "TrainingJobDefinition": {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
                },
                "RoleArn": self.role,
                "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/"},
                "ResourceConfig": {"InstanceType": "ml.c5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
                "StoppingCondition": {"MaxRuntimeInSeconds": 300},
                "StaticHyperParameters": {
                    "sagemaker_program": "train.py",
                    "sagemaker_submit_directory": self.source(script),
                },
            },
        }

    def tune(self, request: dict[str, Any]) -> str:
        """Create a tuning job; its name."""
        self.sagemaker.create_hyper_parameter_tuning_job(**request)
        return str(request["HyperParameterTuningJobName"])

    def described(self, name: str) -> dict[str, Any]:
        """DescribeHyperParameterTuningJob's answer."""
        answer: dict[str, Any] = self.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return answer

    def tuned(self, request: dict[str, Any]) -> dict[str, Any]:
        """Create a tuning job and wait for its end; its description then."""
        return self.tuning_end(self.tune(request))

    def tuning_end(self, name: str) -> dict[str, Any]:
        """Wait for a tuning job's end; its description then."""
        while self.described(name)["HyperParameterTuningJobStatus"] in ("InProgress", "Stopping"):
            time.sleep(0.1)
        return self.described(name)

    def trials(self, name: str, **options: Any) -> list[dict[str, Any]]:
        """Summaries of a tuning job's training jobs."""
        answer = self.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name, **{"MaxResults": 100, **options}
        )
        return list(answer["TrainingJobSummaries"])
