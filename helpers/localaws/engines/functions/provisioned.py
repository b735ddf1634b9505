"""Provisioned concurrency: the environments of a version or an alias, initialised before anybody asks for them.

See https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html. There are always as many as are wanted,
whatever happens to one of them; invocations that find none idle have an environment on demand.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from ...errors import AwsError
from .environment import Environment
from .spec import Spec

log = logging.getLogger(__name__)

IN_PROGRESS, READY, FAILED = "IN_PROGRESS", "READY", "FAILED"
INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"


@dataclass(frozen=True)
class Standing:
    """How many environments are wanted, have been begun (or are ready), and are ready; ``reason`` of a failure."""

    requested: int
    allocated: int
    available: int
    reason: str

    @property
    def status(self) -> str:
        """As it is described."""
        if self.reason:
            return FAILED
        return READY if self.available == self.requested else IN_PROGRESS


class Provisioned:
    """The environments of one version or alias; of an alias with weights, those of both of its versions."""

    def __init__(self, make: Callable[[Spec], Environment], workers: Executor) -> None:
        self._make, self._workers = make, workers
        self._lock = threading.Lock()
        self._wanted: Counter[Spec] = Counter()
        self._due: Counter[Spec] = Counter()  # handed to a worker, begun or not
        self._begun: list[Environment] = []
        self._idle: list[Environment] = []
        self._busy: set[Environment] = set()
        self._old: set[Environment] = set()  # each serves until another has taken its place
        self._failure = ""
        self._closed = False

    def want(self, counts: Mapping[Spec, int]) -> None:
        """Have so many of each spec, from now on; those at work that are too many end with their event."""
        with self._lock:
            self._wanted, self._failure = Counter({spec: count for spec, count in counts.items() if count > 0}), ""
            ended = self._take_surplus()
            self._fill()
        _end(ended)

    def take(self, spec: Spec) -> Environment | None:
        """An idle environment of this spec, or None."""
        with self._lock:
            found = next((one for one in reversed(self._idle) if one.spec == spec and one.fresh), None)
            if found is not None:
                self._idle.remove(found)
                self._busy.add(found)
        return found

    def give_back(self, environment: Environment) -> None:
        """The environment has handled its event."""
        environment.idle_since = time.monotonic()
        with self._lock:
            self._busy.discard(environment)
            wanted = not self._closed and self._have(environment.spec) < self._wanted[environment.spec]
            kept = wanted and environment not in self._old
            if kept:
                self._idle.append(environment)
            self._old.discard(environment)
        if not kept:
            environment.end()

    def discard(self, environment: Environment) -> None:
        """The environment cannot be used any more; another takes its place."""
        with self._lock:
            self._busy.discard(environment)
            self._old.discard(environment)
            self._fill()
        environment.end()

    def renew(self) -> None:
        """Replace what waits with credentials that end soon, as AWS renews environments from time to time."""
        with self._lock:
            self._old.update(one for one in self._idle if one.ageing)
            self._fill()

    def standing(self) -> Standing:
        """How it stands now."""
        with self._lock:
            available = len(self._idle) + len(self._busy)
            begun = 0 if self._failure else len(self._begun)
            return Standing(self._wanted.total(), available + begun, available, self._failure)

    def at_work(self) -> tuple[int, int]:
        """How many environments handle an event, and how many are wanted."""
        with self._lock:
            return len(self._busy), self._wanted.total()

    def close(self) -> None:
        """End the idle ones now, and those at work when they have handled their event."""
        with self._lock:
            self._closed = True
            self._wanted.clear()
            idle, self._idle = self._idle, []
            self._old.clear()
        _end(idle)

    def kill(self) -> None:
        """End every environment now; invocations fail."""
        self.close()
        with self._lock:
            left = [*self._busy, *self._begun]
        for environment in left:
            environment.kill()

    # ---- with the lock held ----

    def _all(self, spec: Spec) -> list[Environment]:
        return [one for one in (*self._idle, *self._busy) if one.spec == spec]

    def _have(self, spec: Spec) -> int:
        return sum(one not in self._old for one in self._all(spec))

    def _take_surplus(self) -> list[Environment]:
        """The idle environments that are not wanted any more, old ones first; they are forgotten."""
        surplus: list[Environment] = []
        for one in sorted(self._idle, key=lambda one: one not in self._old):
            if len(self._all(one.spec)) > self._wanted[one.spec]:
                self._idle.remove(one)
                self._old.discard(one)
                surplus.append(one)
        return surplus

    def _fill(self) -> None:
        if self._closed or self._failure:
            return
        for spec, count in self._wanted.items():
            for _ in range(count - self._have(spec) - self._due[spec]):
                self._due[spec] += 1
                self._workers.submit(self._start, spec)

    # ---- in a worker ----

    def _start(self, spec: Spec) -> None:
        environment, failure = None, ""
        if self._still_wanted(spec):
            try:
                environment = self._make(spec)
                failure = self._initialise(environment)
            except AwsError as error:
                failure = error.message
            except Exception as error:
                log.exception("an environment of %s could not be provisioned", spec.name)
                failure = f"{type(error).__name__}: {error}"
        with self._lock:
            self._due[spec] -= 1
            wanted = not self._closed and self._have(spec) < self._wanted[spec]
            if wanted and failure:
                self._failure = failure
            kept = wanted and not failure and environment is not None
            ended = [] if kept or environment is None else [environment]
            if kept and environment is not None:
                self._idle.append(environment)
                ended = self._take_surplus()
            self._fill()
        _end(ended)

    def _still_wanted(self, spec: Spec) -> bool:
        with self._lock:
            return not self._closed and not self._failure and self._have(spec) < self._wanted[spec]

    def _initialise(self, environment: Environment) -> str:
        with self._lock:
            self._begun.append(environment)
        try:
            return "" if environment.initialise() else INIT_FAILED
        finally:
            with self._lock:
                self._begun.remove(environment)


def _end(environments: list[Environment]) -> None:
    for environment in environments:
        environment.end()
