"""Changes of an endpoint in service: another deployment (blue/green), other counts and weights; and their rollback.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from .endpoint import Endpoint, EndpointFailed
from .instance import GRACE_SECONDS
from .record import Record

if TYPE_CHECKING:
    from ...store import Document
    from ..clock import Clock

log = logging.getLogger(__name__)

# What an update waits for, in turn: with the traffic on the new fleet, and before it ends the old one.
BLUE_GREEN = ("WaitIntervalInSeconds", "TerminationWaitInSeconds")


class Updates:
    """What an engine does in the background to an endpoint whose record says ``Updating``."""

    def __init__(self, clock: Clock, closing: threading.Event) -> None:
        self._clock, self._closing = clock, closing
        self._grace = GRACE_SECONDS / clock.scale

    def deploy(self, endpoint: Endpoint, record: Record) -> None:
        """Start the record's ``Next`` next to what serves, give it the traffic, and end what served before.

        Where it does not start, what served before goes on, and FailureReason says why.
        """
        deployment = record.read()["Next"]
        try:
            endpoint.prepare(deployment)
        except EndpointFailed as error:
            if not self._closing.is_set():
                log.warning("endpoint %s stays as it was: %s", endpoint.name, error)
                record.fail("InService", str(error), Next=None)
            return
        endpoint.switch()
        record.change(lambda document: _adopt(document, deployment))
        for pause in BLUE_GREEN:
            self._clock.wait(self._closing, deployment["BlueGreen"][pause])
        endpoint.drain(self._grace)
        if not self._closing.is_set():
            record.set(EndpointStatus="InService", FailureReason=None)

    def rescale(self, endpoint: Endpoint, record: Record) -> None:
        """Bring counts and weights to what the record desires; back to its ``Previous`` where an instance fails."""
        try:
            self._apply(endpoint, record)
        except EndpointFailed as error:
            if not self._closing.is_set():
                self._roll_back(endpoint, record, str(error))
            return
        record.set(EndpointStatus="InService", Previous=None, FailureReason=None)

    def _apply(self, endpoint: Endpoint, record: Record) -> None:
        variants = record.read()["Variants"]
        endpoint.fleet.weigh({one["VariantName"]: one["DesiredWeight"] for one in variants})
        endpoint.fleet.resize({one["VariantName"]: one["DesiredInstanceCount"] for one in variants}, self._grace)
        record.change(weights_are_current)

    def _roll_back(self, endpoint: Endpoint, record: Record, reason: str) -> None:
        log.warning("endpoint %s goes back to the capacity that it had: %s", endpoint.name, reason)
        record.change(_restore)
        try:
            self._apply(endpoint, record)
        except EndpointFailed as error:
            record.fail("UpdateRollbackFailed", f"{reason} The rollback failed too: {error}", Previous=None)
            return
        record.fail("InService", reason, Previous=None)


def _adopt(document: Document, deployment: dict[str, Any]) -> None:
    """The deployment is what serves, from here on also for a server that starts anew."""
    del document["Next"]
    document.update({name: deployment[name] for name in ("EndpointConfigName", "Deployment", "Variants")})


def weights_are_current(document: Document) -> None:
    """The traffic is divided as it was desired."""
    for variant in document["Variants"]:
        variant["CurrentWeight"] = variant["DesiredWeight"]


def _restore(document: Document) -> None:
    document["EndpointStatus"] = "RollingBack"
    for variant in document["Variants"]:
        variant.update(document["Previous"][variant["VariantName"]])


__all__ = ["BLUE_GREEN", "Updates", "weights_are_current"]
