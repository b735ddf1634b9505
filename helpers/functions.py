"""Lambda functions: package, deploy, invoke, delete. Every call may be repeated.

Each function takes the boto3 ``lambda`` client it is to use. See https://docs.aws.amazon.com/lambda/latest/dg/.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

RUNTIME = "python3.13"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest moment that a zip file knows
PROPAGATION_SECONDS = 60.0
REPORT = re.compile(
    r"REPORT RequestId: (?P<request_id>\S+)\s+Duration: (?P<duration>[\d.]+) ms\s+"
    r"Billed Duration: (?P<billed>\d+) ms\s+Memory Size: (?P<memory>\d+) MB\s+"
    r"Max Memory Used: (?P<used>\d+) MB(?:\s+Init Duration: (?P<init>[\d.]+) ms)?"
)

Configuration = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What Lambda's REPORT line says of one invocation; ``init_ms`` is None in a warm environment."""

    request_id: str
    duration_ms: float
    billed_ms: int
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None = None

    @property
    def cold(self) -> bool:
        """Whether the invocation waited for a new environment."""
        return self.init_ms is not None


@dataclass(frozen=True)
class Invocation:
    """One answer of a function; ``function_error`` is None where it returned, and ``payload`` is what it returned."""

    status: int
    payload: Any
    function_error: str | None
    log: tuple[str, ...]
    report: Report | None
    version: str

    @property
    def cold(self) -> bool:
        """Whether the invocation waited for a new environment."""
        return self.report is not None and self.report.cold


def package(source: Path) -> bytes:
    """The zip file of a folder: the same bytes for the same files, whenever and wherever it is made."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and not _left_out(path.relative_to(source))]
    if not files:
        raise FileNotFoundError(f"there is nothing to package in {source}")
    buffer = io.BytesIO()
    # Stored, not deflated: other versions of zlib write other bytes for the same file.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(source).as_posix(), EPOCH)
            entry.create_system = 3  # Unix, so that the mode below counts
            entry.external_attr = (0o100755 if path.stat().st_mode & 0o100 else 0o100644) << 16
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def deploy(
    client: Any,
    name: str,
    source: Path,
    *,
    handler: str,
    role: str,
    environment: Mapping[str, str] | None = None,
    timeout: int = 30,
    memory: int = 128,
    runtime: str = RUNTIME,
    tags: Mapping[str, str] | None = None,
) -> Configuration:
    """Make sure that the function is there as it is described here, and ready; returns its configuration.

    It is created, or what differs is updated; where nothing does, nothing is called. ``timeout`` in seconds, ``memory``
    in MB, ``role`` an ARN. A role made a moment ago is waited for, since IAM needs a while to tell Lambda.
    """
    archive = package(source)
    wanted = {
        "Runtime": runtime,
        "Role": role,
        "Handler": handler,
        "Timeout": timeout,
        "MemorySize": memory,
        "Environment": {"Variables": dict(environment or {})},
    }
    try:
        found = client.get_function(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        _create(client, name, archive, wanted, dict(tags or {}))
    else:
        _update(client, name, archive, wanted, dict(tags or {}), found)
    configuration: Configuration = client.get_function_configuration(FunctionName=name)
    return configuration


def invoke(client: Any, name: str, payload: Any, *, qualifier: str | None = None) -> Invocation:
    """Run the function and wait for its answer. Raises ``ClientError`` where it was not run (throttled, not there)."""
    version = {"Qualifier": qualifier} if qualifier else {}
    answered = client.invoke(FunctionName=name, Payload=json.dumps(payload), LogType="Tail", **version)
    content = answered["Payload"].read()
    log = tuple(base64.b64decode(answered.get("LogResult", "")).decode("utf-8", "replace").splitlines())
    return Invocation(
        answered["StatusCode"],
        json.loads(content) if content else None,
        answered.get("FunctionError"),
        log,
        next((report for line in log if (report := parse_report(line))), None),
        answered.get("ExecutedVersion", "$LATEST"),
    )


def delete(client: Any, name: str) -> bool:
    """Delete the function; False where there was none."""
    try:
        client.delete_function(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True


def parse_report(line: str) -> Report | None:
    """Read a REPORT line of a function's log; None for any other line."""
    found = REPORT.match(line)
    if found is None:
        return None
    return Report(
        request_id=found["request_id"],
        duration_ms=float(found["duration"]),
        billed_ms=int(found["billed"]),
        memory_mb=int(found["memory"]),
        max_memory_mb=int(found["used"]),
        init_ms=float(found["init"]) if found["init"] else None,
    )


def _create(client: Any, name: str, archive: bytes, wanted: Configuration, tags: dict[str, str]) -> None:
    _once_role_is_known(
        lambda: client.create_function(FunctionName=name, Code={"ZipFile": archive}, Tags=tags, **wanted)
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)


def _update(
    client: Any, name: str, archive: bytes, wanted: Configuration, tags: dict[str, str], found: Configuration
) -> None:
    present = {"Environment": {"Variables": {}}, **found["Configuration"]}
    # An update that somebody else began must end first: Lambda takes one at a time.
    _wait_until_updated(client, name)
    if any(present[member] != value for member, value in wanted.items()):
        _once_role_is_known(lambda: client.update_function_configuration(FunctionName=name, **wanted))
        _wait_until_updated(client, name)
    if present["CodeSha256"] != base64.b64encode(hashlib.sha256(archive).digest()).decode():
        client.update_function_code(FunctionName=name, ZipFile=archive)
        _wait_until_updated(client, name)
    if tags.items() - found.get("Tags", {}).items():
        client.tag_resource(Resource=present["FunctionArn"], Tags=tags)


def _wait_until_updated(client: Any, name: str) -> None:
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)


def _once_role_is_known(call: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PROPAGATION_SECONDS
    while True:
        try:
            call()
            return
        except ClientError as error:
            if "cannot be assumed by Lambda" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(2.0)


def _left_out(path: Path) -> bool:
    """What a build or an editor leaves behind is no part of a function."""
    return path.suffix == ".pyc" or any(part == "__pycache__" or part.startswith(".") for part in path.parts)
