"""What alarms did: DescribeAlarmHistory's items, the newest 500 of each alarm, for at most 30 days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...store import Document, Store

TABLE = "alarm-history"
MAX_ITEMS = 500
MAX_DATA = 4095
KEPT = timedelta(days=30)


class History:
    """The items of all alarms; they outlive their alarm."""

    def __init__(self, store: Store) -> None:
        self._store, self._table = store, store.table(TABLE)

    def items(self, region: str) -> Iterator[Document]:
        """All items of a region, each alarm's in the order they came."""
        for document in self._table.list(region):
            yield from document["Items"]

    def configured(self, region: str, alarm: Document | None, before: Document | None, now: datetime) -> None:
        """An alarm was made (nothing before), changed, or deleted (nothing after)."""
        kind = "Delete" if alarm is None else "Create" if before is None else "Update"
        member = {"Create": "createdAlarm", "Update": "updatedAlarm", "Delete": "deletedAlarm"}[kind]
        described = alarm or before or {}
        summary = f'Alarm "{described["AlarmName"]}" {kind.lower()}d'
        self._add(region, described, "ConfigurationUpdate", summary, {"type": kind, member: described}, now)

    def entered(self, region: str, alarm: Document, before: Document, now: datetime) -> None:
        """An alarm has changed its state."""
        summary = f"Alarm updated from {before['StateValue']} to {alarm['StateValue']}"
        self._add(region, alarm, "StateUpdate", summary, {"oldState": _state(before), "newState": _state(alarm)}, now)

    def acted(self, region: str, alarm: Document, arn: str, failure: str | None, now: datetime) -> None:
        """An action was executed, or failed."""
        done = f"Successfully executed action {arn}"
        summary = done if failure is None else f"Failed to execute action {arn}"
        data: dict[str, Any] = {
            "actionState": "Succeeded" if failure is None else "Failed",
            "notificationResource": arn,
        }
        data |= {"stateUpdateTimestamp": int(alarm["StateUpdatedTimestamp"].timestamp() * 1000)}
        self._add(region, alarm, "Action", summary, data | ({"error": failure} if failure else {}), now)

    def _add(self, region: str, alarm: Document, kind: str, summary: str, data: dict[str, Any], now: datetime) -> None:
        item = {
            "AlarmName": alarm["AlarmName"],
            "AlarmType": "MetricAlarm",
            "Timestamp": now,
            "HistoryItemType": kind,
            "HistorySummary": summary[:255],
            "HistoryData": _written(data),
        }
        with self._store.locked():
            found = self._table.find(region, alarm["AlarmName"]) or {"Items": []}
            kept = [one for one in found["Items"] if now - one["Timestamp"] <= KEPT][1 - MAX_ITEMS :]
            self._table.put(region, alarm["AlarmName"], {"Items": [*kept, item]})


def _written(data: dict[str, Any]) -> str:
    """As JSON; of what would be longer than the API allows, only the texts and numbers."""
    text = json.dumps({"version": "1.0", **data}, default=str)
    if len(text) <= MAX_DATA:
        return text
    return json.dumps({"version": "1.0", **{key: value for key, value in data.items() if not isinstance(value, dict)}})


def _state(alarm: Document) -> dict[str, Any]:
    data = alarm.get("StateReasonData")
    described = {"stateValue": alarm["StateValue"], "stateReason": alarm["StateReason"]}
    return described | ({"stateReasonData": json.loads(data)} if data else {})
