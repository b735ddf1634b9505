"""The series, headless, on an embedded AWS: every notebook runs, every figure is there, nothing is left running."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from helpers.localaws.engines.processes import marked
from helpers.series import chosen, clean, index
from helpers.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[2]


def run_series(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    clean_environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAGEMAKER_", "LOCALAWS_"))
    }
    argv = [sys.executable, "-m", "helpers.series", *arguments]
    return subprocess.run(argv, cwd=ROOT, env=clean_environment, check=check, capture_output=True, text=True)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    done = run_series("--out", str(folder), "--project", "tested", "--epochs", "2", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells for output in cell.get("outputs", [])]


def text(path):
    return "\n".join(output.get("text", "") for output in outputs(path))


def pictures(path):
    return sum("image/png" in output.get("data", {}) for output in outputs(path))


def test_every_notebook_ran_and_the_page_says_so(out):
    page = (out / "index.html").read_text()
    assert "All notebooks ran" in page
    assert len(re.findall(r'class="ok"', page)) == 6
    for name in re.findall(r'href="([^"]+)"', page):
        assert (out / name).is_file(), name
    assert re.search(r"Peak memory of everything together: [1-9]\d*\.\d GB", page)


def test_the_pictures_are_there(out):
    wanted = {"02_data": 2, "03_single_training": 2, "04_spot_training": 2, "06_lambda": 2}
    assert {name: pictures(out / f"{name}.ipynb") for name in wanted} == wanted


def test_the_function_answers_what_the_model_answers(out):
    assert "60 of 60 answers are the same" in text(out / "06_lambda.ipynb")


def test_teardown_left_nothing(out):
    assert "nothing is left" in text(out / "08_teardown.ipynb")
    state = out / "localaws"
    assert not (state / "server.json").exists()
    assert marked((state / "id").read_text()) == []
    assert list((state / "records" / "objects").iterdir()) == []


def of_this_run(process, out):
    try:
        return process.environ().get("LOCALAWS_STATE") == str(out / "localaws")
    except (psutil.Error, OSError):
        return False


def test_no_kernel_is_left(out):
    assert not [process for process in psutil.process_iter() if of_this_run(process, out)]


def test_stored_notebooks_carry_nothing_of_the_run(out):
    document = clean(nbformat.read(out / "03_single_training.ipynb", as_version=4))
    stored = json.dumps(document)
    assert "papermill" not in json.dumps(document.metadata)
    assert "injected-parameters" not in stored
    assert str(ROOT) not in stored


def test_a_failure_names_notebook_and_cell(tmp_path):
    done = run_series("--out", str(tmp_path), "--project", "nobody", "--only", "04", check=False)
    assert done.returncode == 1
    assert re.search(r"04_spot_training\.ipynb failed in cell \d+: \w+", done.stderr)
    assert "Stopped at" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "05"], "there is no notebook 05"),
        (["--project", "Not A Name"], "project"),
        (["--data", "no/such.zip"], "does not exist"),
        (["--epochs", "many"], "epochs"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(tmp_path, arguments, says):
    done = run_series("--out", str(tmp_path / "out"), *arguments, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "out" / "localaws").exists()


def test_only_chooses_by_number():
    assert [path.name[:2] for path in chosen(["03", "01"])] == ["01", "03"]
    with pytest.raises(SettingsError, match="there is no notebook 99"):
        chosen(["99"])


def test_the_page_escapes_what_it_is_given():
    page = index([], Settings.of(weights="none"), 0)
    assert "<script" not in page
