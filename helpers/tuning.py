"""Tuning jobs: search for good hyperparameters with many training jobs, and read what they have shown.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning.html
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .cloud import Cloud
from .interrupts import interruptible
from .progress import note, watched
from .training import ENDED, NOT_SHIPPED, make_inputs, make_trainer, stop_if_running

LONGEST_BASE = 19  # a tuning job's name has at most 32 characters, 13 of them for the time
BAR = "{l_bar}{bar}| {n_fmt} of {total_fmt} trials [{elapsed}{postfix}]"
INTERNAL = ("sagemaker_", "_tuning_")  # hyperparameters that the SDK and AWS add to a trial's own
KINDS: dict[str, type[int] | type[float]] = {"IntegerParameterRanges": int, "ContinuousParameterRanges": float}


class TuningFailed(RuntimeError):
    """A tuning job failed; the message has AWS's reason and those of its trials."""


# ---- ranges ----


def continuous(low: float, high: float, scale: str = "Auto") -> Any:
    """A range of real numbers; ``scale`` is Auto, Linear, Logarithmic or ReverseLogarithmic."""
    from sagemaker.core.parameter import ContinuousParameter

    return ContinuousParameter(low, high, scaling_type=scale)


def integer(low: int, high: int, scale: str = "Auto") -> Any:
    """A range of whole numbers, both ends included."""
    from sagemaker.core.parameter import IntegerParameter

    return IntegerParameter(low, high, scaling_type=scale)


def categorical(*values: object) -> Any:
    """A choice among values."""
    from sagemaker.core.parameter import CategoricalParameter

    return CategoricalParameter(list(values))


# ---- starting ----


def start_tuning(
    cloud: Cloud,
    base_job_name: str,
    *,
    source_dir: Path,
    entry_script: str,
    role: str,
    instance_type: str,
    channels: Mapping[str, str],
    hyperparameters: Mapping[str, Any],
    ranges: Mapping[str, Any],
    objective: str,
    metrics: Mapping[str, str],
    goal: str = "Minimize",
    max_jobs: int,
    max_parallel: int,
    strategy: str = "Bayesian",
    seed: int | None = None,
    early_stopping: bool = False,
    spot: bool = False,
    max_runtime: int = 3600,
    image: str | None = None,
) -> str:
    """Start a tuning job and return its name, which is ``base_job_name`` (at most 19 characters) and a timestamp.

    ``ranges`` are made by :func:`continuous`, :func:`integer` and :func:`categorical`; ``hyperparameters`` are those
    that stay the same. ``objective`` names the one of ``metrics`` whose last value in a trial's log is to ``goal``:
    Minimize or Maximize. ``strategy`` is Bayesian, Random, Grid or Hyperband. ``max_runtime`` is a trial's, in seconds.
    Every trial has one instance. Where a tuning job of that base name is in progress already, its name is returned and
    no second one bills. Raises ``ValueError`` or ``ClientError`` for what AWS would not take.
    """
    from sagemaker.train.tuner import HyperparameterTuner

    if len(base_job_name) > LONGEST_BASE:
        raise ValueError(f"{base_job_name!r} is too long for a tuning job: at most {LONGEST_BASE} characters")
    if running := _in_progress(cloud, base_job_name):
        note(f"{running} is in progress already, as it was started: no second one is started")
        return running
    name = f"{base_job_name}-{datetime.now(UTC):%y%m%d%H%M%S}"
    with tempfile.TemporaryDirectory() as folder:
        # The SDK's tuner packs the source folder as it is, whatever the trainer says of patterns to leave out.
        source = shutil.copytree(source_dir, Path(folder) / "source", ignore=shutil.ignore_patterns(*NOT_SHIPPED))
        trainer = make_trainer(
            cloud,
            base_job_name,
            source_dir=source,
            entry_script=entry_script,
            role=role,
            instance_type=instance_type,
            hyperparameters=hyperparameters,
            metrics=metrics,
            spot=spot,
            max_runtime=max_runtime,
            image=image,
        )
        tuner = HyperparameterTuner(
            trainer,
            objective,
            dict(ranges),
            metric_definitions=[{"Name": one, "Regex": regex} for one, regex in metrics.items()],
            strategy=strategy,
            objective_type=goal,
            max_jobs=None if strategy == "Grid" else max_jobs,
            max_parallel_jobs=max_parallel,
            early_stopping_type="Auto" if early_stopping else "Off",
            random_seed=seed,
            tags=cloud.tags,
        )
        with interruptible(lambda: _interrupted(cloud, name)):
            tuner.tune(make_inputs(channels), job_name=name, wait=False)
    return name


