"""The ways in which an invocation fails that is the function's own doing, as Lambda answers and logs them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .report import EXITED, OUT_OF_MEMORY, TIMED_OUT, exit_reason, stamp, timeout_message
from .runtime_api import MAX_RESPONSE


@dataclass(frozen=True)
class Failure:
    """``payload`` is what the caller gets; ``log`` what Lambda adds to the log; ``status`` is for the REPORT line."""

    payload: bytes
    log: str | None = None
    status: str | None = None


def reported(payload: bytes) -> Failure:
    """The runtime itself described the error: an exception of the handler."""
    return Failure(payload)


def init_failed(payload: bytes) -> Failure:
    """The runtime described why it cannot start."""
    return Failure(payload, status=error_type(payload))


def timed_out(request_id: str, seconds: int) -> Failure:
    """The function took longer than it may."""
    message = timeout_message(seconds)
    return Failure(
        _described(TIMED_OUT, f"RequestId: {request_id} Error: {message}"),
        f"{stamp()} {request_id} {message}\n",
        TIMED_OUT,
    )


def exited(request_id: str, code: int) -> Failure:
    """The runtime's process ended."""
    message = f"RequestId: {request_id} Error: {exit_reason(code)}"
    return Failure(_described(EXITED, message), f"{message}\n{EXITED}", EXITED)


def out_of_memory(request_id: str) -> Failure:
    """The function used more memory than it has, and was killed."""
    message = f"RequestId: {request_id} Error: {exit_reason(-9)}"
    return Failure(_described(OUT_OF_MEMORY, message), f"{message}\n{EXITED}", OUT_OF_MEMORY)


def too_large(size: int) -> Failure:
    """The function returned more than Lambda carries."""
    message = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
    return Failure(_described("Function.ResponseSizeTooLarge", message))


def error_type(payload: bytes) -> str:
    """The ``errorType`` of a runtime's description."""
    try:
        described = json.loads(payload)
    except ValueError:
        return "Runtime.Unknown"
    found = described.get("errorType") if isinstance(described, dict) else None
    return str(found or "Runtime.Unknown")


def _described(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}, separators=(",", ":")).encode()
