"""A Lambda runtime for Python in plain Python, for systems that AWS's own (``awslambdaric``) has no wheel for.

It is started as a program, ``python -P runtime_client.py module.handler``, by the interpreter that the function sees,
so it imports nothing but the standard library. It makes the four calls of the Runtime API: next, response, error and
init error.
"""

from __future__ import annotations

import decimal
import http.client
import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TextIO

API = "/2018-06-01/runtime"
HERE = os.path.abspath(__file__)
# The kinds of log frames, by level: 0xa55a, then flags for text (…03) and the level.
FRAME = {
    logging.NOTSET: 0xA55A0003,
    logging.DEBUG: 0xA55A000B,
    logging.INFO: 0xA55A000F,
    logging.WARNING: 0xA55A0013,
    logging.ERROR: 0xA55A0017,
    logging.CRITICAL: 0xA55A001B,
}
UNICODE_SINCE = 12  # from python3.12 on, responses keep their characters instead of escaping them
Handler = Callable[[Any, Any], Any]
Described = dict[str, Any]


class RuntimeFault(Exception):
    """The function cannot be loaded, or not be spoken with; ``kind`` is Lambda's name for why."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind, self.trace = kind, trace or []


class Api:
    """The four calls, on one connection that stays open."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def next(self) -> tuple[Mapping[str, str], bytes]:
        """Wait for an event; its headers (names in lower case) and its payload."""
        status, headers, payload = self._call("GET", "/invocation/next")
        if status != 200:
            raise ConnectionError(f"the Runtime API answered {status} to next")
        return headers, payload

    def respond(self, request_id: str, payload: bytes, content_type: str) -> None:
        """Post what the function returned."""
        self._post(f"/invocation/{request_id}/response", payload, {"Content-Type": content_type})

    def fail(self, request_id: str, described: Described) -> None:
        """Post what the function raised."""
        self._post_error(f"/invocation/{request_id}/error", described)

    def fail_to_start(self, described: Described) -> None:
        """Post why the function cannot be loaded."""
        self._post_error("/init/error", described)

    def _post_error(self, path: str, described: Described) -> None:
        kind = {"Lambda-Runtime-Function-Error-Type": described["errorType"]}
        self._post(path, json.dumps(described).encode(), kind)

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        status, _, said = self._call("POST", path, body, headers)
        if status != 202:
            raise ConnectionError(f"the Runtime API answered {status}: {said.decode(errors='replace')}")

    def _call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._connection.request(method, API + path, body, dict(headers or {}))
        response = self._connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


class LogHandler(logging.Handler):
    """Log records as Lambda has them, each one event however many lines it has."""

    def __init__(self, descriptor: int | None) -> None:
        super().__init__()
        self.request_id = ""
        self._frames = os.fdopen(descriptor, "wb", 0) if descriptor is not None else None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        milliseconds = int(record.msecs)
        head = f"[{record.levelname}]\t{stamp}.{milliseconds:03d}Z\t{self.request_id}\t"
        self.write(f"{head}{self.format(record)}\n", record.levelno)

    def write(self, message: str, level: int = logging.NOTSET) -> None:
        """Write one message as it is."""
        if self._frames is None:
            sys.stdout.write(message)
            return
        content = message.encode("utf-8", "replace")
        stamp = time.time_ns() // 1000
        header = ((FRAME.get(level, FRAME[logging.NOTSET]), 4), (len(content), 4), (stamp, 8))
        self._frames.write(b"".join(number.to_bytes(size, "big") for number, size in header) + content)


