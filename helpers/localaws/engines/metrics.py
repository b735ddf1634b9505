"""Metrics of a training job: MetricDefinitions' expressions over its log lines.

https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .line_search import CPU_SECONDS, LineSearch


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

    def __init__(
        self, definitions: Sequence[dict[str, str]], note: Callable[[str], None] = lambda _: None, identity: str = ""
    ) -> None:
        """``note`` is told of an expression that is given up; ``identity`` is for the process that searches."""
        self._names = [definition["Name"] for definition in definitions]
        self._note = note
        self._search = LineSearch([definition["Regex"] for definition in definitions], self._give_up, identity)
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
            return [self._last[name].member() for name in self._names if name in self._last]

    def close(self) -> None:
        """End the process that searches."""
        self._search.close()

    def _values(self, line: str) -> Iterable[tuple[str, float]]:
        for index, text in self._search.search(line).items():
            value = _number(text)
            if value is not None:
                yield self._names[index], value

    def _give_up(self, index: int) -> None:
        self._note(
            f"the expression of the metric {self._names[index]} took more than {CPU_SECONDS:.0f} s on one line of this "
            "log: it is not searched for any more"
        )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
