"""Scaling activities: what Application Auto Scaling did, or did not do, and why; in AWS's words."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...store import Document, Table

KEPT = timedelta(weeks=6)
IN_PROGRESS, SUCCESSFUL, FAILED, UNFULFILLED = "InProgress", "Successful", "Failed", "Unfulfilled"
IDENTITY = ("ServiceNamespace", "ResourceId", "ScalableDimension")


class Activities:
    """The activities of all scalable targets, in the store."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def begin(self, region: str, target: Document, at: datetime, what: str, capacity: int, cause: str) -> str:
        """Record that a capacity (``what``: "instance count") is being set; returns the activity's name."""
        description = f"Setting desired {what} to {capacity}."
        return self._add(region, target, at, description, cause, IN_PROGRESS)

    def end(self, region: str, name: str, at: datetime, what: str, capacity: int, failure: str = "") -> None:
        """Record how it ended."""

        def change(activity: Document) -> None:
            by = activity["ServiceNamespace"]
            message = f"Successfully set desired {what} to {capacity}. Change successfully fulfilled by {by}."
            if failure:
                message = f"Failed to set desired {what} to {capacity}. Reason: {failure}"
            activity |= {"EndTime": at, "StatusCode": FAILED if failure else SUCCESSFUL, "StatusMessage": message}

        self._table.update(region, name, change)

    def not_scaled(
        self, region: str, target: Document, at: datetime, cause: str, reasons: list[dict[str, Any]]
    ) -> None:
        """Record that an alarm asked for something that was not done."""
        name = self._add(region, target, at, "Attempting to scale due to alarm triggered", cause, UNFULFILLED)
        more = {"EndTime": at, "NotScaledReasons": reasons}
        self._table.update(region, name, lambda activity: activity.update(more))

    def list(self, region: str) -> list[Document]:
        """A region's activities, newest first."""
        return self._table.list(region)[::-1]

    def _add(self, region: str, target: Document, at: datetime, description: str, cause: str, status: str) -> str:
        identity = str(uuid.uuid4())
        # Names in the order of time, so that the table is in that order too.
        name = f"{at.timestamp():017.6f} {identity}"
        activity = {
            **{member: target[member] for member in IDENTITY},
            "ActivityId": identity,
            "Description": description,
            "Cause": cause,
            "StartTime": at,
            "StatusCode": status,
        }
        self._forget_before(region, at - KEPT)
        self._table.insert(region, name, activity)
        return name

    def _forget_before(self, region: str, moment: datetime) -> None:
        for activity in self._table.list(region):
            if activity["StartTime"] >= moment:
                return
            self._table.delete(region, f"{activity['StartTime'].timestamp():017.6f} {activity['ActivityId']}")


def cause_of_alarm(alarm: str, policy: str) -> str:
    """Why an alarm's activity happened."""
    return f"monitor alarm {alarm} in state ALARM triggered policy {policy}"


def cause_of_bound(which: str, value: int) -> str:
    """Why an activity that brings the capacity within its bounds happened; ``which`` is minimum or maximum."""
    return f"{which} capacity was set to {value}"


__all__ = ["Activities", "cause_of_alarm", "cause_of_bound"]
