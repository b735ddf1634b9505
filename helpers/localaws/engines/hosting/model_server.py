"""What an endpoint's instance runs: the entrypoint of SageMaker's Ray Serve image, without the container.

In order, as there: install ``code/requirements.txt``; take the application from ``config.yaml`` (a Ray Serve
configuration), else from ``SM_RAYSERVE_APP=module:app``; serve it. A bound Ray Serve application runs under Ray Serve,
behind an adapter for ``/ping`` and ``/invocations``; a plain ASGI application, which answers those two itself, runs
under uvicorn.

It runs by path, under the instance's own Python, so it imports nothing of this package. Usage, with the file descriptor
of a listening socket::

    python -P model_server.py 7
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from importlib import metadata
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
# The gateway keeps its connections: one that the server closed first would fail the next request on it.
KEEP_ALIVE_SECONDS = 3600
DRAIN_SECONDS = 25
# Ray reads these when it is imported. The first, though named after other systems, keeps it to loopback on every one.
RAY_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}

Application = dict[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Unservable(Exception):
    """The model cannot be served as it is; the message says why."""


def main(arguments: list[str]) -> None:
    """First prepare, then start anew in the environment that the application asks for, and serve."""
    model = Path(os.environ["SM_MODEL_DIR"])
    try:
        if len(arguments) == 1:
            install_requirements(model / "code" / "requirements.txt")
            start_anew(find_application(model), arguments[0])
        serve(find_application(model), socket.socket(fileno=int(arguments[0])))
    except Unservable as error:
        sys.exit(f"ERROR: {error}")


def start_anew(application: Application, descriptor: str) -> None:
    """Replace this process by one with the application's ``env_vars`` and whatever pip has installed."""
    variables = (application.get("runtime_env") or {}).get("env_vars") or {}
    environment = {name: os.path.expandvars(str(value)) for name, value in variables.items()}
    everything = {**os.environ, **RAY_ON_LOOPBACK, **environment}
    os.execve(sys.executable, [sys.executable, "-P", __file__, descriptor, "serve"], everything)


# ---- requirements ----


