"""What the tests of the notebooks share: one run of the whole series."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.series_runs import run_series


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the whole series on two cores and in 4 GiB; ``requests.jsonl`` is what it asked of AWS."""
    folder = tmp_path_factory.mktemp("series")
    few = ("--epochs", "2", "--tuning-trials", "2", "--max-memory", "4")
    record = {"LOCALAWS_RECORD": str(folder / "requests.jsonl")}
    done = run_series("--out", str(folder), "--project", "tested", *few, cores=2, **record)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