def latest_tuning(cloud: Cloud, base_job_name: str, status: str = "Completed") -> str:
    """The name of the newest tuning job of that base name and status; raises ``LookupError`` where there is none."""
    found = cloud.client("sagemaker").list_hyper_parameter_tuning_jobs(
        NameContains=base_job_name, StatusEquals=status, SortBy="CreationTime", SortOrder="Descending", MaxResults=100
    )
    for job in found["HyperParameterTuningJobSummaries"]:
        base, _, stamp = job["HyperParameterTuningJobName"].rpartition("-")
        if base == base_job_name and stamp.isdecimal():
            return str(job["HyperParameterTuningJobName"])
    raise LookupError(f"there is no {status} tuning job {base_job_name}-…; run the notebook that tunes it first")


# ---- following ----


def follow_tuning(cloud: Cloud, name: str, every: float = 2.0) -> dict[str, Any]:
    """Follow a tuning job to its end, looking every so many seconds; returns its description then.

    Tells how many trials have ended, how many run, and the best so far. Raises :class:`TuningFailed`. An interrupt
    stops the tuning job and its trials, since they would go on billing.
    """
    with interruptible(lambda: _interrupted(cloud, name)), closing(_Teller(name)) as teller:
        while True:
            description = describe_tuning(cloud, name)
            teller.tell(description)
            if description["HyperParameterTuningJobStatus"] in ENDED:
                return _successful(cloud, description)
            time.sleep(every)


def stop_tuning(cloud: Cloud, name: str) -> bool:
    """Ask a tuning job to stop, and with it its trials; one that has ended is left as it is. Whether it had not."""
    return stop_if_running(
        lambda: describe_tuning(cloud, name)["HyperParameterTuningJobStatus"],
        lambda: cloud.client("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
    )


def _interrupted(cloud: Cloud, name: str) -> str:
    """Stop a tuning job that was started or followed, if it is there; says what has become of it."""
    try:
        stopped = stop_tuning(cloud, name)
    except cloud.client("sagemaker").exceptions.ResourceNotFound:
        return "No tuning job was started."
    if not stopped:
        return f"Tuning job {name} has ended: nothing of it is running on."
    return (
        f"Tuning job {name} and its trials are being stopped, since they would go on billing. Start again to tune anew."
    )


def _in_progress(cloud: Cloud, base_job_name: str) -> str | None:
    try:
        return latest_tuning(cloud, base_job_name, "InProgress")
    except LookupError:
        return None


def describe_tuning(cloud: Cloud, name: str) -> dict[str, Any]:
    """DescribeHyperParameterTuningJob's answer."""
    answer: dict[str, Any] = cloud.client("sagemaker").describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )
    return answer


def _successful(cloud: Cloud, description: dict[str, Any]) -> dict[str, Any]:
    if description["HyperParameterTuningJobStatus"] != "Failed":
        return description
    name = description["HyperParameterTuningJobName"]
    reasons = {trial["FailureReason"] for trial in _trials(cloud, name) if trial.get("FailureReason")}
    told = "".join(f"\n  {reason}" for reason in sorted(reasons))
    raise TuningFailed(f"Tuning job {name} failed. {description.get('FailureReason', 'AWS gives no reason.')}{told}")


# ---- reading ----


@dataclass(frozen=True)
class Progress:
    """How far a tuning job has come."""

    trials: int
    ended: int
    running: int
    best: str

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Progress:
        """Read it from a description."""
        counters = description["TrainingJobStatusCounters"]
        most = description["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxNumberOfTrainingJobs", 0)
        best = description.get("BestTrainingJob", {}).get("FinalHyperParameterTuningJobObjectiveMetric")
        shown = f"{best['MetricName']} {best['Value']:.4g}" if best else "none yet"
        running = counters["InProgress"]
        return cls(most, sum(counters.values()) - running, running, shown)

    def __str__(self) -> str:
        return f"{self.ended} of {self.trials} trials done, {self.running} running; best: {self.best}"


