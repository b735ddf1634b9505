"""CloudWatch's statistics of data points, a period at a time.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html. Percentiles are
nearest-rank: the smallest value that so many per cent of the samples do not exceed. Percentiles, trimmed and winsorized
statistics need single values; a period with a statistic set of different ones has none, as on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .points import COUNT, MAX, MIN, SUM, TIME, Rows

Ints = NDArray[np.int64]
SIMPLE = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
# Statistics that grow with the length of the period; the others do not.
TOTALS = re.compile(r"Sum$|SampleCount$|tc|TC|ts|TS")
_NUMBER = r"\d+(?:\.\d{1,10})?"
_SHORT = re.compile(rf"(p|tm|wm|tc|ts)({_NUMBER})")
_LONG = re.compile(rf"(TM|WM|TC|TS)\(({_NUMBER}%?)?:({_NUMBER}%?)?\)")
_RANK = re.compile(rf"PR\(({_NUMBER})?:({_NUMBER})?\)")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Extended:
    """An extended statistic: what is done (``p``, ``tm``, ``wm``, ``tc``, ``ts``, ``pr``) with the samples in bounds.

    Bounds are per cent of the samples, or values where ``absolute``.
    """

    kind: str
    low: float
    high: float
    absolute: bool = False


def parse(name: str) -> Extended | None:
    """The extended statistic of that name (``p99``, ``tm90``, ``TM(10%:90%)``, ``PR(:300)``, ``IQM``), or None."""
    if name.upper() == "IQM":
        return Extended("tm", 25, 75)
    if found := _SHORT.fullmatch(name):
        high = float(found[2])
        return Extended(found[1], 0, high) if high <= 100 else None
    if found := _RANK.fullmatch(name):
        return _bounds("pr", found[1], found[2])
    if found := _LONG.fullmatch(name):
        return _bounds(found[1].lower(), found[2], found[3])
    return None


def _order(keys: Ints) -> Ints:
    """A stable order of whole numbers; numpy sorts those of 16 bits in linear time."""
    keys = keys - keys.min()
    return np.argsort(keys.astype(np.uint16) if keys.max() < 1 << 16 else keys, kind="stable")


def known(name: str) -> bool:
    """Whether CloudWatch has a statistic of that name."""
    return name in SIMPLE or parse(name) is not None


def _bounds(kind: str, low: str | None, high: str | None) -> Extended | None:
    given = [text for text in (low, high) if text is not None]
    relative = [text.endswith("%") for text in given]
    if not given or len(set(relative)) > 1:
        return None
    if relative[0]:
        floor, ceiling = float((low or "0%")[:-1]), float((high or "100%")[:-1])
        return Extended(kind, floor, ceiling) if floor < ceiling <= 100 else None
    floor, ceiling = float(low or "-inf"), float(high or "inf")
    return Extended(kind, floor, ceiling, absolute=True) if floor < ceiling else None


class Periods:
    """Rows sorted into periods of ``period`` seconds, the first of which begins at ``origin``."""

    def __init__(self, rows: Rows, origin: float, period: float) -> None:
        # A nanosecond's grace: 0.1 s periods do not add up exactly.
        bins = np.floor((rows[:, TIME] - origin) / period + _ROUNDING).astype(np.int64)
        if (np.diff(bins) < 0).any():
            order = _order(bins)
            rows, bins = rows[order], bins[order]
        self._rows = rows
        self.indices, self._first = np.unique(bins, return_index=True)
        self._group = np.repeat(np.arange(len(self.indices)), np.diff([*self._first, len(bins)]))

    def statistic(self, name: str) -> Rows:
        """The statistic of each period in :attr:`indices`; NaN where it cannot be told.

        Raises ``ValueError`` for a name that is no statistic.
        """
        if not len(self.indices):
            return np.empty(0)
        if name in SIMPLE:
            return self._simple(name)
        extended = parse(name)
        if extended is None:
            raise ValueError(f"{name} is not a statistic of CloudWatch")
        measure = self._by_value if extended.absolute else self._by_rank
        mixed = np.zeros(len(self.indices), bool)
        mixed[self._group[self._rows[:, MIN] != self._rows[:, MAX]]] = True
        return np.where(mixed, np.nan, measure(extended))

    def _simple(self, name: str) -> Rows:
        simple: dict[str, Callable[[], Rows]] = {
            "SampleCount": lambda: self._sum(self._rows[:, COUNT]),
            "Sum": lambda: self._sum(self._rows[:, SUM]),
            "Average": lambda: self._sum(self._rows[:, SUM]) / self._sum(self._rows[:, COUNT]),
            "Minimum": lambda: np.minimum.reduceat(self._rows[:, MIN], self._first),
            "Maximum": lambda: np.maximum.reduceat(self._rows[:, MAX], self._first),
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            return simple[name]()

    def _ranked(self) -> tuple[Rows, Rows]:
        """Counts and values, by value within each period."""
        counts, values = self._rows[:, COUNT], self._rows[:, MIN]
        by_value = np.argsort(values)
        order = by_value[_order(self._group[by_value])]
        return counts[order], values[order]

    def _sum(self, values: Rows) -> Rows:
        return np.bincount(self._group, weights=values, minlength=len(self.indices)).astype(np.float64)

    def _by_rank(self, wanted: Extended) -> Rows:
        """Statistics with bounds in per cent of the samples."""
        counts, values = self._ranked()
        through = np.cumsum(counts)
        before = np.concatenate(([0.0], through))[self._first]
        total = self._sum(counts)
        low, high = before + total * wanted.low / 100, before + total * wanted.high / 100
        if wanted.kind == "p":
            return values[self._at_rank(through, high)]
        inside = np.minimum(through, high[self._group]) - np.maximum(through - counts, low[self._group])
        inside = np.clip(inside, 0, None)
        if wanted.kind == "wm":
            below = values[self._at_rank(through, low)] * (low - before)
            above = values[self._at_rank(through, high)] * (before + total - high)
            return (self._sum(inside * values) + below + above) / total
        return self._trimmed(wanted.kind, inside, values)

    def _at_rank(self, through: Rows, rank: Rows) -> Ints:
        """The row in each period that holds the sample of that rank."""
        last = np.append(self._first[1:], len(through)) - 1
        found = np.searchsorted(through, rank - _ROUNDING * np.maximum(1, np.abs(rank)))
        return np.clip(found, self._first, last)

    def _by_value(self, wanted: Extended) -> Rows:
        """Statistics with bounds in values: above the lower one, up to the higher one."""
        counts, values = self._rows[:, COUNT], self._rows[:, MIN]
        inside = counts * ((values > wanted.low) & (values <= wanted.high))
        if wanted.kind == "pr":
            return 100 * self._sum(inside) / self._sum(counts)
        if wanted.kind == "wm":
            return self._sum(counts * np.clip(values, wanted.low, wanted.high)) / self._sum(counts)
        return self._trimmed(wanted.kind, inside, values)

    def _trimmed(self, kind: str, inside: Rows, values: Rows) -> Rows:
        if kind == "tc":
            return self._sum(inside)
        if kind == "ts":
            return self._sum(inside * values)
        with np.errstate(invalid="ignore"):
            return self._sum(inside * values) / self._sum(inside)
