"""One threaded WSGI server on 127.0.0.1, and the folder it lives in."""

from __future__ import annotations

import fcntl
import logging
import resource
import signal
import socket
import threading
from pathlib import Path

from cheroot.wsgi import Server

from . import operations
from .cloud import ALIVE, Cloud
from .folder import announce
from .gateway import Gateway

log = logging.getLogger(__name__)

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
        port = port or _usual_port(folder)
        server = Server((LOOPBACK, port), None, numthreads=THREADS, request_queue_size=256, timeout=75)
        server.keep_alive_conn_limit = 1024
        server.max_request_header_size = MAX_HEADERS
        server.max_request_body_size = 0  # the gateway's own limit answers as AWS does
        server.prepare()
        url = f"http://{LOOPBACK}:{port}"
        try:
            cloud = Cloud(folder, url, time_scale)
            server.wsgi_app = Gateway(cloud)
            _serve(server, cloud, folder)
        finally:
            server.stop()  # its threads would keep a process alive that failed to start


def _serve(server: Server, cloud: Cloud, folder: Path) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve, name="server", daemon=True).start()
    cloud.recover()
    announce(folder, cloud.url, cloud.clock.scale)
    print(cloud.url, flush=True)
    while not stop.wait(1.0):
        (folder / ALIVE).touch()
    log.info("stopping")
    cloud.close()
    (folder / "server.json").unlink(missing_ok=True)


def _usual_port(folder: Path) -> int:
    """The folder's last port if it is free, so that clients survive a restart; else any free one."""
    try:
        last = int((folder / "port").read_text())
    except (OSError, ValueError):
        last = 0
    for port in (last, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _allow_many_files() -> None:
    """Connections, children's pipes and moto's larger S3 objects are open files; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
