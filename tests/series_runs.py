"""Runs of the series, as a user starts them, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import psutil

from helpers.localaws.engines.processes import marked
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


def outputs(path: Path) -> list[Any]:
    """Every output of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells for output in cell.get("outputs", [])]


def text(path: Path) -> str:
    """What a notebook has printed."""
    return "\n".join(output.get("text", "") for output in outputs(path))


def nothing_runs(out: Path) -> bool:
    """Whether every kernel of a run and every process of its embedded AWS has ended."""
    state = out / "localaws"
    return not any(_belongs(process, state) for process in psutil.process_iter()) and not marked(
        (state / "id").read_text()
    )


def _belongs(process: psutil.Process, state: Path) -> bool:
    try:
        return process.environ().get("LOCALAWS_STATE") == str(state)
    except (psutil.Error, OSError):
        return False
