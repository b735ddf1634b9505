import nbformat
import pytest

from helpers.footprint import GIB, Held
from helpers.index_page import compare, index
from helpers.outcomes import Outcome, note, of_runs
from helpers.settings import Settings


def executed(folder, name, title, project="dogs", ended=True, failed=""):
    """An executed copy as a run leaves it; where it has not ``ended``, as a run that was killed does."""
    folder.mkdir(exist_ok=True)
    ran = {"papermill": {"start_time": "2026-01-01T00:00:00"}}
    cells = [
        nbformat.v4.new_markdown_cell(f"# {title}"),
        nbformat.v4.new_code_cell("1", metadata=ran),
        nbformat.v4.new_code_cell("2", metadata={"papermill": {"start_time": None}}),
    ]
    given = {"project": project, "target": "local", "region": "us-east-1"}
    document = nbformat.v4.new_notebook(cells=cells, metadata={"papermill": {"parameters": given}})
    path = folder / f"{name}.ipynb"
    nbformat.write(document, path)
    if ended:
        note(path, 12.5, Held({"train.py": GIB, "embedded AWS": GIB // 2}), failed)
    return path


def test_a_copy_tells_what_its_run_noted(tmp_path):
    path = executed(tmp_path, "01_setup", "01 Setup", failed="cell 2: ValueError: no")
    read = Outcome.read(path)
    assert (read.title, read.seconds, read.failed) == ("01 Setup", 12.5, "cell 2: ValueError: no")
    assert read.memory.by == {"train.py": GIB, "embedded AWS": GIB // 2}


def test_a_copy_whose_run_was_killed_has_failed(tmp_path):
    killed = Outcome.read(executed(tmp_path, "01_setup", "01 Setup", ended=False))
    assert killed.failed == "cell 1: the run was ended while it ran"


def test_the_copies_of_another_project_are_not_of_this_run(tmp_path):
    executed(tmp_path, "02_data", "02 Data")
    executed(tmp_path, "01_setup", "01 Setup")
    executed(tmp_path, "03_training", "03 Training", project="others")
    assert [one.title for one in of_runs(tmp_path, Settings.of(project="dogs"))] == ["01 Setup", "02 Data"]


@pytest.mark.parametrize(
    ("failed", "notebooks", "heading"),
    [("", 1, "All notebooks ran"), ("", 8, "1 of 8 notebooks ran"), ("cell 1: no", 1, "Stopped at 01 Setup")],
)
def test_the_page_says_what_came_of_the_run(tmp_path, failed, notebooks, heading):
    outcome = Outcome.read(executed(tmp_path, "01_setup", "01 Setup", failed=failed))
    page = index([outcome], Settings.of(), {"data": 2 * 10**9}, notebooks)
    assert f"<h1>{heading}</h1>" in page
    assert "Peak memory of everything together: 1.5 GiB (train.py 1.00 GiB, embedded AWS 0.50 GiB)." in page
    assert "Disk: 2.0 GB (data 2.00 GB)." in page
    assert "nothing was charged" in page
    assert "nothing was charged" not in index([outcome], Settings.of(target="aws"), {})


def test_runs_are_compared_side_by_side(tmp_path):
    runs = {}
    for name, failed in (("a", ""), ("b", "cell 3: <no>")):
        executed(tmp_path / name, "01_setup", "01 Setup", project=f"dogs-{name}", failed=failed)
        settings = Settings.of(project=f"dogs-{name}", epochs=len(runs) + 1)
        runs[name] = (settings, of_runs(tmp_path / name, settings))
    executed(tmp_path / "a", "02_data", "02 Data", project="dogs-a")
    runs["a"] = (runs["a"][0], of_runs(tmp_path / "a", runs["a"][0]))
    page = compare(runs, "a & b")
    assert "<h1>Stopped: b</h1>" in page
    assert "<td>project: dogs-a · epochs: 1<td>project: dogs-b · epochs: 2" in page
    assert '<a href="a/01_setup.html">12.5 s, $0.0000, 1.50 GiB</a>' in page
    assert '<span class="failed">cell 3: &lt;no&gt;</span>' in page
    assert "<tr><th>02 Data<td>" in page
    assert page.count("did not run") == 1
    assert "<tr><th>Together<td>25 s, $0.0000<td>12 s, $0.0000" in page
    assert "a &amp; b" in page
