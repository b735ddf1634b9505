"""An execution environment: where a function's code is initialised once and then handles one event after another.

See https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html: an environment outlives its runtime.
After a timeout or a crash the next invocation starts a new runtime in it ("suppressed init"), and an initialisation
that fails or takes more than ten seconds is tried once more, within the invocation's own time.
"""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ...credentials import Keys
from . import failures, report
from .code import TASK, CodeStore
from .failures import Failure
from .interpreter import ARCHITECTURE, LANG, VERSION, Interpreter
from .memory import MB, MemoryWatch
from .report import Report
from .runtime import Runtime, base_variables
from .runtime_api import Exited, Failed, InitFailed, Invocation, Ready, Responded, Signal, TooLarge
from .spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...monitoring import Monitoring
    from ..processes import Processes

INIT_SECONDS = 10.0
# Nobody waits for a provisioned environment, so it may take longer: this, or the function's timeout if that is more.
PROVISIONED_INIT_SECONDS = 130.0
ON_DEMAND, PROVISIONED = "on-demand", "provisioned-concurrency"
# The longest that an invocation can take, and some: credentials must not end in the middle of one.
FRESH = timedelta(minutes=20)
# What waits is renewed so long before that.
AHEAD = timedelta(minutes=3)
SLOT_SECONDS = 2.0


@dataclass(frozen=True)
class Host:
    """What every environment needs of the server."""

    folder: Path
    url: str
    processes: Processes
    monitoring: Monitoring
    code: CodeStore
    interpreter: Interpreter
    memory: MemoryWatch
    starts: threading.Semaphore
    init_seconds: float = INIT_SECONDS

    @contextmanager
    def start_slot(self) -> Iterator[None]:
        """Keep the number of runtimes that start at once near that of the cores, but never wait long for it.

        A function may call another while it is initialised: with a strict limit they could wait for each other.
        """
        got = self.starts.acquire(timeout=SLOT_SECONDS)
        try:
            yield
        finally:
            if got:
                self.starts.release()


@dataclass(frozen=True)
class Outcome:
    """What one invocation came to; ``log`` is what it wrote, Lambda's own lines among it."""

    payload: bytes
    function_error: str | None
    report: Report
    log: str


