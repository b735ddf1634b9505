"""What the notebooks show is what they show when they are run: nbval compares it, the whole series, in order."""

import re

import pytest

from tests.notebooks.stored import NOTEBOOKS, code, is_lax, read
from tests.notebooks.validation import Series

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    made = Series(tmp_path_factory.mktemp("validated"))
    yield made
    made.stop()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_those_of_a_run(series, path):
    for earlier in NOTEBOOKS[: NOTEBOOKS.index(path)]:
        if not series.validated(earlier).ran:
            pytest.fail(f"{path.name} was not run: {earlier.name}, which it builds on, did not run to its end")
    found = series.validated(path)
    if found.failures:
        pytest.fail("\n\n".join(found.failures), pytrace=False)
    assert found.ran


def test_a_changed_fact_fails_and_names_notebook_and_cell(tmp_path):
    path = NOTEBOOKS[0]
    document = read(path)
    cell, output = next(
        (cell, output)
        for cell in code(document)
        for output in cell.outputs
        if not is_lax(cell) and re.search(r"\d", output.get("text", ""))
    )
    of_this_run = output.text.splitlines()
    output.text = re.sub(r"\d", lambda found: str((int(found[0]) + 1) % 10), output.text, count=1)
    # What comes after the changed cell would take time and show nothing more.
    document.cells = document.cells[: document.cells.index(cell) + 1]
    changed = Series(tmp_path / "changed")
    changed.add(path.stem, document)
    try:
        found = changed.validate(path.stem)
    finally:
        changed.stop()
    assert found.ran
    assert len(found.failures) == 1
    assert found.failures[0].startswith(f"{path.name}, cell [{cell.execution_count}]: Cell outputs differ\n")
    fact, changed_fact = next(
        both for both in zip(of_this_run, output.text.splitlines(), strict=True) if both[0] != both[1]
    )
    assert f"-{changed_fact}\n  +{fact}" in found.failures[0]
