"""The life of endpoints: created, in service, deleted; and taken up again after the server was stopped or killed."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .endpoint import Endpoint, EndpointFailed
from .instance import GRACE_SECONDS
from .record import Record
from .updates import Updates, weights_are_current

if TYPE_CHECKING:
    from ...cloud import Cloud
    from ...store import Document

log = logging.getLogger(__name__)

TABLE = "endpoint"
# At ``down`` nobody is served any more, so nobody is waited for.
CLOSE_SECONDS = 1.0


class HostingEngine:
    """Every endpoint of the account. Its records are in the store's table ``endpoint``; what runs is here."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._table = cloud.store.table(TABLE)
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], Endpoint] = {}
        self._background: set[threading.Thread] = set()
        self._closing = threading.Event()
        self._updates = Updates(cloud.clock, self._closing)

    def find(self, region: str, name: str) -> Endpoint | None:
        """What runs for an endpoint, or None."""
        return self._running.get((region, name))

    def create(self, region: str, document: Document) -> None:
        """Bring an endpoint whose record is in the store (``Creating``) into service, in the background."""
        endpoint = self._register(region, document)
        self._in_background(f"create {endpoint.name}", lambda: self._bring_into_service(region, endpoint))

    def delete(self, region: str, name: str) -> None:
        """End an endpoint whose record says ``Deleting``, and then remove the record, in the background."""
        endpoint = self.find(region, name)
        if endpoint is not None:
            endpoint.accepts = False
        self._in_background(f"delete {name}", lambda: self._delete(region, name))

    def update(self, region: str, name: str) -> None:
        """Deploy what the record of an endpoint (``Updating``) has as its ``Next``, in the background."""
        endpoint, record = self._running[region, name], self._record(region, name)
        self._in_background(f"update {name}", lambda: self._updates.deploy(endpoint, record))

    def rescale(self, region: str, name: str) -> None:
        """Bring weights and counts to what an endpoint's record (``Updating``) desires, in the background."""
        endpoint, record = self._running[region, name], self._record(region, name)
        self._in_background(f"rescale {name}", lambda: self._updates.rescale(endpoint, record))

    def recover(self) -> None:
        """After a start: endpoints come back with new instances, in the background; a deletion is finished."""
        for region, name, document in list(self._table.everywhere()):
            if document["EndpointStatus"] == "Deleting":
                self.delete(region, name)
            elif document["EndpointStatus"] != "Failed":
                self._resume(region, document)

    def close(self) -> None:
        """Before the end: all instances end now. The records stay as they are, for :meth:`recover`."""
        with self._lock:
            self._closing.set()
            endpoints, background = list(self._running.values()), list(self._background)
        stopping = [threading.Thread(target=endpoint.stop, args=(CLOSE_SECONDS,)) for endpoint in endpoints]
        for thread in stopping:
            thread.start()
        for thread in [*stopping, *background]:
            thread.join()

    # ---- in the background ----

    def _resume(self, region: str, document: Document) -> None:
        endpoint = self._register(region, document)
        if document["EndpointStatus"] != "Creating":
            self._record(region, endpoint.name).set(EndpointStatus="SystemUpdating")
            # It was in service: what is not there yet is a passing lack of instances, not of the endpoint.
            endpoint.accepts = True
        self._in_background(f"resume {endpoint.name}", lambda: self._bring_into_service(region, endpoint))

    def _register(self, region: str, document: Document) -> Endpoint:
        endpoint = Endpoint(self.cloud, region, document)
        with self._lock:
            self._running[region, endpoint.name] = endpoint
        return endpoint

    def _bring_into_service(self, region: str, endpoint: Endpoint) -> None:
        record = self._record(region, endpoint.name)
        try:
            endpoint.start()
        except EndpointFailed as error:
            if not self._closing.is_set():
                log.warning("endpoint %s: %s", endpoint.name, error)
                self._fail(region, endpoint, str(error))
            return
        endpoint.accepts = True
        if "Next" in record.read():  # an update that the server before this one did not finish
            record.set(EndpointStatus="Updating")
            self._updates.deploy(endpoint, record)
        else:
            record.change(weights_are_current)
            record.set(EndpointStatus="InService", Previous=None)

    def _fail(self, region: str, endpoint: Endpoint, reason: str) -> None:
        with self._lock:
            self._running.pop((region, endpoint.name), None)
        endpoint.forget()
        self._record(region, endpoint.name).fail("Failed", reason)

    def _delete(self, region: str, name: str) -> None:
        endpoint = self.find(region, name)
        if endpoint is not None:
            endpoint.stop(GRACE_SECONDS / self.cloud.clock.scale)
            with self._lock:
                del self._running[region, name]
        shutil.rmtree(self.cloud.workplace("endpoints", region, name), ignore_errors=True)
        self.cloud.tags.forget(self._table.get(region, name)["EndpointArn"])
        self._table.delete(region, name)

    def _record(self, region: str, name: str) -> Record:
        return Record(self._table, region, name, self.cloud.clock)

    def _in_background(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("%s failed", name)
            finally:
                with self._lock:
                    self._background.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            # While the server ends nothing new begins: the record is as it is, and the next start goes on from there.
            if not self._closing.is_set():
                self._background.add(thread)
                thread.start()
