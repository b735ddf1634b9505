"""Data points as rows of numbers, and how old ones are made fewer.

A row is (time, count, sum, minimum, maximum, resolution): a value that was measured ``count`` times has its minimum
equal to its maximum; a statistic set, whose single values nobody knows any more, has not. Times are Unix seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
TIME, COUNT, SUM, MIN, MAX, RESOLUTION = range(6)
WIDTH = 6
MINUTE = 60.0
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html: below a minute for 3 hours,
# minutes for 15 days (and coarser ones for longer, which nobody here lives to see).
KEPT_FINE_SECONDS = 3 * 3600.0
KEPT_SECONDS = 15 * 86400.0
DISTINCT = 150  # as many values as PutMetricData takes in one datum; more are told apart to one per cent
_RELATIVE_WIDTH = np.log(1.01)


def value_rows(at: float, values: Any, counts: Any, resolution: int) -> Rows:
    """The rows of values that were measured ``counts`` times at one moment; many different ones are condensed."""
    values, counts = condense(np.asarray(values, np.float64), np.asarray(counts, np.float64))
    rows = np.empty((len(values), WIDTH))
    rows[:, TIME], rows[:, COUNT], rows[:, SUM] = at, counts, values * counts
    rows[:, MIN] = rows[:, MAX] = values
    rows[:, RESOLUTION] = resolution
    return rows


def condense(values: Rows, counts: Rows) -> tuple[Rows, Rows]:
    """The same distribution in fewer values: equal ones together and, beyond 150, those within one per cent.

    Sum, count, minimum and maximum stay exact; a percentile is off by one per cent at most.
    """
    distinct, where = np.unique(values, return_inverse=True)
    weights: Rows = np.bincount(where, weights=counts).astype(np.float64)
    if len(distinct) <= DISTINCT:
        return distinct, weights
    with np.errstate(divide="ignore"):
        bins = np.where(
            distinct == 0, 0, np.sign(distinct) * (np.floor(np.log(np.abs(distinct)) / _RELATIVE_WIDTH) + 1e6)
        )
    bins[0], bins[-1] = -np.inf, np.inf
    _, group = np.unique(bins, return_inverse=True)
    merged: Rows = np.bincount(group, weights=weights).astype(np.float64)
    return np.bincount(group, weights=weights * distinct) / merged, merged


def retain(rows: Rows, now: float) -> Rows:
    """What CloudWatch still has of ``rows``: nothing beyond 15 days, one-minute points beyond 3 hours."""
    return by_minute(rows[rows[:, TIME] >= now - KEPT_SECONDS], now - KEPT_FINE_SECONDS)


def by_minute(rows: Rows, before: float) -> Rows:
    """``rows`` with those older than ``before`` merged into whole minutes; the others as they are."""
    minutes = np.floor(rows[:, TIME] / MINUTE) * MINUTE
    merged_already = (rows[:, TIME] == minutes) & (rows[:, RESOLUTION] >= MINUTE)
    old = (minutes + MINUTE <= before) & ~merged_already
    if not old.any():
        return rows
    order = np.argsort(minutes[old], kind="stable")
    of_minute, first = np.unique(minutes[old][order], return_index=True)
    groups = np.split(rows[old][order], first[1:])
    return np.concatenate(
        [rows[~old], *(_minute(minute, group) for minute, group in zip(of_minute, groups, strict=True))]
    )


def _minute(minute: float, rows: Rows) -> Rows:
    """One minute's rows: its values condensed, its statistic sets as one."""
    plain = rows[:, MIN] == rows[:, MAX]
    merged = [value_rows(minute, rows[plain, MIN], rows[plain, COUNT], int(MINUTE))] if plain.any() else []
    sets = rows[~plain]
    if len(sets):
        total = [minute, sets[:, COUNT].sum(), sets[:, SUM].sum(), sets[:, MIN].min(), sets[:, MAX].max(), MINUTE]
        merged.append(np.array([total]))
    return np.concatenate(merged)
