"""What a tuning job's description tells of its training jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines import trials
from helpers.localaws.store import Store

MADE = datetime(2026, 11, 1, tzinfo=UTC)
FAILED = {"FailureReason": "AlgorithmError: no data, exit code: 1"}


def tuning_job(goal: str = "Minimize") -> dict[str, Any]:
    return {
        "HyperParameterTuningJobArn": "arn:tuning",
        "CreationTime": MADE,
        "HyperParameterTuningJobConfig": {
            "HyperParameterTuningJobObjective": {"MetricName": "loss", "Type": goal},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "lr"}],
                "CategoricalParameterRanges": [{"Name": "kind"}],
            },
        },
        "TrainingJobDefinition": {},
    }


def trial(name: str, value: float | None = None, status: str = "Completed", **more: Any) -> dict[str, Any]:
    metrics = [{"MetricName": "other", "Value": -9.0}]
    metrics += [] if value is None else [{"MetricName": "loss", "Value": value}]
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:{name}",
        "TuningJobArn": "arn:tuning",
        "TrainingJobStatus": status,
        "CreationTime": MADE + timedelta(seconds=1),
        "HyperParameters": {"lr": "0.1", "kind": "a", "epochs": "3", "_tuning_objective_metric": "loss"},
        "FinalMetricDataList": metrics,
        **more,
    }


def test_the_best_is_by_the_objective_and_its_goal():
    found = [trial("a", 2.0), trial("b", 1.0), trial("c", 3.0), trial("d"), trial("e", 1.0)]
    assert trials.best(tuning_job(), found) is found[1], "of equal ones the first"
    assert trials.best(tuning_job("Maximize"), found) is found[2]
    assert trials.best(tuning_job(), [trial("d")]) is None


def test_a_running_trial_has_no_final_value_yet():
    running = trial("a", 0.1, status="InProgress")
    assert trials.best(tuning_job(), [running, trial("b", 5.0)])["TrainingJobName"] == "b"
    summary = trials.summary(tuning_job(), running)
    assert summary["ObjectiveStatus"] == "Pending"
    assert "FinalHyperParameterTuningJobObjectiveMetric" not in summary


def test_a_summary_has_the_tuned_hyperparameters_only():
    summary = trials.summary(tuning_job(), trial("a", 0.1))
    assert summary["TunedHyperParameters"] == {"lr": "0.1", "kind": "a"}
    assert summary["FinalHyperParameterTuningJobObjectiveMetric"] == {"MetricName": "loss", "Value": 0.1}
    failed = trials.summary(tuning_job(), trial("b", status="Failed", **FAILED))
    assert (failed["ObjectiveStatus"], failed["FailureReason"]) == ("Failed", FAILED["FailureReason"])


def test_counters():
    found = [
        trial("a", 1.0),
        trial("b"),
        trial("c", status="InProgress"),
        trial("d", status="Stopping"),
        trial("e", 1.0, status="Stopped"),
        trial("f", status="Failed", **FAILED),
        trial("g", status="Failed", FailureReason="InternalServerError: the server was stopped"),
    ]
    assert trials.status_counters(found) == {
        "Completed": 2,
        "InProgress": 2,
        "RetryableError": 1,
        "NonRetryableError": 1,
        "Stopped": 1,
    }
    assert trials.objective_counters(tuning_job(), found) == {"Succeeded": 2, "Pending": 2, "Failed": 3}


@pytest.mark.parametrize(("values", "count"), [([], 0), ([1.0], 0), ([3.0, 2.0, 1.0], 0), ([1.0, 2.0, 1.0], 2)])
def test_not_improving(values, count):
    assert trials.not_improving(values, maximise=False) == count


@given(st.lists(st.integers(-5, 5).map(float), min_size=1))
def test_what_did_not_improve_is_no_better_than_what_was_before(values):
    count = trials.not_improving(values, maximise=True)
    before, after = values[: len(values) - count], values[len(values) - count :]
    assert max(before) == before[-1]
    assert all(value <= before[-1] for value in after)


def test_the_trials_of_a_deleted_job_of_the_same_name_are_not_this_ones(tmp_path: Path):
    store = Store(tmp_path / "store")
    table = store.table("training-job")
    for one in (trial("old", CreationTime=MADE - timedelta(days=1)), trial("new"), trial("other", TuningJobArn="x")):
        table.insert("us-east-1", one["TrainingJobName"], one)
    table.insert("us-east-1", "plain", {"TrainingJobName": "plain"})
    assert [one["TrainingJobName"] for one in trials.of(table, "us-east-1", tuning_job())] == ["new"]
    store.close()
