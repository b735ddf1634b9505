"""What a first cell and a first command wait for, in times of what ``import boto3`` takes on the same machine."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import helpers
from tests.conftest import ROOT, localaws_cli

HELPERS = [f"helpers.{module.name}" for module in pkgutil.iter_modules(helpers.__path__) if module.name != "localaws"]
TIMES = 3


def fastest(action: Callable[[], object]) -> float:
    """Seconds of the fastest of a few runs."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return min(taken)


def importing(*modules: str) -> float:
    """Seconds that a new interpreter takes to import these."""
    argv = [sys.executable, "-c", f"import {', '.join(modules)}"]
    return fastest(lambda: subprocess.run(argv, cwd=ROOT, check=True, timeout=120))


@pytest.fixture(scope="module")
def boto3_seconds() -> float:
    importing("boto3")  # from the disk, once
    return importing("boto3")


def test_all_helpers_are_imported_in_a_few_times_what_boto3_takes(boto3_seconds: float) -> None:
    everything, cloud = importing(*HELPERS), importing("helpers.cloud")
    print(f"import boto3: {boto3_seconds:.2f} s, helpers.cloud: {cloud:.2f} s, all helpers: {everything:.2f} s")
    assert cloud < 5 * boto3_seconds
    assert everything < 10 * boto3_seconds


def test_the_embedded_aws_starts_in_some_times_what_boto3_takes(boto3_seconds: float, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    ups, asked = [], []
    try:
        for _ in range(TIMES):
            began = time.perf_counter()
            localaws_cli("up", "--state", state)
            ups.append(time.perf_counter() - began)
            asked.append(fastest(lambda: localaws_cli("env", "--json", "--state", state)))
            localaws_cli("down", "--state", state)
    finally:
        localaws_cli("down", "--state", state, check=False)
    print(f"import boto3: {boto3_seconds:.2f} s, up: {min(ups):.2f} s, env: {min(asked):.2f} s")
    assert min(ups) < 25 * boto3_seconds
    assert min(asked) < 4 * boto3_seconds
