"""Things to do later, when some of AWS's own waiting is over: one thread for all of them."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from ..clock import Clock

log = logging.getLogger(__name__)


class Agenda:
    """Calls functions when their time has come; they must be quick, and start threads for what is not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._run, name="function agenda", daemon=True).start()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after ``seconds`` of AWS's time."""
        with self._changed:
            heapq.heappush(self._entries, (self._clock.deadline(seconds), next(self._numbers), action))
            self._changed.notify()

    def close(self) -> None:
        """Forget everything."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            action = self._next()
            if action is None:
                return
            try:
                action()
            except Exception:
                log.exception("a thing on the agenda failed")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                left = self._entries[0][0] - self._clock.monotonic() if self._entries else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._entries)[2]
                self._changed.wait(left)
        return None
