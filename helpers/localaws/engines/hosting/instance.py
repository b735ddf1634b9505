"""One instance of an endpoint: a process tree with the model unpacked at /opt/ml/model and its server on loopback."""

from __future__ import annotations

import collections
import contextlib
import secrets
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ...errors import AwsError
from ..container import ML, Container, cores
from ..processes import Child, marked
from ..stopping import CONTAINER
from . import model_server
from .metrics import Load
from .model_client import LOOPBACK, ModelClient, ModelTimeout, ModelUnreachable

if TYPE_CHECKING:
    from ...cloud import Cloud

SERVICE = "sagemaker.amazonaws.com"
MODEL = f"{ML}/model"
PING_SECONDS = 2.0
PING_AGAIN_SECONDS = 0.1
# In service: pinged this often (on a machine that has other things to do too, never more often than each second), and
# replaced when it has missed so many in a row.
PING_PERIOD_SECONDS, SHORTEST_PING_PERIOD_SECONDS, PINGS_MISSED = 10.0, 1.0, 3
# Loading a model is work, which no time scale makes shorter.
LOADING_SECONDS = 60.0
GRACE_SECONDS = 30.0
# An instance shares the cores with the server, its clients and other instances, but OpenMP's threads wait for others
# by spinning: with one of two cores taken by somebody else, a prediction of 5 ms took 200.
QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
BACKLOG = 2048
TAIL_LINES = 12
# A FailureReason has 1,024 characters, and an exception is what its log ends with.
TAIL_LENGTH = 700


class InstanceFailed(Exception):
    """The instance has not become healthy; the message says why, with the end of its log."""


@dataclass(frozen=True)
class Recipe:
    """What every instance of a variant is made from; ``archive`` is the folder of the unpacked model data."""

    region: str
    endpoint: str
    variant: str
    role: str
    environment: dict[str, str]
    archive: Path | None
    folder: Path
    threads: int
    startup_seconds: float

    @property
    def log_group(self) -> str:
        """Where the endpoint's instances log."""
        return f"/aws/sagemaker/Endpoints/{self.endpoint}"


