"""Whether an alarm is in OK, ALARM or INSUFFICIENT_DATA: a pure function of its rule and its last data points.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html. CloudWatch looks at more
periods than the alarm's N (its *evaluation range*): real data points count first, however old within that range, and
what still lacks to N is filled in as ``TreatMissingData`` says.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
STATES = (OK, ALARM, INSUFFICIENT_DATA)
MISSING, IGNORE, BREACHING, NOT_BREACHING = "missing", "ignore", "breaching", "notBreaching"
TREATMENTS = (MISSING, IGNORE, BREACHING, NOT_BREACHING)
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
EXTRA_PERIODS = 2  # AWS documents no number; its own examples look at five periods where N is three


@dataclass(frozen=True)
class Rule:
    """``datapoints`` (M) of the last ``periods`` (N) data points breaching the threshold make an alarm."""

    threshold: float
    comparison: str
    periods: int
    datapoints: int
    missing: str = MISSING

    @property
    def range(self) -> int:
        """How many periods the evaluation looks at."""
        return self.periods + EXTRA_PERIODS

    def breaches(self, value: float) -> bool:
        """Whether a data point is on the wrong side of the threshold."""
        return COMPARISONS[self.comparison](value, self.threshold)


@dataclass(frozen=True)
class Verdict:
    """An alarm's state, the indices of the data points it rests on (oldest first), and how many were filled in."""

    state: str
    used: tuple[int, ...]
    filled: int


def evaluate(rule: Rule, values: Sequence[float | None], state: str) -> Verdict:
    """The state that follows ``state``. ``values`` are the evaluation range's, oldest first, None where missing."""
    real = [index for index, value in enumerate(values) if value is not None]
    used = tuple(real[-rule.periods :])
    breaching = [index for index in used if rule.breaches(_known(values[index]))]
    filled = rule.periods - len(used)
    verdict = _state(rule, len(breaching), len(used), filled)
    if verdict is None:
        # Every data point there is breaches, but there are fewer than M. An old one has had its time to be refuted.
        oldest_age = len(values) - breaching[0] if breaching else 0
        alarmed = rule.missing == MISSING and oldest_age >= rule.datapoints and bool(breaching)
        verdict = ALARM if alarmed else state if rule.missing == IGNORE else INSUFFICIENT_DATA
    return Verdict(verdict, used, filled)


def _state(rule: Rule, breaching: int, used: int, filled: int) -> str | None:
    """OK or ALARM where the data points and the filled ones decide it; None where they leave it open."""
    if rule.missing == BREACHING:
        breaching += filled
    if breaching >= rule.datapoints:
        return ALARM
    healthy = used - breaching + (filled if rule.missing in (BREACHING, NOT_BREACHING) else 0)
    return OK if filled == 0 or healthy > 0 else None


def _known(value: float | None) -> float:
    assert value is not None
    return value
