"""All metrics' data points: in memory to be counted fast, and in one SQLite file, at most half a second behind.

What a killed server had not written yet (that half second) is lost; all else is there at the next start. Points are
kept as long and as finely as :mod:`.points` says, so the file and the memory stay bounded.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .points import TIME, WIDTH, Rows, by_minute, retain

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
TIDY_SECONDS = 600.0
MAX_ROWS = 200_000  # of one metric and unit; beyond, what is older than ten minutes is kept by the minute
_SCHEMA = """
CREATE TABLE IF NOT EXISTS metrics (id INTEGER PRIMARY KEY, region TEXT, namespace TEXT, name TEXT, dimensions TEXT,
                                    unit TEXT);
CREATE TABLE IF NOT EXISTS chunks (metric INTEGER, rows BLOB);
CREATE INDEX IF NOT EXISTS chunks_of_metric ON chunks (metric);
"""


class Metric(NamedTuple):
    """What identifies a metric. ``dimensions`` are in the order of their names; see :func:`metric`."""

    region: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


def metric(region: str, namespace: str, name: str, dimensions: dict[str, str]) -> Metric:
    """The metric of these names, in whatever order its dimensions were given."""
    return Metric(region, namespace, name, tuple(sorted(dimensions.items())))


class Series:
    """The points of one metric in one unit, in the order they came."""

    def __init__(self, identity: int, rows: Rows | None = None) -> None:
        self.identity = identity
        self.replace(np.empty((0, WIDTH)) if rows is None else rows)

    def replace(self, rows: Rows) -> None:
        """Hold these rows, and count them as saved."""
        self._numbers = array("d")
        self.newest, self._in_order = -np.inf, True
        self.add(rows)
        self._saved = len(self._numbers)

    def add(self, rows: Rows) -> None:
        """Append rows."""
        if len(rows):
            times = rows[:, TIME]
            self._in_order = self._in_order and times[0] >= self.newest and bool((np.diff(times) >= 0).all())
            self.newest = max(self.newest, float(times.max()))
            self._numbers.frombytes(rows.tobytes())

    def rows(self, start: float = -np.inf, end: float = np.inf) -> Rows:
        """The rows from ``start`` up to, not including, ``end`` (a copy)."""
        # A view of the numbers, which cannot grow while it is there: it ends with this call.
        view = np.frombuffer(self._numbers).reshape(-1, WIDTH)
        if self._in_order:
            first, last = np.searchsorted(view[:, TIME], [start, end])
            return view[first:last].copy()
        return view[(view[:, TIME] >= start) & (view[:, TIME] < end)]

    def unsaved(self) -> bytes:
        """The bytes of the rows that were added since the last call."""
        part = self._numbers[self._saved :].tobytes()
        self._saved = len(self._numbers)
        return part

    def __len__(self) -> int:
        return len(self._numbers) // WIDTH


class MetricStore:
    """Every metric's series, by unit. Safe to use from many threads."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock, self._saving = threading.Lock(), threading.Lock()
        self._metrics: dict[Metric, dict[str, Series]] = {}
        self._new: list[tuple[Metric, str, Series]] = []
        self._dirty: set[Series] = set()
        self._identity = 0
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self._load()
        self._stopping = threading.Event()
        self._saver = threading.Thread(target=self._save_always, name="metric store", daemon=True)
        self._saver.start()

    def put(self, of: Metric, unit: str, rows: Rows) -> None:
        """Add points of a metric."""
        if not len(rows):
            return
        with self._lock:
            series = self._metrics.setdefault(of, {}).get(unit)
            if series is None:
                self._identity += 1
                series = self._metrics[of][unit] = Series(self._identity)
                self._new.append((of, unit, series))
            series.add(rows)
            self._dirty.add(series)

    def rows(self, of: Metric, start: float, end: float, unit: str | None = None) -> Rows:
        """The points from ``start`` up to, not including, ``end``, of one unit or of all."""
        with self._lock:
            found = [one.rows(start, end) for name, one in self._metrics.get(of, {}).items() if unit in (None, name)]
        return found[0] if len(found) == 1 else np.concatenate(found) if found else np.empty((0, WIDTH))

    def units(self, of: Metric) -> list[str]:
        """The units that a metric has points in."""
        with self._lock:
            return list(self._metrics.get(of, {}))

    def all(self, region: str) -> Iterator[tuple[Metric, float]]:
        """Every metric of a region and the time of its newest point."""
        with self._lock:
            found = [
                (one, max(series.newest for series in units.values()))
                for one, units in self._metrics.items()
                if one.region == region
            ]
        return iter(found)

    def close(self) -> None:
        """Save what is unsaved, and end."""
        self._stopping.set()
        self._saver.join()
        self.save()
        self._database.close()

    # ---- on disk ----

    def save(self) -> None:
        """Write everything that is not on disk yet."""
        with self._saving:
            with self._lock:
                new, self._new = self._new, []
                chunks = [(series.identity, series.unsaved()) for series in self._dirty]
                self._dirty = set()
            if not chunks and not new:
                return
            with self._database:
                self._database.executemany(
                    "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)",
                    [(series.identity, *of[:3], json.dumps(of.dimensions), unit) for of, unit, series in new],
                )
                self._database.executemany("INSERT INTO chunks VALUES (?, ?)", chunks)

    def tidy(self) -> None:
        """Drop and merge what has grown old, in memory and on disk."""
        self.save()
        with self._lock:
            everything = [(of, unit, series) for of, units in self._metrics.items() for unit, series in units.items()]
        for of, unit, series in everything:
            self._tidy_one(of, unit, series)

    def _tidy_one(self, of: Metric, unit: str, series: Series) -> None:
        with self._saving, self._lock:
            rows, now = series.rows(), self._now()
            kept = retain(rows, now)
            if len(kept) > MAX_ROWS:
                kept = by_minute(kept, now - 600)
            series.replace(kept)
            self._dirty.discard(series)
            if not len(kept):
                del self._metrics[of][unit]
                if not self._metrics[of]:
                    del self._metrics[of]
            with self._database:
                self._database.execute("DELETE FROM chunks WHERE metric = ?", (series.identity,))
                if len(kept):
                    self._database.execute("INSERT INTO chunks VALUES (?, ?)", (series.identity, kept.tobytes()))
                else:
                    self._database.execute("DELETE FROM metrics WHERE id = ?", (series.identity,))

    def _load(self) -> None:
        for identity, region, namespace, name, dimensions, unit in self._database.execute("SELECT * FROM metrics"):
            chunks = self._database.execute("SELECT rows FROM chunks WHERE metric = ? ORDER BY rowid", (identity,))
            rows = np.frombuffer(b"".join(chunk for (chunk,) in chunks)).reshape(-1, WIDTH)
            of = Metric(region, namespace, name, tuple((key, value) for key, value in json.loads(dimensions)))
            self._metrics.setdefault(of, {})[unit] = Series(identity, rows)
            self._identity = max(self._identity, identity)

    def _save_always(self) -> None:
        tidied = 0.0
        while not self._stopping.wait(FLUSH_SECONDS):
            try:
                self.save()
                if time.monotonic() - tidied > TIDY_SECONDS:
                    self.tidy()
                    tidied = time.monotonic()
            except sqlite3.Error:
                log.exception("the metrics could not be saved")
