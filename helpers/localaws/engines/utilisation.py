"""How much of its instance a training host or an endpoint's instance uses: measured from its processes, published.

Metrics, units and dimensions are AWS's: ``CPUUtilization`` (100 per cent *per core*, summed over the cores),
``MemoryUtilization`` and ``DiskUtilization``, in ``/aws/sagemaker/TrainingJobs`` by ``Host`` (``<job>/algo-1``) and in
``/aws/sagemaker/Endpoints`` by ``EndpointName`` and ``VariantName`` (one point from each instance).
https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html

What they are a share of: memory is that of the instance type (moto's copy of AWS's table; this machine's for a type
that is not in it), disk is ``VolumeSizeInGB`` (or the type's own disks, or 30 GB), and a core is one of *this machine*:
an ml.c5.2xlarge has 8 vCPUs, and its host here can use no more than there are. AWS publishes once a minute. Here a
point is published every two seconds of real time, with high resolution, so that a job of 30 seconds has a curve too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from .cloudwatch.metrics import HIGH
from .instances.types import disk_gb, memory_gib
from .processes import MARK
from .stopping import CONTAINER
from .volumes import GB, used

if TYPE_CHECKING:
    from ..monitoring import Monitoring

log = logging.getLogger(__name__)

SECONDS = 2.0
TRAINING, ENDPOINTS = "/aws/sagemaker/TrainingJobs", "/aws/sagemaker/Endpoints"
DEFAULT_DISK_GB = 30
# Counting a disk's files takes long where there are thousands: each instance's may take this share of a core.
DISK_SHARE = 0.001
# A process is another program's until it has called exec: what is that young is looked at again.
YOUNG_SECONDS = 5.0


@dataclass
class Watched:
    """One instance: where its files are, what its metrics are called, and what the last look found."""

    region: str
    namespace: str
    dimensions: dict[str, str]
    folder: Path
    memory_bytes: float
    disk_bytes: float
    cpu_seconds: float | None = None
    looked: float = 0.0
    disk_percent: float | None = None
    disk_due: float = 0.0


@dataclass(frozen=True)
class Use:
    """What the processes of an instance have used up to now (CPU), and use now (memory)."""

    cpu_seconds: float = 0.0
    memory_bytes: float = 0.0


def training_host(region: str, job: str, name: str, folder: Path, resources: dict[str, Any]) -> Watched:
    """A training job's host; ``resources`` is the job's ResourceConfig."""
    kind = resources["InstanceType"].removeprefix("ml.")
    disk = (disk_gb(kind) or resources.get("VolumeSizeInGB") or DEFAULT_DISK_GB) * GB
    return Watched(region, TRAINING, {"Host": f"{job}/{name}"}, folder.resolve(), _memory(kind), disk)


def endpoint_instance(region: str, endpoint: str, variant: str, folder: Path, plan: dict[str, Any]) -> Watched:
    """An endpoint's instance; ``plan`` is its variant's configuration."""
    kind = plan.get("InstanceType", "").removeprefix("ml.")
    disk = (disk_gb(kind) or plan.get("VolumeSizeInGB") or DEFAULT_DISK_GB) * GB
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    return Watched(region, ENDPOINTS, dimensions, folder.resolve(), _memory(kind), disk)


def _memory(kind: str) -> float:
    return (memory_gib(kind) or psutil.virtual_memory().total / GB) * GB


class Utilisation:
    """One thread that looks at all instances."""

    def __init__(self, identity: str, monitoring: Monitoring) -> None:
        self._identity, self._monitoring = identity, monitoring
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._watched: dict[Path, Watched] = {}
        self._known: dict[psutil.Process, Path | None] = {}  # their containers; None: not one of ours
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="utilisation", daemon=True)
        self._thread.start()

    def watch(self, instance: Watched) -> None:
        """Measure an instance from now on, until its folder is gone."""
        with self._lock:
            self._watched[instance.folder] = instance
        self._wanted.set()

    def close(self) -> None:
        """Measure no more."""
        self._closed.set()
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wanted.wait()
            self._closed.wait(SECONDS)
            try:
                self.look()
            except Exception:
                log.exception("the utilisation could not be measured")

    def look(self) -> None:
        """Measure every instance once, and publish what it has used since the last look."""
        with self._lock:
            self._watched = {folder: one for folder, one in self._watched.items() if folder.is_dir()}
            watched = list(self._watched.values())
            if not watched:
                self._wanted.clear()
        if watched and not self._closed.is_set():
            uses = self._uses([one.folder for one in watched])
            for one in watched:
                self._publish(one, uses.get(one.folder))

    def _uses(self, folders: Sequence[Path]) -> dict[Path, Use]:
        """What the processes of each folder use, of those that have any."""
        processes: dict[Path, list[psutil.Process]] = {}
        for process in self._ours():
            container = self._known[process]
            home = next((one for one in folders if container is not None and container.is_relative_to(one)), None)
            if home is not None:
                processes.setdefault(home, []).append(process)
        return {folder: measured(some) for folder, some in processes.items()}

    def _ours(self) -> list[psutil.Process]:
        """Every process of a container. A process is asked once for its environment, which is what takes time."""
        known, now = self._known, time.time()
        seen: dict[psutil.Process, Path | None] = {}
        young: set[psutil.Process] = set()
        for process in psutil.process_iter():
            try:
                if process not in known:
                    seen[process] = self._container(process)
                    if now - process.create_time() < YOUNG_SECONDS and seen[process] is None:
                        young.add(process)
                else:
                    seen[process] = known[process]
            except (psutil.Error, OSError):
                continue
        self._known = {process: home for process, home in seen.items() if process not in young}
        return [process for process, home in seen.items() if home is not None]

    def _container(self, process: psutil.Process) -> Path | None:
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            return None
        folder = environment.get(CONTAINER)
        return Path(folder) if folder and environment.get(MARK) == self._identity else None

    def _publish(self, one: Watched, use: Use | None) -> None:
        now = time.monotonic()
        if use is None:
            return
        before, elapsed = one.cpu_seconds, now - one.looked
        one.cpu_seconds, one.looked = use.cpu_seconds, now
        if before is None:
            return
        self._look_at_disk(one, now)
        percents = {
            "CPUUtilization": 100 * max(0.0, use.cpu_seconds - before) / elapsed,
            "MemoryUtilization": 100 * use.memory_bytes / one.memory_bytes,
            "DiskUtilization": one.disk_percent or 0.0,
        }
        at = datetime.now(UTC)  # one moment for all three, so that they can be read side by side
        for name, value in percents.items():
            self._monitoring.publish(one.region, one.namespace, name, value, one.dimensions, "Percent", at, HIGH)

    @staticmethod
    def _look_at_disk(one: Watched, now: float) -> None:
        if now < one.disk_due:
            return
        started = time.thread_time()
        one.disk_percent = 100 * used(one.folder) / one.disk_bytes
        one.disk_due = now + (time.thread_time() - started) / DISK_SHARE


def measured(processes: Sequence[psutil.Process]) -> Use:
    """What the processes of one instance use together.

    Of a process that has ended, its parent keeps the time, so nothing is lost where the parent is one of them. Shared
    pages (libraries, mostly the same in all) count once.
    """
    cpu, private, shared = 0.0, 0.0, 0.0
    for process in processes:
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
        except psutil.Error:
            continue
        cpu += times.user + times.system + times.children_user + times.children_system
        common = getattr(memory, "shared", 0)
        private += memory.rss - common
        shared = max(shared, common)
    return Use(cpu, private + shared)
