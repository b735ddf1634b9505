"""The series, headless, on an embedded AWS: every notebook runs, every figure is there, nothing is left running."""

import json
import re

import nbformat
import pytest

from helpers.localaws.engines.processes import marked
from helpers.series import clean
from tests.series_runs import ROOT, nothing_runs, outputs, text


def pictures(path):
    return sum("image/png" in output.get("data", {}) for output in outputs(path))


def test_every_notebook_ran_and_the_page_says_so(out):
    page = (out / "index.html").read_text()
    assert "All notebooks ran" in page
    assert len(re.findall(r'class="ok"', page)) == 8
    for name in re.findall(r'href="([^"]+)"', page):
        assert (out / name).is_file(), name


def test_the_page_tells_memory_and_disk(out):
    page = (out / "index.html").read_text()
    peak = re.search(r"Peak memory of everything together: (\d+\.\d) GiB \((.+)\)\.", page)
    assert 1.0 < float(peak[1]) <= 3.0, peak[2]
    assert "embedded AWS" in peak[2]
    by_notebook = [float(gib) for gib in re.findall(r">(\d\.\d\d) GiB<td class", page)]
    assert len(by_notebook) == 9
    assert max(by_notebook[:-1]) == by_notebook[-1] == pytest.approx(float(peak[1]), abs=0.06)
    disk = re.search(r"Disk: (\d+\.\d) GB \(\S+ (\S+) GB, data (\S+) GB, out (\S+) GB\)", page)
    together, *parts = map(float, disk.groups())
    assert sum(parts) == pytest.approx(together, abs=0.1)
    assert min(parts) > 0


def test_the_pictures_are_there(out):
    wanted = {
        "01_setup": 2,
        "02_data": 4,
        "03_single_training": 4,
        "04_spot_training": 4,
        "05_ec2_training": 3,
        "06_lambda": 2,
        "07_scaling": 4,
        "08_teardown": 2,
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


def test_no_kernel_is_left(out):
    assert nothing_runs(out)


def test_stored_notebooks_carry_nothing_of_the_run(out):
    document = clean(nbformat.read(out / "03_single_training.ipynb", as_version=4))
    stored = json.dumps(document)
    assert "papermill" not in json.dumps(document.metadata)
    assert "injected-parameters" not in stored
    assert str(ROOT) not in stored
