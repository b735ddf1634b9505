"""That all processes end: also those that are started while the process table is read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers.localaws import __main__ as command_line
from helpers.localaws.engines import processes
from helpers.localaws.engines.processes import Child, Processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Table:
    """A process table in which every process that is met for the first time has just started the next one."""

    def __init__(self, *names: str) -> None:
        self.waiting, self.alive, self.signals = list(names), [], dict[str, list[signal.Signals]]()
        self.start()

    def look(self, *_: Any) -> list[Any]:
        seen = list(self.alive)
        if self.waiting and not all(self.signals[one.name] for one in seen):
            self.start()
        return seen

    def start(self) -> None:
        started = Entry(self, self.waiting.pop(0))
        self.signals[started.name] = []
        self.alive.append(started)


class Entry:
    """One of its processes."""

    def __init__(self, table: Table, name: str) -> None:
        self.table, self.name, self.pid = table, name, 0

    def send_signal(self, number: signal.Signals) -> None:
        self.table.signals[self.name].append(number)


def test_what_is_started_while_others_end_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("first", "second", "third")
    monkeypatch.setattr(processes, "marked", table.look)
    monkeypatch.setattr(psutil, "wait_procs", lambda found, **_: (found, []))
    processes.end_marked("id")
    assert all(signal.SIGKILL in sent for sent in table.signals.values())
    assert set(table.signals) == {"first", "second", "third"}


def test_a_process_that_is_on_its_way_is_ended_and_none_starts_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The end comes while a process is being made: it must not look at the process table before that is in it."""
    ours, on_its_way, go = Processes(uuid.uuid4().hex), threading.Event(), threading.Event()
    children: list[Child] = []
    make = Child.__init__

    def slow(*arguments: Any) -> None:
        on_its_way.set()
        go.wait()
        make(*arguments)

    monkeypatch.setattr(Child, "__init__", slow)

    def spawn() -> Child:
        return ours.spawn(SLEEP, cwd=tmp_path, env=dict(os.environ), on_line=print, name="sleep")

    starting = threading.Thread(target=lambda: children.append(spawn()))
    starting.start()
    on_its_way.wait()
    closing = threading.Thread(target=ours.close)
    closing.start()
    go.set()
    starting.join()
    closing.join()
    ended = children[0].wait(60)
    children[0].signal(signal.SIGKILL)
    assert ended is not None
    with pytest.raises(OSError, match="is ending and starts nothing"):
        spawn()


def test_a_server_that_ends_by_itself_while_it_is_to_be_ended_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "id").write_text(uuid.uuid4().hex)
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr(command_line, "running", lambda *_, **__: {"pid": ended.pid})
    assert command_line.main(["down", "--state", str(tmp_path)]) == 0
