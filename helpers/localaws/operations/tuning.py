"""SageMaker tuning jobs: Create-, Describe-, List-, Stop- and DeleteHyperParameterTuningJob, and their trials."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..engines import training as training_engine
from ..engines import trials
from ..engines.metrics import Watch
from ..engines.search import Search, Values, make_search
from ..engines.tuning import TABLE
from ..errors import refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..store import Document, Exists
from ..tags import from_list
from . import training
from .tuning_input import check, grid_size, ranges_of, resource_of, trial_request

PAGE = 10
JOB_SORT_KEYS = {
    "Name": "HyperParameterTuningJobName",
    "CreationTime": "CreationTime",
    "Status": "HyperParameterTuningJobStatus",
}
TRIAL_SORT_KEYS = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}
SUMMARY = (
    "HyperParameterTuningJobName HyperParameterTuningJobArn HyperParameterTuningJobStatus CreationTime "
    "HyperParameterTuningEndTime LastModifiedTime"
).split()


@operation("sagemaker", "CreateHyperParameterTuningJob")
def create_tuning_job(request: Request, params: Params) -> Params:
    """Check, record, start."""
    name, table = params["HyperParameterTuningJobName"], request.cloud.store.table(TABLE)
    arn = request.arn("sagemaker", f"hyper-parameter-tuning-job/{name}")
    if table.find(request.region, name) is not None:
        _refuse_duplicate(arn)
    parents = [_job(request, parent) for parent in _parents(params)]
    check(request, params, parents)
    document = _describe_new(params, arn, request.cloud.clock.now())
    search = _search(request, document, parents)
    try:
        table.insert(request.region, name, document)
    except Exists:
        _refuse_duplicate(arn)
    if params.get("Tags"):
        request.cloud.tags.add(arn, from_list(params["Tags"]))

    def launch(trial: str, values: Values, watch: Watch) -> None:
        given = trial_request(document, trial, values, params.get("Tags", []))
        training.create(request, given, watch, TuningJobArn=arn)

    request.cloud.tuning.start(request.region, document, search, launch)
    return {"HyperParameterTuningJobArn": arn}


@operation("sagemaker", "DescribeHyperParameterTuningJob")
def describe_tuning_job(request: Request, params: Params) -> Params:
    """What was given at creation but the tags, how far it has come, and the best training job so far."""
    job = _job(request, params)
    found = _trials(request, job)
    return {**job, **_progress(request, job, found), **_best(request, job, found)}


@operation("sagemaker", "StopHyperParameterTuningJob")
def stop_tuning_job(request: Request, params: Params) -> None:
    """Stop all training jobs of a tuning job that is running, and start no more."""
    job = _job(request, params)
    status = request.cloud.tuning.stop(request.region, job["HyperParameterTuningJobName"])
    if status != "InProgress":
        refuse(
            "ValidationException",
            f"The request was rejected because the hyperparameter tuning job is in status {status}.",
        )


@operation("sagemaker", "DeleteHyperParameterTuningJob")
def delete_tuning_job(request: Request, params: Params) -> None:
    """Forget a tuning job that has ended; its training jobs, their logs and artefacts stay."""
    with request.cloud.store.locked():  # a job of this name that is made anew meanwhile is another
        job = _job(request, params)
        arn, status = job["HyperParameterTuningJobArn"], job["HyperParameterTuningJobStatus"]
        if status in trials.RUNNING:
            refuse(
                "ResourceInUse",
                f"Hyperparameter tuning job {arn} is in status {status}; only jobs in status Completed, Failed or "
                "Stopped can be deleted.",
            )
        request.cloud.store.table(TABLE).delete(request.region, job["HyperParameterTuningJobName"])
        request.cloud.tags.forget(arn)


@operation("sagemaker", "ListHyperParameterTuningJobs")
def list_tuning_jobs(request: Request, params: Params) -> Params:
    """Summaries of the region's tuning jobs: filtered, sorted, in pages."""
    jobs = [job for job in request.cloud.store.table(TABLE).list(request.region) if _passes(job, params)]
    key = JOB_SORT_KEYS[params.get("SortBy", "Name")]
    jobs.sort(key=lambda job: job[key], reverse=params.get("SortOrder") == "Descending")
    shown, token = page(jobs, "HyperParameterTuningJobName", params.get("NextToken"), params.get("MaxResults", PAGE))
    return {"HyperParameterTuningJobSummaries": [_summary(request, job) for job in shown], "NextToken": token}


@operation("sagemaker", "ListTrainingJobsForHyperParameterTuningJob")
def list_trials(request: Request, params: Params) -> Params:
    """Summaries of a tuning job's training jobs: filtered, sorted, in pages."""
    job = _job(request, params)
    wanted, by = params.get("StatusEquals"), params.get("SortBy", "Name")
    found = [trial for trial in _trials(request, job) if wanted in (None, trial["TrainingJobStatus"])]
    if by == "FinalObjectiveMetricValue":
        metric, _ = trials.objective(job)
        values = {trial["TrainingJobName"]: trials.final_value(trial, metric) for trial in found}
        # As on AWS, sorting by the objective leaves out those that have none.
        found = [trial for trial in found if values[trial["TrainingJobName"]] is not None]
        found.sort(key=lambda trial: values[trial["TrainingJobName"]] or 0.0)
    else:
        found.sort(key=lambda trial: trial[TRIAL_SORT_KEYS[by]])
    if params.get("SortOrder") == "Descending":
        found.reverse()
    shown, token = page(found, "TrainingJobName", params.get("NextToken"), params.get("MaxResults", PAGE))
    return {"TrainingJobSummaries": [trials.summary(job, trial) for trial in shown], "NextToken": token}


