"""Why an alarm is in its state, in CloudWatch's words: ``StateReason`` and ``StateReasonData``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .evaluation import ALARM, BREACHING, INSUFFICIENT_DATA, OK, Rule, Verdict

INITIAL = "Unchecked: Initial alarm creation"
SHOWN = 5
_WORDS = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}


def reason(rule: Rule, verdict: Verdict, values: Sequence[float | None], times: Sequence[float]) -> str:
    """The ``StateReason``; ``times`` are when the periods of ``values`` began."""
    if verdict.state == INSUFFICIENT_DATA:
        return f"Insufficient Data: {_counted(rule.periods, 'datapoint')} unknown."
    treated = "Breaching" if rule.missing == BREACHING else "NonBreaching"
    if not verdict.used:
        return (
            f"Threshold Crossed: no datapoints were received for {rule.periods} period{'s' * (rule.periods > 1)} and "
            f"{_counted(verdict.filled, 'missing datapoint')} treated as [{treated}]."
        )
    points = [(times[index], values[index]) for index in verdict.used]
    shown = [
        (at, value) for at, value in points if value is not None and rule.breaches(value) == (verdict.state == ALARM)
    ]
    return _crossed(rule, verdict.state, list(reversed(shown)))


def _crossed(rule: Rule, state: str, shown: list[tuple[float, float]]) -> str:
    listed = ", ".join(f"{value} ({_time(at):%d/%m/%y %H:%M:%S})" for at, value in shown[:SHOWN])
    counted = f"{len(shown)} out of the last {rule.periods} datapoints"
    verb = "was" if len(shown) == 1 else "were"
    words = f"{'' if state == ALARM else 'not '}{_WORDS[rule.comparison]} the threshold ({rule.threshold})"
    needed = rule.datapoints if state == ALARM else rule.periods - rule.datapoints + 1
    transition = f"{OK} -> {ALARM}" if state == ALARM else f"{ALARM} -> {OK}"
    minimum = f"(minimum {needed} datapoint{'s' * (needed > 1)} for {transition} transition)"
    if len(shown) <= SHOWN:
        return f"Threshold Crossed: {counted} [{listed}] {verb} {words} {minimum}."
    return (
        f"Threshold Crossed: {counted} {verb} {words}. The most recent datapoints which crossed the threshold: "
        f"[{listed}] {minimum}."
    )


def reason_data(
    rule: Rule,
    verdict: Verdict,
    values: Sequence[float | None],
    times: Sequence[float],
    measured: dict[str, Any],
    now: datetime,
) -> str:
    """The ``StateReasonData``: JSON with the data points; ``measured`` names statistic, period and unit."""
    evaluated = [{"timestamp": _stamp(_time(times[index])), "value": values[index]} for index in reversed(verdict.used)]
    start = {"startDate": _stamp(_time(times[verdict.used[0]]))} if verdict.used else {}
    return json.dumps(
        {
            "version": "1.0",
            "queryDate": _stamp(now),
            **start,
            **measured,
            "recentDatapoints": [values[index] for index in verdict.used][-SHOWN:],
            "threshold": rule.threshold,
            "evaluatedDatapoints": evaluated[:SHOWN],
        }
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what} was" if number == 1 else f"{number} {what}s were"


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _stamp(at: datetime) -> str:
    """As AWS writes times inside this JSON: ``2026-11-22T21:00:00.000+0000``."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}+0000"
