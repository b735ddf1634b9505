import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterlab_server.config import get_federated_extensions

from helpers import notebook_instance
from helpers.localaws.engines.notebook_instances import PASSING, faults, settled
from helpers.settings import ROOT

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def scripts():
    return notebook_instance.scripts((ROOT / "environment.yml").read_text(), "dog-breeds", idle_minutes=45)


def test_the_scripts_are_bash_and_within_five_minutes(scripts):
    for script in scripts.values():
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert list(faults(script, "/tmp/x")) == []
    assert scripts["OnCreate"].rstrip().endswith("&"), "the environment takes longer than a lifecycle script may"
    assert "nohup" in scripts["OnCreate"]
    assert "dnf install -y unzip" in scripts["OnStart"]
    assert "yum" not in "".join(scripts.values())
    assert (ROOT / "environment.yml").read_text().strip() in scripts["OnCreate"]


def test_the_idle_check_is_python_and_stops_only_an_idle_instance(scripts):
    source = scripts["OnStart"].partition("<<'PYTHON'\n")[2].partition("\nPYTHON")[0]
    compile(source, "stop-when-idle", "exec")
    assert "> 45" in source


def test_the_instances_own_jupyter_finds_what_draws_progress_bars(scripts, tmp_path):
    """The lines that link it, run with a home of their own: the JupyterLab of this environment then finds it there."""
    wanted = [line for line in scripts["OnStart"].splitlines() if line.startswith(("home=", "extensions=", "sudo -u"))]
    lines = [line.replace("sudo -u ec2-user ", "").replace("/home/ec2-user", str(tmp_path)) for line in wanted]
    shared = tmp_path / "SageMaker" / ".envs" / "dog-breeds" / "share"
    shared.parent.mkdir(parents=True)
    shared.symlink_to(Path(sys.prefix) / "share")
    for _ in range(2):  # at every start
        subprocess.run(["bash", "-e"], input="\n".join(lines), text=True, check=True)
    found = get_federated_extensions([str(tmp_path / ".local" / "share" / "jupyter" / "labextensions")])
    assert "@jupyter-widgets/jupyterlab-manager" in found
    assert "ipywidgets=" in (ROOT / "environment.yml").read_text()


def test_a_script_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="OnCreate script has more than 16384"):
        notebook_instance.scripts("x" * 16_000, "dogs")


def instance(status, **more):
    return {"NotebookInstanceStatus": status, "LastModifiedTime": NOW, **more}


@pytest.mark.parametrize(("status", "following"), [(status, following) for status, (_, following) in PASSING.items()])
def test_a_passing_state_lasts_its_time(status, following):
    seconds = PASSING[status][0]
    assert settled(instance(status), NOW + timedelta(seconds=seconds - 1), 1.0) == instance(status)
    after = settled(instance(status), NOW + timedelta(seconds=seconds + 1), 1.0)
    assert (after and after["NotebookInstanceStatus"]) == following
    assert settled(instance(status), NOW + timedelta(seconds=seconds / 10), 10.0) != instance(status)


def test_a_start_with_trouble_fails_with_its_reason():
    after = settled(instance("Pending", Trouble="because"), NOW + timedelta(hours=1), 1.0)
    assert (after["NotebookInstanceStatus"], after["FailureReason"]) == ("Failed", "because")
    assert "Trouble" not in after


@given(st.sampled_from([*PASSING, "InService", "Stopped", "Failed"]), st.floats(0, 1e6), st.floats(0.1, 1e4))
def test_states_settle_once(status, seconds, scale):
    now = NOW + timedelta(seconds=seconds)
    once = settled(instance(status), now, scale)
    if once is not None:
        assert settled(once, now, scale) == once
        assert NOW <= once["LastModifiedTime"] <= now


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("#!/bin/bash\nset -e\necho fine\n", None),
        ("echo no first line\n", None),
        ("#!/usr/bin/python3\nprint('if then fi')\n", None),
        ("#!/bin/bash\r\necho hello\r\n", "/bin/bash: /tmp/OnStart_x: /bin/bash^M: bad interpreter"),
        ("#!/bin/bash\nif true; then\n", "/tmp/OnStart_x: line "),
    ],
)
def test_what_cannot_run_is_told_as_the_machine_would(script, told):
    found = list(faults(script, "/tmp/OnStart_x"))
    assert bool(found) == bool(told)
    assert told is None or found[0].startswith(told)
