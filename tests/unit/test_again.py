"""What becomes of a few tests that fail at first, and of many."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import again

LUCK = """
import pathlib
def test_it():
    tried = pathlib.Path("tried")
    if not tried.exists():
        tried.touch()
        raise AssertionError("the first time")
def test_another():
    pass
"""
BROKEN = "def test_it():\n    raise AssertionError('always')\n"


def first_run(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = ray: not here\n")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "--cache-clear", "-p", "no:xdist"]
    assert subprocess.run(command, cwd=folder, env=plain, check=False, capture_output=True).returncode == 1


def test_what_passes_when_run_again_is_named_and_does_not_fail_the_suite(tmp_path: Path, capfd) -> None:
    first_run(tmp_path, luck=LUCK)
    assert again.run(tmp_path) == 0
    said = capfd.readouterr().out
    assert "UNLUCKY" in said
    assert "  test_luck.py::test_it\n" in said
    assert "2 passed" in said, "the whole file is run: its tests may share what one of them made"


def test_what_fails_again_fails_the_suite(tmp_path: Path, capfd) -> None:
    first_run(tmp_path, luck=LUCK, broken=BROKEN)
    assert again.run(tmp_path) == 1
    assert "UNLUCKY" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("failed", "files"),
    [
        ([], []),
        (["a.py::x", "b.py::y[1]", "a.py::z"], ["a.py", "b.py"]),
        (["a.py::1", "a.py::2", "a.py::3", "a.py::4"], []),
    ],
)
def test_more_than_a_few_failures_are_not_bad_luck(tmp_path: Path, failed: list[str], files: list[str]) -> None:
    assert again.files_to_run(failed) == files
    if not files:
        record = tmp_path / again.LAST_FAILED
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps(dict.fromkeys(failed, True)))
        assert again.run(tmp_path) == 1
