"""The notebooks in the repository: executed, small, clean, and built as a reader expects."""

import ast
import statistics

import nbformat
import papermill
import pytest

from helpers.series import clean
from tests.notebooks.stored import LAX, NOTEBOOKS, code, exercises, is_figure, is_lax, markdown, prints, read

NAMES = [
    *("01_setup", "02_data", "03_single_training", "04_spot_training"),
    *("05_ec2_training", "06_lambda", "07_scaling", "08_teardown"),
]
# What takes a cell out of nbval's hands, as a tag or as a comment, but for the one tag that says why.
ESCAPES = ("nbval-skip", "nbval-raises-exception", "raises-exception", "nbval_", "pytest_validate_ignore_output")


def test_the_series_is_whole():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def document(path):
    return read(path)


def headings(document):
    """The headings of all cells, without those in code blocks, which a notebook's prose has only in solutions."""
    lines = [line for source in markdown(document) for line in source.partition("<details>")[0].splitlines()]
    return [line for line in lines if line.startswith("#")]


# ---- what is stored ----


def test_it_is_stored_executed_and_without_errors(document):
    assert [cell.execution_count for cell in code(document)] == list(range(1, len(code(document)) + 1))
    kinds = {output.output_type for cell in code(document) for output in cell.outputs}
    assert kinds
    assert "error" not in kinds


def test_its_pictures_are_small_and_described(document):
    for cell in code(document):
        for output in filter(is_figure, cell.outputs):
            assert len(output.data["image/png"]) < 4 / 3 * 150_000
            assert len(output.metadata["image/png"]["alt"]) > 20, "for who cannot see it"


def test_it_is_small_and_carries_nothing_of_its_run(path, document):
    assert path.stat().st_size < 600_000
    assert set(document.metadata) == {"kernelspec", "language_info"}
    for cell in document.cells:
        assert set(cell.metadata) <= {"tags", "lax"}
        assert "injected-parameters" not in cell.metadata.get("tags", [])
        assert not [output for output in cell.get("outputs", []) if output.get("name") == "stderr"]


def test_storing_keeps_why_a_cell_is_not_compared():
    reason = {"tags": [LAX], "lax": "seconds of this run"}
    cell = nbformat.v4.new_code_cell("1", metadata={**reason, "papermill": {"duration": 1.0}, "execution": {}})
    assert clean(nbformat.v4.new_notebook(cells=[cell])).cells[0].metadata == reason


# ---- what of it is compared ----


def test_what_is_not_compared_has_a_reason(document):
    for cell in code(document):
        assert is_lax(cell) == ("lax" in cell.metadata), cell.source
        if is_lax(cell):
            assert len(cell.metadata["lax"].split()) >= 3, cell.source


def test_no_cell_escapes(document):
    for cell in code(document):
        tags = [tag for tag in cell.metadata.get("tags", []) if tag != LAX]
        comments = [line for line in cell.source.splitlines() if line.lstrip().startswith("#")]
        told = " ".join([*tags, *comments]).lower()
        assert not [escape for escape in ESCAPES if escape in told], cell.source


def test_that_a_picture_is_there_is_always_compared(document):
    for cell in code(document):
        assert prints(cell) or not is_lax(cell), cell.source


def test_half_of_what_is_printed_is_compared():
    printing = [cell for path in NOTEBOOKS for cell in code(read(path)) if prints(cell)]
    strict = [cell for cell in printing if not is_lax(cell)]
    assert len(strict) >= len(printing) / 2


# ---- how it is built ----


def test_it_has_one_cell_of_parameters_with_types_and_comments(path, document):
    tagged = [cell for cell in code(document) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code(document)[:1]
    parameters = papermill.inspect_notebook(str(path))
    assert {"project", "target", "region"} <= set(parameters)
    for name, parameter in parameters.items():
        assert parameter["inferred_type_name"] != "None", name
        assert len(parameter["help"]) >= 10, name


def test_it_begins_with_what_one_will_be_able_to_do(path, document):
    begin = document.cells[: document.cells.index(code(document)[0])]
    told = "\n".join(cell.source for cell in begin)
    assert told.startswith(f"# {path.name[:2]} ")
    abilities = told.partition("**You will be able to**")[2].strip(" :\n").partition("\n\n")[0]
    assert 3 <= sum(line.startswith(("- ", "* ")) for line in abilities.splitlines()) <= 5
    assert "```mermaid" in told
    assert "**Costs** " in told
    assert "**Takes** " in told


def test_its_sections_are_in_order(document):
    sections = [line for line in headings(document) if line.startswith("## ")]
    assert sections[-2:] == ["## Summary", "## Exercises"]
    assert [line for line in sections if line.startswith("## What would go wrong: ")]
    titles = [line for line in headings(document) if line.startswith("# ")]
    assert len(titles) == 1


def test_it_ends_with_three_exercises_whose_solutions_are_code(document):
    found = exercises(document)
    assert [exercise.number for exercise in found] == [1, 2, 3]
    for exercise in found:
        assert len(exercise.text.split()) >= 10, exercise.title
        assert exercise.solution, exercise.title
        for block in exercise.solution:
            ast.parse(block)
        shown = "\n".join(exercise.solution)
        assert "assert " in shown or "show." in shown or "print(" in shown, exercise.title


def test_its_last_line_leads_on(path, document):
    last = document.cells[-1]
    assert last.cell_type == "markdown"
    line = last.source.splitlines()[-1]
    if path.stem == NAMES[-1]:
        assert len(line) > 40
    else:
        following = NAMES[NAMES.index(path.stem) + 1]
        assert line.startswith(f"**Next:** [{following[:2]} ")
        assert f"({following}.ipynb)" in line


def test_it_defines_nothing_and_imports_only_the_helpers(document):
    for cell in code(document):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), cell.source
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= {"sys", "json", "time"}
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in {"helpers", "functools"}


def test_its_cells_are_short():
    lengths = [len(cell.source.splitlines()) for path in NOTEBOOKS for cell in code(read(path))]
    assert statistics.median(lengths) <= 4
    assert statistics.quantiles(lengths, n=10)[-1] <= 15
