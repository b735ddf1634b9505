"""Environments by themselves: what a runtime writes, how it is initialised, and when that takes too long."""

import os
import select
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.credentials import Keys
from helpers.localaws.engines.functions.code import CodeStore
from helpers.localaws.engines.functions.environment import Environment, Host
from helpers.localaws.engines.functions.interpreter import Interpreter
from helpers.localaws.engines.functions.memory import MemoryWatch
from helpers.localaws.engines.functions.output import Output
from helpers.localaws.engines.functions.pool import Pool
from helpers.localaws.engines.functions.runtime import Runtime
from helpers.localaws.engines.functions.runtime_api import Invocation, RuntimeApi, Signal
from helpers.localaws.engines.functions.spec import Spec
from helpers.localaws.engines.processes import Processes, marked
from tests.lambda_functions import package

FRAMES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()), max_size=5)


class Log:
    """A log stream that only remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        """Nothing is kept back."""


class Monitoring:
    def __init__(self) -> None:
        self.log = Log()

    def log_stream(self, *_: str) -> Log:
        return self.log


class Workshop:
    """Makes environments without a server."""

    def __init__(self, folder: Path) -> None:
        self.monitoring = Monitoring()
        self.identity = f"unit-test-{os.getpid()}"
        self.code = CodeStore(folder / "code")
        self.memory = MemoryWatch()
        (folder / "code").mkdir()
        self.host = Host(
            folder=folder / "environments",
            url="http://127.0.0.1:9",
            processes=Processes(self.identity),
            monitoring=self.monitoring,  # type: ignore[arg-type]
            code=self.code,
            interpreter=Interpreter(folder / "python"),
            memory=self.memory,
            starts=threading.Semaphore(2),
            init_seconds=60,
        )

    def initialises_in(self, seconds: float) -> None:
        """Have AWS's ten seconds for an initialisation be so many."""
        self.host = replace(self.host, init_seconds=seconds)

    def spec(self, source: str, **more: object) -> Spec:
        given = {
            "runtime": "python3.11",
            "architecture": "x86_64",
            "handler": "app.handler",
            "role": "",
            "timeout": 60,
            "memory_mb": 128,
            "variables": (),
            "code_sha256": self.code.keep(package(source)),
            "log_group": "/aws/lambda/f",
        }
        return Spec("us-east-1", "123456789012", "f", "$LATEST", **{**given, **more})

    def environment(self, spec: Spec) -> Environment:
        return Environment(spec, self.host, Keys("id", "secret", "token", "2999-01-01T00:00:00+00:00"))

    def ready(self, source: str, **more: object) -> Environment:
        made = self.environment(self.spec(source, **more))
        made.initialise()
        return made


@pytest.fixture
def workshop(tmp_path):
    made = Workshop(tmp_path)
    yield made
    made.memory.close()
    for process in marked(made.identity):
        process.kill()


def invocation(number: int = 1) -> Invocation:
    return Invocation(f"request-{number}", b"{}", "arn")


# ---- initialisation ----


def test_an_initialisation_of_more_than_ten_seconds_is_tried_again_within_the_invocation(workshop, tmp_path):
    gate = tmp_path / "gate"
    source = f"""
import pathlib, time
while not pathlib.Path({str(gate)!r}).exists():
    time.sleep(0.01)
def handler(event, context):
    return "came up"
"""
    workshop.initialises_in(0.5)
    environment = workshop.ready(source)
    gate.touch()
    outcome = environment.invoke(invocation())
    assert (outcome.payload, outcome.function_error) == (b'"came up"', None)
    assert outcome.report.init_ms is None, "the time of the second try is the invocation's"
    [line] = [line for line in workshop.monitoring.log.lines if line.startswith("INIT_REPORT")]
    assert line.endswith("\tPhase: init\tStatus: timeout")


def test_an_initialisation_that_never_ends_is_a_timeout(workshop):
    workshop.initialises_in(0.5)
    outcome = workshop.ready("import time\ntime.sleep(60)", timeout=1).invoke(invocation())
    assert b'"errorType":"Sandbox.Timedout"' in outcome.payload
    assert b"Task timed out after 1.00 seconds" in outcome.payload
    phases = [line.split("\t")[1:] for line in workshop.monitoring.log.lines if line.startswith("INIT_REPORT")]
    assert phases == [["Phase: init", "Status: timeout"], ["Phase: invoke", "Status: timeout"]]


def test_a_runtime_without_any_memory_left_after_import(workshop):
    outcome = workshop.ready("block = bytearray(200 << 20)").invoke(invocation())
    assert b'"errorType":"Runtime.OutOfMemory"' in outcome.payload


