"""The embedded AWS as one object: its account, its records, its engines, and the folder that all of it lives in."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from .authorization import Authorization
from .bucket_policies import BucketPolicies
from .credentials import Credentials, administrator
from .engines.autoscaling.engine import AutoScaling
from .engines.clock import Clock
from .engines.cloudwatch import Alarms, Metrics
from .engines.functions import FunctionsEngine
from .engines.hosting import HostingEngine
from .engines.instances import InstancesEngine
from .engines.processes import Processes
from .engines.training import TrainingEngine
from .engines.tuning import TuningEngine
from .engines.utilisation import Utilisation
from .errors import AwsError
from .folder import identity
from .last_accessed import LastAccessed
from .monitoring import Monitoring
from .objects import Objects
from .protocol import Response
from .quotas import Quotas
from .records import Records
from .store import Store
from .tags import Tags

log = logging.getLogger(__name__)

ACCOUNT = "123456789012"
ALIVE = "alive"  # a file that the server touches every second
# What SageMaker calls its sessions of a role.
SESSION = "SageMaker"


class Cloud:
    """Everything behind the gateway. ``url`` is where the gateway listens, for what runs inside."""

    account = ACCOUNT

    def __init__(self, folder: Path, url: str, time_scale: float = 1.0) -> None:
        self.folder, self.url = folder, url
        self.identity = identity(folder)
        self.clock = Clock(time_scale)
        self.store = Store(folder / "documents.sqlite")
        self.tags = Tags(self.store)
        self.quotas = Quotas(self.store, self.clock)
        self.records = Records(folder / "records", self.account)
        self.administrator = administrator(self.records, folder)
        self.objects = Objects(self.records)
        self.metrics = Metrics(folder / "metrics.sqlite")
        self.monitoring = Monitoring(self.records, self.metrics)
        self.alarms = Alarms(self)
        self.last_accessed = LastAccessed(self.store)
        self.authorization = Authorization(self.records, self.tags, self.account, self.last_accessed)
        self.bucket_policies = BucketPolicies(self.store, self.records)
        self.authorization.add_resource_policies("s3", self.bucket_policies.of)
        self.credentials = Credentials(self.records, self.authorization, url)
        self.processes = Processes(self.identity)
        self.utilisation = Utilisation(self.identity, self.monitoring)
        self.training = TrainingEngine(self)
        self.tuning = TuningEngine(self)
        self.hosting = HostingEngine(self)
        self.functions = FunctionsEngine(self)
        self.authorization.add_resource_policies("lambda", self.functions.policies_of)
        self.instances = InstancesEngine(self)
        self.autoscaling = AutoScaling.of(self)

    def recover(self) -> None:
        """After a start: end what a killed server left running, and take up what it had."""
        left = self.processes.end_all()
        if left:
            log.warning("ended %d processes that the server before this one had left running", len(left))
        self.training.recover()
        self.tuning.recover()
        self.hosting.recover()
        self.functions.recover()
        self.instances.recover()
        self.autoscaling.start()
        self.alarms.start()

    def close(self) -> None:
        """End every process, save every record, though one of them fail. The next start takes up what was running."""
        engines = (self.instances, self.functions, self.hosting, self.tuning, self.training)
        kept = (self.metrics, self.records, self.last_accessed, self.store)
        all_of_it = (self.alarms, self.autoscaling, *engines, self.processes, self.utilisation, *kept)
        closings = [one.close for one in all_of_it]
        with ExitStack() as stack:
            for close in reversed(closings):  # the last one in is the first one out
                stack.callback(close)

    def last_alive(self) -> datetime | None:
        """When the server before this one was last seen, so that nobody is billed for the time without any."""
        path = self.folder / ALIVE
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None

    def workplace(self, *names: str) -> Path:
        """A folder of the state folder, made: where a job, an instance or a function has its files."""
        path = self.folder.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def objects_of(self, role_arn: str) -> Objects:
        """S3 as a role's policies let a service act for it; what they do not allow is ``AccessDenied``."""
        return self.objects.allowed_to(partial(self.authorization.require, role_arn, SESSION))

    def answer_internal(self, environ: dict[str, Any]) -> Response:
        """The addresses below ``/_localaws/``: for the CLI, and for containers that fetch their credentials."""
        path = environ["PATH_INFO"].removeprefix("/_localaws/")
        if path == "health":
            return Response(200, [("Content-Type", "application/json")], json.dumps({"id": self.identity}).encode())
        if path.startswith("credentials/"):
            authorization = environ.get("HTTP_AUTHORIZATION", "")
            try:
                return self.credentials.answer(path.removeprefix("credentials/"), authorization)
            except AwsError as error:
                return Response(403, [("Content-Type", "application/json")], json.dumps({"code": error.code}).encode())
        if path.startswith("function-code/"):
            return self.functions.answer_code(path.removeprefix("function-code/"))
        if path.startswith("instances/"):
            return self.instances.answer(path.removeprefix("instances/"), environ)
        return Response(404, [("Content-Type", "application/json")], b'{"code": "NotFound"}')
