"""Training jobs: start one with ModelTrainer, follow it, and fetch what it made.

https://docs.aws.amazon.com/sagemaker/latest/dg/how-it-works-training.html
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from .archives import unpack_tar
from .cloud import Cloud
from .interrupts import interruptible
from .progress import note, stream, watched

LOGS = "/aws/sagemaker/TrainingJobs"
CHECKPOINTS = "/opt/ml/checkpoints"
ENDED = ("Completed", "Failed", "Stopped")
NOT_SHIPPED = [".env", ".git", ".DS_Store", ".cache", ".ipynb_checkpoints", "__pycache__", "*.pyc", ".*_cache"]
TAIL = 20
# How the programs of train_src tell that so many epochs are done; in the middle of one, a step's number follows.
EPOCHS_DONE = re.compile(r"^epoch=(\d+) (?!step=)")


class TrainingFailed(RuntimeError):
    """A training job failed; the message has AWS's reason and the end of the log."""


class AlreadyTraining(RuntimeError):
    """Another training job of that name is in progress, and was told something else; the message says how to end it."""


@dataclass(frozen=True)
class LogLine:
    """One line of a job's log."""

    time: datetime
    host: str
    text: str


# ---- starting ----


def training_image(cloud: Cloud, instance_type: str) -> str:
    """The address of AWS's newest PyTorch training image that suits an instance type (with CUDA where it has a GPU)."""
    from sagemaker.core import image_uris

    image: str = image_uris.retrieve(
        "pytorch-amzn2023", region=cloud.region, image_scope="training", instance_type=instance_type
    )
    return image


