"""What the embedded AWS remembers: JSON documents in one SQLite file, written before the caller is answered.

A document is what an operation describes (a training job, an endpoint); it is found by table, region and name. The file
survives ``kill -9``: SQLite's write-ahead log is replayed when it is opened again.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class Exists(Exception):
    """A document of this table, region and name is there already."""


class Missing(KeyError):
    """No document of this table, region and name."""


class Store:
    """All tables, in one file. Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL with synchronous=NORMAL loses nothing when the process dies; the last moments when the machine does.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS documents (kind TEXT, region TEXT, name TEXT, body TEXT,"
            " PRIMARY KEY (kind, region, name)) WITHOUT ROWID"
        )

    def table(self, kind: str) -> Table:
        """The documents of one kind; a table needs no making."""
        return Table(self, kind)

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def execute(self, statement: str, values: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Run one statement under the store's lock; returns its rows."""
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def locked(self) -> threading.RLock:
        """The store's lock, for a read and a write that belong together."""
        return self._lock


class Table:
    """Documents of one kind, by region and name, in the order of their names."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store, self._kind = store, kind

    def insert(self, region: str, name: str, document: Document) -> None:
        """Add a new document; raises :class:`Exists` and changes nothing where the name is taken."""
        try:
            self._store.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?)", (self._kind, region, name, dumps(document))
            )
        except sqlite3.IntegrityError as error:
            raise Exists(name) from error

    def put(self, region: str, name: str, document: Document) -> None:
        """Add or replace a document."""
        self._store.execute(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", (self._kind, region, name, dumps(document))
        )

    def get(self, region: str, name: str) -> Document:
        """The document (a copy of one's own); raises :class:`Missing`."""
        rows = self._store.execute(
            "SELECT body FROM documents WHERE kind = ? AND region = ? AND name = ?", (self._kind, region, name)
        )
        if not rows:
            raise Missing(name)
        return loads(rows[0][0])

    def find(self, region: str, name: str) -> Document | None:
        """The document, or None."""
        try:
            return self.get(region, name)
        except Missing:
            return None

    def update(self, region: str, name: str, change: Callable[[Document], None]) -> Document:
        """Read, change in place, write, as one step; returns the new document. Raises :class:`Missing`."""
        with self._store.locked():
            document = self.get(region, name)
            change(document)
            self.put(region, name, document)
            return document

    def delete(self, region: str, name: str) -> None:
        """Remove a document; nothing happens where there is none."""
        self._store.execute(
            "DELETE FROM documents WHERE kind = ? AND region = ? AND name = ?", (self._kind, region, name)
        )

    def list(self, region: str) -> list[Document]:
        """All documents of a region, by name."""
        rows = self._store.execute(
            "SELECT body FROM documents WHERE kind = ? AND region = ? ORDER BY name", (self._kind, region)
        )
        return [loads(body) for (body,) in rows]

    def everywhere(self) -> Iterator[tuple[str, str, Document]]:
        """All documents of all regions, as (region, name, document)."""
        rows = self._store.execute(
            "SELECT region, name, body FROM documents WHERE kind = ? ORDER BY name", (self._kind,)
        )
        for region, name, body in rows:
            yield region, name, loads(body)


def dumps(document: Document) -> str:
    """JSON, with times and bytes marked so that :func:`loads` gives them back."""
    return json.dumps(document, default=_encode, separators=(",", ":"))


def loads(text: str) -> Document:
    """The document that :func:`dumps` wrote."""
    document: Document = json.loads(text, object_hook=_decode)
    return document


def _encode(value: object) -> dict[str, str]:
    if isinstance(value, datetime):
        return {"$time": value.astimezone(UTC).isoformat()}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"a document cannot hold a {type(value).__name__}")


def _decode(value: dict[str, Any]) -> Any:
    if value.keys() == {"$time"}:
        return datetime.fromisoformat(value["$time"])
    if value.keys() == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return value
