"""How fast a function may scale: at most 1,000 new environments in ten seconds.

See https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque

from ..clock import Clock
from .faults import Throttled

MOST, SECONDS = 1000, 10.0

Function = tuple[str, str]  # region, name


class ScalingRate:
    """Counts the environments that each function has started on demand."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started: dict[Function, deque[float]] = defaultdict(deque)

    def start(self, function: Function) -> None:
        """Count one more; raises :class:`Throttled` where the function scales too fast."""
        now = self._clock.monotonic()
        with self._lock:
            started = self._started[function]
            while started and started[0] <= now - SECONDS / self._clock.scale:
                started.popleft()
            if len(started) >= MOST:
                raise Throttled("ConcurrentInvocationLimitExceeded")
            started.append(now)