class Environment:
    """One environment of a spec; :meth:`initialise` it, then :meth:`invoke`, one invocation at a time."""

    def __init__(self, spec: Spec, host: Host, keys: Keys, initialization: str = ON_DEMAND) -> None:
        self.spec, self.initialization = spec, initialization
        self.idle_since = time.monotonic()
        self._host, self._keys = host, keys
        self._home = host.folder / uuid.uuid4().hex
        (self._home / "tmp").mkdir(parents=True)
        self._task_root = host.code.task_root(spec.code_sha256)
        # As on AWS, a traceback names /var/task and /var/lang; where these lie here is nobody's business.
        self._places = {str(self._task_root): TASK, str(host.interpreter.home): LANG}
        self._log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[{spec.version}]{self._home.name}"
        self._log = host.monitoring.log_stream(spec.region, spec.log_group, self._log_stream)
        self._runtime: Runtime | None = None
        self._ready = False
        self._init_ms: float | None = None
        self._peak_memory = 0
        self._said: list[str] = []

    @property
    def fresh(self) -> bool:
        """Whether its credentials last for one more invocation."""
        return remaining(self._keys) > FRESH

    @property
    def ageing(self) -> bool:
        """Whether it will soon be fresh no more."""
        return remaining(self._keys) <= FRESH + AHEAD

    def initialise(self) -> bool:
        """The init phase, which precedes the first invocation; that it failed shows in that invocation too."""
        self._log.write(report.init_start(self.spec.runtime, self.spec.region))
        asked, here = f"{self.spec.runtime} on {self.spec.architecture}", f"{VERSION} on {ARCHITECTURE}"
        if asked != here:
            self._log.write(f"The embedded AWS has no {asked}: {here} runs this function.")
        with self._host.start_slot():
            started = time.monotonic()
            signal = self._boot(self._init_seconds())
        took = (time.monotonic() - started) * 1000
        if isinstance(signal, Ready):
            self._init_ms = took
        else:
            self._abandon("init", took, self._failure("", signal))
        return isinstance(signal, Ready)

    def invoke(self, invocation: Invocation) -> Outcome:
        """Handle one event; whatever the function does, there is an outcome."""
        started = time.monotonic()
        init_ms, self._init_ms = self._init_ms, None
        failure = self._make_ready(invocation.request_id)
        self._say(f"START RequestId: {invocation.request_id} Version: {self.spec.version}")
        done = failure or self._handle(invocation, started + self.spec.timeout)
        took = (time.monotonic() - started) * 1000
        if isinstance(done, Failure) and done.status == report.TIMED_OUT:
            took = self.spec.timeout * 1000.0
        return self._conclude(invocation.request_id, done, took, init_ms)

    def end(self) -> None:
        """End its runtime and remove its files."""
        self._drop_runtime()
        self._log.flush()
        shutil.rmtree(self._home, ignore_errors=True)

    def kill(self) -> None:
        """End its runtime from another thread than the one that invokes; the invocation fails."""
        runtime = self._runtime
        if runtime is not None:
            runtime.kill()

    # ---- the phases ----

    def _boot(self, seconds: float) -> Signal | None:
        """Start a runtime and wait until it is ready; returns what it said first, None where it said nothing."""
        command = self._host.interpreter.command(self.spec.handler)
        runtime = Runtime(
            self._host.processes,
            command,
            self._task_root,
            self._variables(Path(command[0])),
            self.spec.memory_mb * MB,
            self._take_output,
        )
        self._runtime, self._ready = runtime, False
        with self._watched(runtime):
            signal = runtime.wait(seconds)
        self._ready = isinstance(signal, Ready)
        runtime.look_at_memory()
        runtime.drain()
        return signal

    def _init_seconds(self) -> float:
        if self.initialization == ON_DEMAND:
            return self._host.init_seconds
        return max(PROVISIONED_INIT_SECONDS, float(self.spec.timeout))

    def _make_ready(self, request_id: str) -> Failure | None:
        """A runtime that waits for an event; the failure, where there is none to be had."""
        if self._runtime is not None and not self._ready:
            self._ready = isinstance(self._runtime.wait(self.spec.timeout), Ready)
        if self._runtime is not None and self._ready and not self._runtime.exited:
            return None
        self._drop_runtime()
        started = time.monotonic()
        signal = self._boot(self.spec.timeout)
        if isinstance(signal, Ready):
            return None
        failure = self._failure(request_id, signal)
        self._abandon("invoke", (time.monotonic() - started) * 1000, failure)
        return failure

    def _handle(self, invocation: Invocation, deadline: float) -> Failure | Responded:
        runtime = self._runtime
        assert runtime is not None
        left = deadline - time.monotonic()
        self._ready = False
        with self._watched(runtime):
            runtime.offer(replace(invocation, deadline_ms=int((time.time() + left) * 1000)))
            signal = runtime.wait(deadline - time.monotonic())
        if not runtime.look_at_memory() and isinstance(signal, Responded):
            runtime.drain()
            return signal
        failure = self._failure(invocation.request_id, signal)
        if isinstance(signal, (Failed, TooLarge)) and not runtime.out_of_memory:
            runtime.drain()
        else:
            self._drop_runtime()
        return failure

    def _conclude(self, request_id: str, done: Failure | Responded, took: float, init_ms: float | None) -> Outcome:
        failure = done if isinstance(done, Failure) else None
        if failure is not None and failure.log is not None:
            self._say(failure.log)
        peak = max(self._peak_memory, self._runtime.peak_memory if self._runtime else 0)
        made = Report(
            request_id,
            took,
            self.spec.memory_mb,
            min(-(-peak // MB), self.spec.memory_mb),
            init_ms,
            failure.status if failure else None,
            # What was initialised beforehand is reported with the first event, and billed by another price.
            init_billed=self.initialization == ON_DEMAND,
        )
        self._say(f"END RequestId: {request_id}")
        self._say(made.line())
        said, self._said = self._said, []
        payload = self._as_on_aws(done.payload.decode(errors="replace")).encode() if failure else done.payload
        return Outcome(payload, "Unhandled" if failure else None, made, "\n".join(said) + "\n")

    def _failure(self, request_id: str, signal: Signal | None) -> Failure:
        if self._runtime is not None and self._runtime.out_of_memory:
            return failures.out_of_memory(request_id)
        match signal:
            case Failed(payload):
                return failures.reported(payload)
            case InitFailed(payload):
                return failures.init_failed(payload)
            case TooLarge(size):
                return failures.too_large(size)
            case Exited(code):
                return failures.exited(request_id, code)
            case _:
                return failures.timed_out(request_id, self.spec.timeout)

    def _abandon(self, phase: str, took: float, failure: Failure) -> None:
        """Give up a runtime that did not come up."""
        self._drop_runtime()
        self._say(report.init_report(took, phase, failure.status or report.EXITED))

    def _drop_runtime(self) -> None:
        runtime, self._runtime, self._ready = self._runtime, None, False
        if runtime is not None:
            runtime.close()
            self._peak_memory = max(self._peak_memory, runtime.peak_memory)

    # ---- what it is made of ----

    @contextmanager
    def _watched(self, runtime: Runtime) -> Iterator[None]:
        unwatch: Callable[[], None] = self._host.memory.watch(runtime)
        try:
            yield
        finally:
            unwatch()

    def _say(self, message: str) -> None:
        self._log.write(message)
        self._said.append(message)

    def _take_output(self, message: str) -> None:
        self._say(self._as_on_aws(message))

    def _as_on_aws(self, text: str) -> str:
        for here, there in self._places.items():
            text = text.replace(here, there)
        return text

    def _variables(self, python: Path) -> dict[str, str]:
        """The environment variables of https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html."""
        spec = self.spec
        return {
            **base_variables(python, self._home),
            "AWS_ENDPOINT_URL": self._host.url,
            **dict(spec.variables),
            **self._keys.environment(),
            "_HANDLER": spec.handler,
            "LAMBDA_TASK_ROOT": str(self._task_root),
            "LAMBDA_RUNTIME_DIR": str(python.parents[1]),
            "AWS_REGION": spec.region,
            "AWS_DEFAULT_REGION": spec.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self._log_stream,
            "AWS_LAMBDA_INITIALIZATION_TYPE": self.initialization,
        }


def remaining(keys: Keys) -> timedelta:
    """How long credentials last."""
    return datetime.fromisoformat(keys.expiration) - datetime.now(UTC)
