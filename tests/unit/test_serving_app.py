"""The endpoint: what it answers, what it refuses, and how it batches."""

import asyncio
import base64
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import httpx
import pytest
import uvicorn
import yaml
from moto import mock_aws
from PIL import Image
from starlette.exceptions import HTTPException

from tests.tiny_photos import CLASSES, ROOT, TRAIN_SRC, encoded, picture

sys.path.insert(0, str(TRAIN_SRC))
import results
import serving
import torch
from classifier import MAX_PIXELS, Classifier, Preprocessing, build_model

SIZE = 32
PHOTOS = [encoded(picture(colour, seed, (60, 50))) for seed, colour in enumerate(CLASSES.values())]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """An artefact as training writes it, of a network that was never trained."""
    folder = tmp_path_factory.mktemp("artefact") / "model"
    torch.manual_seed(0)
    model = build_model("shufflenet_v2_x0_5", len(CLASSES), SIZE)
    facts = {"architecture": "shufflenet_v2_x0_5", "metrics": {}}
    results.write_artefact(folder, model.state_dict(), list(CLASSES), Preprocessing.for_size(SIZE), facts)
    return folder


@pytest.fixture(scope="module")
def server(model_dir):
    """The app behind uvicorn, in a thread of this process: `server.config.app` is within reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_DIR", str(model_dir))
        patch.setenv("ALLOWED_IMAGE_HOSTS", "photos.example, Other.example:8443")
        server = uvicorn.Server(uvicorn.Config(serving.create_app(), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def client(server):
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        yield client


@pytest.fixture
def batcher(server):
    return server.config.app.state.service.batcher


def expected(model_dir: Path, photo: bytes, top_k: int = 3) -> list[dict]:
    classifier = Classifier.load(model_dir)
    return classifier.answers(classifier.predict([classifier.preprocessing.read(photo)])[0], top_k)


def assert_same(predictions: list[dict], others: list[dict]) -> None:
    assert [each["class"] for each in predictions] == [each["class"] for each in others]
    for one, other in zip(predictions, others, strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=2e-6)


def post(client, body, content_type="image/jpeg", path="/invocations"):
    return client.post(path, content=body, headers={"Content-Type": content_type})


def ask(client, **order):
    return post(client, json.dumps(order), "application/json")


# -- what is answered


def test_ping(client):
    assert client.get("/ping").status_code == 200


@pytest.mark.parametrize("path", ["/invocations", "/"])  # AWS's Ray image forwards /invocations to /
@pytest.mark.parametrize("content_type", ["image/jpeg", "image/jpeg; charset=x", "IMAGE/JPEG", "application/x-image"])
def test_a_photo_is_answered_as_in_process(client, model_dir, content_type, path):
    answer = post(client, PHOTOS[0], content_type, path)
    assert answer.status_code == 200
    assert_same(answer.json()["predictions"], expected(model_dir, PHOTOS[0]))
    assert answer.json()["predictions"][0].keys() == {"breed", "class", "probability"}
    assert answer.json()["model"] == {"architecture": "shufflenet_v2_x0_5", "classes": 3, "image_size": SIZE}


def test_a_png_is_answered(client, model_dir):
    photo = encoded(picture((10, 200, 90), 5), "PNG")
    assert_same(post(client, photo, "image/png").json()["predictions"], expected(model_dir, photo))


def test_base64_is_answered(client, model_dir):
    answer = ask(client, image=base64.b64encode(PHOTOS[1]).decode(), top_k=2)
    assert_same(answer.json()["predictions"], expected(model_dir, PHOTOS[1], 2))


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_top_k(client, top_k):
    predictions = ask(client, image=base64.b64encode(PHOTOS[1]).decode(), top_k=top_k).json()["predictions"]
    assert len(predictions) == top_k
    probabilities = [each["probability"] for each in predictions]
    assert probabilities == sorted(probabilities, reverse=True)


@pytest.fixture
def bucket(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    import fetch

    with mock_aws():
        fetch.s3_client.cache_clear()
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="photos")
        yield s3
    fetch.s3_client.cache_clear()


def test_a_photo_in_s3_is_answered(client, model_dir, bucket):
    bucket.put_object(Bucket="photos", Key="a b/#1?.jpg", Body=PHOTOS[2])
    answer = ask(client, s3_uri="s3://photos/a b/#1?.jpg")
    assert_same(answer.json()["predictions"], expected(model_dir, PHOTOS[2]))


# -- what is refused


def assert_refused(answer, status, words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert re.search(words, answer.json()["error"]), answer.json()


def wall() -> bytes:
    return encoded(Image.new("1", (10_000, MAX_PIXELS // 10_000 + 1)), "PNG")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"no photo at all", 400, "not a readable JPEG or PNG"),
        (PHOTOS[0][:200], 400, "not a readable JPEG or PNG"),
        (PHOTOS[0][:-200], 400, "truncated"),
        (encoded(picture((1, 2, 3), 0), "GIF"), 400, "not a readable JPEG or PNG"),
        (wall(), 400, "pixels is more than"),
        (b"\0" * (serving.MAX_PAYLOAD + 1), 413, "larger than 6,291,456"),
    ],
    ids=["empty", "text", "header", "cut short", "gif", "bomb", "large"],
)
def test_bad_photos(client, body, status, words):
    assert_refused(post(client, body), status, words)


@pytest.mark.parametrize("content_type", ["", "text/plain", "image/gif", "application/octet-stream"])
def test_other_content_types(client, content_type):
    assert_refused(post(client, PHOTOS[0], content_type), 415, "not accepted")


IMAGE = base64.b64encode(PHOTOS[0]).decode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ("{}", "exactly one of"),
        (json.dumps({"image": IMAGE, "url": "https://photos.example/"}), "exactly one of"),
        (json.dumps({"image": IMAGE, "top": 3}), "unknown field 'top'"),
        (json.dumps({"image": 5}), "image must be text"),
        (json.dumps({"image": ""}), "not empty"),
        (json.dumps({"image": "?!*"}), "not base64"),
        (json.dumps({"image": IMAGE[:-3]}), "not base64"),
        (json.dumps({"image": "é" * 8}), "not base64"),
        (json.dumps({"image": IMAGE[:400]}), "not a readable"),
        *((json.dumps({"image": IMAGE, "top_k": bad}), "top_k must be") for bad in (0, 4, -1, 1.5, "2", True, None)),
        (json.dumps({"s3_uri": "photos/rex.jpg"}), "must look like"),
        (json.dumps({"s3_uri": "s3://photos"}), "must look like"),
        (json.dumps({"s3_uri": "s3:///rex.jpg"}), "must look like"),
        (json.dumps({"s3_uri": "s3://photos/\ud800.jpg"}), "half a character"),
        (json.dumps({"s3_uri": "\ud800"}), "must look like"),
        (json.dumps({"url": "https://photos.example/\ud800"}), "percent-encoded"),
        (json.dumps({"\ud800": 1}), "unknown field"),
        ('{"top_k": ' + "9" * 5000 + "}", "not JSON"),
        ('{"image": ' + '{"a":' * 50_000, "not JSON"),
    ],
)
def test_bad_json(client, body, words):
    assert_refused(post(client, body, "application/json"), 400, words)


def test_bad_places_in_s3(client, bucket):
    assert_refused(ask(client, s3_uri="s3://photos/none.jpg"), 404, "does not exist")
    assert_refused(ask(client, s3_uri="s3://no-such-bucket-here/a.jpg"), 404, "does not exist")
    assert_refused(ask(client, s3_uri="s3://No_Bucket!/a.jpg"), 400, "no possible bucket")
    for key in ("../../etc/passwd", "/etc/passwd", "a\0b", "a\r\nX-Evil: 1", "//", "é" * 400):
        assert_refused(ask(client, s3_uri=f"s3://photos/{key}"), 404, "does not exist")
    bucket.put_object(Bucket="photos", Key="large", Body=b"\0" * (serving.MAX_PHOTO + 1))
    assert_refused(ask(client, s3_uri="s3://photos/large"), 413, "larger than")
    bucket.put_object(Bucket="photos", Key="text", Body=b"no photo")
    assert_refused(ask(client, s3_uri="s3://photos/text"), 400, "not a readable")


def test_what_s3_denies_is_403(client, bucket, monkeypatch):
    import fetch
    from botocore.stub import Stubber

    with Stubber(fetch.s3_client()) as stub:
        stub.add_client_error("get_object", "AccessDenied", "not yours", 403)
        assert_refused(ask(client, s3_uri="s3://photos/secret.jpg"), 403, "role may not read")
        stub.add_client_error("get_object", "SlowDown", "later", 503)
        assert_refused(ask(client, s3_uri="s3://photos/secret.jpg"), 502, "SlowDown")


def test_other_paths_and_methods(client):
    assert_refused(client.get("/invocations"), 405, "Not Allowed")
    assert_refused(client.post("/ping"), 405, "Not Allowed")
    assert_refused(client.get("/elsewhere"), 404, "Not Found")


def test_our_own_error_is_a_500_that_tells_nothing(client, batcher, monkeypatch):
    monkeypatch.setattr(batcher, "run", lambda _: 1 / 0)
    assert_refused(post(client, PHOTOS[0]), 500, "internal error")
    monkeypatch.undo()
    assert post(client, PHOTOS[0]).status_code == 200  # and the next request is served as before


# -- micro-batching


def test_concurrent_requests_share_batches_and_get_their_own_answers(client, model_dir, batcher, monkeypatch):
    predict, sizes = batcher.run, []

    def run(photos):
        # The first batch takes until all the others are waiting, however long that is.
        while not sizes and len(photos) + batcher.queue.qsize() < 36:
            time.sleep(0.01)
        sizes.append(len(photos))
        return predict(photos)

    monkeypatch.setattr(batcher, "run", run)
    with ThreadPoolExecutor(36) as threads:
        jobs = list(itertools.islice(itertools.cycle(PHOTOS), 36))
        answers = list(threads.map(lambda photo: post(client, photo).json()["predictions"], jobs))
    for photo, predictions in zip(PHOTOS, answers[:3], strict=True):
        assert_same(predictions, expected(model_dir, photo))
    for number, predictions in enumerate(answers):
        assert_same(predictions, answers[number % 3])
    assert sum(sizes) == 36
    assert len(sizes) <= 1 + -(-35 // serving.MAX_BATCH)
    assert max(sizes) <= serving.MAX_BATCH


def batched(scenario, run=lambda items: [item * 10 for item in items]):
    """Run `scenario(batcher, sizes)` on an event loop with a batcher of its own."""
    sizes = []

    def counted(items):
        sizes.append(len(items))
        return run(items)

    async def main():
        with ThreadPoolExecutor(1) as thread:
            batcher = serving.Batcher(counted, thread)
            try:
                return await asyncio.wait_for(scenario(batcher, sizes), 60)
            finally:
                await batcher.stop()

    return asyncio.run(main())


def test_a_lone_item_does_not_wait(monkeypatch):
    monkeypatch.setattr(serving, "MAX_WAIT", 3600.0)

    async def scenario(batcher, sizes):
        assert await batcher.put(4) == 40

    batched(scenario)


def test_a_batch_waits_for_an_item_that_is_on_its_way_but_not_for_long(monkeypatch):
    monkeypatch.setattr(serving, "MAX_WAIT", 3600.0)

    async def scenario(batcher, sizes):
        with batcher.announced():
            first = batcher.put(1)
            while not batcher.queue.empty():  # until a batch has begun with it
                await asyncio.sleep(0)
            second = batcher.put(2)
        assert await asyncio.gather(first, second) == [10, 20]
        assert sizes == [2]
        monkeypatch.setattr(serving, "MAX_WAIT", 0.05)
        with batcher.announced():  # this one never comes
            assert await batcher.put(3) == 30
        assert sizes == [2, 1]

    batched(scenario)


def test_no_batch_is_larger_than_it_may_be():
    async def scenario(batcher, sizes):
        assert await asyncio.gather(*(batcher.put(item) for item in range(20))) == [item * 10 for item in range(20)]
        assert sizes == [8, 8, 4]

    batched(scenario)


def test_an_error_reaches_all_of_its_batch_and_no_other():
    def run(items):
        return [1 / item for item in items]

    async def scenario(batcher, sizes):
        outcomes = await asyncio.gather(batcher.put(0), batcher.put(1), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 2
        assert await batcher.put(2) == 0.5

    batched(scenario, run)


def test_a_client_that_hangs_up_disturbs_nobody():
    async def scenario(batcher, sizes):
        gone, stays = batcher.put(1), batcher.put(2)
        gone.cancel()
        assert await stays == 20

    batched(scenario)


def test_too_many_waiting_are_sent_away(monkeypatch):
    monkeypatch.setattr(serving, "MAX_WAITING", 3)

    async def scenario(batcher, sizes):
        waiting = [batcher.put(item) for item in range(3)]
        with pytest.raises(HTTPException) as refused:
            batcher.put(4)
        assert refused.value.status_code == 503
        assert await asyncio.gather(*waiting) == [0, 10, 20]

    batched(scenario)


# -- the artefact as a server


def serve(model_dir: Path, **environment: str) -> subprocess.Popen[str]:
    """The artefact under uvicorn, on a port of its own choice."""
    application = yaml.safe_load((model_dir / "config.yaml").read_text())["applications"][0]["import_path"]
    argv = [sys.executable, "-m", "uvicorn", "--app-dir", str(model_dir / "code"), "--port", "0", application]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MODEL_DIR")}
    return subprocess.Popen(argv, cwd="/", env=clean | environment, stderr=subprocess.PIPE, text=True)


def address(server: subprocess.Popen[str]) -> str:
    """Where it listens, once it does."""
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            return found[1]
    raise AssertionError("".join(said))


def test_the_artefact_serves_itself_and_ends_when_told_to(model_dir):
    with serve(model_dir) as server, httpx.Client(base_url=address(server), timeout=120) as client:
        assert client.get("/ping").status_code == 200
        assert_same(post(client, PHOTOS[0]).json()["predictions"], expected(model_dir, PHOTOS[0]))
        assert_refused(post(client, b"\0" * 20_000_000), 413, "larger than")
        chunks = (b"\0" * 1_000_000 for _ in range(10))  # of unknown length in advance
        assert_refused(post(client, chunks, "image/png"), 413, "larger than")
        server.send_signal(signal.SIGTERM)
        assert server.wait(120) in (0, -signal.SIGTERM)


def test_a_model_that_cannot_be_loaded_ends_the_server(model_dir, tmp_path):
    with serve(model_dir, MODEL_DIR=str(tmp_path)) as server:
        assert server.wait(120) != 0
        assert "model.json" in server.stderr.read()


def test_the_ray_config_names_what_the_artefact_has(model_dir):
    (application,) = yaml.safe_load((model_dir / "config.yaml").read_text())["applications"]
    module, _, name = application["import_path"].partition(":")
    assert (model_dir / "code" / f"{module}.py").exists()
    assert hasattr(serving, name)
    assert application["route_prefix"] == "/"
    assert application["runtime_env"]["env_vars"]["PYTHONPATH"] == "/opt/ml/model/code"
    assert application["deployments"][0]["max_ongoing_requests"] > serving.MAX_BATCH


def test_requirements_are_met_by_the_lock():
    from importlib.metadata import version

    from packaging.requirements import Requirement

    lines = (ROOT / "train_src" / "requirements-serving.txt").read_text().splitlines()
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        assert requirement.specifier.contains(version(requirement.name))
