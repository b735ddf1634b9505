"""The metrics of functions, published in the background: CloudWatch's records are too slow for an invocation's way.

See https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...monitoring import Monitoring

NAMESPACE = "AWS/Lambda"
EVERY_SECONDS = 0.5

Function = tuple[str, str]  # region, name


class Metrics:
    """Collects what happens and publishes it twice a second: counts as sums, concurrency as its maximum."""

    def __init__(self, monitoring: Monitoring) -> None:
        self._monitoring = monitoring
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._wanted, self._closed = threading.Event(), threading.Event()
        self._counts: dict[Function, dict[str, float]] = defaultdict(dict)
        self._durations: list[tuple[Function, float]] = []
        self._thread = threading.Thread(target=self._run, name="function metrics", daemon=True)
        self._thread.start()

    def invoked(self, function: Function, concurrency: int, failed: bool, duration_ms: float) -> None:
        """Count an invocation that has ended."""
        with self._lock:
            counts = self._counts[function]
            for name, value in (("Invocations", 1), ("Errors", int(failed)), ("Throttles", 0)):
                counts[name] = counts.get(name, 0) + value
            counts["ConcurrentExecutions"] = max(counts.get("ConcurrentExecutions", 0), concurrency)
            self._durations.append((function, duration_ms))
        self._wanted.set()

    def throttled(self, function: Function) -> None:
        """Count an invocation that was refused."""
        with self._lock:
            counts = self._counts[function]
            counts["Throttles"] = counts.get("Throttles", 0) + 1
        self._wanted.set()

    def close(self) -> None:
        """Publish what is left, and end."""
        self._closed.set()
        self._wanted.set()
        self._thread.join()
        self._publish()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wanted.wait()
            self._closed.wait(EVERY_SECONDS)
            self._wanted.clear()
            self._publish()

    def _publish(self) -> None:
        with self._publishing:
            with self._lock:
                counts, self._counts = self._counts, defaultdict(dict)
                durations, self._durations = self._durations, []
            at = datetime.now(UTC)
            for function, values in counts.items():
                for name, value in values.items():
                    self._put(function, name, value, "Count", at)
            for function, duration in durations:
                self._put(function, "Duration", duration, "Milliseconds", at)

    def _put(self, function: Function, name: str, value: float, unit: str, at: datetime) -> None:
        region, function_name = function
        self._monitoring.publish(region, NAMESPACE, name, value, {"FunctionName": function_name}, unit, at)