def start_training(
    cloud: Cloud,
    base_job_name: str,
    *,
    source_dir: Path,
    entry_script: str,
    role: str,
    instance_type: str,
    channels: Mapping[str, str],
    hyperparameters: Mapping[str, Any],
    metrics: Mapping[str, str],
    instance_count: int = 1,
    distributed: bool = False,
    spot: bool = False,
    checkpoint_uri: str | None = None,
    max_runtime: int = 3600,
    max_wait: int | None = None,
    output_path: str | None = None,
    image: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Start a training job and return its name, which is ``base_job_name`` and a timestamp.

    ``channels`` are S3 addresses by channel name; ``metrics`` are regular expressions by metric name, whose first group
    is the value. ``distributed`` runs the script under torchrun on every instance, as one job of all of them.
    ``max_runtime`` and (of spot jobs) ``max_wait`` are seconds. What is in ``checkpoint_uri`` is in
    ``/opt/ml/checkpoints`` when the script starts, and what the script writes there is kept. A ``requirements.txt`` in
    ``source_dir`` is installed first. Where such a job is in progress already, its name is returned and no second one
    bills; if it was told other hyperparameters, :class:`AlreadyTraining` is raised. Raises ``ValueError`` or
    ``ClientError`` for what AWS would not take.
    """
    if running := _in_progress(cloud, base_job_name, hyperparameters):
        return running
    trainer = make_trainer(
        cloud,
        base_job_name,
        source_dir=source_dir,
        entry_script=entry_script,
        role=role,
        instance_type=instance_type,
        hyperparameters=hyperparameters,
        metrics=metrics,
        instance_count=instance_count,
        distributed=distributed,
        spot=spot,
        checkpoint_uri=checkpoint_uri,
        max_runtime=max_runtime,
        max_wait=max_wait,
        output_path=output_path,
        image=image,
        environment=environment,
    )
    with interruptible(lambda: _stop_started(cloud, base_job_name)):
        trainer.train(input_data_config=make_inputs(channels), wait=False, logs=False)
        return str(trainer._latest_training_job.training_job_name)


def make_trainer(
    cloud: Cloud,
    base_job_name: str,
    *,
    source_dir: Path,
    entry_script: str,
    role: str,
    instance_type: str,
    hyperparameters: Mapping[str, Any],
    metrics: Mapping[str, str],
    instance_count: int = 1,
    distributed: bool = False,
    spot: bool = False,
    checkpoint_uri: str | None = None,
    max_runtime: int = 3600,
    max_wait: int | None = None,
    output_path: str | None = None,
    image: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """The SDK's ModelTrainer with :func:`start_training`'s arguments, not started: for a training or a tuning job."""
    from sagemaker.core.training.configs import (
        CheckpointConfig,
        Compute,
        MetricDefinition,
        OutputDataConfig,
        SourceCode,
        StoppingCondition,
        Tag,
    )
    from sagemaker.train import ModelTrainer
    from sagemaker.train.distributed import Torchrun

    requirements = "requirements.txt" if (source_dir / "requirements.txt").is_file() else None
    wait = {"max_wait_time_in_seconds": max_wait or 2 * max_runtime} if spot else {}
    return ModelTrainer(
        sagemaker_session=cloud.sagemaker_session,
        base_job_name=base_job_name,
        role=role,
        training_image=image or training_image(cloud, instance_type),
        source_code=SourceCode(
            source_dir=str(source_dir),
            entry_script=entry_script,
            requirements=requirements,
            ignore_patterns=NOT_SHIPPED,
        ),
        distributed=Torchrun() if distributed else None,
        compute=Compute(
            instance_type=instance_type, instance_count=instance_count, enable_managed_spot_training=spot or None
        ),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=max_runtime, **wait),
        checkpoint_config=CheckpointConfig(s3_uri=checkpoint_uri, local_path=CHECKPOINTS) if checkpoint_uri else None,
        output_data_config=OutputDataConfig(s3_output_path=output_path or cloud.s3_uri("jobs")),
        hyperparameters=_checked(hyperparameters),
        environment=dict(environment or {}),
        tags=[Tag(key=key, value=value) for key, value in cloud.settings.tags.items()],
    ).with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in metrics.items()])


def make_inputs(channels: Mapping[str, str]) -> list[Any]:
    """The SDK's form of S3 addresses by channel name."""
    from sagemaker.core.training.configs import InputData

    return [InputData(channel_name=name, data_source=uri) for name, uri in channels.items()]


def latest_job(cloud: Cloud, base_job_name: str, status: str = "Completed") -> str:
    """The name of the newest job of that base name and status; raises ``LookupError`` where there is none."""
    found = cloud.client("sagemaker").list_training_jobs(
        NameContains=base_job_name, StatusEquals=status, SortBy="CreationTime", SortOrder="Descending", MaxResults=100
    )
    for job in found["TrainingJobSummaries"]:
        if re.fullmatch(rf"{re.escape(base_job_name)}-\d+", job["TrainingJobName"]):
            return str(job["TrainingJobName"])
    raise LookupError(f"there is no {status} training job {base_job_name}-…; run the notebook that trains it first")


def _in_progress(cloud: Cloud, base_job_name: str, hyperparameters: Mapping[str, Any]) -> str | None:
    """The job of that base name that is in progress, if there is one; it was told the same."""
    try:
        job = latest_job(cloud, base_job_name, "InProgress")
    except LookupError:
        return None
    given = describe(cloud, job).get("HyperParameters", {})
    if any(given.get(name) != str(value) for name, value in hyperparameters.items()):
        raise AlreadyTraining(
            f"{job} is in progress, with other hyperparameters: follow it to its end, or end it with "
            f"training.stop(aws, {job!r})"
        )
    note(f"{job} is in progress already: no second job is started")
    return job


def _stop_started(cloud: Cloud, base_job_name: str) -> str:
    """Stop the job whose name is not known yet, since its start was interrupted; says what has become of it."""
    try:
        job = latest_job(cloud, base_job_name, "InProgress")
    except LookupError:
        return "No training job was started."
    stop(cloud, job)
    return _stopping(job)


def _stopping(job: str) -> str:
    return f"Training job {job} is being stopped, since it would go on billing. Start it again to train anew."


def _checked(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's driver passes them on inside single quotes; one more quote ends it, with exit code 2 and no message."""
    for name, value in hyperparameters.items():
        if "'" in f"{name}{value}":
            raise ValueError(
                f"the hyperparameter {name}={value!r} has a single quote, which the SDK's driver cannot pass"
            )
    return dict(hyperparameters)


# ---- following ----


def follow(cloud: Cloud, job: str, every: float = 2.0, show: str | None = None) -> dict[str, Any]:
    """Follow a job to its end, looking every so many seconds; returns its description then.

    Tells its statuses, a spot job's interruptions among them, and those log lines that ``show`` (a regular expression;
    by default any of the job's metric definitions) is found in. Raises :class:`TrainingFailed`. An interrupt from the
    keyboard stops the job, since it would go on billing.
    """
    with (
        interruptible(lambda: _interrupted(cloud, job)),
        closing(_Teller(job, hyperparameters(cloud, job).get("epochs", ""))) as teller,
    ):
        log, told, lines = _LogReader(cloud, job), 0, list[LogLine]()
        while True:
            looked, description = datetime.now(UTC), describe(cloud, job)
            ended = description["TrainingJobStatus"] in ENDED
            pattern = re.compile(show or "|".join(definitions(description).values()) or "$^")
            transitions, lines = description.get("SecondaryStatusTransitions", []), [*lines, *log.new()]
            # A line that is younger than the description may have come after a status that the next one tells of.
            ready = [line for line in lines if ended or line.time <= looked]
            lines = [line for line in lines if line.time > looked]
            teller.news(transitions[told:], [line for line in ready if pattern.search(line.text)])
            told = len(transitions)
            teller.tick(ready)
            if ended:
                return _successful(cloud, description)
            time.sleep(every)


def stop(cloud: Cloud, job: str) -> bool:
    """Ask a job to stop; one that has ended is left as it is. Whether there was something to stop."""
    return stop_if_running(
        lambda: describe(cloud, job)["TrainingJobStatus"],
        lambda: cloud.client("sagemaker").stop_training_job(TrainingJobName=job),
    )


def stop_if_running(status: Callable[[], str], stop: Callable[[], Any]) -> bool:
    """Call ``stop`` where the ``status`` is ``InProgress``; whether it was. That it has ended meanwhile is no error."""
    if status() != "InProgress":
        return False
    try:
        stop()
    except ClientError:
        if status() == "InProgress":
            raise
        return False  # it has ended since it was described
    return True


def _interrupted(cloud: Cloud, job: str) -> str:
    """Stop a job that was followed; says what has become of it."""
    if stop(cloud, job):
        return _stopping(job)
    return f"Training job {job} is {describe(cloud, job)['TrainingJobStatus']}: nothing of it is running on."


def describe(cloud: Cloud, job: str) -> dict[str, Any]:
    """DescribeTrainingJob's answer."""
    answer: dict[str, Any] = cloud.client("sagemaker").describe_training_job(TrainingJobName=job)
    return answer


def hyperparameters(cloud: Cloud, job: str) -> dict[str, str]:
    """What a job's script was told."""
    given: dict[str, str] = describe(cloud, job).get("HyperParameters", {})
    return given


def definitions(description: Mapping[str, Any]) -> dict[str, str]:
    """A job's metric definitions: regular expressions by metric name."""
    given = description["AlgorithmSpecification"].get("MetricDefinitions", [])
    return {one["Name"]: one["Regex"] for one in given}


def read_log(cloud: Cloud, job: str) -> list[LogLine]:
    """Every line that all hosts of a job have logged, in the order of their times."""
    return _LogReader(cloud, job).new()


def metrics_table(cloud: Cloud, job: str) -> list[dict[str, Any]]:
    """The history of a job's metrics: for each log line with any of them, its time, its host and their values.

    Read from the log by the job's own metric definitions: CloudWatch keeps one value a minute, the log keeps all.
    """
    patterns = {name: re.compile(regex) for name, regex in definitions(describe(cloud, job)).items()}
    rows = []
    for line in read_log(cloud, job):
        found = {name: pattern.search(line.text) for name, pattern in patterns.items()}
        values = {name: float(match[1]) for name, match in found.items() if match}
        if values:
            rows.append({"time": line.time, "host": line.host, **values})
    return rows


def summary(cloud: Cloud, job: str) -> dict[str, Any]:
    """What a job was, how long it took and what of it is billed, in seconds; and its metrics' last values.

    ``training_seconds`` are those with instances, of all attempts of a spot job. Its ``billable_seconds`` are fewer:
    what was paid, in seconds at the *on-demand* price; ``savings`` is the share that was not.
    """
    it = describe(cloud, job)
    resources, billable = it["ResourceConfig"], it.get("BillableTimeInSeconds", 0)
    trained = it.get("TrainingTimeInSeconds", 0)
    return {
        "job": job,
        "status": it["TrainingJobStatus"],
        "instance_type": resources["InstanceType"],
        "instance_count": resources["InstanceCount"],
        "spot": it.get("EnableManagedSpotTraining", False),
        "wall_seconds": (it.get("TrainingEndTime", datetime.now(UTC)) - it["CreationTime"]).total_seconds(),
        "training_seconds": trained,
        "billable_seconds": billable,
        "savings": 1 - billable / trained if trained else 0.0,
        "instance_seconds": billable * resources["InstanceCount"],
        "interruptions": [one["Status"] for one in it["SecondaryStatusTransitions"]].count("Interrupted"),
        "model": it.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
        "metrics": {one["MetricName"]: one["Value"] for one in it.get("FinalMetricDataList", [])},
    }


def _successful(cloud: Cloud, description: dict[str, Any]) -> dict[str, Any]:
    if description["TrainingJobStatus"] != "Failed":
        return description
    job = description["TrainingJobName"]
    tail = [f"  {line.host} | {line.text}" for line in read_log(cloud, job)[-TAIL:]]
    reason = description.get("FailureReason", "AWS gives no reason.")
    end = "\n".join([f"The log (CloudWatch Logs, {LOGS}, {job}/…) ends with:", *tail]) if tail else "It has no log."
    raise TrainingFailed(f"Training job {job} failed. {reason}\n{end}")


# ---- fetching ----


def fetch_model(cloud: Cloud, job: str, into: Path) -> Path:
    """Download a job's model.tar.gz and unpack it into the folder ``into``; returns ``into``."""
    artifacts = describe(cloud, job).get("ModelArtifacts")
    if not artifacts:
        raise LookupError(f"training job {job} has no model: its script wrote nothing to SM_MODEL_DIR")
    return _unpack(cloud, artifacts["S3ModelArtifacts"], into)


def fetch_output(cloud: Cloud, job: str, into: Path) -> Path:
    """Download a job's output.tar.gz (its reports) and unpack it into the folder ``into``; returns ``into``."""
    base = describe(cloud, job)["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    return _unpack(cloud, f"{base}/{job}/output/output.tar.gz", into)


def _unpack(cloud: Cloud, uri: str, into: Path) -> Path:
    """``into`` holds afterwards what the archive holds, and nothing else; no member can leave it."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    part = into.with_name(f".{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with tempfile.TemporaryFile() as file:
        cloud.client("s3").download_fileobj(bucket, key, file)
        file.seek(0)
        unpack_tar(file, part)
    shutil.rmtree(into, ignore_errors=True)
    part.rename(into)
    return into


# ---- details ----


@dataclass
class _LogReader:
    """Reads what is new in the logs of all hosts of a job."""

    cloud: Cloud
    job: str
    _tokens: dict[str, str] = field(default_factory=dict)

    def new(self) -> list[LogLine]:
        """The lines since the last call, by time."""
        lines = [line for stream in self._streams() for line in self._read(stream)]
        return sorted(lines, key=lambda line: line.time)

    def _streams(self) -> list[str]:
        logs = self.cloud.client("logs")
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName=LOGS, logStreamNamePrefix=f"{self.job}/"
        )
        try:
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except logs.exceptions.ResourceNotFoundException:
            return []

    def _read(self, stream: str) -> Iterator[LogLine]:
        host = stream.removeprefix(f"{self.job}/").rpartition("-")[0]
        while True:
            token = {"nextToken": self._tokens[stream]} if stream in self._tokens else {}
            page = self.cloud.client("logs").get_log_events(
                logGroupName=LOGS, logStreamName=stream, startFromHead=True, **token
            )
            for event in page["events"]:
                yield LogLine(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), host, event["message"])
            # At the end of a stream, the token that comes back is the one that was sent.
            if self._tokens.get(stream) == page["nextForwardToken"]:
                return
            self._tokens[stream] = page["nextForwardToken"]


class _Teller:
    """Tells of a job's course, in plain lines; where somebody watches, above a bar with its status and its time.

    The bar counts ``epochs``, if the job was told any.
    """

    def __init__(self, job: str, epochs: str = "") -> None:
        self._bar: Any = None
        if watched():
            from tqdm.auto import tqdm

            total = int(epochs) if epochs.isdecimal() else None
            counted = "{l_bar}{bar}| {n_fmt} of {total_fmt} epochs [{elapsed}]"
            self._bar = tqdm(desc=f"{job}: waiting", total=total, bar_format=counted if total else "{desc} [{elapsed}]")
            self._job = job
        else:
            note(f"training job {job}")

    def news(self, transitions: Sequence[Mapping[str, Any]], lines: Sequence[LogLine]) -> None:
        """What one look has found, in the order in which it happened."""
        found: list[tuple[datetime, Callable[[], None]]] = [
            (one["StartTime"], partial(self.status, one["StartTime"], one["Status"], one.get("StatusMessage", "")))
            for one in transitions
        ]
        found += [(line.time, partial(self.line, line)) for line in lines]
        for _, tell in sorted(found, key=itemgetter(0)):
            tell()

    def status(self, at: datetime, status: str, message: str) -> None:
        """A new status."""
        self._tell(f"{at:%H:%M:%S} {status}: {message}")
        if self._bar is not None:
            self._bar.set_description_str(f"{self._job}: {status}")

    def line(self, line: LogLine) -> None:
        """A line of the log."""
        self._tell(f"{line.host} | {line.text}")

    def tick(self, lines: Sequence[LogLine]) -> None:
        """Show that time goes on, and how many epochs are done."""
        if self._bar is not None:
            done = [int(found[1]) for line in lines if (found := EPOCHS_DONE.search(line.text))]
            self._bar.n = max([self._bar.n, *done])
            self._bar.refresh()

    def close(self) -> None:
        """Leave the last status standing."""
        if self._bar is not None:
            self._bar.close()

    def _tell(self, text: str) -> None:
        if self._bar is None:
            note(text)
        else:
            self._bar.write(text, file=stream())
