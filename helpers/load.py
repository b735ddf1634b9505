"""Load: many requests at once to an endpoint or a function, and what their senders saw.

A *closed* loop has a number of users, each of whom asks again as soon as the answer is there; an *open* loop sends at a
rate, whatever becomes of the answers. Latency in an open loop counts from the moment at which a request was due, so a
server that stalls is not flattered by the requests that could not be sent meanwhile. ::

    requests = load.endpoint(cloud, "dogs", photo)
    result = load.run(requests, [load.Step(5, 20), load.Step(30, 40)])   # 5 users for 20 s, then 30 for 40 s
    result.summary()
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from .cloud import Cloud
from .interrupts import interruptible
from .progress import progress

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_SECONDS = 70.0
# A signature is valid for five minutes, and signing costs more than sending.
SIGN_AGAIN_SECONDS = 60.0
LAG_SECONDS = 0.05
# Above these, the numbers say more about the client than about the server.
BUSY_SHARE, BUSY_LAG_SECONDS = 0.9, 0.05
MOST_OUTSTANDING = 2000
THROTTLES = ("Throttl", "TooManyRequests")


@dataclass(frozen=True)
class Step:
    """A part of a load: ``level`` users (closed loop) or requests a second (open loop), for ``seconds``."""

    level: float
    seconds: float


class Requests:
    """One request, to be sent many times: its address, and how it is signed at the time."""

    def __init__(self, cloud: Cloud, service: str, url: str, body: bytes, headers: dict[str, str]) -> None:
        self.url, self.body = url, body
        self._session, self._service, self._region, self._headers = cloud.session, service, cloud.region, headers
        self._signed, self._signed_at = dict[str, str](), -SIGN_AGAIN_SECONDS

    def headers(self) -> dict[str, str]:
        """The headers, with a signature that is valid now."""
        if time.monotonic() - self._signed_at >= SIGN_AGAIN_SECONDS:
            request = AWSRequest("POST", self.url, headers=self._headers, data=self.body)
            credentials = self._session.get_credentials().get_frozen_credentials()
            SigV4Auth(credentials, self._service, self._region).add_auth(request)
            self._signed, self._signed_at = dict(request.headers.items()), time.monotonic()
        return self._signed


def endpoint(
    cloud: Cloud, name: str, body: bytes, content_type: str = "image/jpeg", variant: str | None = None
) -> Requests:
    """InvokeEndpoint with this body; ``variant`` is the one to ask, where it is not to be chosen by weight."""
    url = f"{cloud.client('sagemaker-runtime').meta.endpoint_url}/endpoints/{quote(name)}/invocations"
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    if variant:
        headers["X-Amzn-SageMaker-Target-Variant"] = variant
    return Requests(cloud, "sagemaker", url, body, headers)


def function(cloud: Cloud, name: str, payload: Any, qualifier: str | None = None) -> Requests:
    """Invoke with this payload; ``qualifier`` is a version or an alias."""
    url = f"{cloud.client('lambda').meta.endpoint_url}/2015-03-31/functions/{quote(name)}/invocations"
    query = f"?Qualifier={quote(qualifier)}" if qualifier else ""
    return Requests(cloud, "lambda", url + query, json.dumps(payload).encode(), {"Content-Type": "application/json"})


@dataclass
class Result:
    """What the senders saw. Arrays have an entry for each request, in the order of their ends.

    ``at`` is when it was due, in seconds since ``began`` (Unix seconds); ``seconds`` its latency; ``codes`` its error's
    code, empty where there was none; ``step`` the number of its step.
    """

    steps: list[Step]
    began: float
    at: Any = field(default_factory=lambda: np.empty(0))
    seconds: Any = field(default_factory=lambda: np.empty(0))
    codes: list[str] = field(default_factory=list)
    step: Any = field(default_factory=lambda: np.empty(0, int))
    lasted: float = 0.0
    client_share: float = 0.0
    client_lag: float = 0.0

    @property
    def errors(self) -> dict[str, int]:
        """How often each error's code came."""
        return dict(Counter(code for code in self.codes if code))

    @property
    def throttled(self) -> int:
        """How many requests were refused because there were too many."""
        return sum(count for code, count in self.errors.items() if any(part in code for part in THROTTLES))

    @property
    def warning(self) -> str:
        """Says so where the client was the bottleneck; else empty."""
        if self.client_share < BUSY_SHARE and self.client_lag < BUSY_LAG_SECONDS:
            return ""
        return (
            f"The client was busy {self.client_share:.0%} of the time and {1000 * self.client_lag:.0f} ms late (95 %): "
            "the latencies are its own as well as the server's. Send from a larger machine, or fewer requests."
        )

    def percentile(self, percent: float, chosen: Any = None) -> float:
        """A percentile of the latency in seconds, of the requests that were answered; NaN where there were none."""
        fine = np.array([not code for code in self.codes], bool)
        seconds = self.seconds[fine if chosen is None else fine & chosen]
        return float(np.percentile(seconds, percent)) if len(seconds) else float("nan")

    def summary(self) -> list[dict[str, Any]]:
        """A row for each step: its level, requests, answers a second, p50, p95 and p99 in milliseconds, and errors."""
        return [
            {"level": step.level, "seconds": step.seconds, **self._row(self.step == number, step.seconds)}
            for number, step in enumerate(self.steps)
            if (self.step == number).any()
        ]

    def windows(self, seconds: float = 5.0) -> list[dict[str, Any]]:
        """For charts: a row for every ``seconds`` of the run, with its time ``at`` (Unix seconds) and the level."""
        rows, ends = [], np.cumsum([step.seconds for step in self.steps])
        for start in np.arange(0.0, max(self.lasted, seconds), seconds):
            chosen = (self.at >= start) & (self.at < start + seconds)
            if chosen.any():
                step = min(int(np.searchsorted(ends, start + seconds / 2)), len(self.steps) - 1)
                level = self.steps[step].level
                rows.append({"at": self.began + start, "level": level, **self._row(chosen, seconds)})
        return rows

    def _row(self, chosen: Any, seconds: float) -> dict[str, Any]:
        errors = Counter(code for code, wanted in zip(self.codes, chosen, strict=True) if wanted and code)
        fine = int(chosen.sum()) - errors.total()
        latencies = {f"p{percent}": 1000 * self.percentile(percent, chosen) for percent in (50, 95, 99)}
        return {"requests": int(chosen.sum()), "per_second": fine / seconds, **latencies, "errors": dict(errors)}