def install_requirements(path: Path) -> None:
    """``pip install -r``, unless everything is there already: pip takes a second to find that out."""
    if not path.is_file() or are_satisfied(path):
        return
    print(f"Installing packages from {path}...", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-r", str(path)]
    if subprocess.run(pip, check=False).returncode:
        raise Unservable(f"the packages of {path} could not be installed")


def are_satisfied(path: Path) -> bool:
    """Whether every requirement is installed; False for any line that only pip itself understands."""
    lines = [line.split(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return all(is_installed(line) for line in lines if line and not line.startswith("#"))


def is_installed(line: str) -> bool:
    """Whether this environment has what one plain requirement line asks for."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return False
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return False
    if wanted.marker and not wanted.marker.evaluate():
        return True
    if wanted.url or wanted.extras:
        return False
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


# ---- the application ----


def find_application(model: Path) -> Application:
    """The Ray Serve application to serve at ``/``, as an entry of a Ray Serve configuration's ``applications``."""
    config = model / "config.yaml"
    if config.is_file():
        return application_of(config)
    named = os.environ.get("SM_RAYSERVE_APP")
    if not named:
        raise Unservable(
            f"no Ray Serve application found. Provide {config}, or the environment variable SM_RAYSERVE_APP "
            "(format: module:app)."
        )
    return {"name": "default", "route_prefix": "/", "import_path": named}


def application_of(config: Path) -> Application:
    """The entry of ``config.yaml`` whose route is ``/``: the one that invocations go to."""
    import yaml

    try:
        read = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unservable(f"{config} is not YAML: {error}") from error
    entries = read.get("applications") if isinstance(read, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("import_path") and entry.get("route_prefix", "/") == "/":
            return {"name": "default", "route_prefix": "/", **entry}
    raise Unservable(f"{config} has no entry under 'applications' with an 'import_path' and the route_prefix '/'")


def load(import_path: str) -> Any:
    """Import ``module:attribute`` (or ``module.attribute``, which Ray Serve takes too)."""
    divide = import_path.partition if ":" in import_path else import_path.rpartition
    module, _, attribute = divide(":" if ":" in import_path else ".")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise Unservable(f"import_path '{import_path}': {error}") from error
    except ValueError as error:
        raise Unservable(f"import_path '{import_path}' is not of the form module:app") from error
    return found


def serve(application: Application, listener: socket.socket) -> None:
    """Serve until SIGTERM: under Ray Serve what is bound for it, under uvicorn what is an ASGI application."""
    ray_serve = ray_serve_if_installed()
    loaded = load(application["import_path"])
    print(f"Serving {application['import_path']} on http://{LOOPBACK}:{listener.getsockname()[1]}", flush=True)
    if ray_serve is not None and isinstance(loaded, ray_serve.Application):
        serve_under_ray(application, listener)
    elif callable(loaded):
        serve_asgi(loaded, listener)
    else:
        raise Unservable(f"{application['import_path']} is neither a Ray Serve nor an ASGI application")


def serve_asgi(application: Any, listener: socket.socket) -> None:
    """Run an ASGI application under uvicorn; exits with code 3 where its start-up fails, as uvicorn does."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)


# ---- under Ray Serve ----


def ray_serve_if_installed() -> Any:
    """``ray.serve``, or None. Imported before the application, as in the image: so an application can know its host."""
    if importlib.util.find_spec("ray") is None:
        return None
    try:
        return importlib.import_module("ray.serve")
    except ImportError as error:
        print(f"Ray is installed without Ray Serve ({error}); only ASGI applications can be served.", flush=True)
        return None


def serve_under_ray(application: Application, listener: socket.socket) -> None:
    """Start Ray and Ray Serve on loopback, deploy the application, and put the adapter in front of it."""
    with ray_cluster():
        port = free_port()
        deploy(application, port)
        serve_asgi(adapter(port), listener)


@contextlib.contextmanager
def ray_cluster() -> Iterator[None]:
    """A Ray of one's own, of this machine only, that ends with this process."""
    import ray

    # Ray puts sockets here, and a socket's path may have 107 characters only: the instance's folder is too deep.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        ray.init(
            num_cpus=max(1, int(os.environ.get("SM_NUM_CPUS", "1"))),
            include_dashboard=False,
            namespace="serve",
            runtime_env={"worker_process_setup_hook": keep_to_loopback},
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def keep_to_loopback() -> None:
    """In every Ray worker: a replica's gRPC server would otherwise listen on all of the machine's addresses."""
    from grpc.aio._server import Server  # type: ignore[import-untyped]

    add = Server.add_insecure_port
    Server.add_insecure_port = lambda self, address: add(self, address.replace("[::]", LOOPBACK))


def deploy(application: Application, port: int) -> None:
    """What ``serve run config.yaml`` does, but on a port of one's own."""
    from ray import serve as ray_serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    ray_serve.start(http_options={"host": LOOPBACK, "port": port}, proxy_location="HeadOnly")
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}), _blocking=True)


def adapter(port: int) -> Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]:
    """The image's SageMaker adapter: ``/ping`` asks Ray Serve's health, ``/invocations`` is posted to its ``/``."""

    async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        import anyio.to_thread

        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, headers, answer = await anyio.to_thread.run_sync(forward, port, scope, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return application


def forward(port: int, scope: MutableMapping[str, Any], body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Ask Ray Serve; of the headers pass on, both ways, what the image's adapter does."""
    routes = {("GET", "/ping"): "/-/healthz", ("POST", "/invocations"): "/"}
    route = routes.get((scope["method"], scope["path"]))
    if route is None:
        return 404, [], b""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if passes(name)}
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=300)
    try:
        connection.request(scope["method"], route, body, headers)
        answered = connection.getresponse()
        kept = [(n.lower().encode(), v.encode("latin-1")) for n, v in answered.getheaders() if passes(n.encode())]
        content = answered.read()
        return answered.status, [*kept, (b"content-length", str(len(content)).encode())], content
    finally:
        connection.close()


def passes(header: bytes) -> bool:
    """Whether the adapter passes a header on."""
    return header.lower() in (b"content-type", b"accept") or header.lower().startswith(b"x-amzn-sagemaker-")


def free_port() -> int:
    """A port that is free now; Ray Serve takes no listening socket."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(sys.argv[1:])
