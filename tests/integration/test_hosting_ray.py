"""A bound Ray Serve application, served by the instance's entrypoint under the real Ray Serve."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from helpers.localaws.engines.hosting import model_server

pytestmark = pytest.mark.ray

APP = """
import sys

assert "ray.serve" in sys.modules  # before the application, as in the image

from ray import serve
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def answer(request):
    asked = request.headers.get("x-amzn-sagemaker-custom-attributes", "")
    headers = {"X-Amzn-SageMaker-Custom-Attributes": asked, "X-Other": "dropped"}
    return Response(await request.body(), headers=headers, media_type=request.headers["content-type"])

@serve.deployment
@serve.ingress(Starlette(routes=[Route("/", answer, methods=["POST"])]))
class Echo:
    pass

application = Echo.bind()
"""
CONFIG = """
applications:
  - name: echo
    import_path: app:application
    route_prefix: /
    runtime_env: {env_vars: {PYTHONPATH: FOLDER}}
    deployments: [{name: Echo, num_replicas: 1, ray_actor_options: {num_cpus: 1}}]
"""


def ask(port: int, method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    headers = {"Content-Type": "image/jpeg", "X-Amzn-SageMaker-Custom-Attributes": "passed on"}
    connection.request(method, path, body, headers)
    return connection.getresponse()


def test_a_ray_serve_application_answers_on_loopback_only(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray[serve] is an optional group")
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))
    (tmp_path / "config.yaml").write_text(CONFIG.replace("FOLDER", str(tmp_path)))
    before = {path.name for path in Path("/tmp").glob("ray-*")}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port, descriptor = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-P", model_server.__file__, str(descriptor)],
            env={**os.environ, "SM_MODEL_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path), "SM_NUM_CPUS": "1"},
            cwd=tmp_path,
            pass_fds=[descriptor],
            start_new_session=True,
        )
    assert ask(port, "GET", "/ping").status == 200
    answer = ask(port, "POST", "/invocations", bytes(range(256)))
    assert (answer.status, answer.getheader("Content-Type")) == (200, "image/jpeg")
    assert answer.getheader("X-Amzn-SageMaker-Custom-Attributes") == "passed on"
    assert answer.getheader("X-Other") is None
    assert answer.read() == bytes(range(256))
    assert ask(port, "POST", "/other").status == 404

    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    listening = [one.laddr.ip for member in family for one in member.net_connections() if one.status == "LISTEN"]
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}

    process.send_signal(signal.SIGTERM)
    process.wait(30)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert {path.name for path in Path("/tmp").glob("ray-*")} == before
