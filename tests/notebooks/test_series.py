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
    done = run_series("--out", str(folder), "--project", "tested", "--epochs", "2", "--tuning-trials", "2", check=False)
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
    assert len(re.findall(r'class="ok"', page)) == 8
    for name in re.findall(r'href="([^"]+)"', page):
        assert (out / name).is_file(), name
    assert re.search(r"Peak memory of everything together: [1-9]\d*\.\d GB", page)


def test_the_pictures_are_there(out):
    wanted = {
        "01_setup": 2,
        "02_data": 4,
        "03_single_training": 4,
        "04_spot_training": 4,
        "05_ec2_training": 1,
        "06_lambda": 2,
        "07_scaling": 3,
    }
    assert {name: pictures(out / f"{name}.ipynb") for name in wanted} == wanted


def test_the_function_answers_what_the_model_answers(out):
    assert "60 of 60 answers are the same" in text(out / "06_lambda.ipynb")


def test_the_bill_on_the_page_adds_up(out):
    page = (out / "index.html").read_text()
    by_notebook, by_item = re.search(r"(.*)The bill, item by item(.*)", page, re.S).groups()
    usd = [[float(one) for one in re.findall(r"\$([0-9.]+)", part)] for part in (by_notebook, by_item)]
    assert len(usd[1]) > 10
    for *lines, together in usd:
        assert sum(lines) == pytest.approx(together, abs=1e-4 * len(lines))
        assert together > 0.001


def test_the_interrupted_job_is_the_uninterrupted_one(out):
    assert "interrupted 1 times" in str(outputs(out / "04_spot_training.ipynb"))
    assert re.search(r"the instances trained the same model +True", text(out / "04_spot_training.ipynb"))


def test_the_endpoint_went_out_to_three_and_in_to_one_and_lost_nothing(out):
    told = text(out / "07_scaling.ipynb")
    assert re.search(r"most instances +3\nat the end +1\nrequests that failed +0", told)


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
        (["--only", "09"], "there is no notebook 09"),
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
