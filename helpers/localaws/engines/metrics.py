"""Metrics of a training job: MetricDefinitions' expressions over its log lines.

https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Point:
    """One value of a metric."""

    name: str
    value: float
    at: datetime

    def member(self) -> dict[str, Any]:
        """As a member of FinalMetricDataList."""
        return {"MetricName": self.name, "Value": self.value, "Timestamp": self.at}


@dataclass(frozen=True)
class Watch:
    """Who else is told of a training job's course: its tuning job, of each value and, at last, of the end."""

    on_point: Callable[[Point], None]
    on_end: Callable[[], None]


UNWATCHED = Watch(lambda _: None, lambda: None)


def compiled(definition: dict[str, str]) -> re.Pattern[str]:
    """A definition's expression; raises ``ValueError`` where it is none or captures nothing."""
    try:
        pattern = re.compile(definition["Regex"])
    except re.error as error:
        raise ValueError(f"it is not a regular expression ({error})") from error
    if not pattern.groups:
        raise ValueError("it has no group, such as ([0-9.]+), that captures the value")
    return pattern


class Metrics:
    """Reads log lines of all hosts and keeps each metric's last value. Safe to use from many threads."""

    def __init__(self, definitions: Iterable[dict[str, str]]) -> None:
        self._patterns = [(definition["Name"], compiled(definition)) for definition in definitions]
        self._lock, self._last = threading.Lock(), {}  # type: tuple[Any, dict[str, Point]]

    def read(self, line: str, at: datetime) -> list[Point]:
        """The values in one line; what matches but is no finite number is none, as on AWS."""
        found = [Point(name, value, at) for name, value in self._values(line)]
        with self._lock:
            self._last.update({point.name: point for point in found})
        return found

    def final(self) -> list[dict[str, Any]]:
        """FinalMetricDataList: the last value of each metric that has one, in the order of the definitions."""
        with self._lock:
            return [self._last[name].member() for name, _ in self._patterns if name in self._last]

    def _values(self, line: str) -> Iterable[tuple[str, float]]:
        for name, pattern in self._patterns:
            match = pattern.search(line)
            value = _number(match.group(1)) if match else None
            if value is not None:
                yield name, value


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
