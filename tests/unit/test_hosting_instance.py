"""One instance as a real process: killed, hanging, and with children that try to outlive it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.hosting.instance import Instance, InstanceFailed, Recipe
from helpers.localaws.engines.processes import Processes, marked

APP = """
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + APP.replace(
    "await send", "signal.signal(signal.SIGTERM, signal.SIG_IGN); await send", 1
)
STRAY = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
STRAY += " start_new_session=True)\n" + APP


class Cloud(SimpleNamespace):
    """As much of a cloud as an instance needs."""

    def __init__(self) -> None:
        identity = uuid.uuid4().hex
        self.lines: list[str] = []
        self.revoked: list[str] = []
        stream = SimpleNamespace(write=self.lines.append, flush=lambda: None)
        super().__init__(
            account="123456789012",
            identity=identity,
            clock=Clock(20),
            url="http://127.0.0.1:1",
            processes=Processes(identity),
            monitoring=SimpleNamespace(log_stream=lambda *_: stream),
            credentials=SimpleNamespace(vend=lambda *_: ("id", {"TOKEN": "t"}), revoke=self.revoked.append),
        )


@pytest.fixture
def cloud() -> Iterator[Any]:
    made = Cloud()
    yield made
    assert marked(made.identity) == []


def instance(cloud: Any, folder: Path, app: str) -> Instance:
    archive = folder / "archive"
    archive.mkdir()
    (archive / "app.py").write_text(app)
    recipe = Recipe(
        region="us-east-1",
        endpoint="dogs",
        variant="v",
        role="role",
        environment={"SM_RAYSERVE_APP": "app:application"},
        archive=archive,
        folder=folder / "instances",
        threads=1,
        startup_seconds=60,
    )
    return Instance(cloud, recipe)


def unexpected(_: Instance) -> None:
    raise AssertionError("it was stopped, so nobody is to be told")


def test_one_that_is_killed_is_noticed(cloud: Any, tmp_path: Path) -> None:
    made, ended = instance(cloud, tmp_path, APP), threading.Event()
    made.start(lambda _: ended.set())
    assert made.running
    made.kill()
    assert ended.wait(60)
    assert not made.running
    made.stop(0)
    assert list((tmp_path / "instances").iterdir()) == []
    assert cloud.revoked == ["id"]


def test_one_that_hangs_is_killed_after_its_grace(cloud: Any, tmp_path: Path) -> None:
    made = instance(cloud, tmp_path, STUBBORN)
    made.start(unexpected)
    assert made.client.request("POST", "/invocations", b"", {}, 60).status == 200
    started = time.monotonic()
    made.stop(0.3)
    assert time.monotonic() - started >= 0.3
    assert not made.running


def test_what_it_started_ends_with_it(cloud: Any, tmp_path: Path) -> None:
    made = instance(cloud, tmp_path, STRAY)
    made.start(unexpected)
    assert len(marked(cloud.identity)) == 2
    made.stop(5)
    psutil.wait_procs(marked(cloud.identity), timeout=60)


def test_one_that_is_stopped_while_it_starts_does_not_start(cloud: Any, tmp_path: Path) -> None:
    made = instance(cloud, tmp_path, "import time\ntime.sleep(600)\n")
    failed: list[str] = []

    def start() -> None:
        try:
            made.start(unexpected)
        except InstanceFailed as error:
            failed.append(str(error))

    starting = threading.Thread(target=start)
    starting.start()
    while not marked(cloud.identity):
        assert starting.is_alive()
    made.stop(1)
    starting.join(60)
    assert failed
