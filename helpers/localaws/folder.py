"""What a state folder says of itself: its id, and the server that runs on it.

Apart from the server, since the command line asks for it each time a notebook connects: the server's own imports take
ten times as long as the question.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from pathlib import Path
from typing import Any

import psutil

CLOCK_SET_SECONDS = 2.0
PART = ".part"  # how the name of a file ends that is being written


def identity(folder: Path) -> str:
    """The state folder's id, made at its first use; every process of the folder carries it."""
    path = folder / "id"
    if not path.exists():
        part = folder / f"id.{os.getpid()}{PART}"
        part.write_text(uuid.uuid4().hex)
        try:
            path.hardlink_to(part)
        except FileExistsError:  # whoever else starts on the folder was first: then it is theirs
            pass
        except OSError:  # a file system without links
            part.replace(path)
        part.unlink(missing_ok=True)
    return path.read_text()


def write_whole(path: Path, text: str) -> None:
    """Write a file, for its owner only, so that whoever reads it at the time has what was there or all of this."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}{PART}")
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(path)


def running(folder: Path, announced: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """What ``server.json`` (or ``announced``, read from it earlier) says, if that very process is alive; else None."""
    try:
        saved: dict[str, Any] = announced or json.loads((folder / "server.json").read_text())
        process = psutil.Process(saved["pid"])
        # The system counts a process's age, not its start: if the clock is set meanwhile, that moves by as much.
        same = abs(process.create_time() - saved["started"]) < CLOCK_SET_SECONDS
        alive = same and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return None
    return saved if alive else None


def announce(folder: Path, url: str, time_scale: float) -> None:
    """Say, atomically, that this process serves the folder."""
    me = psutil.Process()
    saved = {"pid": me.pid, "started": me.create_time(), "url": url, "time_scale": time_scale}
    write_whole(folder / "port", url.rpartition(":")[2])
    write_whole(folder / "server.json", json.dumps(saved))
