"""SageMaker training jobs: what answers Create-, Describe-, List-, Stop- and DeleteTrainingJob."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..engines.metrics import UNWATCHED, Watch
from ..engines.training import TABLE
from ..engines.transitions import RUNNING, advance
from ..errors import refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..store import Document, Exists
from ..tags import from_list
from .training_input import check

PAGE = 10
SORT_KEYS = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}
SUMMARY = (
    "TrainingJobName TrainingJobArn CreationTime TrainingEndTime LastModifiedTime TrainingJobStatus SecondaryStatus"
).split()
# What AWS answers for members that were not given.
DEFAULTS: dict[str, Any] = {
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
}
MAX_RUNTIME = 86_400


@operation("sagemaker", "CreateTrainingJob")
def create_training_job(request: Request, params: Params) -> Params:
    """Check, record, start."""
    return {"TrainingJobArn": create(request, params)["TrainingJobArn"]}


def create(request: Request, params: Params, watch: Watch = UNWATCHED, **more: Any) -> Document:
    """Start a training job, a tuning job's trials too; ``more`` are further members of its description."""
    name = params["TrainingJobName"]
    arn = request.arn("sagemaker", f"training-job/{name}")
    if request.cloud.store.table(TABLE).find(request.region, name) is not None:
        _refuse_duplicate(arn)
    with request.cloud.training.creating:
        check(request, params)
        document = describe_new({**params, **more}, arn, request.cloud.clock.now())
        try:
            request.cloud.store.table(TABLE).insert(request.region, name, document)
        except Exists:
            _refuse_duplicate(arn)
    if params.get("Tags"):
        request.cloud.tags.add(arn, from_list(params["Tags"]))
    request.cloud.training.start(request.region, document, watch)
    return document


@operation("sagemaker", "DescribeTrainingJob")
def describe_training_job(request: Request, params: Params) -> Params:
    """Everything that was given at creation but the tags, and how far it has come."""
    return _job(request, params)


@operation("sagemaker", "StopTrainingJob")
def stop_training_job(request: Request, params: Params) -> None:
    """Ask a running job to stop; it does so in its own time (SIGTERM, up to 120 s, SIGKILL, upload)."""
    job = _job(request, params)
    status = request.cloud.training.stop(request.region, job["TrainingJobName"])
    if status != "InProgress":
        refuse("ValidationException", f"The request was rejected because the training job is in status {status}.")


@operation("sagemaker", "DeleteTrainingJob")
def delete_training_job(request: Request, params: Params) -> None:
    """Forget a job that has ended; its logs and artefacts stay."""
    with request.cloud.store.locked():  # a job of this name that is made anew meanwhile is another
        job = _job(request, params)
        if job["TrainingJobStatus"] in RUNNING:
            refuse(
                "ResourceInUse",
                f"Training job {job['TrainingJobArn']} is in status {job['TrainingJobStatus']}; only jobs in status "
                "Completed, Failed or Stopped can be deleted.",
            )
        request.cloud.store.table(TABLE).delete(request.region, job["TrainingJobName"])
        request.cloud.tags.forget(job["TrainingJobArn"])


@operation("sagemaker", "ListTrainingJobs")
def list_training_jobs(request: Request, params: Params) -> Params:
    """Summaries of the region's jobs: filtered, sorted, in pages."""
    jobs = [job for job in request.cloud.store.table(TABLE).list(request.region) if _passes(job, params)]
    # Sorted by name first, so that jobs equal in the wanted key come in the same order in every page.
    key = SORT_KEYS[params.get("SortBy", "CreationTime")]
    jobs.sort(key=lambda job: job[key], reverse=params.get("SortOrder") == "Descending")
    shown, token = page(jobs, "TrainingJobName", params.get("NextToken"), params.get("MaxResults", PAGE))
    summaries = [{name: job[name] for name in SUMMARY if name in job} for job in shown]
    return {"TrainingJobSummaries": summaries, "NextToken": token}


def describe_new(params: Params, arn: str, now: datetime) -> Document:
    """The description of a job that is just created."""
    # An empty structure in an answer is refused by the SageMaker SDK's own validation.
    given = {name: value for name, value in params.items() if name != "Tags" and value not in ({}, [])}
    job: Document = {
        **DEFAULTS,
        **given,
        "TrainingJobArn": arn,
        "TrainingJobStatus": "InProgress",
        "CreationTime": now,
        "StoppingCondition": {"MaxRuntimeInSeconds": MAX_RUNTIME, **given.get("StoppingCondition", {})},
    }
    advance(job, "Starting", now)
    return job


def _job(request: Request, params: Params) -> Document:
    job = request.cloud.store.table(TABLE).find(request.region, params["TrainingJobName"])
    return job if job is not None else refuse("ValidationException", "Requested resource not found.")


def _passes(job: Document, params: Params) -> bool:
    created, modified = job["CreationTime"], job["LastModifiedTime"]
    return (
        params.get("NameContains", "") in job["TrainingJobName"]
        and params.get("StatusEquals") in (None, job["TrainingJobStatus"])
        and within(created, params.get("CreationTimeAfter"), params.get("CreationTimeBefore"))
        and within(modified, params.get("LastModifiedTimeAfter"), params.get("LastModifiedTimeBefore"))
        # No job here has a warm pool or a training plan, so none is found by one.
        and "WarmPoolStatusEquals" not in params
        and "TrainingPlanArnEquals" not in params
    )


def within(moment: datetime, after: datetime | None, before: datetime | None) -> bool:
    """Whether a moment lies between two others, where they are given."""
    return (after is None or moment > after) and (before is None or moment < before)


def _refuse_duplicate(arn: str) -> None:
    refuse(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        f"already exists ({arn})",
    )
