"""CloudWatch Logs and metrics as the engines write them: into the records and the metrics, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .engines.cloudwatch import Metrics, metric
from .engines.cloudwatch.metrics import STANDARD
from .records import Records

FLUSH_SECONDS = 0.25


class LogStream:
    """One stream of a log group; lines written to it are readable a moment later. Safe to use from many threads."""

    def __init__(self, records: Records, region: str, group: str, name: str) -> None:
        self.group, self.name = group, name
        self._records, self._region = records, region
        self._lock, self._flushed = threading.Lock(), 0.0
        self._lines: list[dict[str, Any]] = []
        with records.lock("logs"):
            backend = records.backend("logs", region)
            if group not in backend.groups:
                backend.create_log_group(group, {})
            if name not in backend.groups[group].streams:
                backend.create_log_stream(group, name)
        records.note_growth("logs", region)

    def write(self, line: str) -> None:
        """Add one line, stamped now. CloudWatch keeps no empty events, so an empty line is kept as a space."""
        with self._lock:
            self._lines.append({"timestamp": int(time.time() * 1000), "message": line[:260_000] or " "})
            if time.monotonic() - self._flushed >= FLUSH_SECONDS:
                self._flush()
            elif len(self._lines) == 1:
                timer = threading.Timer(FLUSH_SECONDS, self.flush)
                timer.daemon = True
                timer.start()

    def flush(self) -> None:
        """Make everything written readable."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if not self._lines:
            return
        with self._records.lock("logs"):
            group = self._records.backend("logs", self._region).groups.get(self.group)
            # Somebody may have deleted the group while the job runs; AWS then drops the lines too.
            if group is not None and self.name in group.streams:
                group.put_log_events(self.name, self._lines)
        self._records.note_growth("logs", self._region)
        self._lines, self._flushed = [], time.monotonic()


class Monitoring:
    """Log streams to write to, and metrics to publish."""

    def __init__(self, records: Records, metrics: Metrics) -> None:
        self._records, self._metrics = records, metrics

    def log_stream(self, region: str, group: str, name: str) -> LogStream:
        """A log stream, made (with its group) where it is not there."""
        return LogStream(self._records, region, group, name)

    def publish(
        self,
        region: str,
        namespace: str,
        name: str,
        value: float,
        dimensions: dict[str, str],
        unit: str = "None",
        at: datetime | None = None,
        resolution: int = STANDARD,
    ) -> None:
        """Publish one data point; ``unit`` is a CloudWatch unit (``Count``, ``Microseconds``, ``Percent``…).

        ``resolution`` is 60 or, for a high-resolution metric, 1.
        """
        self.publish_many(region, namespace, name, [value], dimensions, unit, at, resolution)

    def publish_many(
        self,
        region: str,
        namespace: str,
        name: str,
        values: Sequence[float],
        dimensions: dict[str, str],
        unit: str = "None",
        at: datetime | None = None,
        resolution: int = STANDARD,
    ) -> None:
        """Publish the values of many events (a second's requests) at one moment; no values publish nothing.

        They are kept as values with counts, so that percentiles can be asked for.
        """
        moment = None if at is None else at.timestamp()
        self._metrics.put(
            metric(region, namespace, name, dimensions), values, unit=unit, at=moment, resolution=resolution
        )
