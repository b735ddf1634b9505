"""A running endpoint: the fleet that takes its traffic and, during an update, the one that is to take it next."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .fleet import EndpointFailed, Fleet
from .variant import Variant

if TYPE_CHECKING:
    from ...cloud import Cloud
    from ...store import Document

# What endpoints made before there were updates were deployed as.
FIRST_DEPLOYMENT = "first"


class Endpoint:
    """What runs for one endpoint. ``document`` is its record in the store, with the ``Variants`` that it deploys."""

    def __init__(self, cloud: Cloud, region: str, document: Document) -> None:
        self.name: str = document["EndpointName"]
        self.accepts = False
        self._cloud, self._region = cloud, region
        self._folder = cloud.workplace("endpoints", region, self.name)
        self._lock, self._stopping = threading.Lock(), False
        self.fleet = self._make_fleet(document)
        self._next: Fleet | None = None
        self._before: Fleet | None = None

    @property
    def variants(self) -> dict[str, Variant]:
        """The variants that take its traffic."""
        return self.fleet.variants

    def start(self) -> None:
        """Start all instances; raises :class:`EndpointFailed`, nothing being left then."""
        shutil.rmtree(self._folder / "instances", ignore_errors=True)  # of a server that was killed
        try:
            self.fleet.start()
        except EndpointFailed:
            self.stop(0)
            raise
        self.fleet.take_traffic()

    def choose(self, target: str | None) -> Variant:
        """The variant for one request: the target, or one by weight. Raises ``KeyError`` for an unknown target."""
        return self.fleet.choose(target)

    def prepare(self, deployment: Document) -> None:
        """Start the fleet of an update next to the one that serves; raises :class:`EndpointFailed`."""
        fleet = self._make_fleet(deployment)
        with self._lock:
            if self._stopping:
                raise EndpointFailed("the endpoint is stopping")
            self._next = fleet
        try:
            fleet.start()
        except EndpointFailed:
            with self._lock:
                self._next = None
            fleet.drain(0)
            raise

    def switch(self) -> None:
        """Give all further requests to the fleet that was prepared."""
        with self._lock:
            assert self._next is not None
            self._before, self.fleet, self._next = self.fleet, self._next, None
        self.fleet.take_traffic()

    def drain(self, grace: float) -> None:
        """End the fleet from before the switch, when it has answered what it was asked."""
        assert self._before is not None
        self._before.drain(grace)
        self._before = None

    def stop(self, grace: float) -> None:
        """SIGTERM to all instances, SIGKILL ``grace`` seconds later; returns when no process is left."""
        self.accepts = False
        with self._lock:
            self._stopping = True
            fleets = [fleet for fleet in (self.fleet, self._next, self._before) if fleet is not None]
        with ThreadPoolExecutor(len(fleets)) as pool:
            list(pool.map(lambda fleet: fleet.stop(grace), fleets))

    def forget(self) -> None:
        """Remove the endpoint's folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_fleet(self, document: Document) -> Fleet:
        deployment = document.get("Deployment", FIRST_DEPLOYMENT)
        return Fleet(self._cloud, self._region, self.name, self._folder, deployment, document["Variants"])


__all__ = ["Endpoint", "EndpointFailed"]
