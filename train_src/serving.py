"""The endpoint: GET /ping, and POST /invocations with a photo, answered with the breeds it may be.

    uvicorn --app-dir model/code serving:application --port 8080        # anywhere
    serve run model/config.yaml                                         # under Ray Serve, as in AWS's image

    curl --data-binary @rex.jpg -H 'Content-Type: image/jpeg' localhost:8080/invocations
    curl -d '{"s3_uri": "s3://bucket/rex.jpg"}' -H 'Content-Type: application/json' localhost:8080/invocations

    {"predictions": [{"breed": "Beagle", "class": "007.Beagle", "probability": 0.93}, ...], "model": {...}}

JSON names the photo by exactly one of "image" (base64), "s3_uri" and "url" (see fetch.py), and may ask for "top_k"
breeds. What cannot be answered is refused with a 4xx status and {"error": "why"}.

Environment: MODEL_DIR, the folder with model.pt and model.json (default: the one above this file, as in the artefact);
ALLOWED_IMAGE_HOSTS, hosts that a "url" may name, separated by commas (default: none).

Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import os

# Must be said before torch loads OpenMP: its threads spin but shortly while they wait for each other, and then sleep.
# With another program on the same cores, such as a test's client, an answer could otherwise take fifty times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from classifier import BadPhoto, Classifier, Pixels, keep_freed_memory
from fetch import from_s3, from_url
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

MAX_PAYLOAD = 6_291_456  # bytes; what InvokeEndpoint lets through
MAX_DRAINED = 10 * MAX_PAYLOAD  # bytes; most clients read a refusal only once they have sent everything
MAX_PHOTO = 20_000_000  # bytes of a photo in S3 or on the web
URL_TIMEOUT = 10.0  # seconds
MAX_BATCH = 8  # photos; larger batches are no faster a photo on a CPU, and everybody in them waits longer
MAX_WAIT = 0.01  # seconds that a photo waits for others known to be on their way
MAX_WAITING = 200  # photos in the queue; more would not be answered within the 60 seconds that SageMaker grants
DEFAULT_TOP_K = 5

PHOTO_TYPES = ("image/jpeg", "image/png", "application/x-image")

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger("serving")


# ---------------------------------------------------------------------------------------------------------------------
# Micro-batching


class Batcher(Generic[T, R]):
    """Lets requests that come at the same time share one run of the model.

    A photo in a batch of eight costs about half of what it costs alone. A batch starts as soon as nobody else is on the
    way, so that a single client never waits for company; photos that arrive during a run form the next batch.
    """

    def __init__(self, run: Callable[[list[T]], Iterable[R]], thread: ThreadPoolExecutor) -> None:
        self.run, self.thread = run, thread
        self.queue: asyncio.Queue[tuple[T, asyncio.Future[R]]] = asyncio.Queue(MAX_WAITING)
        self.coming = 0  # requests whose photo is still being read
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._serve())

    @contextlib.contextmanager
    def announced(self) -> Iterator[None]:
        """While a request's photo is being read: it is worth waiting for."""
        self.coming += 1
        try:
            yield
        finally:
            self.coming -= 1
            self.changed.set()

    def put(self, item: T) -> asyncio.Future[R]:
        """The future result of this item. Raises HTTPException when too many are waiting."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        try:
            self.queue.put_nowait((item, future))
        except asyncio.QueueFull:
            raise HTTPException(503, f"{MAX_WAITING} photos are waiting already; try again in a moment") from None
        self.changed.set()
        return future

    async def stop(self) -> None:
        """No more batches."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def _serve(self) -> None:
        while True:
            items, futures = zip(*await self._collect(), strict=True)
            try:
                results = await asyncio.get_running_loop().run_in_executor(self.thread, self.run, list(items))
            except Exception as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
                continue
            for future, result in zip(futures, results, strict=True):
                if not future.done():  # its client may have hung up
                    future.set_result(result)

    async def _collect(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch = [await self.queue.get()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_WAIT):
                while len(batch) < MAX_BATCH and (self.coming or not self.queue.empty()):
                    if self.queue.empty():
                        self.changed.clear()
                        await self.changed.wait()
                    else:
                        batch.append(self.queue.get_nowait())
        return batch


# ---------------------------------------------------------------------------------------------------------------------
# The service: one model, in one thread


class Service:
    """A loaded model and the threads around it. Made when the server starts, not when this file is imported."""

    def __init__(self, model_dir: Path, threads: int) -> None:
        self.model_dir, self.threads = model_dir, threads
        self.hosts = os.environ.get("ALLOWED_IMAGE_HOSTS", "").lower().replace(",", " ").split()
        # All of torch's work, loading included, is done in this one thread. OpenMP keeps a team of threads for each
        # thread that computes; two teams on the same cores would make it put both to sleep between any two layers.
        self.model_thread = ThreadPoolExecutor(1, "model")
        self.readers = ThreadPoolExecutor(os.cpu_count() or 1, "reader")

    async def start(self) -> None:
        """Load the model and run it once at each end of the batch sizes: the first runs are the slow ones."""
        loop = asyncio.get_running_loop()
        self.classifier = await loop.run_in_executor(self.model_thread, self._load)
        self.batcher: Batcher[Pixels, Tensor] = Batcher(self.classifier.predict, self.model_thread)
        log.info("serving %s from %s", self.classifier.summary(), self.model_dir)

    def _load(self) -> Classifier:
        keep_freed_memory()
        if self.threads:
            torch.set_num_threads(self.threads)
        classifier = Classifier.load(self.model_dir, "cuda" if torch.cuda.is_available() else "cpu")
        size = classifier.preprocessing.crop
        for photos in (1, MAX_BATCH, 1):
            classifier.predict(torch.zeros(photos, size, size, 3, dtype=torch.uint8))
        return classifier

    async def stop(self) -> None:
        """Let go of the threads."""
        await self.batcher.stop()
        self.model_thread.shutdown()
        self.readers.shutdown()

    async def answer(self, request: Request) -> dict[str, Any]:
        """From request to answer. Raises HTTPException, BadPhoto or FetchError."""
        with self.batcher.announced():
            source, top_k = await self._source(request)
            photo = await asyncio.get_running_loop().run_in_executor(
                self.readers, self.classifier.preprocessing.read, source
            )
            probabilities = self.batcher.put(photo)
        predictions = self.classifier.answers(await probabilities, top_k)
        return {"predictions": predictions, "model": self.classifier.summary()}

    async def _source(self, request: Request) -> tuple[bytes, int]:
        """The photo's bytes, and how many breeds to answer."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (*PHOTO_TYPES, "application/json"):
            accepted = ", ".join((*PHOTO_TYPES, "application/json"))
            raise HTTPException(415, f"Content-Type {content_type or '(none)'} is not accepted; these are: {accepted}")
        body = await read_body(request)
        if content_type in PHOTO_TYPES:
            return body, DEFAULT_TOP_K
        order = parse_json(body)
        top_k = parse_top_k(order, len(self.classifier.classes))
        return await self._named_photo(order), top_k

    async def _named_photo(self, order: dict[str, Any]) -> bytes:
        name, value = named_source(order)
        if name == "image":
            return parse_base64(value)
        if name == "s3_uri":
            return await asyncio.to_thread(from_s3, value, MAX_PHOTO)
        return await asyncio.to_thread(from_url, value, self.hosts, MAX_PHOTO, URL_TIMEOUT)


# ---------------------------------------------------------------------------------------------------------------------
# Reading a request


async def read_body(request: Request) -> bytes:
    """The body, unless it is empty or too large. Raises HTTPException."""
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= MAX_PAYLOAD:
                chunks.append(chunk)
            elif size > MAX_DRAINED:
                break
    except ClientDisconnect:
        raise HTTPException(400, "the client hung up") from None
    if size > MAX_PAYLOAD:
        raise HTTPException(413, f"the body is larger than {MAX_PAYLOAD:,} bytes; name large photos by s3_uri")
    if not size:
        raise HTTPException(400, "the body is empty; send a photo, or JSON that names one")
    return b"".join(chunks)


def parse_json(body: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises HTTPException."""
    try:
        order = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error
    if not isinstance(order, dict):
        raise HTTPException(400, 'the JSON must be an object, such as {"s3_uri": "s3://bucket/photo.jpg"}')
    return order


def named_source(order: dict[str, Any]) -> tuple[str, str]:
    """Which of image, s3_uri and url the request names, and its value. Raises HTTPException."""
    if unknown := order.keys() - {"image", "s3_uri", "url", "top_k"}:
        raise HTTPException(400, f"unknown field {min(unknown)!r}; known are image, s3_uri, url and top_k")
    given = [name for name in ("image", "s3_uri", "url") if name in order]
    if len(given) != 1:
        raise HTTPException(400, f"give exactly one of image, s3_uri and url, not {len(given)} of them")
    value = order[given[0]]
    if not isinstance(value, str) or not value:
        raise HTTPException(400, f"{given[0]} must be text, and not empty")
    return given[0], value


def parse_top_k(order: dict[str, Any], classes: int) -> int:
    """How many breeds are wanted. Raises HTTPException."""
    top_k = order.get("top_k", min(DEFAULT_TOP_K, classes))
    if isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k <= classes:
        raise HTTPException(400, f"top_k must be a whole number from 1 to {classes}")
    return top_k


def parse_base64(text: str) -> bytes:
    """The bytes of an image field. Raises HTTPException."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(400, f"image is not base64: {error}") from error


# ---------------------------------------------------------------------------------------------------------------------
# The application


async def ping(request: Request) -> Response:
    """200 once the model is loaded and warm (the server does not listen before), as long as batches are served."""
    healthy = not request.app.state.service.batcher.task.done()
    return JSONResponse({"status": "healthy" if healthy else "dead"}, 200 if healthy else 503)


async def invocations(request: Request) -> Response:
    """The breeds that a photo may show."""
    try:
        return JSONResponse(await request.app.state.service.answer(request))
    except Exception as error:
        return await refuse(request, error)


async def refuse(_: Request, error: Exception) -> Response:
    """What went wrong, as {"error": ...}: a 4xx where the request is at fault."""
    status = getattr(error, "status_code", 400 if isinstance(error, BadPhoto) else 500)
    if status != 500:
        return JSONResponse({"error": getattr(error, "detail", str(error))}, status)
    log.error("a request could not be answered", exc_info=error)
    return JSONResponse({"error": "internal error; the endpoint's log tells more"}, status)


def model_dir() -> Path:
    """Where the artefact was unpacked."""
    return Path(os.environ.get("MODEL_DIR") or Path(__file__).resolve().parent.parent)


def create_app(threads: int = 0) -> Starlette:
    """The ASGI application; `threads` for arithmetic, 0 for torch's choice."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        logging.basicConfig(level=logging.INFO)
        app.state.service = Service(model_dir(), threads)
        await app.state.service.start()
        yield
        await app.state.service.stop()

    routes = [
        Route("/ping", ping, methods=["GET"]),
        Route("/invocations", invocations, methods=["POST"]),
        Route("/", invocations, methods=["POST"]),  # where AWS's Ray image forwards /invocations to
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: refuse})


def ray_application() -> Any:
    """The same application as a Ray Serve deployment; Ray builds it anew in each replica."""
    from ray import serve

    # Ray tells OpenMP to use one thread a replica; we run one replica a machine, and give it the machine.
    def build() -> Starlette:
        return create_app(threads=os.cpu_count() or 1)

    return serve.deployment(name="DogBreeds")(serve.ingress(build)()).bind()


# Whoever imports this file decides: under Ray Serve, ray.serve is loaded already and wants a Ray application; uvicorn
# wants an ASGI one. That Ray merely is installed says nothing.
application = ray_application() if "ray.serve" in sys.modules else create_app()
