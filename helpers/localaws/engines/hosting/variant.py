"""A production variant: its instances, which of them takes the next request, and their replacement when they fail."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from ..clock import Clock
from .instance import Instance, InstanceFailed
from .metrics import InvocationMetrics

log = logging.getLogger(__name__)

NEW_SESSION = "NEW_SESSION"
RANDOM = "RANDOM"
# How long an instance that leaves may take to finish its requests: a little more than one may last.
DRAIN_SECONDS = 65.0
REPLACE_AGAIN_SECONDS = (10.0, 30.0, 60.0)


class NoInstance(Exception):
    """No instance of the variant is in service at this moment."""


class UnknownSession(Exception):
    """The session is not one that an instance in service has opened."""


class Variant:
    """The instances of one variant. Safe to use from many threads."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        make_instance: Callable[[], Instance],
        metrics: InvocationMetrics,
        strategy: str = "",
    ) -> None:
        self.name, self.metrics = name, metrics
        self._clock, self._make_instance, self._strategy = clock, make_instance, strategy
        self._changed = threading.Condition()
        self._starting: set[Instance] = set()
        self._in_service: list[Instance] = []
        self._leaving: set[Instance] = set()
        self._wanted = self._replacing = 0
        self._sessions: dict[str, Instance] = {}
        self._stopping = threading.Event()

    # ---- what it has ----

    @property
    def instances(self) -> list[Instance]:
        """The instances in service."""
        with self._changed:
            return [instance for instance in self._in_service if instance.running]

    @property
    def in_flight(self) -> int:
        """The requests that its instances have at this moment."""
        with self._changed:
            return sum(instance.load.in_flight for instance in self._in_service)

    def publish_concurrency(self) -> None:
        """Publish each instance's mean concurrency since the last call."""
        with self._changed:
            means = [instance.load.mean() for instance in self._in_service]
        self.metrics.publish_concurrency(means)

    # ---- its instances ----

    def add(self) -> Instance:
        """Have one more instance: start it and take it into service; raises :class:`InstanceFailed`."""
        with self._changed:
            self._wanted += 1
        try:
            return self._launch()
        except BaseException:
            with self._changed:
                self._wanted -= 1
            raise

    def remove(self, instance: Instance, grace: float) -> None:
        """Have one instance less: give it no more requests, let it finish those it has, and stop it."""
        with self._changed:
            self._wanted -= self._retire(instance)
        self._finish(instance, grace)

    def resize(self, count: int, grace: float) -> None:
        """Have ``count`` instances: start what is missing, or let the newest ones finish their requests and stop them.

        Returns when that is done; raises :class:`InstanceFailed` where one does not start.
        """
        with self._changed:
            self._wanted = count
            missing = count - len(self._in_service) - self._replacing
            leaving = self._in_service[count:]
            for instance in leaving:
                self._retire(instance)
        with ThreadPoolExecutor(max(1, missing, len(leaving))) as pool:
            starting = [pool.submit(self._launch) for _ in range(missing)]
            list(pool.map(lambda instance: self._finish(instance, grace), leaving))
        for started in starting:
            started.result()

    def _launch(self) -> Instance:
        with self._changed:
            if self._stopping.is_set():
                raise InstanceFailed("the variant is going away")
            instance = self._make_instance()  # which makes its folder
            self._starting.add(instance)
        try:
            instance.start(self._lost)
            self._admit(instance)
        except BaseException:
            instance.stop(0)
            raise
        finally:
            with self._changed:
                self._starting.discard(instance)
                self._changed.notify_all()
        return instance

    def _admit(self, instance: Instance) -> None:
        with self._changed:
            if not instance.running or self._stopping.is_set():
                raise InstanceFailed("it ended as soon as it was healthy")
            if len(self._in_service) >= self._wanted:
                raise InstanceFailed("it is not wanted any more")
            self._in_service.append(instance)

    def _finish(self, instance: Instance, grace: float) -> None:
        """Stop an instance that is out of service as soon as it has answered what it was asked."""
        with self._changed:
            self._leaving.add(instance)
            self._changed.wait_for(lambda: not instance.load.in_flight or self._stopping.is_set(), DRAIN_SECONDS)
        instance.stop(grace)
        with self._changed:
            self._leaving.discard(instance)

    def stop(self, grace: float) -> None:
        """Stop every instance at once; no new one will start. Returns when nothing makes files or logs any more."""
        self._stopping.set()
        with self._changed:
            everything = {*self._in_service, *self._starting, *self._leaving}
            self._in_service.clear()
            self._sessions.clear()
            self._changed.notify_all()
        if everything:
            with ThreadPoolExecutor(len(everything)) as pool:
                list(pool.map(lambda instance: instance.stop(grace), everything))
        with self._changed:
            self._changed.wait_for(lambda: not self._starting)

    def _retire(self, instance: Instance) -> bool:
        """Out of service; False where it was already."""
        self._sessions = {name: holder for name, holder in self._sessions.items() if holder is not instance}
        if instance not in self._in_service:
            return False
        self._in_service.remove(instance)
        return True

    def _lost(self, instance: Instance) -> None:
        """An instance has ended by itself: replace it, as AWS does."""
        with self._changed:
            was_in_service = self._retire(instance)
            # At once: who resizes from here on must not start an instance in its place as well.
            self._replacing += was_in_service
        try:
            instance.stop(0)
        finally:
            if was_in_service:
                log.warning("instance %s of variant %s has ended; replacing it", instance.id, self.name)
                self._replace()

    def _replace(self) -> None:
        attempt = 0
        try:
            while self._is_short():
                try:
                    self._launch()
                    return
                except (InstanceFailed, OSError) as error:
                    log.warning("variant %s: the replacement failed: %s", self.name, error)
                pause = REPLACE_AGAIN_SECONDS[min(attempt, len(REPLACE_AGAIN_SECONDS) - 1)]
                self._clock.wait(self._stopping, pause)
                attempt += 1
        finally:
            with self._changed:
                self._replacing -= 1

    def _is_short(self) -> bool:
        with self._changed:
            return not self._stopping.is_set() and len(self._in_service) < self._wanted

    # ---- requests ----

    @contextlib.contextmanager
    def lease(self, session: str | None, avoid: Collection[Instance] = ()) -> Iterator[Instance]:
        """The instance for one request, busy meanwhile; none of ``avoid``.

        Raises :class:`NoInstance`, :class:`UnknownSession`.
        """
        with self._changed:
            instance = self._choose(session, avoid)
            instance.load.change(+1)
        try:
            yield instance
        finally:
            with self._changed:
                instance.load.change(-1)
                self._changed.notify_all()

    def note_session(self, opened: str | None, closed: str | None, instance: Instance) -> None:
        """Remember a session that the model has opened, as ``<id>; Expires=…``, and forget one that it has closed."""
        with self._changed:
            if opened:
                self._sessions[opened.split(";")[0].strip()] = instance
            if closed:
                self._sessions.pop(closed, None)

    def _choose(self, session: str | None, avoid: Collection[Instance]) -> Instance:
        able = [one for one in self._in_service if one.running and one not in avoid]
        if session and session != NEW_SESSION:
            if session not in self._sessions:
                raise UnknownSession(session)
            able = [one for one in able if one is self._sessions[session]]
        if not able:
            raise NoInstance(self.name)
        if self._strategy == RANDOM:
            return random.choice(able)
        least = min(one.load.in_flight for one in able)
        return random.choice([one for one in able if one.load.in_flight == least])


__all__ = ["NoInstance", "UnknownSession", "Variant"]