class Instance:
    """An instance: start it once, send it requests through ``client``, stop it."""

    client: ModelClient

    def __init__(self, cloud: Cloud, recipe: Recipe) -> None:
        self.id = f"i-{secrets.token_hex(9)[:17]}"
        self.load = Load()
        self._cloud, self._recipe = cloud, recipe
        self._container = Container(recipe.folder / self.id)
        self._lock, self._stopping = threading.Lock(), False
        self._child: Child | None = None
        self._answers = False
        self._exited = threading.Event()
        self._ended, self._exit_code = threading.Event(), 0
        self._credentials = ""
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)

    @property
    def running(self) -> bool:
        """Whether its model server has started and not ended."""
        return self._child is not None and not self._ended.is_set()

    def await_end(self, seconds: float) -> None:
        """Give a model server that has just dropped a connection the moment it may take to be seen as ended."""
        self._ended.wait(seconds)

    # ---- starting ----

    def start(self, on_exit: Callable[[Instance], None]) -> None:
        """Start, and return when it is healthy; ``on_exit`` is called when it ends later without being stopped.

        Raises :class:`InstanceFailed`; :meth:`stop` is to be called then too.
        """
        self._log = self._cloud.monitoring.log_stream(
            self._recipe.region, self._recipe.log_group, f"{self._recipe.variant}/{self.id}"
        )
        try:
            self._place_model()
            environment = self._environment()
            with _listener() as listener:
                self.client = ModelClient(listener.getsockname()[1])
                self._spawn(environment, listener)
        except (AwsError, OSError) as error:
            raise InstanceFailed(str(error)) from error
        threading.Thread(target=self._watch, args=(on_exit,), name=f"watch {self.id}", daemon=True).start()
        self._wait_until_healthy()
        threading.Thread(target=self._keep_pinging, name=f"ping {self.id}", daemon=True).start()

    def _place_model(self) -> None:
        self._container.make_python()
        model = self._container.path(MODEL)
        if self._recipe.archive is None:
            model.mkdir()
            return
        # Each instance may write to its own model folder, and has its own /opt/ml in its text files.
        shutil.copytree(self._recipe.archive, model, symlinks=True)
        self._container.localise_files(model)

    def _environment(self) -> dict[str, str]:
        recipe = self._recipe
        arn = f"arn:aws:sagemaker:{recipe.region}:{self._cloud.account}:endpoint/{recipe.endpoint.lower()}"
        self._credentials, keys = self._cloud.credentials.vend(recipe.role, SERVICE, "SageMaker", arn)
        model, localise = self._container.localise(MODEL), self._container.localise
        given = {name: localise(value) for name, value in self._recipe.environment.items()}
        return {
            **self._container.environment(self._recipe.threads),
            **QUIET_THREADS,
            **given,
            CONTAINER: str(self._container.home),
            "PYTHONPATH": f"{model}:{given.get('PYTHONPATH', '')}".rstrip(":"),
            "SM_MODEL_DIR": model,
            "SM_NUM_CPUS": str(self._recipe.threads),
            "AWS_ENDPOINT_URL": self._cloud.url,
            "AWS_REGION": self._recipe.region,
            "AWS_DEFAULT_REGION": self._recipe.region,
            **keys,
        }

    def _spawn(self, environment: dict[str, str], listener: socket.socket) -> None:
        with self._lock:
            if self._stopping:
                raise InstanceFailed("it was stopped before it had started")
            self._write(f"{self.id} starts with {self._recipe.threads} of this machine's {cores()} cores.")
            self._child = self._cloud.processes.spawn(
                # -P: the folder of the server's own file is no place for the model's imports.
                [str(self._container.python), "-P", model_server.__file__, str(listener.fileno())],
                cwd=self._container.path(MODEL),
                env=environment,
                on_line=self._write,
                name=f"{self._recipe.endpoint} {self._recipe.variant}/{self.id}",
                pass_fds=(listener.fileno(),),
            )

    def _wait_until_healthy(self) -> None:
        clock = self._cloud.clock
        scaled = clock.deadline(self._recipe.startup_seconds)
        loading = max(scaled, clock.monotonic() + LOADING_SECONDS)
        while (why := self._ping()) is not None:
            # A server that answers has loaded; what it waits for now is not work, so the time scale counts.
            over = clock.monotonic() >= (scaled if self._answers else loading)
            if self._exited.wait(PING_AGAIN_SECONDS) or over:
                raise InstanceFailed(self._explain(why))

    def _ping(self) -> str | None:
        """None where the server is healthy; else what is wrong."""
        try:
            # The socket listens before the server runs, so this waits in its queue: nothing is polled.
            status = self.client.request("GET", "/ping", b"", {}, PING_SECONDS).status
        except ModelTimeout:
            return f"/ping was not answered within {PING_SECONDS:g} s"
        except ModelUnreachable as error:
            return f"/ping failed: {error}"
        self._answers = True
        return None if status == 200 else f"/ping answered {status}"

    def _keep_pinging(self) -> None:
        """Until it ends; one that does not answer any more is killed, and so replaced."""
        period = max(SHORTEST_PING_PERIOD_SECONDS, PING_PERIOD_SECONDS / self._cloud.clock.scale)
        missed = 0
        while not self._ended.wait(period) and not self._stopping:
            why = self._ping()
            missed = missed + 1 if why is not None else 0
            if missed >= PINGS_MISSED and not self._stopping:
                self._write(f"{self.id} is unhealthy, and is replaced: {why}, {missed} times in a row.")
                self.kill()
                return

    def _explain(self, why: str) -> str:
        if self._exited.is_set():
            ended = f"signal {-self._exit_code}" if self._exit_code < 0 else f"code {self._exit_code}"
            why = f"the server exited with {ended}"
        return f"{why}; the end of its log: " + "\n".join(self._tail)[-TAIL_LENGTH:]

    # ---- ending ----

    def stop(self, grace: float) -> None:
        """SIGTERM, then after ``grace`` seconds SIGKILL; returns when nothing of it is left. Twice is no error."""
        with self._lock:
            self._stopping = True
        if self._child is not None:
            self._child.signal(signal.SIGTERM)
            if not self._exited.wait(grace):
                self._child.signal(signal.SIGKILL)
                self._exited.wait()
            self.client.close()
            self._log.flush()
        if self._credentials:
            self._cloud.credentials.revoke(self._credentials)
        shutil.rmtree(self._container.home, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL, as when a machine fails: for the variant it is gone without notice."""
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    def _watch(self, on_exit: Callable[[Instance], None]) -> None:
        assert self._child is not None
        self._exit_code = self._child.wait() or 0
        self._ended.set()
        # What the server has started ends with it, as in a container; until then its log is not complete.
        self._child.signal(signal.SIGKILL)
        self._end_strays()
        self._child.finish_output()
        self._exited.set()
        if not self._stopping:
            on_exit(self)

    def _end_strays(self) -> None:
        """SIGKILL what left the process group; it still has the instance's home."""
        for process in marked(self._cloud.identity):
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("HOME") == str(self._container.home / "root"):
                    process.kill()

    def _write(self, line: str) -> None:
        self._tail.append(line)
        self._log.write(line)


@contextlib.contextmanager
def _listener() -> Iterator[socket.socket]:
    """A listening socket, to be handed to the server: no other process can take its port in between."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen(BACKLOG)
        yield listener


__all__ = ["GRACE_SECONDS", "Instance", "InstanceFailed", "Recipe"]
