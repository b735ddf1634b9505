"""The arrows of the architecture that import-linter cannot see, and what must not be in the repository."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
STANDARD = set(sys.stdlib_module_names)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found - STANDARD


@pytest.mark.parametrize("folder", ["train_src", "lambda"])
def test_what_is_shipped_elsewhere_imports_nothing_of_this_repository(folder):
    files = sorted((ROOT / folder).glob("*.py"))
    assert files
    for path in files:
        assert not {"helpers", "tests"} & imports(path.read_text()), path


def test_the_function_needs_only_what_lambda_has():
    for path in (ROOT / "lambda").glob("*.py"):
        assert imports(path.read_text()) <= {"boto3", "botocore"}, path


def test_only_one_place_asks_which_cloud_it_is_on():
    allowed = {"cloud.py", "settings.py", "series.py"}
    for path in (ROOT / "helpers").glob("*.py"):
        if path.name not in allowed:
            source = path.read_text()
            assert "AWS_ENDPOINT_URL" not in source, path
            assert ".target" not in source, path


def test_the_lock_file_has_hashes_and_names_no_index():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|--index|--find-links|file:", lock)
    pins = re.findall(r"^([A-Za-z0-9_.\-\[\]]+)==", lock, re.M)
    assert len(pins) > 100
    assert lock.count("--hash=sha256:") >= len(pins)


def test_the_conda_environment_has_the_locks_versions():
    lock = dict(re.findall(r"^([a-z0-9_.\-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.M))
    names = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pinned = [one for one in environment["dependencies"] if isinstance(one, str)]
    pinned += next(one["pip"] for one in environment["dependencies"] if isinstance(one, dict))
    assert len(pinned) > 8
    for one in pinned:
        name, version = re.split(r"==?", one)
        if name not in ("python", "pip"):
            assert lock[names.get(name, name)].split(" ")[0] == version, name


def test_nothing_of_this_machine_is_in_the_repository():
    checkout = str(ROOT)
    for path in tracked():
        content = path.read_bytes()
        assert checkout.encode() not in content, path
        assert not re.search(rb"(?<!servicequotas)/(home|Users)/[a-z]+/|/root/\.", content), path
        assert len(content) < 1_000_000, path
