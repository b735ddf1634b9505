"""Parts of EC2 instances that need no server: metadata, the paths in scripts, the commands on the disk, images."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.instances.console import KEPT, Console
from helpers.localaws.engines.instances.images import parameters, published
from helpers.localaws.engines.instances.instance import check_user_data
from helpers.localaws.engines.instances.machine import OWN_FOLDERS, Machine, script_of
from helpers.localaws.engines.instances.metadata import Metadata, look_up
from helpers.localaws.errors import AwsError

FACTS = {"meta-data/ami-id": "ami-1", "meta-data/iam/info": "{}", "meta-data/late": lambda: "now", "user-data": "#!"}


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# ---- metadata ----


def ask(service: Metadata, path: str, method: str = "GET", required: bool = True, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = service.answer(method, path, named, FACTS, tokens_required=required)
    return answer.status, answer.body


def test_facts_and_the_names_below_a_path() -> None:
    assert look_up(FACTS, "meta-data/ami-id") == "ami-1"
    assert look_up(FACTS, "meta-data/late") == "now"
    assert look_up(FACTS, "meta-data") == "ami-id\niam/\nlate"
    assert look_up(FACTS, "") == "meta-data/\nuser-data"
    assert look_up(FACTS, "meta-data/ami") is None


def test_a_token_is_needed_and_ends() -> None:
    seconds = Seconds()
    service = Metadata(seconds)
    assert ask(service, "/latest/meta-data/ami-id")[0] == 401
    assert ask(service, "/latest/meta-data/ami-id", required=False) == (200, "ami-1")
    status, token = ask(service, "/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds="10")
    assert status == 200
    assert ask(service, "/latest/meta-data/ami-id/", x_aws_ec2_metadata_token=token) == (200, "ami-1")
    assert ask(service, "/2009-04-04/meta-data/", x_aws_ec2_metadata_token=token)[0] == 404
    seconds.now = 10.0
    assert ask(service, "/latest/meta-data/ami-id", x_aws_ec2_metadata_token=token)[0] == 401


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "ten"])
def test_a_token_lives_a_second_to_six_hours(ttl: str) -> None:
    assert ask(Metadata(Seconds()), "/latest/api/token", "PUT", x_aws_ec2_metadata_token_ttl_seconds=ttl)[0] == 400


def test_nothing_is_changed_through_the_service() -> None:
    assert ask(Metadata(Seconds()), "/latest/meta-data/ami-id", "POST")[0] == 405
    assert ask(Metadata(Seconds()), "/latest/api/token")[0] == 405


# ---- the disk ----


def test_a_disk_is_there_when_all_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path / "i-0789", "test", "eu-west-1")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "chmod", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            machine.make(None, "http://127.0.0.1:1")
    assert machine.root.is_dir()
    assert not machine.made, "whoever asks now would find half of it"
    machine.make(None, "http://127.0.0.1:1")
    assert machine.made
    machine.remove()
    assert not machine.made


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "i-0123", "test", "eu-west-1")
    made.make(next(image for image in published() if image.deep_learning), "http://127.0.0.1:1")
    return made


@pytest.mark.parametrize("path", ["/opt/dogs", "/root", "/tmp/x", "/home/ec2-user/a.txt", "/var/log/x.log"])
@pytest.mark.parametrize("around", ["cd {}", "X={}", '"{}"', "a:{}:b", ">{}", "({})", "{}\n"])
def test_own_folders_are_the_instances_and_read_as_before(machine: Machine, path: str, around: str) -> None:
    text = around.format(path)
    assert machine.localise(text) == around.format(f"{machine.root}{path}")
    assert machine.generalise(machine.localise(text)) == text


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/opt/x", "https://host/tmp/x", "$HOME/opt", "${X}/root", "./tmp/x", "~/opt", "/optional", "/usr/bin"],
)
def test_other_paths_stay(machine: Machine, text: str) -> None:
    assert machine.localise(text) == text


@given(st.text())
def test_what_names_no_own_folder_is_not_touched(text: str) -> None:
    if not any(folder in text for folder in OWN_FOLDERS):
        assert Machine(Path("/nowhere/i-1"), "test", "eu-west-1").localise(text) == text


def test_a_folder_with_spaces_is_reached_by_a_path_without(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "my state" / "i-0456", f"{os.getpid():08d}", "eu-west-1")
    machine.make(None, "http://127.0.0.1:1")
    script = machine.localise("mkdir -p /opt/dogs; echo here > /opt/dogs/x")
    subprocess.run(["sh", "-c", script], check=True)
    assert (machine.root / "opt/dogs/x").read_text() == "here\n"
    assert machine.generalise(machine.localise("/opt/dogs")) == "/opt/dogs"
    machine.remove()
    assert not machine.made


def command(machine: Machine, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = machine.environment(1, {})
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=machine.root)


def test_sudo_takes_only_its_options_away(machine: Machine) -> None:
    assert command(machine, "sudo", "-n", "-u", "root", "A=b", "sh", "-c", "echo $A").stdout == "b\n"
    assert command(machine, "sudo", "false").returncode == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["install", "-y", "python3"], 0),
        (["install", "no-such-program"], 1),
        (["update"], 0),
        (["install", "python3.99"], 1),
    ],
)
def test_package_managers_say_what_is_there(machine: Machine, words: list[str], code: int) -> None:
    for name in ("dnf", "apt-get"):
        assert command(machine, name, *words).returncode == code


def test_a_deep_learning_image_has_its_interpreter(machine: Machine) -> None:
    assert (machine.root / "opt/pytorch/bin/python").exists()
    assert (machine.root / "var/lib/cloud/data/instance-id").read_text() == "i-0123\n"


# ---- user data, console, images ----


def test_user_data_may_be_zipped_and_is_limited() -> None:
    assert script_of(gzip.compress(b"#!/bin/sh\n")) == "#!/bin/sh\n"
    check_user_data(b"#" * 16_384)
    with pytest.raises(AwsError, match="limited to 16384 bytes"):
        check_user_data(b"#" * 16_385)
    with pytest.raises(AwsError, match="does not implement user data in the format 'Content-Type:'"):
        check_user_data(b"Content-Type: multipart/mixed")


def test_the_console_keeps_its_latest(tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    assert console.read() == ""
    for number in range(2000):
        console.write(f"line {number} {'x' * 50}")
    assert len(console.read()) == KEPT
    assert "line 1999 " in console.read()


def test_every_image_has_an_id_of_its_own_in_every_region() -> None:
    here, there = parameters("us-east-1"), parameters("eu-west-1")
    assert here.keys() == there.keys()
    assert not set(here.values()) & set(there.values())
    assert len({image.id("us-east-1") for image in published()}) == len(list(published()))
