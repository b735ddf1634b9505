"""The notebooks' parameters: told by papermill, all of them in use, refused in one sentence where they cannot be."""

import ast
import functools
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import nbformat
import papermill
import pytest
from click.testing import CliRunner
from papermill.cli import papermill as command_line
from papermill.exceptions import PapermillExecutionError

from helpers import series
from helpers.settings import ROOT, Settings, SettingsError
from tests.notebooks.stored import NOTEBOOKS, code, read
from tests.series_runs import shell_environment

# A value of each parameter that differs from every notebook's default.
OTHER = {
    "project": "other",
    "region": "eu-central-1",
    "budget_usd": 2.5,
    "email": "me@example.com",
    "notebook": False,
    "data": "tests",
    "weights": "default",
    "architecture": "resnet18",
    "epochs": 3,
    "tuning_trials": 7,
    "compared": 5,
    "pace": 20,
    "target": "aws",
}
BAD = {
    "project": ["Dogs", "x" * 30, 7],
    "target": ["azure", ""],
    "region": ["mars", "us-east-3", 1],
    "budget_usd": [0, -1, "plenty", True],
    "email": ["me"],
    "notebook": ["perhaps"],
    "data": ["no/such.zip"],
    "weights": ["no/such.pth"],
    "architecture": [18],
    "epochs": [-1, "many", 1.5],
    "tuning_trials": [0, 1000, "two"],
    "compared": [0, "all"],
    "pace": [0, "slow", float("inf")],
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def declared(path):
    return papermill.inspect_notebook(str(path))


def cells(path):
    parameters, settings, *others = code(read(path))
    return parameters.source, settings.source, others


# ---- what a reader is told ----


def test_papermill_tells_type_default_and_meaning_of_each(path):
    told = CliRunner().invoke(command_line, ["--help-notebook", str(path)])
    assert told.exit_code == 0, told.output
    assert re.match(rf"Usage: .*\n\nParameters inferred for notebook '.*{path.name}':\n", told.output)
    shown = re.findall(r"^  (\w+): (\w+) \(default (.*?)\)\s+(\S.*)$", told.output, re.M)
    namespace = {}
    exec(cells(path)[0], namespace)
    assert [name for name, *_ in shown] == list(declared(path))
    for name, kind, default, meaning in shown:
        assert kind == type(namespace[name]).__name__
        assert ast.literal_eval(default) == namespace[name]
        assert len(meaning.split()) >= 2
    assert "Unknown" not in told.output


def test_defaults_are_the_settings_own(path):
    parameters, _, _ = cells(path)
    namespace = {}
    exec(parameters, namespace)
    for name in declared(path):
        assert namespace[name] == Settings.model_fields[name].default, name


# ---- every one takes effect ----


def settings_call(source):
    """The call ``Settings.of(…)`` of a settings cell."""
    (call,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Settings.of"
    ]
    return call


def made_settings(path, **values):
    """The settings that a notebook makes of parameters, its first two cells run by themselves up to there."""
    parameters, source, _ = cells(path)
    tree = ast.parse(source)
    end = next(at for at, node in enumerate(tree.body) if ast.unparse(node).startswith("settings = "))
    tree.body = tree.body[: end + 1]
    namespace = {}
    exec(parameters, namespace)
    namespace.update(values)
    exec(compile(tree, path.name, "exec"), namespace)
    return namespace["settings"]


def test_every_parameter_is_passed_to_the_settings_by_its_name(path):
    call = settings_call(cells(path)[1])
    assert not call.args
    assert all(ast.unparse(one.value) == one.arg for one in call.keywords)
    assert {one.arg for one in call.keywords} == set(declared(path))
    for name in declared(path):
        assert getattr(made_settings(path, **{name: OTHER[name]}), name) == OTHER[name]


class Code(NamedTuple):
    """What a piece of code refers to."""

    functions: set[str]  # of the helpers, as ``module.name``
    attributes: set[str]  # of anything
    settings: set[str]  # of something called settings, or of the settings themselves


def references(node, known, own=False):
    """``known`` says what names mean; ``own``: whether ``self`` is the settings."""
    told = Code(set(), set(), set())
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute):
            told.attributes.add(one.attr)
            of = ast.unparse(one.value)
            if of in known:
                told.functions.add(f"{known[of]}.{one.attr}")
            if of.endswith("settings") or (own and of == "self"):
                told.settings.add(one.attr)
        elif isinstance(one, ast.Name) and one.id in known:
            told.functions.add(known[one.id])
    return told


