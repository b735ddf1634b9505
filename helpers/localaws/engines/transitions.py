"""What DescribeTrainingJob says of a job's course: its statuses, their times, and AWS's words for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..store import Document, Table
from .clock import Clock
from .spot import billable

MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "The managed spot training instances were interrupted; waiting for others",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job exceeded MaxWaitTimeInSeconds provided",
}
RUNNING = ("InProgress", "Stopping")
# The job's status at the end, by its last secondary status.
FINAL = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}


def advance(job: Document, status: str, now: datetime) -> None:
    """Move a job's description to another secondary status, closing the one it was in."""
    transitions = job.setdefault("SecondaryStatusTransitions", [])
    if transitions:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": MESSAGES[status]})
    job.update(SecondaryStatus=status, LastModifiedTime=now)


def finish(job: Document, status: str, now: datetime, **more: Any) -> None:
    """Move a job's description to its last status; ``more`` are members to set with it (``FailureReason``)."""
    # A job that was asked to stop in its last moments is Stopped, as its owner has been told already.
    status = "Stopped" if job["TrainingJobStatus"] == "Stopping" and status == "Completed" else status
    advance(job, status, now)
    job["SecondaryStatusTransitions"][-1]["EndTime"] = now
    job.update(TrainingJobStatus=FINAL[status], TrainingEndTime=now, **more)
    if "TrainingStartTime" in job:
        seconds = math.ceil(held_seconds(job["SecondaryStatusTransitions"]))
        paid = billable(seconds) if job.get("EnableManagedSpotTraining") else seconds
        job.update(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=paid)


def held_seconds(transitions: list[dict[str, Any]]) -> float:
    """For how long an ended job had instances: each time from ``Downloading`` until ``Interrupted`` or the end.

    A spot job that waits for capacity has none, and pays for none.
    """
    held, since = 0.0, None
    for transition in transitions:
        if transition["Status"] == "Downloading":
            since = since or transition["StartTime"]
        elif transition["Status"] == "Interrupted" and since:
            held, since = held + (transition["StartTime"] - since).total_seconds(), None
    return held + ((transitions[-1]["EndTime"] - since).total_seconds() if since else 0.0)


class Record:
    """One job's description in the store; each step is durable before it can be seen."""

    def __init__(self, table: Table, clock: Clock, region: str, name: str) -> None:
        self._table, self._clock, self._region, self._name = table, clock, region, name

    @property
    def stopping(self) -> bool:
        """Whether the job has been asked to stop and has not ended."""
        job = self._table.find(self._region, self._name)
        return job is not None and job["TrainingJobStatus"] == "Stopping"

    def advance(self, status: str) -> None:
        """Move to a secondary status. Instances are paid from the first ``Downloading`` on."""

        def change(job: Document, now: datetime) -> None:
            advance(job, status, now)
            if status == "Downloading":
                job.setdefault("TrainingStartTime", now)

        self._update(change)

    def interrupt(self) -> bool:
        """Move to ``Interrupted``; False, changing nothing, where the job has been asked to stop in the meantime."""
        found: list[str] = []

        def change(job: Document, now: datetime) -> None:
            found.append(job["TrainingJobStatus"])
            if job["TrainingJobStatus"] == "InProgress":
                advance(job, "Interrupted", now)

        self._update(change)
        return found[0] == "InProgress"

    def ask_to_stop(self) -> str:
        """Mark a job that is in progress as stopping; returns the status it was in, changing nothing in any other."""
        found: list[str] = []

        def change(job: Document, now: datetime) -> None:
            found.append(job["TrainingJobStatus"])
            if job["TrainingJobStatus"] == "InProgress":
                job["TrainingJobStatus"] = "Stopping"
                advance(job, "Stopping", now)

        self._update(change)
        return found[0]

    def finish(self, status: str, **more: Any) -> None:
        """Move to the last status."""
        self._update(lambda job, now: finish(job, status, now, **more))

    def has_failed(self, died: datetime | None, reason: str) -> None:
        """Find out only now that a job has failed: when its server ``died``, if that is known."""

        def change(job: Document, now: datetime) -> None:
            finish(job, "Failed", max(died, job["LastModifiedTime"]) if died else now, FailureReason=reason)

        self._update(change)

    def _update(self, change: Callable[[Document, datetime], None]) -> None:
        self._table.update(self._region, self._name, lambda job: change(job, self._clock.now()))
