"""The life of endpoints: created, in service, deleted; and taken up again after the server was stopped or killed."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .endpoint import Endpoint, EndpointFailed
from .instance import GRACE_SECONDS

if TYPE_CHECKING:
    from ...cloud import Cloud
    from ...store import Document

log = logging.getLogger(__name__)

TABLE = "endpoint"
REASON_LENGTH = 1024
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

    def recover(self) -> None:
        """After a start: endpoints come back with new instances, in the background; a deletion is finished."""
        for region, name, document in list(self._table.everywhere()):
            if document["EndpointStatus"] == "Deleting":
                self.delete(region, name)
            elif document["EndpointStatus"] != "Failed":
                self._resume(region, document)

    def close(self) -> None:
        """Before the end: all instances end now. The records stay as they are, for :meth:`recover`."""
        self._closing.set()
        endpoints = list(self._running.values())
        stopping = [threading.Thread(target=endpoint.stop, args=(CLOSE_SECONDS,)) for endpoint in endpoints]
        for thread in stopping:
            thread.start()
        for thread in [*stopping, *self._background]:
            thread.join()

    # ---- in the background ----

    def _resume(self, region: str, document: Document) -> None:
        endpoint = self._register(region, document)
        if document["EndpointStatus"] != "Creating":
            self._set(region, endpoint.name, EndpointStatus="SystemUpdating")
            # It was in service: what is not there yet is a passing lack of instances, not of the endpoint.
            endpoint.accepts = True
        self._in_background(f"resume {endpoint.name}", lambda: self._bring_into_service(region, endpoint))

    def _register(self, region: str, document: Document) -> Endpoint:
        endpoint = Endpoint(self.cloud, region, document)
        with self._lock:
            self._running[region, endpoint.name] = endpoint
        return endpoint

    def _bring_into_service(self, region: str, endpoint: Endpoint) -> None:
        try:
            endpoint.start()
        except EndpointFailed as error:
            if not self._closing.is_set():
                log.warning("endpoint %s: %s", endpoint.name, error)
                self._fail(region, endpoint, str(error))
            return
        self._set(region, endpoint.name, EndpointStatus="InService")
        endpoint.accepts = True

    def _fail(self, region: str, endpoint: Endpoint, reason: str) -> None:
        with self._lock:
            self._running.pop((region, endpoint.name), None)
        endpoint.forget()
        self._set(region, endpoint.name, EndpointStatus="Failed", FailureReason=reason[:REASON_LENGTH])

    def _delete(self, region: str, name: str) -> None:
        endpoint = self.find(region, name)
        if endpoint is not None:
            endpoint.stop(GRACE_SECONDS / self.cloud.clock.scale)
            with self._lock:
                del self._running[region, name]
        shutil.rmtree(self.cloud.workplace("endpoints", region, name), ignore_errors=True)
        self.cloud.tags.forget(self._table.get(region, name)["EndpointArn"])
        self._table.delete(region, name)

    def _set(self, region: str, name: str, **members: Any) -> None:
        changed = {**members, "LastModifiedTime": self.cloud.clock.now()}
        self._table.update(region, name, lambda document: document.update(changed))

    def _in_background(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("%s failed", name)
            finally:
                self._background.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._background.add(thread)
        thread.start()
