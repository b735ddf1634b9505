"""What callers ask of AWS, written down: a JSON line a request, where ``LOCALAWS_RECORD`` names a file.

A line has ``time``, ``service``, ``operation``, ``region``, ``caller``, ``status``, ``error`` (a code, or null),
``sdk`` and its ``features`` (botocore's marks in the User-Agent: C is a paginator, B a waiter), ``parameters`` by the
model's names, and ``unknown``: what was sent that the model does not have. No credential is written, and no content: a
blob, or what the model calls sensitive, is ``{"$bytes": 1024}`` or ``{"$characters": 40}``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.model import Shape

from . import protocol, unmodelled
from .errors import AwsError
from .identities import ANONYMOUS, Caller
from .protocol import Call, Response

log = logging.getLogger(__name__)

SETTING = "LOCALAWS_RECORD"
_CODE = re.compile(rb"<Code>([\w.]+)</Code>|\"__type\": ?\"(?:[\w.]+#)?([\w.]+)\"|\"[cC]ode\": ?\"([\w.]+)\"")
_SDK = re.compile(r"AWS-SageMaker-Python-SDK/\S+|aws-cli/\S+|Boto3/\S+|Botocore/\S+|^\S+", re.I)
_FEATURES = re.compile(r"(?:^|\s)m/([\w,-]+)")


class Recorder:
    """Appends to one file, from many threads, a whole line at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()

    @classmethod
    def of_environment(cls) -> Recorder | None:
        """The recorder that the environment asks for; None where it asks for none."""
        named = os.environ.get(SETTING)
        return cls(Path(named)) if named else None

    def note(self, call: Call | None, caller: Caller | None, environ: dict[str, Any], response: Response) -> None:
        """Write one request down. A request that cannot be is told in the log: it is answered all the same."""
        try:
            line = json.dumps(_entry(call, caller, environ, response), default=str).encode() + b"\n"
            with self._lock:
                os.write(self._file, line)
        except Exception:
            log.exception("a request was not recorded")


def _entry(call: Call | None, caller: Caller | None, environ: dict[str, Any], response: Response) -> dict[str, Any]:
    scope = call.scope if call else protocol.scope_of(environ)
    agent = environ.get("HTTP_USER_AGENT", "")
    sdk, features = _SDK.search(agent), _FEATURES.search(agent)
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "service": call.service if call else scope.service,
        "operation": call.operation if call else None,
        "region": scope.region,
        "caller": _name(caller),
        "status": response.status,
        "error": _error(response),
        "sdk": sdk[0] if sdk else None,
        "features": features[1].split(",") if features else [],
        "parameters": _parameters(call) if call else None,
        "unknown": unmodelled.names(call) if call else [],
    }


def _parameters(call: Call) -> Any:
    """The input as the model has it, what is secret or long cut; None where it cannot be read."""
    if call.model.input_shape is None:
        return {}
    try:
        parsed = protocol.parse(call, whole=True)
    except AwsError:
        return None
    payload = call.model.input_shape.serialization.get("payload")
    if call.body and payload and call.model.input_shape.members[payload].type_name == "blob":
        parsed[payload] = call.body  # of an object, which parsing leaves closed
    return _shown(call.model.input_shape, parsed)


def _shown(shape: Shape, value: Any) -> Any:
    """A value as it may be written down."""
    kind = shape.type_name
    if value is None:
        return None
    if kind == "blob":
        return {"$bytes": _blob_size(value)}
    if kind == "structure" and isinstance(value, dict):
        return {name: _shown(one, value[name]) for name, one in shape.members.items() if value.get(name) is not None}
    if kind == "map" and isinstance(value, dict):
        secret = shape.key.metadata.get("sensitive")
        named = ((f"${n}: {len(key)} characters" if secret else key, one) for n, (key, one) in enumerate(value.items()))
        return {key: _shown(shape.value, one) for key, one in named}
    if kind == "list" and isinstance(value, list):
        return [_shown(shape.member, one) for one in value]
    return {"$characters": len(str(value))} if shape.metadata.get("sensitive") else value


def _blob_size(value: Any) -> int:
    """Bytes of a blob: raw, or base64 as JSON and forms carry it."""
    if isinstance(value, str):
        return len(value.rstrip("=")) * 3 // 4
    return len(value) if isinstance(value, bytes) else -1


def _name(caller: Caller | None) -> str | None:
    """``user/somebody``, ``role/some-role``, ``anonymous``; None for who could not say."""
    if caller is None or caller.kind == ANONYMOUS:
        return None if caller is None else "anonymous"
    kind, _, name = caller.arn.rpartition(":")[2].partition("/")
    return f"role/{name.partition('/')[0]}" if kind == "assumed-role" else f"{kind}/{name}"


def _error(response: Response) -> str | None:
    """The code of an answer that is an error; its status as text where the answer (to HEAD) has no code."""
    if response.status < 400:
        return None
    headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers}
    if "x-amzn-errortype" in headers:
        return headers["x-amzn-errortype"].partition(":")[0]
    found = _CODE.search(response.body) if isinstance(response.body, bytes) else None
    return next(one for one in found.groups() if one).decode() if found else str(response.status)


__all__ = ["SETTING", "Recorder"]
