"""One threaded WSGI server on 127.0.0.1, and the folder it lives in."""

from __future__ import annotations

import fcntl
import logging
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cheroot.wsgi import Server

from . import operations
from .cloud import ALIVE, Cloud
from .folder import announce
from .gateway import INNER, Gateway

log = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOOPBACK = "127.0.0.1"
# A call may wait on others: a function's invocation on the endpoint's that the function calls, and that on a function.
# With fewer threads than such calls can be at once, they would wait for each other for ever. Idle threads cost little.
THREADS = 128
MAX_HEADERS = 1 << 20  # bytes; a client's context of an invocation is the longest of AWS's headers, 4 KiB


def serve(folder: Path, port: int | None, time_scale: float) -> None:
    """Serve until SIGTERM or SIGINT; writes ``server.json`` when ready, removes it at the end.

    Raises ``BlockingIOError`` where another server has the folder, ``OSError`` where the port is taken.
    """
    _allow_many_files()
    operations.load()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        server = _listening(port) if port else _listening_as_before(folder)
        try:
            cloud = Cloud(folder, f"http://{LOOPBACK}:{server.bind_addr[1]}", time_scale)
            _serve(server, cloud, folder)
        finally:
            server.stop()  # its threads would keep a process alive that failed to start


def _serve(server: Server, cloud: Cloud, folder: Path) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    door = Door(Gateway(cloud))
    server.wsgi_app = door
    threading.Thread(target=server.serve, name="server", daemon=True).start()
    try:
        cloud.recover()
    finally:
        door.open()  # whoever waits is answered, also where this is the end
    announce(folder, cloud.url, cloud.clock.scale)
    print(cloud.url, flush=True)
    while not stop.wait(1.0):
        (folder / ALIVE).touch()
    log.info("stopping")
    try:
        cloud.close()
    finally:
        (folder / "server.json").unlink(missing_ok=True)


class Door:
    """The way in: until it is opened, AWS's own calls wait, and only the inner addresses are answered.

    Clients of the server before this one may be asking again already. What they make while its leftovers are cleared up
    would be taken for one of them; but what is taken up again must be able to fetch its credentials.
    """

    def __init__(self, application: Application) -> None:
        self._application, self._opened = application, threading.Event()

    def open(self) -> None:
        """Let everybody in."""
        self._opened.set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One WSGI request."""
        if not environ["PATH_INFO"].startswith(INNER):
            self._opened.wait()
        return self._application(environ, start_response)


def _listening_as_before(folder: Path) -> Server:
    """On the folder's last port if it is free, so that clients survive a restart; else on any free one."""
    try:
        return _listening(int((folder / "port").read_text()))
    except (OSError, ValueError):  # it is taken, or this is the first time
        return _listening(0)


def _listening(port: int) -> Server:
    """A server that listens already (0: on a free port), so that nobody else can take the port meanwhile."""
    server = Server((LOOPBACK, port), None, numthreads=THREADS, request_queue_size=256, timeout=75)
    server.keep_alive_conn_limit = 1024
    server.max_request_header_size = MAX_HEADERS
    server.max_request_body_size = 0  # the gateway's own limit answers as AWS does
    server.prepare()
    # Not before: a free port is to be nobody else's. But now, for the next server is not to wait for connections.
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return server


def _allow_many_files() -> None:
    """Connections, children's pipes and moto's larger S3 objects are open files; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
