"""One instance of a training job: its folder tree by the /opt/ml contract, and the process that trains in it.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store import Document
from . import channels, stopping
from .container import ML, Container, cores
from .processes import Child, Processes

GROUP = "homogeneousCluster"
LOOPBACK_INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
CHECKPOINTS = f"{ML}/checkpoints"
# Channels that hold code, by the SageMaker SDK's names: each host has copies of its own, with its own paths in them.
CODE, DRIVERS = "code", "sm_drivers"
TOOLKIT = "sagemaker_training"
# multiprocessing makes sockets below the temporary folder; their whole path must be shorter than 108 characters.
LONGEST_TEMPORARY = 70
TEMPORARY = "localaws-"
TAIL = 12  # log lines that a failure quotes
NOT_FOUND = 127  # a shell's exit code for a command that cannot be run
# For reading what was written until the end. The pipe ends with the container's processes, so this is only for one that
# got away; on a busy machine, a script's last lines take their time, and are part of its log and its metrics.
OUTPUT_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """A training job as its hosts see it; ``request`` holds CreateTrainingJob's members.

    ``identity`` is the state folder's id, which all processes carry; ``port`` is torchrun's.
    """

    identity: str
    region: str
    arn: str
    request: Document
    folder: Path
    port: int

    @property
    def name(self) -> str:
        """The training job's name."""
        return str(self.request["TrainingJobName"])

    @property
    def hosts(self) -> list[str]:
        """Names of the instances, in rank order."""
        return [f"algo-{rank}" for rank in range(1, self.request["ResourceConfig"]["InstanceCount"] + 1)]

    @property
    def inputs(self) -> Path:
        """The channels' objects, as they were read for all hosts."""
        return self.folder / "input"

    @property
    def threads(self) -> int:
        """Each instance's share of this machine's cores."""
        return max(1, cores() // len(self.hosts))

    @property
    def code_channels(self) -> set[str]:
        """Channels that are run rather than read: the SDK's, and those that the entry point lies in."""
        command = " ".join(command_of(self.request["AlgorithmSpecification"]))
        mentioned = set(re.findall(rf"{ML}/input/data/([A-Za-z0-9._-]+)/", command))
        return {CODE, DRIVERS} | mentioned


def command_of(algorithm: Mapping[str, Any]) -> list[str]:
    """What the container runs: the entry point, or else the image's own ``train`` (the sagemaker-training toolkit)."""
    entrypoint = algorithm.get("ContainerEntrypoint") or ["train"]
    return [*entrypoint, *algorithm.get("ContainerArguments", [])]


def has_toolkit() -> bool:
    """Whether the toolkit that gives images their ``train`` command is installed."""
    return importlib.util.find_spec(TOOLKIT) is not None


class TrainingHost:
    """One instance. Make it, :meth:`prepare` it, :meth:`start` it, :meth:`wait` for it or :meth:`stop` it."""

    def __init__(self, job: Job, name: str) -> None:
        self.job, self.name = job, name
        self.container = Container(job.folder / name)
        self.exit_code: int | None = None
        self.ended = math.inf  # when its first process ended, in seconds that never go back
        self.torn: set[Path] = set()  # files that were being written when the host was ended
        self._ended_for = ""
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._child: Child | None = None

    # ---- before ----

    def prepare(self, inputs: Mapping[str, Sequence[channels.Item]]) -> None:
        """Lay out the tree: folders, Python, configuration, and this host's share of the job's inputs."""
        for folder in ("model", "output/data", "input/data", "input/config"):
            (self.container.ml / folder).mkdir(parents=True, exist_ok=True)
        self.container.make_python([("train", f"{TOOLKIT}.cli.train")])
        for channel in self.job.request.get("InputDataConfig", []):
            self._place(channel, inputs[channel["ChannelName"]])
        self._rewire_drivers()
        for name, document in self._configuration().items():
            (self.container.ml / "input" / "config" / f"{name}.json").write_text(json.dumps(document))

    def checkpoints(self) -> Path:
        """Where this host has its checkpoints."""
        return self.container.path(self.job.request["CheckpointConfig"].get("LocalPath", CHECKPOINTS))

    def being_written(self) -> set[Path]:
        """The files that the host's processes have open for writing."""
        return stopping.open_for_writing(stopping.processes_below(self.job.identity, self.container.home))

    def _place(self, channel: Document, items: Sequence[channels.Item]) -> None:
        name, rank = channel["ChannelName"], self.job.hosts.index(self.name)
        distribution = channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated")
        mine = channels.share(items, distribution, rank, len(self.job.hosts))
        folder, is_code = self.container.ml / "input" / "data" / name, name in self.job.code_channels
        channels.place(mine, self.job.inputs / name, folder, copies=is_code)
        if is_code:
            self.container.localise_files(folder)

    def _rewire_drivers(self) -> None:
        """The SDK's drivers expect a network where hosts have names; ours are all on this machine's loopback."""
        drivers = self.container.ml / "input" / "data" / DRIVERS
        path = drivers / "scripts" / "environment.py"
        if not path.exists():
            return
        text = path.read_text()
        for pattern, constant in (
            (r"^SM_MASTER_ADDR = .*$", 'SM_MASTER_ADDR = "127.0.0.1"'),
            (r"^SM_MASTER_PORT = .*$", f"SM_MASTER_PORT = {self.job.port}"),
            (r"multiprocessing\.cpu_count\(\)", str(self.job.threads)),
        ):
            text, replaced = re.subn(pattern, constant, text, flags=re.MULTILINE)
            if not replaced:
                raise RuntimeError(f"the SageMaker SDK's driver {path.name} has no {pattern!r} to replace")
        path.write_text(text)
        # It loads PyTorch to read its version, and then holds 300 MB for as long as the job lasts: an instance has them
        # to spare, but here all instances share one machine's memory.
        torchrun = drivers / "distributed_drivers" / "torchrun_driver.py"
        if torchrun.exists():
            text = torchrun.read_text().replace("    import torch\n", "    from importlib.metadata import version\n")
            torchrun.write_text(text.replace("torch.__version__", 'version("torch")'))

    def _configuration(self) -> dict[str, Any]:
        request, hosts = self.job.request, self.job.hosts
        kind = request["ResourceConfig"]["InstanceType"]
        return {
            "hyperparameters": {
                name: self.container.localise(value) for name, value in request.get("HyperParameters", {}).items()
            },
            "inputdataconfig": {
                channel["ChannelName"]: _channel_configuration(channel)
                for channel in request.get("InputDataConfig", [])
            },
            "resourceconfig": {
                "current_host": self.name,
                "current_instance_type": kind,
                "current_group_name": GROUP,
                "hosts": hosts,
                "instance_groups": [{"instance_group_name": GROUP, "instance_type": kind, "hosts": hosts}],
                "network_interface_name": LOOPBACK_INTERFACE,
            },
        }

    # ---- running ----

    def start(self, processes: Processes, environment: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        """Start the container's command; ``environment`` is added to that of the image and the contract."""
        command = [self.container.localise(word) for word in command_of(self.job.request["AlgorithmSpecification"])]

        def read(line: str) -> None:
            line = self.container.generalise(line)
            self._tail.append(line)
            on_line(line)

        try:
            self._child = processes.spawn(
                command,
                cwd=self.container.home,
                env={**self._environment(), **environment},
                on_line=read,
                name=f"{self.job.name}/{self.name}",
            )
        except OSError as error:
            read(f"{command_of(self.job.request['AlgorithmSpecification'])[0]}: {error.strerror}")
            self.exit_code, self.ended = NOT_FOUND, time.monotonic()

    def wait(self) -> int:
        """Wait for the end; the exit code, as a container engine tells it (128 + the signal that killed it)."""
        if self._child is not None and self.exit_code is None:
            code = self._child.wait()
            assert code is not None
            self.ended = min(self.ended, time.monotonic())
            try:
                self._end_container()
            finally:
                self.exit_code = code if code >= 0 else 128 - code
        assert self.exit_code is not None
        return self.exit_code

    def stop(self, seconds: float) -> None:
        """End everything in the container, leaving it ``seconds`` after SIGTERM (0: SIGKILL at once)."""
        if self._child is None or not self._child.running:
            return
        if seconds > 0:
            stopping.terminate(self.job.identity, self.container.home)
            self._child.wait(seconds)
        self._end_container()

    def end(self, reason: str) -> None:
        """End everything in the container at once; ``reason`` is then the failure's."""
        self._ended_for = reason
        self.stop(0.0)

    def _end_container(self) -> None:
        """A container ends with its first process: what that leaves behind is killed."""
        assert self._child is not None
        self.torn |= stopping.kill(self.job.identity, self.container.home)
        self._child.signal(signal.SIGKILL)
        self._child.finish_output(OUTPUT_SECONDS)

    def threads_line(self) -> str:
        """What the first line of the log says about processor cores."""
        count = len(self.job.hosts)
        each = f" for each of {count} instances" if count > 1 else ""
        return f"[localaws] {self.name}: {self.job.threads} of {cores()} cores{each}"

    def _environment(self) -> dict[str, str]:
        request = self.job.request
        return {
            **self.container.environment(self.job.threads),
            "TMPDIR": str(temporary_folder(self.container.home)),
            "TRAINING_JOB_NAME": self.job.name,
            "TRAINING_JOB_ARN": self.job.arn,
            "AWS_REGION": self.job.region,
            "AWS_DEFAULT_REGION": self.job.region,
            "GLOO_SOCKET_IFNAME": LOOPBACK_INTERFACE,
            # torchrun's own default is one port for all jobs of a machine, which an instance of AWS has to itself.
            "PET_MASTER_PORT": str(self.job.port),
            # For the toolkit: its folder, and no waiting until the hosts' names resolve.
            "SAGEMAKER_BASE_DIR": str(self.container.ml),
            "SM_STUDIO_LOCAL_MODE": "true",
            **{name: self.container.localise(value) for name, value in request.get("Environment", {}).items()},
            stopping.CONTAINER: str(self.container.home),
        }

    # ---- after ----

    def failure(self) -> str:
        """FailureReason, for a host that ended with an exit code other than 0."""
        path = self.container.ml / "output" / "failure"
        written = path.read_text(errors="replace")[:1024] if path.is_file() else ""
        said = (
            self._ended_for
            or self.container.generalise(written).strip()
            or "the log ends with: " + "\n".join(self._tail)[-900:]
        )
        return f"AlgorithmError: {said}, exit code: {self.exit_code}"


def temporary_folder(home: Path) -> Path:
    """A host's temporary folder: its own ``tmp``, which is a link to a short path where its own would be too long."""
    own = home / "tmp"
    if len(str(own)) > LONGEST_TEMPORARY and not own.is_symlink():
        shutil.rmtree(own, ignore_errors=True)
        own.symlink_to(tempfile.mkdtemp(prefix=TEMPORARY))
    return own.readlink() if own.is_symlink() else own


def remove(folder: Path) -> None:
    """Remove a job's or a host's folder, and the temporary folders that hosts have elsewhere."""
    for home in (folder, *folder.glob("algo-*")):
        link = home / "tmp"
        target = link.readlink() if link.is_symlink() else None
        # A job may have put a link of its own there: only what was made here is removed.
        if target and target.name.startswith(TEMPORARY) and target.parent == Path(tempfile.gettempdir()):
            shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _channel_configuration(channel: Document) -> dict[str, str]:
    source = channel["DataSource"]["S3DataSource"]
    return {
        # A FastFile channel is a folder of files like any other, and its configuration says so on AWS too.
        "TrainingInputMode": "File",
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": "None",
        **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
    }
