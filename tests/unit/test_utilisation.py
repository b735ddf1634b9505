"""What instances use, measured from real processes."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers.localaws.engines import utilisation
from helpers.localaws.engines.processes import MARK
from helpers.localaws.engines.stopping import CONTAINER
from helpers.localaws.engines.utilisation import GB, Utilisation, Watched, measured, training_host

BUSY = "import sys\nballast = b'x' * 150_000_000\nprint('ready', flush=True)\nwhile True: pass"
PARENT = (
    "import subprocess, sys\n"
    "subprocess.run([sys.executable, '-c', 'for i in range(4_000_000): pass'])\n"
    "print('ready', flush=True)\nsys.stdin.read()"
)
Start = Callable[..., psutil.Process]


class Monitoring:
    """CloudWatch that remembers what was published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, str], str, float]] = []

    def publish(
        self, region: str, namespace: str, name: str, value: float, dimensions: Any, unit: str, *_: Any
    ) -> None:
        assert (region, unit) == ("us-east-1", "Percent")
        self.published.append((namespace, dimensions, name, value))


@pytest.fixture
def identity() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def start(identity: str) -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def begin(folder: Path, script: str) -> psutil.Process:
        variables = {**os.environ, MARK: identity, CONTAINER: str(folder)}
        argv = [sys.executable, "-c", script]
        child = subprocess.Popen(argv, env=variables, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        begun.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return psutil.Process(child.pid)

    yield begin
    for child in begun:
        child.kill()
        child.communicate()


def watched(folder: Path, host: str) -> Watched:
    folder.mkdir()
    return Watched("us-east-1", utilisation.TRAINING, {"Host": host}, folder.resolve(), memory_bytes=GB, disk_bytes=GB)


@pytest.fixture
def looker(identity: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Utilisation, Monitoring]]:
    monkeypatch.setattr(utilisation, "SECONDS", 3600.0)  # only the test looks
    monitoring = Monitoring()
    made = Utilisation(identity, monitoring)  # type: ignore[arg-type]
    yield made, monitoring
    made.close()


def test_each_instance_is_charged_with_its_own_processes(tmp_path: Path, start: Start, looker: Any) -> None:
    made, monitoring = looker
    busy, idle = watched(tmp_path / "a", "j/algo-1"), watched(tmp_path / "b", "j/algo-2")
    (idle.folder / "file").write_bytes(os.urandom(100 << 20))
    worker = start(busy.folder, BUSY)
    start(idle.folder, "import sys\nprint('ready', flush=True)\nsys.stdin.read()")
    for one in (busy, idle):
        made.watch(one)
    made.look()
    assert monitoring.published == [], "use is a difference: one look says nothing"
    before = measured([worker]).cpu_seconds
    while measured([worker]).cpu_seconds < before + 0.3:
        continue
    made.look()
    found = {(dimensions["Host"], name): value for _, dimensions, name, value in monitoring.published}
    assert found["j/algo-1", "CPUUtilization"] > 5 * found["j/algo-2", "CPUUtilization"]
    assert 13 < found["j/algo-1", "MemoryUtilization"] < 30
    assert found["j/algo-2", "MemoryUtilization"] < 5
    assert found["j/algo-1", "DiskUtilization"] < 1
    assert 9 < found["j/algo-2", "DiskUtilization"] < 11


def test_what_ended_processes_have_used_is_not_lost(tmp_path: Path, start: Start, looker: Any) -> None:
    parent = start(watched(tmp_path / "a", "h").folder, PARENT)
    times = parent.cpu_times()
    assert measured([parent]).cpu_seconds > times.user + times.system + 0.05


def test_an_instance_that_is_gone_is_forgotten(tmp_path: Path, looker: Any) -> None:
    made, monitoring = looker
    one = watched(tmp_path / "a", "h")
    made.watch(one)
    made.look()
    one.folder.rmdir()
    made.look()
    assert made._watched == {}
    assert monitoring.published == []


def test_an_instance_types_memory_and_disk_are_awss(tmp_path: Path) -> None:
    def host(**resources: Any) -> Watched:
        return training_host("us-east-1", "job", "algo-1", tmp_path, resources)

    ordinary = host(InstanceType="ml.c5.2xlarge", VolumeSizeInGB=50)
    assert (ordinary.memory_bytes, ordinary.disk_bytes) == (16 * GB, 50 * GB)
    assert ordinary.dimensions == {"Host": "job/algo-1"}
    assert host(InstanceType="ml.g4dn.xlarge", VolumeSizeInGB=50).disk_bytes == 125 * GB
    assert host(InstanceType="ml.new99.xlarge", VolumeSizeInGB=1).memory_bytes == psutil.virtual_memory().total