def run(requests: Requests, steps: Sequence[Step], *, open_loop: bool = False, count: int | None = None) -> Result:
    """Send, step after step, and wait; ends early after ``count`` requests, if that is given."""
    running = start(requests, steps, open_loop=open_loop, count=count)
    with interruptible(lambda: "No more requests are sent." if running.cancel() else "All requests had been sent."):
        return running.result()


def start(
    requests: Requests, steps: Sequence[Step], *, open_loop: bool = False, count: int | None = None
) -> Future[Result]:
    """As :func:`run`, in the background: a notebook has an event loop of its own, and other things to look at.

    ``cancel`` what it returns to send no more.
    """
    future: Future[Result] = Future()
    sender = _Sender(requests, list(steps), count, future.cancelled)
    running = sender.open_loop if open_loop else sender.closed_loop

    def work() -> None:
        with suppress(InvalidStateError):  # it was cancelled
            try:
                future.set_result(asyncio.run(sender.send(running)))
            except BaseException as error:
                future.set_exception(error)

    threading.Thread(target=work, name="load", daemon=True).start()
    return future


class _Sender:
    """Sends in an event loop of its own; everything here runs in its thread."""

    def __init__(self, requests: Requests, steps: list[Step], count: int | None, cancelled: Callable[[], bool]) -> None:
        self._requests, self._steps, self._left, self._cancelled = requests, steps, count, cancelled
        self._samples: list[tuple[float, float, str, int]] = []
        self._lags: list[float] = []

    async def send(self, running: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> Result:
        import aiohttp

        began, cpu = time.time(), time.thread_time()
        self._start = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        measuring = asyncio.create_task(self._measure_lag())
        with progress("load", self._left, "requests") as self._advance:
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
                await running(session)
        measuring.cancel()
        lasted = time.monotonic() - self._start
        at, seconds, codes, step = zip(*self._samples, strict=True) if self._samples else ((), (), (), ())
        return Result(
            steps=self._steps,
            began=began,
            at=np.array(at, float),
            seconds=np.array(seconds, float),
            codes=list(codes),
            step=np.array(step, int),
            lasted=lasted,
            client_share=(time.thread_time() - cpu) / lasted,
            client_lag=float(np.percentile(self._lags, 95)) if self._lags else 0.0,
        )

    async def closed_loop(self, session: aiohttp.ClientSession) -> None:
        end = 0.0
        for number, step in enumerate(self._steps):
            end += step.seconds
            users = [self._use(session, number, end) for _ in range(int(step.level))]
            # Nobody asks in a step without users, but its time passes all the same.
            await asyncio.gather(*users, *([] if users else [asyncio.sleep(end - self._now())]))

    async def _use(self, session: aiohttp.ClientSession, step: int, end: float) -> None:
        while self._now() < end and self._take():
            await self._ask(session, step, self._now())

    async def open_loop(self, session: aiohttp.ClientSession) -> None:
        outstanding, begin = set[asyncio.Task[None]](), 0.0
        room = asyncio.Semaphore(MOST_OUTSTANDING)
        for number, step in enumerate(self._steps):
            for due in begin + np.arange(int(step.level * step.seconds)) / max(step.level, 1e-9):
                await asyncio.sleep(max(0.0, due - self._now()))
                if not self._take():
                    break
                await room.acquire()
                task = asyncio.create_task(self._ask(session, number, float(due)))
                outstanding.add(task)
                task.add_done_callback(outstanding.discard)
                task.add_done_callback(lambda _: room.release())
            begin += step.seconds
        await asyncio.gather(*outstanding)

    async def _ask(self, session: aiohttp.ClientSession, step: int, due: float) -> None:
        import aiohttp

        try:
            requests = self._requests
            async with session.post(requests.url, data=requests.body, headers=requests.headers()) as answer:
                body = await answer.read()
                code = _code(answer.status, answer.headers, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            code = type(error).__name__
        self._samples.append((due, self._now() - due, code, step))
        self._advance(1)

    def _take(self) -> bool:
        """One request of the count, if there is one left and more are wanted."""
        if self._cancelled():
            return False
        if self._left is None:
            return True
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def _now(self) -> float:
        return time.monotonic() - self._start

    async def _measure_lag(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_SECONDS)
            self._lags.append(time.monotonic() - before - LAG_SECONDS)


def _code(status: int, headers: Any, body: bytes) -> str:
    """The code of an answer's error, or nothing."""
    if headers.get("X-Amz-Function-Error"):
        return f"Function error: {headers['X-Amz-Function-Error']}"
    if status < 300:
        return ""
    named = headers.get("x-amzn-ErrorType", "").partition(":")[0]
    try:
        members = json.loads(body)
    except ValueError:
        members = {}
    found = named or (members.get("Code") or members.get("__type") if isinstance(members, dict) else "")
    return str(found or f"HTTP {status}").rpartition("#")[2]
