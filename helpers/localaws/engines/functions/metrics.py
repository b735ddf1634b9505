"""The metrics of functions, published in the background: an invocation only appends to lists.

By function, by version or alias (``Resource``), by the version that ran behind an alias (``ExecutedVersion``), and of
all functions together. Concurrency has a value for each invocation, as on AWS: how many ran when it began.
See https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .concurrency import Running
from .names import LATEST, is_version

if TYPE_CHECKING:
    from ...monitoring import Monitoring

NAMESPACE = "AWS/Lambda"
EVERY_SECONDS = 0.5
UNITS = {"Duration": "Milliseconds", "ProvisionedConcurrencyUtilization": "None"}

Dimensions = tuple[tuple[str, str], ...]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Subject:
    """What was invoked; ``qualifier`` is the version or the alias by which it was, None for ``$LATEST``."""

    region: str
    name: str
    qualifier: str | None
    version: str

    @property
    def resource(self) -> str:
        """As the dimension ``Resource`` has it."""
        return self.name if self.qualifier in (None, LATEST) else f"{self.name}:{self.qualifier}"

    def function(self) -> Dimensions:
        """The dimension of the function as a whole."""
        return (("FunctionName", self.name),)

    def of_resource(self) -> Dimensions:
        """The dimensions of the version or the alias."""
        return (*self.function(), ("Resource", self.resource))

    def views(self) -> Iterator[Dimensions]:
        """Every set of dimensions in which an invocation counts."""
        yield ()
        yield self.function()
        yield self.of_resource()
        if self.qualifier not in (None, LATEST) and not is_version(self.qualifier):
            yield (*self.of_resource(), ("ExecutedVersion", self.version))


class Metrics:
    """Collects what happens and publishes it twice a second."""

    def __init__(self, monitoring: Monitoring) -> None:
        self._monitoring = monitoring
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._wanted, self._closed = threading.Event(), threading.Event()
        self._values: dict[tuple[str, Dimensions, str], list[float]] = defaultdict(list)
        self._thread = threading.Thread(target=self._run, name="function metrics", daemon=True)
        self._thread.start()

    def began(self, subject: Subject, running: Running) -> None:
        """Note the concurrency at which an invocation begins."""
        of_region: dict[str, float] = {
            "ConcurrentExecutions": running.region,
            "ClaimedAccountConcurrency": running.claimed,
        }
        if running.unreserved is not None:
            of_region["UnreservedConcurrentExecutions"] = running.unreserved
        self._note(subject.region, (), of_region)
        self._note(subject.region, subject.function(), {"ConcurrentExecutions": running.function})
        self._note(subject.region, subject.of_resource(), {"ConcurrentExecutions": running.resource})

    def provisioned(self, subject: Subject, busy: int, count: int) -> None:
        """Note an invocation in a provisioned environment, of which ``busy`` of ``count`` are now at work."""
        values = {
            "ProvisionedConcurrencyInvocations": 1.0,
            "ProvisionedConcurrentExecutions": float(busy),
            "ProvisionedConcurrencyUtilization": busy / max(count, 1),
        }
        for dimensions in (subject.function(), subject.of_resource()):
            self._note(subject.region, dimensions, values)

    def spilled_over(self, subject: Subject) -> None:
        """Note an invocation on demand, because all that is provisioned is at work."""
        for dimensions in (subject.function(), subject.of_resource()):
            self._note(subject.region, dimensions, {"ProvisionedConcurrencySpilloverInvocations": 1})

    def ended(self, subject: Subject, failed: bool, duration_ms: float) -> None:
        """Note an invocation that has ended."""
        for dimensions in subject.views():
            values = {"Invocations": 1, "Errors": float(failed), "Throttles": 0, "Duration": duration_ms}
            self._note(subject.region, dimensions, values)

    def throttled(self, subject: Subject) -> None:
        """Note an invocation that was refused."""
        for dimensions in subject.views():
            self._note(subject.region, dimensions, {"Throttles": 1})

    def close(self) -> None:
        """Publish what is left, and end."""
        self._closed.set()
        self._wanted.set()
        self._thread.join()
        self._publish()

    def _note(self, region: str, dimensions: Dimensions, values: Values) -> None:
        with self._lock:
            for name, value in values.items():
                self._values[region, dimensions, name].append(value)
        self._wanted.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wanted.wait()
            self._closed.wait(EVERY_SECONDS)
            self._wanted.clear()
            self._publish()

    def _publish(self) -> None:
        with self._publishing:
            with self._lock:
                taken, self._values = self._values, defaultdict(list)
            at = datetime.now(UTC)
            for (region, dimensions, name), values in taken.items():
                unit = UNITS.get(name, "Count")
                self._monitoring.publish_many(region, NAMESPACE, name, values, dict(dimensions), unit, at)
