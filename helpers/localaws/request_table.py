"""A recording of requests, read and told: which operations, how often, with which errors, by whom."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
HEADINGS = ("service", "operation", "requests", "errors", "callers")


def read(path: Path) -> list[Entry]:
    """The entries of a file that :mod:`recording` wrote; raises ``OSError``, or ``ValueError`` for another file."""
    entries = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            entry = json.loads(line)
            if not isinstance(entry, dict) or not {"service", "operation", "status"} <= entry.keys():
                raise ValueError(f"line {number} is not a recorded request")
            entries.append(entry)
    return entries


def rows(entries: Iterable[Entry]) -> list[tuple[str, str, int, str, str]]:
    """A row an operation: service, operation, requests, errors with their counts, callers."""
    found: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry["service"], entry["operation"] or "?"].append(entry)
    return [(*name, len(found[name]), _errors(found[name]), _callers(found[name])) for name in sorted(found)]


def _errors(entries: list[Entry]) -> str:
    counted = Counter(entry["error"] for entry in entries if entry["error"])
    return ", ".join(f"{code} {count}" for code, count in sorted(counted.items()))


def _callers(entries: list[Entry]) -> str:
    return ", ".join(sorted({entry["caller"] or "unknown" for entry in entries}))


def table(entries: Iterable[Entry]) -> str:
    """The rows in columns, and how many requests there are in all."""
    told = [HEADINGS, *([str(cell) for cell in row] for row in rows(entries))]
    widths = [max(len(row[column]) for row in told) for column in range(len(HEADINGS) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in told
    ]
    total = sum(int(row[2]) for row in told[1:])
    return "\n".join([*lines, f"{total} requests, {len(told) - 1} operations"])


__all__ = ["read", "rows", "table"]
