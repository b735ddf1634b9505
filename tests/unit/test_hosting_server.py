"""The entrypoint of an endpoint's instance: which application it takes, and when it calls pip."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.localaws.engines.hosting import model_server
from helpers.localaws.engines.hosting.model_server import Unservable


@pytest.mark.parametrize(
    ("text", "satisfied"),
    [
        ("", True),
        ("# nothing\n\n", True),
        ("boto3", True),
        ("boto3>=1.20  # with a reason\nPyYAML\n", True),
        ("boto3==0.1", False),
        ("no-such-package", False),
        ("no-such-package; python_version < '3'", True),
        ("uvicorn[standard]", False),
        ("-r other.txt", False),
        ("--index-url https://example.org/simple\nboto3", False),
        ("./local.whl", False),
        ("boto3 @ https://example.org/boto3.whl", False),
    ],
)
def test_pip_is_called_only_where_something_may_be_missing(text: str, satisfied: bool, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    assert model_server.are_satisfied(path) is satisfied


def test_requirements_that_are_there_or_none_at_all_install_nothing(tmp_path: Path) -> None:
    model_server.install_requirements(tmp_path / "requirements.txt")
    (tmp_path / "requirements.txt").write_text("boto3")
    model_server.install_requirements(tmp_path / "requirements.txt")


def test_the_application_at_the_root_is_taken_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "applications:\n"
        "- {name: other, import_path: 'other:app', route_prefix: /other}\n"
        "- {import_path: 'serving:application', runtime_env: {env_vars: {A: b}}}\n"
    )
    assert model_server.find_application(tmp_path) == {
        "name": "default",
        "route_prefix": "/",
        "import_path": "serving:application",
        "runtime_env": {"env_vars": {"A": "b"}},
    }


def test_without_a_configuration_the_environment_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_RAYSERVE_APP", "module:app")
    assert model_server.find_application(tmp_path)["import_path"] == "module:app"
    monkeypatch.delenv("SM_RAYSERVE_APP")
    with pytest.raises(Unservable, match="SM_RAYSERVE_APP"):
        model_server.find_application(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "- a\n", "applications: 1", "applications: [{name: x}]", "a: [", "applications: []"]
)
def test_a_configuration_without_an_application_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(Unservable, match=r"config\.yaml"):
        model_server.find_application(tmp_path)


def test_an_import_path_is_followed_with_a_colon_or_a_dot() -> None:
    assert model_server.load("os.path:join") is model_server.load("os.path.join") is __import__("os").path.join


@pytest.mark.parametrize("path", ["os:nothing", "json", "os:"])
def test_an_import_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(Unservable, match="import_path"):
        model_server.load(path)


def test_a_module_that_is_not_there_fails_as_an_import() -> None:
    with pytest.raises(ModuleNotFoundError):
        model_server.load("no_such_module:app")
