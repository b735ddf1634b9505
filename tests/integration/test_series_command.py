"""The series from the command line: resumed, side by side, limited, interrupted, refused."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from dateutil.parser import isoparse

from helpers.index_page import index
from helpers.series import chosen, main, prepare_environment
from helpers.settings import Settings, SettingsError
from tests.series_runs import ROOT, nothing_runs, outputs, run_series, shell_environment, text, tiny_set


def test_a_failure_names_notebook_and_cell_and_what_to_type_to_go_on(tmp_path):
    """A run that has nothing in the folder of its photos is mended, and goes on with the state that it left."""
    photos, folder = tmp_path / "photos of mine", tmp_path / "out"
    photos.mkdir()
    given = ("--project", "resumed", "--only", "01,02,08", "--data", str(photos))
    done = run_series("--out", str(folder), *given)
    assert done.returncode == 1
    assert re.search(r"02_data\.ipynb failed in cell \d+: DataError: .* is missing; there is nothing", done.stderr)
    page = (folder / "index.html").read_text()
    assert re.findall(r"<h1>Stopped at 02 .*|class=\"(ok|failed)\"", page) == ["", "ok", "failed"]
    assert not (folder / "localaws" / "server.json").exists()

    shutil.copytree(tiny_set(tmp_path / "tiny"), photos / "dogImages")
    first = (folder / "01_setup.ipynb").read_bytes()
    command = re.search(r"^continue there with: (.+)$", done.stderr, re.M)[1]
    assert "--from=02" in shlex.split(command)
    resumed = subprocess.run(
        command, shell=True, cwd=ROOT, env=shell_environment(), check=False, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert re.findall(r"^(\d\d)_", resumed.stdout, re.M) == ["02", "08"]
    assert (folder / "01_setup.ipynb").read_bytes() == first
    page = (folder / "index.html").read_text()
    assert "<h1>3 of 8 notebooks ran" in page
    assert len(re.findall(r'class="ok"', page)) == 3
    assert "resumed-sagemaker" in text(folder / "08_teardown.ipynb"), "what the first run made was found and deleted"
    assert "nothing is left" in text(folder / "08_teardown.ipynb")


def test_what_holds_too_much_memory_is_ended_and_named(tmp_path):
    done = run_series("--out", str(tmp_path), "--only", "01", "--max-memory", "0.3")
    assert done.returncode == 1
    told = re.search(
        r"01_setup\.ipynb failed in cell \d+: (\S+) GiB of memory .*the limit of 0\.3 GiB: (.*)", done.stderr
    )
    assert float(told[1]) >= 0.3
    assert {"helpers.series", "embedded AWS"} & set(re.findall(r"([\w. ]+?) \d\.\d\d GiB", told[2]))
    assert "Stopped at 01" in (tmp_path / "index.html").read_text()
    assert nothing_runs(tmp_path)


def test_a_run_that_is_told_to_end_ends_everything(tmp_path):
    argv = [sys.executable, "-m", "helpers.series", "--out", str(tmp_path), "--only", "01"]
    run = subprocess.Popen(argv, cwd=ROOT, env=shell_environment(), stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "localaws" / "server.json").exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    _, told = run.communicate(timeout=120)
    assert run.returncode == 130
    assert re.search(r"01_setup\.ipynb failed in cell \d+: the run was ended while it ran", told)
    assert "--from=01" in told
    assert nothing_runs(tmp_path)


def test_two_sets_of_parameters_run_side_by_side(tmp_path):
    """At the same time, on one embedded AWS, and neither sees what the other has."""
    photos = tiny_set(tmp_path / "tiny").parent
    (tmp_path / "given here").mkdir()
    for name, epochs in (("small", 1), ("large", 2)):
        (tmp_path / "given here" / f"{name}.yaml").write_text(f"project: p-{name}\nepochs: {epochs}\n")
    files = ",".join(str(tmp_path / "given here" / f"{name}.yaml") for name in ("small", "large"))
    folder = tmp_path / "out"
    done = run_series("--out", str(folder), "--parameters", files, "--only", "01,02,08", "--data", str(photos))
    assert done.returncode == 0, done.stdout + done.stderr
    for name, other in (("small", "large"), ("large", "small")):
        assert re.findall(rf"^{name} \| (\d\d)_", done.stdout, re.M) == ["01", "02", "08"]
        everything = "".join(json.dumps(outputs(path)) for path in (folder / name).glob("*.ipynb"))
        assert f"p-{name}-123456789012-us-east-1" in everything, "its bucket"
        assert f"p-{other}" not in everything
        found = text(folder / name / "08_teardown.ipynb")
        assert {f"p-{name}-sagemaker", f"p-{name}-123456789012-us-east-1"} <= set(re.findall(r"p-\S+", found))
        page = (folder / name / "index.html").read_text()
        assert f"project: p-{name}" in page
        assert "3 of 8 notebooks ran" in page
    first, last = ({name: times(folder / name / file) for name in ("small", "large")} for file in FIRST_AND_LAST)
    assert first["small"][0] < last["large"][1]
    assert first["large"][0] < last["small"][1], "one after the other"
    page = (folder / "index.html").read_text()
    assert "2 runs, side by side" in page
    assert re.findall(r"project: p-\w+ · epochs: \d", page) == [
        "project: p-small · epochs: 1",
        "project: p-large · epochs: 2",
    ]
    for link in re.findall(r'href="([^"]+)"', page):
        assert (folder / link).is_file(), link
    assert len(re.findall(r'class="ok"', page)) == 6
    assert nothing_runs(folder)


FIRST_AND_LAST = ("01_setup.ipynb", "08_teardown.ipynb")


def times(path):
    ran = nbformat.read(path, as_version=4).metadata.papermill
    return isoparse(ran.start_time), isoparse(ran.end_time)


def test_a_setting_that_no_notebook_declares_reaches_the_kernels(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    prepare_environment(Settings.of(time_scale=3, spot_instance_count=4, notebook=False), tmp_path)
    inherited = (
        "import json; from helpers.settings import Settings; print(Settings.of(project='mine').model_dump_json())"
    )
    told = subprocess.run([sys.executable, "-c", inherited], env=os.environ, check=True, capture_output=True, text=True)
    settings = json.loads(told.stdout)
    assert (settings["time_scale"], settings["spot_instance_count"], settings["notebook"]) == (3, 4, False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "09"], "there is no notebook 09"),
        (["--project", "Not A Name"], "project"),
        (["--data", "no/such.zip"], "does not exist"),
        (["--epochs", "many"], "epochs"),
        (["--projct", "dogs"], "unrecognized arguments: --projct"),
        (["--from", "11"], "there is no notebook 11"),
        (["--max-memory", "0"], "a number of GiB above 0"),
        (["--parameters", "{}/bad.yaml"], "there is no setting 'projct'; did you mean 'project'?"),
        (["--parameters", "{}/one.yaml,{}/two.yaml"], "two sets have the same project, 'same'"),
        (["--parameters", "{}/none.yaml"], "cannot be read"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(tmp_path, capsys, arguments, says):
    (tmp_path / "bad.yaml").write_text("projct: dogs\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("project: same\n")
    arguments = [one.replace("{}", str(tmp_path)) for one in arguments]
    try:
        code = main(["--out", str(tmp_path / "out"), *arguments])
    except SystemExit as refused:
        code = refused.code
    assert code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_only_chooses_by_number():
    assert [path.name[:2] for path in chosen(["03", "01"])] == ["01", "03"]
    assert [path.name[:2] for path in chosen(["03", "01"], "02")] == ["03"]
    assert [path.name[:2] for path in chosen([], "07")] == ["07", "08"]
    with pytest.raises(SettingsError, match="there is no notebook 99"):
        chosen(["99"])


def test_the_page_escapes_what_it_is_given():
    page = index([], Settings.of(weights="none"), {})
    assert "<script" not in page
