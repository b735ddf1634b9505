"""The Lambda Runtime API (2018-06-01) of one runtime: HTTP on a loopback port of its own.

See https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. The runtime asks for its next invocation, and posts
back a response or an error. HTTP is read here rather than by ``http.server``, whose limit on a header (64 KiB) is below
what the runtime client sends (1 MiB, the cause of an error), and which answers in several segments: 88 ms a round trip,
where one segment takes half a millisecond.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

VERSION = "/2018-06-01/runtime"
MAX_RESPONSE = 6_291_556
MAX_LINE = 2 << 20
ACCEPTED = b'{"status":"OK"}'
REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 413: "Payload Too Large"}


@dataclass(frozen=True)
class Ready:
    """The runtime asks for an invocation: it is initialised, or has finished the one before."""


@dataclass(frozen=True)
class Responded:
    """The function returned."""

    payload: bytes


@dataclass(frozen=True)
class Failed:
    """The function raised; ``payload`` is the runtime's description of it."""

    payload: bytes


@dataclass(frozen=True)
class TooLarge:
    """The function returned more than Lambda carries."""

    size: int


@dataclass(frozen=True)
class InitFailed:
    """The function's module cannot be imported, or has no such handler."""

    payload: bytes


@dataclass(frozen=True)
class Exited:
    """The runtime's process has ended; ``code`` as ``subprocess`` has it."""

    code: int


Signal = Ready | Responded | Failed | TooLarge | InitFailed | Exited


@dataclass(frozen=True)
class Invocation:
    """One event for a function, with what its context tells."""

    request_id: str
    payload: bytes
    function_arn: str
    deadline_ms: int = 0
    client_context: str | None = None

    def headers(self) -> dict[str, str]:
        """As the runtime gets them."""
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(self.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": self.function_arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{self.request_id[:8]}-{self.request_id.replace('-', '')[8:]};Sampled=0",
        }
        if self.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = self.client_context
        return headers


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Reply:
    status: int
    body: bytes = ACCEPTED
    headers: Mapping[str, str] | None = None
    signal: Signal | None = None


class RuntimeApi:
    """Serves one runtime; what it says goes to ``on_signal``."""

    def __init__(self, on_signal: Callable[[Signal], None]) -> None:
        self._on_signal = on_signal
        self._offers: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._current = ""
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="runtime API", daemon=True).start()

    def offer(self, invocation: Invocation) -> None:
        """Give the runtime its next invocation; it is fetched when the runtime asks."""
        self._offers.put(invocation)

    def close(self) -> None:
        """End every connection, and the port."""
        self._closed = True
        self._offers.put(None)
        # A closed socket does not wake a thread that waits in accept() on every system; a connection does.
        try:
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        except OSError:
            self._listener.close()

    def _accept(self) -> None:
        with self._listener:
            while not self._closed:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    break
                threading.Thread(target=self._converse, args=(connection,), name="runtime API", daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while not self._closed and (request := _read(stream, connection)) is not None:
                    reply = self._answer(request)
                    if reply is None:
                        return
                    # First: a runtime that has told why it cannot start exits as soon as it is answered, and the end of
                    # its process must not be heard of before what it said.
                    if reply.signal is not None:
                        self._on_signal(reply.signal)
                    connection.sendall(_rendered(reply))
            except (OSError, ValueError):
                return

    def _answer(self, request: _Request) -> _Reply | None:
        if not self._is_from_a_runtime(request):
            return _Reply(403, _problem("Forbidden", "this address is the runtime's, and no web page's"))
        place = request.path.removeprefix(VERSION)
        if place == "/invocation/next":
            return self._next()
        if place == "/init/error":
            return _Reply(202, signal=InitFailed(request.body))
        request_id, _, what = place.removeprefix("/invocation/").partition("/")
        if what not in ("response", "error"):
            return _Reply(404, _problem("InvalidRequest", f"no such path: {request.path}"))
        if request_id != self._current:
            return _Reply(400, _problem("InvalidRequestID", "Invalid request ID"))
        if what == "error":
            return _Reply(202, signal=Failed(request.body))
        if len(request.body) > MAX_RESPONSE:
            problem = _problem("RequestEntityTooLarge", "Exceeded maximum allowed payload size")
            return _Reply(413, problem, signal=TooLarge(len(request.body)))
        return _Reply(202, signal=Responded(request.body))

    def _is_from_a_runtime(self, request: _Request) -> bool:
        """A page in the user's browser may send requests here as well, whose answers it cannot read: they count."""
        page = any(name in request.headers for name in ("origin", "referer", "sec-fetch-site"))
        return not page and request.headers.get("host", self.address) == self.address

    def _next(self) -> _Reply | None:
        self._on_signal(Ready())
        invocation = self._offers.get()
        if invocation is None:
            return None
        self._current = invocation.request_id
        return _Reply(200, invocation.payload, invocation.headers())


def _read(stream: BinaryIO, connection: socket.socket) -> _Request | None:
    """One request; None where the peer has gone. Raises ``ValueError`` for what is not HTTP."""
    start = stream.readline(MAX_LINE)
    if not start:
        return None
    method, path, _ = start.decode("latin-1").split(" ", 2)
    headers = {}
    while line := stream.readline(MAX_LINE).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return _Request(method, path, headers, _body(stream, headers))


def _body(stream: BinaryIO, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return stream.read(int(headers.get("content-length") or 0))
    body = bytearray()
    while size := int(stream.readline(MAX_LINE).split(b";")[0], 16):
        body += stream.read(size)
        stream.readline(MAX_LINE)
    while stream.readline(MAX_LINE).strip():
        continue  # trailers, of which there are none that matter
    return bytes(body)


def _rendered(reply: _Reply) -> bytes:
    headers = {"Content-Type": "application/json", **(reply.headers or {}), "Content-Length": str(len(reply.body))}
    lines = [
        f"HTTP/1.1 {reply.status} {REASONS[reply.status]}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("utf-8") + reply.body


def _problem(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
