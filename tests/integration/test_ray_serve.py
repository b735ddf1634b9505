"""The artefact under the real Ray Serve, started as AWS's SageMaker image starts it: `serve run config.yaml`.

Needs `ray[serve]`, which is not in the lock file: `make test-ray` runs this in an environment of its own.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from tests.tiny_photos import CLASSES, TRAIN_SRC, encoded, free_port, picture

sys.path.insert(0, str(TRAIN_SRC))
import results
import torch
from classifier import Classifier, Preprocessing, build_model

pytestmark = pytest.mark.ray
pytest.importorskip("ray.serve", reason="ray[serve] is not installed: make test-ray")

PHOTOS = [encoded(picture(colour, seed, (60, 50))) for seed, colour in enumerate(CLASSES.values())]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact as training writes it, unpacked somewhere else than in /opt/ml/model."""
    folder = tmp_path_factory.mktemp("ray") / "model"
    torch.manual_seed(0)
    model = build_model("shufflenet_v2_x0_5", len(CLASSES), 32)
    facts = {"architecture": "shufflenet_v2_x0_5", "metrics": {}}
    results.write_artefact(folder, model.state_dict(), list(CLASSES), Preprocessing.for_size(32), facts)
    return folder


@pytest.fixture(scope="module")
def url(model_dir: Path) -> Iterator[str]:
    """Ray Serve with the artefact's own config, but for the folder's name and the port."""
    port = free_port()
    config = yaml.safe_load((model_dir / "config.yaml").read_text().replace("/opt/ml/model", str(model_dir)))
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    (model_dir / "here.yaml").write_text(yaml.safe_dump(config))
    executable = Path(sys.executable).with_name("serve")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MODEL_DIR")}
    # Ray's sockets lie in its temporary folder, and their names must be short.
    temporary = Path("/tmp") / f"ray-{os.getpid()}"
    environment = {**clean, "RAY_TMPDIR": str(temporary), "RAY_USAGE_STATS_ENABLED": "0"}
    argv = [str(executable), "run", str(model_dir / "here.yaml")]
    with subprocess.Popen(argv, cwd=model_dir.parent, env=environment, start_new_session=True) as server:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/-/routes", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)  # as the CLI wants it: it takes its cluster down with it
            server.wait(60)
            shutil.rmtree(temporary, ignore_errors=True)


def wait_until_ready(routes: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert server.poll() is None, "serve run ended by itself"
        try:
            if httpx.get(routes, timeout=5).json() == {"/": "dog-breeds"}:
                return
        except (httpx.TransportError, ValueError):
            pass
        time.sleep(0.5)
    raise AssertionError("Ray Serve did not become ready within two minutes")


def post(url: str, photo: bytes, path: str = "/", content_type: str = "image/jpeg") -> httpx.Response:
    return httpx.post(url + path, content=photo, headers={"Content-Type": content_type}, timeout=60)


def test_it_answers_as_in_process(url: str, model_dir: Path) -> None:
    classifier = Classifier.load(model_dir)
    for photo in PHOTOS:
        probabilities = classifier.predict([classifier.preprocessing.read(photo)])[0]
        expected = classifier.answers(probabilities, 3)
        for path in ("/", "/invocations"):  # the image's adapter posts to /
            answer = post(url, photo, path)
            assert answer.status_code == 200, answer.text
            predictions = answer.json()["predictions"]
            assert [each["class"] for each in predictions] == [each["class"] for each in expected]
            assert predictions[0]["probability"] == pytest.approx(expected[0]["probability"], abs=2e-6)


def test_it_is_healthy_in_the_way_the_image_asks(url: str) -> None:
    assert httpx.get(f"{url}/-/healthz", timeout=30).status_code == 200
    assert httpx.get(f"{url}/ping", timeout=30).status_code == 200


def test_it_refuses_as_everywhere(url: str) -> None:
    refused = post(url, b"no photo")
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert post(url, PHOTOS[0], content_type="text/plain").status_code == 415


def test_many_at_once(url: str) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: post(url, PHOTOS[number % 3]).json()["predictions"][0], range(48)))
    for number, answer in enumerate(answers):
        assert answer["class"] == answers[number % 3]["class"]
