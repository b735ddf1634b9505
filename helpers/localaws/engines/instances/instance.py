"""One instance from launch to termination: its states, its boots, and what it publishes meanwhile.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html

AWS takes 10 to 60 seconds until an instance is running and some minutes until its status checks have passed; here that
is :data:`PENDING` and :data:`CHECKING` seconds of the clock, and there is no system to boot.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...credentials import HOUR, Keys
from ...errors import AwsError, NotImplementedHere
from ..container import cores
from ..processes import Child
from . import images
from .console import Console
from .facts import facts_of
from .machine import LOG, OTHER_FORMATS, Machine, script_of
from .metadata import Facts, Metadata
from .record import Reason, Record, user_data
from .types import vcpus

if TYPE_CHECKING:
    from ...cloud import Cloud

log = logging.getLogger(__name__)

PENDING, CHECKING = 5.0, 20.0
SHUTDOWN = 30.0  # how long the system waits for its processes before it kills them
LEAST_SHUTDOWN = 5.0  # real seconds: to end is a process's own work, which no time scale makes faster
LAST_WORDS = 10.0  # at most so long for what its processes have written to be read, once they have ended
BASIC, DETAILED = 300.0, 60.0  # metric periods
CREDENTIALS_LAST = 6 * HOUR
RENEWED_BEFORE = 15 * 60
CLOSING = "Server.ScheduledStop"  # the reason of a stop that the server's own end brings about
LONGEST_USER_DATA = 16_384  # bytes, before base64
TABLE = "ec2-instance"


class Ask(Enum):
    """What a running instance can be asked for."""

    STOP = "stopped"
    TERMINATE = "terminated"
    REBOOT = "rebooted"


class Instance:
    """A launched instance. :meth:`boot` it; :meth:`ask` it to stop, to reboot or to go."""

    def __init__(self, cloud: Cloud, region: str, identifier: str, secret: str) -> None:
        self.cloud, self.region, self.id, self.secret = cloud, region, identifier, secret
        folder = cloud.workplace("instances", identifier)
        self.machine = Machine(folder, cloud.identity, region)
        self.console = Console(folder / "console.log")
        self.record = Record(cloud.records, region, identifier)
        self._metadata = Metadata(cloud.clock.monotonic)
        self._lock = threading.RLock()
        self._system = threading.Lock()  # held while a process is started, so that none is while all are ended
        self._up = False
        self._thread: threading.Thread | None = None
        self._user_data: tuple[Child, threading.Thread] | None = None
        self._awake = False  # from a boot until it has come to rest
        self._asked = threading.Event()
        self._ask: Ask | None = None
        self._reason: Reason | None = None
        self._power: threading.Timer | None = None
        self._keys: tuple[str, float, Keys] | None = None
        self._checked_at = 0.0

    # ---- asked from outside ----

    def boot(self) -> None:
        """Start; the record is pending already."""
        with self._lock:
            self._asked.clear()
            self._ask = self._reason = None
            self._awake = True
            self._thread = threading.Thread(target=self._live, name=f"instance {self.id}", daemon=True)
            self._thread.start()

    def start(self) -> None:
        """Boot a stopped instance again, with the disk it had; does nothing where it is no longer stopped."""

        def launched(moto: Any) -> None:
            moto.launch_time = self.cloud.clock.now().replace(tzinfo=None)

        with self._lock:
            if self.record.state == "stopped":
                self.record.change(launched)
                self.record.enter("pending")
                self.boot()

    def ask(self, ask: Ask, code: str) -> None:
        """Stop, reboot or terminate, for a reason of :data:`record.REASONS`; a termination overrides a stop."""
        with self._lock:
            reason = Reason(code, self.cloud.clock.now())
            overridden = self._ask is not None and (ask is Ask.REBOOT or self._ask is Ask.TERMINATE)
            if overridden or (ask is not Ask.TERMINATE and not self._awake):
                return
            if ask is not Ask.REBOOT:
                self.record.enter("stopping" if ask is Ask.STOP else "shutting-down", reason)
            self._ask, self._reason = ask, reason
            self._asked.set()
            if not self._awake:
                self._come_to_rest(ask, reason)

    def join(self, seconds: float) -> None:
        """Wait until it has come to rest."""
        if self._thread is not None:
            self._thread.join(seconds)

    def abandon(self) -> None:
        """The server is about to end, and ends all processes: let the record say so."""
        with self._lock:
            self._ask = Ask.TERMINATE if self.record.state == "shutting-down" else Ask.STOP
            self._reason = Reason(CLOSING, self.cloud.clock.now())
            self._asked.set()
        with self._system:
            self._up = False

    def shut_down(self, action: str, seconds: float) -> None:
        """What the system's own ``shutdown`` asks for: ``off``, ``reboot``, or ``cancel`` of an earlier one."""
        with self._lock:
            if self._power is not None:
                self._power.cancel()
            if action == "cancel":
                self.console.write("the shutdown is cancelled", "systemd-logind")
                return
            self.console.write(
                f"System is powering {action}{f' in {seconds:.0f} s' if seconds else ''}", "systemd-logind"
            )
            # The instance's own timer, not a wait of AWS: it is not shortened.
            self._power = threading.Timer(seconds, self._power_off, [action, self._thread])
            self._power.daemon = True
            self._power.start()

    def run(
        self, script: str, name: str, on_line: Callable[[str], None], errors: Path | None = None, **environment: str
    ) -> Child:
        """Start a script in the instance, beside whatever runs there; see :meth:`Machine.run`.

        Raises ``OSError`` also where the system is not up (any more).
        """
        with self._system:
            if not self._up:
                raise OSError("the instance's system is not running")
            everything = {**self._environment(), **environment}
            return self.machine.run(self.cloud.processes, script, name, everything, on_line, errors)

    @property
    def up(self) -> bool:
        """Whether the system has started, so that scripts can be run in it."""
        return self._up

    @property
    def checks_passed(self) -> bool:
        """Whether the status checks have passed since the last boot."""
        return self.record.state == "running" and self.cloud.clock.monotonic() >= self._checked_at

    # ---- metadata ----

    def answer_metadata(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str, int | None]:
        """Answer the instance's question about itself: status, body, and the seconds a token lives."""
        options = self.record.moto.metadata_options
        if options.http_endpoint != "enabled":
            return 403, "Forbidden", None
        facts = self.facts()
        required = options.http_tokens == "required"
        answer = self._metadata.answer(method, path, headers, facts, tokens_required=required)
        return answer.status, answer.body, answer.ttl

    def facts(self) -> Facts:
        """Everything the metadata service knows."""
        return facts_of(self.record, self.cloud.clock.now(), self._credentials)

    def _credentials(self, role_arn: str) -> Keys:
        """The role's credentials, renewed a quarter of an hour before they end. Raises ``AccessDenied``."""
        with self._lock:
            now = self.cloud.clock.monotonic()
            if self._keys is None or self._keys[0] != role_arn or now > self._keys[1]:
                keys = self.cloud.credentials.assume(role_arn, "ec2.amazonaws.com", self.id, CREDENTIALS_LAST)
                self._keys = (role_arn, now + CREDENTIALS_LAST - RENEWED_BEFORE, keys)
            return self._keys[2]

    # ---- its life ----

    def _live(self) -> None:
        try:
            self.cloud.clock.wait(self._asked, PENDING)
            with self._lock:
                if self._ask is None:
                    self._checked_at = self.cloud.clock.deadline(CHECKING)
                    self.record.enter("running")
            if not self._asked.is_set():
                self._start_system()
            ask, reason = self._stay()
            self._come_to_rest(ask, reason)
        except Exception:
            log.exception("instance %s", self.id)
            self.console.write("the instance failed; the embedded AWS's log says why")
            self._end_system(0.0)
            with self._lock:
                ended = "terminated" if self._ask is Ask.TERMINATE else "stopped"
                self.record.enter(ended, Reason("Server.InternalError", self.cloud.clock.now()))
                self._awake = False

    def _stay(self) -> tuple[Ask, Reason]:
        """Run until asked to end; publish metrics and reboot meanwhile."""
        started, used = self.cloud.clock.monotonic(), 0.0
        while True:
            period = DETAILED if self.record.moto.monitored else BASIC
            asked = self.cloud.clock.wait(self._asked, period)
            if not self._closing:
                started, used = self._publish(started, used)
            if not asked:
                continue
            with self._lock:
                assert self._ask is not None
                assert self._reason is not None
                if self._ask is not Ask.REBOOT:
                    return self._ask, self._reason
                self._ask = None
                self._asked.clear()
            self._end_system(self._shutdown)
            self.console.write("reboot: Restarting system", "kernel")
            self._start_system()
            used = 0.0

    def _come_to_rest(self, ask: Ask, reason: Reason) -> None:
        if self._power is not None:
            self._power.cancel()
        # The server ends the processes of all instances at once.
        self._end_system(None if reason.code == CLOSING else self._shutdown)
        # It may have been asked to terminate while it was stopping.
        with self._lock:
            ask, reason = self._ask or ask, self._reason or reason
            self.console.write("reboot: Power down", "kernel")
            if ask is Ask.TERMINATE:
                self.machine.remove()
            self.record.enter(ask.value, reason)
            self._awake = False

    def _end_system(self, grace: float | None) -> None:
        """Start no more processes, end those that run (None: somebody else does), and read what they have written."""
        with self._system:
            self._up = False
        if grace is not None:
            self.machine.end(grace)
        if self._user_data is not None:
            child, awaiting = self._user_data
            awaiting.join(LAST_WORDS)
            child.finish_output(LAST_WORDS)

    def _start_system(self) -> None:
        self.console.boot()
        instance = self.record.moto
        image = images.find(self.region, instance.image_id)
        first = not self.machine.made
        if first:
            self.machine.make(image, self._url)
        share = f"{self._threads} of this machine's {cores()} cores for {vcpus(instance.instance_type)} vCPUs"
        self.console.write(
            f"{instance.instance_type} {self.id}, boot: {share}; processes of the user that runs the server"
        )
        with self._system:
            self._up = not self._closing
        if first and user_data(instance):
            self._run_user_data(script_of(user_data(instance)))

    def _run_user_data(self, script: str) -> None:
        if not script.startswith("#!"):
            self.console.write(
                f"Unhandled non-multipart (text/x-not-multipart) userdata: {script[:40]!r}...", "cloud-init"
            )
            return
        path = self.machine.root / LOG
        file = path.open("a", encoding="utf-8", buffering=1)

        def say(line: str) -> None:
            self.console.write(line, "cloud-init")
            if not file.closed:
                file.write(line + "\n")

        say("running user data: " + script.split("\n", 1)[0])
        try:
            child = self.run(script, "user-data", say)
        except OSError as error:
            say(f"Failed to run module scripts-user: {error}")
            return
        awaiting = threading.Thread(target=self._await_user_data, args=(child, say), daemon=True)
        awaiting.start()
        self._user_data = (child, awaiting)

    def _await_user_data(self, child: Child, say: Callable[[str], None]) -> None:
        code = child.wait()
        child.finish_output()
        ended = "finished" if code == 0 else f"Failed to run module scripts-user: exit code {code}"
        say(f"user data {ended}")

    def _power_off(self, action: str, life: threading.Thread | None) -> None:
        with self._lock:
            if self._thread is not life:
                return  # it was asked for before the instance was stopped and started
            if action == "reboot":
                self.ask(Ask.REBOOT, "Client.InstanceInitiatedShutdown")
            elif self.record.state == "running":
                terminate = self.record.moto.instance_initiated_shutdown_behavior == "terminate"
                self.ask(Ask.TERMINATE if terminate else Ask.STOP, "Client.InstanceInitiatedShutdown")

    def _publish(self, started: float, used: float) -> tuple[float, float]:
        """Publish what has been since ``started``; returns the present moment and the seconds used until now."""
        now, total = self.cloud.clock.monotonic(), self.machine.cpu_seconds()
        elapsed = max(now - started, 0.001)
        percent = 100.0 * max(0.0, total - used) / elapsed / vcpus(self.record.moto.instance_type)
        of = {"InstanceId": self.id}
        publish = self.cloud.monitoring.publish
        publish(self.region, "AWS/EC2", "CPUUtilization", min(percent, 100.0), of, "Percent")
        for check in ("StatusCheckFailed", "StatusCheckFailed_Instance", "StatusCheckFailed_System"):
            publish(self.region, "AWS/EC2", check, 0.0, of, "Count")
        return now, total

    @property
    def _url(self) -> str:
        return f"{self.cloud.url}/_localaws/instances/{self.secret}"

    @property
    def _closing(self) -> bool:
        return self._reason is not None and self._reason.code == CLOSING

    @property
    def _shutdown(self) -> float:
        """How many seconds the processes have to end by themselves."""
        return max(SHUTDOWN / self.cloud.clock.scale, LEAST_SHUTDOWN)

    @property
    def _threads(self) -> int:
        return max(1, min(cores(), vcpus(self.record.moto.instance_type)))

    def _environment(self) -> dict[str, str]:
        extra = {"AWS_ENDPOINT_URL": self.cloud.url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self._url}/imds"}
        return self.machine.environment(self._threads, extra)


def check_user_data(given: bytes) -> None:
    """Raises :class:`AwsError` for user data that is too long, or in a format that is not imitated."""
    if len(given) > LONGEST_USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {LONGEST_USER_DATA} bytes")
    begins = script_of(given)
    for form in OTHER_FORMATS:
        if begins.startswith(form):
            raise NotImplementedHere(f"user data in the format '{form}'", "Scripts (#!) run.")
