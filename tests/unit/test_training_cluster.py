"""The hosts of a training job, run together: whatever goes wrong, in whatever order it is heard of."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.localaws.engines import stopping
from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.training_cluster import Ending, Mailbox, Outcome, TrainingCluster


class Host:
    """A host that runs until it is ended or stopped."""

    def __init__(self, name: str) -> None:
        self.name, self.exit_code, self.ended = name, None, math.inf  # type: str, int | None, float
        self.stops: list[float] = []
        self._gone = threading.Event()

    def end(self, code: int, at: float) -> None:
        self.exit_code, self.ended = code, at
        self._gone.set()

    def wait(self) -> None:
        self._gone.wait()

    def stop(self, seconds: float) -> None:
        self.stops.append(seconds)
        if not self._gone.is_set():
            self.end(137, 1000.0)


def run(hosts: list[Any], mailbox: Mailbox, on_stop: Callable[[Ending], object] = lambda _: None) -> Outcome:
    cluster = TrainingCluster(hosts, Clock(), mailbox, lambda _: None, on_stop)  # type: ignore[arg-type]
    return cluster.run({Ending.MAX_RUNTIME: 600.0})


def test_the_host_that_failed_first_gives_the_reason_though_another_is_heard_of_first():
    first, second, third = hosts = [Host(f"algo-{number}") for number in (1, 2, 3)]
    mailbox = Mailbox()
    second.end(1, at=2.0)
    tell = mailbox.tell

    def tell_late(host: Any) -> None:
        if host is second:
            first.end(3, at=1.0)  # a moment before, but whoever waits for it has not come to say so
        tell(host)

    mailbox.tell = tell_late  # type: ignore[method-assign]
    mailbox.tell(second)
    outcome = run(hosts, mailbox)
    assert (outcome.ending, outcome.host) == (Ending.FAILED, first)
    assert third.exit_code == 137


def test_a_host_that_cannot_be_waited_for_ends_the_run_all_the_same(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    host = Host("algo-1")
    host.exit_code = 1
    monkeypatch.setattr(host, "wait", lambda: 1 / 0)
    assert run([host], Mailbox()) == Outcome(Ending.FAILED, host)  # type: ignore[arg-type]


def test_where_everything_ends_there_is_no_time_left_for_a_stop_either():
    host, mailbox = Host("algo-1"), Mailbox()
    mailbox.ask(Ending.STOPPED)
    assert run([host], mailbox, lambda _: mailbox.ask(Ending.CLOSED)).ending is Ending.STOPPED
    assert max(host.stops) < 1


class Process:
    """A process that notes its signals, and starts another before it hears the first."""

    def __init__(self, table: list[Process], children: int) -> None:
        self.table, self.children = table, children
        self.signals: list[int] = []

    def send_signal(self, number: int) -> None:
        if self.children and not self.signals:
            self.table.append(Process(self.table, self.children - 1))
        self.signals.append(number)

    def open_files(self) -> list[Any]:
        return []


def test_what_a_process_starts_before_it_is_halted_is_killed_too(monkeypatch):
    table: list[Process] = []
    table += [Process(table, children=2), Process(table, children=0)]
    monkeypatch.setattr(stopping, "processes_below", lambda *_: list(table))
    monkeypatch.setattr(stopping, "_is_own_child", lambda _: True)
    stopping.kill("nobody", Path("/nowhere"))
    assert [process.signals for process in table] == [[signal.SIGSTOP, signal.SIGKILL]] * 4


@pytest.mark.parametrize("ending", [Ending.STOPPED, Ending.CLOSED])
def test_an_end_that_is_asked_for_is_heard(ending):
    mailbox, host = Mailbox(), Host("algo-1")
    mailbox.ask(ending)
    assert run([host], mailbox) == Outcome(ending)
    assert (max(host.stops) < 1) == (ending is Ending.CLOSED)
