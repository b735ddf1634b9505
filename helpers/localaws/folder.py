"""What a state folder says of itself: its id, and the server that runs on it.

Apart from the server, since the command line asks for it each time a notebook connects: the server's own imports take
ten times as long as the question.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import psutil


def identity(folder: Path) -> str:
    """The state folder's id, made at its first use; every process of the folder carries it."""
    path = folder / "id"
    if not path.exists():
        path.write_text(uuid.uuid4().hex)
    return path.read_text()


def running(folder: Path, announced: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """What ``server.json`` (or ``announced``, read from it earlier) says, if that very process is alive; else None."""
    try:
        saved: dict[str, Any] = announced or json.loads((folder / "server.json").read_text())
        process = psutil.Process(saved["pid"])
        alive = process.create_time() == saved["started"] and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return None
    return saved if alive else None


def announce(folder: Path, url: str, time_scale: float) -> None:
    """Say, atomically, that this process serves the folder."""
    me = psutil.Process()
    saved = {"pid": me.pid, "started": me.create_time(), "url": url, "time_scale": time_scale}
    part = folder / "server.json.part"
    part.write_text(json.dumps(saved))
    part.replace(folder / "server.json")
    (folder / "port").write_text(url.rpartition(":")[2])
