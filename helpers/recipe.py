"""How the series trains: which hyperparameters suit the weights it was given."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import tuning
from .cloud import Cloud
from .settings import ROOT, Settings

SOURCE = ROOT / "train_src"
ENTRY_SCRIPT = "train.py"

# Good weights need only a new head: the trunk is frozen, and its features of every photo are computed once.
FROZEN = {"freeze": "true", "image_size": 224, "epochs": 20}
# Without weights everything must be learnt: small pictures, a small network, more passes.
SCRATCH = {"freeze": "false", "image_size": 96, "epochs": 30, "batch_size": 32, "learning_rate": 0.004}
TRIAL_EPOCHS = 6


def hyperparameters(settings: Settings) -> dict[str, Any]:
    """What the training program is told, for these settings."""
    chosen: dict[str, Any] = {
        "architecture": settings.model_architecture,
        **(FROZEN if settings.pretrained else SCRATCH),
    }
    if settings.epochs:
        chosen["epochs"] = settings.epochs
    return {name.replace("_", "-"): value for name, value in chosen.items()}


def trial_epochs(settings: Settings) -> int:
    """How long a tuning trial trains: long enough to tell good from bad, a fraction of the real thing."""
    return min(TRIAL_EPOCHS, int(hyperparameters(settings)["epochs"]))


def ranges() -> dict[str, Any]:
    """What is searched for, and where: learning rates by their order of magnitude, batch sizes by doubling."""
    return {
        "learning-rate": tuning.continuous(0.0005, 0.02, "Logarithmic"),
        "batch-size": tuning.categorical(32, 64, 128),
    }


def metric_definitions() -> dict[str, str]:
    """The metrics that the training program logs: a regular expression by name."""
    listed = json.loads((SOURCE / "metric_definitions.json").read_text())
    return {one["Name"]: one["Regex"] for one in listed}


def channels(data_uri: str, weights_uri: str | None) -> dict[str, str]:
    """The training channels: the three splits apart, and the weights where there are any."""
    splits = {split: f"{data_uri}/{split}" for split in ("train", "valid", "test")}
    return {**splits, "pretrained": weights_uri} if weights_uri else splits


def count_photos(cloud: Cloud, split: str) -> int:
    """How many photos of a split are in S3."""
    pages = cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=cloud.bucket, Prefix=f"data/{split}/")
    return sum(int(page["KeyCount"]) for page in pages)


def checkpoint_uri(cloud: Cloud, base_job_name: str) -> str:
    """A new place for a job's checkpoints: in a used one, the job that used it would be resumed."""
    return cloud.s3_uri("checkpoints", base_job_name, f"{datetime.now(UTC):%Y%m%d%H%M%S%f}")


def read_report(folder: Path) -> dict[str, Any]:
    """What the training program reports: history, test, confusion matrix (see results.py); ``folder`` is its output."""
    report: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return report
