"""Lambda functions: package, deploy, publish, invoke, limit, delete. Every call may be repeated.

Each function takes the boto3 ``lambda`` client it is to use. See https://docs.aws.amazon.com/lambda/latest/dg/.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
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
# AWS starts up to 6,000 provisioned environments a minute, after a minute or two.
PROVISION_SECONDS = 600.0
POLL_SECONDS = 0.5
# AWS keeps so much of the account's concurrency for functions without a reservation.
UNRESERVED = 100
REPORT = re.compile(
    r"REPORT RequestId: (?P<request_id>\S+)\s+Duration: (?P<duration>[\d.]+) ms\s+"
    r"Billed Duration: (?P<billed>\d+) ms\s+Memory Size: (?P<memory>\d+) MB\s+"
    r"Max Memory Used: (?P<used>\d+) MB(?:\s+Init Duration: (?P<init>[\d.]+) ms)?"
)

Configuration = dict[str, Any]


class NotEnoughConcurrency(RuntimeError):
    """The account's limit leaves no room for what is to be reserved or provisioned; the message says what to do."""


class NotProvisioned(RuntimeError):
    """The environments did not become ready; the message says why."""


@dataclass(frozen=True)
class Report:
    """What Lambda's REPORT line says of one invocation; ``init_ms`` is None in an environment used before."""

    request_id: str
    duration_ms: float
    billed_ms: int
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None = None

    @property
    def cold(self) -> bool:
        """Whether the invocation waited for a new environment.

        The first one in a provisioned environment has an ``init_ms`` too, but of long before, and is not billed for it.
        """
        return self.init_ms is not None and self.billed_ms >= int(self.duration_ms + self.init_ms)


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


def publish(client: Any, name: str) -> str:
    """The version that is the function as it is now: a new one, or the last one if nothing has changed since."""
    return str(client.publish_version(FunctionName=name)["Version"])


def ensure_alias(
    client: Any, name: str, alias: str, version: str, weights: Mapping[str, float] | None = None
) -> Configuration:
    """Make sure that the alias points at the version; returns it.

    ``weights`` gives another version a share of the invocations, as ``{"2": 0.1}``.
    """
    wanted = {"FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": dict(weights or {})}}
    try:
        found: Configuration = client.get_alias(FunctionName=name, Name=alias)
    except client.exceptions.ResourceNotFoundException:
        found = client.create_alias(FunctionName=name, Name=alias, **wanted)
    else:
        present = found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        if (found["FunctionVersion"], present) != (version, dict(weights or {})):
            found = client.update_alias(FunctionName=name, Name=alias, **wanted)
    return {member: value for member, value in found.items() if member != "ResponseMetadata"}


def ensure_provisioned(client: Any, name: str, alias: str, count: int) -> Configuration:
    """Make sure that ``count`` environments of the alias are ready before anybody asks; they bill until removed.

    Waits for them. Raises :class:`NotProvisioned` with the reason, :class:`NotEnoughConcurrency` where the account has
    too little, ``ClientError`` for what cannot be provisioned.
    """
    which = {"FunctionName": name, "Qualifier": alias}
    try:
        found = client.get_provisioned_concurrency_config(**which)
    except client.exceptions.ProvisionedConcurrencyConfigNotFoundException:
        found = {"RequestedProvisionedConcurrentExecutions": 0}
    if found["RequestedProvisionedConcurrentExecutions"] != count or found["Status"] == "FAILED":
        _within_account(
            client, lambda: client.put_provisioned_concurrency_config(ProvisionedConcurrentExecutions=count, **which)
        )
    deadline = time.monotonic() + PROVISION_SECONDS
    while (found := client.get_provisioned_concurrency_config(**which))["Status"] == "IN_PROGRESS":
        if time.monotonic() > deadline:
            raise NotProvisioned(f"{name}:{alias} is not ready after {PROVISION_SECONDS:g} s: {found}")
        time.sleep(POLL_SECONDS)
    if found["Status"] == "FAILED":
        reason = found.get("StatusReason", "no reason given")
        raise NotProvisioned(f"{name}:{alias} cannot be provisioned: {reason}. See its log, /aws/lambda/{name}.")
    return {member: value for member, value in found.items() if member != "ResponseMetadata"}


def remove_provisioned(client: Any, name: str, alias: str) -> None:
    """End the alias's environments, which ends their bill."""
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=alias)


def ensure_reserved(client: Any, name: str, count: int) -> None:
    """Keep ``count`` of the account's concurrency for the function, which is then its limit too; free of charge.

    Raises :class:`NotEnoughConcurrency` where the account has too little.
    """
    if client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") != count:
        _within_account(
            client, lambda: client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=count)
        )


def remove_reserved(client: Any, name: str) -> None:
    """Give the function's reservation back."""
    client.delete_function_concurrency(FunctionName=name)


def account_concurrency(client: Any) -> dict[str, Any]:
    """What the account may run at once in this region, and how much of it can be reserved or provisioned.

    ``limit``, ``unreserved``, ``available`` (for a reservation) and ``told``, the same in a sentence.
    """
    limits = client.get_account_settings()["AccountLimit"]
    limit, unreserved = limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]
    available = max(0, unreserved - UNRESERVED)
    told = f"This account may run {limit} invocations at once in this region. "
    if available:
        told += f"Of these, {available} can still be reserved or provisioned: {UNRESERVED} stay for all functions."
    else:
        told += (
            f"AWS keeps {UNRESERVED} of them for all functions, so nothing more can be reserved or provisioned. Ask "
            'Service Quotas for more of "Concurrent executions" (L-B99A9384), or go on without.'
        )
    return {"limit": limit, "unreserved": unreserved, "available": available, "told": told}


def needed_concurrency(requests_per_second: float, seconds: float) -> int:
    """How many environments are at work on average, rounded up: the rate times the duration of one invocation.

    >>> needed_concurrency(40, 0.25)
    10
    """
    # The product of two decimal fractions may be a hair above the whole number that it stands for.
    return math.ceil(round(requests_per_second * seconds, 9))


def _within_account(client: Any, ask: Callable[[], Any]) -> None:
    try:
        ask()
    except ClientError as error:
        if "nreservedConcurrentExecution" in str(error) or "unreserved concurrency" in str(error):
            raise NotEnoughConcurrency(f"{account_concurrency(client)['told']} ({error})") from error
        raise


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
