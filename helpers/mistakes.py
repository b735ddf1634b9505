"""The original project's mistakes, to be made on purpose and caught: each function here does one thing wrong.

Nothing of the series' own work is touched: what is damaged is a copy, and what would cost money is not started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from botocore.exceptions import ClientError

from . import quotas, recipe
from .photos import SPLITS, walk

if TYPE_CHECKING:
    from .cloud import Cloud

# An image that is not there: a job that is refused needs none.
IMAGE = "763104351884.dkr.ecr.{region}.amazonaws.com/pytorch-training:none"


# ---- 01: no look at the quotas ----


def start_unchecked(cloud: Cloud, role: str, instance_type: str) -> str:
    """Ask for a training job without a look at the quota, and return AWS's refusal in its words.

    Where the account *may* run such an instance nothing is asked, since it would start and bill: returns "".
    """
    need = quotas.Need("training", "sagemaker", f"{instance_type} for training job usage", 1, "")
    if quotas.check(cloud, [need])[0].ok:
        return ""
    name = f"{cloud.settings.project}-unchecked"
    try:
        cloud.client("sagemaker").create_training_job(
            TrainingJobName=name,
            RoleArn=role,
            AlgorithmSpecification={"TrainingImage": IMAGE.format(region=cloud.region), "TrainingInputMode": "File"},
            OutputDataConfig={"S3OutputPath": cloud.s3_uri("unchecked")},
            ResourceConfig={"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 10},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
    except ClientError as error:
        return str(error.response["Error"]["Message"])
    cloud.client("sagemaker").stop_training_job(TrainingJobName=name)
    return ""


# ---- 02: photos that are broken, or in the wrong place ----


def excerpt(folder: Path, into: Path, breeds: int = 12) -> Path:
    """A new data set ``into`` of the first breeds of a dogImages folder, made of links: to be damaged; ``into``."""
    shutil.rmtree(into, ignore_errors=True)
    for split in SPLITS:
        for breed in sorted(path for path in (folder / split).iterdir() if path.is_dir())[:breeds]:
            shutil.copytree(breed.resolve(), into / split / breed.name, copy_function=os.symlink)
    return into


def truncate(photo: Path, size: int = 150) -> Path:
    """Replace a photo by its first bytes, as a download that broke off leaves it (150: the original's Leonberger)."""
    head = photo.read_bytes()[:size]
    photo.unlink()  # a link: what it points to stays whole
    photo.write_bytes(head)
    return photo


def choose_by_test(folder: Path) -> int:
    """Make the test photos the validation photos too, as who tunes on the test set does; how many they are."""
    shutil.rmtree(folder / "valid")
    shutil.copytree(folder / "test", folder / "valid", symlinks=True)
    return sum(name.startswith("valid/") for name in walk(folder)[0])


def best_of_guessers(models: int = 50, photos: int = 120, classes: int = 12, seed: int = 0) -> dict[str, Any]:
    """Judge models that only guess on the photos by which the best is chosen, then the chosen one on new photos.

    ``scores`` of all, ``chosen``: the best of them, ``new``: what the chosen one comes to elsewhere. Shares.
    """
    random = np.random.default_rng(seed)
    truth, fresh = random.integers(classes, size=(2, photos))
    scores = (random.integers(classes, size=(models, photos)) == truth).mean(axis=1)
    new = float((random.integers(classes, size=photos) == fresh).mean())
    return {"scores": scores.tolist(), "chosen": float(scores.max()), "new": new}


# ---- 05: trained on the test folder, and not to the end ----


def train_on_test(folder: Path, into: Path, epochs: int = 12) -> dict[str, Any]:
    """Train a small network here on the folder's *test* photos, and judge it on them; the program's report.

    Its ``valid`` are the only photos that it never saw. Raises ``RuntimeError`` with the end of the log if it fails.
    """
    shutil.rmtree(into, ignore_errors=True)
    folders = {"train": folder / "test", "valid": folder / "valid", "test": folder / "test"}
    given = {"architecture": "small_cnn", "image-size": 64, "batch-size": 16, "learning-rate": 0.004, "epochs": epochs}
    given |= {**folders, "model-dir": into / "model", "output-dir": into / "output"}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SM_")}
    command = [sys.executable, str(recipe.SOURCE / recipe.ENTRY_SCRIPT), *words]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training ended with exit code {done.returncode}: {done.stderr[-2000:].strip()}")
    return recipe.read_report(into / "output")


# ---- 08: a teardown from memory ----


def remembered(cloud: Cloud) -> set[tuple[str, str]]:
    """What somebody would delete who goes by the names in the settings, as pairs of kind and name."""
    settings = cloud.settings
    return {
        ("sagemaker:endpoint", settings.endpoint_name),
        ("lambda:function", settings.function_name),
        ("sagemaker:notebook-instance", f"{settings.project}-notebook"),
        ("s3:bucket", cloud.bucket),
    }
