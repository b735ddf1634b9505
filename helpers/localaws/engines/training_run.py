"""One training job from ``Starting`` to its last status, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..errors import AwsError
from ..objects import S3Uri
from ..store import Document
from . import artifacts, channels
from .channels import DataError
from .checkpoints import Checkpoints
from .metrics import UNWATCHED, Metrics, Watch
from .spot import SpotMarket, SpotPlan
from .time_limits import TimeLimits
from .training_cluster import Ending, Mailbox, Outcome, TrainingCluster
from .training_host import Job, TrainingHost, remove
from .transitions import Record
from .utilisation import training_host
from .volumes import Volumes

if TYPE_CHECKING:
    from ..cloud import Cloud
    from ..monitoring import LogStream

log = logging.getLogger(__name__)

PRINCIPAL = "sagemaker.amazonaws.com"
SESSION = "SageMaker"  # as AWS names the session of a training job's role
LOG_GROUP = METRIC_NAMESPACE = "/aws/sagemaker/TrainingJobs"
CLOSED = (
    "the embedded AWS was stopped while this training job ran; nothing of its work since the last checkpoint is kept."
)
LAST_STATUS = {
    Ending.COMPLETED: "Completed",
    Ending.FAILED: "Failed",
    Ending.STOPPED: "Stopped",
    Ending.MAX_RUNTIME: "MaxRuntimeExceeded",
    Ending.MAX_WAIT: "MaxWaitTimeExceeded",
}

Inputs = dict[str, Sequence[channels.Item]]  # by channel name


class AskedToEnd(Exception):
    """An end was asked for while no host was running."""


class TrainingRun:
    """Runs one job. Whatever happens, the job reaches a last status and leaves no process and no folder."""

    def __init__(
        self, cloud: Cloud, job: Job, record: Record, on_end: Callable[[], None], watch: Watch = UNWATCHED
    ) -> None:
        self._cloud, self._job, self._record, self._on_end, self._watch = cloud, job, record, on_end, watch
        self._objects = cloud.objects_of(job.request["RoleArn"])
        self._mailbox = Mailbox()
        self._metrics = Metrics(
            job.request["AlgorithmSpecification"].get("MetricDefinitions", []), self._note, job.identity
        )
        self._streams: dict[str, LogStream] = {}
        self._epoch = 0
        self._checkpoints: Checkpoints | None = None
        self._time = TimeLimits(job.request["StoppingCondition"], cloud.clock)
        is_spot = job.request.get("EnableManagedSpotTraining")
        self._plan = SpotPlan(SpotMarket.of(cloud.folder) if is_spot else SpotMarket(0), job.name)
        self._thread = threading.Thread(target=self._run, name=f"training job {job.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self, ending: Ending) -> None:
        """Ask for an early end; the job's thread then stops the hosts and finishes the job."""
        self._mailbox.ask(ending)

    def join(self, seconds: float) -> None:
        """Wait for the last status."""
        self._thread.join(seconds)

    # ---- the course of a job ----

    def _run(self) -> None:
        status, more = "Failed", dict[str, object]()
        try:
            status, more = self._train()
        except AskedToEnd:
            status, more = self._asked_to_end()
        except DataError as error:
            more = {"FailureReason": f"ClientError: {error}"}
        except AwsError as error:
            more = {"FailureReason": f"ClientError: {error.message}"}
        except Exception as error:
            log.exception("training job %s", self._job.name)
            more = {"FailureReason": f"InternalServerError: {type(error).__name__}: {error}"}
        try:
            self._clean()
        except Exception:
            log.exception("training job %s has left something behind", self._job.name)
        metrics = {"FinalMetricDataList": self._metrics.final()} if self._metrics.final() else {}
        try:
            self._record.finish(status, **metrics, **more)
        except Exception:
            log.exception("training job %s has ended as %s, which cannot be written", self._job.name, status)
        self._on_end()
        self._watch.on_end()

    def _train(self) -> tuple[str, dict[str, object]]:
        """Everything between the first and the last status; returns the last, with the members that go with it."""
        vended, credentials = self._cloud.credentials.vend(
            self._job.request["RoleArn"], PRINCIPAL, SESSION, self._job.arn
        )
        try:
            hosts, outcome = self._attempts(credentials)
        finally:
            self._cloud.credentials.revoke(vended)
        if outcome.ending is Ending.CLOSED:
            raise AskedToEnd
        if not hosts:
            return LAST_STATUS[outcome.ending], {}
        self._record.advance("Uploading")
        self._close_checkpoints()
        more = self._upload(hosts)
        if outcome.host:
            more["FailureReason"] = outcome.host.failure()
        return LAST_STATUS[outcome.ending], more

    def _attempts(self, credentials: dict[str, str]) -> tuple[list[TrainingHost], Outcome]:
        """Attempts, until one ends for another reason than that the spot market took its instances back."""
        while True:
            hosts, outcome = self._attempt(credentials)
            if outcome.ending is not Ending.INTERRUPTED:
                return hosts, outcome
            if self._time.up:
                self._stopping(self._time.up)
                return hosts, Outcome(self._time.up)
            self._close_checkpoints()
            if not self._record.interrupt():
                return hosts, Outcome(Ending.STOPPED)
            remove(self._job.folder)
            self._wait_for_capacity(self._plan.interrupted())
            if self._time.up:
                self._stopping(self._time.up)
                return [], Outcome(self._time.up)
            self._record.advance("Starting")

    def _wait_for_capacity(self, seconds: float) -> None:
        """Wait, without instances, for as long as the spot market has none and the job may wait."""
        real = self._cloud.clock.deadline(seconds) - self._cloud.clock.monotonic()
        self._mailbox.sleep(min(real, self._time.left()[Ending.MAX_WAIT]))
        self._proceed()

    def _attempt(self, credentials: dict[str, str]) -> tuple[list[TrainingHost], Outcome]:
        """One life of the instances, from empty disks to the end of the last process. It can be repeated."""
        # The second in which they started names their logs: no two attempts may share it, however short the first was.
        self._epoch = max(int(time.time()), self._epoch + 1)
        self._record.advance("Downloading")
        inputs = self._download()
        hosts = [self._make_host(name, inputs) for name in self._job.hosts]
        if "CheckpointConfig" in self._job.request:
            self._restore_checkpoints(hosts)
        volumes = Volumes(hosts, self._job.request["ResourceConfig"])
        volumes.check()
        self._record.advance("Training")
        self._measure(hosts)
        with volumes.watched():
            return hosts, self._run_hosts(hosts, credentials)

    def _measure(self, hosts: list[TrainingHost]) -> None:
        region, job, resources = self._job.region, self._job.name, self._job.request["ResourceConfig"]
        for host in hosts:
            self._cloud.utilisation.watch(training_host(region, job, host.name, host.container.home, resources))

    def _download(self) -> Inputs:
        """Read every channel once, for all hosts."""
        inputs: Inputs = {}
        for channel in self._job.request.get("InputDataConfig", []):
            self._proceed()
            name = channel["ChannelName"]
            inputs[name] = self._find(channel["DataSource"]["S3DataSource"])
            channels.download(self._objects, inputs[name], self._job.inputs / name, self._proceed)
        return inputs

    def _make_host(self, name: str, inputs: Inputs) -> TrainingHost:
        self._proceed()
        remove(self._job.folder / name)
        host = TrainingHost(self._job, name)
        host.prepare(inputs)
        return host

    def _restore_checkpoints(self, hosts: list[TrainingHost]) -> None:
        uri = self._job.request["CheckpointConfig"]["S3Uri"]
        self._checkpoints = Checkpoints(self._objects, uri, hosts, self._checkpoint_saved)
        self._checkpoints.restore()

    def _close_checkpoints(self) -> None:
        """Bring the last checkpoints to S3; name in the log those that the end of their host may have cut short."""
        for name in self._checkpoints.close() if self._checkpoints else ():
            self._note(f"the checkpoint {name} may be half written, since its host ended: it does not go to S3")

    def _find(self, source: Document) -> Sequence[channels.Item]:
        try:
            items = channels.find(self._objects, source)
        except AwsError as error:
            raise DataError(f"Data download failed:{error.message}") from error
        if not items:
            reason = channels.nothing_found(source["S3Uri"], self._job.region, self._job.request["RoleArn"])
            raise DataError(f"Data download failed:{reason}")
        return items

    def _run_hosts(self, hosts: list[TrainingHost], credentials: dict[str, str]) -> Outcome:
        """Run the hosts once, from the first process to the last."""
        environment = {**credentials, "AWS_ENDPOINT_URL": self._cloud.url}

        def start(host: TrainingHost) -> None:
            stream = self._open_log(host)
            stream.write(host.threads_line())
            host.start(self._cloud.processes, environment, lambda line: self._read(stream, line))

        if self._checkpoints:
            self._checkpoints.start()
        cluster = TrainingCluster(hosts, self._cloud.clock, self._mailbox, start, self._stopping)
        stay = self._plan.seconds()
        limits = self._time.left() | ({} if stay is None else {Ending.INTERRUPTED: stay})
        try:
            with self._time.running():
                return cluster.run(limits)
        finally:
            for stream in self._streams.values():
                stream.flush()

    def _upload(self, hosts: list[TrainingHost]) -> dict[str, object]:
        """Upload what the hosts have written; returns ModelArtifacts, if there is a model."""
        output = self._job.request["OutputDataConfig"]
        base = S3Uri.parse(output["S3OutputPath"]) / self._job.name / "output"
        compressed = output.get("CompressionType", "GZIP") == "GZIP"
        model = self._upload_merged(hosts, "model", base, "model", compressed=compressed)
        self._upload_merged(hosts, "output/data", base, "output" if compressed else "data", compressed=compressed)
        return {"ModelArtifacts": {"S3ModelArtifacts": str(model)}} if model else {}

    def _upload_merged(
        self, hosts: list[TrainingHost], folder: str, base: S3Uri, name: str, *, compressed: bool
    ) -> S3Uri | None:
        for host in hosts:
            host.container.generalise_files(host.container.ml / folder)
        files = artifacts.merge({host.name: host.container.ml / folder for host in hosts}, self._note)
        if not files:
            return None
        return artifacts.upload(self._objects, files, base, name, compressed=compressed, scratch=self._job.folder)

    # ---- details ----

    def _note(self, text: str) -> None:
        """Say something in the first host's log."""
        self._streams[self._job.hosts[0]].write(f"[localaws] {text}")

    def _proceed(self) -> None:
        if self._mailbox.asked:
            raise AskedToEnd

    def _asked_to_end(self) -> tuple[str, dict[str, object]]:
        if self._mailbox.asked is Ending.CLOSED:
            return "Failed", {"FailureReason": f"InternalServerError: {CLOSED}"}
        return "Stopped", {}

    def _stopping(self, ending: Ending) -> None:
        """A job whose time is up is Stopping, like one whose owner has asked for it."""
        if ending in (Ending.MAX_RUNTIME, Ending.MAX_WAIT):
            self._record.ask_to_stop()

    def _checkpoint_saved(self) -> None:
        if self._plan.checkpoint_saved():
            self._mailbox.interrupt()

    def _open_log(self, host: TrainingHost) -> LogStream:
        name = f"{self._job.name}/{host.name}-{self._epoch}"
        stream = self._cloud.monitoring.log_stream(self._job.region, LOG_GROUP, name)
        self._streams[host.name] = stream
        return stream

    def _read(self, stream: LogStream, line: str) -> None:
        """One line of a host's output: into its log, and its metrics into CloudWatch."""
        stream.write(line)
        for point in self._metrics.read(line, self._cloud.clock.now()):
            dimensions = {"TrainingJobName": self._job.name}
            self._cloud.monitoring.publish(
                self._job.region, METRIC_NAMESPACE, point.name, point.value, dimensions, at=point.at
            )
            self._watch.on_point(point)

    def _clean(self) -> None:
        """After any end: nothing watches, the last lines are readable, and the disk is free again."""
        if self._checkpoints:
            self._checkpoints.stop()
        self._metrics.close()
        for stream in self._streams.values():
            stream.flush()
        remove(self._job.folder)