def trials_table(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    """One row a trial, in the order they were started: its tuned hyperparameters, objective, status and seconds.

    The objective is None where a trial has none; seconds are those of training, which are billed.
    """
    description = describe_tuning(cloud, name)
    return [_row(description, trial) for trial in _trials(cloud, name)]


def best_trial(cloud: Cloud, name: str) -> dict[str, Any]:
    """The hyperparameters of the best trial, tuned and static, as numbers where they are: to train with once more.

    Raises ``LookupError`` where no trial has a value of the objective.
    """
    description = describe_tuning(cloud, name)
    if "BestTrainingJob" not in description:
        raise LookupError(f"tuning job {name} has no best trial: none has logged its objective yet")
    job = description["BestTrainingJob"]["TrainingJobName"]
    given = cloud.client("sagemaker").describe_training_job(TrainingJobName=job)["HyperParameters"]
    own = {one: value for one, value in given.items() if not one.startswith(INTERNAL)}
    return {one: _typed(description, one, value) for one, value in own.items()}


def objective_as_the_original(sum_loss: float, photos: int, batch_size: int) -> float:
    """What the original project gave to its tuning job: the *summed* loss of all photos ``//`` the number of *batches*.

    It is about the loss per photo times the batch size, so the smallest batch size looks best, whatever it has learnt.
    """
    return sum_loss // math.ceil(photos / batch_size)


def ranked_as_the_original(
    rows: Sequence[Mapping[str, Any]], photos: int, batch: str = "batch-size"
) -> list[dict[str, Any]]:
    """The trials as the original project ranked them, its choice first: those of ``rows`` that have an objective.

    Each has its ``number`` in ``rows``, and ``original``: the value of :func:`objective_as_the_original`. The objective
    of ``rows`` is a mean loss over ``photos``.
    """
    ended = [
        dict(row, number=number, original=objective_as_the_original(row["objective"] * photos, photos, row[batch]))
        for number, row in enumerate(rows, 1)
        if row["objective"] is not None
    ]
    return sorted(ended, key=lambda row: (row["original"], row["number"]))


def _trials(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    pages = (
        cloud.client("sagemaker")
        .get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        .paginate(HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending")
    )
    return [trial for page in pages for trial in page["TrainingJobSummaries"]]


def _row(description: Mapping[str, Any], trial: Mapping[str, Any]) -> dict[str, Any]:
    start, end = trial.get("TrainingStartTime"), trial.get("TrainingEndTime")
    final = trial.get("FinalHyperParameterTuningJobObjectiveMetric")
    return {
        "trial": trial["TrainingJobName"],
        **{one: _typed(description, one, value) for one, value in sorted(trial["TunedHyperParameters"].items())},
        "objective": final["Value"] if final else None,
        "status": trial["TrainingJobStatus"],
        "seconds": round((end - start).total_seconds(), 1) if start and end else 0.0,
    }


def _typed(description: Mapping[str, Any], name: str, text: str) -> int | float | str:
    """A hyperparameter's value as its range tells; static and categorical ones as numbers if they look like it."""
    ranges = description["HyperParameterTuningJobConfig"]["ParameterRanges"]
    for kind, of in KINDS.items():
        if any(one["Name"] == name for one in ranges.get(kind, [])):
            return of(text)
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


class _Teller:
    """Tells of a tuning job's course: a plain line for each change, or a bar where somebody watches."""

    def __init__(self, name: str) -> None:
        self._name, self._last, self._bar = name, "", None  # type: str, str, Any
        if not watched():
            note(f"tuning job {name}")

    def tell(self, description: Mapping[str, Any]) -> None:
        """Say what has changed, if anything has."""
        progress = Progress.of(description)
        told = f"{description['HyperParameterTuningJobStatus']}: {progress}"
        if told == self._last:
            return
        self._last = told
        if not watched():
            note(f"{datetime.now(UTC):%H:%M:%S} {told}")
            return
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(desc=self._name, total=progress.trials, bar_format=BAR)
        self._bar.update(progress.ended - self._bar.n)
        self._bar.set_postfix_str(f"{progress.running} running; best: {progress.best}")

    def close(self) -> None:
        """Leave the last line standing."""
        if self._bar is not None:
            self._bar.close()