def imported(tree):
    """What names of a module or a notebook mean: ``module`` of the helpers, or ``module.name``."""
    return {
        alias.asname or alias.name: ".".join(
            filter(None, [(node.module or "").removeprefix("helpers").strip("."), alias.name])
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@functools.cache
def helper_code():
    """The code of each function of the helpers by ``module.name``, and of each method and property by its bare name."""
    functions, members = {}, {}
    for file in (ROOT / "helpers").glob("*.py"):
        tree = ast.parse(file.read_text())
        known = imported(tree) | {one.name: f"{file.stem}.{one.name}" for one in tree.body if hasattr(one, "name")}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                functions[f"{file.stem}.{node.name}"] = references(node, known)
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, ast.FunctionDef):
                    told = references(member, known, own=node.name == "Settings")
                    members.setdefault(member.name, []).append(told)
    return functions, members


def settings_read(path):
    """The settings that the notebook's code reads, or a helper that it calls, or one that this calls in turn."""
    functions, members = helper_code()
    tree = ast.parse("\n".join(cell.source for cell in code(read(path))[1:]))
    todo, seen, found = [references(tree, imported(tree))], set(), set()
    while todo:
        told = todo.pop()
        found |= told.settings
        for name in (told.functions | told.attributes) - seen:
            seen.add(name)
            todo += [functions[name]] if name in functions else members.get(name, [])
    return found


def test_something_reads_every_parameter(path):
    assert not set(declared(path)) - settings_read(path)


# ---- what cannot be is refused ----


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_every_notebook_refuses_a_bad_value(name, value):
    of_these = [path for path in NOTEBOOKS if name in declared(path)]
    assert of_these
    for path in of_these:
        with pytest.raises(SettingsError, match=rf"^{name} = .*cannot be: "):
            made_settings(path, **{name: value})


@pytest.mark.parametrize(
    ("number", "name", "value", "says"),
    [
        ("01", "project", "Dogs", "lower-case letters"),
        ("03", "tuning_trials", 1000, "less than or equal to 100"),
    ],
)
def test_papermill_fails_with_one_sentence_before_anything_starts(monkeypatch, tmp_path, number, name, value, says):
    for one in set(os.environ) - set(shell_environment()):
        monkeypatch.delenv(one)
    monkeypatch.setenv("LOCALAWS_STATE", str(tmp_path / "state"))
    path = next(path for path in NOTEBOOKS if path.name.startswith(number))
    with pytest.raises(PapermillExecutionError) as raised, TemporaryDirectory(prefix="kernel") as sockets:
        papermill.execute_notebook(
            path,
            tmp_path / "out.ipynb",
            {name: value},
            cwd=path.parent,
            kernel_name="python3",
            progress_bar=False,
            config=series._kernel(Path(sockets)),  # no port, which might be another's by the time that it starts
        )
    assert (raised.value.ename, says in raised.value.evalue) == ("SettingsError", True)
    assert raised.value.exec_count == 3, "parameters, injected parameters, settings"
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    (shown,) = [one for cell in code(executed) for one in cell.outputs if one.output_type == "error"]
    assert shown.traceback == [f"SettingsError: {raised.value.evalue}"]
    assert "\n" not in raised.value.evalue
    assert not (tmp_path / "state").exists()
