"""The lines that Lambda itself writes to a function's log."""

from __future__ import annotations

import hashlib
import math
import signal
from dataclasses import dataclass
from datetime import UTC, datetime

TIMED_OUT = "Sandbox.Timedout"
EXITED = "Runtime.ExitError"
OUT_OF_MEMORY = "Runtime.OutOfMemory"


@dataclass(frozen=True)
class Report:
    """What one invocation took; times in milliseconds, memory in MB. ``init_ms`` is None in a warm environment."""

    request_id: str
    duration_ms: float
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None = None
    error_type: str | None = None
    init_billed: bool = True

    @property
    def billed_ms(self) -> int:
        """Whole milliseconds, the initialisation of a cold start among them (since August 2025)."""
        init_ms = self.init_ms if self.init_ms is not None and self.init_billed else 0.0
        return max(1, math.ceil(round(self.duration_ms + init_ms, 2)))

    def line(self) -> str:
        """The REPORT line."""
        fields = [
            f"REPORT RequestId: {self.request_id}",
            f"Duration: {self.duration_ms:.2f} ms",
            f"Billed Duration: {self.billed_ms} ms",
            f"Memory Size: {self.memory_mb} MB",
            f"Max Memory Used: {self.max_memory_mb} MB",
        ]
        if self.init_ms is not None:
            fields.append(f"Init Duration: {self.init_ms:.2f} ms")
        return "\t".join([*fields, *_status(self.error_type)])


def init_report(duration_ms: float, phase: str, error_type: str) -> str:
    """The INIT_REPORT line of an initialisation that failed; ``phase`` is ``init`` or ``invoke``."""
    return "\t".join([f"INIT_REPORT Init Duration: {duration_ms:.2f} ms", f"Phase: {phase}", *_status(error_type)])


def init_start(runtime: str, region: str) -> str:
    """The INIT_START line; the runtime's version is named by AWS's form, ``python:3.13.v1``."""
    version = f"{runtime.rstrip('0123456789.')}:{runtime.lstrip('abcdefghijklmnopqrstuvwxyz')}.v1"
    return f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {runtime_arn(runtime, region)}"


def runtime_arn(runtime: str, region: str) -> str:
    """The ARN of a runtime's version."""
    return f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"


def exit_reason(code: int) -> str:
    """How a process ended, in the words of Lambda's supervisor."""
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 0:
        return f"Runtime exited with error: exit status {code}"
    described = (signal.strsignal(-code) or f"signal {-code}").split(" (")[0].split(":")[0]
    return f"Runtime exited with error: signal: {described.lower()}"


def timeout_message(seconds: int) -> str:
    """What a function that took too long is told."""
    return f"Task timed out after {seconds:.2f} seconds"


def stamp() -> str:
    """The present moment as Lambda writes it, in milliseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _status(error_type: str | None) -> list[str]:
    if error_type is None:
        return []
    return ["Status: timeout"] if error_type == TIMED_OUT else ["Status: error", f"Error Type: {error_type}"]
