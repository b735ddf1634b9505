"""What an instance keeps on its volume, and which instances have one."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.localaws.engines.channels import DataError
from helpers.localaws.engines.volumes import GB, OWN_DISKS, Volumes, used


class Host:
    """A host that has downloaded something."""

    def __init__(self, home: Path) -> None:
        self.container = SimpleNamespace(home=home, ml=home / "opt/ml")
        self.inputs = self.container.ml / "input/data/train"
        self.inputs.mkdir(parents=True)


def reserve(path: Path, size: int) -> None:
    """A file that takes so many bytes on disk."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


@pytest.fixture
def host(tmp_path: Path) -> Any:
    return Host(tmp_path / "algo-1")


def test_what_a_folder_takes_is_its_blocks(tmp_path):
    reserve(tmp_path / "real", 1 << 20)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "skipped").mkdir()
    reserve(tmp_path / "skipped" / "file", 1 << 20)
    (tmp_path / "link").symlink_to("/etc")
    assert (1 << 20) <= used(tmp_path, skip=tmp_path / "skipped") < (1 << 20) + 65536
    assert used(tmp_path) >= 2 << 20
    assert used(tmp_path / "nothing") == 0


def test_a_folder_that_has_become_a_file_meanwhile_counts_nothing(tmp_path, monkeypatch):
    (tmp_path / "was-a-folder").touch()
    monkeypatch.setattr(os, "walk", lambda _: [(str(tmp_path / "was-a-folder"), [], ["file"])])
    assert used(tmp_path) == 0


def test_a_volume_must_hold_what_is_downloaded(host):
    resources = {"InstanceType": "ml.c5.xlarge", "VolumeSizeInGB": 1}
    reserve(host.inputs / "photos", GB - (1 << 20))
    Volumes([host], resources).check()
    reserve(host.container.ml / "checkpoint", 2 << 20)
    with pytest.raises(DataError, match=r"No space left on device: the instance's volume holds 1 GB"):
        Volumes([host], resources).check()
    Volumes([host], {**resources, "InstanceType": "ml.g5.xlarge"}).check()
    Volumes([host], {"InstanceType": "ml.c5.xlarge"}).check()


@pytest.mark.parametrize(
    ("instance_type", "own"),
    [
        ("ml.c5.2xlarge", False),
        ("ml.m5.xlarge", False),
        ("ml.p3.2xlarge", False),
        ("ml.t3.medium", False),
        ("ml.m5d.xlarge", True),
        ("ml.c6gd.xlarge", True),
        ("ml.g4dn.xlarge", True),
        ("ml.p4d.24xlarge", True),
        ("ml.p3dn.24xlarge", True),
        ("ml.trn1.2xlarge", True),
    ],
)
def test_instances_with_disks_of_their_own(instance_type, own):
    assert bool(OWN_DISKS.fullmatch(instance_type)) is own
