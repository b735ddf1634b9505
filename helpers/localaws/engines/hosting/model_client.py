"""HTTP to one instance's model server: kept connections, and a time limit on the whole exchange."""

from __future__ import annotations

import contextlib
import http.client
import select
import threading
import time
from dataclasses import dataclass
from email.message import Message

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16


class ModelTimeout(Exception):
    """The model server has not answered in time."""


class ModelUnreachable(Exception):
    """The model server broke the connection before it had answered: nobody knows what became of the request."""


class ModelGone(ModelUnreachable):
    """There is no model server any more: it took no connection, so the request can go elsewhere."""


@dataclass(frozen=True)
class Reply:
    """A model server's whole answer."""

    status: int
    headers: Message
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value, or None."""
        value = self.headers.get(name)
        return None if value is None else str(value)


class ModelClient:
    """Requests to ``port`` on loopback. Safe to use from many threads; each request has a connection to itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._closed = False

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str], seconds: float) -> Reply:
        """One exchange; raises :class:`ModelTimeout`, :class:`ModelUnreachable` or :class:`ModelGone`."""
        deadline = time.monotonic() + seconds
        connection = self._take() or self._connect(seconds)
        try:
            reply = _exchange(connection, method, path, body, headers, deadline)
        except TimeoutError as error:
            connection.close()
            raise ModelTimeout(f"no answer in {seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ModelUnreachable(str(error) or type(error).__name__) from error
        self._give_back(connection)
        return reply

    def close(self) -> None:
        """Close every idle connection; those in use close when their request ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        """An idle connection that the other side has not closed, or None."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not _is_dropped(connection):
                return connection
            connection.close()

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=seconds)
        try:
            connection.connect()
        except OSError as error:
            raise ModelGone(str(error)) from error
        return connection

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if connection.sock is not None and not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    deadline: float,
) -> Reply:
    socket = connection.sock
    socket.settimeout(_left(deadline))
    # A server that refuses a large body may answer and close before it has read it all: its answer is there to be read.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body, headers)
    socket.settimeout(_left(deadline))
    response = connection.getresponse()
    content = bytearray()
    while chunk := response.read1(CHUNK):
        content += chunk
        socket.settimeout(_left(deadline))
    missing = response.length
    response.close()
    if missing:
        raise http.client.IncompleteRead(bytes(content), missing)
    return Reply(response.status, response.headers, bytes(content))


def _is_dropped(connection: http.client.HTTPConnection) -> bool:
    """Nothing is to be read from an idle connection but its end."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


__all__ = ["ModelClient", "ModelGone", "ModelTimeout", "ModelUnreachable", "Reply"]
