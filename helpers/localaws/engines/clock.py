"""The one clock of the embedded AWS.

``--time-scale N`` makes AWS's own waiting (stop grace, health-check windows, cooldowns, metric periods) N times
shorter, everywhere at once. Work is not waiting: a training step takes as long as it takes.

The rule for metrics and alarms: *timestamps are true, queries are literal, evaluation is scaled.* A data point carries
the wall-clock time at which it was measured; StartTime, EndTime and Period of GetMetricData and GetMetricStatistics are
real seconds. What AWS waits for is scaled: when an alarm or a scaling policy is evaluated, its Period of P seconds is
:meth:`Clock.period` (P) real seconds long, P / N but never below one second, CloudWatch's finest resolution; it is
evaluated that much more often, and EvaluationPeriods and DatapointsToAlarm count such periods. Statistics that grow
with a period's length (Sum, SampleCount, TC, TS) are multiplied by P / :meth:`Clock.period` (P), so that a threshold of
600 invocations *per minute* means the same load at every scale; averages, extremes and percentiles are as measured.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

FINEST_PERIOD_SECONDS = 1.0


class Clock:
    """Real time, with AWS's own waiting divided by ``scale`` (>= 1 shortens; 1 is AWS's)."""

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError(f"the time scale must be above 0, not {scale}")
        self.scale = scale

    def now(self) -> datetime:
        """The present moment, timezone-aware UTC. Never scaled: timestamps are true."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back; what deadlines are counted in."""
        return time.monotonic()

    def deadline(self, seconds: float) -> float:
        """The moment, in :meth:`monotonic` seconds, at which ``seconds`` of AWS's waiting are over."""
        return time.monotonic() + seconds / self.scale

    def period(self, seconds: float) -> float:
        """How many real seconds a metric period of ``seconds`` is long when alarms and policies are evaluated."""
        return max(seconds / self.scale, min(seconds, FINEST_PERIOD_SECONDS))

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait ``seconds`` of AWS's time for ``event``; True when it came."""
        return event.wait(seconds / self.scale)
