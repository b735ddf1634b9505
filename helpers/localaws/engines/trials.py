"""The training jobs of a tuning job, as its description tells of them: always read from their own descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..store import Document, Table

TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime")
RANGES = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")
# Only what failed inside AWS could go better another time.
RETRYABLE = "InternalServerError"
RUNNING = ("InProgress", "Stopping")


def objective(tuning_job: Document) -> tuple[str, bool]:
    """The name of a tuning job's objective metric, and whether it is maximised."""
    given = tuning_job["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    return given["MetricName"], given["Type"] == "Maximize"


def tuned(tuning_job: Document) -> list[str]:
    """The names of the hyperparameters that a tuning job tunes."""
    ranges = tuning_job["HyperParameterTuningJobConfig"]["ParameterRanges"]
    return [one["Name"] for kind in RANGES for one in ranges.get(kind, [])]


def final_value(trial: Document, metric: str) -> float | None:
    """A training job's last value of a metric; None while it runs, and where it has none."""
    if trial["TrainingJobStatus"] in RUNNING:
        return None
    return next((one["Value"] for one in trial.get("FinalMetricDataList", []) if one["MetricName"] == metric), None)


def of(table: Table, region: str, tuning_job: Document) -> list[Document]:
    """A tuning job's training jobs, by name, which is the order they were made in."""
    arn, made = tuning_job["HyperParameterTuningJobArn"], tuning_job["CreationTime"]
    # A deleted tuning job of the same name leaves its trials, which are none of this one's.
    return [trial for trial in table.list(region) if trial.get("TuningJobArn") == arn and trial["CreationTime"] >= made]


def summary(tuning_job: Document, trial: Document) -> Document:
    """A HyperParameterTrainingJobSummary."""
    metric, _ = objective(tuning_job)
    value, given = final_value(trial, metric), trial.get("HyperParameters", {})
    final = {"MetricName": metric, "Value": value}
    named = "DefinitionName" in tuning_job["TrainingJobDefinition"]
    return {
        **({"TrainingJobDefinitionName": tuning_job["TrainingJobDefinition"]["DefinitionName"]} if named else {}),
        "TrainingJobName": trial["TrainingJobName"],
        "TrainingJobArn": trial["TrainingJobArn"],
        **{name: trial[name] for name in TIMES if name in trial},
        "TrainingJobStatus": trial["TrainingJobStatus"],
        "TunedHyperParameters": {name: given[name] for name in tuned(tuning_job) if name in given},
        **({"FailureReason": trial["FailureReason"]} if "FailureReason" in trial else {}),
        **({} if value is None else {"FinalHyperParameterTuningJobObjectiveMetric": final}),
        "ObjectiveStatus": _objective_status(trial, value),
    }


def best(tuning_job: Document, trials: Iterable[Document]) -> Document | None:
    """The training job with the best final value of the objective; of equal ones, the first."""
    metric, maximise = objective(tuning_job)
    valued = [(value, trial) for trial in trials if (value := final_value(trial, metric)) is not None]
    if not valued:
        return None
    values = [value for value, _ in valued]
    return valued[values.index(max(values) if maximise else min(values))][1]


def status_counters(trials: Iterable[Document]) -> dict[str, int]:
    """TrainingJobStatusCounters."""
    counts = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    for trial in trials:
        counts[_counter(trial)] += 1
    return counts


def objective_counters(tuning_job: Document, trials: Iterable[Document]) -> dict[str, int]:
    """ObjectiveStatusCounters."""
    counts = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for trial in trials:
        counts[_objective_status(trial, final_value(trial, objective(tuning_job)[0]))] += 1
    return counts


def not_improving(values: Sequence[float], *, maximise: bool) -> int:
    """How many of the newest final values have brought nothing better than what was there before them."""
    if not values:
        return 0
    best_value = max(values) if maximise else min(values)
    return len(values) - 1 - values.index(best_value)


def _counter(trial: Document) -> str:
    status: str = trial["TrainingJobStatus"]
    if status == "Failed":
        return "RetryableError" if trial.get("FailureReason", "").startswith(RETRYABLE) else "NonRetryableError"
    return "InProgress" if status in RUNNING else status


def _objective_status(trial: Document, value: Any) -> str:
    if trial["TrainingJobStatus"] in RUNNING:
        return "Pending"
    return "Failed" if value is None else "Succeeded"
