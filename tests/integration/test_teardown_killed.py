"""Teardown after the worst: whoever makes the resources is killed, and whoever deletes them; then nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import psutil
import pytest

from helpers import cloud, teardown
from helpers.settings import Settings
from tests.conftest import ROOT, LocalAws

# Teardown up to a line; there it waits to be killed, and nothing that it has asked for is on its way.
HALF = """
import signal, sys
from helpers import cloud, teardown
from helpers.settings import Settings

def say(line):
    print(line, flush=True)
    if line.startswith(sys.argv[2]):
        signal.pause()

there = cloud.connect(Settings.of(project=sys.argv[1]))
teardown.delete(there, teardown.find(there), say)
"""


def run(aws: LocalAws, *arguments: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAGEMAKER_"))}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean | {"LOCALAWS_STATE": str(aws.state), "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_after(process: subprocess.Popen[str], line: str) -> list[str]:
    """Kill a program once it has printed a line that starts so; what it printed."""
    assert process.stdout is not None
    told = []
    for text in process.stdout:
        told.append(text.strip())
        if text.startswith(line):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    return told


def connection(project: str) -> cloud.Cloud:
    return cloud.Cloud(Settings.of(project=project), boto3.Session(region_name="us-east-1"), "123456789012", "tester")


@pytest.mark.parametrize(
    ("project", "made", "deleted"),
    [
        ("killed-early", "ec2:instance", "ec2:instance"),
        ("killed-late", "everything", "sagemaker:endpoint-config"),
    ],
)
def test_what_a_killed_run_left_goes_though_teardown_is_killed_too(
    user: LocalAws, project: str, made: str, deleted: str
) -> None:
    told = kill_after(run(user, "tests/everything.py", project, made), f"made {made}")
    assert told[-1] == f"made {made}", "\n".join(told)
    there = connection(project)
    kinds = {one.kind for one in teardown.find(there)}
    said = {line.removeprefix("made ") for line in told if line.startswith("made ")}
    assert said - {"everything"} <= kinds, "all that was made is found"

    listed = run(user, "-m", "helpers.teardown", "--project", project, "--dry-run")
    output, _ = listed.communicate()
    assert listed.returncode == 0
    assert {line.split()[0] for line in output.splitlines()} == kinds
    assert {one.kind for one in teardown.find(there)} == kinds, "a dry run deletes nothing"

    told = kill_after(run(user, "-c", HALF, project, f"deleted {deleted}"), f"deleted {deleted}")
    assert told[-1].startswith(f"deleted {deleted}"), "\n".join(told)
    left = {one.kind for one in teardown.find(there)}
    assert left, "it was killed before the end"
    assert deleted not in left
    assert left < kinds

    again = run(user, "-m", "helpers.teardown", "--project", project)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert output.endswith("nothing is left\n")
    assert teardown.find(there) == []
    assert not processes_of(user.state, project), "no process of the project runs"


def processes_of(state: Path, project: str) -> list[str]:
    """Command lines of the embedded AWS's children that name the project."""
    server = next(one for one in psutil.process_iter() if _is_server(one, state))
    return [" ".join(_command(child)) for child in server.children(recursive=True) if project in str(_command(child))]


def _is_server(process: psutil.Process, state: Path) -> bool:
    command = _command(process)
    return "--foreground" in command and str(state) in command


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_what_may_not_be_deleted_is_named_with_its_command(user: LocalAws, tmp_path: Path, monkeypatch) -> None:
    there = connection("kept")
    metadata = tmp_path / "resource-metadata.json"
    metadata.write_text('{"ResourceName": "kept-notebook"}')
    monkeypatch.setattr(teardown, "NOTEBOOK_METADATA", metadata)
    found = [
        teardown.Found("sagemaker:notebook-instance", "kept-notebook", "by the hour", "aws sagemaker delete-…"),
        teardown.Found("iam:role", "nobody-made-this", "no", ""),
    ]
    said: list[str] = []
    (left,) = teardown.delete(there, found, said.append)
    assert (left.name, left.command) == ("kept-notebook", "aws sagemaker delete-…")
    assert "this very notebook runs on it" in left.why
    assert [line.split()[0] for line in said] == ["KEPT", "deleted"], "the rest goes all the same"
