"""What the tests of Lambda functions share: packages, a client without retries, a function that does many things."""

from __future__ import annotations

import base64
import io
import itertools
import json
import sqlite3
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conftest import LocalAws

NUMBERS = itertools.count(1)
T = TypeVar("T")
SERVICE = "lambda.amazonaws.com"
QUICKLY = {"Delay": 0.05, "MaxAttempts": 1200}
# What it does is named by the event; COUNT and the pid show whether an environment was used before.
SOURCE = '''
import json, logging, os, pathlib, subprocess, sys, time

COUNT = 0

def handler(event, context):
    global COUNT
    COUNT += 1
    return globals()[event.get("do", "count")](event, context)

def count(event, context):
    return {"count": COUNT, "pid": os.getpid()}

def echo(event, context):
    return event

def environment(event, context):
    return dict(os.environ)

def say(event, context):
    print("printed", event["what"])
    sys.stdout.write("unfinished")
    logging.getLogger().warning("first\\nsecond")

def describe(event, context):
    client = context.client_context
    return {
        "id": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name,
        "version": context.function_version, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name, "left": context.get_remaining_time_in_millis(),
        "client": client and {"custom": client.custom, "env": client.env, "title": client.client.app_title},
        "cwd": os.getcwd(), "task": pathlib.Path("/var/task/app.py").exists(),
    }

def fail(event, context):
    raise ValueError("no good")

def recurse(event, context):
    return recurse(event, context)

def leave(event, context):
    os._exit(event["code"])

def stop(event, context):
    sys.exit(event["code"])

def kill(event, context):
    os.kill(os.getpid(), event["signal"])
    time.sleep(60)

def sleep(event, context):
    time.sleep(event["seconds"])

def fill(event, context):
    block = bytearray(event["megabytes"] << 20)
    return len(block)

def large(event, context):
    return "x" * event["bytes"]

def odd(event, context):
    return {1, 2}

def meet(event, context):
    """Wait until as many as the event says are here at the same time."""
    folder = pathlib.Path(event["folder"])
    (folder / context.aws_request_id).touch()
    while len(list(folder.iterdir())) < event["number"]:
        time.sleep(0.01)
    return {"pid": os.getpid(), "count": COUNT}

def wait_for(event, context):
    (pathlib.Path(event["folder"]) / "arrived").touch()
    while not (pathlib.Path(event["folder"]) / "go").exists():
        time.sleep(0.01)
    return "went"

def note(event, context):
    path = pathlib.Path(event["file"])
    with path.open("a") as file:
        file.write(context.aws_request_id + "\\n")
    if len(path.read_text().split()) <= event.get("failures", 0):
        raise RuntimeError("not yet")

def child(event, context):
    return subprocess.Popen(["sleep", "1000"]).pid

def whoami(event, context):
    import boto3
    boto3.client("s3").put_object(Bucket=event["bucket"], Key=context.aws_request_id, Body=b"here")
    return boto3.client("sts").get_caller_identity()["Arn"]
'''


def package(source: str = SOURCE, **files: str) -> bytes:
    """A deployment package: ``app.py``, and further files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", source)
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@dataclass
class Lambda:
    """Functions on an embedded AWS, made and invoked without the helpers."""

    aws: LocalAws
    client: Any = field(init=False)
    role: str = field(init=False)

    def __post_init__(self) -> None:
        self.client = boto3.client(
            "lambda",
            region_name="us-east-1",
            endpoint_url=self.aws.url,
            aws_access_key_id=self.aws.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.aws.environment["AWS_SECRET_ACCESS_KEY"],
            # Nothing is checked before it is sent: it is the server's checks that are tested.
            config=Config(
                retries={"total_max_attempts": 1}, parameter_validation=False, max_pool_connections=40, read_timeout=300
            ),
        )
        self.role = self.aws.role("functions-tests", SERVICE)

    def create(self, source: str = SOURCE, wait: bool = True, **more: Any) -> str:
        """A function of its own name; returns the name once it is active."""
        name = more.pop("FunctionName", f"function-{next(NUMBERS)}")
        given = {"Runtime": "python3.11", "Handler": "app.handler", "Role": self.role, "Timeout": 60}
        self.client.create_function(**{**given, "FunctionName": name, "Code": {"ZipFile": package(source)}, **more})
        if wait:
            self.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)
        return str(name)

    def settle_in(self, name: str, seconds: float) -> None:
        """Have a function's last change take effect so many seconds from now.

        AWS's second is over before a test on a busy machine has asked for anything.
        """
        path = f"file:{self.aws.state}/documents.sqlite"
        with closing(sqlite3.connect(path, uri=True, timeout=60, isolation_level=None)) as documents:
            documents.execute(
                "UPDATE documents SET body = json_set(body, '$.settles', ?) WHERE kind = 'function' AND name = ?",
                (time.time() + seconds, name),
            )

    def updated(self, name: str) -> None:
        """Wait until an update has taken effect."""
        self.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)

    def call(self, name: str, event: dict[str, Any] | None = None, **more: Any) -> Answer:
        """Invoke a function and wait."""
        answered = self.client.invoke(FunctionName=name, Payload=json.dumps(event or {}), LogType="Tail", **more)
        return Answer(answered, answered["Payload"].read())

    def call_at_once(self, name: str, events: list[dict[str, Any]]) -> list[Answer]:
        """Invoke a function many times at the same time."""
        with ThreadPoolExecutor(len(events)) as pool:
            return list(pool.map(lambda event: self.call(name, event), events))

    def log_until(self, name: str, wanted: Callable[[list[str]], bool]) -> list[str]:
        """The messages of a function's log group, once they are as wanted: they come a moment after the answer."""
        logs = self.aws.client("logs")

        def read() -> list[str]:
            try:
                events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
            except logs.exceptions.ResourceNotFoundException:
                return []
            return [event["message"] for event in events]

        return until(read, wanted)


@dataclass
class Answer:
    """What Invoke answered."""

    response: dict[str, Any]
    content: bytes

    @property
    def payload(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> str | None:
        return self.response.get("FunctionError")

    @property
    def log(self) -> str:
        return base64.b64decode(self.response["LogResult"]).decode()


def until(read: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 120.0) -> T:
    """Look until what is read is as wanted; raises ``AssertionError`` with what it was at last."""
    deadline = time.monotonic() + seconds
    while not wanted(found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def code_of(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def ended(pid: int) -> bool:
    """Whether a process has ended, whoever is to collect its exit code."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def environments(aws: LocalAws, name: str) -> list[psutil.Process]:
    """The processes that carry a function's name in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
        except (psutil.Error, OSError):
            continue
        if variables.get("AWS_LAMBDA_FUNCTION_NAME") == name and variables.get("AWS_ENDPOINT_URL") == aws.url:
            found.append(process)
    return found
