"""Runs of the series, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers.samples import draw_sample_set

ROOT = Path(__file__).resolve().parents[1]


def shell_environment(**more: str) -> dict[str, str]:
    """The environment of a shell that knows nothing of any cloud."""
    mine = ("AWS_", "SAGEMAKER_", "LOCALAWS_", "DOGS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)} | more


def run_series(*arguments: str, cores: int | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m helpers.series …``, on at most so many cores where the system can limit them."""
    argv = [sys.executable, "-m", "helpers.series", *arguments]
    few = set(sorted(os.sched_getaffinity(0))[:cores]) if cores and hasattr(os, "sched_setaffinity") else set()
    return subprocess.run(
        argv,
        cwd=ROOT,
        env=shell_environment(**environment),
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, few)) if few else None,
    )


def tiny_set(folder: Path) -> Path:
    """A drawn set of few, small photos, drawn in a second."""
    return draw_sample_set(folder, breeds=3, train=2, valid=1, test=1, size=48)
