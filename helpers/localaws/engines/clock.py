"""The one clock of the embedded AWS.

``--time-scale N`` makes AWS's own waiting (stop grace, health-check windows, cooldowns, metric periods) N times
shorter, everywhere at once. Work is not waiting: a training step takes as long as it takes.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime


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

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait ``seconds`` of AWS's time for ``event``; True when it came."""
        return event.wait(seconds / self.scale)
