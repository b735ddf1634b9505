"""The ``AWS/SageMaker`` metrics of an endpoint's invocations: noted at once, published once a second.

A request only appends to a list. The publishing, which takes CloudWatch's lock, happens in a thread of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...monitoring import Monitoring
from ..clock import Clock
from ..cloudwatch.metrics import HIGH, STANDARD

NAMESPACE = "AWS/SageMaker"
FLUSH_SECONDS = 1.0
CONCURRENCY_PERIOD_SECONDS = 10.0
UNITS = {"ModelLatency": "Microseconds", "OverheadLatency": "Microseconds"}


@dataclass(frozen=True)
class Invocation:
    """One request that reached a variant; ``status`` is the model's, 0 where there was none."""

    status: int
    model_seconds: float
    overhead_seconds: float
    instances: int

    def values(self) -> dict[str, float]:
        """What it adds to each metric. Errors add 0 too where there were none, so that averages are rates."""
        return {
            "Invocations": 1,
            "InvocationsPerInstance": 1 / max(1, self.instances),
            "Invocation4XXErrors": float(400 <= self.status < 500),
            "Invocation5XXErrors": float(500 <= self.status < 600),
            "InvocationModelErrors": float(not 200 <= self.status < 300),
            "ModelLatency": self.model_seconds * 1e6,
            "OverheadLatency": self.overhead_seconds * 1e6,
        }


class Load:
    """The requests that an instance has at this moment, those in its queue included. Not safe without a lock."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._since = self._changed = time.monotonic()
        self._area = 0.0

    def change(self, by: int) -> None:
        """One more, or one less."""
        self._accumulate()
        self.in_flight += by

    def mean(self) -> float:
        """The mean over the time since the last call: a moment's count would be chance where requests are short."""
        self._accumulate()
        length, area = self._changed - self._since, self._area
        self._since, self._area = self._changed, 0.0
        return area / length if length > 0 else float(self.in_flight)

    def _accumulate(self) -> None:
        now = time.monotonic()
        self._area += self.in_flight * (now - self._changed)
        self._changed = now


class InvocationMetrics:
    """The metrics of one variant."""

    def __init__(self, monitoring: Monitoring, region: str, endpoint: str, variant: str) -> None:
        self._monitoring, self._region = monitoring, region
        self._dimensions = {"EndpointName": endpoint, "VariantName": variant}
        self._lock = threading.Lock()
        self._noted: list[Invocation] = []

    def note(self, invocation: Invocation) -> None:
        """Remember one request until the next :meth:`flush`."""
        with self._lock:
            self._noted.append(invocation)

    def flush(self) -> None:
        """Publish what was noted: of every metric one statistic set, with exact sum, count, minimum and maximum."""
        with self._lock:
            noted, self._noted = self._noted, []
        columns: dict[str, list[float]] = {}
        for invocation in noted:
            for metric, value in invocation.values().items():
                columns.setdefault(metric, []).append(value)
        for metric, values in columns.items():
            self._publish(metric, values)

    def publish_concurrency(self, means: list[float]) -> None:
        """Publish each instance's mean number of requests over the last period: with high resolution, as AWS does."""
        self._publish("ConcurrentRequestsPerModel", means, HIGH)

    def _publish(self, metric: str, values: list[float], resolution: int = STANDARD) -> None:
        unit = UNITS.get(metric, "None")
        self._monitoring.publish_many(
            self._region, NAMESPACE, metric, values, self._dimensions, unit, resolution=resolution
        )


class Reporter:
    """The thread that publishes an endpoint's metrics as time passes."""

    def __init__(
        self,
        clock: Clock,
        metrics: Iterable[InvocationMetrics],
        publish_concurrency: Callable[[], None],
    ) -> None:
        self._clock, self._metrics, self._publish_concurrency = clock, list(metrics), publish_concurrency
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="endpoint metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Publish what is left, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        concurrency_due = self._clock.deadline(CONCURRENCY_PERIOD_SECONDS)
        # Several times in what the alarms take for a minute, so that no period seems empty between two requests.
        flush_seconds = min(FLUSH_SECONDS, self._clock.period(60) / 4)
        while not self._stop.wait(min(flush_seconds, max(0.0, concurrency_due - self._clock.monotonic()))):
            self._flush()
            if self._clock.monotonic() >= concurrency_due:
                self._publish_concurrency()
                concurrency_due = self._clock.deadline(CONCURRENCY_PERIOD_SECONDS)
        self._flush()

    def _flush(self) -> None:
        for metrics in self._metrics:
            metrics.flush()
