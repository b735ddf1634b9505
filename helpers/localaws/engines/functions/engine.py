"""Lambda's data plane: which environment handles an event, when one is made, and when one is ended."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ...credentials import Keys
from ...errors import AwsError
from ...policy import Document as Policy
from ...protocol import Response
from ..container import cores
from . import resource_policies
from .agenda import Agenda
from .code import CodeStore
from .concurrency import QUOTA, Concurrency
from .documents import Document, Functions
from .environment import FRESH, ON_DEMAND, PROVISIONED, Environment, Host, Outcome, remaining
from .events import Event, Events
from .faults import Throttled
from .interpreter import Interpreter
from .memory import MemoryWatch
from .metrics import Metrics, Subject
from .names import FunctionReference
from .pool import Pool
from .provisioned import Provisioned
from .provisions import Provisions
from .routing import choose
from .runtime_api import Invocation
from .scaling_rate import ScalingRate
from .spec import Spec

if TYPE_CHECKING:
    from ...cloud import Cloud

SERVICE = "lambda.amazonaws.com"
IDLE_SECONDS = 300.0
# Idle environments keep their memory: beyond this many, those used longest ago are ended to make room.
MOST_ENVIRONMENTS = 96
LOCATION_SECONDS = 600.0


@dataclass(frozen=True)
class Target:
    """What is to be invoked: a version as it is configured now, and the ARN by which it was called."""

    spec: Spec
    arn: str
    qualifier: str | None = None

    @property
    def subject(self) -> Subject:
        """What it is in the metrics."""
        return Subject(self.spec.region, self.spec.name, self.qualifier, self.spec.version)


class FunctionsEngine:
    """The functions of the account."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.code = CodeStore(cloud.workplace("functions", "code"))
        self.documents = Functions(cloud.store, cloud.clock, cloud.account)
        self.concurrency = Concurrency(lambda region: cloud.quotas.value(region, QUOTA))
        self._rate = ScalingRate(cloud.clock)
        self._metrics = Metrics(cloud.monitoring)
        self._memory = MemoryWatch()
        self._agenda = Agenda(cloud.clock)
        self._events = Events(cloud.store, cloud.clock, self._agenda, self._handle_event)
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, str], Pool] = {}
        self._keys: dict[tuple[str, str, str], Keys] = {}
        self._keys_lock = threading.Lock()
        # Held from when a package is kept until a function has it, so that it is not removed as nobody's in between.
        self.packages = threading.RLock()
        self._locations: dict[str, tuple[float, str]] = {}
        self._reclaiming = self._closed = False
        self._host = Host(
            folder=cloud.workplace("functions", "environments"),
            url=cloud.url,
            processes=cloud.processes,
            monitoring=cloud.monitoring,
            code=self.code,
            interpreter=Interpreter(cloud.workplace("functions", "python")),
            memory=self._memory,
            starts=threading.Semaphore(max(4, 2 * cores())),
        )
        self.provisions = Provisions(
            self.documents,
            self.concurrency,
            lambda spec: self._make_environment(spec, PROVISIONED),
            self._spec,
            self._agenda,
            cloud.clock.scale,
        )

    # ---- the server's life ----

    def recover(self) -> None:
        """After a start: the environments of a killed server are gone; what was queued is taken up."""
        shutil.rmtree(self._host.folder, ignore_errors=True)
        self._host.folder.mkdir(parents=True, exist_ok=True)
        for region, name, document in self.documents.everywhere():
            self.concurrency.restore((region, name), document["reserved"])
            self.provisions.follow(region, name)
        self.collect_code()
        self._events.recover()

    def close(self) -> None:
        """Before the end: end every environment, now."""
        self._closed = True
        self._agenda.close()
        self._events.close()
        with self._lock:
            pools = list(self._pools.values())
        self.provisions.close()
        for pool in pools:
            pool.kill()
        self._memory.close()
        self._metrics.close()

    # ---- invocations ----

    def target(self, region: str, reference: FunctionReference) -> Target:
        """What an invocation of ``reference`` runs now; of an alias with weights, one of its versions by chance.

        Raises ``ResourceNotFoundException``, and ``ResourceConflictException`` while the function is being created.
        """
        document = self.documents.find(region, reference.name)
        route = self.documents.route(region, reference, document)
        self.documents.check_created(document)
        spec = self._spec(region, document, choose(route))
        return Target(spec, spec.arn(reference.qualifier), reference.qualifier)

    def invoke(self, target: Target, payload: bytes, client_context: str | None, request_id: str) -> Outcome:
        """Run a function and wait for what it comes to; raises :class:`Throttled`."""
        spec, subject = target.spec, target.subject
        invocation = Invocation(request_id, payload, target.arn, 0, client_context)
        provisioned = self.provisions.find(spec.region, spec.name, target.qualifier)
        ready = provisioned.take(spec) if provisioned is not None else None
        try:
            with self.concurrency.admitted((spec.region, spec.name), subject.resource, ready is not None) as running:
                self._metrics.began(subject, running)
                if provisioned is None:
                    outcome = self._run_on_demand(spec, invocation)
                elif ready is None:
                    self._metrics.spilled_over(subject)
                    outcome = self._run_on_demand(spec, invocation)
                else:
                    self._metrics.provisioned(subject, *provisioned.at_work())
                    outcome = self._run_in(provisioned, ready, invocation)
        except Throttled:
            if provisioned is not None and ready is not None:
                provisioned.give_back(ready)
            self._metrics.throttled(subject)
            raise
        self._metrics.ended(subject, outcome.function_error is not None, outcome.report.duration_ms)
        return outcome

    def queue(self, region: str, reference: FunctionReference, payload: bytes, client_context: str | None) -> None:
        """Take in an event, for an invocation nobody waits for."""
        event = {"name": reference.name, "qualifier": reference.qualifier, "payload": payload}
        self._events.put(region, event | {"client_context": client_context, "request_id": str(uuid.uuid4())})

    def _handle_event(self, event: Event) -> bool:
        target = self.target(event["region"], FunctionReference(event["name"], event["qualifier"]))
        outcome = self.invoke(target, event["payload"], event["client_context"], event["request_id"])
        return outcome.function_error is not None

    def _run_on_demand(self, spec: Spec, invocation: Invocation) -> Outcome:
        pool = self._pool(spec)
        outcome = self._run_in(pool, pool.take(spec), invocation)
        self._reclaim_later()
        return outcome

    def _run_in(self, home: Pool | Provisioned, environment: Environment, invocation: Invocation) -> Outcome:
        try:
            outcome = environment.invoke(invocation)
        except BaseException:
            home.discard(environment)
            raise
        home.give_back(environment)
        return outcome

    # ---- environments ----

    def forget(self, region: str, name: str, version: str | None = None) -> None:
        """A function (or one version) is deleted: its environments end, those at work when they have done."""
        with self._lock:
            keys = [key for key in self._pools if key[:2] == (region, name) and version in (None, key[2])]
            pools = [self._pools.pop(key) for key in keys]
        self.provisions.follow(region, name)
        for pool in pools:
            pool.close()

    def _pool(self, spec: Spec) -> Pool:
        with self._lock:
            if self._closed:
                raise AwsError("ServiceException", "The embedded AWS is shutting down.", 500)
            return self._pools.setdefault(spec.key, Pool(self._make_on_demand))

    def _spec(self, region: str, document: Document, version: str) -> Spec:
        return Spec.of(self.documents.effective(document, version), region, self.cloud.account)

    def _make_on_demand(self, spec: Spec) -> Environment:
        self._rate.start((spec.region, spec.name))
        return self._make_environment(spec, ON_DEMAND)

    def _make_environment(self, spec: Spec, initialization: str) -> Environment:
        self._make_room()
        return Environment(spec, self._host, self._credentials(spec), initialization)

    def _credentials(self, spec: Spec) -> Keys:
        """Of the function's role; the environments of one function share them while they last."""
        credentials, held = self.cloud.credentials, (spec.region, spec.name, spec.role)
        arn = self.documents.arn(spec.region, spec.name)
        with self._keys_lock:
            keys = self._keys.get(held)
            if credentials.check_trust(spec.role, SERVICE, arn):
                message = "The role defined for the function cannot be assumed by Lambda."
                raise AwsError("AccessDeniedException", message, 403, Type="User")
            if keys is None or remaining(keys) < FRESH + timedelta(minutes=5):
                keys = self._keys[held] = credentials.assume(spec.role, SERVICE, spec.name, source_arn=arn)
            return keys

    def _make_room(self) -> None:
        with self._lock:
            pools = list(self._pools.values())
        if not pools or sum(sum(pool.counts()) for pool in pools) + self.provisions.count() < MOST_ENVIRONMENTS:
            return
        oldest = min(pools, key=lambda pool: pool.oldest_idle())
        oldest.end_oldest()

    def _reclaim_later(self) -> None:
        with self._lock:
            if self._reclaiming or self._closed:
                return
            self._reclaiming = True
        self._agenda.after(IDLE_SECONDS / 4, self._reclaim)

    def _reclaim(self) -> None:
        with self._lock:
            self._reclaiming = False
            pools = list(self._pools.values())
        left = sum(pool.reclaim(IDLE_SECONDS / self.cloud.clock.scale) for pool in pools)
        if left:
            self._reclaim_later()

    def policies_of(self, arn: str) -> list[Policy]:
        """The resource policy of a function, a version or an alias."""
        return resource_policies.of(self.documents, arn)

    # ---- packages ----

    def collect_code(self) -> None:
        """Remove the packages that no function has any more."""
        used: set[str] = set()
        with self.packages:
            for _, _, document in self.documents.everywhere():
                configurations = [document["latest"], document["previous"], *document["versions"].values()]
                used |= {configuration["CodeSha256"] for configuration in configurations if configuration}
            self.code.keep_only(used)

    def code_location(self, code_sha256: str) -> str:
        """An address from which a package can be fetched for ten minutes, without further credentials."""
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._locations = {one: held for one, held in self._locations.items() if held[0] > now}
            self._locations[token] = (now + LOCATION_SECONDS, code_sha256)
        return f"{self.cloud.url}/_localaws/function-code/{token}"

    def answer_code(self, token: str) -> Response:
        """What is found at such an address."""
        until, code_sha256 = self._locations.get(token, (0.0, ""))
        if until < time.monotonic() or not self.code.archive(code_sha256).exists():
            return Response(403, [("Content-Type", "application/json")], b'{"code": "AccessDenied"}')
        return Response(200, [("Content-Type", "application/zip")], self.code.archive(code_sha256).read_bytes())
