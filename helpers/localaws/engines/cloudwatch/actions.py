"""What alarms do when they change their state: tell other engines, publish to a topic."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...store import Document
    from .alarms import Surroundings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Action:
    """One action of an alarm; ``before`` is the state before it (the same, where it is repeated)."""

    arn: str
    region: str
    alarm: Document
    before: str

    @property
    def state(self) -> str:
        """The state the alarm is in now."""
        return str(self.alarm["StateValue"])


class Actions:
    """Executes actions: an engine's callback takes them, or SNS does."""

    def __init__(self, cloud: Surroundings) -> None:
        self._cloud = cloud
        self.callbacks: list[Callable[[Action], bool]] = []

    def execute(self, action: Action) -> str | None:
        """Do it; returns why it failed, or None."""
        try:
            if any(callback(action) for callback in self.callbacks):
                return None
            if action.arn.startswith("arn:aws:sns:"):
                return self._publish(action)
        except Exception as error:
            log.exception("action %s of alarm %s failed", action.arn, action.alarm["AlarmName"])
            return f"{type(error).__name__}: {error}"
        return "Nothing in the embedded AWS takes this kind of action"

    def _publish(self, action: Action) -> str | None:
        records, state, name = self._cloud.records, action.state, action.alarm["AlarmName"]
        with records.lock("sns"):
            backend = records.backend("sns", action.region)
            if action.arn not in backend.topics:
                return "Topic does not exist"
            subject = f'{state}: "{name}" in {action.region}'
            backend.publish(json.dumps(message(action, self._cloud.account)), subject=subject, arn=action.arn)
            records.keep("sns", "Publish", action.region, {})
            # SNS has handed the message to its queues, which are records of another service.
            records.keep("sqs", "SendMessage", action.region, {})
        return None


def message(action: Action, account: str) -> dict[str, Any]:
    """What CloudWatch sends to a topic."""
    alarm = action.alarm
    described = {key: alarm.get(key) for key in ("AlarmName", "AlarmDescription", "AlarmArn")}
    trigger = {
        key: alarm[key]
        for key in (
            "MetricName Namespace Statistic ExtendedStatistic Unit Dimensions Period EvaluationPeriods "
            "DatapointsToAlarm ComparisonOperator Threshold TreatMissingData Metrics"
        ).split()
        if key in alarm
    }
    return {
        **described,
        "AWSAccountId": account,
        "NewStateValue": action.state,
        "NewStateReason": alarm["StateReason"],
        "StateChangeTime": f"{alarm['StateUpdatedTimestamp']:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "+0000",
        "Region": action.region,
        "OldStateValue": action.before,
        **{key: alarm[key] for key in ("OKActions", "AlarmActions", "InsufficientDataActions")},
        "Trigger": trigger,
    }
