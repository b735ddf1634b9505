"""The EC2 instances of the account: launched, asked to stop and start, and accounted for after a crash."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ...protocol import Response
from .. import stopping
from .commands import Commands
from .instance import TABLE, Instance
from .record import Reason, Record

if TYPE_CHECKING:
    from ...cloud import Cloud

CLOSE_SECONDS = 20.0
ENDED = ("stopped", "terminated")


class InstancesEngine:
    """Runs each instance that :meth:`launch` is told of."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._table = cloud.store.table(TABLE)
        self._lock = threading.Lock()
        self._instances: dict[tuple[str, str], Instance] = {}
        self._by_secret: dict[str, Instance] = {}
        self.commands = Commands(cloud)

    def launch(self, region: str, identifiers: Sequence[str]) -> None:
        """Boot instances that have just been recorded; their records are pending afterwards."""
        # All are known here before any of their records is kept: a killed server leaves none that nobody ends.
        launched = [self._know(region, identifier) for identifier in identifiers]
        for instance in launched:
            instance.record.enter("pending")
        for instance in launched:
            instance.boot()

    def get(self, region: str, identifier: str) -> Instance:
        """A launched instance. Raises ``InvalidInstanceID.NotFound``."""
        with self._lock:
            found = self._instances.get((region, identifier))
        if found is None:
            Record(self.cloud.records, region, identifier).check_exists()
            document = self._table.find(region, identifier) or {"Secret": secrets.token_hex(16)}
            found = self._take_up(region, identifier, document["Secret"])
        return found

    def recover(self) -> None:
        """After a start: what a killed server had running is stopped, and says why."""
        for region, identifier, document in list(self._table.everywhere()):
            if not Record(self.cloud.records, region, identifier).exists:
                # It was killed before it kept the record: the launch has never been answered, and never was.
                self._table.delete(region, identifier)
                continue
            instance = self._take_up(region, identifier, document["Secret"])
            state = instance.record.state
            reason = Reason("Server.InternalError", self.cloud.clock.now())
            if state == "shutting-down":
                instance.machine.remove()
                instance.record.enter("terminated", reason)
            elif state not in ENDED:
                instance.record.enter("stopped", reason)
        self.commands.recover()

    def close(self) -> None:
        """Before the end: end every instance's processes, and let the records say stopped."""
        with self._lock:
            instances = list(self._instances.values())
        # Apart: whoever has the records' lock may ask for this one.
        running = [one for one in instances if one.record.state not in ENDED]
        for instance in running:
            instance.abandon()
        if running:
            stopping.kill(self.cloud.identity, self.cloud.workplace("instances"))
        for instance in running:
            instance.join(CLOSE_SECONDS)
        self.commands.close()

    def answer(self, path: str, environ: dict[str, Any]) -> Response:
        """The addresses of instances, ``<secret>/imds/…`` and ``<secret>/power/…``: asked from inside."""
        secret, _, rest = path.partition("/")
        instance = self._by_secret.get(secret)
        what, _, rest = rest.partition("/")
        if instance is None or what not in ("imds", "power"):
            return Response(404, [("Content-Type", "text/plain")], b"Not Found")
        if what == "power":
            seconds = float(parse_qs(environ.get("QUERY_STRING", "")).get("seconds", ["0"])[0])
            instance.shut_down(rest, seconds)
            return Response(200, [("Content-Type", "text/plain")], b"")
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        status, body, ttl = instance.answer_metadata(environ["REQUEST_METHOD"], f"/{rest}", headers)
        lives = [("X-aws-ec2-metadata-token-ttl-seconds", str(ttl))] if ttl is not None else []
        return Response(status, [("Content-Type", "text/plain"), *lives], body.encode())

    def _know(self, region: str, identifier: str) -> Instance:
        secret = secrets.token_hex(16)
        self._table.put(region, identifier, {"Secret": secret})
        return self._take_up(region, identifier, secret)

    def _take_up(self, region: str, identifier: str, secret: str) -> Instance:
        with self._lock:
            key = (region, identifier)
            if key not in self._instances:
                self._instances[key] = self._by_secret[secret] = Instance(self.cloud, region, identifier, secret)
            return self._instances[key]