# ---- starting ----


def _search(request: Request, document: Document, parents: list[Document]) -> Search:
    config = document["HyperParameterTuningJobConfig"]
    return make_search(
        config["Strategy"],
        ranges_of(config["ParameterRanges"]),
        maximise=trials.objective(document)[1],
        seed=config.get("RandomSeed"),
        known=_known(request, parents),
        resource=resource_of(document),
    )


def _known(request: Request, parents: list[Document]) -> Iterator[tuple[dict[str, str], float]]:
    """What the trials of earlier tuning jobs have shown."""
    for parent in parents:
        for trial in _trials(request, parent):
            value = trials.final_value(trial, trials.objective(parent)[0])
            if value is not None:
                yield trial.get("HyperParameters", {}), value


def _describe_new(params: Params, arn: str, now: datetime) -> Document:
    # An empty structure in an answer is refused by the SageMaker SDK's own validation.
    job: Document = {name: value for name, value in params.items() if name != "Tags" and value not in ({}, [])}
    config = job["HyperParameterTuningJobConfig"]
    config.setdefault("TrainingJobEarlyStoppingType", "Off")
    if config["Strategy"] == "Grid":
        config["ResourceLimits"]["MaxNumberOfTrainingJobs"] = grid_size(config["ParameterRanges"])
    return {
        **job,
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }


# ---- describing ----


def _progress(request: Request, job: Document, found: list[Document]) -> Document:
    metric, maximise = trials.objective(job)
    ended = sorted((trial for trial in found if "TrainingEndTime" in trial), key=lambda trial: trial["TrainingEndTime"])
    values = [value for trial in ended if (value := trials.final_value(trial, metric)) is not None]
    seconds = (job.get("HyperParameterTuningEndTime") or request.cloud.clock.now()) - job["CreationTime"]
    return {
        "TrainingJobStatusCounters": trials.status_counters(found),
        "ObjectiveStatusCounters": trials.objective_counters(job, found),
        "TuningJobCompletionDetails": {
            "NumberOfTrainingJobsObjectiveNotImproving": trials.not_improving(values, maximise=maximise)
        },
        "ConsumedResources": {"RuntimeInSeconds": int(seconds.total_seconds())},
    }


def _best(request: Request, job: Document, found: list[Document]) -> dict[str, Any]:
    """BestTrainingJob; with a warm start on the same data, OverallBestTrainingJob too."""
    answer, own = {}, trials.best(job, found)
    if own:
        answer["BestTrainingJob"] = trials.summary(job, own)
    if job.get("WarmStartConfig", {}).get("WarmStartType") != "IdenticalDataAndAlgorithm":
        return answer
    table = request.cloud.store.table(TABLE)
    names = [parent["HyperParameterTuningJobName"] for parent in _parents(job)]
    family = [job, *(parent for name in names if (parent := table.find(request.region, name)))]
    owners = {trial["TrainingJobName"]: one for one in family for trial in _trials(request, one)}
    overall = trials.best(job, [trial for one in family for trial in _trials(request, one)])
    if overall:
        owner = owners[overall["TrainingJobName"]]
        tuning_job = {"TuningJobName": owner["HyperParameterTuningJobName"]}
        answer["OverallBestTrainingJob"] = {**trials.summary(owner, overall), **tuning_job}
    return answer


def _summary(request: Request, job: Document) -> Document:
    config, found = job["HyperParameterTuningJobConfig"], _trials(request, job)
    return {
        **{name: job[name] for name in SUMMARY if name in job},
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
        "TrainingJobStatusCounters": trials.status_counters(found),
        "ObjectiveStatusCounters": trials.objective_counters(job, found),
    }


def _trials(request: Request, job: Document) -> list[Document]:
    return trials.of(request.cloud.store.table(training_engine.TABLE), request.region, job)


def _job(request: Request, params: Params) -> Document:
    name = params["HyperParameterTuningJobName"]
    job = request.cloud.store.table(TABLE).find(request.region, name)
    if job is None:
        refuse(
            "ResourceNotFound",
            f"Amazon SageMaker can't find a tuning job with the name {name}. Provide a valid tuning job name.",
        )
    return job


def _parents(params: Params) -> list[dict[str, str]]:
    parents: list[dict[str, str]] = params.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", [])
    return [parent for parent in parents if parent.get("HyperParameterTuningJobName")]


def _passes(job: Document, params: Params) -> bool:
    created, modified = job["CreationTime"], job["LastModifiedTime"]
    return (
        params.get("NameContains", "") in job["HyperParameterTuningJobName"]
        and params.get("StatusEquals") in (None, job["HyperParameterTuningJobStatus"])
        and training.within(created, params.get("CreationTimeAfter"), params.get("CreationTimeBefore"))
        and training.within(modified, params.get("LastModifiedTimeAfter"), params.get("LastModifiedTimeBefore"))
    )


def _refuse_duplicate(arn: str) -> None:
    refuse(
        "ResourceInUse",
        "Hyperparameter tuning job names must be unique within an AWS account and region, and a hyperparameter tuning "
        f"job with this name already exists ({arn})",
    )
