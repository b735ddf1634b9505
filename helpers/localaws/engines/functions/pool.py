"""The environments of a function's version: those that wait for an event, and those at work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from .environment import Environment
from .spec import Spec


class Pool:
    """Environments of one version, each made when an event finds none idle."""

    def __init__(self, make: Callable[[Spec], Environment]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        self._busy: set[Environment] = set()
        self._closed = False

    def take(self, spec: Spec) -> Environment:
        """An idle environment of this spec, the one used last, else a new one, initialised."""
        with self._lock:
            stale = [one for one in self._idle if one.spec != spec or not one.fresh]
            self._idle = [one for one in self._idle if one not in stale]
            taken = self._idle.pop() if self._idle else None
            if taken is not None:
                self._busy.add(taken)
        _end(stale)
        return taken or self._start(spec)

    def give_back(self, environment: Environment) -> None:
        """The environment has handled its event."""
        environment.idle_since = time.monotonic()
        with self._lock:
            self._busy.discard(environment)
            kept = not self._closed
            if kept:
                self._idle.append(environment)
        if not kept:
            environment.end()

    def discard(self, environment: Environment) -> None:
        """The environment cannot be used any more."""
        with self._lock:
            self._busy.discard(environment)
        environment.end()

    def reclaim(self, idle_seconds: float) -> int:
        """End the environments that have been idle for so long; returns how many are left."""
        oldest = time.monotonic() - idle_seconds
        with self._lock:
            ended = [one for one in self._idle if one.idle_since <= oldest]
            self._idle = [one for one in self._idle if one not in ended]
            left = len(self._idle) + len(self._busy)
        _end(ended)
        return left

    def oldest_idle(self) -> float:
        """Since when the environment used longest ago has been idle; infinity where none is."""
        with self._lock:
            return self._idle[0].idle_since if self._idle else math.inf

    def end_oldest(self) -> None:
        """End the environment used longest ago, if one is idle."""
        with self._lock:
            ended = [self._idle.pop(0)] if self._idle else []
        _end(ended)

    def counts(self) -> tuple[int, int]:
        """How many environments are idle, and how many at work."""
        with self._lock:
            return len(self._idle), len(self._busy)

    def close(self) -> None:
        """End the idle environments now, and those at work when they have handled their event."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        _end(idle)

    def kill(self) -> None:
        """End every environment now; invocations fail."""
        self.close()
        with self._lock:
            busy = list(self._busy)
        for environment in busy:
            environment.kill()

    def _start(self, spec: Spec) -> Environment:
        environment = self._make(spec)
        with self._lock:
            self._busy.add(environment)
        try:
            environment.initialise()
        except BaseException:
            self.discard(environment)
            raise
        return environment


def _end(environments: list[Environment]) -> None:
    for environment in environments:
        environment.end()