class LambdaContext:
    """What a handler gets as its second argument."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        variable = os.environ.get
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.function_name = variable("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = variable("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = variable("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = variable("AWS_LAMBDA_LOG_STREAM_NAME")
        self.client_context = _client_context(headers.get("lambda-runtime-client-context"))
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self._deadline_ms = int(headers.get("lambda-runtime-deadline-ms") or 0)

    def get_remaining_time_in_millis(self) -> int:
        """How long the function may still take."""
        return max(self._deadline_ms - int(time.time() * 1000), 0)


def main(argv: list[str]) -> int:
    """Load the handler, then hand it one event after another; returns an exit code where it cannot be loaded."""
    api, log = Api(os.environ["AWS_LAMBDA_RUNTIME_API"]), _set_up_logging()
    for stream in (sys.stdout, sys.stderr):
        _unbuffer(stream)
    try:
        handler = load(argv[1])
    except RuntimeFault as error:
        described = describe(error.kind, str(error), error.trace)
    except Exception as error:
        described = describe(type(error).__name__, str(error), _frames(error))
    else:
        while True:
            _serve(api, log, handler)
    log.write(as_text(described), logging.ERROR)
    api.fail_to_start(described)
    return 1


def load(name: str) -> Handler:
    """Import ``package/module.function``; raises :class:`RuntimeFault`, or what the module raises."""
    module_name, dot, function = name.rpartition(".")
    if not dot:
        raise RuntimeFault(
            "Runtime.MalformedHandlerName",
            f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)",
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise RuntimeFault(
            "Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module"
        )
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise RuntimeFault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise RuntimeFault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", [place]
        ) from error
    found: Handler | None = getattr(module, function, None)
    if found is None:
        raise RuntimeFault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module_name}'")
    return found


def _serve(api: Api, log: LogHandler, handler: Handler) -> None:
    """Handle one event."""
    headers, payload = api.next()
    request_id = log.request_id = headers["lambda-runtime-aws-request-id"]
    os.environ["_X_AMZN_TRACE_ID"] = headers.get("lambda-runtime-trace-id", "")
    try:
        content, content_type = _encoded(handler(_decoded(payload), LambdaContext(headers)))
    except RuntimeFault as error:
        described = describe(error.kind, str(error), error.trace, request_id)
    except Exception as error:
        described = describe(type(error).__name__, str(error), _frames(error), request_id)
    else:
        api.respond(request_id, content, content_type)
        return
    log.write(as_text(described), logging.ERROR)
    api.fail(request_id, described)


def describe(kind: str, message: str, trace: list[str], request_id: str = "") -> Described:
    """An error as Lambda describes it to the caller."""
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}


def as_text(described: Described) -> str:
    """An error as it is logged: one event, its indentation kept by no-break spaces."""
    lines = [f"[ERROR] {described['errorType']}: {described['errorMessage']}", "Traceback (most recent call last):"]
    for line in "".join(described["stackTrace"]).splitlines():
        rest = line.lstrip(" ")
        lines.append("\u00a0" * (len(line) - len(rest)) + rest)
    return "\n".join(lines)


def _frames(error: BaseException) -> list[str]:
    """The stack of an exception, from the function's own code on."""
    stack = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in stack if frame.filename != HERE and not frame.filename.startswith("<frozen importlib")]
    return traceback.format_list(own)


def _decoded(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError as error:
        raise RuntimeFault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from error


def _encoded(response: Any) -> tuple[bytes, str]:
    if isinstance(response, bytes):
        return response, "application/unknown"
    version = os.environ.get("AWS_EXECUTION_ENV", "").rpartition(".")[2]
    escaped = not version.isdecimal() or int(version) < UNICODE_SINCE
    try:
        return json.dumps(response, default=_number, ensure_ascii=escaped).encode(), "application/json"
    except (TypeError, ValueError) as error:
        raise RuntimeFault("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def _number(value: object) -> float:
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _client_context(header: str | None) -> SimpleNamespace | None:
    if not header:
        return None
    given = json.loads(header)
    fields = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
    client = given.get("client")
    made = SimpleNamespace(**{name: client.get(name) for name in fields}) if client is not None else None
    return SimpleNamespace(custom=given.get("custom"), env=given.get("env"), client=made)


def _set_up_logging() -> LogHandler:
    descriptor = os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    handler = LogHandler(int(descriptor) if descriptor else None)
    logging.getLogger().addHandler(handler)
    return handler


def _unbuffer(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(write_through=True, line_buffering=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
