"""The notebooks in the repository: executed, small, clean, and built as a reader expects."""

import ast
import statistics
from pathlib import Path

import nbformat
import papermill
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
NAMES = [
    *("01_setup", "02_data", "03_single_training", "04_spot_training"),
    *("05_ec2_training", "06_lambda", "07_scaling", "08_teardown"),
]


def test_the_series_is_whole():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def document(path):
    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    return found


def code(document):
    return [cell for cell in document.cells if cell.cell_type == "code"]


def prose(document):
    return "\n".join(cell.source for cell in document.cells if cell.cell_type == "markdown")


def test_it_is_stored_executed_and_without_errors(document):
    assert [cell.execution_count for cell in code(document)] == list(range(1, len(code(document)) + 1))
    kinds = {output.output_type for cell in code(document) for output in cell.outputs}
    assert kinds
    assert "error" not in kinds


def test_its_pictures_are_small_and_described(document):
    for cell in code(document):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.data["image/png"]) < 4 / 3 * 150_000
                assert len(output.metadata["image/png"]["alt"]) > 20, "for who cannot see it"


def test_it_is_small_and_carries_nothing_of_its_run(path, document):
    assert path.stat().st_size < 600_000
    assert set(document.metadata) == {"kernelspec", "language_info"}
    for cell in document.cells:
        assert set(cell.metadata) <= {"tags"}
        assert "injected-parameters" not in cell.metadata.get("tags", [])
        assert not [output for output in cell.get("outputs", []) if output.get("name") == "stderr"]


def test_it_has_one_cell_of_parameters_with_types_and_comments(path, document):
    tagged = [cell for cell in code(document) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code(document)[:1]
    parameters = papermill.inspect_notebook(str(path))
    assert {"project", "target", "region"} <= set(parameters)
    for name, parameter in parameters.items():
        assert parameter["inferred_type_name"] != "None", name
        assert len(parameter["help"]) >= 10, name


def test_it_says_what_it_is_for_what_it_costs_and_what_comes_next(document):
    told = prose(document)
    assert told.startswith(f"# {told[2:4]} ")
    for word in ("**Costs**", "**Takes**", "## Summary"):
        assert word in told or f"{word[:-2].lower()}" in told.lower(), word


def test_it_defines_nothing_and_imports_only_the_helpers(document):
    for cell in code(document):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef), cell.source
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= {"sys", "json", "time"}
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in {"helpers", "functools"}


def test_its_cells_are_short():
    lengths = [len(cell.source.splitlines()) for path in NOTEBOOKS for cell in code(nbformat.read(path, as_version=4))]
    assert statistics.median(lengths) <= 4
    assert statistics.quantiles(lengths, n=10)[-1] <= 18
