"""Heavy libraries are imported where they are used: no first cell and no command waits for what it does not use."""

import json
import pkgutil
import subprocess
import sys

import pytest

import helpers
from helpers.localaws import operations
from tests.conftest import ROOT

HEAVY = {"IPython", "aiohttp", "matplotlib", "nbformat", "optuna", "pandas", "papermill", "sagemaker", "scipy", "torch"}
HELPERS = [f"helpers.{module.name}" for module in pkgutil.iter_modules(helpers.__path__) if module.name != "localaws"]


def loaded(*modules: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after it imported these."""
    script = "import importlib, json, sys; [importlib.import_module(name) for name in sys.argv[1:]]; "
    script += "print(json.dumps([name for name in sys.modules if '.' not in name]))"
    argv = [sys.executable, "-c", script, *modules]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    return set(json.loads(done.stdout))


def test_no_helper_imports_a_heavy_library_before_it_is_used() -> None:
    found = loaded(*HELPERS)
    assert "boto3" in found
    assert not HEAVY & found


def test_the_embedded_aws_imports_no_heavy_library_before_it_is_used() -> None:
    answering = [f"{operations.__name__}.{module.name}" for module in pkgutil.iter_modules(operations.__path__)]
    found = loaded("helpers.localaws.server", *answering)
    assert {"moto", "cheroot"} <= found
    assert not HEAVY & found


@pytest.mark.parametrize("missing", ["moto", "boto3", "botocore", "cheroot", "numpy"])
def test_a_command_to_the_embedded_aws_imports_nothing_of_the_server(missing: str, command: set[str]) -> None:
    assert "psutil" in command
    assert missing not in command


@pytest.fixture(scope="module")
def command() -> set[str]:
    return loaded("helpers.localaws.__main__")