def test_a_runtime_has_exited_before_the_thread_that_awaits_it_knows(workshop, monkeypatch):
    noticed, gone = threading.Event(), Runtime._await_end

    def late(runtime: Runtime) -> None:
        noticed.wait()
        gone(runtime)

    monkeypatch.setattr(Runtime, "_await_end", late)
    environment = workshop.ready("def handler(event, context):\n    return 1")
    runtime = environment._runtime
    assert not runtime.exited
    os.kill(runtime.pid, signal.SIGKILL)
    while psutil.Process(runtime.pid).status() != psutil.STATUS_ZOMBIE:
        os.sched_yield()
    assert runtime.exited, "or the next event would be offered to the dead"
    noticed.set()
    environment.end()


def test_an_ended_environment_leaves_nothing(workshop):
    source = "import subprocess\ndef handler(event, context):\n    return subprocess.Popen(['sleep', '1000']).pid"
    environment = workshop.ready(source)
    child = int(environment.invoke(invocation()).payload)
    before = [process for process in marked(workshop.identity) if process.pid == child]
    assert before
    environment.end()
    for process in before:
        process.wait(60)
    assert not marked(workshop.identity)
    assert not list(workshop.host.folder.iterdir())


def test_what_a_function_starts_counts_as_its_memory(workshop):
    source = """
import subprocess, sys
def handler(event, context):
    subprocess.run([sys.executable, "-c", "block = bytearray(200 << 20); import time; time.sleep(600)"])
"""
    outcome = workshop.ready(source).invoke(invocation())
    assert b'"errorType":"Runtime.OutOfMemory"' in outcome.payload
    assert outcome.report.max_memory_mb == 128


# ---- pools ----


def test_a_pool_gives_the_environment_used_last_and_ends_those_of_another_spec(workshop):
    old, new = workshop.spec("def handler(e, c): return 1"), workshop.spec("def handler(e, c): return 2")
    pool = Pool(workshop.environment)
    first, second = pool.take(old), pool.take(old)
    assert pool.counts() == (0, 2)
    pool.give_back(first)
    pool.give_back(second)
    assert pool.take(old) is second
    pool.give_back(second)
    replaced = pool.take(new)
    assert replaced.spec == new
    assert pool.counts() == (0, 1)
    pool.give_back(replaced)
    assert pool.reclaim(idle_seconds=1000) == 1
    assert pool.reclaim(idle_seconds=0) == 0
    assert not marked(workshop.identity)


# ---- output ----


def frame(message: str) -> bytes:
    content = message.encode()
    return b"\xa5\x5a\x00\x13" + len(content).to_bytes(4, "big") + bytes(8) + content


@given(FRAMES, st.lists(st.from_regex(r"[a-z ]*[a-z][a-z ]*", fullmatch=True), max_size=5), st.integers(1, 40))
def test_frames_and_lines_arrive_whole_however_they_are_cut(messages, lines, size):
    seen: list[str] = []
    output = Output(seen.append)
    frames, stdout = os.dup(output.frames), os.dup(output.stdout)
    output.start()
    framed, text = b"".join(map(frame, messages)), "".join(f"{line}\n" for line in lines).encode()
    for start in range(0, max(len(framed), len(text)), size):
        os.write(frames, framed[start : start + size])
        os.write(stdout, text[start : start + size])
    output.drain()
    for end in (frames, stdout):
        os.close(end)
    output.close()
    assert sorted(seen) == sorted([message.rstrip("\n") for message in messages] + lines)


def test_bytes_that_are_no_frame_are_passed_over():
    seen: list[str] = []
    output = Output(seen.append)
    frames = os.dup(output.frames)
    output.start()
    os.write(frames, b"rubbish that is longer than a header" + frame("a message"))
    os.close(frames)
    output.drain()
    output.close()
    assert seen == ["a message"]


# ---- the runtime API ----


def test_what_a_runtime_says_is_heard_before_it_is_answered():
    """A runtime that cannot start exits when it is answered: its exit must not overtake what it said."""
    answered: list[bool] = []
    asked = threading.Event()

    def hear(_: Signal) -> None:
        asked.wait(60)
        answered.append(bool(select.select([connection], [], [], 0)[0]))

    api = RuntimeApi(hear)
    host, port = api.address.split(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        asked.set()
        assert connection.recv(1000).startswith(b"HTTP/1.1 202 ")
    api.close()
    assert answered == [False]


# ---- who may talk to a runtime's address ----


@pytest.mark.parametrize(
    "header",
    [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Referer: https://evil.example/",
        "Host: evil.example",
    ],
)
@pytest.mark.parametrize(
    "start", ["POST /2018-06-01/runtime/init/error", "GET /2018-06-01/runtime/invocation/next", "POST /"]
)
def test_a_web_page_cannot_be_the_runtime(header, start):
    said: list[object] = []
    api = RuntimeApi(said.append)
    host, port = api.address.split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        own = "" if header.startswith("Host") else f"Host: {api.address}\r\n"
        connection.sendall(f"{start} HTTP/1.1\r\n{own}{header}\r\nContent-Length: 0\r\n\r\n".encode())
        answer = connection.recv(1000)
    api.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert said == []
